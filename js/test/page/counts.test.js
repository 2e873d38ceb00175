/** The page's counts tell what the server really delivers: here it is made to lose and to double. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { visits } from './support/visit.js'

const site = visits()

/**
 * Changes what the page publishes on its way to the server, which so stores something else.
 *
 * @param {(text: string) => string} change
 * @returns {(page: import('playwright-core').Page) => Promise<void>}
 */
const onTheWayUp = (change) => (page) =>
  page.routeWebSocket(/\/websocket/, (socket) => {
    const server = socket.connectToServer()
    socket.onMessage((message) => server.send(typeof message === 'string' ? change(message) : message))
  })

test('a_message_that_never_comes_back_is_counted_as_lost', () =>
  site.visit(
    async (page) => {
      await page.hasReceived(3)
      const { sent, received, lost, doubled, waiting } = await page.counts()
      assert.deepEqual({ lost, doubled, received: received + waiting }, { lost: 1, doubled: 0, received: sent - 1 })
    },
    { before: onTheWayUp((text) => text.replace('\nbeat 2 of', '\nsomething else than 2 of')) },
  ))

test('a_message_that_comes_back_twice_is_counted_as_doubled', () =>
  site.visit(
    async (page) => {
      await page.hasReceived(3)
      const { lost, doubled } = await page.counts()
      assert.deepEqual({ lost, doubled }, { lost: 1, doubled: 1 })
    },
    { before: onTheWayUp((text) => text.replace('\nbeat 3 of', '\nbeat 2 of')) },
  ))

test('a_message_of_another_page_counts_for_nothing', () =>
  site.visit(
    async (page) => {
      await page.hasReceived(3)
      await page.shows('messages', 'beat 1 of stranger')
      const { received, doubled } = await page.counts()
      assert.ok(received >= 3 && doubled === 0)
    },
    { before: onTheWayUp((text) => text.replace(/\nbeat 2 of \w+/, '\nbeat 1 of stranger')) },
  ))
