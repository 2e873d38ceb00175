/** The page's link is broken with each of its buttons, and heals. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allowedMs, watchStalls } from '../support/stalls.js'
import { publish } from './support/server.js'
import { visits } from './support/visit.js'

const site = visits()

test('the_page_opens_and_its_link_beats', () =>
  site.visit(async (page) => {
    await page.isNow('open')
    await page.hasReceived(3)
    assert.match(await page.text('round-trip'), /^\d[\d.,]* ms$/)
    assert.match(await page.text('ticking'), /^heard \d\.\d s ago · heartbeat every 1\.0 s, answer within 2\.0 s$/)
    await page.shows('connections', 'heartwire-js')
    await page.shows('topics', await page.topic())
  }))

test('a_silent_link_is_noticed_within_its_bound_and_heals', () =>
  site.visit(async (page) => {
    await page.hasReceived(2)
    await page.page.evaluate(`globalThis.stalledMs = (${watchStalls})()`)
    await page.page.click('#silence')
    const noticed = await page.tells(/^Noticed after/)
    const [, secondsAfter] = /^Noticed after (\d+\.\d) s: silent/.exec(noticed) ?? []
    const stalledMs = Number(await page.page.evaluate('stalledMs()'))
    // 1.25 s of silence and 2 s for the answer, counted from the last byte heard; a busy machine is late.
    assert.ok(Number(secondsAfter) <= 1.25 + 2 + 1 + allowedMs(stalledMs) / 1_000, noticed)
    await page.tells(/^Open again/)
    await page.isWhole()
  }))

test('a_cut_link_is_noticed_at_once_and_heals', () =>
  site.visit(async (page) => {
    await page.hasReceived(2)
    await page.page.click('#cut')
    assert.match(await page.tells(/^Noticed/), /^Noticed (at once|after 0\.\d s): closed/)
    await page.isWhole()
    await page.isNow('open')
  }))

test('a_sleeping_page_leaves_the_server_and_gets_everything_when_it_wakes', () =>
  site.visit(async (page) => {
    await page.hasReceived(2)
    await page.page.click('#sleep')
    await page.isNow('asleep')
    await page.page.waitForFunction(() => !document.querySelector('.mine'))
    await publish(site.url, await page.topic(), 'meanwhile')
    await page.page.waitForFunction(() => Number(document.getElementById('waiting')?.textContent) >= 2)
    assert.ok(!(await page.text('messages')).includes('meanwhile'))
    await page.page.click('#sleep')
    await page.isWhole()
    await page.shows('messages', 'meanwhile')
    assert.equal((await page.text('messages')).split('meanwhile').length, 2)
  }))

test('a_link_closed_by_the_operator_comes_back', () =>
  site.visit(async (page) => {
    await page.hasReceived(2)
    await page.page.click('.mine button')
    assert.match(await page.tells(/^Lost/), /closed by the operator/)
    await page.isWhole()
  }))

test('what_is_published_while_the_link_is_down_waits_and_is_stored_once', () =>
  site.visit(async (page) => {
    await page.hasReceived(1)
    await page.page.click('#sleep')
    await page.page.fill('textarea', 'from a pocket')
    await page.page.press('textarea', 'Enter')
    await page.shows('published', 'Waits for the link')
    await page.page.click('#sleep')
    await page.shows('published', 'Stored after')
    await page.shows('messages', 'from a pocket')
    assert.equal((await page.text('messages')).split('from a pocket').length, 2)
  }))
