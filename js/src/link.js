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

import { makeBackoff } from './backoff.js'
import { watchClock } from './clock.js'
import { retryInReason } from './close.js'
import { ABNORMAL, ATTEMPT_AFTER_WAKE_MS, ATTEMPT_TIMEOUT_MS, NEVER, NORMAL, PROTOCOL, STABLE_MS } from './constants.js'
import { FrameError } from './errors.js'
import { makeHeartbeat } from './heartbeat.js'

/** @typedef {import('./platform.js').Platform} Platform */
/** @typedef {import('./frames.js').Payload} Payload */

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
 * @property {() => string | Promise<string>} [token] asked for before each dial
 * @property {Record<string, string>} [headers] for the upgrade, where the platform can set them
 * @property {import('./backoff.js').ReconnectOptions} [reconnect]
 * @property {number} [attemptTimeoutMs] one attempt, from asking for the token to `welcome` [RETRY-6]
 */

/** Tells the application; does not throw. @typedef {(name: string, ...details: any[]) => void} Report */

/**
 * @typedef {object} Verdict what the end of a connection means, beside a delay that the server named
 * @property {Ending['why']} [_ending] the end of the link, and why
 * @property {boolean} [_isLocal] the cause lies on this side: no reason to wait
 * @property {number} [_leastMs] not to dial sooner
 */

/**
 * @typedef {object} Mode what is said on a connection
 * @property {string[]} _protocols the subprotocols to offer
 * @property {(attempt: number, subprotocol: string, token: string | undefined) => void} _greet the socket is open
 * @property {(message: Payload) => void} _read a message came
 * @property {(id: number) => void} _sendPing sends a question
 * @property {() => void} _dropped the connection is gone
 * @property {(why: LostWhy, code: number) => Verdict} _judge the attempt, or the connection, has ended
 * @property {() => void} _stable the connection has proved itself
 * @property {() => boolean} _isSettled whether everything that the connection was asked for has been answered
 * @property {() => boolean} _isEmpty whether nothing waits to be sent
 * @property {() => number} _backlogMs more time for answers, because of what stands before them on the way up
 * @property {() => number} _publishesDueMs when something is to be done about publishes that wait
 * @property {() => void} _checkPublishes that may be due
 * @property {(isBackground: boolean) => void} _background the user looked away, or is back
 * @property {(why: Ending['why']) => void} _over the link is
 */

/**
 * @typedef {object} Core a link without what its mode adds
 * @property {Status} _status
 * @property {() => void} _begin lives with the page and the clock, and dials when whoever made it has set its handlers
 * @property {(signal: import('./platform.js').Signal) => void} _signal
 * @property {() => void} _reconnect gives up a connection that is open, or a delay, and dials at once
 * @property {(withinMs: number) => void} _close ends the link when what waits has been sent, or after a time
 * @property {() => boolean} _isClosing whether it is closed, or about to be
 * @property {() => number} _timeMs the time of this step
 * @property {(step: () => void) => void} _run everything that happens comes through here
 * @property {(effect: () => void) => void} _later what follows from a step, in order with everything else
 * @property {Report} _tell reports to the application
 * @property {(message: Payload) => void} _send to the connection, if there is one that takes messages
 * @property {(intervalMs: number, timeoutMs: number, firstMs?: number) => void} _open the connection is ready for use
 * @property {() => void} _settle starts the count of attempts again, once the connection has proved itself [RETRY-5]
 * @property {(why: LostWhy, about?: About) => void} _lose the connection, or the attempt, is over
 * @property {import('./heartbeat.js').Heartbeat} _heartbeat that of the connection, once it is open
 * @property {import('./backoff.js').Backoff} _backoff
 * @property {() => boolean} _isShaken whether there is a connection that takes messages
 */

/**
 * @typedef {object} About how a connection ended
 * @property {number} [code] the close code; 1006 when none came
 * @property {string} [reason] for people; of a server in plain mode it may name a delay
 * @property {number} [retryMs] a delay that the server named
 * @property {number} [_say] the code to close the socket with, where it may still be heard
 */

/** @typedef {Core & Mode} Link */

/**
 * @typedef {object} Conn
 * @property {import('./platform.js').Socket} _socket there from the dial on, which may have to wait for a token
 * @property {boolean} _isShaken the handshake is complete
 */

/**
 * @template {Mode} M
 * @template {LinkOptions} O
 * @param {string | (() => string | Promise<string>)} url
 * @param {Platform} platform
 * @param {O} options
 * @param {Report} report
 * @param {(link: any, platform: Platform, options: O) => M} makeMode
 * @returns {Core & M}
 */
export function makeLink(url, platform, options, report, makeMode) {
  const backoff = makeBackoff(platform, options.reconnect)
  /** @type {Array<() => void>} */
  const effects = []
  let isRunning = false
  let nowMs = platform.nowMs()
  let stopTimer = () => {}
  /** When the attempt has taken too long; or, when there is none, when the next one begins. */
  let dialMs = NEVER
  /** When the connection proves itself, and when `close` has waited enough. */
  let stableMs = NEVER
  let flushMs = NEVER
  /** End the watch over the page and the clock. @type {Array<() => void>} */
  let stops = []

  /** The attempt, and then the connection, that is the one. @type {Conn | null} */
  let conn = null
  let attempt = 0
  /** Whether the connection is ready for use; it has a heartbeat then. */
  let isOpen = false
  /** When the handshake was complete, and when an open connection has proved itself. */
  let shakenMs = 0
  let provedMs = 0
  /** The server named a delay: no local cause dials before. */
  let notBeforeMs = 0
  let isAsleep = false
  let isClosing = false

  /** @type {Core} */
  const core = {
    _status: 'connecting',
    _heartbeat: /** @type {any} */ (null),
    _backoff: backoff,

    // For the application and the page.

    _begin() {
      // Time that has passed unseen: the machine may have slept, and its network with it. [RETRY-8]
      const jumped = () => isAsleep || link._signal('wake')
      stops = [platform.watch(link._signal), watchClock(platform, jumped)]
      // Whoever made the link has handlers to set first.
      Promise.resolve().then(link._reconnect)
    },

    _signal(signal) {
      const isBackground = signal === 'background'
      run(() => {
        if (signal === 'freeze') drop(NORMAL)
        if (signal === 'freeze' || signal === 'sleep') return sleep()
        if (!isBackground) wake()
        if (signal !== 'wake') link._background(isBackground)
      })
    },

    _reconnect() {
      run(() => {
        isAsleep = false
        backoff._restart()
        if (isOpen) lose('requested', { _say: NORMAL })
        else if (!conn) dial()
      })
    },

    _close(withinMs) {
      run(() => {
        isClosing = true
        if (link._isEmpty()) finish()
        else flushMs = Math.min(flushMs, nowMs + withinMs)
      })
    },

    _isClosing: () => isClosing,

    // For the mode.

    _timeMs: () => nowMs,
    _run: run,
    _later: later,
    _tell: tell,
    _lose: lose,
    _isShaken: () => !!conn && conn._isShaken,

    _send(message) {
      const to = conn
      if (to && to._isShaken) later(() => to._socket.send(message))
    },

    _open(intervalMs, timeoutMs, firstMs = intervalMs) {
      link._heartbeat = makeHeartbeat(link, intervalMs, timeoutMs, firstMs, nowMs - shakenMs)
      isOpen = true
      dialMs = NEVER
      stableMs = provedMs = nowMs + STABLE_MS
      setStatus('open')
    },

    _settle() {
      if (!isOpen || nowMs < provedMs) return
      stableMs = NEVER
      if (!link._isSettled()) return
      backoff._reset()
      link._stable()
    },
  }
  const link = Object.assign(core, makeMode(core, platform, options))

  /** Everything that happens comes through here. @param {() => void} step */
  function run(step) {
    if (link._status === 'closed') return
    nowMs = platform.nowMs()
    step()
    if (isRunning) return
    isRunning = true
    while (effects.length) {
      try {
        const effect = /** @type {() => void} */ (effects.shift())
        effect()
      } catch (error) {
        report('error', error)
      }
    }
    isRunning = false
    arm()
  }

  /** What follows from a step, in order with everything else. @param {() => void} effect */
  function later(effect) {
    effects.push(effect)
  }

  /** Reports to the application. @type {Report} */
  function tell(name, ...details) {
    later(() => report(name, ...details))
  }

  /** Sets the one timer for whatever is due first. */
  function arm() {
    const beatMs = isOpen ? link._heartbeat._deadlineMs() : NEVER
    const dueMs = Math.min(dialMs, stableMs, flushMs, beatMs, link._publishesDueMs())
    // Set anew each time, not left to fire early: in hidden tabs only timers that a socket's own events set are on time.
    stopTimer()
    if (dueMs < NEVER) stopTimer = platform.timer(dueMs - nowMs, () => run(timeout))
  }

  function timeout() {
    if (nowMs >= flushMs) finish()
    if (nowMs >= dialMs) {
      if (conn) lose('attempt-timeout')
      else dial()
    }
    if (nowMs >= stableMs) link._settle()
    if (isOpen) link._heartbeat._check()
    link._checkPublishes()
  }

  /** @param {Status} status */
  function setStatus(status) {
    const was = link._status
    link._status = status
    if (was !== status) tell('status', status, was)
  }

  // Dialling.

  function dial() {
    const { token, headers, attemptTimeoutMs = ATTEMPT_TIMEOUT_MS } = options
    const made = (conn = /** @type {Conn} */ ({}))
    dialMs = nowMs + attemptTimeoutMs
    notBeforeMs = 0
    attempt++
    setStatus('connecting')
    /** Hears it only as long as it is the one. [RETRY-1] @type {(step: (detail: any) => void) => (detail?: any) => void} */
    const hear = (step) => (detail) => {
      if (conn === made) run(() => step(detail))
    }
    const failed = hear((error) => lose('dial-failed', { reason: `${error}` }))
    later(async () => {
      try {
        const address = typeof url === 'string' ? url : await url()
        const fresh = token && (await token())
        if (conn !== made) return
        const request = { url: address.replace(/^http/, 'ws'), protocols: link._protocols, headers }
        made._socket = platform.dial(request, {
          opened: hear((subprotocol) => {
            made._isShaken = true
            shakenMs = nowMs
            link._greet(attempt, subprotocol, fresh)
          }),
          heard: hear(heard),
          received: hear(read),
          closed: hear((info) => lose(made._isShaken ? 'closed' : 'dial-failed', info)),
        })
        if (conn !== made) made._socket.abandon()
      } catch (error) {
        failed(error)
      }
    })
  }

  /** Dials at once, or when the delay that the server named is over. */
  function dialWhenAllowed() {
    backoff._restart()
    if (nowMs >= notBeforeMs) return dial()
    dialMs = notBeforeMs
    setStatus('lost')
  }

  /** Something changed on this side. [LIVE-6] */
  function wake() {
    const wasAsleep = isAsleep
    isAsleep = false
    if (isOpen) link._heartbeat._probe()
    else if (conn) dialMs = Math.min(dialMs, nowMs + ATTEMPT_AFTER_WAKE_MS)
    else if (wasAsleep || dialMs < NEVER) dialWhenAllowed()
  }

  /** Nothing is dialled until the page wakes, but for a try every few minutes; a connection that is there stays. */
  function sleep() {
    isAsleep = true
    if (conn) return
    dialMs = nowMs + backoff._wakeMs()
    setStatus('asleep')
  }

  /** @param {Payload} message */
  function read(message) {
    try {
      link._read(message)
    } catch (error) {
      // If the server is not to blame, a function of the application's is, such as the one that recognises an answer.
      if (!(error instanceof FrameError)) tell('error', error)
      else lose('server-broke-rule', { reason: error.message, _say: PROTOCOL })
    }
    heard()
    if (isClosing && link._isEmpty()) finish()
  }

  /** Anything has come, if only a part of a message: it is life. [LIVE-1] */
  function heard() {
    if (isOpen) link._heartbeat._heard()
  }

  // The end of a connection, and of the link.

  /** Detaches from the connection: no event of it is heard any more. @type {(code?: number, reason?: string) => void} */
  function drop(code, reason) {
    const gone = conn
    if (!gone) return
    conn = null
    isOpen = false
    dialMs = stableMs = NEVER
    later(() => gone._socket?.abandon(gone._isShaken ? code : undefined, reason))
    link._dropped()
  }

  /**
   * The connection, or the attempt, is over. `_say` is the code to close the socket with, where it may still be heard.
   *
   * @param {LostWhy} why
   * @param {About} [about]
   */
  function lose(why, { code = ABNORMAL, reason = '', retryMs = retryInReason(reason), _say: say } = {}) {
    drop(say, reason)
    if (isClosing && link._isEmpty()) return end('application')
    const verdict = link._judge(why, code)
    const leastMs = verdict._leastMs || 0
    if (verdict._ending) return end(verdict._ending, code, reason)
    const serverMs = retryMs && backoff._namedMs(Math.max(retryMs, leastMs))
    if (serverMs) notBeforeMs = nowMs + serverMs
    const isAtOnce = verdict._isLocal || why === 'requested'
    const inMs = isAsleep ? null : isAtOnce ? 0 : backoff._nextMs(serverMs, leastMs)
    setStatus(isAsleep ? 'asleep' : inMs === null ? 'suspended' : 'lost')
    const retryInMs = inMs ?? backoff._wakeMs()
    dialMs = nowMs + retryInMs
    tell('lost', { why, code, reason, retryInMs: retryInMs < NEVER ? retryInMs : null, attempts: backoff._attempts() })
    if (inMs === 0) dial()
  }

  function finish() {
    drop(NORMAL)
    end('application')
  }

  /** @type {(why: Ending['why'], code?: number, reason?: string) => void} */
  function end(why, code = NORMAL, reason = '') {
    if (link._status === 'closed') return
    isClosing = true
    dialMs = flushMs = NEVER
    for (const stop of stops) stop()
    link._over(why)
    setStatus('closed')
    tell('closed', { why, code, reason })
  }

  return link
}
