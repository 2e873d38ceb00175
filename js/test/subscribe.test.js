/** Following topics: handlers, iterators, places that outlive the page. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { randomId } from '../src/id.js'
import { makeClient, openClient, sent, settled } from './support/client.js'
import { Heartwire } from './support/entry.js'

/** @type {(offset: number, text: string) => string} */
const msg = (offset, text) => `msg t ${offset} 1790000000000 me\n${text}`

describe('a handler', () => {
  it('gets each message with its place', async () => {
    const { link, platform } = await openClient()
    /** @type {any[]} */
    const messages = []
    link.subscribe('t', (message) => void messages.push(message), 'head')
    await settled()
    assert.deepEqual(sent(platform), ['sub t head'])
    platform.socket.receive('subbed t e.0')
    platform.socket.receive(msg(1, 'one'))
    assert.deepEqual(messages, [{ topic: 't', data: 'one', cursor: 'e.1', offset: 1, time: 1790000000000, from: 'me' }])
  })

  it('that throws, or rejects, is reported by error and harms nobody', async () => {
    const { link, platform, all } = await openClient()
    /** @type {any[]} */
    const seen = []
    link.subscribe('t', () => {
      throw new Error('thrown')
    })
    link.subscribe('t', async () => {
      throw new Error('rejected')
    })
    link.subscribe('t', ({ data }) => void seen.push(data))
    await settled()
    platform.socket.receive('subbed t e.0')
    platform.socket.receive(msg(1, 'one'))
    platform.socket.receive(msg(2, 'two'))
    await settled()
    assert.deepEqual(seen, ['one', 'two'])
    assert.deepEqual(
      all('error')
        .map(({ message }) => message)
        .sort(),
      ['rejected', 'rejected', 'thrown', 'thrown'],
    )
    assert.equal(link.status, 'open')
  })

  it('of errors that throws itself ends on the console', async (t) => {
    const log = t.mock.method(console, 'error', () => {})
    const { link, platform } = await openClient()
    link.on('error', () => {
      throw new Error('again')
    })
    link.on('open', () => {
      throw new Error('first')
    })
    platform.socket.close()
    platform.advance(3_000)
    platform.socket.open()
    platform.socket.receive(
      'welcome\n{"connection":"c","log":"l1","acked":0,"producer_known":false,"heartbeat":{"interval_ms":1000,"timeout_ms":1000}}',
    )
    assert.equal(link.status, 'open')
    assert.equal(log.mock.callCount(), 1)
  })

  it('may call the link back', async () => {
    const { link, platform } = await openClient()
    const off = link.subscribe('t', () => {
      off()
      link.publish('inbox', 'seen').catch(() => {})
    })
    await settled()
    platform.socket.receive('subbed t e.0')
    platform.socket.receive(msg(1, 'one'))
    await settled()
    assert.deepEqual(sent(platform), ['sub t', 'unsub t', 'pub inbox 1\nseen'])
  })

  it('joins the place of those before it, unless it names one', async () => {
    const { link, platform } = await openClient()
    link.subscribe('t', () => {})
    await settled()
    platform.socket.receive('subbed t e.7')
    link.subscribe('t', () => {})
    assert.deepEqual(sent(platform), ['sub t'])
    link.subscribe('t', () => {}, 'e.3')
    assert.deepEqual(sent(platform), ['sub t', 'sub t e.3'])
  })

  it('is told of a refusal by an error that names the topic', async () => {
    const { link, platform, all } = await openClient()
    link.subscribe('t', () => {})
    await settled()
    platform.socket.receive('refused t forbidden')
    assert.deepEqual(
      all('error').map(({ code, about }) => [code, about]),
      [['forbidden', 't']],
    )
  })
})

describe('an iterator', () => {
  it('hands out messages in order, and leaves with break', async () => {
    const { link, platform } = await openClient()
    /** @type {any[]} */
    const seen = []
    const done = (async () => {
      for await (const { data } of link.subscribe('t', 'head')) {
        seen.push(data)
        if (data === 'two') break
      }
    })()
    await settled()
    platform.socket.receive('subbed t e.0')
    platform.socket.receive(msg(1, 'one'))
    platform.socket.receive(msg(2, 'two'))
    platform.socket.receive(msg(3, 'three'))
    await done
    assert.deepEqual(seen, ['one', 'two'])
    assert.deepEqual(sent(platform), ['sub t head', 'unsub t'])
  })

  it('that is slow pauses its topic, with a bound, and goes on where it was', async () => {
    const { link, platform } = await openClient()
    const iterator = link.subscribe('t', 'head')[Symbol.asyncIterator]()
    await settled()
    platform.socket.receive('subbed t e.0')
    for (let n = 1; n <= 300; n++) platform.socket.receive(msg(n, `${n}`))
    assert.deepEqual(sent(platform), ['sub t head', 'unsub t'])
    platform.socket.receive('unsubbed t')
    for (let n = 1; n <= 200; n++) assert.equal((await iterator.next()).value.data, `${n}`)
    assert.deepEqual(sent(platform).at(-1), 'sub t e.255', 'the queue holds the beginning and 255 messages')
    platform.socket.receive('subbed t e.255')
    for (let n = 256; n <= 300; n++) platform.socket.receive(msg(n, `${n}`))
    for (let n = 201; n <= 300; n++) assert.equal((await iterator.next()).value.data, `${n}`)
  })

  it('ends with the link, and fails with a refusal', async () => {
    const { link, platform } = await openClient()
    const ending = link.subscribe('t')[Symbol.asyncIterator]()
    const refused = link.subscribe('u')[Symbol.asyncIterator]()
    await settled()
    platform.socket.receive('refused u limit')
    await assert.rejects(refused.next(), { code: 'limit', about: 'u' })
    const last = ending.next()
    await link.close()
    assert.deepEqual(await last, { done: true, value: undefined })
  })

  it('beside a handler has a queue of its own', async () => {
    const { link, platform } = await openClient()
    /** @type {string[]} */
    const seen = []
    const subscription = link.subscribe('t', ({ data }) => void seen.push(/** @type {string} */ (data)))
    const iterator = subscription[Symbol.asyncIterator]()
    await settled()
    platform.socket.receive('subbed t e.0')
    platform.socket.receive(msg(1, 'one'))
    assert.equal((await iterator.next()).value.data, 'one')
    assert.deepEqual(seen, ['one'])
  })
})

describe('places that the application keeps', () => {
  /** @param {Record<string, string>} [kept] */
  const store = (kept = {}) => ({
    kept,
    load: (/** @type {string} */ topic) => kept[topic],
    save: (/** @type {string} */ topic, /** @type {string} */ cursor) => void (kept[topic] = cursor),
  })

  it('let a page that was loaded anew resume', async () => {
    const cursors = store()
    const before = await openClient({ cursors })
    before.link.subscribe('t', () => {})
    await settled()
    before.platform.socket.receive('subbed t e.4')
    assert.equal(cursors.kept.t, 'e.4', 'a quiet topic has a place as well')
    before.platform.socket.receive(msg(5, 'five'))
    assert.equal(cursors.kept.t, 'e.5')
    const after = await openClient({ cursors })
    after.link.subscribe('t', () => {}, 'head')
    await settled()
    assert.deepEqual(sent(after.platform), ['sub t e.5'])
  })

  it('are those of the slowest: what waits in an iterator has not been dealt with', async () => {
    const cursors = store()
    const { link, platform } = await openClient({ cursors })
    const iterator = link.subscribe('t', 'head')[Symbol.asyncIterator]()
    link.subscribe('t', () => {})
    await settled()
    platform.socket.receive('subbed t e.0')
    platform.socket.receive(msg(1, 'one'))
    platform.socket.receive(msg(2, 'two'))
    await iterator.next()
    assert.equal(cursors.kept.t, 'e.0', 'the first message is being dealt with')
    await iterator.next()
    assert.equal(cursors.kept.t, 'e.1')
  })

  it('move over a gap', async () => {
    const cursors = store()
    const { link, platform, all } = await openClient({ cursors })
    link.subscribe('t', () => {}, 'e.2')
    await settled()
    platform.socket.receive('subbed t e.80 gap e 3 80 retention')
    assert.deepEqual(all('gap'), [{ topic: 't', from: 3, to: 80, epoch: 'e', reason: 'retention' }])
    assert.equal(cursors.kept.t, 'e.80')
  })

  it('that cannot be read are an error, and no reason not to follow', async () => {
    const load = () => Promise.reject(new Error('no storage'))
    const { link, platform, all } = await openClient({ cursors: { load, save() {} } })
    link.subscribe('t', () => {}, 'head')
    await settled()
    assert.deepEqual(sent(platform), ['sub t head'])
    assert.deepEqual(
      all('error').map(({ message }) => message),
      ['no storage'],
    )
  })

  it('do not make two tabs one client: each link draws an id of its own', async () => {
    const hellos = await Promise.all(
      [1, 2].map(async () => {
        const { platform } = makeClient()
        platform.randomId = randomId
        const { link } = { link: new Heartwire('wss://test', { platform }) }
        await settled()
        platform.socket.open()
        assert.equal(link.status, 'connecting')
        return JSON.parse(String(platform.socket.sent[0]).slice(6)).client
      }),
    )
    for (const id of hellos) assert.match(id, /^[0-9a-z]{28}$/)
    assert.notEqual(hellos[0], hellos[1])
  })
})

describe('what cannot be', () => {
  it('is refused at once', async () => {
    const { link } = await openClient()
    assert.throws(() => link.subscribe('not a topic', () => {}), { code: 'bad-topic' })
    assert.throws(() => link.subscribe('t', () => {}, 'yesterday'), { code: 'bad-cursor' })
    await link.close()
    assert.throws(() => link.subscribe('t', () => {}), { code: 'closed' })
    const plain = makeClient({ mode: 'plain' })
    assert.throws(() => plain.link.subscribe('t', () => {}), { code: 'wrong-mode' })
  })
})
