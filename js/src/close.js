/** Close codes: what the client makes of them. [CLOSE-1] */

export const NORMAL = 1000
/** No close frame came. */
export const ABNORMAL = 1006
export const PROTOCOL = 4000
export const TOKEN_EXPIRED = 4002
const UNAUTHORIZED = 4001
const FORBIDDEN = 4003
const TAKEN_OVER = 4009
const OVERLOADED = 4100
const RATE_LIMITED = 4102

/** The least time to stay away from a server that is overloaded, in milliseconds. */
const OVERLOADED_MS = 1_000

/** Whether the client never dials again after this code. @type {(code: number) => boolean} */
export const isFinal = (code) => code === UNAUTHORIZED || code === FORBIDDEN || code === TAKEN_OVER

/** The least delay before the next dial, in milliseconds. @type {(code: number) => number} */
export const leastDelayMs = (code) => (code === OVERLOADED || code === RATE_LIMITED ? OVERLOADED_MS : 0)

/** The delay that a close reason names, as in `retry 5000 draining`; 0 when it names none. [PLAIN-8] @type {(reason: string) => number} */
export const retryInReason = (reason) => +((/^retry ([1-9]\d{0,15})( |$)/.exec(reason) || [])[1] || 0)
