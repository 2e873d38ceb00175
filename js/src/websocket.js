/**
 * A drop-in for the WebSocket class, for code and libraries that take one: it comes back by itself, and notices a dead
 * connection. It speaks plain mode, to any server that answers a text `ping` with a text.
 *
 * Two things differ from the class: `open` and `close` come with each connection, not once; and what is sent while
 * there is none is kept, up to a bound, and sent when there is one. After `close()` it stays closed.
 */

import { ABNORMAL, BUFFER_BYTES_MAX } from './constants.js'
import { makeLink } from './link.js'
import { plainMode } from './plain.js'
import { webPlatform } from './platform/web.js'

/** @typedef {import('./platform.js').Platform} Platform */

/**
 * @typedef {object} WebSocketOptions
 * @property {import('./plain.js').PlainHeartbeat} [heartbeat]
 * @property {import('./backoff.js').ReconnectOptions} [reconnect]
 * @property {number} [bufferBytesMax] what is kept for the next connection at most; default 1 MiB
 * @property {Platform} [platform] what it runs on, if it is not to be found by itself
 */

/** @typedef {((event: any) => unknown) | null} Listener */

export class HeartwireWebSocket extends EventTarget {
  static CONNECTING = 0
  static OPEN = 1
  static CLOSING = 2
  static CLOSED = 3

  CONNECTING = 0
  OPEN = 1
  CLOSING = 2
  CLOSED = 3

  protocol = ''
  extensions = ''
  /** @type {'blob' | 'arraybuffer'} */
  binaryType = 'blob'
  /** @type {Listener} */
  onopen = null
  /** @type {Listener} */
  onmessage = null
  /** @type {Listener} */
  onclose = null
  /** @type {Listener} */
  onerror = null

  #link
  #bytesMax
  /** What waits for a connection. @type {Array<string | Uint8Array>} */
  #waiting = []

  /**
   * @param {string | URL} url
   * @param {string | string[]} [protocols]
   * @param {WebSocketOptions} [options]
   */
  constructor(url, protocols, { platform = webPlatform(), bufferBytesMax = BUFFER_BYTES_MAX, ...options } = {}) {
    super()
    this.url = `${url}`
    this.#bytesMax = bufferBytesMax
    const report = (/** @type {string} */ name, /** @type {any} */ detail) => this.#heard(name, detail)
    this.#link = makeLink(this.url, platform, { ...options, protocols }, report, plainMode)
    this.#link._begin()
  }

  get readyState() {
    const status = this.#link._status
    return status === 'open' ? this.OPEN : status === 'closed' ? this.CLOSED : this.CONNECTING
  }

  /** What waits for a connection, in bytes or, of texts, characters. */
  get bufferedAmount() {
    return this.#waiting.reduce((sum, message) => sum + message.length, 0)
  }

  /** @param {string | Blob | ArrayBuffer | ArrayBufferView} data */
  send(data) {
    if (data instanceof Blob) return void data.arrayBuffer().then((bytes) => this.send(bytes))
    const message = typeof data === 'string' ? data : bytesOf(data)
    const link = this.#link
    if (link._status === 'open') return link._run(() => link._send(message))
    if (this.bufferedAmount + message.length > this.#bytesMax) throw new RangeError('too much waits for a connection')
    if (!link._isClosing()) this.#waiting.push(message)
  }

  /** The code and the reason are for the interface: the server is told 1000. */
  close() {
    this.#link._close(0)
  }

  /** Gives the connection up, if there is one, and dials at once, with all attempts. */
  reconnect() {
    this.#link._reconnect()
  }

  /** @type {(name: string, detail: any) => void} */
  #heard(name, detail) {
    if (name === 'data') this.#dispatch('message', { data: this.#content(detail) })
    if (name === 'open') {
      this.protocol = detail.protocol
      this.#dispatch(name)
      this.#waiting.splice(0).forEach((message) => this.send(message))
    }
    if (name === 'lost' && detail.why !== 'closed') this.#dispatch('error')
    if (name === 'lost' || name === 'closed') {
      const { code, reason } = detail
      this.#dispatch('close', { code, reason, wasClean: code !== ABNORMAL })
    }
  }

  /** @param {string | Uint8Array<ArrayBuffer>} data */
  #content(data) {
    if (typeof data === 'string') return data
    return this.binaryType === 'blob' ? new Blob([data]) : data.buffer
  }

  /** @type {(type: 'open' | 'message' | 'error' | 'close', detail?: object) => void} */
  #dispatch(type, detail) {
    const handler = this[`on${type}`]
    // As a listener, so that what it throws is reported as what any listener throws.
    if (handler) this.addEventListener(type, (event) => handler.call(this, event), { once: true })
    this.dispatchEvent(Object.assign(new Event(type), detail))
  }
}

export default HeartwireWebSocket

/** @type {(data: ArrayBuffer | ArrayBufferView) => Uint8Array} */
const bytesOf = (data) =>
  data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
