/** Close codes, and what `heartwire.v1` makes of the end of a connection. [CLOSE-1] */

/** @typedef {import('./link.js').Verdict} Verdict */

export const NORMAL = 1000
/** No close frame came. */
export const ABNORMAL = 1006
export const PROTOCOL = 4000
const UNAUTHORIZED = 4001
const TOKEN_EXPIRED = 4002
const FORBIDDEN = 4003
const TAKEN_OVER = 4009
const OVERLOADED = 4100
const RATE_LIMITED = 4102

/** The least time to stay away from a server that is overloaded, in milliseconds. */
const OVERLOADED_MS = 1_000
/** So many connections in a row that end because a rule was broken end the link. */
const BROKEN_MAX = 3

/** The delay that a close reason names, as in `retry 5000 draining`; 0 when it names none. [PLAIN-8] @type {(reason: string) => number} */
export const retryInReason = (reason) => +((/^retry (\d+)\b/.exec(reason) || [])[1] || 0)

/** What one link has come to think of its server. */
export function makeJudge() {
  /** Connections in a row that ended because a rule was broken. */
  let broken = 0
  /** A token ran out, or another process used the client's id, and no connection has been good since. */
  let isExpired = false
  let isCloned = false

  return {
    /** The server has let the link in. */
    opened() {
      isExpired = false
    },

    /** The connection has proved itself. */
    stable() {
      broken = 0
      isCloned = false
    },

    /** @type {(why: import('./link.js').LostWhy, code: number) => Verdict} */
    judge(why, code) {
      const isClone = why === 'client-id-in-use'
      const isExpiry = code === TOKEN_EXPIRED
      const isBroken = why === 'server-broke-rule' || code === PROTOCOL || (isClone && isCloned)
      // What this side can mend, the first time: another id, a fresh token.
      const isLocal = (isClone && !isCloned) || (isExpiry && !isExpired)
      broken = isBroken ? broken + 1 : 0
      isCloned = isCloned || isClone
      isExpired = isExpired || isExpiry
      const isRefused = code === UNAUTHORIZED || code === FORBIDDEN || code === TAKEN_OVER
      const isOverloaded = code === OVERLOADED || code === RATE_LIMITED
      return {
        ending: broken >= BROKEN_MAX ? 'broken-rules' : isRefused ? 'refused' : undefined,
        isLocal,
        leastMs: isOverloaded ? OVERLOADED_MS : 0,
      }
    },
  }
}
