/** Plain mode: a WebSocket to any server, and the drop-in for the WebSocket class. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { makeClient, settled } from './support/client.js'
import { HeartwireWebSocket } from './support/entry.js'
import { VirtualPlatform } from './support/virtual.js'

/** @param {Partial<import('../src/heartwire.js').PlainModeOptions>} [options] */
async function openPlain(options) {
  const made = makeClient({ mode: 'plain', ...options })
  await settled()
  made.platform.socket.open('')
  return made
}

describe('a plain link', () => {
  it('asks as the brief does, and keeps the answer to itself', async () => {
    const { platform, all } = await openPlain()
    platform.advance(5_000)
    assert.deepEqual(platform.socket.sent, ['ping'])
    platform.socket.receive('pong')
    platform.socket.receive('50 %')
    assert.deepEqual(all('data'), ['50 %'])
    assert.deepEqual(all('rtt').length, 1)
  })

  it('is noticed dead within interval and timeout, and dials without waiting for a close event', async () => {
    const { link, platform, all } = await openPlain({ heartbeat: { intervalMs: 1_000, timeoutMs: 1_000 } })
    platform.socket.receive('hello')
    platform.advance(2_000)
    assert.deepEqual(
      all('lost').map(({ why }) => why),
      ['silent'],
    )
    platform.advance(3_000)
    assert.equal(platform.sockets.length, 2)
    assert.equal(link.status, 'connecting')
  })

  it('takes any question and any answer', async () => {
    let n = 0
    const { platform, all } = await openPlain({
      heartbeat: {
        ping: () => JSON.stringify({ op: 'ping', n: ++n }),
        pong: (data) => String(data).includes('"pong"'),
      },
    })
    platform.advance(5_000)
    assert.deepEqual(platform.socket.sent, ['{"op":"ping","n":1}'])
    platform.socket.receive('{"op":"pong"}')
    assert.deepEqual(all('data'), [])
  })

  it('whose predicate throws goes on', async () => {
    const { link, platform, all } = await openPlain({
      heartbeat: {
        pong: () => {
          throw new Error('bad predicate')
        },
      },
    })
    platform.socket.receive('x')
    assert.equal(link.status, 'open')
    assert.equal(all('error').length, 1)
  })

  it('whose question throws goes on, and notices the silence', async () => {
    const { link, platform, all } = await openPlain({
      heartbeat: {
        ping: () => {
          throw new Error('bad question')
        },
      },
    })
    platform.advance(5_000)
    assert.equal(link.status, 'open')
    assert.equal(all('error').length, 1)
    platform.advance(10_000)
    assert.equal(all('lost')[0].why, 'silent')
  })

  it('sends while it is open, and keeps nothing for later', async () => {
    const { link, platform } = await openPlain()
    assert.equal(link.send('SUBSCRIBE'), true)
    platform.socket.close()
    assert.equal(link.send('late'), false)
    assert.deepEqual(platform.sockets[0].sent, ['SUBSCRIBE'])
    await assert.rejects(link.publish('inbox', 'x'), { code: 'wrong-mode' })
  })

  it('dials exactly as the brief says: every 5 s, 12 times, then no more', async () => {
    const { link, platform } = makeClient({ mode: 'plain', reconnect: { fixedMs: 5_000, attemptsMax: 12 } })
    /** @type {number[]} */
    const dialled = []
    platform.onDial = (socket) => {
      dialled.push(platform.timeMs)
      platform.timer(0, () => socket.close())
    }
    await settled()
    platform.advance(3_600_000)
    assert.deepEqual(
      dialled,
      Array.from({ length: 13 }, (_, n) => n * 5_000),
    )
    assert.equal(link.status, 'suspended')
    link.reconnect()
    assert.equal(platform.sockets.length, 14, 'even a manual retry works')
  })
})

describe('the drop-in', () => {
  /** @param {import('../src/websocket.js').WebSocketOptions} [options] */
  async function make(options) {
    const platform = new VirtualPlatform()
    const socket = new HeartwireWebSocket('ws://test/', 'chat', { platform, ...options })
    /** @type {Array<[type: string, detail?: any]>} */
    const events = []
    socket.addEventListener('open', () => events.push(['open']))
    socket.addEventListener('message', (event) => events.push(['message', /** @type {any} */ (event).data]))
    socket.addEventListener('close', (event) => events.push(['close', /** @type {any} */ (event).code]))
    socket.onerror = () => events.push(['error'])
    await settled()
    return { platform, socket, events }
  }

  it('has the interface of the class', async () => {
    const { platform, socket, events } = await make()
    assert.deepEqual(platform.socket.request.protocols, ['chat'])
    assert.equal(socket.readyState, HeartwireWebSocket.CONNECTING)
    assert.ok(socket instanceof EventTarget)
    platform.socket.open('chat')
    assert.equal(socket.readyState, socket.OPEN)
    assert.equal(socket.protocol, 'chat')
    socket.binaryType = 'arraybuffer'
    socket.onmessage = ({ data }) => events.push(['onmessage', data.byteLength ?? data])
    platform.socket.receive('text')
    platform.socket.receive(new Uint8Array([1, 2]))
    socket.send(new Uint8Array([3]))
    assert.deepEqual(platform.socket.sent, [new Uint8Array([3])])
    assert.deepEqual(
      events.map(([type]) => type),
      ['open', 'message', 'onmessage', 'message', 'onmessage'],
    )
    socket.close()
    assert.equal(socket.readyState, socket.CLOSED)
    assert.deepEqual(events.at(-1), ['close', 1000])
    assert.equal(platform.timers.length, 0)
  })

  it('comes back, and sends what was said meanwhile', async () => {
    const { platform, socket, events } = await make()
    socket.send('early')
    assert.equal(socket.bufferedAmount, 5)
    platform.socket.open('chat')
    platform.advance(17_000)
    assert.deepEqual(
      events.map(([type]) => type),
      ['open', 'error', 'close'],
      'the dead connection was noticed',
    )
    socket.send('late')
    platform.socket.open('chat')
    assert.deepEqual(
      platform.sockets.map(({ sent }) => sent.filter((message) => message !== 'ping')),
      [['early'], ['late']],
    )
  })

  it('reports what a handler throws as the class does, and goes on', async (t) => {
    const { platform, socket, events } = await make()
    /** @type {unknown[]} */
    const uncaught = []
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => uncaught.push(error))
    t.after(() => {
      process.removeAllListeners('uncaughtException')
      for (const listener of listeners) process.on('uncaughtException', listener)
    })
    platform.socket.open('chat')
    socket.onmessage = () => {
      throw new Error('bad handler')
    }
    platform.socket.receive('one')
    platform.socket.receive('two')
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(
      uncaught.map((error) => /** @type {Error} */ (error).message),
      ['bad handler', 'bad handler'],
    )
    assert.deepEqual(
      events.map(([type]) => type),
      ['open', 'message', 'message'],
    )
  })

  it('keeps no more than it was told', async () => {
    const { socket } = await make({ bufferBytesMax: 4 })
    socket.send('1234')
    assert.throws(() => socket.send('5'), RangeError)
  })
})
