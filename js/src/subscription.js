/**
 * What the application does with a topic's messages: handlers and async iterators, and the place that may be kept for
 * the next page load, which is that of the slowest of them.
 */

import { FOLLOW, LEAVE, PAUSE, QUEUE_MAX } from './constants.js'

/**
 * @typedef {object} Message
 * @property {string} topic
 * @property {string | Uint8Array} data text, or bytes
 * @property {string} cursor the place of this message; `subscribe` with it resumes behind it
 * @property {number} offset the message's number in its topic
 * @property {number} time when the server stored it, in milliseconds since 1970 UTC; a label, as clocks jump
 * @property {string | null} from who published it, if the server says so
 */

/** @typedef {(message: Message) => unknown} MessageHandler */

/**
 * A subscription: call it to stop it, or iterate over it.
 *
 * @typedef {(() => void) & AsyncIterable<Message>} Subscription
 */

/** @typedef {{ _cursor: string, _message?: Message }} Item a message, or a step of the cursor without one */

/** @typedef {{ _place: number }} Reader an iterator, by how many items of the feed it has dealt with */

/** @typedef {ReturnType<typeof makeFeed>} Feed */

/**
 * Everybody in this application who follows one topic.
 *
 * @param {(wish: number) => void} wish the topic is to be paused, to go on, or to be left, as nobody follows any more
 * @param {(cursor: string) => void} save everything up to here has been dealt with
 */
export function makeFeed(wish, save) {
  /** @type {Set<(message: Message) => void>} */
  const handlers = new Set()
  /** @type {Set<Reader>} */
  const readers = new Set()
  /** What the slowest reader has not dealt with, and how many items came before. @type {Item[]} */
  const items = []
  let base = 0
  let isPaused = false
  let isOver = false
  /** @type {Error | undefined} */
  let failure
  /** Wakes the iterators that wait. @type {Array<(value?: unknown) => void>} */
  const waiting = []

  /** Forgets, and saves, what all have dealt with; pauses the topic while somebody is far behind. */
  function settle() {
    const place = Math.min(base + items.length, ...[...readers].map((reader) => reader._place))
    const last = items.splice(0, place - base).pop()
    base = place
    if (last) save(last._cursor)
    const isSlow = items.length >= (isPaused ? QUEUE_MAX / 4 : QUEUE_MAX)
    if (isSlow !== isPaused) wish(isSlow ? PAUSE : FOLLOW)
    isPaused = isSlow
  }

  function wakeAll() {
    waiting.splice(0).forEach((wake) => wake())
  }

  /** @type {(all: Set<any>, one: unknown) => void} */
  function leave(all, one) {
    if (!all.delete(one)) return
    wakeAll()
    if (readers.size + handlers.size) settle()
    else wish(LEAVE)
  }

  function read() {
    const reader = { _place: base + items.length }
    readers.add(reader)
    /** The item at its place has been handed out, and is being dealt with. */
    let isBusy = false
    return {
      async next() {
        // Asking for the next message says that the one before has been dealt with.
        if (isBusy) reader._place++
        isBusy = false
        for (;;) {
          settle()
          const item = items[reader._place - base]
          if (item && item._message) {
            isBusy = true
            return { done: false, value: item._message }
          }
          if (item) reader._place++
          else if (failure) throw failure
          else if (isOver || !readers.has(reader)) return { done: true, value: undefined }
          else await new Promise((resolve) => waiting.push(resolve))
        }
      },
      async return() {
        leave(readers, reader)
        return { done: true, value: undefined }
      },
    }
  }

  return {
    /** @type {(handle?: (message: Message) => void) => Subscription} */
    _subscribe(handle) {
      const first = handle ? null : read()
      if (handle) handlers.add(handle)
      const subscription = /** @type {any} */ (() => (first ? first.return() : leave(handlers, handle)))
      // Old devices know no async iterators, and are left with a property that nobody asks for.
      subscription[Symbol.asyncIterator] = () => first || read()
      return subscription
    },

    /** @type {(cursor: string, message?: Message) => void} */
    _deliver(cursor, message) {
      items.push({ _cursor: cursor, _message: message })
      if (message) [...handlers].forEach((handle) => handle(message))
      wakeAll()
      settle()
    },

    /** The topic has come to its end. @param {Error} [error] */
    _finish(error) {
      isOver = true
      failure = error
      wakeAll()
    },
  }
}
