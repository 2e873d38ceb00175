/**
 * The real server, and the real proxy before it that breaks connections: programs of their own, started for one test
 * and ended with it. `HEARTWIRE_BIN` names the binary; by default the debug build's.
 */

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const BINARY =
  process.env.HEARTWIRE_BIN ?? fileURLToPath(new URL('../../../../target/debug/heartwire', import.meta.url))

/** A program that says in one line that it is ready, and on which address. */
export class Program {
  /** @param {string[]} args */
  constructor(args) {
    this.process = spawn(BINARY, args, { stdio: ['pipe', 'pipe', 'ignore'] })
    /** Lines that nobody has read yet, and who waits for the next. @type {string[]} */
    this.lines = []
    /** @type {Array<(line: string) => void>} */
    this.readers = []
    createInterface({ input: this.process.stdout }).on('line', (line) => {
      const reader = this.readers.shift()
      if (reader) reader(line)
      else this.lines.push(line)
    })
    this.process.on('error', (error) => {
      throw new Error(`${BINARY} cannot be started (cargo build builds it): ${error.message}`)
    })
  }

  /** @returns {Promise<string>} */
  line() {
    const line = this.lines.shift()
    return line === undefined ? new Promise((resolve) => this.readers.push(resolve)) : Promise.resolve(line)
  }

  /** The address in the ready line. */
  async ready() {
    const line = await this.line()
    const [, address] = /(\d+\.\d+\.\d+\.\d+:\d+)/.exec(line) ?? []
    if (!address) throw new Error(`no address in: ${line}`)
    return address
  }

  stop() {
    this.process.kill('SIGKILL')
  }
}

/** A heartbeat for where nothing is to be found dead: not a browser either that is held up by others. */
export const CALM = { interval: '10s', timeout: '10s' }
/** Sooner than the server then gives up anybody who is silent. */
export const AT_ONCE_MS = 5_000

/** A server, with a heartbeat of 1 s + 1 s if nothing else is said, behind a proxy. */
export class Setup {
  /** @type {Program | undefined} */
  server
  /** @type {Program | undefined} */
  proxy
  direct = ''
  broken = ''
  /** What opens the HTTP API, where a key does. @type {Record<string, string>} */
  headers = {}

  /**
   * @param {import('node:test').TestContext} t
   * @param {{ heartbeat?: { interval: string, timeout: string }, guard?: { key: string, secret: string } }} [settings]
   *   by default 1 s and 1 s; the API key, and the secret of tokens
   */
  static async start(t, { heartbeat = { interval: '1s', timeout: '1s' }, guard } = {}) {
    const setup = new Setup()
    if (guard) setup.headers = { authorization: `Bearer ${guard.key}` }
    t.after(() => setup.stop())
    setup.server = new Program([
      ...['serve', '--listen', '127.0.0.1:0', '--memory'],
      ...['--heartbeat-interval', heartbeat.interval, '--heartbeat-timeout', heartbeat.timeout],
      ...(guard ? ['--api-key', guard.key, '--jwt-secret', guard.secret] : []),
    ])
    setup.direct = await setup.server.ready()
    setup.proxy = new Program(['proxy', '--listen', '127.0.0.1:0', '--to', setup.direct])
    setup.broken = await setup.proxy.ready()
    return setup
  }

  stop() {
    this.proxy?.stop()
    this.server?.stop()
  }

  /** Tells the proxy what to do, and waits until it does. @param {string} command */
  async tell(command) {
    this.proxy?.process.stdin.write(`${command}\n`)
    return this.proxy?.line()
  }

  /** Publishes past the proxy. @type {(topic: string, text: string) => Promise<void>} */
  async publish(topic, text) {
    const response = await fetch(`http://${this.direct}/v1/topics/${topic}`, {
      method: 'POST',
      body: text,
      headers: { 'content-type': 'text/plain', ...this.headers },
    })
    if (response.status !== 201) throw new Error(`publishing failed: ${response.status} ${await response.text()}`)
  }

  /** The texts of a topic, from its beginning. @param {string} topic */
  async history(topic) {
    const response = await fetch(`http://${this.direct}/v1/topics/${topic}?limit=1000`, { headers: this.headers })
    const { messages } = /** @type {{ messages: Array<{ text: string }> }} */ (await response.json())
    return messages.map(({ text }) => text)
  }

  /** How many connections the server holds. */
  async connections() {
    const response = await fetch(`http://${this.direct}/v1/connections`, { headers: this.headers })
    const { connections } = /** @type {{ connections: unknown[] }} */ (await response.json())
    return connections.length
  }
}

/** What one look at the world may count for, however long it took. */
const LOOK_MS_MAX = 50

/**
 * Waits until something is so. The time that runs out is that of a machine which has time for this process: a look that
 * takes long because others are at work counts for no more than {@link LOOK_MS_MAX}.
 *
 * @param {string} what for the message when it never is
 * @param {() => boolean | Promise<boolean>} isSo
 * @param {number} [timeoutMs]
 */
export async function until(what, isSo, timeoutMs = 20_000) {
  for (let leftMs = timeoutMs; leftMs > 0;) {
    const startMs = performance.now()
    if (await isSo()) return
    await pause(10)
    leftMs -= Math.min(performance.now() - startMs, LOOK_MS_MAX)
  }
  throw new Error(`it took longer than ${timeoutMs} ms until ${what}`)
}

/** For what takes its time, and cannot be seen. @type {(ms: number) => Promise<void>} */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
