/**
 * The platform of whatever has the WebSocket class: browsers, workers, Deno, Bun.
 */

import { common } from '../platform.js'

/** @typedef {import('../platform.js').Platform} Platform */

/** @typedef {new (url: string, protocols: string[]) => WebSocket} WebSocketClass */

/** What a page hears of its life; what is dispatched at the document passes through the window as well. */
const PAGE_EVENTS = ['visibilitychange', 'resume', 'freeze', 'pageshow', 'pagehide', 'online']

/**
 * @param {WebSocketClass} [Class] the WebSocket class, if not the global one
 * @returns {Platform}
 */
export function webPlatform(Class = WebSocket) {
  return {
    ...common,
    dial: ({ url, protocols }, events) => attach(new Class(url, protocols), events),
    watch: watchPage,
    isOnline: () => globalThis.navigator?.onLine !== false,
  }
}

/**
 * Binds a WebSocket to the core's events.
 *
 * @param {WebSocket} socket
 * @param {import('../platform.js').SocketEvents} events
 * @returns {import('../platform.js').Socket}
 */
export function attach(socket, { opened, received, closed }) {
  socket.binaryType = 'arraybuffer'
  socket.onopen = () => opened(socket.protocol)
  socket.onmessage = ({ data }) => received(typeof data === 'string' ? data : new Uint8Array(data))
  socket.onclose = closed
  return {
    send: (message) => socket.send(/** @type {string | Uint8Array<ArrayBuffer>} */ (message)),
    abandon(code, reason) {
      socket.onopen = socket.onmessage = socket.onclose = null
      // A hanging socket that was not closed would keep the next dial to the same host waiting. [CLOSE-4]
      // Browsers refuse a reason that comes without a code.
      socket.close(code, code ? reason : undefined)
    },
  }
}

/** @type {Platform['watch']} */
function watchPage(listener) {
  const scope = /** @type {any} */ (globalThis)
  const network = scope.navigator?.connection
  let was = network?.type
  const hear = (/** @type {any} */ { type, persisted }) => {
    // A page that is entered or left for good needs nothing, and a new estimate of speed is no change of network.
    if (persisted === false || (type === 'change' && network.type === was)) return
    was = network?.type
    if (type === 'visibilitychange') listener(scope.document.hidden ? 'background' : 'foreground')
    else listener(type === 'freeze' || type === 'pagehide' ? 'freeze' : 'wake')
  }
  const each = (/** @type {'addEventListener' | 'removeEventListener'} */ method) => {
    for (const name of PAGE_EVENTS) scope[method]?.(name, hear, true)
    network?.[method]?.('change', hear)
  }
  each('addEventListener')
  return () => each('removeEventListener')
}
