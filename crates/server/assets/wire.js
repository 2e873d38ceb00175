/**
 * The page's own network: a platform of the client whose sockets can be broken on purpose, and which shows what passes.
 * The link above it is the client that everybody uses, and knows nothing of this.
 *
 *     Heartwire ── wire ── the browser's WebSocket
 *                   │
 *                   └── silence · cut · sleep · what passes, frame by frame
 */

/** @typedef {import('../heartwire.js').Platform} Platform */
/** @typedef {import('../heartwire.js').DialRequest} DialRequest */
/** @typedef {import('../heartwire.js').SocketEvents} SocketEvents */
/** @typedef {import('../heartwire.js').Socket} Socket */

/** @typedef {{ direction: 'in' | 'out', verb: string, rest: string }} Frame a message, cut at its first space or LF */

/** @typedef {{ isSilent: boolean, events: SocketEvents, socket: Socket }} Wired a socket, and who hears it */

/** How many silent sockets are kept until the server gives them up. */
const SILENT_MAX = 4

/** @type {(direction: 'in' | 'out', message: string | Uint8Array) => Frame} */
function frameOf(direction, message) {
  const [, verb, rest] = (typeof message === 'string' && /^([a-z]+)[ \n]?(.*)/.exec(message)) || ['', 'binary', '']
  return { direction, verb, rest }
}

export class Wire {
  /**
   * @param {Platform} platform the one that really dials
   * @param {(frame: Frame) => void} show called for each message that passes
   */
  constructor(platform, show) {
    this.show = show
    this.isAsleep = false
    /** @type {(signal: import('../heartwire.js').Signal) => void} */
    this.signal = () => {}
    /** The socket that the link uses. @type {Wired | null} */
    this.current = null
    /** Sockets that the link has left behind while they were silent. @type {Wired[]} */
    this.left = []
    /** What the client is given. @type {Platform} */
    this.platform = {
      ...platform,
      dial: (request, events) => this.dial(platform, request, events),
      // What the browser tells of the page is kept from a link that was told that the page sleeps.
      watch: (listener) => {
        this.signal = listener
        return platform.watch((signal) => this.isAsleep || listener(signal))
      },
    }
  }

  /** From here on nothing passes, and nobody is told: the link is half-open. */
  silence() {
    if (this.current) this.current.isSilent = true
  }

  get isSilent() {
    return this.current?.isSilent === true
  }

  /** The connection ends at once, as by a reset. */
  cut() {
    const { current } = this
    if (!current) return
    this.current = null
    current.socket.abandon()
    current.events.closed({ code: 1006, reason: 'cut on this page' })
  }

  /** The page is about to stand still, as far as the client knows. */
  sleep() {
    this.isAsleep = true
    this.signal('freeze')
  }

  wake() {
    this.isAsleep = false
    this.signal('wake')
  }

  /** @type {(platform: Platform, request: DialRequest, events: SocketEvents) => Socket} */
  dial(platform, request, events) {
    const wired = /** @type {Wired} */ ({ isSilent: false, events })
    wired.socket = platform.dial(request, {
      opened: (subprotocol) => wired.isSilent || events.opened(subprotocol),
      heard: () => wired.isSilent || events.heard(),
      received: (message) => this.received(wired, message),
      closed: (info) => this.closed(wired, info),
    })
    this.current = wired
    return {
      send: (message) => this.send(wired, message),
      abandon: (code, reason) => this.abandon(wired, code, reason),
    }
  }

  /** The link hears first: who is shown the frame may ask it something. @type {(wired: Wired, message: string | Uint8Array) => void} */
  received(wired, message) {
    if (wired.isSilent) return
    wired.events.received(message)
    this.show(frameOf('in', message))
  }

  /** @type {(wired: Wired, message: string | Uint8Array) => void} */
  send(wired, message) {
    if (wired.isSilent) return
    wired.socket.send(message)
    this.show(frameOf('out', message))
  }

  /** A silent socket cannot say good-bye: it stays until the server has found out. @type {(wired: Wired, code?: number, reason?: string) => void} */
  abandon(wired, code, reason) {
    if (this.current === wired) this.current = null
    if (!wired.isSilent) return wired.socket.abandon(code, reason)
    this.left.push(wired)
    if (this.left.length > SILENT_MAX) this.left.shift()?.socket.abandon()
  }

  /** @type {(wired: Wired, info: import('../heartwire.js').CloseInfo) => void} */
  closed(wired, info) {
    this.left = this.left.filter((each) => each !== wired)
    if (wired.isSilent) return
    if (this.current === wired) this.current = null
    wired.events.closed(info)
  }
}
