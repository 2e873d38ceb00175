/** The examples work as they stand. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import vm from 'node:vm'
import { bundle } from '../scripts/build.js'
import { settled, welcome } from './support/client.js'
import { WxHost } from './support/wx.js'

/** @param {string} path */
const source = (path) => readFileSync(new URL(`../../examples/${path}`, import.meta.url), 'utf8')

/** Runs the Mini Program as the host would, up to its page being shown. */
async function start() {
  const wx = Object.assign(new WxHost(), {
    toasts: /** @type {string[]} */ ([]),
    showToast: (/** @type {any} */ { title }) => wx.toasts.push(title),
  })
  const made = { app: /** @type {any} */ (null), page: /** @type {any} */ (null) }
  const module = { exports: {} }
  const scope = {
    wx,
    module,
    exports: module.exports,
    setTimeout,
    clearTimeout,
    console,
    require: () => module.exports,
    App: (/** @type {any} */ app) => (made.app = app),
    Page: (/** @type {any} */ page) => (made.page = page),
    getApp: () => made.app,
  }
  vm.createContext(scope)
  vm.runInContext(await bundle('miniprogram_dist/index.js'), scope)
  vm.runInContext(`{ ${source('miniprogram/app.js')} }`, scope)
  vm.runInContext(source('miniprogram/pages/task/index.js'), scope)
  const { page } = made
  page.setData = (/** @type {object} */ data) => Object.assign(page.data, data)
  page.onLoad({ taskId: '42', userId: '7' })
  await settled()
  wx.task.open()
  wx.task.receive(welcome())
  await settled()
  return { wx, page, link: made.app.link }
}

describe('the Mini Program', () => {
  it('shows the status and the messages of its topics, and sends', async (t) => {
    const { wx, page, link } = await start()
    t.after(() => link.close())
    assert.equal(page.data.status, 'open')
    assert.deepEqual(wx.task.sent.slice(1), ['sub task:42 last 50', 'sub user:7 last 50'])
    wx.task.receive('subbed task:42 e.0')
    wx.task.receive('msg task:42 1 1790000000000\n50 %')
    assert.deepEqual([...page.data.messages], ['50 %'])
    page.send({ detail: { value: { text: 'I am here' } } })
    assert.equal(wx.task.sent.at(-1), 'pub inbox 1\nI am here')
    wx.task.receive('nack 1 forbidden')
    await settled()
    assert.deepEqual(wx.toasts, ['forbidden'])
    page.onUnload()
    assert.equal(wx.task.sent.at(-1), 'unsub task:42')
  })

  it('is a dozen lines instead of eighty', () => {
    const lines = `${source('miniprogram/app.js')}${source('miniprogram/pages/task/index.js')}`.split('\n')
    assert.ok(lines.filter((line) => line.trim() && !line.trim().startsWith('//')).length <= 24)
  })
})
