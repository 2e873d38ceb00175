/** What the page's life does to a link: hidden, frozen, asleep, offline, awake. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { makeClient, openClient, sent, settled, welcome } from './support/client.js'

/** @type {(signal: import('../src/platform.js').Signal) => Promise<Awaited<ReturnType<typeof openClient>>>} */
async function openAnd(signal) {
  const made = await openClient()
  made.platform.signal(signal)
  return made
}

describe('an open link', () => {
  for (const signal of /** @type {const} */ (['wake', 'foreground'])) {
    it(`looks at once on ${signal}, and gives up after 3 s`, async () => {
      const { link, platform, all } = await openAnd(signal)
      assert.equal(sent(platform)[0], 'ping 1')
      platform.advance(2_999)
      assert.equal(link.status, 'open')
      platform.advance(1)
      assert.deepEqual(
        all('lost').map(({ why }) => why),
        ['silent'],
      )
    })
  }

  it('looks when the wall clock jumps, in at most 2 s', async () => {
    const { platform } = await openClient()
    platform.wallOffsetMs += 3_600_000
    platform.advance(2_000)
    assert.deepEqual(sent(platform), ['ping 1'])
  })

  it('looks when a timer comes far too late', async () => {
    const { platform } = await openClient()
    platform.timeMs += 9_000
    platform.runDue()
    assert.deepEqual(sent(platform), ['ping 1'])
  })

  it('says good-bye before it is frozen, shows that it is asleep, and dials at once when it wakes', async () => {
    const { link, platform } = await openAnd('freeze')
    assert.equal(platform.socket.abandoned?.code, 1000)
    assert.equal(link.status, 'asleep')
    platform.signal('wake')
    assert.equal(platform.sockets.length, 2)
  })

  it('resumes a topic after the freeze without losing a message', async () => {
    const { link, platform } = await openClient()
    link.subscribe('t', () => {})
    await settled()
    platform.socket.receive('subbed t e.3')
    platform.signal('freeze')
    platform.signal('wake')
    platform.socket.open()
    assert.deepEqual(sent(platform), ['sub t e.3'])
  })

  it('asks for a longer interval in the background, and for its own when it is back', async () => {
    const { platform } = await openAnd('background')
    assert.deepEqual(sent(platform), ['heartbeat 60000'])
    platform.socket.receive('heartbeat 60000')
    platform.advance(74_000)
    assert.equal(sent(platform).length, 1, 'it keeps to the longer interval itself')
    platform.signal('foreground')
    assert.deepEqual(sent(platform).slice(1), ['ping 1', 'heartbeat 10000'])
  })

  it('that was opened in the background asks for its own interval when somebody looks', async () => {
    const { platform } = makeClient()
    platform.signal('background')
    await settled()
    platform.socket.open()
    assert.equal(JSON.parse(String(platform.socket.sent[0]).slice(6)).heartbeat_interval_ms, undefined)
    platform.socket.receive(welcome())
    platform.signal('foreground')
    assert.deepEqual(sent(platform), ['heartbeat 60000', 'ping 1', 'heartbeat 10000'])
  })

  it('that is suspended by its host stays open, and does not dial until it wakes', async () => {
    const { link, platform } = await openAnd('sleep')
    assert.equal(link.status, 'open')
    platform.socket.close(1000, 'interrupted')
    assert.equal(link.status, 'asleep')
    platform.advance(60_000)
    assert.equal(platform.sockets.length, 1)
    platform.signal('wake')
    assert.equal(platform.sockets.length, 2)
  })
})

describe('a timer that is overdue', () => {
  it('lets what has arrived be read before it judges', async () => {
    const { link, platform } = await openClient()
    platform.advance(12_500)
    assert.deepEqual(sent(platform), ['ping 1'])
    platform.timeMs += 60_000
    platform.runDue()
    assert.equal(link.status, 'open', 'the page stood still, so there is another second')
    platform.socket.receive('pong 1')
    platform.advance(12_000)
    assert.equal(link.status, 'open')
  })
})

describe('a link without network', () => {
  it('uses up no attempts', async () => {
    const { link, platform } = makeClient()
    platform.online = false
    platform.onDial = (socket) => void platform.timer(0, () => socket.close())
    await settled()
    platform.advance(600_000)
    assert.ok(platform.sockets.length > 20)
    assert.equal(link.status, 'lost')
    platform.online = true
    platform.signal('wake')
    platform.advance(400_000)
    assert.equal(link.status, 'suspended')
  })
})

describe('a token function', () => {
  it('is asked before each dial, and so is a URL function', async () => {
    let n = 0
    const { platform } = makeClient({ url: async () => `https://test/${++n}`, token: () => `token-${n}` })
    await settled()
    assert.equal(platform.socket.request.url, 'wss://test/1')
    platform.socket.open()
    assert.equal(JSON.parse(String(platform.socket.sent[0]).slice(6)).token, 'token-1')
    platform.socket.close(4002, 'expired')
    await settled()
    platform.socket.open()
    assert.equal(JSON.parse(String(platform.socket.sent[0]).slice(6)).token, 'token-2', 'asked anew, at once')
  })

  it('that fails is a failed attempt', async () => {
    const token = () => Promise.reject(new Error('no token today'))
    const { link, all } = makeClient({ token })
    await settled()
    assert.equal(link.status, 'lost')
    assert.deepEqual(
      all('lost').map(({ why, reason }) => [why, reason]),
      [['dial-failed', 'Error: no token today']],
    )
  })

  it('that throws, too', async () => {
    const { all } = makeClient({
      token: () => {
        throw new Error('thrown')
      },
    })
    await settled()
    assert.deepEqual(
      all('lost').map(({ why }) => why),
      ['dial-failed'],
    )
  })

  it('need not be asked when the application renews the token, or the interval, itself', async () => {
    const { link, platform } = await openClient()
    link.renewToken('fresh')
    link.askInterval(20_000)
    assert.deepEqual(sent(platform), ['token\n{"token":"fresh"}', 'heartbeat 20000'])
  })

  it('that hangs ends with the attempt, and its late answer is ignored', async () => {
    /** @type {(token: string) => void} */
    let answer = () => {}
    const { platform, all } = makeClient({ token: () => new Promise((resolve) => (answer = resolve)) })
    await settled()
    platform.advance(10_000)
    assert.deepEqual(
      all('lost').map(({ why }) => why),
      ['attempt-timeout'],
    )
    answer('late')
    await settled()
    assert.equal(platform.sockets.length, 0)
  })
})

describe('a dial', () => {
  it('that throws is a failed attempt', async () => {
    const { link, platform } = makeClient({ url: 'nonsense' })
    platform.dial = () => {
      throw new SyntaxError('not a URL')
    }
    await settled()
    assert.equal(link.status, 'lost')
  })

  it('that was given up is not heard any more', async () => {
    const { link, platform } = makeClient()
    await settled()
    const first = platform.socket
    platform.advance(20_000)
    first.open()
    first.receive(welcome())
    first.close(4009, 'taken-over')
    assert.notEqual(link.status, 'open')
    assert.notEqual(link.status, 'closed')
    assert.deepEqual(first.sent, [])
  })
})
