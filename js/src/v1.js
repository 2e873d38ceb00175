/**
 * `heartwire.v1` on a link: hello and welcome, and what the server says in between.
 */

import { makeJudge, NORMAL, PROTOCOL } from './close.js'
import { FrameError } from './errors.js'
import { makeFollowing } from './following.js'
import { idFrame, jsonFrame, parseServerFrame } from './frames.js'
import { makeHeartbeat } from './heartbeat.js'
import { randomId } from './id.js'
import { makeLink } from './link.js'
import { makePublishing } from './publishing.js'

/** @typedef {import('./frames.js').Payload} Payload */
/** @typedef {import('./frames.js').Welcome} Welcome */

/**
 * @typedef {object} V1Heartbeat
 * @property {number} [intervalMs] the interval to ask the server for; the server's own by default
 * @property {number} [backgroundIntervalMs] the one to ask for while the page is hidden; default 60 s
 */

/**
 * @typedef {import('./link.js').LinkOptions & {
 *   heartbeat?: V1Heartbeat, agent?: string, outbox?: import('./outbox.js').OutboxOptions, topicsMax?: number,
 *   producerMemoryMs?: number
 * }} V1Options
 */

/** @typedef {ReturnType<typeof makeV1Link>} V1Link */

const SUBPROTOCOL = 'heartwire.v1'
const BACKGROUND_INTERVAL_MS = 60_000
const INTERVAL_MIN_MS = 1_000
const INTERVAL_MAX_MS = 3_600_000

/**
 * @param {import('./platform.js').Platform} platform
 * @param {V1Options} options
 * @param {import('./link.js').Report} report
 */
export function makeV1Link(platform, options, report) {
  const { intervalMs, backgroundIntervalMs = BACKGROUND_INTERVAL_MS } = options.heartbeat || {}
  /** The interval that `hello` asks for. */
  let wishMs = intervalMs
  let isBackground = false
  let isGreeted = false
  const { judge, opened, stable } = makeJudge()
  const drawId = platform.randomId || randomId
  /** A secret: whoever knows it can take the connection over. [HELLO-3] */
  let client = drawId()
  /** What the server of the latest connection said. @type {Welcome | undefined} */
  let welcome

  const link = makeLink(platform, options, report, (link) => ({
    protocols: [SUBPROTOCOL],
    greet(attempt, subprotocol, token) {
      if (subprotocol !== SUBPROTOCOL) return link.lose('not-agreed', { say: NORMAL })
      link.send(jsonFrame('hello', { client, attempt, agent: options.agent, token, heartbeat_interval_ms: wishMs }))
      isGreeted = true
      following.connected()
    },
    read,
    ask: (id) => link.send(idFrame('ping', id)),
    dropped() {
      isGreeted = false
      following.dropped()
      publishing.dropped()
    },
    judge,
    stable,
    isSettled: () => following.isSettled(),
    isEmpty: () => publishing.isEmpty(),
    backlogMs: () => publishing.backlogMs(),
    unansweredMs: () => publishing.unansweredMs(),
    timeout: () => publishing.timeout(),
    background(is) {
      isBackground = is
      if (link.heartbeat) sendInterval()
    },
  }))
  const following = makeFollowing(link, options.topicsMax)
  const publishing = makePublishing(link, platform, options)

  /** What each frame does. @type {Record<string, (...fields: any[]) => void>} */
  const handlers = {
    ...following,
    ...publishing,
    welcome: welcomed,
    /** @type {(id: string | null, tails: Array<[string, import('./id.js').Cursor]>) => void} */
    ping(id, tails) {
      link.send(idFrame('pong', id))
      following.tails(tails)
    },
    /** @param {string | null} id */
    pong(id) {
      const rtt = link.heartbeat && link.heartbeat.pong(link.nowMs, Number(id))
      if (rtt) link.tell('rtt', rtt)
    },
    /** @param {number} intervalMs */
    heartbeat: (intervalMs) => link.heartbeat && link.heartbeat.setInterval(ownIntervalMs(intervalMs)),
    /** Acted upon at once, whatever comes after it. [CLOSE-2] @type {(code: number, retryMs: number, reason: string) => void} */
    bye: (code, retryMs, reason) => link.lose('closed', { code, retryMs, reason, say: NORMAL }),
  }

  /** @param {Payload} message */
  function read(message) {
    try {
      const [verb, ...fields] = parseServerFrame(message) || []
      // `welcome` comes first, and once.
      if (verb && verb !== 'bye' && !link.heartbeat !== (verb === 'welcome')) throw new FrameError('HELLO-6')
      if (verb) handlers[verb](...fields)
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      link.lose('server-broke-rule', { reason: error.message, say: PROTOCOL })
    }
  }

  /** @param {Welcome} said */
  function welcomed(said) {
    const ownMs = ownIntervalMs(said.heartbeat.interval_ms)
    const timeoutMs = inRange(said.heartbeat.timeout_ms)
    if (publishing.isCloned(said)) {
      client = drawId()
      link.tell('client-changed')
      publishing.clientChanged()
      return link.lose('client-id-in-use', { say: NORMAL })
    }
    welcome = said
    opened()
    link.open(makeHeartbeat(ownMs, timeoutMs, link.nowMs))
    link.tell('open', said)
    publishing.welcomed(said)
    if (isBackground) sendInterval()
  }

  /** A page that nobody looks at need not be asked so often. [LIVE-7] */
  function sendInterval() {
    const normalMs = welcome ? welcome.heartbeat.interval_ms : 0
    if (backgroundIntervalMs > normalMs) link.send(`heartbeat ${isBackground ? backgroundIntervalMs : normalMs}`)
  }

  /** Asks for another interval, on this connection and all later ones. [LIVE-7] @param {number} ms */
  function askInterval(ms) {
    wishMs = ms
    if (isGreeted) link.send(`heartbeat ${ms}`)
  }

  return {
    link,
    following,
    publishing,
    welcome: () => welcome,
    /** A fresh token for the connection, if there is one. [HELLO-12] @param {string} token */
    renewToken: (token) => link.run(() => isGreeted && link.send(jsonFrame('token', { token }))),
    askInterval: (/** @type {number} */ ms) => link.run(() => askInterval(ms)),
  }
}

/** The client's own interval is longer than the server's, so that it asks only when the server is late. [LIVE-2] @type {(intervalMs: number) => number} */
const ownIntervalMs = (intervalMs) => Math.min(Math.floor(inRange(intervalMs) * 1.25), INTERVAL_MAX_MS)

/** [LIVE-8] @type {(ms: number) => number} */
function inRange(ms) {
  if (ms < INTERVAL_MIN_MS || ms > INTERVAL_MAX_MS) throw new FrameError('LIVE-8')
  return ms
}
