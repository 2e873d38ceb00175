/** The drop-in for the WebSocket class, for Node. */

import { nodePlatform } from './platform/node.js'
import { HeartwireWebSocket as Base } from './websocket.js'

export class HeartwireWebSocket extends Base {
  /**
   * @param {string | URL} url
   * @param {string | string[]} [protocols]
   * @param {import('./websocket.js').WebSocketOptions} [options]
   */
  constructor(url, protocols, options = {}) {
    super(url, protocols, { ...options, platform: options.platform ?? nodePlatform() })
  }
}

export default HeartwireWebSocket
