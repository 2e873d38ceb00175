/**
 * Publishing: what the application publishes stays in the outbox until the server has stored it, and goes out in order,
 * over any number of connections. [PUB-1]
 *
 *     seq ──────────────────────────────────────────────►
 *     [ in flight: sent on this connection ][ not sent on it ]
 *       ▲ ack takes from here                ▲ the next to send   ▲ publish
 */

import {
  ASK_MS,
  NEVER,
  OUTBOX_BYTES_MAX,
  OUTBOX_MESSAGES_MAX,
  PRODUCER_MEMORY_MS,
  ROUND_TRIPS,
  SLOW_BYTES_PER_SECOND,
  UNACKED_MAX,
  WINDOW_BYTES,
} from './constants.js'
import { breach, HeartwireError, refuse } from './errors.js'
import { pubFrame } from './frames.js'
import { ownTopic } from './id.js'

/** @typedef {import('./frames.js').Payload} Payload */
/** @typedef {import('./frames.js').Welcome} Welcome */

/**
 * @typedef {object} Entry one publish
 * @property {number} _seq
 * @property {string} _topic
 * @property {Payload} _payload
 * @property {number} _bytes of the payload
 * @property {number[]} [_firstSent] when it first went out, on each clock, once it has
 * @property {(stored: { durability: string }) => void} _resolve
 * @property {(error: Error) => void} _reject
 */

/**
 * @typedef {object} OutboxOptions
 * @property {number} [messagesMax] what waits unacknowledged at most; default 4,096
 * @property {number} [bytesMax] and its bytes; default 16 MiB
 */

/**
 * @param {import('./link.js').Link} link
 * @param {import('./platform.js').Platform} platform
 * @param {{ outbox?: OutboxOptions, _producerMemoryMs?: number }} options
 */
export function makePublishing(link, platform, options) {
  const { outbox = {}, _producerMemoryMs: memoryMs = PRODUCER_MEMORY_MS } = options
  const { messagesMax = OUTBOX_MESSAGES_MAX, bytesMax = OUTBOX_BYTES_MAX } = outbox
  /** The outbox, in the order of the numbers. @type {Entry[]} */
  let entries = []
  /** The highest number given out, and the highest ever sent. */
  let assigned = 0
  let highestSent = 0
  /** The highest sent on this connection: what is not above it is in flight. */
  let sent = 0
  /** What the server takes: the largest message, and what may be in flight. */
  let messageBytesMax = NEVER
  let inFlightMax = 0
  let windowBytes = 0
  let timeoutMs = 0
  /** What the server of the latest connection said. @type {Partial<Welcome>} */
  let server = {}
  /** The highest number known to be stored. */
  let acked = 0
  /** Since when the oldest publish in flight waits without a word about any, and whether the server was asked. */
  let waitingSinceMs = 0
  let isAsked = false
  /** When the connection is given up for that. */
  let dropMs = 0
  /** When a publish that was refused for the moment is sent again; until then nothing is. */
  let resendMs = NEVER
  /** The refused number that is to be given up; 0 if there is none. */
  let skipSeq = 0

  /** The time on both clocks: the first may stand still while the machine sleeps, the second be set back. */
  const clocksMs = () => [platform.nowMs(), platform.wallMs()]
  const inFlight = () => entries.filter((entry) => entry._seq <= sent)
  const backlogMs = () => Math.floor((sum(inFlight()) * 1_000) / SLOW_BYTES_PER_SECOND)

  /** The server spoke about publishes, or the first is under way. */
  function restartWaiting() {
    waitingSinceMs = link._timeMs()
    isAsked = false
  }

  /** Sends as far as the server's window allows. One that is larger than the window travels alone. */
  function flow() {
    if (link._status !== 'open' || resendMs < NEVER) return
    if (skipSeq) link._send(`skip ${skipSeq}`)
    skipSeq = 0
    let count = inFlight().length
    let bytes = sum(inFlight())
    if (!count) restartWaiting()
    for (const entry of entries) {
      if (entry._seq <= sent) continue
      if (count && (count >= inFlightMax || bytes + entry._bytes > Math.min(windowBytes, WINDOW_BYTES))) return
      count++
      bytes += entry._bytes
      sent = entry._seq
      entry._firstSent ||= clocksMs()
      highestSent = Math.max(highestSent, sent)
      link._send(pubFrame(entry._topic, entry._seq, entry._payload))
    }
  }

  /** What is not below `seq` is to be sent again. @param {number} seq */
  function resendFrom(seq) {
    sent = Math.min(sent, seq - 1)
  }

  /** Takes out what is stored or, for the reason that a code names, given up. @type {(isGone: (entry: Entry) => unknown, code?: string) => void} */
  function settle(isGone, code) {
    entries = entries.filter((entry) => {
      if (!isGone(entry)) return true
      link._later(() =>
        code
          ? entry._reject(new HeartwireError(code, entry._topic))
          : entry._resolve({ durability: server.durability || '' }),
      )
    })
  }

  /** @param {number} seq */
  function stored(seq) {
    acked = Math.max(acked, seq)
    settle((entry) => entry._seq <= seq)
  }

  /** When something is to be done: to send again, to ask, to give the connection up. [PUB-11] */
  function publishesDueMs() {
    if (resendMs < NEVER || !inFlight().length) return resendMs
    const sinceMs = waitingSinceMs + backlogMs()
    dropMs = sinceMs + 2 * timeoutMs
    return isAsked ? dropMs : Math.min(sinceMs + Math.max(link._heartbeat._roundTripMs() * ROUND_TRIPS, ASK_MS), dropMs)
  }

  return {
    _backlogMs: backlogMs,
    _isEmpty: () => !entries.length,
    /** Whether the server has stored more than was ever sent: another process uses this client's id. [HELLO-11] @param {Welcome} welcome */
    _isCloned: (welcome) => welcome.acked > highestSent,

    /** Takes a publish, if it can; returns its number. @type {(topic: string, payload: Payload, resolve: Entry['_resolve'], reject: Entry['_reject']) => number} */
    _publish(topic, payload, resolve, reject) {
      const bytes = byteLength(payload)
      if (ownTopic(topic)[0] === '$') refuse('bad-topic', topic)
      if (bytes > messageBytesMax) refuse('too-large', topic)
      if (entries.length >= messagesMax || sum(entries) + bytes > bytesMax) refuse('outbox-full', topic)
      entries.push({
        _seq: ++assigned,
        _topic: topic,
        _payload: payload,
        _bytes: bytes,
        _resolve: resolve,
        _reject: reject,
      })
      flow()
      return assigned
    },

    /** What was sent under the old id may be stored, or taken for the other process's: nobody knows. */
    _clientChanged() {
      settle((entry) => entry._firstSent, 'in-doubt')
      acked = 0
      server = {}
    },

    /** Compares what the server remembers with what this link knows. [HELLO-9] [HELLO-10] [PUB-2] @param {Welcome} welcome */
    _welcomed(welcome) {
      const storedSeq = welcome.acked
      const isSameLog = server.log === welcome.log
      if (server.log && !isSameLog) {
        if (storedSeq < acked)
          link._tell('gap', { topic: null, from: storedSeq + 1, to: acked, epoch: null, reason: 'log' })
        acked = 0
      }
      server = welcome
      timeoutMs = welcome.heartbeat.timeout_ms
      ;({
        message_bytes_max: messageBytesMax = NEVER,
        unacked_max: inFlightMax = UNACKED_MAX,
        unacked_bytes_max: windowBytes = NEVER,
      } = welcome.limits || {})
      stored(storedSeq)
      if (isSameLog && !welcome.producer_known)
        settle(
          (entry) => entry._firstSent?.some((sentMs, clock) => clocksMs()[clock] - sentMs > memoryMs),
          'in-doubt',
        )
      settle((entry) => entry._bytes > messageBytesMax, 'too-large')
      flow()
    },

    /** The connection is gone. */
    _stop() {
      resendFrom(0)
      resendMs = NEVER
      skipSeq = 0
    },

    _publishesDueMs: publishesDueMs,

    _checkPublishes() {
      const nowMs = link._timeMs()
      if (nowMs < publishesDueMs()) return
      if (resendMs < NEVER) {
        resendMs = NEVER
        flow()
      } else if (nowMs >= dropMs) link._lose('unanswered')
      else {
        isAsked = true
        link._heartbeat._probe()
      }
    },

    /** The link is over. */
    _giveUp: () => settle(() => true, 'closed'),

    // What the server says.

    /** @param {number} seq */
    ack(seq) {
      if (seq > highestSent) breach('PUB-4')
      restartWaiting()
      stored(seq)
      flow()
    },

    /** One was not stored, and what follows it is being discarded. [PUB-5] [PUB-6] @type {(seq: number, code: string, retryMs?: number) => void} */
    nack(seq, code, retryMs) {
      if (seq > highestSent) breach('PUB-5')
      restartWaiting()
      resendFrom(seq)
      if (code === 'unavailable' || code === 'rate')
        resendMs = link._timeMs() + (retryMs === undefined ? link._backoff._soonMs() : link._backoff._namedMs(retryMs))
      else settle((entry) => entry._seq === seq, code)
      if (!entries.some((entry) => entry._seq === seq)) skipSeq = seq
      flow()
    },
  }
}

/** @type {(entries: Entry[]) => number} */
const sum = (entries) => entries.reduce((bytes, entry) => bytes + entry._bytes, 0)

/** The bytes of a payload as they travel: half a pair of surrogates is 2 of the pair's 4. @type {(payload: Payload) => number} */
const byteLength = (payload) =>
  (typeof payload === 'string'
    ? payload.replace(/[\u0800-\ud7ff\ue000-\uffff]/g, '3  ').replace(/[\x80-\u07ff\ud800-\udfff]/g, '2 ')
    : payload
  ).length
