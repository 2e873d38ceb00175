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

import { breach } from './errors.js'
import { count, cursor, field, number, short, topic } from './id.js'
import { HEADER_BYTES_MAX, JSON_BYTES_MAX } from './constants.js'

/** @typedef {string | Uint8Array} Payload text or bytes, as they travel */
/** @typedef {import('./id.js').Cursor} Cursor */

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
 * A frame of the server's: its verb, what stands behind the header line (of `bye`: its reason), then the fields in
 * their order. A message's offset and that of the one before it are one field. A gap is an epoch, the offsets of the
 * first and the last message in it, 0 when nobody knows the last any more, and a reason; `subbed` has the word `gap`
 * before it.
 *
 * @typedef {[epoch: string, first: number, last: number, reason: 'retention' | 'epoch' | 'damage']} Gap
 * @typedef {['welcome', welcome: Welcome]
 *   | ['subbed', topic: string, cursor: Cursor, ...gap: [] | ['gap', ...Gap]]
 *   | ['msg', payload: Payload, topic: string, place: Place, time: number, from?: string]
 *   | ['gap', topic: string, ...gap: Gap]
 *   | ['epoch', topic: string, epoch: string]
 *   | ['unsubbed', topic: string]
 *   | ['refused', topic: string, code: string]
 *   | ['ended', topic: string, code: string]
 *   | ['ack', seq: number]
 *   | ['nack', seq: number, code: string, retryMs?: number]
 *   | ['heartbeat', intervalMs: number]
 *   | ['ping', tails: Array<[topic: string, cursor: Cursor]>, id?: string]
 *   | ['pong', id?: string]
 *   | ['bye', reason: string, code: number, retryMs: number]
 * } ServerFrame
 */

/** @typedef {{ _offset: number, _prev: number }} Place */

/** `90`, or `90<57` when the message before it is not 89. @type {import('./id.js').Field<Place>} */
const place = field('FRAME-6', /^\d+(<\d+)?$/, (text) => {
  const [at, before = `${+at - 1}`] = text.split('<')
  const offset = number(at)
  const prev = number(before)
  return prev < offset ? { _offset: offset, _prev: prev } : breach(text)
})

/** The publisher's identity. */
const from = field('FRAME-12', /^[\w\-.~:@%]{1,240}$/, decodeURIComponent)

const reason = field('FRAME-1', /^[ -~]+$/)
const closeCode = field('FRAME-6', /^[1-4]\d{3}$/, Number)
const refusedCode = field('FRAME-11', /^(forbidden|limit|bad-topic)$/)
const nackCode = field('FRAME-11', /^(forbidden|too-large|bad-topic|invalid-text|unavailable|rate)$/)

const GAP = [
  short,
  count,
  field('FRAME-6', /./, (last, first) => (last === '?' ? 0 : +last < Number(first) ? breach(last) : number(last))),
  field('FRAME-11', /^(retention|epoch|damage)$/),
]

/**
 * How many fields each frame has at least, and what they are: so many, or all.
 *
 * @type {Record<string, [least: number, ...fields: Array<import('./id.js').Field<any>>]>}
 */
const FRAMES = {
  // Nothing is inherited: `constructor` is no verb.
  __proto__: /** @type {any} */ (null),
  subbed: [2, topic, cursor, field('FRAME-4', /^gap$/), ...GAP],
  msg: [3, topic, place, number, from],
  gap: [5, topic, ...GAP],
  epoch: [2, topic, short],
  unsubbed: [1, topic],
  refused: [2, topic, refusedCode],
  ended: [2, topic, refusedCode],
  ack: [1, count],
  nack: [2, count, nackCode, number],
  heartbeat: [1, number],
  ping: [0, short],
  pong: [0, short],
  bye: [2, closeCode, number],
}

/**
 * Reads a frame of the server's; nothing for a verb that this version does not know, which is to be ignored.
 *
 * @param {Payload} message
 * @returns {ServerFrame | []}
 * @throws {FrameError} when it breaks a rule
 */
export function parseServerFrame(message) {
  const [header] = latin1(message, 0, HEADER_BYTES_MAX + 1).split('\n')
  const [verb, ...texts] = header.split(' ')
  if (verb === 'welcome') return [verb, welcome(latin1(message, verb.length + 1))]
  if (header.length > HEADER_BYTES_MAX) breach('FRAME-2')
  if (/[^\0-\x7f]/.test(header)) breach('FRAME-1')
  if (!FRAMES[verb]) return []
  const [least, ...fields] = FRAMES[verb]
  const at = header.length + 1
  /** @type {any[]} */
  const body = []
  if (verb === 'bye') body.push(texts[least] == null ? '' : reason(texts.splice(least).join(' ')))
  const payload = message.slice(at)
  if (verb === 'msg') body.push(payload)
  else if (verb === 'ping') body.push(parseTails(payload))
  else if (payload.length) breach('FRAME-10')
  if (texts.length !== least && texts.length !== fields.length) breach('FRAME-4')
  return /** @type {any} */ ([verb, ...body, ...texts.map((text, i) => fields[i](text, texts[i - 1]))])
}

/** The positions that a ping carries, one `TOPIC CURSOR` a line. @type {(payload: Payload) => Array<[string, Cursor]>} */
function parseTails(payload) {
  const lines = latin1(payload, 0).split('\n')
  if (!lines[lines.length - 1]) lines.pop()
  return lines.map((line) => {
    const [name, ...rest] = line.split(' ')
    const position = cursor(rest.join(' '))
    return [topic(name), position]
  })
}

/** @type {import('./id.js').Field<Welcome>} */
const welcome = field('FRAME-9', /./, (json) => {
  const said = JSON.parse(json)
  const { topics = [], heartbeat } = said
  const isWhole =
    hasMembers(said, { connection: short, log: short, acked: number, producer_known: Boolean }) &&
    hasMembers(heartbeat, { interval_ms: number, timeout_ms: number }) &&
    topics.every((/** @type {string} */ name) => topic(name) === name)
  return isWhole && json.length <= JSON_BYTES_MAX ? said : breach(json)
})

/** Fields read texts; a member that is what its text stands for has the right type. @type {(said: any, members: Record<string, (text: any) => unknown>) => boolean} */
const hasMembers = (said, members) => Object.keys(members).every((name) => members[name](said[name]) === said[name])

/**
 * A part of a message as a string, a character per byte of a binary one: enough for headers, which are ASCII.
 *
 * @type {(message: Payload, from: number, to?: number) => string}
 */
function latin1(message, from, to) {
  const part = message.slice(from, to)
  return typeof part === 'string' ? part : String.fromCharCode(...part)
}

/** `sub`, from `tail`, `head`, `last N` or a cursor. @type {(topic: string, from: string) => string} */
export const subFrame = (topic, from) => (from === 'tail' ? `sub ${topic}` : `sub ${topic} ${from}`)

/** `pub`, as text or as bytes like its payload. @type {(topic: string, seq: number, payload: Payload) => Payload} */
export function pubFrame(topic, seq, payload) {
  const header = `pub ${topic} ${seq}\n`
  if (typeof payload === 'string') return header + payload
  const frame = new Uint8Array(header.length + payload.length)
  frame.set([...header].map((char) => char.charCodeAt(0)))
  frame.set(payload, header.length)
  return frame
}

/** `ping` or `pong`. @type {(verb: 'ping' | 'pong', id?: string | number | null) => string} */
export const idFrame = (verb, id) => (id ? `${verb} ${id}` : verb)

/** `hello` or `token`. @type {(verb: 'hello' | 'token', json: object) => string} */
export const jsonFrame = (verb, json) => `${verb}\n${JSON.stringify(json)}`
