/**
 * When a lost connection is dialled again.
 *
 * Whatever cuts one client cuts thousands. So the first dial of an outage comes after a random part of 3 s, not at
 * once, and later ones after a draw from a range that doubles up to 30 s: the jitter comes after the cap. [RETRY-2]
 * [RETRY-3] After 12 attempts the link is suspended, and tries by itself only every few minutes. [RETRY-4]
 */

/**
 * @typedef {object} ReconnectOptions
 * @property {number} [attemptsMax] attempts of one outage before the link is `suspended`; default 12, `Infinity` for no end
 * @property {number} [fixedMs] dial after exactly this time instead of a random one, and when the attempts are used up,
 *   wait for `reconnect()`. A fleet with fixed delays comes back in step; use it where there is one client
 */

const FIRST_MAX_MS = 3_000
const DELAY_MIN_MS = 300
const DELAY_MAX_MS = 30_000
const DELAY_UNIT_MS = 1_000
/** The longest time that a server can send a client away. */
const NAMED_MAX_MS = 3_600_000
const WAKE_EVERY_MS = 300_000
const ATTEMPTS_MAX = 12
const FIXED_MIN_MS = 100

/** @type {(lowMs: number, highMs: number, random: number) => number} */
const uniformMs = (lowMs, highMs, random) => lowMs + Math.floor((highMs - lowMs) * random)

/** The delay that the server named, and up to a tenth more. @type {(delayMs: number, random: number) => number} */
export function namedMs(delayMs, random) {
  const boundedMs = Math.min(Math.max(delayMs, DELAY_MIN_MS), NAMED_MAX_MS)
  return uniformMs(boundedMs, boundedMs * 1.1, random)
}

/** A delay for what is to be tried again soon, though nobody said when. @type {(random: number) => number} */
export const soonMs = (random) => uniformMs(DELAY_MIN_MS, FIRST_MAX_MS, random)

/**
 * The count of one outage.
 *
 * @param {ReconnectOptions} [options]
 */
export function makeBackoff({ attemptsMax = ATTEMPTS_MAX, fixedMs } = {}) {
  /** Attempts of this outage that count. */
  let attempts = 0
  /** Dials and connections of this outage that ended, counted or not. */
  let endings = 1

  /** @param {number} random */
  const delayMs = (random) => {
    if (fixedMs !== undefined) return Math.max(fixedMs, FIXED_MIN_MS)
    if (!endings) return uniformMs(0, FIRST_MAX_MS, random)
    return uniformMs(DELAY_MIN_MS, Math.min(DELAY_MAX_MS, DELAY_UNIT_MS * 2 ** Math.min(endings, 5)), random)
  }

  return {
    attempts: () => attempts,
    /** Whether a wake-up ends suspension; a fixed policy waits for a request. */
    wakes: fixedMs === undefined,

    /** Something local asked for a dial (a wake-up, a request), which counts for nothing: all attempts are there again. */
    restart() {
      attempts = 0
      endings = 1
    },

    /** The connection has proved itself: the next loss begins an outage of its own. [RETRY-5] */
    stable() {
      attempts = endings = 0
    },

    /**
     * The delay before the next dial.
     *
     * @param {number} serverMs what the server named, which is obeyed and makes the dial no attempt; 0 if nothing
     * @param {number} leastMs not sooner than this
     * @param {number} random in [0, 1)
     * @param {boolean} isAttempt false for a dial that has no chance, which does not count
     * @returns {number | null} null when the attempts are used up
     */
    nextMs(serverMs, leastMs, random, isAttempt) {
      if (!serverMs && attempts >= attemptsMax) return null
      const nextMs = serverMs || Math.max(leastMs, delayMs(random))
      if (!serverMs && isAttempt) attempts++
      endings++
      return nextMs
    },

    /** When a suspended link tries by itself; never, if it waits to be asked. @type {(random: number) => number} */
    wakeMs: (random) => (fixedMs === undefined ? uniformMs(WAKE_EVERY_MS / 2, WAKE_EVERY_MS * 1.5, random) : Infinity),
  }
}
