/** The live page in a real Chromium, as a person uses it. */

import assert from 'node:assert/strict'
import { chromium } from 'playwright-core'

/** @typedef {import('playwright-core').Browser} Browser */
/** @typedef {import('playwright-core').Page} Page */

const CHROMIUM = process.env.HEARTWIRE_CHROMIUM ?? '/usr/bin/chromium'
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Longer than anything here takes, redials with their jitter included. */
const PATIENCE_MS = 30_000

/** @returns {Promise<Browser>} */
export const launch = () => chromium.launch({ executablePath: CHROMIUM, args: FLAGS })

/** The names of the counts. */
const COUNTS = /** @type {const} */ (['sent', 'received', 'waiting', 'lost', 'doubled'])

export class LivePage {
  /**
   * @param {Page} page
   * @param {string[]} problems what the console complained about
   * @param {RegExp} forgiven
   */
  constructor(page, problems, forgiven) {
    this.page = page
    this.problems = problems
    this.forgiven = forgiven
  }

  /**
   * @param {Browser} browser
   * @param {string} url
   * @param {import('playwright-core').BrowserContextOptions & { before?: (page: Page) => Promise<void>, forgiven?: RegExp }} [options]
   *   `before` is called with the page before it loads; complaints that match `forgiven` belong to the test
   */
  static async open(browser, url, { before, forgiven = /^\b$/, ...options } = {}) {
    const page = await browser.newPage(options)
    page.setDefaultTimeout(PATIENCE_MS)
    /** @type {string[]} */
    const problems = []
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && problems.push(message.text()))
    page.on('pageerror', (error) => problems.push(error.message))
    page.on('request', (request) => request.url().startsWith(url) || problems.push(`asked for ${request.url()}`))
    await before?.(page)
    await page.goto(url)
    return new LivePage(page, problems, forgiven)
  }

  close() {
    return this.page.context().close()
  }

  /** Nothing has gone wrong, as far as the console knows. */
  isUntroubled() {
    const problems = this.problems.filter((problem) => !this.forgiven.test(problem))
    assert.deepEqual(problems, [])
  }

  /** @param {string} id @returns {Promise<string>} */
  text(id) {
    return this.page.innerText(`#${id}`)
  }

  /** The topic of the page's own link. @returns {Promise<string>} */
  topic() {
    return this.text('topic')
  }

  /** @returns {Promise<Record<typeof COUNTS[number], number>>} */
  async counts() {
    const texts = await this.page.$$eval('.counts dd', (cells) => cells.map((cell) => [cell.id, Number(cell.textContent)]))
    return Object.fromEntries(texts)
  }

  /** @param {'connecting' | 'open' | 'lost' | 'suspended' | 'asleep' | 'closed'} status */
  async isNow(status) {
    await this.page.waitForFunction((status) => document.getElementById('status')?.textContent === status, status)
  }

  /** Waits until so many numbered messages have come back. @param {number} count */
  async hasReceived(count) {
    await this.page.waitForFunction((count) => Number(document.getElementById('received')?.textContent) >= count, count)
  }

  /** Waits for an entry of the story. @param {RegExp} words @returns {Promise<string>} the entry */
  async tells(words) {
    const entry = await this.page.waitForFunction(
      (source) => [...document.querySelectorAll('#story span')].map((span) => span.textContent ?? '').find((text) => new RegExp(source).test(text)),
      words.source,
    )
    return /** @type {Promise<string>} */ (entry.jsonValue())
  }

  /** Waits for a text anywhere in an element. @type {(id: string, text: string) => Promise<void>} */
  async shows(id, text) {
    await this.page.waitForFunction(([id, text]) => document.getElementById(id)?.textContent?.includes(text), [id, text])
  }

  /** What every outage has to end with: everything sent is back, once. */
  async isWhole() {
    const words = await this.tells(/^Whole again/)
    const [, back, out] = /^Whole again: (\d+) of (\d+) received, 0 lost, 0 doubled\.$/.exec(words) ?? []
    // The next may have been sent in the meantime.
    assert.ok(Number(back) >= Number(out) - 1, words)
    await this.page.waitForFunction(() => document.getElementById('waiting')?.textContent === '0')
    const { sent, received, lost, doubled } = await this.counts()
    assert.ok(received >= sent - 1, `${received} of ${sent} received`)
    assert.deepEqual({ lost, doubled }, { lost: 0, doubled: 0 })
  }
}
