/**
 * A thousand schedules of faults, each from a seed, against a model of the server: nothing lost, nothing twice, in
 * order, the dead noticed in time, the living never given up, one pending dial.
 */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { World } from './support/world.js'

const SCHEDULES = 1_000
const BATCH = 100
/** How long faults happen, and how long the network is healthy afterwards. */
const FAULTS_MS = 150_000
const HEALTHY_MS = 500_000
/** The client's interval is a quarter more than the server's 10 s; its timeout 10 s; then the look of a paused process. */
const NOTICED_MS = 12_500 + 10_000 + 1_100

/** What can happen, each as likely as the others. @type {Array<(world: World) => void>} */
const FAULTS = [
  (world) => world.current?.stall(Infinity, true, true),
  (world) => world.current?.stall(Infinity, true, false),
  (world) => world.current?.stall(Infinity, false, true),
  (world) => world.current?.stall(world.between(100, 30_000), true, true),
  (world) => world.current?.stall(world.between(100, 8_000), false, true),
  (world) => world.current?.end(world),
  (world) => world.current?.end(world, 1000, 'proxy'),
  (world) => world.current?.server.close(4201, 'draining'),
  (world) => world.current?.server.close(4100, 'overloaded'),
  (world) => {
    for (const cable of world.cables) cable.end(world)
    world.server.restart()
  },
  (world) => outage(world, 'refused'),
  (world) => outage(world, 'hangs'),
  (world) => {
    world.frozenUntilMs = world.nowMs + world.between(100, 60_000)
    if (world.current) world.current.isBroken = true
  },
  (world) => world.platform.signal('wake'),
  (world) => {
    world.platform.signal('freeze')
    world.after(world.between(10, 20_000), () => world.toClient(() => world.platform.signal('wake')))
  },
  (world) => {
    world.platform.signal('background')
    world.after(world.between(10, 20_000), () => world.toClient(() => world.platform.signal('foreground')))
  },
  (world) => void (world.platform.wallOffsetMs += 3_600_000),
  (world) => world.link.probe(),
  (world) => world.link.reconnect(),
  (world) => void (world.server.refusalRate = world.random() * 0.5),
]

/** @type {(world: World, fate: 'refused' | 'hangs') => void} */
function outage(world, fate) {
  world.dials = fate
  world.current?.end(world)
  world.after(world.between(1_000, 60_000), () => void (world.dials = 'connects'))
}

/** What the application of one schedule sees, and what it must not see. */
class Application {
  /** @param {World} world */
  constructor(world) {
    this.world = world
    /** The place of the next message of the topic, if it is known. */
    this.next = { epoch: '', offset: 0 }
    /** @type {string[]} */
    this.received = []
    this.published = 0
    this.stored = new Set()
    this.lostLogs = 0
    const { link } = world
    link.on('gap', (gap) => this.gap(gap))
    link.on('lost', (lost) => this.lost(lost))
    link.on('error', (error) => world.broken.push(`error: ${error.stack ?? error}`))
    link.on('status', (now) => world.log(now))
    link.subscribe('news', (message) => this.message(message), 'head')
  }

  /** @param {import('../src/subscription.js').Message} message */
  message({ cursor, offset, data }) {
    const [epoch] = cursor.split('.')
    this.world.log(`news ${cursor}`)
    // An epoch may begin behind what was trimmed of it before anybody here knew of it.
    const isNewEpoch = epoch !== this.next.epoch
    if (!isNewEpoch && offset !== this.next.offset) this.world.broken.push(`${cursor} came, not ${this.next.offset}`)
    this.next = { epoch, offset: offset + 1 }
    this.received.push(/** @type {string} */ (data))
  }

  /** @param {import('../src/heartwire.js').GapEvent} gap */
  gap({ topic, from, to, epoch, reason }) {
    this.world.log(`gap ${topic} ${epoch} ${from} ${to} ${reason}`)
    if (topic === null) this.lostLogs++
    else if (to !== null) {
      const isNext = epoch !== this.next.epoch || from === this.next.offset
      if (!isNext) this.world.broken.push(`a gap begins at ${from}, not at ${this.next.offset}`)
      this.next = { epoch: /** @type {string} */ (epoch), offset: to + 1 }
    }
  }

  /** Whoever is given up as silent must have been broken. @param {import('../src/link.js').Lost} lost */
  lost({ why, reason }) {
    const { world } = this
    world.log(`lost ${why} ${reason}`)
    const cable = world.cables.find(({ socket }) => socket.attempt === world.platform.sockets.length)
    const isLookedFor = why === 'silent' || why === 'unanswered'
    if (isLookedFor && !cable?.isBroken) world.broken.push(`a healthy connection was given up: ${why} ${reason}`)
    if (why === 'attempt-timeout' && cable && !cable.isBroken) world.broken.push('a healthy attempt was given up')
    if (why === 'server-broke-rule') world.broken.push(`the server is said to have broken ${reason}`)
  }

  publish() {
    const number = ++this.published
    this.world.link.publish('inbox', `message ${number}`).then(
      () => this.stored.add(number),
      (error) => this.world.broken.push(`publish ${number} failed: ${error}`),
    )
  }

  /** Silence for good is noticed in time. */
  checkDetection() {
    const { world } = this
    for (const { socket, deadSinceMs } of world.cables) {
      const isLate = world.nowMs > Math.max(deadSinceMs, world.frozenUntilMs) + NOTICED_MS
      if (isLate && !socket.isOver) world.broken.push(`a connection silent since ${deadSinceMs} still counts as open`)
    }
  }

  /** What must be true when everything has come to rest. */
  checkEnd() {
    const { world, received, stored, published } = this
    const { server, link } = world
    assert.deepEqual(world.broken, [])
    assert.equal(link.status, 'open')
    assert.equal(stored.size, published, 'every publish is stored')
    for (const log of new Set(server.stored.map((entry) => entry.log))) {
      const numbers = server.stored
        .filter((entry) => entry.log === log && entry.topic === 'inbox')
        .map(({ payload }) => Number(payload.slice(8)))
      for (let i = 1; i < numbers.length; i++)
        assert.ok(numbers[i] > numbers[i - 1], `stored in order, once: ${numbers[i - 1]}, ${numbers[i]}`)
    }
    const all = server.stored.filter((entry) => entry.topic === 'inbox').map((entry) => entry.payload)
    for (let n = 1; n <= published; n++) assert.ok(all.includes(`message ${n}`), `message ${n} was stored`)
    assert.equal(new Set(received).size, received.length, 'each message once')
    const topic = server.topics.get('news')
    assert.equal(received.at(-1), topic?.messages.at(-1), 'the latest message has come')
  }
}

/** Plays one schedule to its end; returns its trace. @param {number} seed */
async function play(seed) {
  const world = new World(seed)
  const application = new Application(world)
  await Promise.resolve()
  let news = 0
  const isOver = () => world.nowMs > FAULTS_MS
  const every = (/** @type {number} */ meanMs, /** @type {() => void} */ run) =>
    world.after(world.between(1, 2 * meanMs), () => {
      if (isOver()) return
      run()
      every(meanMs, run)
    })
  every(8_000, () => {
    const fault = world.between(0, FAULTS.length - 1)
    world.log(`fault ${fault}`)
    FAULTS[fault](world)
  })
  every(1_500, () => world.server.append('news', `news ${++news} of ${world.server.incarnation}`))
  every(2_000, () => world.toClient(() => application.publish()))
  for (let ms = 0; ms < FAULTS_MS + HEALTHY_MS; ms += 1_000) {
    world.platform.advance(1_000)
    application.checkDetection()
    if (ms === FAULTS_MS) heal(world)
  }
  world.server.append('news', `news ${++news} of ${world.server.incarnation}`)
  world.platform.advance(1_000)
  await Promise.resolve()
  application.checkEnd()
  return world.trace
}

/** @param {World} world */
function heal(world) {
  world.dials = 'connects'
  world.server.refusalRate = 0
}

describe('schedules of faults', () => {
  for (let first = 0; first < SCHEDULES; first += BATCH) {
    it(`seeds ${first} to ${first + BATCH - 1}`, async () => {
      for (let seed = first; seed < first + BATCH; seed++) {
        await play(seed).catch((error) => {
          error.message = `seed ${seed}: ${error.message}`
          throw error
        })
      }
    })
  }

  it('the same seed gives the same trace', async () => {
    assert.deepEqual(await play(7), await play(7))
  })
})
