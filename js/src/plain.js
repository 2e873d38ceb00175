/**
 * Plain mode: a WebSocket to any server. The client asks with a text, `ping` by default, and takes whatever comes for
 * life; an answer is recognised by a predicate and is not handed on. [PLAIN-7]
 */

import { INTERVAL_MS, NEVER, TIMEOUT_MS } from './constants.js'

/** @typedef {import('./frames.js').Payload} Payload */

/**
 * @typedef {object} PlainHeartbeat
 * @property {number} [intervalMs] silence after which the client asks; default 10 s
 * @property {number} [timeoutMs] how long the answer may take; default 10 s
 * @property {Payload | (() => Payload)} [ping] the question; default `ping`
 * @property {(data: Payload) => boolean} [pong] recognises the answer; default: the text `pong`
 */

/** @typedef {import('./link.js').LinkOptions & { protocols?: string | string[], heartbeat?: PlainHeartbeat }} PlainOptions */

/**
 * @param {import('./link.js').Link} link
 * @param {import('./platform.js').Platform} platform
 * @param {PlainOptions} options
 * @returns {import('./link.js').Mode}
 */
export function plainMode(link, platform, options) {
  const { intervalMs = INTERVAL_MS, timeoutMs = TIMEOUT_MS, ping = 'ping', pong = isPong } = options.heartbeat || {}
  return {
    _protocols: /** @type {string[]} */ ([]).concat(options.protocols || []),
    _greet(attempt, protocol) {
      link._open(intervalMs, timeoutMs, Math.floor(intervalMs * platform.random()))
      link._tell('open', { protocol, attempt })
    },
    _read(message) {
      if (pong(message)) link._heartbeat._answered()
      else link._tell('data', message)
    },
    // An effect, so that a function of the application's that throws is an error and nothing more.
    _sendPing: () => link._later(() => link._send(typeof ping === 'function' ? ping() : ping)),
    _dropped() {},
    // A foreign server means its own by its close codes. [PLAIN-10]
    _judge: () => ({}),
    _stable() {},
    _isSettled: () => true,
    _isEmpty: () => true,
    _backlogMs: () => 0,
    _publishesDueMs: () => NEVER,
    _checkPublishes() {},
    _background() {},
    _over() {},
  }
}

/** @type {(data: Payload) => boolean} */
const isPong = (data) => data === 'pong'
