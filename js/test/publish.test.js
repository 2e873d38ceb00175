/** Publishing: promises that are kept over connections. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { makeClient, openClient, sent, settled, welcome } from './support/client.js'

describe('a publish', () => {
  it('resolves when it is stored, once', async () => {
    const { link, platform } = await openClient()
    const stored = link.publish('inbox', 'hello')
    assert.deepEqual(sent(platform), ['pub inbox 1\nhello'])
    platform.socket.receive('ack 1')
    assert.deepEqual(await stored, { durability: 'memory' })
  })

  it('before the link is open, and over a lost connection, is kept and sent', async () => {
    const { link, platform } = makeClient()
    const [one, two] = [link.publish('inbox', 'one'), link.publish('inbox', 'two')]
    await settled()
    platform.socket.open()
    platform.socket.receive(welcome())
    platform.socket.close()
    platform.advance(10_000)
    platform.socket.open()
    platform.socket.receive(welcome({ acked: 1, producer_known: true }))
    await one
    assert.deepEqual(sent(platform), ['pub inbox 2\ntwo'])
    platform.socket.receive('ack 2')
    await two
  })

  it('does not change when the application goes on writing to its buffer', async () => {
    const { link, platform } = makeClient()
    const buffer = new Uint8Array([1, 2, 3])
    link.publish('inbox', buffer).catch(() => {})
    buffer.fill(9)
    await settled()
    platform.socket.open()
    platform.socket.receive(welcome())
    const [frame] = sent(platform)
    assert.deepEqual([.../** @type {Uint8Array} */ (frame).slice(-3)], [1, 2, 3])
  })

  it('that the server refuses rejects, and what is behind it goes on', async () => {
    const { link, platform } = await openClient()
    const [refused, next] = [link.publish('audit', 'me'), link.publish('inbox', 'after it')]
    platform.socket.receive('nack 1 forbidden')
    await assert.rejects(refused, { name: 'HeartwireError', code: 'forbidden' })
    assert.deepEqual(sent(platform).slice(-2), ['skip 1', 'pub inbox 2\nafter it'])
    platform.socket.receive('ack 2')
    await next
  })

  it('rejects at once when it cannot be taken', async () => {
    const { link } = await openClient({ outbox: { messagesMax: 1 }, said: { limits: { message_bytes_max: 4 } } })
    await assert.rejects(link.publish('$server', 'x'), { code: 'bad-topic' })
    await assert.rejects(link.publish('inbox', 'zwölf'), { code: 'too-large' })
    link.publish('inbox', 'x').catch(() => {})
    await assert.rejects(link.publish('inbox', 'x'), { code: 'outbox-full' })
  })

  it('that may be stored or not says so', async () => {
    const { link, platform, all } = await openClient()
    const one = link.publish('inbox', 'one')
    platform.socket.close()
    platform.advance(10_000)
    platform.socket.open()
    platform.socket.receive(welcome({ acked: 7 }))
    await assert.rejects(one, { code: 'in-doubt' })
    assert.equal(all('lost').at(-1).why, 'client-id-in-use')
  })

  it('that was stored in a log that is gone is reported as a gap upwards', async () => {
    const { link, platform, all } = await openClient()
    const one = link.publish('inbox', 'one')
    platform.socket.receive('ack 1')
    await one
    platform.socket.close()
    platform.advance(10_000)
    platform.socket.open()
    platform.socket.receive(welcome({ log: 'l2' }))
    assert.deepEqual(all('gap'), [{ topic: null, from: 1, to: 1, epoch: null, reason: 'log' }])
  })
})

describe('close', () => {
  it('lets the outbox empty itself first', async () => {
    const { link, platform } = await openClient()
    const stored = link.publish('inbox', 'last words')
    const closed = link.close()
    assert.equal(link.status, 'open')
    await assert.rejects(link.publish('inbox', 'more'), { code: 'closed' })
    platform.socket.receive('ack 1')
    await Promise.all([stored, closed])
    assert.equal(platform.socket.abandoned?.code, 1000)
  })

  it('has a bound, and says what was not stored', async () => {
    const { link, platform } = await openClient()
    const lost = assert.rejects(link.publish('inbox', 'never'), { code: 'closed' })
    const closed = link.close({ flushMs: 1_000 })
    platform.advance(1_000)
    await closed
    await lost
    assert.equal(link.status, 'closed')
    assert.equal(platform.timers.length, 0, 'nothing is left that could run')
    assert.equal(platform.listeners.size, 0)
    await link.close()
  })

  it('before the first dial leaves nothing behind', async () => {
    const { link, platform } = makeClient()
    await link.close()
    await settled()
    assert.equal(platform.sockets.length, 0)
    assert.equal(platform.timers.length, 0)
  })
})
