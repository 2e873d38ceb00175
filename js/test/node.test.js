/** Node: the package `ws` against a server that follows a script. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { WebSocketServer } from 'ws'
import { Heartwire } from '../src/node.js'
import { welcome } from './support/client.js'

/** @typedef {import('node:test').TestContext} TestContext */

/**
 * A server whose first connection the test plays.
 *
 * @param {TestContext} t
 * @param {import('ws').ServerOptions} [options]
 */
async function listen(t, options) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options })
  t.after(() => {
    for (const client of server.clients) client.terminate()
    server.close()
  })
  await once(server, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return { server, url: `ws://127.0.0.1:${port}/websocket` }
}

/** @type {(t: TestContext, url: string, options?: import('../src/heartwire.js').HeartwireOptions) => Heartwire} */
function dial(t, url, options) {
  const link = new Heartwire(url, options)
  t.after(() => link.close({ flushMs: 0 }))
  return link
}

/** The next event of a name. @type {(link: Heartwire, name: keyof import('../src/heartwire.js').Events) => Promise<any>} */
const next = (link, name) => new Promise((resolve) => link.on(name, resolve))

/** What the client says next, as text. @param {import('ws').WebSocket} socket */
const said = async (socket) => String((await once(socket, 'message'))[0])

describe('in Node', () => {
  it('says hello with its headers, is welcomed, and answers a ping at once', async (t) => {
    const { server, url } = await listen(t)
    const link = dial(t, url, { headers: { authorization: 'Bearer x' } })
    const [socket, request] = await once(server, 'connection')
    assert.equal(request.headers.authorization, 'Bearer x')
    assert.equal(request.headers['sec-websocket-protocol'], 'heartwire.v1')
    assert.equal(request.headers['sec-websocket-extensions'], undefined)
    assert.match(await said(socket), /^hello\n\{"client":"[0-9a-z]{28}","attempt":1,"agent":"heartwire-js\//)
    const opened = next(link, 'open')
    socket.send(welcome())
    assert.equal((await opened).connection, 'c1')
    socket.send('ping 7')
    assert.equal(await said(socket), 'pong 7')
  })

  it('carries bytes both ways', async (t) => {
    const { server, url } = await listen(t)
    const link = dial(t, url)
    const [socket] = await once(server, 'connection')
    await said(socket)
    socket.send(welcome())
    const received = new Promise((resolve) => link.subscribe('t', resolve, 'head'))
    assert.equal(await said(socket), 'sub t head')
    socket.send('subbed t e.0')
    socket.send(Buffer.concat([Buffer.from('msg t 1 1790000000000\n'), Buffer.from([0, 255])]))
    assert.deepEqual((await received).data, new Uint8Array([0, 255]))
    const stored = link.publish('t', new Uint8Array([0, 255]))
    const [frame, isBinary] = await once(socket, 'message')
    assert.ok(isBinary)
    assert.deepEqual(frame, Buffer.concat([Buffer.from('pub t 1\n'), Buffer.from([0, 255])]))
    socket.send('ack 1')
    await stored
  })

  it('takes a long message for life while it arrives', async (t) => {
    const { server, url } = await listen(t)
    const link = dial(t, url, { mode: 'plain', heartbeat: { intervalMs: 1_000, timeoutMs: 1_000 } })
    link.on('lost', ({ why }) => assert.fail(`lost: ${why}`))
    const [socket] = await once(server, 'connection')
    const received = next(link, 'data')
    // The frame of a text of 120 bytes, of which one comes in 50 ms: 6 s in all, and no answer to a ping meanwhile.
    const raw = /** @type {any} */ (socket)._socket
    raw.write(Buffer.from([0x81, 120]))
    for (let n = 0; n < 120; n++) {
      raw.write('x')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    assert.equal(await received, 'x'.repeat(120))
    assert.equal(link.status, 'open')
  })

  it('obeys Retry-After of a refused upgrade', async (t) => {
    const server = createServer().listen(0, '127.0.0.1')
    t.after(() => server.close())
    server.on('upgrade', (_, socket) =>
      socket.end('HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n'),
    )
    await once(server, 'listening')
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
    const { why, reason, retryInMs } = await next(dial(t, `ws://127.0.0.1:${port}/`), 'lost')
    assert.deepEqual([why, reason], ['dial-failed', 'HTTP status 503'])
    assert.ok(retryInMs >= 7_000 && retryInMs <= 7_700, `${retryInMs}`)
  })

  it('says what failed when nobody listens', async (t) => {
    const { server, url } = await listen(t)
    server.close()
    await once(server, 'close')
    const { why, retryInMs } = await next(dial(t, url), 'lost')
    assert.equal(why, 'dial-failed')
    assert.ok(retryInMs >= 300 && retryInMs <= 2_000, `${retryInMs}`)
  })

  it('fails the attempt when the subprotocol is not agreed', async (t) => {
    const { server, url } = await listen(t, { handleProtocols: () => false })
    const { why } = await next(dial(t, url), 'lost')
    assert.match(why, /dial-failed|not-agreed/)
    for (const client of server.clients) client.on('message', () => assert.fail('something was said'))
  })

  it('closes with 4000 and the rule that the server broke', async (t) => {
    const { server, url } = await listen(t)
    const link = dial(t, url)
    const [socket] = await once(server, 'connection')
    const lost = next(link, 'lost')
    const closed = once(socket, 'close')
    socket.send('msg t 01 1')
    assert.deepEqual([(await lost).why, (await lost).reason], ['server-broke-rule', 'FRAME-6'])
    const [code, reason] = await closed
    assert.deepEqual([code, String(reason)], [4000, 'FRAME-6'])
  })

  it('ends with the process: a closed link keeps nothing alive', async (t) => {
    const { server, url } = await listen(t)
    server.on('connection', (socket) => socket.send(welcome()))
    const entry = fileURLToPath(new URL('../src/node.js', import.meta.url))
    const script = `
      const { Heartwire } = await import(${JSON.stringify(entry)})
      const link = new Heartwire(${JSON.stringify(url)})
      link.on('open', () => link.close())`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'inherit' })
    const [code] = await once(child, 'exit')
    assert.equal(code, 0)
  })
})
