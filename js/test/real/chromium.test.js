/** The client in Chromium, as the server serves it, against the real server through the proxy. */

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { chromium } from 'playwright-core'
import { AT_ONCE_MS, CALM, pause, Setup, until } from './support/programs.js'
import { survivesABlackHole } from './support/scenario.js'
import { watchStalls } from '../support/stalls.js'

const EXECUTABLE = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium'
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

/** @typedef {import('./support/scenario.js').Peer} Peer */

/**
 * Puts a link into a page of the server's, which keeps the places it has come to.
 *
 * @type {(page: import('playwright-core').Page, setup: Setup) => Promise<Peer>}
 */
async function pagePeer(page, setup) {
  await page.goto(`http://${setup.broken}/healthz`)
  return linkIn(page, setup)
}

/** @type {(page: import('playwright-core').Page, setup: Setup) => Promise<Peer>} */
async function linkIn(page, setup) {
  await page.evaluate(`globalThis.stalledMs = (${watchStalls})()`)
  await page.evaluate(async (url) => {
    const scope = /** @type {any} */ (globalThis)
    const { Heartwire } = await import(/** @type {any} */ ('/heartwire.js'))
    const cursors = {
      load: (/** @type {string} */ topic) => sessionStorage.getItem(topic),
      save: (/** @type {string} */ topic, /** @type {string} */ cursor) => sessionStorage.setItem(topic, cursor),
    }
    const link = (scope.link = new Heartwire(url, { cursors }))
    /** @type {any} */
    const seen = (scope.seen = { received: [], stored: [], lost: [], errors: [] })
    link.subscribe('task:42', (/** @type {any} */ { data }) => seen.received.push(data), 'head')
    link.on('open', (/** @type {any} */ { connection }) => (scope.connection = connection))
    link.on('lost', (/** @type {any} */ { why }) => seen.lost.push({ why, atMs: Date.now() }))
    link.on('error', (/** @type {any} */ error) => seen.errors.push(String(error)))
    scope.publish = (/** @type {string} */ text) => {
      link.publish('inbox', text).then(
        () => seen.stored.push(text),
        (/** @type {any} */ error) => seen.errors.push(String(error)),
      )
    }
  }, `ws://${setup.broken}/websocket`)
  return {
    seen: () =>
      page.evaluate(() => {
        const { seen, link, stalledMs } = /** @type {any} */ (globalThis)
        return { ...seen, status: link.status, stalledMs: stalledMs() }
      }),
    publish: (text) => page.evaluate((said) => /** @type {any} */ (globalThis).publish(said), text),
  }
}

/** The browser answers pings by itself, when it gets to it. */
const SHORT = { interval: '1s', timeout: '4s' }
/** Thrice what the server then waits for a sign of life. */
const QUIET_MS = 3 * 5_000

describe(
  'in Chromium',
  { skip: !existsSync(EXECUTABLE) && `there is no ${EXECUTABLE} (apt-get install chromium)` },
  () => {
    /** @type {import('playwright-core').Browser} */
    let browser
    before(async () => {
      const ignoreDefaultArgs = ['--disable-back-forward-cache']
      browser = await chromium.launch({ executablePath: EXECUTABLE, args: FLAGS, ignoreDefaultArgs })
    })
    after(() => browser?.close())

    it('half-open is noticed in time, and nothing is lost or doubled', async (t) => {
      const setup = await Setup.start(t)
      const page = await browser.newPage()
      t.after(() => page.close())
      await survivesABlackHole(setup, await pagePeer(page, setup))
    })

    it('a page that is loaded anew goes on where it was', async (t) => {
      const setup = await Setup.start(t, { heartbeat: CALM })
      const page = await browser.newPage()
      t.after(() => page.close())
      const before = await pagePeer(page, setup)
      await setup.publish('task:42', 'before')
      await until('a message has come', async () => (await before.seen()).received.length === 1)
      await page.reload()
      await setup.publish('task:42', 'meanwhile')
      const after = await linkIn(page, setup)
      await setup.publish('task:42', 'after')
      await until('the messages have come', async () => (await after.seen()).received.length === 2)
      assert.deepEqual((await after.seen()).received, ['meanwhile', 'after'])
    })

    it('a tab that is duplicated is another client: both stay connected', async (t) => {
      const setup = await Setup.start(t, { heartbeat: CALM })
      const page = await browser.newPage()
      t.after(() => page.close())
      const first = await pagePeer(page, setup)
      await until('the link is open', async () => (await first.seen()).status === 'open')
      // A duplicate has the storage of its original, and so the same kept places.
      const [twin] = await Promise.all([
        page.waitForEvent('popup'),
        page.evaluate(() => void window.open(location.href)),
      ])
      await twin.waitForLoadState()
      const second = await linkIn(twin, setup)
      await until('the link is open', async () => (await second.seen()).status === 'open')
      await setup.publish('task:42', 'for both')
      for (const peer of [first, second]) {
        await until('it has come', async () => (await peer.seen()).received.includes('for both'))
        assert.deepEqual((await peer.seen()).lost, [])
      }
      assert.equal(await setup.connections(), 2)
    })

    it('a page in the back/forward cache says good-bye at once, and resumes on return', async (t) => {
      const setup = await Setup.start(t, { heartbeat: CALM })
      const page = await browser.newPage()
      t.after(() => page.close())
      const peer = await pagePeer(page, setup)
      await until('the link is open', async () => (await peer.seen()).status === 'open')
      await setup.publish('task:42', 'before')
      await until('a message has come', async () => (await peer.seen()).received.length === 1)
      await page.goto(`http://${setup.broken}/readyz`)
      await until('the server knows', async () => (await setup.connections()) === 0, AT_ONCE_MS)
      await setup.publish('task:42', 'meanwhile')
      await page.evaluate(() => history.back())
      await until('the page is back', () => page.evaluate(() => 'link' in globalThis).catch(() => false))
      await until('the page has resumed', async () => (await peer.seen()).received.length === 2)
      assert.deepEqual((await peer.seen()).received, ['before', 'meanwhile'])
    })

    it("a browser's own WebSocket is served in plain mode, and sees why it ends", async (t) => {
      const setup = await Setup.start(t, { heartbeat: SHORT })
      const page = await browser.newPage()
      t.after(() => page.close())
      await page.goto(`http://${setup.direct}/healthz`)
      await page.evaluate((url) => {
        const scope = /** @type {any} */ (globalThis)
        scope.heard = []
        scope.ends = []
        scope.socket = new WebSocket(url)
        scope.socket.onmessage = (/** @type {MessageEvent} */ { data }) => scope.heard.push(data)
        scope.socket.onclose = (/** @type {CloseEvent} */ { code, reason }) => scope.ends.push({ code, reason })
      }, `ws://${setup.direct}/websocket?42&7`)
      const seen = () => page.evaluate(() => (({ heard, ends }) => ({ heard, ends }))(/** @type {any} */ (globalThis)))
      const say = (/** @type {string} */ text) =>
        page.evaluate((said) => /** @type {any} */ (globalThis).socket.send(said), text)
      await until('it is open', () => page.evaluate(() => /** @type {any} */ (globalThis).socket.readyState === 1))
      await say('ping')
      await until('the server answers', async () => (await seen()).heard.length === 1)
      await pause(QUIET_MS)
      await setup.publish('task:42', '50 %')
      await setup.publish('user:7', 'für dich')
      await until('both have come', async () => (await seen()).heard.length === 3)
      await say('I am here')
      await until('it is stored', async () => (await setup.history('inbox')).length === 1)
      assert.deepEqual(await setup.history('inbox'), ['I am here'])
      assert.deepEqual(await seen(), { heard: ['pong', '50 %', 'für dich'], ends: [] })
      // Larger than anything that the server reads.
      await page.evaluate(() => /** @type {any} */ (globalThis).socket.send('x'.repeat(5 << 20)))
      await until('it has been closed', async () => (await seen()).ends.length === 1)
      assert.equal((await seen()).ends[0].code, 1009)
    })
  },
)
