/** Close codes, and what `heartwire.v1` makes of the end of a connection. [CLOSE-1] */

import {
  BROKEN_MAX,
  FORBIDDEN,
  OVERLOADED,
  OVERLOADED_MS,
  PROTOCOL,
  RATE_LIMITED,
  TAKEN_OVER,
  TOKEN_EXPIRED,
  UNAUTHORIZED,
} from './constants.js'

/** @typedef {import('./link.js').Verdict} Verdict */

/** The delay that a close reason names, as in `retry 5000 draining`; 0 when it names none. [PLAIN-8] @type {(reason: string) => number} */
export const retryInReason = (reason) => +(/^retry (\d+)\b/.exec(reason) || [0, 0])[1]

/** What one link has come to think of its server. */
export function makeJudge() {
  /** Connections in a row that ended because a rule was broken. */
  let broken = 0
  /** A token ran out, or another process used the client's id, and no connection has been good since. */
  let isExpired = false
  let isCloned = false

  return {
    /** The server has let the link in. */
    _opened() {
      isExpired = false
    },

    /** The connection has proved itself. */
    _stable() {
      broken = 0
      isCloned = false
    },

    /** @type {(why: import('./link.js').LostWhy, code: number) => Verdict} */
    _judge(why, code) {
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
        _ending: broken >= BROKEN_MAX ? 'broken-rules' : isRefused ? 'refused' : undefined,
        _isLocal: isLocal,
        _leastMs: isOverloaded ? OVERLOADED_MS : 0,
      }
    },
  }
}
