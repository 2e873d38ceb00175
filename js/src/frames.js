/**
 * Frames: what travels in one WebSocket message of `heartwire.v1` (PROTOCOL.md, "Frames").
 *
 * A message is a header line of ASCII, then, if there is a payload, one LF and the payload. The client
 * reads the server's frames and writes its own. What breaks a rule is refused with the requirement's id:
 *
 * FRAME-1 one space between fields, ASCII · FRAME-2 header of at most 512 bytes · FRAME-4 no field missing,
 * none too many · FRAME-5 topic names · FRAME-6 numbers · FRAME-7 epochs and ids · FRAME-8 cursors ·
 * FRAME-9 JSON · FRAME-10 who has a payload · FRAME-11 codes and reasons · FRAME-12 FROM.
 */

import { FrameError } from './errors.js'
import { formatCursor, parseCursor, parseNumber, parseShort, parseTopic } from './id.js'

const HEADER_BYTES_MAX = 512
const JSON_BYTES_MAX = 16 * 1024
const FROM_BYTES_MAX = 240

/** @typedef {string | Uint8Array} Payload text or bytes, as they travel */
/** @typedef {import('./id.js').Cursor} Cursor */

/**
 * @typedef {object} Gap messages that will never come
 * @property {string} epoch the epoch they were in
 * @property {number} first the offset of the first of them
 * @property {number | null} last that of the last; null when nobody knows any more
 * @property {'retention' | 'epoch' | 'damage'} reason trimmed, gone with their epoch, or lost by the server's disk
 */

/**
 * @typedef {object} Welcome the fields of `welcome` that the client uses
 * @property {string} connection the server's name for this connection
 * @property {string} log the id of the server's log
 * @property {number} acked the last publish of this client that is stored
 * @property {boolean} producer_known whether the server remembers this client's publishes
 * @property {string[]} [topics] names from the URL, granted
 * @property {{ interval_ms: number, timeout_ms: number }} heartbeat what the server keeps to
 * @property {{ message_bytes_max?: number, unacked_max?: number, unacked_bytes_max?: number }} [limits]
 * @property {string} [durability] `memory`, `disk` or `quorum`
 */

/**
 * A frame of the server's: its verb, and the fields in the order of the header line, the payload last. A message's
 * offset and that of the one before it are one field.
 *
 * @typedef {['welcome', welcome: Welcome]
 *   | ['subbed', topic: string, cursor: Cursor, gap: Gap | null]
 *   | ['msg', topic: string, place: { offset: number, prev: number }, time: number, from: string | null, payload: Payload]
 *   | ['gap', topic: string, gap: Gap]
 *   | ['epoch', topic: string, epoch: string]
 *   | ['unsubbed', topic: string]
 *   | ['refused', topic: string, code: string]
 *   | ['ended', topic: string, code: string]
 *   | ['ack', seq: number]
 *   | ['nack', seq: number, code: string, retryMs: number | null]
 *   | ['heartbeat', intervalMs: number]
 *   | ['ping', id: string | null, tails: Array<[topic: string, cursor: Cursor]>]
 *   | ['pong', id: string | null]
 *   | ['bye', code: number, retryMs: number, reason: string]
 * } ServerFrame
 */

/** @type {(id: string) => never} */
const fail = (id) => {
  throw new FrameError(id)
}

/** A field that `parse` accepts. @type {<T>(parse: (text: string) => T | null, id: string) => (fields: string[]) => T} */
const field = (parse, id) => (fields) => {
  const text = fields.shift()
  if (!text) fail(text === '' ? 'FRAME-1' : 'FRAME-4')
  return parse(/** @type {string} */ (text)) ?? fail(id)
}

/** One of some words. @param {...string} words */
const word = (...words) => field((text) => (words.includes(text) ? text : null), 'FRAME-11')

/** A field that may be left out. @type {<T>(read: (fields: string[]) => T) => (fields: string[]) => T | null} */
const optional = (read) => (fields) => (fields.length ? read(fields) : null)

const topic = field(parseTopic, 'FRAME-5')
const number = field(parseNumber, 'FRAME-6')
const count = field((text) => parseNumber(text) || null, 'FRAME-6')
const short = field(parseShort, 'FRAME-7')
const cursor = field(parseCursor, 'FRAME-8')
const closeCode = field((text) => (/^[1-4]\d{3}$/.test(text) ? +text : null), 'FRAME-6')
const refusedCode = word('forbidden', 'limit', 'bad-topic')
const nackCode = word('forbidden', 'too-large', 'bad-topic', 'invalid-text', 'unavailable', 'rate')
const gapReason = word('retention', 'epoch', 'damage')
/** `90`, or `90<57` when the message before it is not 89. */
const place = field((text) => {
  const [at, before] = text.split('<')
  const offset = parseNumber(at)
  const prev = before === undefined ? (offset ?? 0) - 1 : parseNumber(before)
  return offset && prev !== null && prev < offset && text.split('<').length < 3 ? { offset, prev } : null
}, 'FRAME-6')
/** The publisher's identity. */
const from = field((text) => {
  try {
    return text.length <= FROM_BYTES_MAX && /^([\w\-.~:@]|%[\da-f]{2})+$/i.test(text) ? decodeURIComponent(text) : null
  } catch {
    return null
  }
}, 'FRAME-12')

/** @type {(fields: string[]) => Gap} */
const gap = (fields) => {
  const [epoch, first] = [short(fields), count(fields)]
  const last = fields[0] === '?' ? (fields.shift(), null) : count(fields)
  if (last !== null && last < first) fail('FRAME-6')
  return { epoch, first, last, reason: /** @type {Gap['reason']} */ (gapReason(fields)) }
}

/** The gap behind the word `gap`. @param {string[]} fields */
const wordAndGap = (fields) => (fields.shift() === 'gap' ? gap(fields) : fail('FRAME-4'))

/** Everything that is left. @param {string[]} fields */
const rest = (fields) => fields.splice(0).join(' ')

/** @type {(fields: string[], payload: Payload) => Payload} */
const body = (fields, payload) => payload

/** The positions that a ping carries, one `TOPIC CURSOR` a line. @type {(fields: string[], payload: Payload) => Array<[string, Cursor]>} */
const tails = (_, payload) =>
  (latin1(payload, 0).match(/.*\n|.+$/g) || []).map((line) => {
    const fields = line.trim().split(' ')
    return fields.length === 2 ? [topic(fields), cursor(fields)] : fail('FRAME-8')
  })

/** The fields of each frame. @type {Record<string, Array<(fields: string[], payload: Payload) => unknown>>} */
const FRAMES = {
  subbed: [topic, cursor, optional(wordAndGap)],
  msg: [topic, place, number, optional(from), body],
  gap: [topic, gap],
  epoch: [topic, short],
  unsubbed: [topic],
  refused: [topic, refusedCode],
  ended: [topic, refusedCode],
  ack: [count],
  nack: [count, nackCode, optional(number)],
  heartbeat: [number],
  ping: [optional(short), tails],
  pong: [optional(short)],
  bye: [closeCode, number, rest],
}

/**
 * Reads a frame of the server's; null for a verb that this version does not know, which is to be ignored.
 *
 * @param {Payload} message
 * @returns {ServerFrame | null}
 * @throws {FrameError} when it breaks a rule
 */
export function parseServerFrame(message) {
  const [header] = latin1(message, 0, HEADER_BYTES_MAX + 1).split('\n')
  const fields = header.split(' ')
  const verb = /** @type {string} */ (fields.shift())
  if (verb === 'welcome') return [verb, parseWelcome(latin1(message, verb.length + 1))]
  if (header.length > HEADER_BYTES_MAX) fail('FRAME-2')
  if (!/^[\0-\x7f]*$/.test(header)) fail('FRAME-1')
  if (!FRAMES.hasOwnProperty(verb)) return null
  const at = header.length + 1
  const payload = typeof message === 'string' ? message.slice(at) : message.subarray(at)
  const values = FRAMES[verb].map((read) => read(fields, payload))
  if (fields.length) fail(fields[0] ? 'FRAME-4' : 'FRAME-1')
  if (payload.length && verb !== 'msg' && verb !== 'ping') fail('FRAME-10')
  return /** @type {any} */ ([verb, ...values])
}

/** @type {(json: string) => Welcome} */
function parseWelcome(json) {
  const isCount = (/** @type {unknown} */ value) => Number.isSafeInteger(value) && /** @type {number} */ (value) >= 0
  try {
    const welcome = JSON.parse(json)
    const { connection, log, acked, producer_known, topics = [], heartbeat } = welcome
    const isWhole = parseShort(connection) && parseShort(log) && isCount(acked) && typeof producer_known === 'boolean'
    const beats = isCount(heartbeat.interval_ms) && isCount(heartbeat.timeout_ms)
    if (isWhole && beats && topics.every(parseTopic) && json.length <= JSON_BYTES_MAX) return welcome
  } catch {
    // Not JSON, or not an object with a heartbeat: refused below.
  }
  return fail('FRAME-9')
}

/**
 * A part of a message as a string, a character per byte of a binary one: enough for headers, which are ASCII.
 *
 * @type {(message: Payload, from: number, to?: number) => string}
 */
const latin1 = (message, from, to) =>
  typeof message === 'string' ? message.slice(from, to) : String.fromCharCode(...message.subarray(from, to))

/** `sub`: `from` is `tail`, `head`, `last N` or a cursor. @type {(topic: string, from: string | Cursor) => string} */
export const subFrame = (topic, from) =>
  from === 'tail' ? `sub ${topic}` : `sub ${topic} ${typeof from === 'string' ? from : formatCursor(from)}`

/** `pub`, as text or as bytes like its payload. @type {(topic: string, seq: number, payload: Payload) => Payload} */
export function pubFrame(topic, seq, payload) {
  const header = `pub ${topic} ${seq}\n`
  if (typeof payload === 'string') return header + payload
  const frame = new Uint8Array(header.length + payload.length)
  for (let i = 0; i < header.length; i++) frame[i] = header.charCodeAt(i)
  frame.set(payload, header.length)
  return frame
}

/** `ping` or `pong`. @type {(verb: 'ping' | 'pong', id: string | number | null) => string} */
export const idFrame = (verb, id) => (id === null ? verb : `${verb} ${id}`)

/** `hello` or `token`. @type {(verb: 'hello' | 'token', json: object) => string} */
export const jsonFrame = (verb, json) => `${verb}\n${JSON.stringify(json)}`
