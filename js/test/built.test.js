/**
 * What is built does what the sources do: the build shortens names, and must shorten none that an application, a platform
 * or the protocol knows. The same tests run against it, and they use the API and the platform's interface by their names.
 */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bundle } from '../scripts/build.js'

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url))

/** Tests that use nothing but the entries of the package. */
const SUITES = ['lifecycle', 'plain', 'publish', 'subscribe']

/** Runs them against the bundles in a folder; what they say is ours if one fails. @param {string} folder */
async function runAgainst(folder) {
  const { NODE_TEST_CONTEXT, ...env } = process.env
  const files = SUITES.map((name) => here(`${name}.test.js`))
  const child = spawn(process.execPath, ['--test', ...files], { env: { ...env, HEARTWIRE_DIST: folder } })
  let output = ''
  child.stdout.on('data', (data) => (output += data))
  child.stderr.on('data', (data) => (output += data))
  const [code] = await once(child, 'close')
  assert.equal(code, 0, output)
  const passed = Number(/^# pass (\d+)$/m.exec(output)?.[1])
  assert.ok(passed > 40, `${passed} tests ran`)
}

describe('what is built', () => {
  it('passes the tests of the sources', async (t) => {
    const folder = mkdtempSync(`${tmpdir()}/heartwire-built-`)
    t.after(() => rmSync(folder, { recursive: true }))
    writeFileSync(`${folder}/package.json`, '{"type":"module"}')
    for (const file of ['heartwire.js', 'websocket.js'])
      writeFileSync(`${folder}/${file}`, await bundle(`dist/${file}`))
    await runAgainst(folder)
  })

  it('has no name left that is to be shortened, not even in quotes, where it would lead nowhere', async () => {
    for (const file of ['dist/heartwire.js', 'dist/websocket.js', 'miniprogram_dist/index.js'])
      assert.doesNotMatch(await bundle(file), /[.{,'"`]_[a-z]/, file)
  })
})
