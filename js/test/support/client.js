/** A client on the virtual platform, and what a server says to it. */

import { Heartwire } from './entry.js'
import { VirtualPlatform } from './virtual.js'

/** @typedef {import('../../src/heartwire.js').HeartwireOptions} HeartwireOptions */

const WELCOME = {
  connection: 'c1',
  log: 'l1',
  acked: 0,
  producer_known: false,
  heartbeat: { interval_ms: 10_000, timeout_ms: 10_000 },
  durability: 'memory',
}

/** @type {(said?: object) => string} */
export const welcome = (said) => `welcome\n${JSON.stringify({ ...WELCOME, ...said })}`

/** Lets promises that are settled run what waits for them. */
export async function settled() {
  for (let i = 0; i < 10; i++) await Promise.resolve()
}

/**
 * A client that has not dialled yet, and all that it reports.
 *
 * @param {HeartwireOptions & { url?: any }} [options]
 */
export function makeClient({ url = 'wss://test/websocket', ...options } = {}) {
  const platform = new VirtualPlatform()
  const link = new Heartwire(url, /** @type {any} */ ({ ...options, platform }))
  /** @type {Array<[name: string, ...details: any[]]>} */
  const events = []
  for (const name of /** @type {const} */ (['status', 'open', 'lost', 'closed', 'data', 'gap', 'rtt', 'error'])) {
    link.on(name, (/** @type {any[]} */ ...details) => void events.push([name, ...details]))
  }
  return {
    platform,
    link,
    events,
    /** The details of all events of a name. @param {string} name */
    all: (name) => events.filter(([other]) => other === name).map(([, ...details]) => details[0]),
  }
}

/** A client whose connection is open. @param {Parameters<typeof makeClient>[0] & { said?: object }} [options] */
export async function openClient({ said, ...options } = {}) {
  const made = makeClient(options)
  await settled()
  made.platform.socket.open()
  made.platform.socket.receive(welcome(said))
  return made
}

/** What the client has sent on its latest connection, `hello` aside. @param {VirtualPlatform} platform */
export const sent = (platform) => platform.socket.sent.filter((message) => !String(message).startsWith('hello'))
