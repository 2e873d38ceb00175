/**
 * The page's own link: it publishes numbered messages to a topic of its own, follows that topic, and lets itself be
 * broken. What it learns stands here as plain values; drawing them is the business of others.
 */

import { Heartwire, webPlatform } from '../heartwire.js'
import { milliseconds, seconds } from './format.js'
import { Sequence } from './sequence.js'
import { Tape } from './tape.js'
import { Wire } from './wire.js'

/** The interval to ask the server for: short, so that there is something to see. */
const INTERVAL_MS = 1_000
/** Messages go out between two heartbeats: any message is life, and nobody asks a link that is heard. */
const INTERVALS_PER_MESSAGE = 1.5
/** With so many messages on their way, no further ones are made. */
const WAITING_MAX = 200
const STORY_MAX = 40
/** The close code of a server that wants a token, or lets nobody in. */
const UNAUTHORIZED = 4001
const MESSAGES_MAX = 60

/** How a numbered message reads; people may see it elsewhere, too. */
const numbered = (/** @type {number} */ n, /** @type {string} */ run) => `beat ${n} of ${run}`
const NUMBERED = /^beat ([1-9]\d{0,14}) of (\w{1,16})$/

/** How the breaks read in the story and on the trace. */
const BREAKS = {
  silence: { note: 'silence', text: 'The link goes silent: the socket stays open, and nothing passes any more.' },
  cut: { note: 'cut', text: 'The connection is cut.' },
  sleep: { note: 'asleep', text: 'The page falls asleep: it says good-bye, and dials again when it wakes.' },
}

const now = () => performance.now()

/**
 * @typedef {object} Outage
 * @property {keyof typeof BREAKS | null} by what broke the link, if it was this page
 * @property {number} sinceMs
 * @property {boolean} isNoticed
 * @property {number | null} upTo once the link is open again: the highest number that waited for it
 */

export class Demo {
  /**
   * @param {string} url of the server's WebSocket
   * @param {{ topic: string, run: string }} names
   */
  constructor(url, { topic, run }) {
    this.topic = topic
    this.run = run
    this.sequence = new Sequence()
    this.tape = new Tape()
    /** The newest first. @type {Array<{ id: number, atMs: number, text: string }>} */
    this.story = []
    /** The newest first. @type {Array<{ id: number, offset: number, from: string | null, data: string | Uint8Array, delayMs: number | null }>} */
    this.messages = []
    /** Grows with each entry of the story and each message, and names it. */
    this.edition = 0
    /** What `welcome` said, in full. @type {import('../heartwire.js').Welcome & { server: string } | null} */
    this.welcome = null
    this.heardMs = now()
    /** @type {import('./tape.js').Pulse} */
    this.pulse = 'down'
    /** The question on the wire that waits for its answer. @type {{ id: string, atMs: number } | null} */
    this.asked = null
    /** @type {{ lastMs: number, minMs: number } | null} */
    this.roundTrip = null
    /** @type {import('../heartwire.js').Lost | null} */
    this.lost = null
    this.lostMs = 0
    /** @type {import('../heartwire.js').Ending | null} */
    this.ending = null
    /** @type {Outage | null} */
    this.outage = null
    this.wire = new Wire(webPlatform(), (frame) => this.passed(frame))
    this.link = new Heartwire(url, { platform: this.wire.platform, heartbeat: { intervalMs: INTERVAL_MS } })
    this.listen()
    this.beat()
  }

  get status() {
    return this.link.status
  }

  get heartbeat() {
    return this.welcome?.heartbeat ?? { interval_ms: INTERVAL_MS, timeout_ms: 10_000 }
  }

  /** Within this time of the last byte heard, the client knows that the link is dead. */
  get boundMs() {
    return this.ownIntervalMs + this.heartbeat.timeout_ms
  }

  /** Silence after which the client asks, as the server is late: a quarter longer than the server's interval. */
  get ownIntervalMs() {
    return 1.25 * this.heartbeat.interval_ms
  }

  // What the user does.

  /** @param {keyof typeof BREAKS} by */
  break(by) {
    if (this.status === 'closed' || (by === 'silence' && this.wire.isSilent)) return
    this.outage = { by, sinceMs: now(), isNoticed: false, upTo: null }
    this.note(BREAKS[by].note)
    this.tell(BREAKS[by].text)
    if (by === 'silence') this.wire.silence()
    if (by === 'cut') this.wire.cut()
    if (by === 'sleep') this.wire.sleep()
  }

  wake() {
    this.note('awake')
    this.tell('The page wakes, and dials at once.')
    this.wire.wake()
  }

  get isAsleep() {
    return this.wire.isAsleep
  }

  /**
   * @param {string} topic
   * @param {string} text
   * @returns {Promise<{ durability: string }>} resolves when stored, whatever the network does meanwhile
   */
  publish(topic, text) {
    return this.link.publish(topic, text)
  }

  // What the link reports.

  listen() {
    const { link } = this
    link.subscribe(this.topic, (message) => this.arrived(message))
    link.on('open', () => this.opened())
    link.on('lost', (lost) => this.onLost(lost))
    link.on('gap', (gap) => this.onGap(gap))
    link.on('closed', (ending) => this.onClosed(ending))
    link.on('error', (error) => this.tell(error.message))
  }

  opened() {
    const { outage, sequence } = this
    this.lost = null
    this.asked = null
    if (!outage) return this.tell('The link is open.')
    outage.upTo = sequence.sent
    const tookMs = now() - outage.sinceMs
    this.note(`open after ${seconds(tookMs)}`)
    this.tell(`Open again, ${seconds(tookMs)} after it broke; ${waitingWords(sequence.waiting.size)}`)
    this.settleOutage()
  }

  /** @param {import('../heartwire.js').Lost} lost */
  onLost(lost) {
    const atMs = now()
    this.lost = lost
    this.lostMs = atMs
    this.outage ??= { by: null, sinceMs: this.heardMs, isNoticed: false, upTo: null }
    const { outage } = this
    const next = lost.retryInMs === null ? '' : ` Next dial in ${seconds(lost.retryInMs)}.`
    if (outage.isNoticed) return this.tell(`Attempt ${lost.attempts} failed: ${reasonOf(lost)}.${next}`)
    outage.isNoticed = true
    const afterMs = atMs - outage.sinceMs
    const after = afterMs < 50 ? 'at once' : `after ${seconds(afterMs)}`
    this.note(outage.by ? `noticed ${after}` : lost.why)
    const said = outage.by ? `Noticed ${after}` : `Lost, ${seconds(afterMs)} after the last sign of life`
    this.tell(`${said}: ${reasonOf(lost)}.${next}`)
  }

  /** @param {import('../heartwire.js').GapEvent} gap */
  onGap({ topic, from, to, reason }) {
    const what = topic === null ? 'published messages' : 'messages'
    this.tell(`Gap: ${what} ${from} to ${to ?? '?'} are gone (${reason}).`)
  }

  /** @param {import('../heartwire.js').Ending} ending */
  onClosed(ending) {
    this.ending = ending
    this.tell(`The link is closed: ${ending.reason || ending.why} (${ending.code}).`)
    if (ending.code === UNAUTHORIZED) this.tell('A server that is started with --open-websocket lets this page in.')
  }

  /** @param {import('../heartwire.js').Message} message */
  arrived({ offset, from, data }) {
    const atMs = now()
    const [, digits, run] = (typeof data === 'string' && NUMBERED.exec(data)) || []
    const n = run === this.run ? Number(digits) : 0
    const sentMs = this.sequence.arrived(n)
    this.tape.mark(atMs, 'message')
    this.messages.unshift({ id: ++this.edition, offset, from, data, delayMs: sentMs === null ? null : atMs - sentMs })
    this.messages.length = Math.min(this.messages.length, MESSAGES_MAX)
    this.settleOutage()
  }

  /** The outage is over when everything that waited for its end has come to one. */
  settleOutage() {
    const { outage, sequence } = this
    if (!outage || outage.upTo === null) return
    const [oldest = Infinity] = sequence.waiting.keys()
    if (oldest <= outage.upTo) return
    this.outage = null
    this.tell(`Whole again: ${sequence.received} of ${sequence.sent} received, ${sequence.lost} lost, ${sequence.doubled} doubled.`)
  }

  // What passes on the wire.

  /** @param {import('./wire.js').Frame} frame */
  passed({ direction, verb, rest }) {
    const atMs = now()
    if (direction === 'in') this.heardMs = atMs
    if (direction === 'in' && verb === 'welcome') this.welcome = JSON.parse(rest)
    if (direction === 'in' && verb === 'heartbeat') this.heartbeat.interval_ms = Number(rest)
    // The server asks for life; as somebody is looking, the link asks back, to measure.
    if (direction === 'in' && verb === 'ping') this.link.probe()
    if (direction === 'in' && verb === 'pong') this.answered(rest, atMs)
    if (direction === 'out' && verb === 'ping') this.ask(rest, atMs)
  }

  /** @type {(id: string, atMs: number) => void} */
  ask(id, atMs) {
    this.asked = { id, atMs }
    this.tape.mark(atMs, 'question')
  }

  /** @type {(id: string, atMs: number) => void} */
  answered(id, atMs) {
    const { asked } = this
    if (asked?.id !== id) return
    const lastMs = atMs - asked.atMs
    this.asked = null
    this.roundTrip = { lastMs, minMs: Math.min(lastMs, this.roundTrip?.minMs ?? Infinity) }
    this.tape.mark(atMs, 'beat', milliseconds(lastMs))
  }

  // The numbered messages.

  beat() {
    setTimeout(() => this.beat(), INTERVALS_PER_MESSAGE * this.heartbeat.interval_ms)
    const { sequence, status } = this
    if (document.hidden || status === 'closed' || !this.welcome || sequence.waiting.size >= WAITING_MAX) return
    const n = sequence.next(now())
    this.link.publish(this.topic, numbered(n, this.run)).then(
      () => sequence.stored(n),
      () => sequence.refuse(n),
    )
  }

  // What is told.

  /** On the trace. @param {string} label */
  note(label) {
    this.tape.mark(now(), 'note', label)
  }

  /** In the story. @param {string} text */
  tell(text) {
    this.story.unshift({ id: ++this.edition, atMs: Date.now(), text })
    this.story.length = Math.min(this.story.length, STORY_MAX)
  }

  /** Brings the pulse up to the moment. @param {number} atMs */
  tick(atMs) {
    const isHeard = atMs - this.heardMs < this.ownIntervalMs
    this.pulse = this.status !== 'open' ? 'down' : isHeard ? 'alive' : 'quiet'
    this.tape.setPulse(atMs, this.pulse)
  }
}

const waitingWords = (/** @type {number} */ count) =>
  count === 0 ? 'nothing waited for it.' : count === 1 ? 'one message waited for it.' : `${count} messages waited for it.`

/** @param {import('../heartwire.js').Lost} lost */
const reasonOf = ({ why, code, reason }) => [why, reason && `“${reason}”`, code !== 1006 && `(${code})`].filter(Boolean).join(' ')
