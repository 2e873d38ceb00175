/** What is shipped: up to date, small, and found by every kind of importer. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { bundle } from '../scripts/build.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const run = promisify(execFile)

/** The most that each file may have, gzipped, in bytes. @type {Record<string, number>} */
const GZIP_BYTES_MAX = {
  'dist/heartwire.js': 7_500,
  'dist/websocket.js': 4_000,
  'miniprogram_dist/index.js': 8_500,
}

describe('the package', () => {
  for (const [file, most] of Object.entries(GZIP_BYTES_MAX)) {
    it(`${file} has at most ${most} bytes, gzipped`, async (t) => {
      const bytes = gzipSync(await bundle(file), { level: 9 }).length
      t.diagnostic(`${bytes} bytes`)
      assert.ok(bytes <= most, `${bytes} bytes`)
    })
  }

  it('is a clean package to publint', async () => {
    await run('npx', ['publint', '--strict'], { cwd: root })
  })

  it('has types that every importer of ES modules finds', async () => {
    await run('npx', ['attw', '--pack', '.', '--profile', 'esm-only'], { cwd: root })
  })

  it('exports the same names to browsers, Node and Mini Programs, but for their platforms', async () => {
    const names = (/** @type {object} */ module) => Object.keys(module).filter((name) => !name.endsWith('Platform'))
    const [web, node, mini] = await Promise.all([
      import('../src/index.js'),
      import('../src/node.js'),
      import('../src/miniprogram.js'),
    ])
    assert.deepEqual(names(web), ['Heartwire', 'HeartwireError'])
    assert.deepEqual(names(node), names(web))
    assert.deepEqual(names(mini), names(web))
  })
})
