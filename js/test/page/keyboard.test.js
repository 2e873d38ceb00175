/** Everything on the page can be done without a mouse, and is said to those who listen. */

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { visits } from './support/visit.js'

const site = visits()
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

/** @typedef {import('./support/page.js').LivePage} LivePage */

/** What has the focus: its id, or what it says. @param {LivePage} page */
const focused = (page) =>
  page.page.evaluate(() => {
    const element = /** @type {HTMLElement} */ (document.activeElement)
    return element.id || element.getAttribute('name') || element.innerText.trim()
  })

test('the_link_is_broken_and_healed_with_the_keyboard_alone', () =>
  site.visit(async (page) => {
    await page.hasReceived(1)
    const { keyboard } = page.page
    await keyboard.press('Tab')
    assert.match(await focused(page), /^Skip to/)
    for (const id of ['silence', 'cut', 'sleep']) {
      await keyboard.press('Tab')
      assert.equal(await focused(page), id)
    }
    await keyboard.press('Enter')
    await page.isNow('asleep')
    assert.equal(await focused(page), 'sleep')
    await keyboard.press('Space')
    await page.isWhole()
  }))

test('the_skip_link_leads_to_the_server', () =>
  site.visit(async (page) => {
    await page.page.keyboard.press('Tab')
    await page.page.keyboard.press('Enter')
    assert.equal(await focused(page), 'server')
  }))

test('a_message_is_published_with_the_keyboard_alone', () =>
  site.visit(async (page) => {
    await page.isNow('open')
    await page.page.focus('textarea')
    await page.page.keyboard.type('typed')
    await page.page.keyboard.press('Enter')
    await page.shows('messages', 'typed')
    await page.shows('published', 'Stored after')
    assert.equal(await focused(page), 'text')
  }))

test('the_focus_is_seen', () =>
  site.visit(async (page) => {
    await page.isNow('open')
    for (let i = 0; i < 12; i++) {
      await page.page.keyboard.press('Tab')
      const width = await page.page.evaluate(() => getComputedStyle(/** @type {Element} */ (document.activeElement)).outlineWidth)
      assert.equal(width, '2px', await focused(page))
    }
  }))

test('only_the_status_is_read_aloud_unasked', () =>
  site.visit(async (page) => {
    const live = await page.page.$$eval('[aria-live], [role=status], [role=log], [role=alert], output', (elements) =>
      elements.map((element) => element.id || element.firstElementChild?.id),
    )
    assert.deepEqual(live, ['status', 'published', 'problem'])
    await page.hasReceived(1)
    const before = await page.page.innerText('[role=status]')
    await page.hasReceived(3)
    assert.equal(await page.page.innerText('[role=status]'), before)
  }))

for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
  test(`nothing_hinders_assistive_technology_in_${colorScheme}_mode`, () =>
    site.visit(
      async (page) => {
        await page.hasReceived(1)
        await page.page.addScriptTag({ path: axe })
        const violations = await page.page.evaluate(async () => {
          const { violations } = await /** @type {any} */ (globalThis).axe.run()
          return violations.map((/** @type {any} */ { id, nodes }) => `${id}: ${nodes[0].html}`)
        })
        assert.deepEqual(violations, [])
      },
      { colorScheme, bypassCSP: true },
    ))
}
