/**
 * Mini Programs: WeChat (`wx`), Alipay (`my`), Douyin (`tt`), and the frameworks uni-app (`uni`) and Taro. Their
 * sockets are all one SocketTask with small differences, which are handled here in one adapter.
 *
 * Only the task is used, never the global `onSocket…` functions: those belong to whichever socket came last. A task
 * cannot be detached from, so its events pass a gate that closes when the socket is abandoned; and every abandoned
 * task is closed, as there may be five at most.
 */

import { ABNORMAL, NORMAL } from '../constants.js'
import { idOf } from '../id.js'
import { common } from '../platform.js'

/** @typedef {import('../platform.js').Platform} Platform */
/** @typedef {Record<string, any>} Host the object a Mini Program's functions hang on: `wx`, `my`, `tt`, `uni` or Taro */

/** The host object that this program runs under. @returns {Host} */
export function findHost() {
  const hosts = [
    typeof wx === 'object' && wx,
    typeof my === 'object' && my,
    typeof tt === 'object' && tt,
    typeof uni === 'object' && uni,
  ]
  // In a web page inside WeChat there is a `wx` as well, but it has no sockets.
  const host = hosts.find((host) => host && typeof host.connectSocket === 'function')
  if (!host) throw new Error('heartwire/miniprogram runs in Mini Programs; elsewhere give it a platform')
  return host
}

/**
 * @param {Host} host
 * @returns {Platform}
 */
export function miniPlatform(host) {
  let isOnline = true
  const hasCrypto = typeof crypto === 'object' && crypto.getRandomValues
  /** @type {Pick<Platform, 'nowMs' | 'randomId' | 'isOnline' | 'dial' | 'watch'>} */
  const own = {
    // Devices have no monotonic clock at hand.
    nowMs: () => Date.now() - start,
    randomId: hasCrypto ? undefined : weakId,
    isOnline: () => isOnline,
    dial: (request, events) => dial(host, request, events),
    watch(listener) {
      const offs = [
        // A hidden program is suspended after 5 s, and `connectSocket` fails until it is shown.
        listen(host, 'AppHide', () => listener('sleep')),
        listen(host, 'AppShow', () => listener('wake')),
        listen(host, 'NetworkStatusChange', ({ isConnected }) => {
          isOnline = isConnected !== false
          if (isOnline) listener('wake')
        }),
      ]
      return () => offs.forEach((off) => off())
    },
  }
  return Object.assign({}, common, own)
}

const start = Date.now()

/** Where there is no synchronous secure source; the id is never shown to others, and not drawn twice. */
const weakId = () => idOf(new Uint32Array(4).map(() => Math.random() * 2 ** 32))

/** @type {(host: Host, name: string, handler: (event: any) => void) => () => void} */
function listen(host, name, handler) {
  if (host[`on${name}`]) host[`on${name}`](handler)
  return () => host[`off${name}`] && host[`off${name}`](handler)
}

/** @type {(host: Host, ...rest: Parameters<Platform['dial']>) => ReturnType<Platform['dial']>} */
function dial(host, { url, protocols, headers }, { opened, received, closed }) {
  /** @type {any} */
  let task
  let isAbandoned = false
  /** @type {(error: any) => void} */
  const fail = (error) =>
    closed({ code: ABNORMAL, reason: String((error && (error.errMsg || error.errorMessage)) || error) })
  const close = (code = NORMAL, reason = '') => {
    if (task) task.close({ code, reason, fail() {} })
  }
  /** @param {any} made */
  const bind = (made) => {
    task = made
    if (!task) return fail('connectSocket gave no task')
    if (isAbandoned) return close()
    // A task that was closed while it was connecting may open all the same.
    task.onOpen((/** @type {any} */ event) => (isAbandoned ? close() : opened(agreed(event, protocols))))
    task.onMessage((/** @type {any} */ event) => received(content(host, event)))
    task.onClose((/** @type {any} */ event) => {
      const { code = ABNORMAL, reason = '' } = unnested(event)
      closed({ code, reason })
    })
    task.onError(fail)
  }
  // Given a callback, uni-app returns the task as the others do; Taro returns a promise of it. Alipay gives a task
  // only when there may be several.
  const made = host.connectSocket({
    url,
    protocols,
    header: headers,
    multiple: true,
    tcpNoDelay: true,
    success() {},
    fail,
  })
  if (made && typeof made.then === 'function') made.then(bind, fail)
  else bind(made)
  return {
    send: (message) => task.send(Object.assign(sendable(host, message), { fail })),
    abandon(code, reason) {
      isAbandoned = true
      close(code, reason)
    },
  }
}

/** Alipay puts an event's fields one level deeper. @type {(event: any) => any} */
const unnested = (event) => {
  const { data } = event || {}
  return data && typeof data === 'object' && !(data instanceof ArrayBuffer) ? data : event || {}
}

/**
 * The subprotocol that the server agreed to. Some hosts show no headers of the answer, or not all; then it is taken
 * to be what was offered, as a server that does not know it closes on the first frame.
 *
 * @type {(event: any, offered: string[]) => string}
 */
function agreed(event, offered) {
  const headers = (event && event.header) || {}
  /** @type {(name: string) => string | undefined} */
  const find = (name) => headers[Object.keys(headers).find((key) => key.toLowerCase() === name) || '']
  const shown = find('sec-websocket-protocol') || (find('sec-websocket-accept') && '')
  return shown === undefined ? offered[0] || '' : shown
}

/** What a message holds. @type {(host: Host, event: any) => string | Uint8Array} */
function content(host, event) {
  const { data, isBuffer } = unnested(event)
  if (typeof data !== 'string') return new Uint8Array(data)
  return isBuffer ? new Uint8Array(host.base64ToArrayBuffer(data)) : data
}

/** @type {(host: Host, message: string | Uint8Array) => { data: string | ArrayBuffer, isBuffer?: boolean }} */
function sendable(host, message) {
  if (typeof message === 'string') return { data: message }
  const data = /** @type {ArrayBuffer} */ (
    message.buffer.slice(message.byteOffset, message.byteOffset + message.length)
  )
  const isAlipay = typeof my === 'object' && host === my
  return isAlipay ? { data: host.arrayBufferToBase64(data), isBuffer: true } : { data }
}
