/**
 * Publishing: what is in the outbox goes out in order, and stays there until the server has stored it. [PUB-1]
 */

import { namedMs, soonMs } from './backoff.js'
import { FrameError } from './errors.js'
import { pubFrame } from './frames.js'
import { ROUND_TRIPS } from './link.js'
import { byteLength, makeOutbox } from './outbox.js'

/** @typedef {import('./frames.js').Payload} Payload */
/** @typedef {import('./frames.js').Welcome} Welcome */
/** @typedef {import('./outbox.js').Entry} Entry */

/** How long servers remember who published [PUB-9]: an older publish may be stored already. */
const PRODUCER_MEMORY_MS = 24 * 3_600_000
/** A publish that waits so long makes the client ask, or for some round trips on a slow link. [PUB-11] */
const ASK_MS = 2_000
/** What is in flight is given time at this rate, before its answer, or that of a ping behind it, is missed. */
const SLOW_BYTES_PER_SECOND = 16 << 10
/** What may be in flight in any case, so that nothing stands behind much. */
const WINDOW_BYTES = 256 << 10
const UNACKED_MAX = 1_024
const MAY_PASS_CODES = ['unavailable', 'rate']

/**
 * @param {import('./link.js').Link} link
 * @param {import('./platform.js').Platform} platform
 * @param {{ outbox?: import('./outbox.js').OutboxOptions, producerMemoryMs?: number }} options
 */
export function makePublishing(link, platform, options) {
  const outbox = makeOutbox(options.outbox)
  const { due } = link
  /** The connection is open, and the server takes what comes. */
  let isFlowing = false
  /** What the server of the latest connection said. @type {Partial<Welcome>} */
  let server = {}
  /** The highest number known to be stored, and the one above which the server's window is counted. */
  let acked = 0
  let base = 0
  /** Since when the oldest publish in flight waits without a word about any, and whether the server was asked. */
  let waitingSinceMs = 0
  let isAsked = false

  const backlogMs = () => Math.floor((outbox.inFlightBytes() * 1_000) / SLOW_BYTES_PER_SECOND)

  /** The server spoke about publishes, or the first is under way. */
  function restartWaiting() {
    waitingSinceMs = link.nowMs
    isAsked = false
  }

  /** Sends as far as the server's window allows. */
  function flow() {
    if (!isFlowing || due.resend < Infinity) return
    const { unacked_max: messages = UNACKED_MAX, unacked_bytes_max: bytes = WINDOW_BYTES } = server.limits || {}
    const isFirst = !outbox.isInFlight()
    for (let entry; (entry = outbox.next(link.nowMs, base + messages, Math.min(bytes, WINDOW_BYTES)));) {
      link.send(pubFrame(entry.topic, entry.seq, entry.payload))
    }
    if (isFirst) restartWaiting()
  }

  /** Takes out what has come to an end, and tells how. @type {(name: string, isGone: (entry: Entry) => boolean, code?: string) => void} */
  function settle(name, isGone, code) {
    for (const { seq } of outbox.take(isGone)) link.tell(name, seq, code)
  }

  /** @param {number} seq */
  function stored(seq) {
    settle('stored', (entry) => entry.seq <= seq)
  }

  /** When the server is to be asked, and when the connection is given up. */
  function patience() {
    const sinceMs = waitingSinceMs + backlogMs()
    const timeoutMs = link.heartbeat ? link.heartbeat.timeoutMs : 0
    return { askMs: sinceMs + Math.max(link.roundTripMs() * ROUND_TRIPS, ASK_MS), dropMs: sinceMs + 2 * timeoutMs }
  }

  return {
    backlogMs,
    isEmpty: outbox.isEmpty,
    /** Whether the server has stored more than was ever sent: another process uses this client's id. [HELLO-11] @param {Welcome} welcome */
    isCloned: (welcome) => welcome.acked > outbox.highestSent(),

    /** Why a publish is not taken, as a code; empty if it is. @param {Payload} payload */
    refusal(payload) {
      const { message_bytes_max: bytesMax = Infinity } = server.limits || {}
      return byteLength(payload) > bytesMax ? 'too-large' : outbox.hasRoom(payload) ? '' : 'outbox-full'
    },

    /** Takes a publish that is not refused; returns its number. @type {(topic: string, payload: Payload) => number} */
    publish(topic, payload) {
      const seq = outbox.add(topic, payload)
      flow()
      return seq
    },

    /** What was sent under the old id may be stored, or taken for the other process's: nobody knows. */
    clientChanged() {
      settle('in-doubt', (entry) => entry.firstSentMs < Infinity)
      acked = 0
      server = {}
    },

    /** Compares what the server remembers with what this link knows. [HELLO-9] [HELLO-10] [PUB-2] @param {Welcome} welcome */
    welcomed(welcome) {
      const isSameLog = server.log === welcome.log
      if (server.log && !isSameLog && welcome.acked < acked)
        link.tell('log-lost', { topic: null, from: welcome.acked + 1, to: acked, epoch: null, reason: 'log' })
      acked = isSameLog ? Math.max(acked, welcome.acked) : welcome.acked
      stored(welcome.acked)
      const forgottenMs = link.nowMs - (options.producerMemoryMs ?? PRODUCER_MEMORY_MS)
      if (isSameLog && !welcome.producer_known) settle('in-doubt', (entry) => entry.firstSentMs < forgottenMs)
      const { message_bytes_max: bytesMax = Infinity } = welcome.limits || {}
      settle('publish-refused', (entry) => entry.bytes > bytesMax, 'too-large')
      // A producer that the server does not know may begin anywhere. [PUB-8]
      base = welcome.producer_known ? welcome.acked : outbox.firstSeq() - 1
      server = welcome
      isFlowing = true
      flow()
    },

    dropped() {
      isFlowing = false
      outbox.resendFrom(0)
    },

    unansweredMs() {
      if (!outbox.isInFlight() || due.resend < Infinity) return Infinity
      const { askMs, dropMs } = patience()
      return isAsked ? dropMs : Math.min(askMs, dropMs)
    },

    timeout() {
      const { nowMs } = link
      if (nowMs >= due.resend) {
        due.resend = Infinity
        flow()
      }
      if (nowMs < due.unanswered || !outbox.isInFlight()) return
      const { askMs, dropMs } = patience()
      if (nowMs >= dropMs) return link.lose('unanswered')
      if (nowMs < askMs || isAsked) return
      isAsked = true
      link.ask()
    },

    // What the server says.

    /** @param {number} seq */
    ack(seq) {
      if (seq > outbox.highestSent()) throw new FrameError('PUB-4')
      acked = Math.max(acked, seq)
      base = Math.max(base, seq)
      restartWaiting()
      stored(seq)
      flow()
    },

    /** One was not stored, and what follows it is being discarded. [PUB-5] [PUB-6] @type {(seq: number, code: string, retryMs: number | null) => void} */
    nack(seq, code, retryMs) {
      if (seq > outbox.highestSent()) throw new FrameError('PUB-5')
      restartWaiting()
      if (!MAY_PASS_CODES.includes(code)) settle('publish-refused', (entry) => entry.seq === seq, code)
      outbox.resendFrom(seq)
      if (outbox.has(seq)) {
        const random = platform.random()
        due.resend = link.nowMs + (retryMs === null ? soonMs(random) : namedMs(retryMs, random))
      } else {
        link.send(`skip ${seq}`)
        flow()
      }
    },
  }
}
