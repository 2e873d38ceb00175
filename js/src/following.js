/**
 * Following topics: how far each has been delivered, and what is to be asked.
 *
 * Each topic has a wish, the application's, and a place on the wire, this connection's. At most one question per topic
 * is under way, so an answer always belongs to the latest; a wish that changes meanwhile is acted upon when the answer
 * is there.
 *
 *              sub sent             subbed
 *     OFF ──────────────► ASKED ──────────────► ON
 *      ▲                    │ refused: forgotten │ ▲
 *      │ unsubbed           │                    │ │ sub sent, subbed: a hole was found,
 *      └───── LEAVING ◄─────┼────────────────────┘ │ or the application moved the cursor
 *                           └──────────────────────┘
 *
 * Only a topic that is ON, wished for and has nothing to ask delivers. All else is dropped without moving the cursor.
 * [SUB-3]
 */

import { breach, HeartwireError, refuse } from './errors.js'
import { subFrame } from './frames.js'
import { formatCursor, ownTopic } from './id.js'
import { ASKED, FOLLOW, HOLES_MAX, LEAVE, LEAVING, OFF, ON, PAUSE, TOPICS_MAX } from './constants.js'

/** @typedef {import('./frames.js').Cursor} Cursor */
/** @typedef {import('./frames.js').Gap} Gap */
/** @typedef {import('./frames.js').Payload} Payload */
/** @typedef {import('./frames.js').Place} Place */
/** @typedef {import('./subscription.js').Message} Message */

/** @typedef {Cursor & { _begin?: string }} From a cursor, unless the beginning is named: `tail`, `head` or `last N` */

/**
 * @typedef {object} Sink who takes what comes of a topic
 * @property {(cursor: string, message?: Message) => void} _deliver a message, or a step of the cursor without one
 * @property {(error?: Error) => void} _finish nothing more will come
 */

/**
 * @typedef {object} Topic
 * @property {string} _name
 * @property {Sink} _sink
 * @property {string} [_begin] where the application wanted to begin, until the server says where that is
 * @property {string} _epoch the epoch and the offset of the cursor
 * @property {number} _offset
 * @property {number} _wish FOLLOW, PAUSE or LEAVE
 * @property {number} _wire OFF, ASKED, ON or LEAVING
 * @property {boolean} _again the server's place is not ours: `sub` is to be sent again, and its last answer is void
 * @property {number} _holes in a row
 */

/**
 * @param {import('./link.js').Link} link
 * @param {number} [topicsMax]
 */
export function makeFollowing(link, topicsMax = TOPICS_MAX) {
  /** @type {Map<string, Topic>} */
  const topics = new Map()
  const all = () => [...topics.values()]

  /** The frame that is to be sent about a topic, if any. @param {Topic} topic */
  function question(topic) {
    const { _wire: wire } = topic
    if (topic._wish !== FOLLOW) return wire === ON ? `unsub ${topic._name}` : ''
    return wire === OFF || (wire === ON && topic._again)
      ? subFrame(topic._name, topic._begin || formatCursor(topic))
      : ''
  }

  /** @param {Topic} topic */
  function ask(topic) {
    const frame = question(topic)
    if (frame && link._isShaken()) {
      link._send(frame)
      topic._wire = topic._wish === FOLLOW ? ASKED : LEAVING
      topic._again = false
    }
    if (topic._wish === LEAVE && topic._wire === OFF) topics.delete(topic._name)
  }

  /** What came is not what comes next: the topic is asked for again. @param {Topic} topic */
  function askAgain(topic) {
    if (++topic._holes > HOLES_MAX) breach('MSG-3')
    topic._again = true
    ask(topic)
  }

  /** The topic, if it stands at one place on the wire; it moves on to the other. @type {(name: string, from: number, to: number) => Topic | undefined} */
  function step(name, from, to) {
    const topic = topics.get(name)
    if (!topic || topic._wire !== from) return
    topic._wire = to
    return topic
  }

  /** The topic, if what comes for it is to be heard. [MSG-8] @param {string} name */
  function delivering(name) {
    const topic = step(name, ON, ON)
    return topic && topic._wish === FOLLOW && !topic._again ? topic : undefined
  }

  /** @type {(topic: Topic, epoch: string, offset: number) => void} */
  function move(topic, epoch, offset) {
    Object.assign(topic, { _epoch: epoch, _offset: offset, _holes: 0 })
  }

  /** Hands on that the cursor has moved. @type {(topic: Topic, message?: Message) => void} */
  function deliver(topic, message) {
    const cursor = formatCursor(topic)
    link._later(() => topic._sink._deliver(cursor, message))
  }

  /** @type {(topic: string, from: number, gap: Gap) => void} */
  function tellGap(topic, from, [epoch, , last, reason]) {
    link._tell('gap', { topic, from, to: last || null, epoch, reason })
  }

  /** @type {(topic: Topic, code: string) => void} */
  function forget(topic, code) {
    topics.delete(topic._name)
    link._settle()
    if (topic._wish === LEAVE) return
    const error = new HeartwireError(code, topic._name)
    link._tell('error', error)
    link._later(() => topic._sink._finish(error))
  }

  return {
    // What the application asks for.

    /** Who takes what comes of a topic, if it is followed. @param {string} name */
    _sink(name) {
      const topic = topics.get(name)
      return topic && topic._wish !== LEAVE ? topic._sink : undefined
    },

    /** A topic is to be followed, as soon as its beginning is known. @type {(name: string, sink: Sink) => void} */
    _add(name, sink) {
      const known = topics.get(ownTopic(name))
      if (!known && topics.size >= topicsMax) refuse('limit', name)
      const topic = { _name: name, _sink: sink, _wish: PAUSE, _wire: known ? known._wire : OFF, _again: true }
      topics.set(name, /** @type {Topic} */ (topic))
    },

    /** For a topic that is followed already it moves the cursor. [SUB-13] @type {(name: string, from: From) => void} */
    _follow(name, from) {
      const topic = /** @type {Topic} */ (topics.get(name))
      const again = topic._wire === ASKED || topic._wire === ON
      Object.assign(topic, { _begin: '', _wish: FOLLOW, _again: again, _holes: 0 }, from)
      ask(topic)
    },

    /**
     * The application wants something else: to leave; to have nothing more until it follows again, where the cursor
     * stays [SUB-15]; to go on.
     *
     * @type {(name: string, wish: number) => void}
     */
    _wish(name, wish) {
      const topic = topics.get(name)
      if (!topic || topic._wish === LEAVE || topic._wish === wish) return
      topic._wish = wish
      // What came while it was paused and still on has been dropped.
      if (wish === FOLLOW && topic._wire === ON) topic._again = true
      ask(topic)
    },

    // What happens to the connection, and to the link.

    /** `hello` has been said: everything is asked for in the same flight, in the order of the names. [HELLO-5] [SUB-14] */
    _connected: () => all().sort(byName).forEach(ask),
    _disconnected() {
      for (const topic of all()) {
        topic._wire = OFF
        topic._holes = 0
        ask(topic)
      }
    },
    /** Whether no `sub` is unsent or unanswered. */
    _isSettled: () => !all().some((topic) => topic._wire === ASKED || (topic._wish === FOLLOW && question(topic))),
    /** The link is over. @param {Error} [error] */
    _finish: (error) => all().forEach((topic) => topic._sink._finish(error)),

    // What the server says.

    /** @type {(name: string, cursor: Cursor, ...gap: [] | ['gap', ...Gap]) => void} */
    subbed(name, cursor, ...gap) {
      const topic = step(name, ASKED, ON)
      if (!topic) return
      if (!topic._again && topic._wish !== LEAVE) {
        const [, ...lost] = gap
        if (!fits(topic, cursor, /** @type {any} */ (lost))) breach('SUB-4')
        Object.assign(topic, cursor, { _begin: '' })
        if (lost.length) tellGap(name, lost[1], lost)
        deliver(topic)
      }
      ask(topic)
      link._settle()
    },

    /** @param {string} name */
    unsubbed(name) {
      const topic = step(name, LEAVING, OFF)
      if (topic) ask(topic)
    },

    /** The server does not let it be followed. [SUB-11] @type {(name: string, code: string) => void} */
    refused(name, code) {
      const topic = step(name, ASKED, OFF)
      if (!topic) return
      if (topic._again) ask(topic)
      else forget(topic, code)
    },

    /** The server stopped it on its own; one with a question under way is left to the answer. [SUB-12] @type {(name: string, code: string) => void} */
    ended(name, code) {
      const topic = step(name, ON, OFF)
      if (topic) forget(topic, code)
    },

    /** Delivered if it is the one after the cursor. [MSG-4] @type {(data: Payload, name: string, place: Place, time: number, from?: string | null) => void} */
    msg(data, name, { _offset: offset, _prev: prev }, time, from = null) {
      const topic = delivering(name)
      if (!topic || offset <= topic._offset) return
      if (!topic._epoch || prev !== topic._offset) return askAgain(topic)
      move(topic, topic._epoch, offset)
      const message = { topic: name, data, cursor: formatCursor(topic), offset, time, from }
      link._tell('data', message)
      deliver(topic, message)
    },

    /** These will never come [MSG-5]; the part of them that was delivered is not named. @type {(name: string, ...gap: Gap) => void} */
    gap(name, ...gap) {
      const topic = delivering(name)
      const [epoch, first, last] = gap
      if (!topic) return
      if (!last) breach('MSG-5')
      const from = topic._offset + 1
      if ((topic._epoch || epoch) !== epoch || first > from) return askAgain(topic)
      if (last < from) return
      move(topic, epoch, last)
      tellGap(name, from, gap)
      deliver(topic)
    },

    /** The topic has been born. [SUB-7] @type {(name: string, epoch: string) => void} */
    epoch(name, epoch) {
      const topic = delivering(name)
      if (!topic || topic._epoch === epoch) return
      if (!topic._epoch) move(topic, epoch, 0)
      else askAgain(topic)
    },

    /** How far the server says it has sent; what has not arrived is asked for. [LIVE-9] @param {Array<[string, Cursor]>} tails */
    _tails(tails) {
      for (const [name, at] of tails) {
        const topic = delivering(name)
        if (!topic || !at._epoch) continue
        if (topic._epoch === at._epoch ? topic._offset >= at._offset : !topic._epoch && !at._offset) continue
        topic._again = true
        ask(topic)
      }
    },
  }
}

/** @type {(a: Topic, b: Topic) => number} */
const byName = (a, b) => (a._name < b._name ? -1 : 1)

/**
 * Whether an answer fits what was asked: nothing may be skipped, nor repeated, that no gap names. [SUB-8] [SUB-9]
 * [SUB-10]
 *
 * @type {(asked: Topic, cursor: Cursor, gap: [] | Gap) => boolean}
 */
function fits(asked, { _epoch: epoch, _offset: offset }, [lost, first, last, reason]) {
  if (asked._begin) return true
  if (reason === 'epoch') return asked._epoch === lost
  const isSameEpoch = (asked._epoch || epoch) === epoch
  if (!lost) return isSameEpoch && asked._offset === offset
  return isSameEpoch && epoch === lost && last === offset && first === asked._offset + 1
}
