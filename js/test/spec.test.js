/** The vectors and transcripts of `spec/`, which every implementation of the protocol runs. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { idFrame, jsonFrame, parseServerFrame, pubFrame, subFrame } from '../src/frames.js'
import { formatCursor } from '../src/id.js'
import { asJson, bytes, play } from './support/transcript.js'

const spec = new URL('../../spec/', import.meta.url)

/** @type {(path: string) => any} */
const read = (path) => JSON.parse(readFileSync(new URL(path, spec), 'utf8'))

/** @type {(message: { text?: string, base64?: string }) => string | Uint8Array} */
const messageOf = ({ text, base64 }) => text ?? bytes(base64 ?? '')

/** The transcripts that are not played, and why. @type {Record<string, string>} */
const NOT_PLAYED = {
  'plain-websocket-ping.json':
    'browsers and Mini Programs can neither send RFC 6455 Pings nor see Pongs; an option for Node alone would mislead',
}
/** The list may become shorter, and never longer. */
const NOT_PLAYED_MAX = 1

/** What `welcome` need not say. */
const WELCOME_DEFAULTS = {
  topics: [],
  features: [],
  server: '',
  durability: 'memory',
  limits: { message_bytes_max: 1048576, topics_max: 1000, unacked_max: 1024, unacked_bytes_max: 4194304 },
}

/** The members of a server's frame, in the order in which the parser gives them. @type {Record<string, string[]>} */
const MEMBERS = {
  subbed: ['topic', 'cursor', 'word', 'epoch', 'first', 'last', 'reason'],
  msg: ['payload', 'topic', 'place', 'time_ms', 'from'],
  gap: ['topic', 'epoch', 'first', 'last', 'reason'],
  epoch: ['topic', 'epoch'],
  unsubbed: ['topic'],
  refused: ['topic', 'code'],
  ended: ['topic', 'code'],
  ack: ['seq'],
  nack: ['seq', 'code', 'retry_ms'],
  heartbeat: ['interval_ms'],
  ping: ['tails', 'id'],
  pong: ['id'],
  bye: ['reason', 'code', 'retry_ms'],
}

/** The vector's form of a parsed frame. @type {(message: string | Uint8Array) => Record<string, any>} */
function parsed(message) {
  const frame = parseServerFrame(message)
  if (!frame.length) return { verb: 'unknown', unknown: /^[^ \n]*/.exec(String(message))?.[0] }
  const [verb, ...fields] = /** @type {[string, ...any[]]} */ (frame)
  if (verb === 'welcome') return { verb, json: fields[0] }
  const members = Object.fromEntries(MEMBERS[verb].map((name, place) => [name, fields[place] ?? null]))
  const { epoch, first, last, reason, cursor, payload, place, ...others } = members
  const gap = { epoch, first, last: last || null, reason }
  if (verb === 'msg') return { verb, ...others, offset: place._offset, prev: place._prev, ...asJson(payload) }
  if (verb === 'gap') return { verb, ...others, gap }
  if (verb === 'subbed') return { verb, topic: others.topic, cursor: formatCursor(cursor), gap: epoch && gap }
  if (verb === 'ping') others.tails = others.tails.map(asPosition)
  return { verb, ...members, ...others }
}

/** @type {(position: [topic: string, cursor: import('../src/id.js').Cursor]) => [string, string]} */
const asPosition = ([topic, cursor]) => [topic, formatCursor(cursor)]

describe('frames of a server', () => {
  for (const { name, message, frame, error } of read('frames/server.json')) {
    it(name, () => {
      if (error) return void assert.throws(() => parseServerFrame(messageOf(message)), { message: error })
      const result = parsed(messageOf(message))
      if (frame.verb === 'welcome') {
        const { motto, ...said } = /** @type {any} */ (result.json)
        result.json = { ...WELCOME_DEFAULTS, ...said }
      }
      assert.deepEqual(result, frame)
    })
  }
})

/** Writes a client's frame. @param {Record<string, any>} frame */
function written(frame) {
  const { verb, topic, seq, json, id, from, interval_ms } = frame
  if (verb === 'hello' || verb === 'token') return jsonFrame(verb, json)
  if (verb === 'ping' || verb === 'pong') return idFrame(verb, id)
  if (verb === 'pub') return pubFrame(topic, seq, messageOf(frame))
  if (verb === 'sub') return subFrame(topic, from)
  if (verb === 'unsub') return `unsub ${topic}`
  return verb === 'skip' ? `skip ${seq}` : `heartbeat ${interval_ms}`
}

describe('frames of a client', () => {
  for (const { name, message, frame, lenient } of read('frames/client.json')) {
    // The client writes frames and never reads its own: wrong ones, and other spellings, are the server's to test.
    if (!frame || lenient) continue
    it(name, () => {
      const result = written(frame)
      if (frame.json) assert.deepEqual(JSON.parse(/** @type {string} */ (result).slice(6)), frame.json)
      else assert.deepEqual(asJson(result), message)
    })
  }
})

describe('transcripts of a client', () => {
  for (const file of readdirSync(new URL('transcripts/client/', spec)).sort()) {
    const transcript = read(`transcripts/client/${file}`)
    it(`${file}: ${transcript.name}`, { skip: NOT_PLAYED[file] }, () => play(transcript))
  }

  it('are played but for what JavaScript cannot do', () => {
    assert.ok(Object.keys(NOT_PLAYED).length <= NOT_PLAYED_MAX)
    for (const [file, why] of Object.entries(NOT_PLAYED)) {
      assert.ok(why.length > 20, `${file} has a reason`)
      assert.throws(() => play(read(`transcripts/client/${file}`)), `${file} could be played`)
    }
  })
})
