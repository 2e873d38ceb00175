/**
 * The Platform: everything that belongs to a platform, in one object. The core calls it and knows nothing else
 * of the world; tests bring one whose clock stands still until it is moved.
 */

import { LOOK_MS } from './constants.js'

/** @typedef {import('./frames.js').Payload} Payload */

/**
 * @typedef {object} DialRequest
 * @property {string} url `ws:` or `wss:`
 * @property {string[]} protocols subprotocols to offer
 * @property {Record<string, string>} [headers] for the upgrade request, where the platform can set them
 */

/**
 * @typedef {object} CloseInfo how a socket ended
 * @property {number} code the close code; 1006 when none came
 * @property {string} reason the close reason, or the platform's word on what failed
 * @property {number} [retryMs] how long an HTTP answer asked to stay away
 */

/**
 * @typedef {object} SocketEvents what a socket reports; after `closed`, and after `abandon`, nothing is heard
 * @property {(subprotocol: string) => void} opened
 * @property {() => void} heard a part of a message, or a control frame, has come: life, where the platform can see it
 * @property {(message: Payload) => void} received
 * @property {(info: CloseInfo) => void} closed the dial failed or the connection ended
 */

/**
 * @typedef {object} Socket
 * @property {(message: Payload) => void} send hands a message to the platform; a failure is reported by `closed`
 * @property {(code?: number, reason?: string) => void} abandon closes, cleanly with a code and its reason, by the
 *   quickest way there is without one; also a socket that is closed or still connecting
 */

/**
 * What happens to the page around the link.
 *
 * - `wake`: it came back from sleep, or the network changed: look at the connection at once
 * - `sleep`: it cannot dial until it wakes; a connection that is open may stay
 * - `freeze`: it is about to stand still: say good-bye while one can
 * - `background` and `foreground`: the user looked away, the user is back
 *
 * @typedef {'wake' | 'sleep' | 'freeze' | 'background' | 'foreground'} Signal
 */

/**
 * @typedef {object} Platform
 * @property {() => number} nowMs a monotonic clock, in whole milliseconds
 * @property {() => number} wallMs the wall clock, which may jump
 * @property {(delayMs: number, run: () => void) => () => void} timer calls `run` once, at once if the delay is negative,
 *   but after what has already arrived from sockets has been reported; returns how to cancel it
 * @property {() => number} random uniform in [0, 1)
 * @property {() => string} [randomId] 16 to 64 characters of `A–Z a–z 0–9 _ -` that nobody can guess, where there is no `crypto`
 * @property {(request: DialRequest, events: SocketEvents) => Socket} dial begins a connection; may throw
 * @property {(listener: (signal: Signal) => void) => () => void} watch reports signals until the returned function is called
 * @property {() => boolean} isOnline false when a dial has no chance and so is no attempt; true when nobody knows
 */

/** The parts that every JavaScript platform has in common. */
export const common = {
  nowMs: () => Math.floor(performance.now()),
  wallMs: Date.now,
  random: Math.random,

  /** @type {Platform['timer']} */
  timer(delayMs, run) {
    let handle = setTimeout(() => {
      handle = setTimeout(run, LOOK_MS)
    }, delayMs)
    return () => clearTimeout(handle)
  },
}
