/** A server with an API key shows its connections and topics to whoever has it, and the page keeps it to itself. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { visits } from './support/visit.js'

const KEY = 'sesame-of-sixteen-letters'

/** The browser itself reports a refused request on the console. */
const REFUSED = { forgiven: /status of 401/ }

describe('a server with a key and open WebSockets', () => {
  const site = visits(['--api-key', KEY, '--open-websocket'], REFUSED)

  test('asks_for_the_key_and_shows_what_it_opens', () =>
    site.visit(async (page) => {
      await page.shows('problem', 'to whoever has its API key')
      await page.hasReceived(1)
      assert.ok((await page.text('command')).includes("-H 'Authorization: Bearer KEY'"))

      await page.page.fill('#key input', 'wrong')
      await page.page.press('#key input', 'Enter')
      await page.shows('problem', 'does not know this key')

      await page.page.fill('#key input', KEY)
      await page.page.press('#key input', 'Enter')
      await page.page.waitForSelector('.mine')
      assert.equal(await page.page.isVisible('#key'), false)
      assert.equal(await page.text('problem'), '')
    }))

  test('the_key_is_kept_nowhere', () =>
    site.visit(async (page) => {
      await page.page.fill('#key input', KEY)
      await page.page.press('#key input', 'Enter')
      await page.page.waitForSelector('.mine')
      const kept = await page.page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]))
      assert.ok(!kept.includes(KEY))
      assert.equal(await page.page.inputValue('#key input'), '')
      await page.page.reload()
      await page.shows('problem', 'to whoever has its API key')
    }))

  test('it_is_asked_once_until_there_is_a_key', () =>
    site.visit(async (page) => {
      let asked = 0
      page.page.on('request', (request) => void (asked += Number(request.url().includes('/v1/'))))
      await page.hasReceived(3)
      assert.ok(asked <= 1, `asked ${asked} times`)
    }))
})

describe('a server with a key and closed WebSockets', () => {
  const site = visits(['--api-key', KEY], REFUSED)

  test('tells_why_the_link_is_closed_and_what_opens_it', () =>
    site.visit(async (page) => {
      await page.isNow('closed')
      await page.tells(/--open-websocket/)
      assert.equal(await page.page.getAttribute('#silence', 'aria-disabled'), 'true')
    }))
})
