/** Mini Programs: hiding, showing, sockets that end without a word, five of them at most. */

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import vm from 'node:vm'
import { Client } from '../src/heartwire.js'
import { miniPlatform } from '../src/platform/mini.js'
import { bundle } from '../scripts/build.js'
import { settled, welcome } from './support/client.js'
import { VirtualPlatform } from './support/virtual.js'
import { WxHost } from './support/wx.js'

/** A program whose time is virtual and whose sockets are those of a host. */
async function program(host = new WxHost(), options = {}) {
  const time = new VirtualPlatform()
  const { nowMs, wallMs, random, randomId, timer } = time
  const platform = { ...miniPlatform(host), nowMs, wallMs, random, randomId, timer }
  const link = new Client('wss://test/websocket', { platform, ...options })
  await settled()
  return { host, time, link }
}

/** The same with an open link. */
async function openProgram() {
  const made = await program()
  made.host.task.open()
  made.host.task.receive(welcome())
  assert.equal(made.link.status, 'open')
  return made
}

describe('a Mini Program', () => {
  it('binds its handlers when the task is made, and offers the subprotocol', async () => {
    const { host, link } = await program()
    assert.deepEqual(Object.keys(host.task.handlers).sort(), ['close', 'error', 'message', 'open'])
    assert.deepEqual(host.task.options.protocols, ['heartwire.v1'])
    assert.equal(link.status, 'connecting')
  })

  it('that is hidden and interrupted with a close event dials when it is shown, and not before', async () => {
    const { host, time, link } = await openProgram()
    host.hide()
    time.advance(5_000)
    host.task.interrupt(true)
    assert.equal(link.status, 'asleep')
    time.advance(60_000)
    assert.equal(host.failures, 0, 'no dial that cannot succeed')
    host.show()
    assert.equal(host.made.length, 2)
  })

  it('that is interrupted without a word notices within 3 s of being shown', async () => {
    const { host, time, link } = await openProgram()
    host.hide()
    time.timeMs += 60_000
    host.task.interrupt(false)
    host.show()
    assert.notEqual(link.status, 'open', 'the ping could not be sent')
    time.advance(3_000)
    assert.equal(host.made.length, 2)
  })

  it('whose connectSocket fails, also shortly after it is shown, goes on trying', async () => {
    const { host, time, link } = await openProgram()
    host.hide()
    host.task.interrupt(true)
    host.fails = true
    host.show()
    assert.equal(link.status, 'lost')
    time.advance(2_000)
    host.fails = false
    time.advance(10_000)
    assert.equal(host.made.length, 2)
    host.task.open()
    host.task.receive(welcome())
    assert.equal(link.status, 'open')
  })

  it('never holds more than one socket, however often it dials', async () => {
    const { host, time } = await program()
    time.advance(600_000)
    assert.ok(host.made.length > 10)
    assert.ok(host.tasks.size <= 1)
    assert.equal(host.failures, 0)
  })

  it('closes a task that opens after it was given up', async () => {
    const { host, time } = await program()
    const [first] = host.made
    time.advance(10_000)
    const { closedWith } = first
    first.open()
    assert.notEqual(first.closedWith, closedWith, 'closed once more')
    assert.deepEqual(first.sent, [])
  })

  it('dials when the network is back', async () => {
    const { host, time, link } = await openProgram()
    host.tell('network', { isConnected: false })
    host.task.interrupt(true)
    assert.equal(link.status, 'lost')
    host.tell('network', { isConnected: true })
    assert.equal(host.made.length, 2)
    assert.ok(time.timeMs < 1_000)
  })

  it('sends bytes as an ArrayBuffer of their own', async () => {
    const { host, link } = await openProgram()
    link.publish('t', new Uint8Array([9, 1, 2]).subarray(1)).catch(() => {})
    const sent = /** @type {ArrayBuffer} */ (host.task.sent.at(-1))
    assert.deepEqual([...new Uint8Array(sent).slice(-2)], [1, 2])
  })

  it('that sees no headers takes the subprotocol for agreed, and one that sees them checks', async () => {
    const unseen = await program()
    unseen.host.task.open({})
    assert.match(String(unseen.host.task.sent[0]), /^hello/)
    const plain = await program()
    plain.host.task.open({ 'Sec-WebSocket-Accept': 'x' })
    assert.deepEqual(plain.host.task.sent, [])
  })

  it('that is closed listens no more', async () => {
    const { host, link } = await openProgram()
    await link.close()
    assert.deepEqual(Object.values(host.listeners).flat(), [])
    assert.equal(host.tasks.size, 0)
  })
})

describe('other hosts', () => {
  it('Taro gives a promise of the task', async () => {
    const host = new WxHost()
    const { connectSocket } = host
    host.connectSocket = /** @type {any} */ (async (/** @type {any} */ options) => connectSocket(options))
    const { link } = await program(host)
    await settled()
    host.task.open()
    host.task.receive(welcome())
    assert.equal(link.status, 'open')
  })

  it('Alipay wants several to be allowed, nests its events and takes bytes as base64', async (t) => {
    const host = /** @type {any} */ (new WxHost())
    host.arrayBufferToBase64 = (/** @type {ArrayBuffer} */ data) => Buffer.from(data).toString('base64')
    host.base64ToArrayBuffer = (/** @type {string} */ text) => new Uint8Array(Buffer.from(text, 'base64')).buffer
    const scope = /** @type {any} */ (globalThis)
    scope.my = host
    t.after(() => delete scope.my)
    const { link } = await program(host)
    assert.equal(host.task.options.multiple, true)
    host.task.isOpen = true
    host.task.handlers.open({ data: {} })
    host.task.handlers.message({ data: { data: welcome(), isBuffer: false } })
    assert.equal(link.status, 'open')
    /** @type {any[]} */
    const seen = []
    link.subscribe('t', ({ data }) => void seen.push(data))
    await settled()
    host.task.handlers.message({ data: { data: 'subbed t e.0' } })
    const frame = Buffer.concat([Buffer.from('msg t 1 1790000000000\n'), Buffer.from([1, 2])])
    host.task.handlers.message({ data: { data: frame.toString('base64'), isBuffer: true } })
    assert.deepEqual(seen, [new Uint8Array([1, 2])])
    link.publish('t', new Uint8Array([7])).catch(() => {})
    assert.equal(Buffer.from(host.task.sent.at(-1), 'base64').at(-1), 7)
    host.task.handlers.close({ data: { code: 4001, reason: 'no' } })
    assert.equal(link.status, 'closed')
  })
})

describe('the file for Mini Programs', () => {
  it('runs as CommonJS in ES2017, without anything that devices lack', async () => {
    const code = await bundle('miniprogram_dist/index.js')
    const host = new WxHost()
    const module = { exports: /** @type {any} */ ({}) }
    const scope = { wx: host, module, exports: module.exports, setTimeout, clearTimeout, console }
    vm.runInNewContext(code, scope)
    const link = new module.exports.Heartwire('wss://test/websocket')
    await new Promise((resolve) => setTimeout(resolve))
    host.task.open()
    host.task.receive(welcome())
    assert.equal(link.status, 'open')
    await link.close()
  })

  it('is what package.json names, and require takes it', () => {
    const { miniprogram } = createRequire(import.meta.url)('../package.json')
    assert.equal(miniprogram, 'miniprogram_dist')
    assert.ok(fileURLToPath(new URL(`../${miniprogram}/index.js`, import.meta.url)))
  })
})
