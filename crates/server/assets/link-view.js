/** Shows the page's own link, and hands its buttons on. */

import { byId, make, Rows, setFlag, setText } from './dom.js'
import { clock, count, milliseconds, seconds } from './format.js'
import { Trace } from './trace.js'

/** @typedef {import('./demo.js').Demo} Demo */

/** How often words and numbers follow the link: more often nobody could read them. */
const WORDS_MS = 100
const CALM_WORDS_MS = 1_000

const COUNTS = /** @type {const} */ (['sent', 'received', 'lost', 'doubled'])
/** The counts that stay zero unless something is wrong. */
const NEVER = /** @type {const} */ (['lost', 'doubled'])

/** What each state means, for the one line below it. @type {Record<string, (demo: Demo) => string>} */
const SENTENCES = {
  connecting: () => 'Dialling the server.',
  open: (demo) =>
    demo.pulse === 'quiet' ? 'Nothing is heard; the link asks.' : `Should it die, this page knows within ${seconds(demo.boundMs)}.`,
  lost: (demo) => (demo.lost ? `${WHY[demo.lost.why] ?? demo.lost.why} It dials again by itself.` : ''),
  suspended: () => 'All attempts are used up. It dials when the network changes, or when you say so.',
  asleep: () => 'It has said good-bye, and dials when the page wakes.',
  closed: (demo) => `For good: ${demo.ending?.reason || demo.ending?.why || 'closed'}.`,
}

/** What became of the connection, by the client's words. @type {Record<string, string>} */
const WHY = {
  'dial-failed': 'There was no answer.',
  'not-agreed': 'Something between speaks another protocol.',
  'attempt-timeout': 'The attempt took too long.',
  silent: 'Nothing was heard in time.',
  unanswered: 'A message stayed unanswered.',
  closed: 'The connection was closed.',
}

export class LinkView {
  /** @param {Demo} demo */
  constructor(demo) {
    this.demo = demo
    this.trace = new Trace(/** @type {HTMLCanvasElement} */ (byId('trace')), demo.tape)
    this.hero = byId('hero')
    this.edition = -1
    this.wordsMs = -Infinity
    this.story = new Rows(byId('story'), { key: ({ id }) => id, make: storyRow })
    this.messages = new Rows(byId('messages'), { key: ({ id }) => id, make: messageRow })
    setText(byId('topic'), demo.topic)
    this.bind()
    this.frame = this.frame.bind(this)
    requestAnimationFrame(this.frame)
  }

  bind() {
    const { demo } = this
    /** @type {(id: string, act: () => void) => void} */
    const press = (id, act) => byId(id).addEventListener('click', () => byId(id).ariaDisabled !== 'true' && act())
    press('silence', () => demo.break('silence'))
    press('cut', () => demo.break('cut'))
    press('sleep', () => (demo.isAsleep ? demo.wake() : demo.break('sleep')))
    press('dial', () => demo.link.reconnect())
  }

  frame() {
    const nowMs = performance.now()
    this.demo.tick(nowMs)
    this.trace.draw(nowMs)
    if (nowMs - this.wordsMs >= (this.trace.calm.matches ? CALM_WORDS_MS : WORDS_MS)) {
      this.wordsMs = nowMs
      this.words(nowMs)
    }
    requestAnimationFrame(this.frame)
  }

  /** @param {number} nowMs */
  words(nowMs) {
    const { demo, hero } = this
    hero.classList.toggle('alive', demo.pulse === 'alive')
    setText(byId('status'), demo.status)
    setText(byId('sentence'), SENTENCES[demo.status](demo))
    setText(byId('ticking'), ticking(demo, nowMs))
    setText(byId('about'), demo.welcome ? `${demo.welcome.server} · ${demo.welcome.durability}` : '')
    setText(byId('round-trip'), demo.roundTrip ? milliseconds(demo.roundTrip.lastMs) : '–')
    setText(byId('least'), demo.roundTrip ? `least ${milliseconds(demo.roundTrip.minMs)}` : '\u00a0')
    this.buttons()
    this.counts()
    if (this.edition === demo.edition) return
    this.edition = demo.edition
    this.story.update(demo.story)
    this.messages.update(demo.messages)
  }

  buttons() {
    const { status, isAsleep } = this.demo
    setFlag(byId('silence'), 'aria-disabled', status !== 'open')
    setFlag(byId('cut'), 'aria-disabled', status !== 'open')
    setFlag(byId('sleep'), 'aria-disabled', status === 'closed')
    setFlag(byId('dial'), 'aria-disabled', isAsleep || !['lost', 'suspended'].includes(status))
    setText(byId('sleep'), isAsleep ? 'Wake up' : 'Sleep')
  }

  counts() {
    const { sequence } = this.demo
    for (const name of COUNTS) setText(byId(name), count(sequence[name]))
    setText(byId('waiting'), count(sequence.waiting.size))
    for (const name of NEVER) byId(name).closest('div')?.classList.toggle('wrong', sequence[name] > 0)
  }
}

/** The line that moves all the time, and is not read aloud. @type {(demo: Demo, nowMs: number) => string} */
function ticking({ status, pulse, heardMs, asked, lost, lostMs, heartbeat }, nowMs) {
  const silentMs = nowMs - heardMs
  if (status === 'lost' && lost?.retryInMs) return `next dial in ${seconds(Math.max(0, lostMs + lost.retryInMs - nowMs))}`
  if (status !== 'open') return '\u00a0'
  const every = `heartbeat every ${seconds(heartbeat.interval_ms)}, answer within ${seconds(heartbeat.timeout_ms)}`
  if (pulse === 'alive') return `heard ${seconds(silentMs)} ago · ${every}`
  return `nothing heard for ${seconds(silentMs)}${asked ? ` · asked ${seconds(nowMs - asked.atMs)} ago` : ''} · ${every}`
}

/** @param {Demo['story'][number]} entry */
function storyRow({ atMs, text }) {
  const row = make('li')
  row.append(make('time', clock(atMs)), make('span', text))
  return row
}

/** @param {Demo['messages'][number]} message */
function messageRow({ offset, from, data, delayMs }) {
  const isNumbered = delayMs !== null
  const text = typeof data === 'string' ? data : `${count(data.length)} bytes, binary`
  const row = make('tr', '', isNumbered ? 'numbered' : '')
  const words = make('td', from ? `${text} — from ${from}` : text)
  words.title = words.textContent
  row.append(make('td', String(offset)), words, make('td', isNumbered ? milliseconds(delayMs) : '', 'number'))
  return row
}
