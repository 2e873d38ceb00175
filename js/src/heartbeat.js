/**
 * The heartbeat: how the client learns that its link is dead.
 *
 *             heard                       nothing heard for the interval
 *        ┌───────────┐                   ┌──────────────────────────┐
 *        │           ▼                   │                          ▼
 *        └──────── quiet ────────────────┘        asking: a ping is on its way, its answer is due
 *                    ▲                                        │              │
 *                    └───────────── anything heard ───────────┘              │ nothing by then
 *                                                                            ▼
 *                                                                          dead
 *
 * A deadline that fires late says nothing about the server: the page may have been paused. So an answer that is found
 * overdue late gets another second. [LIVE-1] [LIVE-4] [LIVE-10]
 */

import { GRACE_MS, LATE_MS, NEVER, PROBE_MS, ROUND_TRIPS } from './constants.js'

/**
 * @typedef {object} Rtt round-trip times of answered pings, in milliseconds
 * @property {number} lastMs the latest
 * @property {number} smoothedMs smoothed as TCP does: an eighth of each new sample
 * @property {number} minMs the least on this connection
 */

/** @typedef {ReturnType<typeof makeHeartbeat>} Heartbeat */

/**
 * One connection's heartbeat. After every call, `_deadlineMs()` tells when `_check` is next due.
 *
 * @param {import('./link.js').Link} link
 * @param {number} intervalMs silence after which the server is asked
 * @param {number} timeoutMs how long it may take to answer
 * @param {number} firstMs after which the first ping comes; if that is not the interval, whatever is heard until then:
 *   a fleet that came back together must not beat together [LIVE-3]
 * @param {number} openingMs a round trip, until one has been measured
 */
export function makeHeartbeat(link, intervalMs, timeoutMs, firstMs, openingMs) {
  let heardMs = link._timeMs()
  let isFirst = firstMs !== intervalMs
  let deadlineMs = heardMs + firstMs
  let isAsking = false
  /** The id of the latest ping, when it was sent, and whether it has had its pong. */
  let pings = 0
  let askedMs = 0
  let isAnswered = true
  /** The answer was overdue once already; there is no third chance. */
  let isExtended = false
  /** The round trip: what opening took, until one has been measured. */
  let smoothedMs = openingMs
  let minMs = NEVER

  /** @param {number} withinMs */
  function ask(withinMs) {
    isFirst = isAnswered = isExtended = false
    isAsking = true
    askedMs = link._timeMs()
    deadlineMs = askedMs + withinMs + link._backlogMs()
    link._sendPing(++pings)
  }

  return {
    _deadlineMs: () => deadlineMs,
    _roundTripMs: () => smoothedMs,

    /** Anything arrived, whatever it means. */
    _heard() {
      heardMs = link._timeMs()
      if (isFirst) return
      isAsking = false
      deadlineMs = heardMs + intervalMs
    },

    /**
     * An answer arrived; other messages may have come before it. The first one to the latest ping tells the round trip.
     *
     * @param {number} [id] of the ping it answers; the latest, where answers have none
     */
    _answered(id = pings) {
      const nowMs = link._timeMs()
      // An answer found long after its deadline was found by a page that had been paused, and tells no round trip.
      if (isAnswered || id !== pings || (isAsking && nowMs > deadlineMs + LATE_MS)) return
      isAnswered = true
      const lastMs = nowMs - askedMs
      smoothedMs = minMs < NEVER ? Math.floor((smoothedMs * 7 + lastMs) / 8) : lastMs
      minMs = Math.min(minMs, lastMs)
      link._tell('rtt', { lastMs, smoothedMs, minMs })
    },

    /**
     * Asks at once, whatever the interval, with a time for the answer that a link known to be slow can keep. A question
     * under way keeps its ping but not a later deadline. [LIVE-6]
     */
    _probe() {
      const withinMs = Math.max(PROBE_MS, Math.min(smoothedMs * ROUND_TRIPS, timeoutMs))
      if (isAsking) deadlineMs = Math.min(deadlineMs, link._timeMs() + withinMs + link._backlogMs())
      else ask(withinMs)
    },

    /** Another interval is in force. [LIVE-7] @param {number} newMs */
    _beatEvery(newMs) {
      intervalMs = newMs
      isFirst = false
      if (!isAsking) deadlineMs = heardMs + intervalMs
    },

    /** Does what is due. Everything that has arrived has been read. */
    _check() {
      const nowMs = link._timeMs()
      if (nowMs < deadlineMs) return
      if (!isAsking) ask(timeoutMs)
      else if (nowMs <= deadlineMs + LATE_MS || isExtended) link._lose('silent', { reason: `${nowMs - heardMs} ms` })
      else {
        isExtended = true
        deadlineMs = nowMs + GRACE_MS
      }
    },
  }
}
