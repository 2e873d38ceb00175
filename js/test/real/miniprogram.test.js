/** The file for Mini Programs, on a host as devices are, against the real server through the proxy. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import vm from 'node:vm'
import { bundle } from '../../scripts/build.js'
import { Setup, until } from './support/programs.js'
import { localPeer, survivesABlackHole } from './support/scenario.js'
import { WxNetwork } from './support/wx-network.js'

/** Sockets that a device allows. */
const SOCKETS_MAX = 5

/** What `require('heartwire')` gives in a program of that host. @type {(host: WxNetwork) => Promise<typeof import('../../src/miniprogram.js')>} */
async function load(host) {
  const module = { exports: /** @type {any} */ ({}) }
  const code = await bundle('miniprogram_dist/index.js')
  vm.runInThisContext(`(function (module, exports, wx) {${code}})`)(module, module.exports, host)
  return module.exports
}

/** @param {import('node:test').TestContext} t */
async function program(t) {
  const setup = await Setup.start(t)
  const host = new WxNetwork()
  const { Heartwire } = await load(host)
  const link = new Heartwire(`ws://${setup.broken}/websocket`)
  t.after(() => link.close({ flushMs: 0 }))
  const peer = localPeer(link)
  await until('the link is open', () => link.status === 'open')
  return { setup, host, link, peer }
}

/** What the peer has received. @param {import('./support/scenario.js').Peer} peer */
const received = async (peer) => (await peer.seen()).received

describe('in a Mini Program', () => {
  it('half-open is noticed in time, and nothing is lost or doubled', async (t) => {
    const { setup, peer, host } = await program(t)
    await survivesABlackHole(setup, peer)
    assert.ok(host.tasks.size <= 1, 'each task that was given up is closed')
  })

  it('interrupted without a word while it is hidden, it resumes when it is shown', async (t) => {
    const { setup, peer, host, link } = await program(t)
    await setup.publish('task:42', 'before')
    await until('a message has come', async () => (await received(peer)).length === 1)
    host.hide()
    host.task.interrupt(false)
    await until('the server knows', async () => (await setup.connections()) === 0)
    await setup.publish('task:42', 'meanwhile')
    link.publish('inbox', 'from behind').catch(() => {})
    const { failures } = host
    host.show()
    await until('it has resumed', async () => (await received(peer)).length === 2)
    await until('what it said is stored', async () => (await setup.history('inbox')).length === 1)
    assert.deepEqual(await received(peer), ['before', 'meanwhile'])
    assert.equal(host.failures, failures, 'no dial that could not succeed')
  })

  it('whose connectSocket fails for a while after it is shown, it goes on trying, with one socket', async (t) => {
    const { setup, peer, host, link } = await program(t)
    host.hide()
    host.task.interrupt(true)
    await setup.publish('task:42', 'meanwhile')
    host.fails = true
    host.show()
    await until('a few dials have failed', () => host.failures > 1)
    host.fails = false
    link.probe()
    await until('it has resumed', async () => (await received(peer)).length === 1)
    assert.ok(host.tasks.size <= 1)
  })

  it('never comes near the limit of sockets, however often the network goes', async (t) => {
    const { setup, host, link } = await program(t)
    let most = 0
    for (let n = 1; n <= 2 * SOCKETS_MAX; n++) {
      host.tell('network', { isConnected: false })
      await setup.tell('reset')
      link.reconnect()
      host.tell('network', { isConnected: true })
      most = Math.max(most, host.tasks.size)
      await until('the link is open', () => link.status === 'open')
    }
    assert.equal(most, 1)
    assert.equal(host.failures, 0)
  })
})
