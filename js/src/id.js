/**
 * The fields of a frame, each of which accepts exactly the texts that PROTOCOL.md, "Frames" allows.
 */

import { breach, refuse } from './errors.js'

/** Reads a text; throws the rule that it breaks. @template T @typedef {(text: string, before?: string) => T} Field */

/**
 * @typedef {object} Cursor everything up to here has been handled
 * @property {string} _epoch empty at the start: nothing seen yet, whatever the epoch will be
 * @property {number} _offset the last message handled; 0 when none was
 */

/** Nothing seen yet: `0` on the wire. @type {Cursor} */
export const START = { _epoch: '', _offset: 0 }

/**
 * Texts that match a pattern, and what they stand for; `value` throws when it is nothing. With others a rule is broken.
 *
 * @type {<T = string>(rule: string, pattern: RegExp, value?: Field<T>, fail?: (rule: string, text: string) => never) => Field<T>}
 */
export const field =
  (rule, pattern, value = /** @type {any} */ (String), fail = breach) =>
  (text, before) => {
    try {
      if (pattern.test(text)) return value(text, before)
    } catch {
      // It looked right, and is not: refused below.
    }
    return fail(rule, text)
  }

/** Decimal, no leading zeros; numbers are exact up to 2⁵³. */
export const number = field('FRAME-6', /^(0|[1-9]\d{0,15})$/, (digits) =>
  +digits < 2 ** 53 ? +digits : breach(digits),
)

/** A number, but not 0. */
export const count = field('FRAME-6', /[^0]/, number)

/** Epochs, and the ids of pings, logs and connections. */
export const short = field('FRAME-7', /^[\da-z]{1,16}$/)

const TOPIC = /^[\w$][\w\-.:@~]{0,199}$/

/** Names that begin with `$` can be followed, never published to. */
export const topic = field('FRAME-5', TOPIC)

/** A topic that the application names. */
export const ownTopic = field('bad-topic', TOPIC, String, refuse)

/** `EPOCH.OFFSET` or `0`. @type {Field<Cursor>} */
export const cursor = field('FRAME-8', /^(0|\w+\.\d+)$/, (text) => {
  const [epoch, digits] = text.split('.')
  return digits ? { _epoch: short(epoch), _offset: number(digits) } : START
})

/** @type {(cursor: Cursor) => string} */
export const formatCursor = (cursor) => (cursor._epoch ? `${cursor._epoch}.${cursor._offset}` : '0')

/** A client id nobody can guess: 28 characters of `0–9 a–z`. [HELLO-3] */
export const randomId = () => idOf(crypto.getRandomValues(new Uint32Array(4)))

/** @type {(words: Uint32Array) => string} */
export const idOf = (words) => Array.from(words, (word) => (word + 2 ** 32).toString(36)).join('')
