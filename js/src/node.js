/** heartwire: a WebSocket that never dies silently. The entry for Node. */

import { Client } from './heartwire.js'
import { nodePlatform, wsPlatform } from './platform/node.js'
import { webPlatform } from './platform/web.js'

export * from './public.js'
export { webPlatform, wsPlatform }

/** A link that never dies silently. */
export class Heartwire extends Client {
  /**
   * Dials at once, in the background.
   *
   * @param {string | (() => string | Promise<string>)} url `ws:`, `wss:`, `http:` or `https:`; a function is asked before each dial
   * @param {import('./heartwire.js').HeartwireOptions} [options]
   */
  constructor(url, options = {}) {
    super(url, options, nodePlatform)
  }
}
