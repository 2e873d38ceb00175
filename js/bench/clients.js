/**
 * The clients, each with a heartbeat of 1 s + 1 s and otherwise as it comes. All run on the `ws` package.
 */

import { createRequire } from 'node:module'
import { ReconnectingWebSocket as Rews } from '@nktkas/rews'
import PartySocket from 'partysocket/ws'
import { WebSocket } from 'ws'
import { Heartwire, wsPlatform } from '../src/node.js'

// Not all libraries take a class: they use the global one, as in a browser.
Object.assign(globalThis, { WebSocket })
// These two are no ES modules in Node.
const require = createRequire(import.meta.url)
/** @type {any} */
const ReconnectingWebSocket = require('reconnecting-websocket')
const WebsocketHeartbeatJs = require('websocket-heartbeat-js').default

const INTERVAL_MS = 1_000
const TIMEOUT_MS = 1_000
export const TOPIC = 'task:bench'

/**
 * @typedef {object} Events
 * @property {(text: string) => void} message
 * @property {() => void} lost the client says that its connection is gone
 */

/**
 * @typedef {object} Client
 * @property {string} name
 * @property {string} heartbeat where its heartbeat comes from
 * @property {(address: string, events: Events) => () => void} dial returns what ends it
 */

/** @param {string} address */
const plainUrl = (address) => `ws://${address}/websocket?task=bench`

/**
 * The usual recipe for a library without heartbeat: ask every second, and when no answer has come after another, have
 * the library connect anew.
 *
 * @param {any} socket
 * @param {Events} events
 */
function withRecipe(socket, { message, lost }) {
  /** @type {NodeJS.Timeout | undefined} */
  let overdue
  const answered = () => {
    clearTimeout(overdue)
    overdue = undefined
  }
  const asking = setInterval(() => {
    if (socket.readyState !== WebSocket.OPEN || overdue) return
    socket.send('ping')
    overdue = setTimeout(() => {
      overdue = undefined
      socket.reconnect()
    }, TIMEOUT_MS)
  }, INTERVAL_MS)
  socket.addEventListener('message', (/** @type {{ data: string }} */ { data }) => {
    if (data === 'pong') answered()
    else message(data)
  })
  socket.addEventListener('close', () => {
    answered()
    lost()
  })
  return () => {
    clearInterval(asking)
    answered()
    socket.close()
  }
}

/** @type {Client[]} */
export const clients = [
  {
    name: 'heartwire',
    heartbeat: 'own, and the server asks',
    dial(address, { message, lost }) {
      const link = new Heartwire(`ws://${address}/websocket`, { platform: wsPlatform(WebSocket) })
      link.subscribe(TOPIC, ({ data }) => message(String(data)))
      link.on('lost', lost)
      return () => void link.close({ flushMs: 0 })
    },
  },
  {
    name: 'heartwire, plain mode',
    heartbeat: 'own',
    dial(address, { message, lost }) {
      const heartbeat = { intervalMs: INTERVAL_MS, timeoutMs: TIMEOUT_MS }
      const platform = wsPlatform(WebSocket)
      const link = new Heartwire(plainUrl(address), { mode: 'plain', heartbeat, platform })
      link.on('data', (data) => message(String(data)))
      link.on('lost', lost)
      return () => void link.close({ flushMs: 0 })
    },
  },
  {
    name: 'websocket-heartbeat-js',
    heartbeat: 'own',
    dial(address, { message, lost }) {
      const socket = new WebsocketHeartbeatJs({
        url: plainUrl(address),
        pingTimeout: INTERVAL_MS,
        pongTimeout: TIMEOUT_MS,
        pingMsg: 'ping',
      })
      socket.onmessage = (/** @type {{ data: string }} */ { data }) => data === 'pong' || message(data)
      socket.onreconnect = lost
      return () => socket.close()
    },
  },
  {
    name: 'reconnecting-websocket',
    heartbeat: 'recipe',
    dial: (address, events) => withRecipe(new ReconnectingWebSocket(plainUrl(address)), events),
  },
  {
    name: 'partysocket',
    heartbeat: 'recipe',
    dial: (address, events) => withRecipe(new PartySocket(plainUrl(address)), events),
  },
  {
    name: '@nktkas/rews',
    heartbeat: 'recipe',
    dial: (address, events) => withRecipe(new Rews(plainUrl(address)), events),
  },
]
