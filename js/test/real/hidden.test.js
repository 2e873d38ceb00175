/** Tabs that nobody looks at: throttled and frozen as Chromium does it, against the real server. */

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { describe, it } from 'node:test'
import { AT_ONCE_MS, CALM, pause, Setup, until } from './support/programs.js'
import { Browser, CHROMIUM, XVFB } from './support/tabs.js'

const missing = [CHROMIUM, XVFB].filter((file) => !existsSync(file))
/**
 * Timers of such a tab run once a minute: a client that asked by its own timers would be given up after interval and
 * timeout. The time-out leaves room for a machine that has much else to do.
 */
const HEARTBEAT = { interval: '1s', timeout: '9s' }
/** How long a tab stays hidden: several times as long. */
const HIDDEN_MS = 30_000
/** Something is said so often. */
const SAY_EVERY_MS = 2_000

/** @type {(t: import('node:test').TestContext, heartbeat?: typeof HEARTBEAT) => Promise<{ setup: Setup, tab: import('./support/tabs.js').Tab, browser: Browser }>} */
async function openPage(t, heartbeat) {
  const setup = await Setup.start(t, { heartbeat })
  const browser = await Browser.start(t)
  const tab = await browser.open(`http://${setup.broken}/healthz`)
  await tab.evaluate(`(async () => {
    const { Heartwire } = await import('/heartwire.js')
    globalThis.seen = { received: [], lost: [], ticks: 0 }
    globalThis.link = new Heartwire('ws://${setup.broken}/websocket', { heartbeat: { backgroundIntervalMs: 0 } })
    link.subscribe('task:42', ({ data }) => seen.received.push(data), 'head')
    link.on('lost', ({ why }) => seen.lost.push(why))
    setInterval(() => seen.ticks++, 100)
  })()`)
  await until('the link is open', () => tab.evaluate('link.status === "open"'))
  await setup.publish('task:42', 'before')
  await until('a message has come', () => tab.evaluate('seen.received.length === 1'))
  return { setup, tab, browser }
}

describe(
  'a tab in Chromium',
  { skip: missing.length > 0 && `there is no ${missing} (apt-get install chromium xvfb)` },
  () => {
    it('that is hidden, with throttled timers, stays connected and hears what is said', async (t) => {
      const { setup, tab, browser } = await openPage(t, HEARTBEAT)
      await browser.open('about:blank#other')
      await until('the tab is hidden', () => tab.evaluate('document.hidden'))
      await until('its timers are throttled', async () => {
        const before = await tab.evaluate('seen.ticks')
        await pause(2_500)
        return (await tab.evaluate('seen.ticks')) - before <= 1
      })
      const said = ['before']
      for (let ms = 0; ms < HIDDEN_MS; ms += SAY_EVERY_MS) {
        await pause(SAY_EVERY_MS)
        said.push(`hidden ${ms}`)
        await setup.publish('task:42', `hidden ${ms}`)
      }
      await until('all has come', () => tab.evaluate(`seen.received.length >= ${said.length}`))
      const { received, lost } = await tab.evaluate('seen')
      assert.deepEqual(lost, [], 'no false death')
      assert.deepEqual(received, said)
      assert.equal(await setup.connections(), 1)
    })

    it('that is frozen says good-bye at once, and resumes when it wakes', async (t) => {
      const { setup, tab, browser } = await openPage(t, CALM)
      await browser.open('about:blank#other')
      await until('the tab is hidden', () => tab.evaluate('document.hidden'))
      await tab.send('Page.setWebLifecycleState', { state: 'frozen' })
      await until('the server knows', async () => (await setup.connections()) === 0, AT_ONCE_MS)
      await setup.publish('task:42', 'meanwhile')
      await tab.send('Page.setWebLifecycleState', { state: 'active' })
      await tab.toFront()
      await until('the page has resumed', () => tab.evaluate('seen.received.length === 2'))
      assert.deepEqual((await tab.evaluate('seen')).received, ['before', 'meanwhile'])
    })
  },
)
