/**
 * Runs a transcript of `spec/transcripts/client` against the link, as `spec/README.md` describes it.
 */

import assert from 'node:assert/strict'
import { parseCursor } from '../../src/id.js'
import { makePlainLink } from '../../src/plain.js'
import { makeV1Link } from '../../src/v1.js'
import { VirtualPlatform } from './virtual.js'

/** @typedef {Record<string, any>} Step */

const WIRE = ['dial', 'abandon', 'send', 'send_base64', 'send_ping']
const EVENTS_IGNORED = ['connecting', 'welcome', 'followed', 'rtt']

/** @type {(base64: string) => Uint8Array} */
export const bytes = (base64) => new Uint8Array(Buffer.from(base64, 'base64'))

/** @type {(payload: string | Uint8Array) => { text?: string, base64?: string }} */
export const asJson = (payload) =>
  typeof payload === 'string' ? { text: payload } : { base64: Buffer.from(payload).toString('base64') }

/** One transcript being played. */
class Player {
  /** @param {Step} transcript */
  constructor({ config = {}, random = 0.5, ignore = EVENTS_IGNORED }) {
    this.draw = random
    this.ignored = ignore
    this.platform = new VirtualPlatform(() => this.draw)
    this.platform.randomId = () => (this.platform.ids++ ? 'a-fresh-client-id' : (config.client ?? 'transcript-client'))
    /** What happened since the last input, in two lanes. @type {{ wire: Step[], events: Step[] }} */
    this.lanes = { wire: [], events: [] }
    this.lastWhy = { why: '', code: 0 }
    this.token = undefined
    this.platform.onDial = ({ attempt }) => this.lanes.wire.push({ dial: attempt })
    this.platform.onSend = (_, message) =>
      this.lanes.wire.push(typeof message === 'string' ? { send: message } : { send_base64: asJson(message).base64 })
    this.platform.onAbandon = ({ attempt }, code) =>
      this.lanes.wire.push(code ? { abandon: attempt, code } : { abandon: attempt })
    /** @type {import('../../src/v1.js').V1Link | undefined} */
    this.v1 = undefined
    this.link = this.make(config)
  }

  /** @param {Step} config @returns {import('../../src/link.js').Link} */
  make(config) {
    /** @type {import('../../src/link.js').Report} */
    const report = (name, ...details) => this.event(name, details)
    const { policy, delay_ms, attempts } = config.reconnect ?? {}
    const options = {
      url: 'ws://transcript',
      reconnect: {
        ...(attempts === undefined ? {} : { attemptsMax: attempts === 'unlimited' ? Infinity : attempts }),
        ...(policy === 'fixed' ? { fixedMs: delay_ms } : {}),
      },
      attemptTimeoutMs: config.attempt_timeout_ms,
    }
    if (config.mode === 'plain') {
      const { interval_ms, timeout_ms, ping, pong } = config.plain ?? {}
      const heartbeat = {
        intervalMs: interval_ms,
        timeoutMs: timeout_ms,
        ping,
        pong: pong && ((/** @type {any} */ data) => data === pong),
      }
      return makePlainLink(this.platform, { ...options, heartbeat }, report)
    }
    this.v1 = makeV1Link(
      this.platform,
      {
        ...options,
        agent: config.agent ?? 'transcript',
        heartbeat: { intervalMs: config.heartbeat_interval_ms },
        outbox: { messagesMax: config.outbox_messages_max, bytesMax: config.outbox_bytes_max },
        topicsMax: config.topics_max,
        producerMemoryMs: config.producer_memory_ms,
      },
      report,
    )
    return this.v1.link
  }

  /** What the link reports, as the transcript's event. @type {(name: string, details: any[]) => void} */
  event(name, details) {
    const [a, b, c] = details
    const push = (/** @type {string} */ event, /** @type {Step} */ members) =>
      this.lanes.events.push({ event, ...members })
    if (name === 'status') {
      if (a === 'connecting' || a === 'open') push(a, { attempt: this.platform.sockets.length })
      // Going to sleep while waiting is told by the state alone.
      if (a === 'asleep') push('suspended', { ...this.lastWhy, wake_in_ms: this.wakeInMs() })
      if (a === 'lost' && b !== 'connecting' && b !== 'open')
        push('lost', { ...this.lastWhy, retry_in_ms: this.wakeInMs(), attempts: 0 })
    } else if (name === 'lost') this.lost(a)
    else if (name === 'message') push(name, { ...c, time_ms: c.time, ...asJson(c.data) })
    else if (name === 'gap') push(name, { ...c, first: c.from, last: c.to })
    else if (name === 'followed') push(name, { topic: a, cursor: b })
    else if (name === 'refused' || name === 'ended') push(name, { topic: a, code: b })
    else if (name === 'stored' || name === 'in-doubt' || name === 'publish-refused')
      push(name, b ? { seq: a, code: b } : { seq: a })
    else if (name === 'log-lost') push(name, { from: a.from, to: a.to })
    else if (name === 'rtt') push(name, { last_ms: a.lastMs })
    else if (name === 'data') push('received', asJson(a))
    else if (name === 'closed' || name === 'client-changed') push(name, a ?? {})
    else if (name !== 'open') throw new Error(`the link reports ${name}: ${a}`)
  }

  wakeInMs() {
    const inMs = this.link.due.redial - this.platform.timeMs
    return inMs < Infinity ? inMs : null
  }

  /** @param {import('../../src/link.js').Lost} lost */
  lost({ why, code, retryInMs, attempts }) {
    this.lastWhy = { why, code }
    const isSuspended = ['suspended', 'asleep'].includes(this.link.status)
    const { events } = this.lanes
    if (isSuspended && events.at(-1)?.event === 'suspended') events.pop()
    if (isSuspended) events.push({ event: 'suspended', why, code, wake_in_ms: retryInMs })
    else events.push({ event: 'lost', why, code, retry_in_ms: retryInMs, attempts })
  }

  /** @param {Step} step */
  input(step) {
    const { platform } = this
    const socket = (/** @type {number} */ attempt) => platform.sockets[attempt - 1]
    if (step.app) return this.app(step)
    if (step.opened) {
      // The token is asked for before the dial; a transcript names it with the handshake.
      this.withToken(step.token, () => socket(step.opened).open(step.agreed === false ? '' : undefined))
    } else if (step.dial_failed) socket(step.dial_failed).close(1006, step.why ?? 'refused', step.retry_after_ms)
    else if ('receive' in step) socket(step.attempt ?? platform.sockets.length).receive(step.receive)
    else if (step.receive_base64) socket(step.attempt ?? platform.sockets.length).receive(bytes(step.receive_base64))
    else if (step.closed) socket(step.closed).close(step.code, step.reason)
    else if (step.advance_ms) return platform.advance(step.advance_ms)
    else if (step.freeze_ms) return void (platform.timeMs += step.freeze_ms)
    else if ('random' in step) this.draw = step.random
    else throw new Error(`no such step: ${JSON.stringify(step)}`)
    platform.runDue()
  }

  /** @type {(token: string | undefined, open: () => void) => void} */
  withToken(token, open) {
    const { send } = this.platform.socket
    if (token) {
      this.platform.socket.send = (message) => {
        const isHello = typeof message === 'string' && message.startsWith('hello\n')
        send.call(
          this.platform.socket,
          isHello ? `hello\n${JSON.stringify({ ...JSON.parse(message.slice(6)), token })}` : message,
        )
      }
    }
    open()
  }

  /** @param {Step} step */
  app(step) {
    const { link, v1 } = this
    const { app, topic, error } = step
    const data = step.text ?? (step.base64 === undefined ? undefined : bytes(step.base64))
    const run = (/** @type {() => unknown} */ act) => link.run(() => void act())
    if (error) return assert.equal(this.refusal(step, data), error)
    if (app === 'subscribe')
      run(() => v1?.following.subscribe(topic, parseCursor(step.from ?? '') ?? step.from ?? 'tail'))
    else if (app === 'unsubscribe') run(() => v1?.following.unsubscribe(topic))
    else if (app === 'pause') run(() => v1?.following.pause(topic))
    else if (app === 'resume') run(() => v1?.following.resume(topic))
    else if (app === 'publish') {
      link.run(() => {
        const seq = v1?.publishing.publish(topic, data)
        if (step.seq) assert.equal(seq, step.seq)
      })
    } else if (app === 'send') run(() => link.send(data))
    else if (app === 'token') v1?.renewToken(step.token)
    else if (app === 'heartbeat') v1?.askInterval(step.interval_ms)
    else if (app === 'probe') link.look()
    else if (app === 'reconnect') link.reconnect()
    else if (app === 'sleep') link.signal('sleep')
    else if (app === 'wake') link.signal('wake')
    else if (app === 'close') link.close(step.flush_ms)
    else throw new Error(`no such step: ${JSON.stringify(step)}`)
    this.platform.runDue()
  }

  /** Why the application cannot have its way; `heartwire.js` asks the same questions. @type {(step: Step, data: any) => string} */
  refusal({ app, topic }, data) {
    const { link, v1 } = this
    if (app === 'send') return v1 ? 'not-plain' : 'not-open'
    if (!v1) return 'plain'
    if (link.isEnding()) return 'closed'
    if (app === 'subscribe') return v1.following.hasRoom(topic) ? '' : 'too-many'
    if (topic[0] === '$') return 'reserved'
    return v1.publishing.refusal(data).replace('outbox-full', 'full')
  }

  /** What the link did must be what the steps say. @param {Step[]} expected */
  check(expected) {
    const happened = this.lanes
    this.lanes = { wire: [], events: [] }
    happened.events = happened.events.filter(({ event }) => !this.ignored.includes(event))
    const wanted = { wire: expected.filter((step) => !step.event), events: expected.filter((step) => step.event) }
    for (const lane of /** @type {const} */ (['wire', 'events'])) {
      const shown = happened[lane].map((step, place) => narrowed(step, wanted[lane][place]))
      assert.deepEqual(shown.map(normal), wanted[lane].map(normal), `${lane} at ${this.platform.timeMs} ms`)
    }
  }
}

/** Only the members that the expectation names. @type {(step: Step, expected?: Step) => Step} */
const narrowed = (step, expected) =>
  expected?.event ? Object.fromEntries(Object.keys(expected).map((key) => [key, step[key]])) : step

/** The JSON of `hello` and `token` is compared as JSON; `"*"` stands for any string. @param {Step} step */
function normal(step) {
  const [, verb, json] = /^(hello|token)\n(.*)$/s.exec(step.send ?? '') ?? []
  if (!verb) return step
  const members = JSON.parse(json)
  if (members.client === 'a-fresh-client-id') members.client = '*'
  return { [verb]: members }
}

/** @type {(step: Step) => boolean} */
const isExpectation = (step) => 'event' in step || WIRE.some((key) => key in step)

/** @param {Step} transcript */
export function play(transcript) {
  const player = new Player(transcript)
  const { steps } = transcript
  let at = 0
  const expectations = () => {
    const begin = at
    while (at < steps.length && isExpectation(steps[at])) at++
    return steps.slice(begin, at)
  }
  player.link.start()
  player.check(expectations())
  while (at < steps.length) {
    player.input(steps[at++])
    player.check(expectations())
  }
}
