/** heartwire: a WebSocket that never dies silently. The entry for browsers, and whatever else has the WebSocket class. */

import { Client } from './heartwire.js'
import { webPlatform } from './platform/web.js'

export * from './public.js'
export { webPlatform }

/** A link that never dies silently. */
export class Heartwire extends Client {
  /**
   * Dials at once, in the background.
   *
   * @param {string | (() => string | Promise<string>)} url `ws:`, `wss:`, `http:` or `https:`; a function is asked before each dial
   * @param {import('./heartwire.js').HeartwireOptions} [options]
   */
  constructor(url, options = {}) {
    super(url, options, webPlatform)
  }
}
