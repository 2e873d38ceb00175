/**
 * Identifiers as text: parsing accepts exactly what PROTOCOL.md, "Frames" allows, and answers null otherwise.
 */

/**
 * @typedef {object} Cursor everything up to here has been handled
 * @property {string | null} epoch null at the start: nothing seen yet, whatever the epoch will be
 * @property {number} offset the last message handled; 0 when none was
 */

/** Nothing seen yet: `0` on the wire. @type {Cursor} */
export const START = { epoch: null, offset: 0 }

/** Decimal, no leading zeros, below 2⁵³. @type {(text: string) => number | null} */
export const parseNumber = (text) => (/^(0|[1-9]\d{0,15})$/.test(text) && +text < 2 ** 53 ? +text : null)

/** Epochs, and the ids of pings, logs and connections. @type {(text: string) => string | null} */
export const parseShort = (text) => (/^[0-9a-z]{1,16}$/.test(text) ? text : null)

/** Names that begin with `$` can be followed, never published to. @type {(text: string) => string | null} */
export const parseTopic = (text) => (/^[\w$][\w\-.:@~]{0,199}$/.test(text) ? text : null)

/** `EPOCH.OFFSET` or `0`. @type {(text: string) => Cursor | null} */
export function parseCursor(text) {
  if (text === '0') return START
  const [, epoch, digits] = /^([0-9a-z]{1,16})\.(\d+)$/.exec(text) || []
  const offset = digits ? parseNumber(digits) : null
  return offset === null ? null : { epoch, offset }
}

/** @type {(cursor: Cursor) => string} */
export const formatCursor = ({ epoch, offset }) => (epoch === null ? '0' : `${epoch}.${offset}`)

/** A client id: 32 hexadecimal digits nobody can guess. [HELLO-3] */
export function randomId() {
  const bytes = new Uint8Array(16)
  if (typeof crypto === 'object' && crypto.getRandomValues) crypto.getRandomValues(bytes)
  // Mini Programs have no synchronous secure source; the id is never shown to others, and not drawn twice.
  else bytes.forEach((_, i) => (bytes[i] = Math.random() * 256))
  return Array.from(bytes, (byte) => (byte + 256).toString(16).slice(1)).join('')
}
