/**
 * The link: dials, watches over the connection, dials again. What is said on the connection is the business of a mode,
 * `v1` or `plain`.
 *
 *                     ┌──────────── connection lost ────────────┐
 *                     ▼                                          │
 *    connecting ──► lost ──► connecting ──► open ────────────────┘
 *        ▲  failed    │                       │
 *        │            │ attempts used up      │ final code, or the application's close
 *        │            ▼                       ▼
 *        └─────── suspended                closed
 *    wake-up, network change, request, or 5 min ± 50 %
 *
 * `asleep` stands where `suspended` does: the page cannot dial, and does so when it wakes.
 *
 * Contract: everything that happens enters through `run`, which changes the state first and lets its effects (calls of
 * the platform, reports to the application) follow in order. An application that calls back from a report finds the
 * state whole. There is one pending attempt or none: `conn` is the only connection whose events are heard. [RETRY-1]
 */

import { makeBackoff, namedMs } from './backoff.js'
import { ABNORMAL, NORMAL, retryInReason } from './close.js'

/** @typedef {import('./platform.js').Platform} Platform */
/** @typedef {import('./frames.js').Payload} Payload */
/** @typedef {import('./heartbeat.js').Heartbeat} Heartbeat */

/** @typedef {'connecting' | 'open' | 'lost' | 'suspended' | 'asleep' | 'closed'} Status */

/**
 * Why a connection or an attempt ended; the words are the same in every client.
 *
 * - `dial-failed`: there was no token, no address, no server, or it refused
 * - `not-agreed`: the server did not agree to `heartwire.v1` [WS-3]
 * - `attempt-timeout`: the attempt took too long [RETRY-6]
 * - `silent`: nothing was heard for interval and timeout, or no answer came to a probe [LIVE-4]
 * - `unanswered`: a publish stayed unanswered, though the connection seemed alive [PUB-11]
 * - `closed`: the other end, or something between, closed the connection; see `code`
 * - `server-broke-rule`: `reason` names the rule
 * - `client-id-in-use`: by another process [HELLO-11]
 * - `requested`: the application asked for a new connection
 * - `asleep`: the page was about to be frozen
 *
 * @typedef {'dial-failed' | 'not-agreed' | 'attempt-timeout' | 'silent' | 'unanswered' | 'closed' | 'server-broke-rule'
 *   | 'client-id-in-use' | 'requested' | 'asleep'} LostWhy
 */

/**
 * @typedef {object} Lost
 * @property {LostWhy} why
 * @property {number} code the close code; 1006 when none came
 * @property {string} reason for people; may be empty
 * @property {number | null} retryInMs until the link dials by itself; null when it waits to be woken, or asked
 * @property {number} attempts counted attempts of this outage, the coming one included if it counts
 */

/**
 * The end of a link.
 *
 * - `application`: it called `close`
 * - `refused`: the server closed with a final code, 4001, 4003 or 4009
 * - `broken-rules`: three connections in a row ended because a rule was broken, here or there
 *
 * @typedef {object} Ending
 * @property {'application' | 'refused' | 'broken-rules'} why
 * @property {number} code
 * @property {string} reason for people; may be empty
 */

/**
 * @typedef {object} LinkOptions
 * @property {string | (() => string | Promise<string>)} url
 * @property {() => string | Promise<string>} [token] asked for before each dial
 * @property {Record<string, string>} [headers] for the upgrade, where the platform can set them
 * @property {import('./backoff.js').ReconnectOptions} [reconnect]
 * @property {number} [attemptTimeoutMs] one attempt, from asking for the token to `welcome` [RETRY-6]
 */

/** Tells the application; does not throw. @typedef {(name: string, ...details: any[]) => void} Report */

/**
 * @typedef {object} Verdict what the end of a connection means, beside a delay that the server named
 * @property {Ending['why']} [ending] the end of the link, and why
 * @property {boolean} [isLocal] the cause lies on this side: no reason to wait
 * @property {number} [leastMs] not to dial sooner
 */

/**
 * @typedef {object} Mode what is said on a connection
 * @property {string[]} protocols the subprotocols to offer
 * @property {(attempt: number, subprotocol: string, token: string | undefined) => void} greet the socket is open
 * @property {(message: Payload) => void} read a message came
 * @property {(id: number) => void} ask sends a question
 * @property {() => void} dropped the connection is gone
 * @property {(why: LostWhy, code: number) => Verdict} judge the attempt, or the connection, has ended
 * @property {() => void} stable the connection has proved itself
 * @property {() => boolean} isSettled whether everything that the connection was asked for has been answered
 * @property {() => boolean} isEmpty whether nothing waits to be sent
 * @property {() => number} backlogMs more time for answers, because of what stands before them on the way up
 * @property {() => number} unansweredMs when something is to be done about a publish that waits
 * @property {() => void} timeout a deadline of the mode's own may have come
 * @property {(isBackground: boolean) => void} background the user looked away, or is back
 */

/** @typedef {ReturnType<typeof makeLink>} Link */

/** Browsers hold some dials back by up to 5 s. */
const ATTEMPT_TIMEOUT_MS = 10_000
/** How long an attempt that was under way at a wake-up may still take: its packets may have gone nowhere. */
const ATTEMPT_AFTER_WAKE_MS = 3_000
/** A connection that has been open for so long starts the count of attempts again. [RETRY-5] */
const STABLE_MS = 5_000
/** The time for the answer when the link looks at once; a slow one is given so many round trips. [LIVE-6] */
const PROBE_MS = 3_000
export const ROUND_TRIPS = 4
const NEVER = Infinity

/**
 * @param {Platform} platform
 * @param {LinkOptions} options
 * @param {Report} report
 * @param {(link: any) => Mode} makeMode
 */
export function makeLink(platform, options, report, makeMode) {
  const backoff = makeBackoff(options.reconnect)
  /** What is due when. */
  const due = { attempt: NEVER, redial: NEVER, stable: NEVER, unanswered: NEVER, resend: NEVER, flush: NEVER }
  /** @type {Array<() => void>} */
  const effects = []
  let isRunning = false
  let timerMs = NEVER
  let stopTimer = () => {}

  /** The attempt, and then the connection, that is the one. @type {{ socket?: import('./platform.js').Socket, isShaken?: boolean } | null} */
  let conn = null
  let attempt = 0
  /** When the handshake was complete, and when the connection was open. */
  let shakenMs = 0
  let openMs = 0
  /** The server named a delay: no local cause dials before. */
  let notBeforeMs = 0
  let isAsleep = false
  let isClosing = false

  const link = {
    due,
    nowMs: platform.nowMs(),
    /** @type {Status} */
    status: 'connecting',
    /** That of the connection, once it is open. @type {Heartbeat | null} */
    heartbeat: null,

    // For the application and the page.
    start: () => run(dial),
    /** Looks at once whether the connection lives; dials when there is none. */
    look: () => run(wake),
    signal,
    reconnect,
    close,
    isEnding: () => isClosing || link.status === 'closed',
    /** Time has passed unseen: the machine may have slept, and its network with it. [RETRY-8] */
    clockJumped: () => isAsleep || run(wake),

    // For the mode.
    run,
    tell,
    send,
    open,
    settle,
    lose,
    ask,
    roundTripMs: () => link.heartbeat?.rtt()?.smoothedMs ?? openMs - shakenMs,
  }
  const mode = makeMode(link)

  /** Everything that happens comes through here. @param {() => void} step */
  function run(step) {
    link.nowMs = platform.nowMs()
    step()
    if (isRunning) return
    isRunning = true
    for (let effect; (effect = effects.shift());) {
      try {
        effect()
      } catch (error) {
        report('error', error)
      }
    }
    isRunning = false
    arm()
  }

  /** Reports to the application, in order with everything else. @type {Report} */
  function tell(name, ...details) {
    effects.push(() => report(name, ...details))
  }

  /** @param {Payload} message */
  function send(message) {
    const to = conn
    effects.push(() => to?.socket?.send(message))
  }

  /** Sets the one timer for whatever is due first. */
  function arm() {
    due.unanswered = link.heartbeat ? mode.unansweredMs() : NEVER
    const dueMs = Math.min(...Object.values(due), link.heartbeat?.deadlineMs() ?? NEVER)
    // Set anew for each change, not left to fire early: in hidden tabs only timers that a socket's own events set are
    // on time.
    if (dueMs === timerMs) return
    stopTimer()
    timerMs = dueMs
    if (dueMs === NEVER) return
    stopTimer = platform.timer(Math.max(0, dueMs - link.nowMs), () => {
      timerMs = NEVER
      run(timeout)
    })
  }

  function timeout() {
    const { nowMs } = link
    if (nowMs >= due.flush) finish()
    if (nowMs >= due.attempt) lose('attempt-timeout')
    if (nowMs >= due.redial) dial()
    if (nowMs >= due.stable) settle()
    const { heartbeat } = link
    const ping = heartbeat ? heartbeat.poll(nowMs, mode.backlogMs()) : 0
    if (heartbeat && ping < 0) lose('silent', { reason: `${nowMs - heartbeat.heardMs()} ms` })
    else if (ping) mode.ask(ping)
    mode.timeout()
  }

  /** @param {Status} status */
  function setStatus(status) {
    const was = link.status
    link.status = status
    if (was !== status) tell('status', status, was)
  }

  // Dialling.

  function dial() {
    const { url, token, headers = {}, attemptTimeoutMs = ATTEMPT_TIMEOUT_MS } = options
    due.redial = NEVER
    due.attempt = link.nowMs + attemptTimeoutMs
    notBeforeMs = 0
    attempt++
    /** @type {NonNullable<typeof conn>} */
    const made = (conn = {})
    setStatus('connecting')
    /** Hears it only as long as it is the one. [RETRY-1] @type {(step: (detail: any) => void) => (detail: any) => void} */
    const hear = (step) => (detail) => {
      if (conn === made) run(() => step(detail))
    }
    const failed = (/** @type {unknown} */ error) => lose('dial-failed', { reason: String(error) })
    /** @param {string[]} prepared */
    const connect = ([address, fresh]) => {
      const opened = (/** @type {string} */ subprotocol) => {
        made.isShaken = true
        shakenMs = link.nowMs
        mode.greet(attempt, subprotocol, fresh)
      }
      /** @param {import('./platform.js').CloseInfo} info */
      const closed = ({ code, reason, retryMs = retryInReason(reason) }) =>
        lose(made.isShaken ? 'closed' : 'dial-failed', { code, reason, retryMs })
      const request = { url: address.replace(/^http/, 'ws'), protocols: mode.protocols, headers }
      try {
        made.socket = platform.dial(request, { opened: hear(opened), received: hear(read), closed: hear(closed) })
        if (conn !== made) made.socket.abandon()
      } catch (error) {
        hear(failed)(error)
      }
    }
    const prepare = async () => [typeof url === 'string' ? url : await url(), token && (await token())]
    effects.push(() => {
      if (typeof url === 'string' && !token) connect([url])
      else prepare().then(hear(connect), hear(failed))
    })
  }

  /** Dials at once, or when the delay that the server named is over. */
  function dialWhenAllowed() {
    backoff.restart()
    if (link.nowMs >= notBeforeMs) return dial()
    due.redial = notBeforeMs
    setStatus('lost')
  }

  /** Something changed on this side. [LIVE-6] */
  function wake() {
    const wasAsleep = isAsleep
    isAsleep = false
    if (link.heartbeat) ask()
    else if (conn) due.attempt = Math.min(due.attempt, link.nowMs + ATTEMPT_AFTER_WAKE_MS)
    else if (attempt && link.status !== 'closed' && (wasAsleep || link.status === 'lost' || backoff.wakes))
      dialWhenAllowed()
  }

  /** Gives up a connection that is open, or a delay, and dials at once. */
  function reconnect() {
    run(() => {
      isAsleep = false
      backoff.restart()
      if (link.heartbeat) lose('requested', { say: NORMAL })
      else if (!conn && link.status !== 'closed') dial()
    })
  }

  /** @param {import('./platform.js').Signal} signal */
  function signal(signal) {
    const isBackground = signal === 'background'
    run(() => {
      if (signal === 'freeze') drop(NORMAL)
      if (signal === 'freeze' || signal === 'sleep') return sleep()
      if (!isBackground) wake()
      if (signal !== 'wake') mode.background(isBackground)
    })
  }

  /** Nothing is dialled until the page wakes, but for a try every few minutes; a connection that is there stays. */
  function sleep() {
    isAsleep = true
    if (conn || link.status === 'closed') return
    due.redial = link.nowMs + backoff.wakeMs(platform.random())
    setStatus('asleep')
  }

  // The connection.

  /** The connection is ready for use. @param {Heartbeat} heartbeat */
  function open(heartbeat) {
    link.heartbeat = heartbeat
    openMs = link.nowMs
    due.attempt = NEVER
    due.stable = openMs + STABLE_MS
    setStatus('open')
  }

  /** Starts the count of attempts again, once the connection has proved itself. [RETRY-5] */
  function settle() {
    if (!link.heartbeat || link.nowMs < openMs + STABLE_MS) return
    due.stable = NEVER
    if (!mode.isSettled()) return
    backoff.stable()
    mode.stable()
  }

  /** @param {Payload} message */
  function read(message) {
    const { heartbeat } = link
    try {
      mode.read(message)
    } catch (error) {
      // A function of the application's, such as the one that recognises an answer.
      tell('error', error)
    }
    if (heartbeat) heartbeat.heard(link.nowMs)
    if (isClosing && mode.isEmpty()) finish()
  }

  /** Asks at once, with a time for the answer that a link known to be slow can keep. [LIVE-6] */
  function ask() {
    const { heartbeat } = link
    if (!heartbeat) return
    const longestMs = Math.max(heartbeat.timeoutMs, PROBE_MS)
    const withinMs = Math.min(Math.max(link.roundTripMs() * ROUND_TRIPS, PROBE_MS), longestMs) + mode.backlogMs()
    const ping = heartbeat.probe(link.nowMs, withinMs)
    if (ping) mode.ask(ping)
  }

  // The end of a connection, and of the link.

  /** Detaches from the connection: no event of it is heard any more. @type {(code?: number, reason?: string) => void} */
  function drop(code, reason) {
    const gone = conn
    if (!gone) return
    conn = link.heartbeat = null
    due.attempt = due.stable = due.resend = NEVER
    effects.push(() => gone.socket?.abandon(code, reason))
    mode.dropped()
  }

  /**
   * The connection, or the attempt, is over. `say` is the code to close the socket with, where it may still be heard.
   *
   * @param {LostWhy} why
   * @param {{ code?: number, reason?: string, retryMs?: number, say?: number }} [about]
   */
  function lose(why, { code = ABNORMAL, reason = '', retryMs = 0, say } = {}) {
    drop(say, reason)
    if (isClosing && mode.isEmpty()) return end('application')
    const { ending, isLocal, leastMs = 0 } = mode.judge(why, code)
    if (ending) return end(ending, code, reason)
    const random = platform.random()
    const serverMs = retryMs && namedMs(Math.max(retryMs, leastMs), random)
    if (serverMs) notBeforeMs = link.nowMs + serverMs
    /** @type {number | null} */
    let inMs = null
    if (!isAsleep)
      inMs = isLocal || why === 'requested' ? 0 : backoff.nextMs(serverMs, leastMs, random, platform.isOnline())
    setStatus(isAsleep ? 'asleep' : inMs === null ? 'suspended' : 'lost')
    const retryInMs = inMs ?? backoff.wakeMs(random)
    due.redial = link.nowMs + retryInMs
    tell('lost', { why, code, reason, retryInMs: retryInMs < NEVER ? retryInMs : null, attempts: backoff.attempts() })
    if (inMs === 0) dial()
  }

  /** Ends the link when what waits has been sent, or after a time. @param {number} flushMs */
  function close(flushMs) {
    run(() => {
      isClosing = true
      if (mode.isEmpty()) finish()
      else due.flush = Math.min(due.flush, link.nowMs + flushMs)
    })
  }

  function finish() {
    drop(conn?.isShaken ? NORMAL : undefined)
    end('application')
  }

  /** @type {(why: Ending['why'], code?: number, reason?: string) => void} */
  function end(why, code = NORMAL, reason = '') {
    if (link.status === 'closed') return
    due.redial = due.flush = NEVER
    setStatus('closed')
    tell('closed', { why, code, reason })
  }

  return link
}
