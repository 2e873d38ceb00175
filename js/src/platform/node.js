/**
 * The platform of Node: the `ws` package where it is installed, as it can end a dead socket at once; else Node's own
 * WebSocket (Node 22 and later).
 */

import { createRequire } from 'node:module'
import { ABNORMAL, CLOSE_MS } from '../constants.js'
import { common } from '../platform.js'
import { attach, webPlatform } from './web.js'

/** @typedef {import('../platform.js').Platform} Platform */

/** @returns {Platform} */
export function nodePlatform() {
  const WS = loadWs()
  if (WS) return wsPlatform(WS)
  if (typeof WebSocket === 'function') return { ...webPlatform(), timer, dial: dialNative }
  throw new Error('heartwire needs the package ws (npm install ws), or Node 22 or later')
}

/** @typedef {new (url: string, protocols: string[], options: object) => any} WsClass */

/**
 * @param {WsClass} WS the class of the package `ws`
 * @returns {Platform}
 */
export function wsPlatform(WS) {
  return {
    ...common,
    timer,
    isOnline: () => true,
    watch: () => () => {},
    dial({ url, protocols, headers }, events) {
      const options = { headers, perMessageDeflate: false, closeTimeout: CLOSE_MS }
      const ws = new WS(url, protocols, options)
      const socket = attach(ws, events)
      // A long message is life while it arrives, and so is a control frame. [LIVE-1]
      ws.on('upgrade', (/** @type {any} */ { socket }) => ws.on('open', () => socket.on('data', events.heard)))
      // `closed` follows. A socket that was abandoned while it was connecting complains once more.
      ws.on('error', () => {})
      ws.on('unexpected-response', (/** @type {any} */ request, /** @type {any} */ response) => {
        const retryMs = Number(response.headers['retry-after']) * 1000 || undefined
        events.closed({ code: 1006, reason: `HTTP status ${response.statusCode}`, retryMs })
        request.destroy()
      })
      return {
        ...socket,
        abandon(code, reason) {
          socket.abandon(code, reason)
          if (!code) ws.terminate()
        },
      }
    },
  }
}

/** @type {Platform['dial']} */
function dialNative({ url, protocols }, events) {
  const socket = new WebSocket(url, protocols)
  // When it is refused it says `error` and never `close`; otherwise `close` comes in the same breath, with the code.
  socket.onerror = () => void setTimeout(() => events.closed({ code: ABNORMAL, reason: '' }))
  return attach(socket, events)
}

/** @type {Platform['timer']} */
function timer(delayMs, run) {
  /** @type {NodeJS.Immediate | undefined} */
  let look
  // What has arrived is read between a timer and the immediates behind it.
  const handle = setTimeout(() => {
    look = setImmediate(run)
  }, delayMs)
  return () => {
    clearTimeout(handle)
    clearImmediate(look)
  }
}

/** @returns {WsClass | null} */
function loadWs() {
  try {
    return createRequire(import.meta.url)('ws').WebSocket
  } catch {
    return null
  }
}
