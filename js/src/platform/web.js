/**
 * The platform of whatever has the WebSocket class: browsers, workers, Node ≥ 22, Deno, Bun.
 */

import { ABNORMAL } from '../close.js'
import { common } from '../platform.js'

/** @typedef {import('../platform.js').Platform} Platform */

/** @typedef {new (url: string, protocols: string[]) => WebSocket} WebSocketClass */

/**
 * @param {WebSocketClass} [Class] the WebSocket class, if not the global one
 * @returns {Platform}
 */
export function webPlatform(Class) {
  return {
    ...common,
    dial: (request, events) => attach(new (Class ?? WebSocket)(request.url, request.protocols), events),
    watch: watchPage,
  }
}

/**
 * Binds a WebSocket to the core's events.
 *
 * @param {WebSocket & { terminate?: () => void }} socket
 * @param {import('../platform.js').SocketEvents} events
 * @returns {import('../platform.js').Socket}
 */
export function attach(socket, { opened, received, closed }) {
  socket.binaryType = 'arraybuffer'
  socket.onopen = () => opened(socket.protocol)
  socket.onmessage = ({ data }) => received(typeof data === 'string' ? data : new Uint8Array(data))
  socket.onclose = closed
  // Node's own WebSocket says `error` and never `close` when it is refused; others say `close` in the same breath,
  // with the code.
  socket.onerror = () => void setTimeout(() => closed({ code: ABNORMAL, reason: '' }))
  return {
    send: (message) => socket.send(/** @type {string | Uint8Array<ArrayBuffer>} */ (message)),
    abandon(code, reason) {
      socket.onopen = socket.onmessage = socket.onclose = null
      // An abandoned socket that is still connecting complains once more.
      socket.onerror = () => {}
      // A hanging socket that was not closed would keep the next dial to the same host waiting. [CLOSE-4]
      if (!code && socket.terminate) socket.terminate()
      else if (code) socket.close(code, reason)
      // Browsers refuse a reason that comes without a code.
      else socket.close()
    },
  }
}

/** @type {Platform['watch']} */
function watchPage(listener) {
  const scope = /** @type {any} */ (globalThis)
  const { document: page, navigator: { connection: network } = /** @type {any} */ ({}) } = scope
  let type = network?.type
  /** @type {Array<[target: any, name: string, handler: (event: any) => unknown]>} */
  const handlers = [
    [page, 'visibilitychange', () => listener(page.hidden ? 'background' : 'foreground')],
    [page, 'resume', () => listener('wake')],
    [page, 'freeze', () => listener('freeze')],
    [scope, 'pageshow', ({ persisted }) => persisted && listener('wake')],
    [scope, 'pagehide', ({ persisted }) => persisted && listener('freeze')],
    [scope, 'online', () => listener('wake')],
    [
      network,
      'change',
      () => {
        // The event also comes with each new estimate of speed, which is no change of network.
        if (network.type !== type) listener('wake')
        type = network.type
      },
    ],
  ]
  const known = handlers.filter(([target]) => target?.addEventListener)
  known.forEach(([target, name, handler]) => target.addEventListener(name, handler))
  return () => known.forEach(([target, name, handler]) => target.removeEventListener(name, handler))
}
