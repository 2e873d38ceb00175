/** The page fits from a phone to a wide screen, stands still, and moves less for those who ask for it. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { visits } from './support/visit.js'

const site = visits()

for (const width of [360, 768, 1024, 1600]) {
  test(`nothing_stands_out_sideways_at_${width}_px`, () =>
    site.visit(
      async (page) => {
        await page.hasReceived(1)
        const wide = await page.page.evaluate(() =>
          [...document.querySelectorAll('main *')]
            .filter((element) => !element.closest('.hidden, pre') && element.getBoundingClientRect().right > innerWidth + 1)
            .map((element) => element.outerHTML.slice(0, 80)),
        )
        assert.deepEqual(wide, [])
        assert.equal(await page.page.evaluate(() => document.documentElement.scrollWidth), width)
      },
      { viewport: { width, height: 800 } },
    ))
}

for (const width of [360, 1280]) {
  test(`nothing_jumps_while_the_link_dies_and_heals_at_${width}_px`, () =>
    site.visit(
      async (page) => {
        await page.hasReceived(1)
        await page.page.evaluate(() => {
          const global = /** @type {any} */ (globalThis)
          global.jumps = []
          new PerformanceObserver((list) => {
            for (const entry of /** @type {any[]} */ (list.getEntries())) {
              // New rows push the older ones down inside their list; that is what lists do.
              const sources = entry.sources.map((/** @type {any} */ { node }) => node).filter((/** @type {any} */ node) => !node?.parentElement?.closest('.scroll'))
              for (const node of sources) global.jumps.push(`${entry.value} ${node?.outerHTML?.slice(0, 80) ?? node?.nodeName}`)
            }
          }).observe({ type: 'layout-shift', buffered: true })
        })
        await page.page.click('#silence')
        await page.isWhole()
        await page.page.click('#cut')
        await page.tells(/^Noticed .*: closed/)
        await page.isNow('open')
        assert.deepEqual(await page.page.evaluate(() => /** @type {any} */ (globalThis).jumps), [])
      },
      { viewport: { width, height: 900 } },
    ))
}

test('the_trace_moves_in_steps_where_less_motion_is_asked_for', () =>
  site.visit(
    async (page) => {
      await page.hasReceived(2)
      const drawn = await page.page.evaluate(async () => {
        const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById('trace'))
        const pictures = new Set()
        const endMs = performance.now() + 3_000
        while (performance.now() < endMs) {
          await new Promise(requestAnimationFrame)
          pictures.add(canvas.toDataURL())
        }
        return pictures.size
      })
      assert.ok(drawn >= 2 && drawn <= 5, `${drawn} pictures in 3 s`)
    },
    { reducedMotion: 'reduce' },
  ))
