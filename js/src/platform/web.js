/**
 * The platform of whatever has the WebSocket class: browsers, workers, Node ≥ 22, Deno, Bun.
 */

import { common, once } from '../platform.js'

/** @typedef {import('../platform.js').Platform} Platform */
/** @typedef {import('../platform.js').Socket} Socket */

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
 * @param {import('../platform.js').SocketEvents} coreEvents
 * @returns {Socket}
 */
export function attach(socket, coreEvents) {
  const events = once(coreEvents)
  socket.binaryType = 'arraybuffer'
  socket.onopen = () => events.opened(socket.protocol)
  socket.onmessage = ({ data }) => events.received(typeof data === 'string' ? data : new Uint8Array(data))
  socket.onclose = ({ code, reason }) => events.closed({ code, reason })
  // Node's own WebSocket says `error` and never `close` when it is refused; others say `close` in the same breath,
  // with the code.
  socket.onerror = () => void setTimeout(() => events.closed({ code: 1006, reason: '' }))
  return {
    send: (message) => socket.send(/** @type {string | Uint8Array<ArrayBuffer>} */ (message)),
    abandon(code, reason) {
      events.detach()
      socket.onopen = socket.onmessage = socket.onclose = null
      // An abandoned socket that is still connecting complains once more.
      socket.onerror = () => {}
      // A hanging socket that was not closed would keep the next dial to the same host waiting.
      if (!code && socket.terminate) socket.terminate()
      else if (code) socket.close(code, reason)
      // Browsers refuse a reason that comes without a code.
      else socket.close()
    },
  }
}

/** @type {Platform['watch']} */
function watchPage(listener) {
  /** @type {Array<() => void>} */
  const offs = []
  /** @type {(target: any, name: string, handler: (event: any) => void) => void} */
  const on = (target, name, handler) => {
    if (!target || !target.addEventListener) return
    target.addEventListener(name, handler)
    offs.push(() => target.removeEventListener(name, handler))
  }
  const page = typeof document === 'object' ? document : null
  const network = typeof navigator === 'object' ? /** @type {any} */ (navigator).connection : null
  on(page, 'visibilitychange', () => listener(page?.hidden ? 'background' : 'foreground'))
  on(page, 'resume', () => listener('wake'))
  on(page, 'freeze', () => listener('freeze'))
  on(globalThis, 'pageshow', (event) => event.persisted && listener('wake'))
  on(globalThis, 'pagehide', (event) => event.persisted && listener('freeze'))
  on(globalThis, 'online', () => listener('wake'))
  let type = network?.type
  on(network, 'change', () => {
    // The event also comes with each new estimate of speed, which is no change of network.
    if (network.type !== type) listener('wake')
    type = network.type
  })
  return () => offs.forEach((off) => off())
}
