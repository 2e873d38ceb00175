/**
 * Plain mode: a WebSocket to any server. The client asks with a text, `ping` by default, and takes whatever comes for
 * life; an answer is recognised by a predicate and is not handed on. [PLAIN-7]
 */

import { makeHeartbeat } from './heartbeat.js'
import { makeLink } from './link.js'

/** @typedef {import('./frames.js').Payload} Payload */

/**
 * @typedef {object} PlainHeartbeat
 * @property {number} [intervalMs] silence after which the client asks; default 10 s
 * @property {number} [timeoutMs] how long the answer may take; default 10 s
 * @property {Payload | (() => Payload)} [ping] the question; default `ping`
 * @property {(data: Payload) => boolean} [pong] recognises the answer; default: the text `pong`
 */

/** @typedef {import('./link.js').LinkOptions & { protocols?: string | string[], heartbeat?: PlainHeartbeat }} PlainOptions */

/** @typedef {ReturnType<typeof makePlainLink>} PlainLink */

/**
 * @param {import('./platform.js').Platform} platform
 * @param {PlainOptions} options
 * @param {import('./link.js').Report} report
 */
export function makePlainLink(platform, options, report) {
  const { intervalMs = 10_000, timeoutMs = 10_000, ping = 'ping', pong = isPong } = options.heartbeat || {}
  return makeLink(platform, options, report, (link) => ({
    protocols: /** @type {string[]} */ ([]).concat(options.protocols || []),
    greet(attempt, protocol) {
      link.open(makeHeartbeat(intervalMs, timeoutMs, link.nowMs, platform.random()))
      link.tell('open', { protocol, attempt })
    },
    read(message) {
      if (!pong(message)) return link.tell('data', message)
      const rtt = link.heartbeat.pong(link.nowMs)
      if (rtt) link.tell('rtt', rtt)
    },
    ask: () => link.send(typeof ping === 'function' ? ping() : ping),
    dropped() {},
    // A foreign server means its own by its close codes. [PLAIN-10]
    judge: () => ({}),
    stable() {},
    isSettled: () => true,
    isEmpty: () => true,
    backlogMs: () => 0,
    unansweredMs: () => Infinity,
    timeout() {},
    background() {},
  }))
}

/** @type {(data: Payload) => boolean} */
const isPong = (data) => data === 'pong'
