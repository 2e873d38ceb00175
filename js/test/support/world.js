/**
 * A client, a network that can be broken, and a server, in virtual time. One seed makes one schedule.
 */

import { Heartwire } from './entry.js'
import { ModelConnection, ModelServer } from './model-server.js'
import { seeded } from './random.js'
import { VirtualPlatform } from './virtual.js'

/** @typedef {import('./virtual.js').VirtualSocket} VirtualSocket */
/** @typedef {import('../../src/link.js').Lost} Lost */

/** One direction of a connection: in order, late, and silent while it is stalled. */
class Way {
  /**
   * @param {World} world
   * @param {(message: string) => void} deliver
   */
  constructor(world, deliver) {
    this.world = world
    this.deliver = deliver
    /** @type {Array<{ message: string, readyMs: number }>} */
    this.queue = []
    this.stalledUntilMs = 0
    this.isCut = false
  }

  /** @param {string} message */
  send(message) {
    this.queue.push({ message, readyMs: this.world.nowMs + this.world.between(1, 60) })
    if (this.queue.length === 1) this.wait()
  }

  /** Delivers the first of what is on its way, when it is ready and nothing stalls. */
  wait() {
    const [first] = this.queue
    if (!first || this.isCut) return
    const dueMs = Math.max(first.readyMs, this.stalledUntilMs)
    if (dueMs === Infinity) return
    this.world.at(Math.max(dueMs, this.world.nowMs), () => {
      if (this.stalledUntilMs > this.world.nowMs) return this.wait()
      this.queue.shift()
      if (!this.isCut) this.deliver(first.message)
      this.wait()
    })
  }
}

/** One connection through the network. */
export class Cable {
  /**
   * @param {World} world
   * @param {VirtualSocket} socket
   */
  constructor(world, socket) {
    this.socket = socket
    /** Whether anything has been done to it that a client may take for death. */
    this.isBroken = world.nowMs < world.frozenUntilMs
    /** When it began to be silent for good, towards the client. */
    this.deadSinceMs = Infinity
    this.up = new Way(world, (message) => this.server.receive(message))
    this.down = new Way(world, (message) => !socket.isOver && world.toClient(() => socket.receive(message)))
    this.server = new ModelConnection(world.server, {
      send: (message) => this.down.send(message),
      close: (code, reason) => world.after(20, () => this.end(world, code, reason)),
    })
  }

  /** @type {(ms: number, isUp: boolean, isDown: boolean) => void} */
  stall(ms, isUp, isDown) {
    this.isBroken = true
    const { world } = this.up
    if (isUp) this.up.stalledUntilMs = Math.max(this.up.stalledUntilMs, world.nowMs + ms)
    if (isDown) this.down.stalledUntilMs = Math.max(this.down.stalledUntilMs, world.nowMs + ms)
    if (isDown && ms === Infinity) this.deadSinceMs = Math.min(this.deadSinceMs, world.nowMs)
  }

  /** The connection ends for both, as far as the client can hear of it. @type {(world: World, code?: number, reason?: string) => void} */
  end(world, code, reason) {
    this.server.end()
    this.up.isCut = true
    if (this.down.stalledUntilMs > world.nowMs || this.socket.isOver) return
    this.down.isCut = true
    world.toClient(() => this.socket.close(code, reason))
  }
}

export class World {
  /** @param {number} seed */
  constructor(seed) {
    this.random = seeded(seed)
    this.platform = new VirtualPlatform(() => this.random())
    this.server = new ModelServer({
      nowMs: () => this.nowMs,
      after: (ms, run) => this.after(ms, run),
      random: () => this.random(),
    })
    /** @type {Cable[]} */
    this.cables = []
    /** What happens to a dial. @type {'connects' | 'refused' | 'hangs'} */
    this.dials = 'connects'
    /** Until then the client's process stands still. */
    this.frozenUntilMs = 0
    /** What broke a promise. @type {string[]} */
    this.broken = []
    /** @type {string[]} */
    this.trace = []
    this.platform.onDial = (socket) => this.dialled(socket)
    this.platform.onSend = (socket, message) => void this.cable(socket)?.up.send(/** @type {string} */ (message))
    this.platform.onAbandon = (socket) => this.abandoned(socket)
    const { timer } = this.platform
    // Timers of a process that stands still run when it goes on, behind what has arrived.
    const clientPlatform = Object.assign(Object.create(this.platform), {
      timer: (/** @type {number} */ ms, /** @type {() => void} */ run) => {
        let cancel = timer(ms, function fire() {
          if (world.nowMs < world.frozenUntilMs) cancel = timer(world.frozenUntilMs - world.nowMs + 1, fire)
          else run()
        })
        return () => cancel()
      },
    })
    const world = this
    this.link = new Heartwire('ws://model', { platform: clientPlatform, reconnect: { attemptsMax: 12 } })
  }

  get nowMs() {
    return this.platform.timeMs
  }

  /** @type {(ms: number, run: () => void) => void} */
  after(ms, run) {
    this.platform.timer(ms, run)
  }

  /** @type {(timeMs: number, run: () => void) => void} */
  at(timeMs, run) {
    this.platform.timer(timeMs - this.nowMs, run)
  }

  /** A whole number from the first up to the second. @type {(low: number, high: number) => number} */
  between(low, high) {
    return low + Math.floor(this.random() * (high - low + 1))
  }

  /** Something reaches the client, as soon as its process runs. @param {() => void} deliver */
  toClient(deliver) {
    if (this.nowMs < this.frozenUntilMs) this.at(this.frozenUntilMs, () => this.toClient(deliver))
    else deliver()
  }

  /** @param {VirtualSocket} socket */
  cable(socket) {
    return this.cables.find((cable) => cable.socket === socket)
  }

  /** The connection that the client holds, if it does. */
  get current() {
    const { socket } = this.platform
    return socket && !socket.isOver ? this.cable(socket) : undefined
  }

  /** @param {VirtualSocket} socket */
  dialled(socket) {
    if (this.platform.sockets.filter(({ isOver }) => !isOver).length > 1) this.broken.push('two dials are pending')
    const fate = this.dials
    const isWatched = fate === 'connects'
    this.after(this.between(2, 100), () => {
      if (socket.isOver) return
      if (fate === 'refused') this.toClient(() => socket.close())
      if (!isWatched) return
      this.cables.push(new Cable(this, socket))
      this.toClient(() => !socket.isOver && socket.open())
    })
  }

  /** The client closes: the server hears of it, unless the way up is silent. @param {VirtualSocket} socket */
  abandoned(socket) {
    const cable = this.cable(socket)
    if (cable && cable.up.stalledUntilMs <= this.nowMs) this.after(20, () => cable.server.end())
  }

  /** @param {string} what */
  log(what) {
    this.trace.push(`${this.nowMs} ${what}`)
  }
}
