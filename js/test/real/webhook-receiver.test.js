/** The receiver of webhooks in `examples/webhooks`, posted to by the real server. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Program, until } from './support/programs.js'

const RECEIVER = fileURLToPath(new URL('../../../examples/webhooks/receiver.mjs', import.meta.url))

it('takes what the server has signed, once and in order, and nothing else', async (t) => {
  const secret = `whsec_${randomBytes(32).toString('base64')}`
  const receiver = spawn(process.execPath, [RECEIVER, '0'], {
    env: { ...process.env, WEBHOOK_SECRET: secret },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => receiver.kill())
  /** @type {string[]} */
  const lines = []
  createInterface({ input: receiver.stdout }).on('line', (line) => lines.push(line))
  await until('the receiver listens', () => lines.length > 0)
  const url = lines.shift()?.replace('listening on ', '') ?? ''

  const webhook = ['--webhook', `news:* ${url}/hook batch=10`, '--webhook-secret', secret]
  const server = new Program(['serve', '--listen', '127.0.0.1:0', '--memory', ...webhook])
  t.after(() => server.stop())
  const address = await server.ready()
  const expected = []
  for (let number = 1; number <= 20; number++) {
    const body = `${number} ä`
    const response = await fetch(`http://${address}/v1/topics/news:a`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'text/plain' },
    })
    assert.equal(response.status, 201)
    expected.push(`message news:a ${number} ${body}`)
  }
  await until('everything is there', () => lines.length >= expected.length)
  assert.deepEqual(lines, expected)

  const now = String(Math.trunc(Date.now() / 1000))
  for (const signature of ['', 'v1,', `v1,${randomBytes(32).toString('base64')}`]) {
    const response = await fetch(url, {
      method: 'POST',
      body: '{}',
      headers: { 'webhook-id': 'msg_1', 'webhook-timestamp': now, 'webhook-signature': signature },
    })
    assert.equal(response.status, 401)
  }
})
