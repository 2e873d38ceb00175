/**
 * Chromium with a window on a virtual screen, driven over its own protocol: unlike under other drivers, a tab that is
 * not in front is really hidden, its timers are throttled, and it can be frozen.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WebSocket } from 'ws'
import { until } from './programs.js'

export const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium'
export const XVFB = process.env.XVFB_BIN ?? '/usr/bin/Xvfb'

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Timers of hidden tabs run once a minute after 5 min; here after a second.
  '--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/1',
]

/** One tab. */
export class Tab {
  /**
   * @param {Browser} browser
   * @param {string} targetId
   * @param {string} sessionId
   */
  constructor(browser, targetId, sessionId) {
    this.browser = browser
    this.targetId = targetId
    this.sessionId = sessionId
  }

  /** @type {(method: string, params?: object) => Promise<any>} */
  send(method, params) {
    return this.browser.send(method, params, this.sessionId)
  }

  /** The value of an expression in the page. @param {string} expression */
  async evaluate(expression) {
    const options = { expression, returnByValue: true, awaitPromise: true }
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', options)
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
    return result.value
  }

  toFront() {
    return this.browser.send('Target.activateTarget', { targetId: this.targetId })
  }
}

export class Browser {
  /** @type {Map<number, (message: any) => void>} */
  waiting = new Map()
  messages = 0
  /** @type {Array<() => unknown>} */
  stops = []

  /** @param {import('node:test').TestContext} t */
  static async start(t) {
    const browser = new Browser()
    t.after(() => browser.stop())
    const display = await browser.screen()
    const profile = mkdtempSync(join(tmpdir(), 'heartwire-tabs-'))
    const args = [...FLAGS, `--user-data-dir=${profile}`, '--remote-debugging-port=0', 'about:blank']
    const chromium = spawn(CHROMIUM, args, {
      env: { ...process.env, DISPLAY: display },
      stdio: ['ignore', 'ignore', 'pipe'],
      // A process group of its own: its children write to the profile, and some outlive it.
      detached: true,
    })
    const { pid } = chromium
    if (pid === undefined) throw new Error(`cannot start ${CHROMIUM}`)
    browser.stops.push(async () => {
      process.kill(-pid, 'SIGKILL')
      await once(chromium, 'exit')
      // Those that are killed with it are gone a moment later.
      rmSync(profile, { recursive: true, force: true, maxRetries: 50, retryDelay: 20 })
    })
    await browser.connect(chromium.stderr)
    return browser
  }

  /** A virtual screen; returns its name. */
  async screen() {
    const xvfb = spawn(XVFB, ['-displayfd', '3', '-screen', '0', '800x600x24', '-nolisten', 'tcp'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    })
    this.stops.push(() => xvfb.kill('SIGKILL'))
    const [number] = await once(/** @type {any} */ (xvfb.stdio[3]), 'data')
    return `:${String(number).trim()}`
  }

  /** @param {import('node:stream').Readable} stderr */
  async connect(stderr) {
    let said = ''
    let address = ''
    stderr.on('data', (data) => {
      said += data
      address = /ws:\/\/\S+/.exec(said)?.[0] ?? address
    })
    await until('Chromium has started', () => address !== '')
    this.socket = new WebSocket(address)
    this.socket.on('message', (data) => {
      const message = JSON.parse(String(data))
      this.waiting.get(message.id)?.(message)
    })
    await once(this.socket, 'open')
  }

  /** @type {(method: string, params?: object, sessionId?: string) => Promise<any>} */
  async send(method, params = {}, sessionId) {
    const id = ++this.messages
    this.socket?.send(JSON.stringify({ id, method, params, sessionId }))
    const { result, error } = await new Promise((resolve) => this.waiting.set(id, resolve))
    if (error) throw new Error(`${method}: ${error.message}`)
    return result
  }

  /** A tab in front of the others. @param {string} url */
  async open(url) {
    const { targetId } = await this.send('Target.createTarget', { url })
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true })
    const tab = new Tab(this, targetId, sessionId)
    await until('the page has loaded', () =>
      tab.evaluate('document.readyState === "complete" && location.href !== "about:blank"').catch(() => false),
    )
    return tab
  }

  async stop() {
    this.socket?.terminate()
    // What cannot be ended keeps nothing else alive: the test's process would wait for it.
    const failures = []
    for (const stop of this.stops.reverse()) {
      try {
        await stop()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'not everything has ended')
  }
}
