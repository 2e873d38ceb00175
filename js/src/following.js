/**
 * Following topics: how far each has been delivered, and what is to be asked.
 *
 * Each topic has a wish, the application's, and a place on the wire, this connection's. At most one question per topic
 * is under way, so an answer always belongs to the latest; a wish that changes meanwhile is acted upon when the answer
 * is there.
 *
 *              sub sent             subbed
 *     off ──────────────► asked ──────────────► on
 *      ▲                    │ refused: forgotten │ ▲
 *      │ unsubbed           │                    │ │ sub sent, subbed: a hole was found,
 *      └───── leaving ◄─────┼────────────────────┘ │ or the application moved the cursor
 *                           └──────────────────────┘
 *
 * Only a topic that is on, wished for and has nothing to ask delivers. All else is dropped without moving the cursor.
 * [SUB-3]
 */

import { FrameError } from './errors.js'
import { subFrame } from './frames.js'
import { formatCursor, START } from './id.js'

/** @typedef {import('./frames.js').Cursor} Cursor */
/** @typedef {import('./frames.js').Gap} Gap */
/** @typedef {import('./frames.js').Payload} Payload */

/** @typedef {string | Cursor} From `tail`, `head`, `last N` or a cursor */

/**
 * @typedef {object} Topic
 * @property {string} name
 * @property {From} from where the application wanted to begin, until the server says where that is; then the cursor
 * @property {'follow' | 'pause' | 'leave'} wish
 * @property {'off' | 'asked' | 'on' | 'leaving'} wire
 * @property {boolean} again the server's place is not ours: `sub` is to be sent again, and its last answer is void
 * @property {number} holes in a row
 */

/** As many as servers allow by default. */
const TOPICS_MAX = 1_000
/** How often in a row a topic may show a hole before the server is taken to be broken. */
const HOLES_MAX = 8

/**
 * @param {import('./link.js').Link} link
 * @param {number} [topicsMax]
 */
export function makeFollowing(link, topicsMax = TOPICS_MAX) {
  /** @type {Map<string, Topic>} */
  const topics = new Map()
  let isConnected = false

  /** The frame that is to be sent about a topic, if any. @param {Topic} topic */
  function question({ name, from, wish, wire, again }) {
    if (wish === 'follow') return wire === 'off' || (wire === 'on' && again) ? subFrame(name, from) : ''
    return wire === 'on' ? `unsub ${name}` : ''
  }

  /** @param {Topic} topic */
  function ask(topic) {
    const frame = question(topic)
    if (isConnected && frame) {
      link.send(frame)
      topic.wire = topic.wish === 'follow' ? 'asked' : 'leaving'
      topic.again = false
    }
    if (topic.wish === 'leave' && topic.wire === 'off') topics.delete(topic.name)
  }

  /** What came is not what comes next: the topic is asked for again. @param {Topic} topic */
  function askAgain(topic) {
    if (++topic.holes > HOLES_MAX) throw new FrameError('MSG-3')
    topic.again = true
    ask(topic)
  }

  /** @type {(name: string, from: Topic['wish'], to: Topic['wish']) => void} */
  function wish(name, from, to) {
    const topic = topics.get(name)
    if (!topic || topic.wish !== from) return
    topic.wish = to
    // What came while it was paused and still on has been dropped.
    if (to === 'follow' && topic.wire === 'on') topic.again = true
    ask(topic)
  }

  /** The topic, if what comes for it is to be heard, and its cursor. [MSG-8] @param {string} name */
  function delivering(name) {
    const topic = topics.get(name)
    if (!topic || topic.wish !== 'follow' || topic.wire !== 'on' || topic.again) return null
    return { topic, ...(typeof topic.from === 'string' ? START : topic.from) }
  }

  /** @type {(topic: Topic, epoch: string, offset: number) => Cursor} */
  function move(topic, epoch, offset) {
    topic.holes = 0
    return (topic.from = { epoch, offset })
  }

  /** @type {(topic: string, gap: Gap, from?: number) => void} */
  function tellGap(topic, { epoch, first, last, reason }, from = first) {
    const cursor = last ? formatCursor({ epoch, offset: last }) : ''
    link.tell('gap', topic, cursor, { topic, from, to: last, epoch, reason })
  }

  /** @type {(topic: Topic, event: string, code: string) => void} */
  function forget({ name, wish }, event, code) {
    topics.delete(name)
    if (wish !== 'leave') link.tell(event, name, code)
    link.settle()
  }

  return {
    // What the application asks for.

    /** Whether a topic can be followed beside the others. @param {string} name */
    hasRoom: (name) => topics.has(name) || topics.size < topicsMax,

    /** For a topic that is followed already it moves the cursor. [SUB-13] @type {(name: string, from: From) => void} */
    subscribe(name, from) {
      const wire = topics.get(name)?.wire ?? 'off'
      const again = wire === 'asked' || wire === 'on'
      /** @type {Topic} */
      const topic = { name, from, wish: 'follow', wire, again, holes: 0 }
      topics.set(name, topic)
      ask(topic)
    },
    /** @param {string} name */
    unsubscribe(name) {
      wish(name, 'follow', 'leave')
      wish(name, 'pause', 'leave')
    },
    /** The application is slow: nothing more comes until `resume`, and the cursor stays. [SUB-15] @param {string} name */
    pause: (name) => wish(name, 'follow', 'pause'),
    /** @param {string} name */
    resume: (name) => wish(name, 'pause', 'follow'),

    // What happens to the connection.

    /** `hello` has been said: everything is asked for in the same flight, in the order of the names. [HELLO-5] [SUB-14] */
    connected() {
      isConnected = true
      for (const name of [...topics.keys()].sort()) ask(/** @type {Topic} */ (topics.get(name)))
    },
    dropped() {
      isConnected = false
      for (const topic of [...topics.values()]) {
        Object.assign(topic, { wire: 'off', again: false, holes: 0 })
        ask(topic)
      }
    },
    /** Whether no `sub` is unsent or unanswered. */
    isSettled: () =>
      ![...topics.values()].some((topic) => topic.wire === 'asked' || (topic.wish === 'follow' && question(topic))),

    // What the server says.

    /** @type {(name: string, cursor: Cursor, gap: Gap | null) => void} */
    subbed(name, cursor, gap) {
      const topic = topics.get(name)
      if (!topic || topic.wire !== 'asked') return
      topic.wire = 'on'
      if (!topic.again && topic.wish !== 'leave') {
        if (!fits(topic.from, cursor, gap)) throw new FrameError('SUB-4')
        topic.from = cursor
        if (gap) tellGap(name, gap)
        link.tell('followed', name, formatCursor(cursor))
      }
      ask(topic)
      link.settle()
    },

    /** @param {string} name */
    unsubbed(name) {
      const topic = topics.get(name)
      if (!topic || topic.wire !== 'leaving') return
      topic.wire = 'off'
      ask(topic)
    },

    /** The server does not let it be followed. [SUB-11] @type {(name: string, code: string) => void} */
    refused(name, code) {
      const topic = topics.get(name)
      if (!topic || topic.wire !== 'asked') return
      topic.wire = 'off'
      if (topic.again) ask(topic)
      else forget(topic, 'refused', code)
    },

    /** The server stopped it on its own; one with a question under way is left to the answer. [SUB-12] @type {(name: string, code: string) => void} */
    ended(name, code) {
      const topic = topics.get(name)
      if (topic && topic.wire === 'on') forget(topic, 'ended', code)
    },

    /** Delivered if it is the one after the cursor. [MSG-4] @type {(name: string, place: { offset: number, prev: number }, time: number, from: string | null, payload: Payload) => void} */
    msg(name, { offset, prev }, time, from, payload) {
      const at = delivering(name)
      if (!at || (at.epoch !== null && offset <= at.offset)) return
      if (at.epoch === null || prev !== at.offset) return askAgain(at.topic)
      const cursor = formatCursor(move(at.topic, at.epoch, offset))
      link.tell('message', name, cursor, { topic: name, data: payload, cursor, offset, time, from })
    },

    /** These will never come [MSG-5]; the part of them that was delivered is not named. @type {(name: string, gap: Gap) => void} */
    gap(name, gap) {
      const at = delivering(name)
      if (!at) return
      if (gap.last === null) throw new FrameError('MSG-5')
      const first = at.offset + 1
      if ((at.epoch ?? gap.epoch) !== gap.epoch || gap.first > first) return askAgain(at.topic)
      if (gap.last < first) return
      move(at.topic, gap.epoch, gap.last)
      tellGap(name, gap, first)
    },

    /** The topic has been born. [SUB-7] @type {(name: string, epoch: string) => void} */
    epoch(name, epoch) {
      const at = delivering(name)
      if (!at || at.epoch === epoch) return
      if (at.epoch === null) move(at.topic, epoch, 0)
      else askAgain(at.topic)
    },

    /** How far the server says it has sent; what has not arrived is asked for. [LIVE-9] @param {Array<[string, Cursor]>} tails */
    tails(tails) {
      for (const [name, { epoch, offset }] of tails) {
        const at = delivering(name)
        if (!at || epoch === null) continue
        if (at.epoch === epoch ? at.offset >= offset : at.epoch === null && !offset) continue
        at.topic.again = true
        ask(at.topic)
      }
    },
  }
}

/**
 * Whether an answer fits what was asked: nothing may be skipped, nor repeated, that no gap names. [SUB-8] [SUB-9]
 * [SUB-10]
 *
 * @type {(asked: From, cursor: Cursor, gap: Gap | null) => boolean}
 */
function fits(asked, { epoch, offset }, gap) {
  if (typeof asked === 'string') return true
  if (!gap) return (asked.epoch ?? epoch) === epoch && asked.offset === offset
  if (gap.reason === 'epoch') return asked.epoch === gap.epoch
  const isSameEpoch = (asked.epoch ?? epoch) === gap.epoch && epoch === gap.epoch
  return isSameEpoch && gap.last === offset && gap.first === asked.offset + 1
}
