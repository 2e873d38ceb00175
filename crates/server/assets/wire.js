/**
 * The page's own network: a platform of the client whose sockets can be broken on purpose, and which shows what passes.
 * The link above it is the client that everybody uses, and knows nothing of this.
 *
 *     Heartwire ── wire ── the browser's WebSocket
 *                   │
 *                   └── silence · cut · sleep · what passes, frame by frame
 */

/** @typedef {{ direction: 'in' | 'out', verb: string, rest: string }} Frame a message, cut at its first space or LF */

/** How many silent sockets are kept until the server gives them up. */
const SILENT_MAX = 4

/** @type {(direction: 'in' | 'out', message: string | Uint8Array) => Frame} */
function frameOf(direction, message) {
  const [, verb, rest] = (typeof message === 'string' && /^([a-z]+)[ \n]?(.*)/.exec(message)) || [null, 'binary', '']
  return { direction, verb, rest }
}

export class Wire {
  /**
   * @param {object} platform the one that really dials
   * @param {(frame: Frame) => void} show called for each message that passes
   */
  constructor(platform, show) {
    this.show = show
    this.isAsleep = false
    this.signal = () => {}
    /** The socket that the link uses. */
    this.current = null
    /** Sockets that the link has left behind while they were silent. */
    this.left = []
    /** What the client is given. */
    this.platform = {
      ...platform,
      dial: (request, events) => this.dial(platform, request, events),
      watch: (listener) => this.watch(platform, listener),
    }
  }

  /** From here on nothing passes, and nobody is told: the link is half-open. */
  silence() {
    if (this.current) this.current.isSilent = true
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

  dial(platform, request, events) {
    const wired = { isSilent: false, events, socket: null }
    const pass = (what) => (detail) => {
      if (!wired.isSilent) what(detail)
    }
    wired.socket = platform.dial(request, {
      opened: pass((subprotocol) => events.opened(subprotocol)),
      received: pass((message) => {
        // The link first: what is shown may ask it something.
        events.received(message)
        this.show(frameOf('in', message))
      }),
      closed: (info) => this.closed(wired, info),
    })
    this.current = wired
    return {
      send: pass((message) => {
        wired.socket.send(message)
        this.show(frameOf('out', message))
      }),
      abandon: (code, reason) => this.abandon(wired, code, reason),
    }
  }

  /** A silent socket cannot say good-bye: it stays until the server has found out. */
  abandon(wired, code, reason) {
    if (this.current === wired) this.current = null
    if (!wired.isSilent) return wired.socket.abandon(code, reason)
    this.left.push(wired)
    if (this.left.length > SILENT_MAX) this.left.shift().socket.abandon()
  }

  closed(wired, info) {
    this.left = this.left.filter((each) => each !== wired)
    if (wired.isSilent) return
    if (this.current === wired) this.current = null
    wired.events.closed(info)
  }

  /** What the browser tells of the page is kept from a link that was told that the page sleeps. */
  watch(platform, listener) {
    this.signal = listener
    return platform.watch((signal) => {
      if (!this.isAsleep) listener(signal)
    })
  }
}
