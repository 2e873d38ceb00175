/**
 * What an application holds: a link, with its events as handlers, its topics as subscriptions, and its publishes as
 * promises.
 */

import { watchClock } from './clock.js'
import { makeEmitter } from './emitter.js'
import { HeartwireError } from './errors.js'
import { parseCursor, parseTopic } from './id.js'
import { makePlainLink } from './plain.js'
import { makeFeed } from './subscription.js'
import { makeV1Link } from './v1.js'

/** @typedef {import('./link.js').Status} Status */
/** @typedef {import('./link.js').Lost} Lost */
/** @typedef {import('./link.js').Ending} Ending */
/** @typedef {import('./heartbeat.js').Rtt} Rtt */
/** @typedef {import('./platform.js').Platform} Platform */
/** @typedef {import('./subscription.js').Message} Message */
/** @typedef {import('./subscription.js').MessageHandler} MessageHandler */
/** @typedef {import('./subscription.js').Subscription} Subscription */

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
 *   outbox?: import('./outbox.js').OutboxOptions,
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

/** How long `close` lets the outbox empty itself, in milliseconds. */
const FLUSH_MS = 5_000
const AGENT = 'heartwire-js/0.1.0'

/** A link that never dies silently. */
export class Client {
  /**
   * Dials at once, in the background.
   *
   * @param {string | (() => string | Promise<string>)} url `ws:`, `wss:`, `http:` or `https:`; a function is asked before each dial
   * @param {HeartwireOptions & { platform: Platform }} options
   */
  constructor(url, options) {
    const { platform } = options
    const emitter = makeEmitter()
    /** @private */
    this._emitter = emitter
    /** @private @type {Map<string, import('./subscription.js').Feed>} */
    this._feeds = new Map()
    /** Publishes that wait for the server, by their number. @private @type {Map<number, { resolve: (stored: { durability: string }) => void, reject: (error: Error) => void }>} */
    this._publishes = new Map()
    /** @private @type {Rtt | null} */
    this._rtt = null
    /** @type {import('./link.js').Report} */
    const report = (name, ...details) => this._report(name, details)
    /** @private */
    this._v1 = options.mode === 'plain' ? undefined : makeV1Link(platform, { agent: AGENT, ...options, url }, report)
    /** @private */
    this._cursors = options.mode === 'plain' ? undefined : options.cursors
    /** @private */
    this._link =
      options.mode === 'plain'
        ? makePlainLink(platform, { ...options, url }, report)
        : /** @type {import('./v1.js').V1Link} */ (this._v1).link
    const link = this._link
    const stops = [platform.watch(link.signal), watchClock(platform, link.clockJumped)]
    this.on('closed', () => stops.forEach((stop) => stop()))
    // Whoever made the link has handlers to set first.
    Promise.resolve().then(() => link.isEnding() || link.start())
  }

  /** The state of the link. @returns {Status} */
  get status() {
    return this._link.status
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
    return this._emitter.on(name, /** @type {any} */ (handler))
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
    const { link, following } = this._needV1(topic)
    if (!parseTopic(topic)) throw new HeartwireError('bad-topic', topic)
    if (!following.hasRoom(topic)) throw new HeartwireError('limit', topic)
    const begin = beginning(from || 'tail')
    let feed = this._feeds.get(topic)
    if (feed && from) link.run(() => following.subscribe(topic, begin))
    if (feed) return feed.subscribe(handler && this._safe(handler))
    feed = makeFeed({
      pace: (isPaused) => link.run(() => (isPaused ? following.pause(topic) : following.resume(topic))),
      save: (cursor) => this._cursors && this._emitter.call(this._cursors.save, topic, cursor),
      left: () => {
        this._feeds.delete(topic)
        link.run(() => following.unsubscribe(topic))
      },
    })
    this._feeds.set(topic, feed)
    const subscription = feed.subscribe(handler && this._safe(handler))
    // A kept place that cannot be read is an error to report, and no reason not to follow.
    this._emitter.call(async () => {
      /** @type {string | null | undefined} */
      let kept
      try {
        kept = this._cursors && (await this._cursors.load(topic))
      } finally {
        if (this._feeds.get(topic) === feed)
          link.run(() => following.subscribe(topic, (kept && parseCursor(kept)) || begin))
      }
    })
    return subscription
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
      const { link, publishing } = this._needV1(topic)
      const payload = owned(data)
      const code = !parseTopic(topic) || topic[0] === '$' ? 'bad-topic' : publishing.refusal(payload)
      if (code) throw new HeartwireError(code, topic)
      link.run(() => void this._publishes.set(publishing.publish(topic, payload), { resolve, reject }))
    })
  }

  /**
   * Plain mode: sends a message over the connection that is open.
   *
   * @param {string | Uint8Array | ArrayBuffer} data
   * @returns {boolean} false when none is: plain mode keeps nothing for later
   */
  send(data) {
    if (this._v1) throw new HeartwireError('wrong-mode')
    const link = this._link
    const isOpen = link.status === 'open'
    if (isOpen) link.run(() => link.send(owned(data)))
    return isOpen
  }

  /**
   * v1: replaces the token of the open connection before it runs out; later dials ask the token function.
   *
   * @param {string} token
   */
  renewToken(token) {
    this._needV1('token').renewToken(token)
  }

  /**
   * v1: asks the server for another heartbeat interval, on this connection and all later ones.
   *
   * @param {number} intervalMs
   */
  askInterval(intervalMs) {
    this._needV1('interval').askInterval(intervalMs)
  }

  /** Looks at once whether the connection lives; dials at once when there is none. */
  probe() {
    this._link.look()
  }

  /** Gives the connection up, if there is one, and dials at once, with all attempts. */
  reconnect() {
    this._link.reconnect()
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
      this.on('closed', () => resolve())
      this._link.close(flushMs)
    })
  }

  /** @private @param {string} topic */
  _needV1(topic) {
    if (!this._v1) throw new HeartwireError('wrong-mode', topic)
    if (this._link.isEnding()) throw new HeartwireError('closed', topic)
    return this._v1
  }

  /** @private @type {(handler: MessageHandler) => (message: Message) => void} */
  _safe(handler) {
    return (message) => this._emitter.call(handler, message)
  }

  /** What the link reports. @private @type {(name: string, details: any[]) => void} */
  _report(name, details) {
    const { emit } = this._emitter
    const [about, detail, event] = details
    if (name === 'message' || name === 'gap' || name === 'followed') {
      if (event) emit(name === 'gap' ? name : 'data', event)
      const feed = this._feeds.get(about)
      if (feed && detail) feed.deliver(detail, name === 'message' ? event : undefined)
    } else if (name === 'refused' || name === 'ended') {
      const error = new HeartwireError(detail, about)
      this._feeds.get(about)?.finish(error)
      this._feeds.delete(about)
      emit('error', error)
    } else if (typeof about === 'number') {
      const publish = this._publishes.get(about)
      this._publishes.delete(about)
      if (name !== 'stored') publish?.reject(new HeartwireError(detail || name))
      else publish?.resolve({ durability: this._v1?.welcome()?.durability || '' })
    } else if (name !== 'client-changed') {
      if (name === 'rtt') this._rtt = about
      if (name === 'closed') this._closed(about)
      emit(name === 'log-lost' ? 'gap' : name, ...details)
    }
  }

  /** @private @param {Ending} ending */
  _closed({ why, reason }) {
    const error = new HeartwireError('closed', `${why} ${reason}`)
    for (const { reject } of this._publishes.values()) reject(error)
    for (const feed of this._feeds.values()) feed.finish(why === 'application' ? undefined : error)
    this._publishes.clear()
    this._feeds.clear()
  }
}

/** @type {(from: string) => string | import('./id.js').Cursor} */
function beginning(from) {
  if (/^(tail|head|last [1-9]\d{0,14})$/.test(from)) return from
  const cursor = parseCursor(from)
  if (!cursor) throw new HeartwireError('bad-cursor', from)
  return cursor
}

/** The application may go on writing to its buffer; what is resent must not change. @type {(data: string | Uint8Array | ArrayBuffer) => string | Uint8Array} */
const owned = (data) => (typeof data === 'string' ? data : new Uint8Array(data).slice())
