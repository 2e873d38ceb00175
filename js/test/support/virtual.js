/**
 * A platform in memory, whose clock stands still until it is moved.
 */

/** @typedef {import('../../src/platform.js').Platform} Platform */
/** @typedef {import('../../src/platform.js').DialRequest} DialRequest */
/** @typedef {import('../../src/platform.js').SocketEvents} SocketEvents */
/** @typedef {import('../../src/platform.js').Signal} Signal */
/** @typedef {import('../../src/frames.js').Payload} Payload */

/** One dial, and what became of it. */
export class VirtualSocket {
  /**
   * @param {VirtualPlatform} platform
   * @param {DialRequest} request
   * @param {SocketEvents} events
   */
  constructor(platform, request, events) {
    this.platform = platform
    this.request = request
    this.events = events
    /** The number of the dial, from 1. */
    this.attempt = platform.sockets.length + 1
    /** @type {Payload[]} */
    this.sent = []
    /** @type {{ code?: number, reason?: string } | null} */
    this.abandoned = null
    this.isOver = false
  }

  /** @param {Payload} message */
  send(message) {
    this.sent.push(message)
    this.platform.onSend(this, message)
  }

  /** @type {(code?: number, reason?: string) => void} */
  abandon(code, reason) {
    // Closing a socket that is closed does nothing.
    if (this.isOver) return
    this.isOver = true
    this.abandoned = { code, reason }
    this.platform.onAbandon(this, code)
  }

  open(subprotocol = 'heartwire.v1') {
    this.events.opened(subprotocol)
  }

  /** @param {Payload} message */
  receive(message) {
    this.events.received(message)
  }

  /** A part of a message comes, or a control frame. */
  hear() {
    this.events.heard()
  }

  /** @type {(code?: number, reason?: string, retryMs?: number) => void} */
  close(code = 1006, reason = '', retryMs) {
    this.isOver = true
    this.events.closed({ code, reason, retryMs })
  }
}

/** @implements {Platform} */
export class VirtualPlatform {
  /** @param {() => number} [random] */
  constructor(random = () => 0.5) {
    this.timeMs = 0
    /** What the wall clock is ahead by. */
    this.wallOffsetMs = 1_800_000_000_000
    this.random = random
    /** @type {Array<{ dueMs: number, run: () => void }>} */
    this.timers = []
    /** @type {VirtualSocket[]} */
    this.sockets = []
    /** @type {Set<(signal: Signal) => void>} */
    this.listeners = new Set()
    this.online = true
    this.ids = 0
    /** @type {(socket: VirtualSocket) => void} */
    this.onDial = () => {}
    /** @type {(socket: VirtualSocket, message: Payload) => void} */
    this.onSend = () => {}
    /** @type {(socket: VirtualSocket, code?: number) => void} */
    this.onAbandon = () => {}
  }

  nowMs = () => this.timeMs
  wallMs = () => this.timeMs + this.wallOffsetMs
  isOnline = () => this.online
  randomId = () => (++this.ids).toString(16).padStart(32, '0')

  /** @type {Platform['timer']} */
  timer = (delayMs, run) => {
    const timer = { dueMs: this.timeMs + delayMs, run }
    this.timers.push(timer)
    return () => void (this.timers = this.timers.filter((other) => other !== timer))
  }

  /** @type {Platform['dial']} */
  dial = (request, events) => {
    const socket = new VirtualSocket(this, request, events)
    this.sockets.push(socket)
    this.onDial(socket)
    return socket
  }

  /** @type {Platform['watch']} */
  watch = (listener) => {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  /** @param {Signal} signal */
  signal(signal) {
    for (const listener of [...this.listeners]) listener(signal)
  }

  /** The latest dial. */
  get socket() {
    return this.sockets[this.sockets.length - 1]
  }

  /** Runs every timer that has come due. */
  runDue() {
    for (let rounds = 0; ; rounds++) {
      const due = this.timers.filter((timer) => timer.dueMs <= this.timeMs).sort((a, b) => a.dueMs - b.dueMs)[0]
      if (!due) return
      if (rounds > 10_000) throw new Error('the timers never come to rest')
      this.timers = this.timers.filter((timer) => timer !== due)
      due.run()
    }
  }

  /** Lets time pass; every timer on the way runs at its exact moment. @param {number} ms */
  advance(ms) {
    const endMs = this.timeMs + ms
    for (;;) {
      const nextMs = Math.min(...this.timers.map((timer) => timer.dueMs))
      if (nextMs > endMs) break
      this.timeMs = Math.max(this.timeMs, nextMs)
      this.runDue()
    }
    this.timeMs = endMs
  }
}
