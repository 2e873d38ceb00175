/** heartwire: a WebSocket that never dies silently. The entry for Mini Programs, and the frameworks that build them. */

import { Client } from './heartwire.js'
import { findHost, miniPlatform } from './platform/mini.js'

export * from './public.js'
export { miniPlatform }

/** A link that never dies silently. */
export class Heartwire extends Client {
  /**
   * Dials at once, in the background.
   *
   * @param {string | (() => string | Promise<string>)} url `wss:`; a function is asked before each dial
   * @param {import('./heartwire.js').HeartwireOptions} [options] with `platform: miniPlatform(Taro)` where the host is no
   *   global `wx`, `my`, `tt` or `uni`
   */
  constructor(url, options = {}) {
    super(url, options, () => miniPlatform(findHost()))
  }
}
