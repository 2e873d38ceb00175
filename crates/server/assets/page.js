/**
 * The live page: a link of its own that can be broken, beside the connections and topics of the server.
 *
 *     demo ── link-view, publish-view          what this page's link goes through
 *     api ─── server-view                      what the server has
 */

import { Api } from './api.js'
import { Demo } from './demo.js'
import { LinkView } from './link-view.js'
import { showPublish } from './publish-view.js'
import { ServerView } from './server-view.js'

/** Where the server's routes begin; not always at the root of the host. */
const base = new URL('..', import.meta.url)

const letters = () => Math.random().toString(36).slice(2, 8).padEnd(6, '0')

/** The topic stays over reloads of this tab, so that the server's list does not grow with each. */
function ownTopic() {
  try {
    return (sessionStorage.topic ||= `page:${letters()}`)
  } catch {
    return `page:${letters()}`
  }
}

const demo = new Demo(new URL('websocket', base).href, { topic: ownTopic(), run: letters() })
new LinkView(demo)
new ServerView(new Api(base), demo, showPublish(demo, base))
