/**
 * A drop-in for the WebSocket class, for code and libraries that take one: it comes back by itself, and notices a dead
 * connection. It speaks plain mode, to any server that answers a text `ping` with a text.
 *
 * Two things differ from the class: `open` and `close` come with each connection, not once; and what is sent while
 * there is none is kept, up to a bound, and sent when there is one. After `close()` it stays closed.
 */

import { watchClock } from './clock.js'
import { makePlainLink } from './plain.js'
import { webPlatform } from './platform/web.js'

/** @typedef {import('./platform.js').Platform} Platform */

/**
 * @typedef {object} WebSocketOptions
 * @property {import('./plain.js').PlainHeartbeat} [heartbeat]
 * @property {import('./backoff.js').ReconnectOptions} [reconnect]
 * @property {number} [bufferBytesMax] what is kept for the next connection at most; default 1 MiB
 * @property {Platform} [platform] what it runs on, if it is not to be found by itself
 */

const CONNECTING = 0
const OPEN = 1
const CLOSING = 2
const CLOSED = 3
const NORMAL = 1000

/** @typedef {((event: any) => unknown) | null} Listener */

export class HeartwireWebSocket extends EventTarget {
  static CONNECTING = CONNECTING
  static OPEN = OPEN
  static CLOSING = CLOSING
  static CLOSED = CLOSED

  /**
   * @param {string | URL} url
   * @param {string | string[]} [protocols]
   * @param {WebSocketOptions} [options]
   */
  constructor(url, protocols, options = {}) {
    super()
    const platform = options.platform ?? webPlatform()
    this.CONNECTING = CONNECTING
    this.OPEN = OPEN
    this.CLOSING = CLOSING
    this.CLOSED = CLOSED
    this.url = String(url)
    this.protocol = ''
    this.extensions = ''
    /** @type {'blob' | 'arraybuffer'} */
    this.binaryType = 'blob'
    /** @type {Listener} */
    this.onopen = null
    /** @type {Listener} */
    this.onmessage = null
    /** @type {Listener} */
    this.onclose = null
    /** @type {Listener} */
    this.onerror = null
    /** @private */
    this._bufferBytesMax = options.bufferBytesMax ?? 1 << 20
    /** What waits for a connection. @private @type {Array<string | Uint8Array>} */
    this._waiting = []
    /** @private */
    this._link = makePlainLink(platform, { ...options, url: this.url, protocols }, (name, detail) =>
      this._on(name, detail),
    )
    /** @private */
    this._stops = [platform.watch(this._link.signal), watchClock(platform, this._link.clockJumped)]
    Promise.resolve().then(() => this._link.start())
  }

  get readyState() {
    const { status } = this._link
    return status === 'open' ? OPEN : status === 'closed' ? CLOSED : CONNECTING
  }

  /** What waits for a connection, in bytes or, of texts, characters. */
  get bufferedAmount() {
    return this._waiting.reduce((sum, message) => sum + message.length, 0)
  }

  /** @param {string | Blob | ArrayBuffer | ArrayBufferView} data */
  send(data) {
    if (typeof Blob === 'function' && data instanceof Blob)
      return void data.arrayBuffer().then((bytes) => this.send(bytes))
    const message = typeof data === 'string' ? data : bytesOf(/** @type {any} */ (data))
    if (this.readyState === OPEN) return this._link.run(() => this._link.send(message))
    if (this.readyState === CLOSED) return
    if (this.bufferedAmount + message.length > this._bufferBytesMax)
      throw new RangeError('too much waits for a connection')
    this._waiting.push(message)
  }

  /**
   * @param {number} [code]
   * @param {string} [reason]
   */
  close(code = NORMAL, reason = '') {
    this._link.close(0)
  }

  /** Gives the connection up, if there is one, and dials at once, with all attempts. */
  reconnect() {
    this._link.reconnect()
  }

  /** @private @type {(name: string, detail: any) => void} */
  _on(name, detail) {
    if (name === 'data') this._dispatch('message', { data: this._data(detail) })
    else if (name === 'open') this._opened(detail.protocol)
    else if (name === 'lost') this._lost(detail)
    else if (name === 'closed') this._closed(detail)
  }

  /** @private @param {string} protocol */
  _opened(protocol) {
    this.protocol = protocol
    this._dispatch('open', {})
    for (const message of this._waiting.splice(0)) this.send(message)
  }

  /** @private @param {import('./link.js').Lost} lost */
  _lost({ why, code, reason }) {
    if (why !== 'closed') this._dispatch('error', { message: `${why} ${reason}` })
    this._dispatch('close', { code, reason, wasClean: code !== 1006 })
  }

  /** @private @param {import('./link.js').Ending} ending */
  _closed({ code, reason }) {
    for (const stop of this._stops) stop()
    this._waiting = []
    this._dispatch('close', { code, reason, wasClean: true })
  }

  /** @private @param {string | Uint8Array} data */
  _data(data) {
    if (typeof data === 'string') return data
    return this.binaryType === 'blob' ? new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (data)]) : data.buffer
  }

  /** @private @type {(type: string, detail: object) => void} */
  _dispatch(type, detail) {
    const event = Object.assign(new Event(type), detail)
    this.dispatchEvent(event)
    const listener = /** @type {Record<string, Listener>} */ (/** @type {unknown} */ (this))[`on${type}`]
    if (listener) listener.call(this, event)
  }
}

/** @type {(data: ArrayBuffer | ArrayBufferView) => Uint8Array} */
const bytesOf = (data) =>
  data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

export default HeartwireWebSocket
