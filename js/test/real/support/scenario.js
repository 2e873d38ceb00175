/**
 * What every platform must show against the real server: a link that goes silent is noticed in time, and comes back with
 * nothing lost, nothing twice, in order, in both directions.
 */

import assert from 'node:assert/strict'
import { until } from './programs.js'
import { allowedMs, watchStalls } from '../../support/stalls.js'

/**
 * What a platform's link has seen, wherever it runs.
 *
 * @typedef {object} Seen
 * @property {string} status
 * @property {string[]} received texts of the topic `task:42`, in the order in which they came
 * @property {string[]} stored texts that `publish` said are stored
 * @property {Array<{ why: string, atMs: number }>} lost with the time of day
 * @property {string[]} errors
 * @property {number} stalledMs how long its process did not get to run, since the beginning
 */

/**
 * @typedef {object} Peer
 * @property {() => Promise<Seen>} seen
 * @property {(text: string) => Promise<void>} publish to `inbox`; returns at once
 */

/** Interval and timeout of the server, 1 s each, and a second more: the client asks after 1.25 s. */
const NOTICED_MS = 3_000
/** @type {(prefix: string, from: number, to: number) => string[]} */
const numbered = (prefix, from, to) => Array.from({ length: to - from + 1 }, (_, i) => `${prefix} ${from + i}`)

/** @type {(setup: import('./programs.js').Setup, peer: Peer) => Promise<void>} */
export async function survivesABlackHole(setup, peer) {
  await until('the link is open', async () => (await peer.seen()).status === 'open')
  for (const text of numbered('down', 1, 20)) await setup.publish('task:42', text)
  for (const text of numbered('up', 1, 20)) await peer.publish(text)
  await until('both directions have passed', async () => {
    const { received, stored } = await peer.seen()
    return received.length === 20 && stored.length === 20
  })
  const { stalledMs } = await peer.seen()
  await setup.tell('blackhole')
  const silentSinceMs = Date.now()
  for (const text of numbered('down', 21, 40)) await setup.publish('task:42', text)
  for (const text of numbered('up', 21, 40)) await peer.publish(text)
  await until('the loss is noticed', async () => (await peer.seen()).lost.length > 0)
  const after = await peer.seen()
  const { why, atMs } = after.lost[0]
  const stoodStillMs = after.stalledMs - stalledMs
  const boundMs = NOTICED_MS + allowedMs(stoodStillMs)
  assert.ok(['silent', 'unanswered'].includes(why), `noticed by itself, not by ${why}`)
  assert.ok(atMs - silentSinceMs <= boundMs, `noticed within ${boundMs} ms, not after ${atMs - silentSinceMs}`)
  await until('the server has noticed', async () => (await setup.connections()) === 0)
  await setup.tell('pass')
  await until('everything has come', async () => {
    const { received, stored } = await peer.seen()
    return received.length >= 40 && stored.length >= 40
  })
  const { received, errors } = await peer.seen()
  assert.deepEqual(received, numbered('down', 1, 40))
  assert.deepEqual(await setup.history('inbox'), numbered('up', 1, 40))
  assert.deepEqual(errors, [])
}

/** A link in this process. @type {(link: import('../../../src/heartwire.js').Client) => Peer} */
export function localPeer(link) {
  /** @type {Seen} */
  const seen = { status: '', received: [], stored: [], lost: [], errors: [], stalledMs: 0 }
  const stalledMs = watchStalls()
  link.subscribe('task:42', ({ data }) => void seen.received.push(String(data)), 'head')
  link.on('lost', ({ why }) => void seen.lost.push({ why, atMs: Date.now() }))
  link.on('error', (error) => void seen.errors.push(String(error)))
  return {
    seen: async () => ({ ...seen, status: link.status, stalledMs: stalledMs() }),
    async publish(text) {
      link.publish('inbox', text).then(
        () => seen.stored.push(text),
        (error) => seen.errors.push(String(error)),
      )
    },
  }
}
