/**
 * Runs a transcript of `spec/transcripts/client` against the link, as `spec/README.md` describes it.
 */

import assert from 'node:assert/strict'
import { FOLLOW, LEAVE, PAUSE } from '../../src/constants.js'
import { makeLink } from '../../src/link.js'
import { plainMode } from '../../src/plain.js'
import { v1Mode } from '../../src/v1.js'
import { parseCursor } from './cursor.js'
import { VirtualPlatform } from './virtual.js'

/** @typedef {Record<string, any>} Step */

const WIRE = ['dial', 'abandon', 'send', 'send_base64', 'send_ping']
/** What transcripts call the errors of this client. @type {Record<string, string>} */
const REFUSALS = { limit: 'too-many', 'bad-topic': 'reserved', 'outbox-full': 'full', 'too-large': 'too-large' }
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
    this.platform.randomId = () => {
      if (!this.platform.ids++) return config.client ?? 'transcript-client'
      this.lanes.events.push({ event: 'client-changed' })
      return 'a-fresh-client-id'
    }
    /** What happened since the last input, in two lanes. @type {{ wire: Step[], events: Step[] }} */
    this.lanes = { wire: [], events: [] }
    this.lastWhy = { why: '', code: 0 }
    this.token = undefined
    this.platform.onDial = ({ attempt }) => this.lanes.wire.push({ dial: attempt })
    this.platform.onSend = (_, message) =>
      this.lanes.wire.push(typeof message === 'string' ? { send: message } : { send_base64: asJson(message).base64 })
    this.platform.onAbandon = ({ attempt }, code) =>
      this.lanes.wire.push(code ? { abandon: attempt, code } : { abandon: attempt })
    /** What only v1 can do. @type {import('../../src/v1.js').V1Link | undefined} */
    this.v1 = undefined
    this.link = this.make(config)
    /** The verb of the frame that came last. */
    this.verb = ''
  }

  /** @param {Step} config @returns {import('../../src/link.js').Core} */
  make(config) {
    /** @type {import('../../src/link.js').Report} */
    const report = (name, ...details) => this.event(name, details)
    const { policy, delay_ms, attempts } = config.reconnect ?? {}
    const options = {
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
      return makeLink('ws://transcript', this.platform, { ...options, heartbeat }, report, plainMode)
    }
    this.v1 = makeLink(
      'ws://transcript',
      this.platform,
      {
        ...options,
        _agent: config.agent ?? 'transcript',
        heartbeat: { intervalMs: config.heartbeat_interval_ms },
        outbox: { messagesMax: config.outbox_messages_max, bytesMax: config.outbox_bytes_max },
        _topicsMax: config.topics_max,
        _producerMemoryMs: config.producer_memory_ms,
      },
      report,
      v1Mode,
    )
    return this.v1
  }

  /** What the link reports, as the transcript's event. @type {(name: string, details: any[]) => void} */
  event(name, details) {
    const [a, b] = details
    const push = (/** @type {string} */ event, /** @type {Step} */ members) =>
      this.lanes.events.push({ event, ...members })
    if (name === 'status') {
      if (a === 'connecting' || a === 'open') push(a, { attempt: this.platform.sockets.length })
      // Going to sleep while waiting is told by the state alone.
      if (a === 'asleep') this.waiting('suspended', { ...this.lastWhy })
      if (a === 'lost' && b !== 'connecting' && b !== 'open') this.waiting('lost', { ...this.lastWhy, attempts: 0 })
    } else if (name === 'lost') this.lost(a)
    else if (name === 'gap' && a.topic === null) push('log-lost', a)
    else if (name === 'gap') push(name, { ...a, first: a.from, last: a.to })
    // The frames `refused` and `ended` are one to the application: an error.
    else if (name === 'error') push(this.verb, { topic: a.about, code: a.code })
    else if (name === 'data' && this.v1) push('message', { ...a, time_ms: a.time, ...asJson(a.data) })
    else if (name === 'rtt') push(name, { last_ms: a.lastMs })
    else if (name === 'data') push('received', asJson(a))
    else if (name === 'closed') push(name, a)
    else if (name !== 'open') throw new Error(`the link reports ${name}: ${a}`)
  }

  /** The link waits to dial; it has no other timer then, which is set when all has been told. @type {(event: string, members: Step) => void} */
  waiting(event, members) {
    const { platform } = this
    const { timeMs } = platform
    const inMs = () => Math.min(...platform.timers.map(({ dueMs }) => dueMs)) - timeMs
    const nullable = () => (inMs() < Infinity ? inMs() : null)
    const dynamic = { get: nullable, enumerable: true }
    this.lanes.events.push(
      Object.defineProperties({ event, ...members }, { retry_in_ms: dynamic, wake_in_ms: dynamic }),
    )
  }

  /** @param {import('../../src/link.js').Lost} lost */
  lost({ why, code, retryInMs, attempts }) {
    this.lastWhy = { why, code }
    const isSuspended = ['suspended', 'asleep'].includes(this.link._status)
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
    else if ('receive' in step) this.receive(step, socket(step.attempt ?? platform.sockets.length))
    else if (step.receive_base64) socket(step.attempt ?? platform.sockets.length).receive(bytes(step.receive_base64))
    else if (step.heard) socket(step.heard).hear()
    else if (step.closed) socket(step.closed).close(step.code, step.reason)
    else if (step.advance_ms) return platform.advance(step.advance_ms)
    else if (step.freeze_ms) return void (platform.timeMs += step.freeze_ms)
    else if (step.machine_sleeps_ms) return void (platform.wallOffsetMs += step.machine_sleeps_ms)
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
    const run = (/** @type {() => unknown} */ act) => link._run(() => void act())
    const wish = (/** @type {number} */ wish) => run(() => v1?._wish(topic, wish))
    if (error) return assert.equal(this.refusal(step, data), error)
    if (app === 'subscribe') run(() => this.subscribe(topic, step.from ?? 'tail'))
    else if (app === 'unsubscribe') wish(LEAVE)
    else if (app === 'pause') wish(PAUSE)
    else if (app === 'resume') wish(FOLLOW)
    else if (app === 'publish') run(() => this.publish(topic, data, step.seq))
    else if (app === 'send') run(() => link._send(data))
    else if (app === 'token') run(() => v1?._renewToken(step.token))
    else if (app === 'heartbeat') run(() => v1?._askInterval(step.interval_ms))
    else if (app === 'probe') link._signal('wake')
    else if (app === 'reconnect') link._reconnect()
    else if (app === 'sleep') link._signal('sleep')
    else if (app === 'wake') link._signal('wake')
    else if (app === 'close') link._close(step.flush_ms)
    else throw new Error(`no such step: ${JSON.stringify(step)}`)
    this.platform.runDue()
  }

  /** @type {(topic: string, from: string) => void} */
  subscribe(topic, from) {
    const { v1 } = this
    /** @type {import('../../src/following.js').Sink} */
    const sink = {
      // Messages and gaps are told as events of the link.
      _deliver: (cursor, message) => {
        const { events } = this.lanes
        if (!message) events.push({ event: 'followed', topic, cursor })
      },
      _finish() {},
    }
    if (!v1?._sink(topic)) v1?._add(topic, sink)
    const cursor = parseCursor(from)
    v1?._follow(
      topic,
      cursor ? { _epoch: cursor.epoch ?? '', _offset: cursor.offset } : { _begin: from, _epoch: '', _offset: 0 },
    )
  }

  /** @type {(topic: string, data: any, expected?: number) => void} */
  publish(topic, data, expected) {
    let seq = 0
    const push = (/** @type {string} */ event, /** @type {Step} */ members) =>
      void this.lanes.events.push({ event, seq, ...members })
    seq = /** @type {NonNullable<typeof this.v1>} */ (this.v1)._publish(
      topic,
      data,
      () => push('stored', {}),
      (/** @type {any} */ { code }) => {
        // The end of the link is an event of its own.
        if (code === 'in-doubt') push(code, {})
        else if (code !== 'closed') push('publish-refused', { code })
      },
    )
    if (expected) assert.equal(seq, expected)
  }

  /** @type {(step: Step, socket: import('./virtual.js').VirtualSocket) => void} */
  receive({ receive }, socket) {
    this.verb = receive.split(' ')[0]
    socket.receive(receive)
  }

  /** Why the application cannot have its way, as transcripts name it. @type {(step: Step, data: any) => string} */
  refusal({ app, topic, from = 'tail' }, data) {
    const { link, v1 } = this
    if (app === 'send') return v1 ? 'not-plain' : 'not-open'
    if (!v1) return 'plain'
    if (link._isClosing()) return 'closed'
    try {
      link._run(() => (app === 'subscribe' ? this.subscribe(topic, from) : this.publish(topic, data)))
      return ''
    } catch (error) {
      return REFUSALS[/** @type {any} */ (error).code]
    }
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
  player.link._reconnect()
  player.check(expectations())
  while (at < steps.length) {
    player.input(steps[at++])
    player.check(expectations())
  }
}
