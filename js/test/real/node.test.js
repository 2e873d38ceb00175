/** The client in Node against the real server, through the proxy that breaks connections. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { Client } from '../../src/heartwire.js'
import { HeartwireWebSocket } from '../../src/websocket-node.js'
import { Heartwire, webPlatform, wsPlatform } from '../../src/node.js'
import { Setup, until } from './support/programs.js'
import { localPeer, survivesABlackHole } from './support/scenario.js'

/** Node's own WebSocket class exists from Node 22 on, and in Node 20 behind a flag. */
const hasOwnClass = typeof globalThis.WebSocket === 'function'

describe('in Node', () => {
  it('with ws: half-open is noticed in time, and nothing is lost or doubled', async (t) => {
    const setup = await Setup.start(t)
    const link = new Client(`ws://${setup.broken}/websocket`, { platform: wsPlatform(WebSocket) })
    t.after(() => link.close({ flushMs: 0 }))
    await survivesABlackHole(setup, localPeer(link))
  })

  it('with its own WebSocket class', { skip: !hasOwnClass && 'see the next test' }, async (t) => {
    const setup = await Setup.start(t)
    const link = new Client(`ws://${setup.broken}/websocket`, { platform: webPlatform() })
    t.after(() => link.close({ flushMs: 0 }))
    await survivesABlackHole(setup, localPeer(link))
  })

  it(
    'with its own WebSocket class, behind the flag of Node 20',
    { skip: hasOwnClass && 'it needs no flag' },
    async () => {
      const args = ['--experimental-websocket', '--test', '--test-name-pattern=with its own WebSocket class$']
      const { NODE_TEST_CONTEXT, ...env } = process.env
      const child = spawn(process.execPath, [...args, fileURLToPath(import.meta.url)], { stdio: 'ignore', env })
      const code = await new Promise((resolve) => child.on('exit', resolve))
      assert.equal(code, 0)
    },
  )

  it('survives a reset, a server that is killed, and one that refuses', async (t) => {
    const setup = await Setup.start(t)
    const link = new Heartwire(`ws://${setup.broken}/websocket`)
    t.after(() => link.close({ flushMs: 0 }))
    const peer = localPeer(link)
    await until('the link is open', () => link.status === 'open')
    await peer.publish('before')
    await until('it is stored', async () => (await peer.seen()).stored.length === 1)
    await setup.tell('reset')
    await until('the reset is noticed', async () => (await peer.seen()).lost.length === 1)
    await peer.publish('after')
    await until('it is stored', async () => (await peer.seen()).stored.length === 2)
    assert.deepEqual(await setup.history('inbox'), ['before', 'after'])
  })

  it('obeys what the server says when it stops', async (t) => {
    const setup = await Setup.start(t)
    const link = new Heartwire(`ws://${setup.direct}/websocket`)
    t.after(() => link.close({ flushMs: 0 }))
    /** @type {import('../../src/link.js').Lost[]} */
    const lost = []
    link.on('lost', (about) => void lost.push(about))
    await until('the link is open', () => link.status === 'open')
    setup.server?.process.kill('SIGTERM')
    await until('the server has said good-bye', () => lost.length > 0)
    assert.deepEqual([lost[0].why, lost[0].code], ['closed', 4201])
    assert.ok(Number(lost[0].retryInMs) > 0, 'the server named a delay')
  })

  it('in plain mode the brief is answered, and a dead link noticed', async (t) => {
    const setup = await Setup.start(t)
    const link = new Heartwire(`ws://${setup.broken}/websocket?42&7`, {
      mode: 'plain',
      heartbeat: { intervalMs: 1_000, timeoutMs: 1_000 },
    })
    t.after(() => link.close())
    /** @type {string[]} */
    const seen = []
    link.on('data', (data) => void seen.push(data))
    await until('the link is open', () => link.status === 'open')
    // Whoever was answered follows its topics.
    await until('a ping was answered', () => link.rtt !== null)
    link.send('I am here')
    await setup.publish('task:42', '50 %')
    await until('the message has come', () => seen.length === 1)
    assert.deepEqual(seen, ['50 %'])
    await until('the other message is stored', async () => (await setup.history('inbox')).length === 1)
    assert.deepEqual(await setup.history('inbox'), ['I am here'])
    await setup.tell('blackhole')
    await until('the loss is noticed', () => link.status !== 'open', 4_500)
  })

  it('the drop-in comes back', async (t) => {
    const setup = await Setup.start(t)
    const socket = new HeartwireWebSocket(`ws://${setup.broken}/websocket?task=42`)
    t.after(() => socket.close())
    /** @type {string[]} */
    const events = []
    for (const type of ['open', 'close']) socket.addEventListener(type, () => events.push(type))
    await until('it is open', () => socket.readyState === socket.OPEN)
    await setup.tell('reset')
    await until('it is open again', () => events.join() === 'open,close,open')
  })
})
