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

/** How late a deadline may fire before the page counts as paused. */
const LATE_MS = 500
/** The extra time for an answer that a paused page found overdue. */
const GRACE_MS = 1_000

/**
 * @typedef {object} Rtt round-trip times of answered pings, in milliseconds
 * @property {number} lastMs the latest
 * @property {number} smoothedMs smoothed as TCP does: an eighth of each new sample
 * @property {number} minMs the least on this connection
 */

/** @typedef {ReturnType<typeof makeHeartbeat>} Heartbeat */

/**
 * One connection's heartbeat. After every call, `deadlineMs()` tells when `poll` is next due.
 *
 * @param {number} intervalMs silence after which the server is asked
 * @param {number} timeoutMs how long it may take to answer
 * @param {number} openMs the time
 * @param {number} [firstPart] the part of the interval after which the first ping comes, whatever is heard until then:
 *   a fleet that came back together must not beat together [LIVE-3]
 */
export function makeHeartbeat(intervalMs, timeoutMs, openMs, firstPart) {
  let heardMs = openMs
  let isFirst = firstPart !== undefined
  let deadlineMs = openMs + Math.floor(intervalMs * (firstPart ?? 1))
  let isAsking = false
  /** The id of the latest ping, when it was sent, and whether it has had its pong. */
  let pings = 0
  let askedMs = 0
  let isAnswered = true
  /** The answer was overdue once already; there is no third chance. */
  let isExtended = false
  /** @type {Rtt | null} */
  let rtt = null

  /** @type {(nowMs: number, withinMs: number) => number} */
  const ask = (nowMs, withinMs) => {
    isFirst = isAnswered = isExtended = false
    isAsking = true
    askedMs = nowMs
    deadlineMs = nowMs + withinMs
    return ++pings
  }

  return {
    deadlineMs: () => deadlineMs,
    heardMs: () => heardMs,
    rtt: () => rtt,
    timeoutMs,

    /** Anything arrived, whatever it means. @param {number} nowMs */
    heard(nowMs) {
      heardMs = nowMs
      if (isFirst) return
      isAsking = false
      deadlineMs = nowMs + intervalMs
    },

    /**
     * An answer arrived; other messages may have come before it.
     *
     * @param {number} nowMs
     * @param {number} [id] of the ping it answers; the latest, where answers have none
     * @returns {Rtt | null} the round trips, if it is the first answer to the latest ping
     */
    pong(nowMs, id = pings) {
      // An answer found long after its deadline was found by a page that had been paused, and tells no round trip.
      if (isAnswered || id !== pings || (isAsking && nowMs > deadlineMs + LATE_MS)) return null
      isAnswered = true
      const lastMs = nowMs - askedMs
      const { smoothedMs, minMs } = rtt ?? { smoothedMs: lastMs, minMs: lastMs }
      return (rtt = { lastMs, smoothedMs: Math.floor((smoothedMs * 7 + lastMs) / 8), minMs: Math.min(minMs, lastMs) })
    },

    /**
     * Asks at once, whatever the interval. A question under way keeps its ping but not a later deadline. [LIVE-6]
     *
     * @param {number} nowMs
     * @param {number} withinMs the time for the answer
     * @returns {number} the id of the ping to send, or 0
     */
    probe(nowMs, withinMs) {
      if (!isAsking) return ask(nowMs, withinMs)
      deadlineMs = Math.min(deadlineMs, nowMs + withinMs)
      return 0
    },

    /** Another interval is in force. [LIVE-7] @param {number} newMs */
    setInterval(newMs) {
      intervalMs = newMs
      isFirst = false
      if (!isAsking) deadlineMs = heardMs + intervalMs
    },

    /**
     * Does what is due. The caller has read everything that has arrived.
     *
     * @param {number} nowMs
     * @param {number} backlogMs more time for the answer, because of what stands before the question
     * @returns {number} the id of the ping to send, 0 when nothing is due, -1 when the link is dead
     */
    poll(nowMs, backlogMs) {
      const lateMs = nowMs - deadlineMs
      if (lateMs < 0) return 0
      if (!isAsking) return ask(nowMs, timeoutMs + backlogMs)
      if (lateMs <= LATE_MS || isExtended) return -1
      isExtended = true
      deadlineMs = nowMs + GRACE_MS
      return 0
    },
  }
}
