/**
 * What an application holds: a link, with its events as handlers, its topics as subscriptions, and its publishes as
 * promises.
 */

import { FLUSH_MS } from './constants.js'
import { makeEmitter } from './emitter.js'
import { refuse } from './errors.js'
import { cursor, START } from './id.js'
import { makeLink } from './link.js'
import { plainMode } from './plain.js'
import { makeFeed } from './subscription.js'
import { v1Mode } from './v1.js'

/** @typedef {import('./link.js').Status} Status */
/** @typedef {import('./link.js').Lost} Lost */
/** @typedef {import('./link.js').Ending} Ending */
/** @typedef {import('./heartbeat.js').Rtt} Rtt */
/** @typedef {import('./platform.js').Platform} Platform */
/** @typedef {import('./subscription.js').Message} Message */
/** @typedef {import('./subscription.js').MessageHandler} MessageHandler */
/** @typedef {import('./subscription.js').Subscription} Subscription */
/** @typedef {import('./subscription.js').Feed} Feed */

/**
 * @typedef {object} CursorStore where the application keeps the places it has come to, so that a page load resumes
 * @property {(topic: string) => string | null | undefined | Promise<string | null | undefined>} load
 * @property {(topic: string, cursor: string) => unknown} save called when everything up to the cursor has been dealt with
 */

/**
 * @typedef {object} CommonOptions
 * @property {() => string | Promise<string>} [token] asked for before each dial, so that an expired one is replaced
 * @property {import('./backoff.js').ReconnectOptions} [reconnect] when to dial again, and how often
 * @property {Record<string, string>} [headers] for the upgrade request; browsers cannot set any
 * @property {number} [attemptTimeoutMs] how long one attempt may take; default 10 s
 * @property {Platform} [platform] what the link runs on, if it is not to be found by itself
 */

/**
 * @typedef {CommonOptions & {
 *   mode?: 'v1',
 *   heartbeat?: import('./v1.js').V1Heartbeat,
 *   cursors?: CursorStore,
 *   outbox?: import('./publishing.js').OutboxOptions,
 * }} V1ModeOptions
 */

/**
 * @typedef {CommonOptions & {
 *   mode: 'plain',
 *   heartbeat?: import('./plain.js').PlainHeartbeat,
 *   protocols?: string | string[],
 * }} PlainModeOptions
 */

/** @typedef {V1ModeOptions | PlainModeOptions} HeartwireOptions */

/**
 * @typedef {object} Opened
 * @property {string} [connection] v1: the server's name for the connection
 * @property {string[]} [topics] v1: the topics that the URL names and the server grants; follow them with `subscribe`
 * @property {string} [durability] v1: where a stored message is, `memory`, `disk` or `quorum`
 * @property {string} [protocol] plain: the subprotocol that the server agreed to
 */

/**
 * @typedef {object} GapEvent messages that will never come
 * @property {string | null} topic null: publishes of this link's own, which the server lost after it had stored them
 * @property {number} from the first of them
 * @property {number | null} to the last of them; null when nobody knows any more
 * @property {string | null} epoch the epoch of the topic that they were in
 * @property {'retention' | 'epoch' | 'damage' | 'log'} reason trimmed; gone with their epoch; lost by the server's disk; the
 *   server lost its log
 */

/**
 * @typedef {object} Events
 * @property {(now: Status, was: Status) => unknown} status
 * @property {(opened: Opened) => unknown} open
 * @property {(lost: Lost) => unknown} lost a connection, or an attempt, is over
 * @property {(ending: Ending) => unknown} closed the link is over
 * @property {(data: any) => unknown} data v1: each message of all topics, a `Message`; plain: each message, text or bytes
 * @property {(gap: GapEvent) => unknown} gap
 * @property {(rtt: Rtt) => unknown} rtt
 * @property {(error: any) => unknown} error a handler threw, or a topic is refused (then a `HeartwireError`)
 */

/** A link that never dies silently. */
export class Client {
  /**
   * Dials at once, in the background.
   *
   * @param {string | (() => string | Promise<string>)} url `ws:`, `wss:`, `http:` or `https:`; a function is asked before each dial
   * @param {HeartwireOptions} options
   * @param {() => Platform} [findPlatform] asked when the options name none
   */
  constructor(url, options, findPlatform) {
    const emitter = makeEmitter()
    /** @private */
    this._emitter = emitter
    /** @private @type {CursorStore | undefined} */
    this._cursors = /** @type {V1ModeOptions} */ (options).cursors
    /** @private @type {Rtt | null} */
    this._rtt = null
    this.on('rtt', (rtt) => (this._rtt = rtt))
    /** @private */
    this._isPlain = options.mode === 'plain'
    const platform = options.platform || /** @type {() => Platform} */ (findPlatform)()
    const makeMode = /** @type {typeof v1Mode} */ (this._isPlain ? plainMode : v1Mode)
    /** With what v1 can do only in that mode. @private @type {import('./v1.js').V1Link} */
    this._link = makeLink(url, platform, options, emitter._emit, makeMode)
    this._link._begin()
  }

  /** The state of the link. @returns {Status} */
  get status() {
    return this._link._status
  }

  /** Round-trip times of the latest connection; null before the first answered ping. @returns {Rtt | null} */
  get rtt() {
    return this._rtt
  }

  /**
   * Calls the handler for each event of that name.
   *
   * @template {keyof Events} N
   * @param {N} name
   * @param {Events[N]} handler
   * @returns {() => void} off
   */
  on(name, handler) {
    return this._emitter._on(name, /** @type {any} */ (handler))
  }

  /**
   * Follows a topic, over all connections: in order, once each, for the life of this link.
   *
   * A topic has one place per link. A second subscription of the same topic joins where the first one is, unless it
   * names a beginning: then the topic moves there for all.
   *
   * @param {string} topic
   * @param {MessageHandler | string} [handler] called with each message; without it, iterate over what is returned
   * @param {string} [from] `tail` (only what is new, the default), `head` (from the oldest), `last N`, or a cursor. A
   *   cursor that the application has kept goes before it
   * @returns {Subscription} call it to stop; or `for await (const message of …)`
   */
  subscribe(topic, handler, from) {
    if (typeof handler === 'string') return this.subscribe(topic, undefined, handler)
    const link = this._v1(topic)
    let begin = beginning(from || 'tail')
    const { _call: call } = this._emitter
    const cursors = this._cursors
    let feed = /** @type {Feed | undefined} */ (link._sink(topic))
    if (!feed) {
      feed = makeFeed(
        (wish) => link._run(() => link._wish(topic, wish)),
        (cursor) => cursors && call(cursors.save, topic, cursor),
      )
      link._add(topic, feed)
      // A kept place that cannot be read is an error to report, and no reason not to follow.
      call(async () => {
        try {
          const kept = cursors && (await cursors.load(topic))
          if (kept) begin = beginning(kept)
        } finally {
          if (link._sink(topic) === feed) link._run(() => link._follow(topic, begin))
        }
      })
    } else if (from) link._run(() => link._follow(topic, begin))
    return feed._subscribe(handler && ((message) => call(handler, message)))
  }

  /**
   * Publishes a message: it is kept, and sent again over any number of connections, until the server has stored it.
   *
   * @param {string} topic
   * @param {string | Uint8Array | ArrayBuffer} data
   * @returns {Promise<{ durability: string }>} resolves when stored, once; rejects with a `HeartwireError`
   */
  publish(topic, data) {
    return new Promise((resolve, reject) => {
      const link = this._v1(topic)
      link._run(() => link._publish(topic, owned(data), resolve, reject))
    })
  }

  /**
   * Plain mode: sends a message over the connection that is open.
   *
   * @param {string | Uint8Array | ArrayBuffer} data
   * @returns {boolean} false when none is: plain mode keeps nothing for later
   */
  send(data) {
    const link = this._link
    if (!this._isPlain) refuse('wrong-mode', 'send')
    const isOpen = link._status === 'open'
    if (isOpen) link._run(() => link._send(owned(data)))
    return isOpen
  }

  /**
   * v1: replaces the token of the open connection before it runs out; later dials ask the token function.
   *
   * @param {string} token
   */
  renewToken(token) {
    const link = this._v1('token')
    link._run(() => link._renewToken(token))
  }

  /**
   * v1: asks the server for another heartbeat interval, on this connection and all later ones.
   *
   * @param {number} intervalMs
   */
  askInterval(intervalMs) {
    const link = this._v1('interval')
    link._run(() => link._askInterval(intervalMs))
  }

  /** Looks at once whether the connection lives; dials at once when there is none. */
  probe() {
    this._link._signal('wake')
  }

  /** Gives the connection up, if there is one, and dials at once, with all attempts. */
  reconnect() {
    this._link._reconnect()
  }

  /**
   * Ends the link: what waits for the server still goes out, for a while; nothing dials again.
   *
   * @param {{ flushMs?: number }} [options] how long it may take; default 5 s
   * @returns {Promise<void>} resolves when the link is closed
   */
  close({ flushMs = FLUSH_MS } = {}) {
    return new Promise((resolve) => {
      if (this.status === 'closed') return resolve()
      this.on('closed', /** @type {() => void} */ (resolve))
      this._link._close(flushMs)
    })
  }

  /** The link, for what only v1 can do, while it can. @private @param {string} about */
  _v1(about) {
    const link = this._link
    if (this._isPlain) refuse('wrong-mode', about)
    if (link._isClosing()) refuse('closed', about)
    return link
  }
}

/** Where a topic begins. @type {(from: string) => import('./following.js').From} */
function beginning(from) {
  if (/^(tail|head|last [1-9]\d{0,14})$/.test(from)) return Object.assign({ _begin: from }, START)
  try {
    return cursor(from)
  } catch {
    return refuse('bad-cursor', from)
  }
}

/** The application may go on writing to its buffer; what is resent must not change. @type {(data: string | Uint8Array | ArrayBuffer) => string | Uint8Array} */
const owned = (data) => (typeof data === 'string' ? data : new Uint8Array(data).slice())
