/**
 * The outbox: what was published and is not stored yet, kept and resent over any number of connections. [PUB-1]
 *
 *     seq ──────────────────────────────────────────────►
 *     [ in flight: sent on this connection ][ not sent on it ]
 *       ▲ ack takes from here                ▲ the next to send   ▲ add
 */

/** @typedef {import('./frames.js').Payload} Payload */

/**
 * @typedef {object} Entry one publish
 * @property {number} seq
 * @property {string} topic
 * @property {Payload} payload
 * @property {number} bytes of the payload
 * @property {number} firstSentMs when it first went out; Infinity while it has not
 */

/**
 * @typedef {object} OutboxOptions
 * @property {number} [messagesMax] what waits unacknowledged at most; default 4,096
 * @property {number} [bytesMax] and its bytes; default 16 MiB
 */

/** @param {OutboxOptions} [options] */
export function makeOutbox({ messagesMax = 4_096, bytesMax = 16 << 20 } = {}) {
  /** In the order of their numbers; so many of them, from the front, are in flight. @type {Entry[]} */
  let entries = []
  let inFlight = 0
  let bytes = 0
  let inFlightBytes = 0
  /** The highest number given out, and the highest ever sent. */
  let assigned = 0
  let highestSent = 0

  /** @type {(left: Entry[], leftInFlight: number) => void} */
  function recount(left, leftInFlight) {
    entries = left
    inFlight = leftInFlight
    bytes = sum(left)
    inFlightBytes = sum(left.slice(0, leftInFlight))
  }

  return {
    inFlightBytes: () => inFlightBytes,
    isInFlight: () => inFlight > 0,
    isEmpty: () => !entries.length,
    highestSent: () => highestSent,
    /** The number of the oldest entry, or else of the next to come. */
    firstSeq: () => (entries.length ? entries[0].seq : assigned + 1),
    has: (/** @type {number} */ seq) => entries.some((entry) => entry.seq === seq),
    hasRoom: (/** @type {Payload} */ payload) =>
      entries.length < messagesMax && bytes + byteLength(payload) <= bytesMax,

    /** Takes a publish that it has room for, and numbers it. @type {(topic: string, payload: Payload) => number} */
    add(topic, payload) {
      const entry = { seq: ++assigned, topic, payload, bytes: byteLength(payload), firstSentMs: Infinity }
      entries.push(entry)
      bytes += entry.bytes
      return assigned
    },

    /**
     * The next to send, if the window has room for it. One that is larger than the window travels alone.
     *
     * @type {(nowMs: number, seqMax: number, windowBytes: number) => Entry | null}
     */
    next(nowMs, seqMax, windowBytes) {
      const entry = entries[inFlight]
      if (!entry || entry.seq > seqMax || (inFlight && inFlightBytes + entry.bytes > windowBytes)) return null
      inFlight++
      inFlightBytes += entry.bytes
      entry.firstSentMs = Math.min(entry.firstSentMs, nowMs)
      highestSent = Math.max(highestSent, entry.seq)
      return entry
    },

    /** What is not below `seq` is to be sent again. @param {number} seq */
    resendFrom(seq) {
      recount(entries, Math.min(inFlight, entries.filter((entry) => entry.seq < seq).length))
    },

    /** Takes out what is stored, or given up. @type {(isGone: (entry: Entry) => boolean) => Entry[]} */
    take(isGone) {
      const gone = entries.filter(isGone)
      const stays = (/** @type {Entry} */ entry) => !isGone(entry)
      if (gone.length) recount(entries.filter(stays), entries.slice(0, inFlight).filter(stays).length)
      return gone
    },
  }
}

/** @type {(entries: Entry[]) => number} */
const sum = (entries) => entries.reduce((bytes, entry) => bytes + entry.bytes, 0)

/** The bytes of a payload as they travel. @type {(payload: Payload) => number} */
export function byteLength(payload) {
  let bytes = payload.length
  if (typeof payload !== 'string') return bytes
  for (let i = 0; i < payload.length; i++) {
    const unit = payload.charCodeAt(i)
    // Half a pair is 2 of the pair's 4 bytes; other characters from U+0800 on are 3.
    if (unit >= 0x80) bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2
  }
  return bytes
}
