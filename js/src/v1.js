/**
 * `heartwire.v1` on a link: hello and welcome, and what the server says in between.
 */

import { makeJudge } from './close.js'
import { BACKGROUND_INTERVAL_MS, INTERVAL_MAX_MS, INTERVAL_MIN_MS, NORMAL } from './constants.js'
import { breach, HeartwireError } from './errors.js'
import { makeFollowing } from './following.js'
import { idFrame, jsonFrame, parseServerFrame } from './frames.js'
import { randomId } from './id.js'
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
 *   heartbeat?: V1Heartbeat, _agent?: string, outbox?: import('./publishing.js').OutboxOptions, _topicsMax?: number,
 *   _producerMemoryMs?: number
 * }} V1Options
 */

/** @typedef {import('./link.js').Core & ReturnType<typeof v1Mode>} V1Link */

const SUBPROTOCOL = 'heartwire.v1'
const AGENT = 'heartwire-js/0.1.0'

/**
 * @param {import('./link.js').Link} link
 * @param {import('./platform.js').Platform} platform
 * @param {V1Options} options
 */
export function v1Mode(link, platform, options) {
  const { intervalMs, backgroundIntervalMs = BACKGROUND_INTERVAL_MS } = options.heartbeat || {}
  /** The interval that `hello` asks for. */
  let wishMs = intervalMs
  /** The server's own. */
  let normalMs = 0
  let isBackground = false
  const drawId = platform.randomId || randomId
  /** A secret: whoever knows it can take the connection over. [HELLO-3] */
  let client = drawId()

  /** A page that nobody looks at need not be asked so often. [LIVE-7] */
  function sendInterval() {
    if (backgroundIntervalMs > normalMs) link._send(`heartbeat ${isBackground ? backgroundIntervalMs : normalMs}`)
  }

  // Beside what these know, each frame of the server's has a method of its name.
  const mode = Object.assign(makeFollowing(link, options._topicsMax), makePublishing(link, platform, options), makeJudge(), {
    _protocols: [SUBPROTOCOL],

    /** @type {(attempt: number, subprotocol: string, token?: string) => void} */
    _greet(attempt, subprotocol, token) {
      if (subprotocol !== SUBPROTOCOL) return link._lose('not-agreed', { _say: NORMAL })
      link._send(
        jsonFrame('hello', { client, attempt, agent: options._agent || AGENT, token, heartbeat_interval_ms: wishMs }),
      )
      mode._connected()
    },

    /** @param {Payload} message */
    _read(message) {
      const [verb, ...fields] = parseServerFrame(message)
      if (!verb) return
      // `welcome` comes first, and once.
      if (verb !== 'bye' && (link._status === 'open') === (verb === 'welcome')) breach('HELLO-6')
      /** @type {any} */ const handlers = mode
      handlers[verb](...fields)
    },

    /** @param {number} id */
    _sendPing: (id) => link._send(idFrame('ping', id)),

    _dropped() {
      mode._disconnected()
      mode._stop()
    },

    /** @param {boolean} is */
    _background(is) {
      isBackground = is
      if (link._status === 'open') sendInterval()
    },

    /** @param {import('./link.js').Ending['why']} why */
    _over(why) {
      mode._giveUp()
      mode._finish(why === 'application' ? undefined : new HeartwireError('closed', why))
    },

    // What the application asks for.

    /** A fresh token for the connection, if there is one. [HELLO-12] @param {string} token */
    _renewToken(token) {
      link._send(jsonFrame('token', { token }))
    },

    /** Asks for another interval, on this connection and all later ones. [LIVE-7] @param {number} ms */
    _askInterval(ms) {
      wishMs = ms
      link._send(`heartbeat ${ms}`)
    },

    // What the server says.

    /** @param {Welcome} said */
    welcome(said) {
      normalMs = said.heartbeat.interval_ms
      const ownMs = ownIntervalMs(normalMs)
      const timeoutMs = inRange(said.heartbeat.timeout_ms)
      if (mode._isCloned(said)) {
        client = drawId()
        mode._clientChanged()
        return link._lose('client-id-in-use', { _say: NORMAL })
      }
      mode._opened()
      link._open(ownMs, timeoutMs)
      link._tell('open', said)
      mode._welcomed(said)
      if (isBackground) sendInterval()
    },

    /** @type {(tails: Array<[string, import('./id.js').Cursor]>, id?: string) => void} */
    ping(tails, id) {
      link._send(idFrame('pong', id))
      mode._tails(tails)
    },

    /** @param {string} [id] */
    pong: (id) => link._heartbeat._answered(Number(id)),

    /** @param {number} intervalMs */
    heartbeat: (intervalMs) => link._heartbeat._beatEvery(ownIntervalMs(intervalMs)),

    /** Acted upon at once, whatever comes after it. [CLOSE-2] @type {(reason: string, code: number, retryMs: number) => void} */
    bye: (reason, code, retryMs) => link._lose('closed', { code, retryMs, reason, _say: NORMAL }),
  })
  return mode
}

/** The client's own interval is longer than the server's, so that it asks only when the server is late. [LIVE-2] @type {(intervalMs: number) => number} */
const ownIntervalMs = (intervalMs) => Math.min(Math.floor(inRange(intervalMs) * 1.25), INTERVAL_MAX_MS)

/** [LIVE-8] @type {(ms: number) => number} */
const inRange = (ms) => (ms >= INTERVAL_MIN_MS && ms <= INTERVAL_MAX_MS ? ms : breach('LIVE-8'))
