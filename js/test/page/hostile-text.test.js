/** What strangers say stays text, wherever the page shows it. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import WebSocket from 'ws'
import { publish } from './support/server.js'
import { visits } from './support/visit.js'

const site = visits()

/** Would say something on the console, or put up a dialog, if a page took it for more than text. */
const HOSTILE = `<img src=x onerror=alert(1)><script>alert(1)</script>"'><b>bold</b>`

/** A connection that introduces itself with that. */
async function stranger() {
  const socket = new WebSocket(site.url.replace('http', 'ws') + '/websocket', 'heartwire.v1')
  socket.on('message', (data) => {
    const [, id] = /^ping (\S+)/.exec(String(data)) ?? []
    if (id) socket.send(`pong ${id}`)
  })
  await once(socket, 'open')
  socket.send(`hello ${JSON.stringify({ client: 'stranger-of-sixteen', attempt: 1, agent: HOSTILE })}`)
  await once(socket, 'message')
  return socket
}

test('agents_and_payloads_are_shown_as_text', async () => {
  const socket = await stranger()
  await site.visit(async (page) => {
    page.page.on('dialog', () => page.problems.push('a dialog'))
    await page.isNow('open')
    await publish(site.url, await page.topic(), HOSTILE)
    await page.shows('messages', HOSTILE)
    await page.shows('connections', HOSTILE)
    const made = await page.page.$$eval('main img, main b, main script', (elements) => elements.length)
    assert.equal(made, 0)
  })
  socket.close()
})

test('long_payloads_and_binary_ones_keep_the_page_in_shape', () =>
  site.visit(async (page) => {
    await page.isNow('open')
    const topic = await page.topic()
    await publish(site.url, topic, 'x'.repeat(100_000))
    await fetch(`${site.url}/v1/topics/${topic}`, { method: 'POST', body: new Uint8Array([0, 255, 10]) })
    await page.shows('messages', '3 bytes, binary')
    const longest = await page.page.$$eval('#messages td', (cells) => Math.max(...cells.map((cell) => cell.textContent?.length ?? 0)))
    assert.ok(longest < 1_000, `a cell holds ${longest} characters`)
  }))

test('a_topic_of_an_impossible_name_is_refused_in_words', () =>
  site.visit(async (page) => {
    await page.isNow('open')
    await page.page.fill('[name=topic]', HOSTILE)
    await page.page.fill('textarea', 'anything')
    await page.page.press('textarea', 'Enter')
    await page.shows('published', 'No topic has such a name')
  }))
