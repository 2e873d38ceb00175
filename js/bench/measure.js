/**
 * One client in one black hole, with a server and a proxy of its own.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { Setup, until } from '../test/real/support/programs.js'
import { TOPIC } from './clients.js'

const PUBLISH_EVERY_MS = 100
/**
 * The hole begins somewhere in this range after the first message: it meets any phase of a heartbeat, and a connection
 * that all clients take for proven, which is after 5 s at the latest.
 */
const BEFORE_MIN_MS = 6_000
const BEFORE_MAX_MS = 8_000
/** The hole stays until the client has noticed, but not shorter or longer than this. */
const HOLE_MIN_MS = 4_000
export const NOTICED_MAX_MS = 70_000
export const AGAIN_MAX_MS = 30_000
/** How long messages flow after the hole before the count is made. */
const AFTER_MS = 1_000

/**
 * @typedef {object} Result
 * @property {number} noticedMs from the beginning of the hole until the client says so; Infinity if it does not
 * @property {number} againMs from the end of the hole until a message published after it comes; Infinity if none does
 * @property {number} lost messages that never came, though later ones did
 * @property {number} doubled messages that came more than once
 */

/** @type {(client: import('./clients.js').Client) => Promise<Result>} */
export async function measure(client) {
  /** @type {Array<() => void>} */
  const stops = []
  const stopAll = () => stops.splice(0).forEach((stop) => stop())
  // No server outlives this process, even if another client's measurement fails.
  process.once('exit', stopAll)
  try {
    return await inOneHole(client, stops)
  } finally {
    process.off('exit', stopAll)
    stopAll()
  }
}

/** @type {(client: import('./clients.js').Client, stops: Array<() => void>) => Promise<Result>} */
async function inOneHole(client, stops) {
  const setup = await Setup.start(/** @type {any} */ ({ after: (/** @type {() => void} */ stop) => stops.push(stop) }))
  const publisher = publish(setup)
  // Before the server ends.
  stops.unshift(publisher.stop)
  /** How often each number has come. @type {Map<number, number>} */
  const came = new Map()
  let lostAtMs = Infinity
  const hangUp = client.dial(setup.broken, {
    message: (text) => came.set(Number(text), (came.get(Number(text)) ?? 0) + 1),
    lost: () => (lostAtMs = Math.min(lostAtMs, performance.now())),
  })
  stops.unshift(hangUp)

  await until(`${client.name} has its first message`, () => came.size > 0)
  await sleep(BEFORE_MIN_MS + Math.random() * (BEFORE_MAX_MS - BEFORE_MIN_MS))
  if (lostAtMs < Infinity) throw new Error(`${client.name} lost a healthy connection`)
  await setup.tell('blackhole')
  const beganMs = performance.now()
  await sleep(HOLE_MIN_MS)
  await happens(() => lostAtMs < Infinity, beganMs + NOTICED_MAX_MS)
  const noticedMs = lostAtMs - beganMs

  await setup.tell('pass')
  const endedMs = performance.now()
  const fresh = publisher.next()
  const isFlowing = () => [...came.keys()].some((number) => number >= fresh)
  const flowingAtMs = await happens(isFlowing, endedMs + AGAIN_MAX_MS)
  await sleep(AFTER_MS)
  return { noticedMs, againMs: flowingAtMs - endedMs, ...count(came) }
}

/** Publishes the numbers from 0, one after the other. @param {Setup} setup */
function publish(setup) {
  let next = 0
  let isStopped = false
  const run = async () => {
    const startMs = performance.now()
    while (!isStopped) {
      await setup.publish(TOPIC, String(next++))
      await sleep(Math.max(0, startMs + next * PUBLISH_EVERY_MS - performance.now()))
    }
  }
  const stop = () => (isStopped = true)
  run().catch((error) => {
    // A server that was told to stop answers nobody.
    if (!isStopped) throw error
  })
  return { next: () => next, stop }
}

/**
 * The time at which something is so; Infinity when it is not in time.
 *
 * @type {(isSo: () => boolean, untilMs: number) => Promise<number>}
 */
async function happens(isSo, untilMs) {
  while (!isSo()) {
    if (performance.now() > untilMs) return Infinity
    await sleep(2)
  }
  return performance.now()
}

/** @param {Map<number, number>} came */
function count(came) {
  const numbers = [...came.keys()]
  const lost = Math.max(...numbers) - Math.min(...numbers) + 1 - came.size
  const doubled = [...came.values()].filter((times) => times > 1).length
  return { lost, doubled }
}
