/**
 * When a lost connection is dialled again.
 *
 * Whatever cuts one client cuts thousands. So the first dial of an outage comes after a random part of 3 s, not at
 * once, and later ones after a draw from a range that doubles up to 30 s: the jitter comes after the cap. [RETRY-2]
 * [RETRY-3] After 12 attempts the link is suspended, and tries by itself only every few minutes. [RETRY-4]
 */

import {
  ATTEMPTS_MAX,
  DELAY_MAX_MS,
  DELAY_MIN_MS,
  DELAY_UNIT_MS,
  FIRST_MAX_MS,
  FIXED_MIN_MS,
  NAMED_MAX_MS,
  NEVER,
  WAKE_EVERY_MS,
} from './constants.js'

/**
 * @typedef {object} ReconnectOptions
 * @property {number} [attemptsMax] attempts of one outage before the link is `suspended`; default 12, `Infinity` for no end
 * @property {number} [fixedMs] dial after exactly this time instead of a random one, and when the attempts are used up,
 *   wait for `reconnect()`. A fleet with fixed delays comes back in step; use it where there is one client
 */

/** @typedef {ReturnType<typeof makeBackoff>} Backoff */

/**
 * The delays of one link, and the count of one outage.
 *
 * @param {import('./platform.js').Platform} platform
 * @param {ReconnectOptions} [options]
 */
export function makeBackoff(platform, { attemptsMax = ATTEMPTS_MAX, fixedMs } = {}) {
  /** Attempts of this outage that count. */
  let attempts = 0
  /** Dials and connections of this outage that ended, counted or not. */
  let endings = 1

  /** @type {(lowMs: number, highMs: number) => number} */
  const drawMs = (lowMs, highMs) => lowMs + Math.floor((highMs - lowMs) * platform.random())

  function delayMs() {
    if (fixedMs !== undefined) return Math.max(fixedMs, FIXED_MIN_MS)
    if (!endings) return drawMs(0, FIRST_MAX_MS)
    return drawMs(DELAY_MIN_MS, Math.min(DELAY_MAX_MS, DELAY_UNIT_MS * 2 ** endings))
  }

  return {
    _attempts: () => attempts,

    /** The delay that the server named, and up to a tenth more. @param {number} delayMs */
    _namedMs(delayMs) {
      const boundedMs = Math.min(Math.max(delayMs, DELAY_MIN_MS), NAMED_MAX_MS)
      return drawMs(boundedMs, boundedMs * 1.1)
    },

    /** A delay for what is to be tried again soon, though nobody said when. */
    _soonMs: () => drawMs(DELAY_MIN_MS, FIRST_MAX_MS),

    /** When a suspended link tries by itself; never, if it waits to be asked. */
    _wakeMs: () => (fixedMs === undefined ? drawMs(WAKE_EVERY_MS / 2, WAKE_EVERY_MS * 1.5) : NEVER),

    /** Something local asked for a dial (a wake-up, a request), which counts for nothing: all attempts are there again. */
    _restart() {
      attempts = 0
      endings = 1
    },

    /** The connection has proved itself: the next loss begins an outage of its own. [RETRY-5] */
    _reset() {
      attempts = endings = 0
    },

    /**
     * The delay before the next dial.
     *
     * @param {number} serverMs what the server named, which is obeyed and makes the dial no attempt; 0 if nothing
     * @param {number} leastMs not sooner than this
     * @returns {number | null} null when the attempts are used up
     */
    _nextMs(serverMs, leastMs) {
      if (!serverMs && attempts >= attemptsMax) return null
      const nextMs = serverMs || Math.max(leastMs, delayMs())
      // A dial that has no chance is no attempt either.
      if (!serverMs && platform.isOnline()) attempts++
      endings++
      return nextMs
    },
  }
}
