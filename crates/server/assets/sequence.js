/**
 * The check behind "sent, received, lost, doubled": numbers go out, and what the server delivers is held against them.
 * Knows nothing of links and of the page.
 *
 *                        ┌── arrives ─────────────────────────────────────────────► received
 *     sent ──► waiting ──┤
 *                        ├── stored, then a higher number arrives in its place ───► lost
 *                        └── refused: the server never promised it ───────────────► refused
 *
 * One publisher's messages are stored in the order of their numbers and delivered in the order in which they are
 * stored. So a number that is stored and missing when a higher one arrives does not come any more, unless something is
 * wrong, and then it is counted as received after all. Before it is known to be stored, it is not lost but on its way.
 */

/** How many numbers that were given up are remembered, in case they come after all. */
const GIVEN_UP_MAX = 1_000

export class Sequence {
  constructor() {
    /** The highest number given out, and the highest that has arrived. */
    this.sent = 0
    this.highest = 0
    this.received = 0
    this.doubled = 0
    this.refused = 0
    this.lost = 0
    /** What has neither arrived nor been given up. @type {Map<number, { sentMs: number, isStored: boolean }>} */
    this.waiting = new Map()
    /** What was given up, and how it was counted. @type {Map<number, 'lost' | 'refused'>} */
    this.givenUp = new Map()
  }

  /**
   * The next number, which is on its way from here on.
   *
   * @param {number} sentMs when that is
   * @returns {number}
   */
  next(sentMs) {
    this.waiting.set(++this.sent, { sentMs, isStored: false })
    return this.sent
  }

  /** The server has promised that it keeps the number. @param {number} n */
  stored(n) {
    const entry = this.waiting.get(n)
    if (!entry) return
    entry.isStored = true
    this.settle()
  }

  /** The number was not taken, and nobody promised that it would be. @param {number} n */
  refuse(n) {
    if (this.waiting.has(n)) this.giveUp(n, 'refused')
  }

  /**
   * The number was delivered.
   *
   * @param {number} n
   * @returns {number | null} when it had been sent; null for a number that was not on its way
   */
  arrived(n) {
    if (!(n >= 1 && n <= this.sent)) return null
    const entry = this.waiting.get(n)
    const counted = this.givenUp.get(n)
    this.waiting.delete(n)
    this.givenUp.delete(n)
    if (counted) this[counted]--
    if (entry || counted) this.received++
    else this.doubled++
    this.highest = Math.max(this.highest, n)
    this.settle()
    return entry?.sentMs ?? null
  }

  /** Counts as lost what is stored and has been passed by. */
  settle() {
    for (const [n, { isStored }] of this.waiting) {
      if (n > this.highest) return
      if (isStored) this.giveUp(n, 'lost')
    }
  }

  /** @type {(n: number, as: 'lost' | 'refused') => void} */
  giveUp(n, as) {
    this.waiting.delete(n)
    this[as]++
    if (this.givenUp.size < GIVEN_UP_MAX) this.givenUp.set(n, as)
  }
}
