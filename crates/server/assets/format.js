/** Numbers as people read them, in few and steady widths. */

/** A round trip. @param {number} ms */
export const milliseconds = (ms) => (ms < 9.95 ? `${ms.toFixed(1)} ms` : `${Math.round(ms).toLocaleString('en')} ms`)

/** A wait. @param {number} ms */
export const seconds = (ms) => `${(ms / 1_000).toFixed(1)} s`

/** How long something has been there. @param {number} ms */
export function age(ms) {
  const s = Math.floor(ms / 1_000)
  if (s < 60) return `${s} s`
  if (s < 3_600) return `${Math.floor(s / 60)} min`
  if (s < 48 * 3_600) return `${Math.floor(s / 3_600)} h`
  return `${Math.floor(s / 86_400)} d`
}

/** How many. @param {number} n */
export const count = (n) => n.toLocaleString('en')

/** Events per second. @param {number} perSecond */
export const rate = (perSecond) => `${perSecond < 9.95 ? perSecond.toFixed(1) : count(Math.round(perSecond))}/s`

/** The time of day, to a tenth of a second. @param {number} wallMs */
export function clock(wallMs) {
  const at = new Date(wallMs)
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0')
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${Math.floor(at.getMilliseconds() / 100)}`
}
