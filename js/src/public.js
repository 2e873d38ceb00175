/** What every entry of the package exports beside its `Heartwire`: the error, and the types. */

export { HeartwireError } from './errors.js'

/** @typedef {import('./heartwire.js').HeartwireOptions} HeartwireOptions */
/** @typedef {import('./heartwire.js').CursorStore} CursorStore */
/** @typedef {import('./heartwire.js').Events} Events */
/** @typedef {import('./heartwire.js').GapEvent} GapEvent */
/** @typedef {import('./heartwire.js').Opened} Opened */
/** @typedef {import('./backoff.js').ReconnectOptions} ReconnectOptions */
/** @typedef {import('./heartbeat.js').Rtt} Rtt */
/** @typedef {import('./link.js').Ending} Ending */
/** @typedef {import('./link.js').Lost} Lost */
/** @typedef {import('./link.js').Status} Status */
/** @typedef {import('./platform.js').Platform} Platform */
/** @typedef {import('./subscription.js').Message} Message */
/** @typedef {import('./subscription.js').Subscription} Subscription */
