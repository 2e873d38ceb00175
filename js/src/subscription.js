/**
 * What the application does with a topic's messages: handlers and async iterators, and the place that may be kept for
 * the next page load, which is that of the slowest of them.
 */

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

/** @typedef {{ cursor: string, message?: Message }} Item a message, or a step of the cursor without one */

/**
 * @typedef {object} Reader an iterator
 * @property {number} place how many items of the feed it has dealt with
 * @property {() => void} wake hands out the next message, if somebody waits for it and it is there
 * @property {(error?: Error) => void} finish
 * @property {() => Promise<IteratorResult<Message>>} next
 */

/** An iterator that has so many messages waiting pauses its topic; it goes on when a quarter is left. */
const QUEUE_MAX = 256

/** @typedef {ReturnType<typeof makeFeed>} Feed */

/**
 * Everybody in this application who follows one topic.
 *
 * @param {object} hooks
 * @param {(isPaused: boolean) => void} hooks.pace the topic is to be paused, or to go on
 * @param {(cursor: string) => void} hooks.save everything up to here has been dealt with
 * @param {() => void} hooks.left nobody follows any more
 */
export function makeFeed({ pace, save, left }) {
  /** @type {Set<(message: Message) => void>} */
  const handlers = new Set()
  /** @type {Set<Reader>} */
  const readers = new Set()
  /** What the slowest reader has not dealt with, and how many items came before. @type {Item[]} */
  const items = []
  let base = 0
  let isPaused = false

  /** Forgets, and saves, what all have dealt with; pauses the topic while somebody is far behind. */
  function settle() {
    const place = Math.min(base + items.length, ...[...readers].map((reader) => reader.place))
    const done = items.splice(0, place - base)
    base = place
    if (done.length) save(done[done.length - 1].cursor)
    const isSlow = items.length >= (isPaused ? QUEUE_MAX / 4 : QUEUE_MAX)
    if (isSlow !== isPaused) pace((isPaused = isSlow))
  }

  function makeReader() {
    /** Who waits for a message. @type {[resolve: (result: IteratorResult<Message>) => void, reject: (error: Error) => void] | null} */
    let waiter = null
    /** The item at its place has been handed out, and is being dealt with. */
    let isBusy = false
    let isOver = false
    /** @type {Error | undefined} */
    let failure

    /** @type {Reader} */
    const reader = {
      place: base + items.length,
      wake() {
        if (!waiter) return
        const [resolve, reject] = waiter
        let item = items[reader.place - base]
        while (item && !item.message) item = items[++reader.place - base]
        if (!item && !isOver) return
        waiter = null
        isBusy = !!item
        if (item) resolve({ done: false, value: /** @type {Message} */ (item.message) })
        else if (failure) reject(failure)
        else resolve({ done: true, value: undefined })
      },
      finish(error) {
        isOver = true
        failure = failure || error
        reader.wake()
      },
      next: () =>
        new Promise((resolve, reject) => {
          // Asking for the next message says that the one before has been dealt with.
          if (isBusy) reader.place++
          isBusy = false
          waiter = [resolve, reject]
          reader.wake()
          settle()
        }),
    }
    readers.add(reader)
    return reader
  }

  /** @param {() => boolean} leave */
  function off(leave) {
    if (!leave()) return
    if (readers.size + handlers.size) settle()
    else left()
  }

  return {
    /** @type {(handle?: (message: Message) => void) => Subscription} */
    subscribe(handle) {
      const first = handle ? null : makeReader()
      if (handle) handlers.add(handle)
      const leave = (/** @type {Reader} */ reader) => {
        reader.finish()
        off(() => readers.delete(reader))
      }
      const subscription = /** @type {any} */ (
        () => (first ? leave(first) : off(() => handlers.delete(/** @type {any} */ (handle))))
      )
      // Old devices know no async iterators.
      if (typeof Symbol === 'function' && Symbol.asyncIterator) {
        subscription[Symbol.asyncIterator] = () => {
          const reader = first || makeReader()
          return { next: reader.next, return: async () => (leave(reader), { done: true, value: undefined }) }
        }
      }
      return subscription
    },

    /** @type {(cursor: string, message?: Message) => void} */
    deliver(cursor, message) {
      items.push({ cursor, message })
      if (message) [...handlers].forEach((handle) => handle(message))
      readers.forEach((reader) => reader.wake())
      settle()
    },

    /** The topic has come to its end. @param {Error} [error] */
    finish(error) {
      readers.forEach((reader) => reader.finish(error))
    },
  }
}
