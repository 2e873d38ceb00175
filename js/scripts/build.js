/**
 * Builds what is shipped: `npm run build`.
 *
 * - `dist/` ES modules, one file per entry, and the declarations
 * - `dist/heartwire.js` is committed as well: the server embeds it at `/heartwire.js`, and needs no Node to be built;
 *   with `--check` nothing is built, and it is an error when that file is not the bundle of the sources
 * - `miniprogram_dist/index.js` CommonJS in ES2017, which Mini Programs take as it is
 */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))

/** @type {import('esbuild').BuildOptions} */
const common = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  // What begins with _ is private to its class.
  mangleProps: /^_/,
  format: 'esm',
  target: 'es2022',
  logLevel: 'warning',
}

/** The bundles, by the file that each is written to. @type {Record<string, import('esbuild').BuildOptions>} */
export const BUNDLES = {
  'dist/heartwire.js': { entryPoints: ['src/index.js'] },
  'dist/node.js': { entryPoints: ['src/node.js'], platform: 'node' },
  'dist/miniprogram.js': { entryPoints: ['src/miniprogram.js'] },
  'dist/websocket.js': { entryPoints: ['src/websocket.js'] },
  'dist/websocket-node.js': { entryPoints: ['src/websocket-node.js'], platform: 'node' },
  'miniprogram_dist/index.js': { entryPoints: ['src/miniprogram.js'], format: 'cjs', target: 'es2017', minify: true },
}

const EMBEDDED = 'dist/heartwire.js'

/**
 * Builds one bundle in memory.
 *
 * @param {string} file one of `BUNDLES`
 * @param {import('esbuild').BuildOptions} [options]
 * @returns {Promise<string>}
 */
export async function bundle(file, options = {}) {
  const { outputFiles } = await build({ ...common, ...BUNDLES[file], ...options, outfile: file, write: false })
  return outputFiles[0].text
}

async function check() {
  const committed = readFileSync(`${root}/${EMBEDDED}`, 'utf8')
  if (committed === (await bundle(EMBEDDED))) return
  console.error(`${EMBEDDED} is not the bundle of the sources: npm run build, and commit it`)
  process.exitCode = 1
}

async function main() {
  execFileSync('npx', ['tsc', '--project', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' })
  for (const [file, options] of Object.entries(BUNDLES)) await build({ ...common, ...options, outfile: file })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await (process.argv.includes('--check') ? check() : main())
