/** Tokens that run out on a living connection, against the real server. */

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, it } from 'node:test'
import { Heartwire } from '../../src/node.js'
import { Setup, until } from './support/programs.js'
import { localPeer } from './support/scenario.js'

const GUARD = { key: 'a-key-for-tests', secret: '0123456789abcdef0123456789abcdef' }
/** How long a token opens the server: the connection is closed with 4002 when it has run out. */
const TOKEN_S = 2
const TOKENS = 4

/** A JSON Web Token of somebody who may follow `task:42` and publish to `inbox`. */
function token() {
  const base64 = (/** @type {object} */ value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = {
    sub: 'ann',
    exp: Date.now() / 1_000 + TOKEN_S,
    heartwire: { subscribe: ['task:42'], publish: ['inbox'] },
  }
  const signed = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64(claims)}`
  return `${signed}.${createHmac('sha256', GUARD.secret).update(signed).digest('base64url')}`
}

describe('a token that runs out', () => {
  it('is replaced by a fresh one, and nothing is lost or doubled', async (t) => {
    const setup = await Setup.start(t, { guard: GUARD })
    let asked = 0
    const link = new Heartwire(`ws://${setup.direct}/websocket`, {
      token: async () => {
        asked++
        return token()
      },
    })
    t.after(() => link.close({ flushMs: 0 }))
    /** @type {import('../../src/link.js').Lost[]} */
    const lost = []
    link.on('lost', (about) => void lost.push(about))
    const peer = localPeer(link)
    await until('the link is open', () => link.status === 'open')

    // Both directions are busy whenever a token runs out.
    let count = 0
    await until('some tokens have run out', async () => {
      count++
      await peer.publish(`up ${count}`)
      await setup.publish('task:42', `down ${count}`)
      return asked >= TOKENS
    })
    await until('everything has come', async () => {
      const { received, stored } = await peer.seen()
      return received.length >= count && stored.length >= count
    })
    const numbered = (/** @type {string} */ way) => Array.from({ length: count }, (_, i) => `${way} ${i + 1}`)
    const { received, errors } = await peer.seen()
    assert.deepEqual(received, numbered('down'))
    assert.deepEqual(await setup.history('inbox'), numbered('up'))
    assert.deepEqual(errors, [])
    assert.ok(lost.length >= TOKENS - 1, `${lost.length} connections have ended`)
    for (const { why, code } of lost) assert.deepEqual([why, code], ['closed', 4002])
  })
})
