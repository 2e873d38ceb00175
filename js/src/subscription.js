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
 * @typedef {object} Consumer
 * @property {(item: Item) => void} take
 * @property {(error?: Error) => void} finish
 * @property {() => number} waiting how many messages wait
 * @property {number} place how many items have been dealt with
 * @property {string} cursor that of the latest of them
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
  /** @type {Set<Consumer>} */
  const consumers = new Set()
  let delivered = 0
  let isPaused = false
  let saved = ''

  /** @type {(consumer: Consumer, item: Item) => void} */
  function settle(consumer, { cursor }) {
    consumer.place++
    consumer.cursor = cursor
    const slowest = [...consumers].reduce((a, b) => (b.place < a.place ? b : a), consumer)
    if (!slowest.cursor || slowest.cursor === saved) return
    saved = slowest.cursor
    save(saved)
  }

  function checkPace() {
    const longest = Math.max(...[...consumers].map((consumer) => consumer.waiting()))
    const isSlow = longest >= (isPaused ? QUEUE_MAX / 4 : QUEUE_MAX)
    if (isSlow !== isPaused) pace((isPaused = isSlow))
  }

  /** @param {Consumer} consumer */
  function leave(consumer) {
    consumer.finish()
    if (!consumers.delete(consumer)) return
    if (consumers.size) checkPace()
    else left()
  }

  /** @type {(handle: (message: Message) => void) => Consumer} */
  function addHandler(handle) {
    /** @type {Consumer} */
    const consumer = {
      place: delivered,
      cursor: '',
      take(item) {
        if (item.message) handle(item.message)
        settle(consumer, item)
      },
      waiting: () => 0,
      finish() {},
    }
    consumers.add(consumer)
    return consumer
  }

  /** @returns {Consumer & { next: () => Promise<IteratorResult<Message>> }} */
  function addIterator() {
    /** @type {Item[]} */
    const queue = []
    /** What was handed out last. @type {Item | undefined} */
    let current
    /** Who waits for a message. @type {[resolve: (result: IteratorResult<Message>) => void, reject: (error: Error) => void] | undefined} */
    let waiter
    let isOver = false
    /** @type {Error | undefined} */
    let failure

    function pump() {
      while (waiter && queue.length) {
        const item = /** @type {Item} */ (queue.shift())
        if (!item.message) {
          settle(consumer, item)
          continue
        }
        current = item
        waiter[0]({ done: false, value: item.message })
        waiter = undefined
      }
      if (!waiter || !isOver) return
      if (failure) waiter[1](failure)
      else waiter[0]({ done: true, value: undefined })
      waiter = undefined
    }

    const consumer = {
      place: delivered,
      cursor: '',
      waiting: () => queue.length,
      /** @param {Item} item */
      take(item) {
        queue.push(item)
        pump()
        checkPace()
      },
      /** @param {Error} [error] */
      finish(error) {
        isOver = true
        failure = failure || error
        pump()
      },
      /** Asking for the next message says that the one before has been dealt with. @returns {Promise<IteratorResult<Message>>} */
      next: () =>
        new Promise((resolve, reject) => {
          if (current) settle(consumer, current)
          current = undefined
          waiter = [resolve, reject]
          pump()
          if (consumers.has(consumer)) checkPace()
        }),
    }
    consumers.add(consumer)
    return consumer
  }

  return {
    /** @type {(handle?: (message: Message) => void) => Subscription} */
    subscribe(handle) {
      const iterator = handle ? undefined : addIterator()
      const consumer = iterator || addHandler(/** @type {() => void} */ (handle))
      const off = /** @type {any} */ (() => leave(consumer))
      // Old devices know no async iterators.
      if (typeof Symbol === 'function' && Symbol.asyncIterator) {
        off[Symbol.asyncIterator] = () => {
          const own = iterator || addIterator()
          const stop = () => (leave(own), Promise.resolve({ done: true, value: undefined }))
          return { next: own.next, return: stop }
        }
      }
      return off
    },

    /** @type {(cursor: string, message?: Message) => void} */
    deliver(cursor, message) {
      delivered++
      for (const consumer of [...consumers]) consumer.take({ cursor, message })
    },

    /** The topic has come to its end. @param {Error} [error] */
    finish(error) {
      for (const consumer of [...consumers]) consumer.finish(error)
      consumers.clear()
    },
  }
}
