/**
 * Builds what is shipped: `npm run build`.
 *
 * - `dist/` ES modules, one file per entry, and the declarations
 * - `dist/heartwire.js` is committed as well: the server embeds it at `/heartwire.js`, and needs no Node to be built;
 *   with `--check` nothing is built, and it is an error when that file is not the bundle of the sources
 * - `miniprogram_dist/index.js` CommonJS in ES2017, which Mini Programs take as it is
 *
 * Two tools make a bundle. esbuild joins the modules and shortens the names of properties that begin with `_`: by that
 * the sources mark what they have between each other, and what nobody else sees. No other property is renamed, so the
 * API, the platform's interface and the protocol keep their words. uglify-js then shortens the local names. esbuild can
 * do that as well, but gives functions names according to how deep they stand; uglify-js gives the same few names to all,
 * which compresses to 6 % less. Both are pinned, and give the same output for the same sources.
 */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import UglifyJS from 'uglify-js'

const root = fileURLToPath(new URL('..', import.meta.url))

/** @type {import('esbuild').BuildOptions} */
const common = {
  absWorkingDir: root,
  bundle: true,
  write: false,
  minifySyntax: true,
  mangleProps: /^_[a-z]/,
  legalComments: 'none',
  format: 'esm',
  target: 'es2022',
  logLevel: 'warning',
}

/** How local names are shortened; the settings are those that compress best. */
const MINIFY = { module: true, compress: { passes: 3, inline: 1, collapse_vars: false } }

/** The bundles, by the file that each is written to. @type {Record<string, import('esbuild').BuildOptions>} */
export const BUNDLES = {
  'dist/heartwire.js': { entryPoints: ['src/index.js'] },
  'dist/node.js': { entryPoints: ['src/node.js'], platform: 'node' },
  'dist/miniprogram.js': { entryPoints: ['src/miniprogram.js'] },
  'dist/websocket.js': { entryPoints: ['src/websocket.js'] },
  'dist/websocket-node.js': { entryPoints: ['src/websocket-node.js'], platform: 'node' },
  'miniprogram_dist/index.js': { entryPoints: ['src/miniprogram.js'], format: 'cjs', target: 'es2017' },
}

const EMBEDDED = 'dist/heartwire.js'

/**
 * Builds one bundle in memory.
 *
 * @param {string} file one of `BUNDLES`
 * @returns {Promise<string>}
 */
export async function bundle(file) {
  const { outputFiles = [] } = await build({ ...common, ...BUNDLES[file], outfile: file })
  const { code, error } = UglifyJS.minify(outputFiles[0].text, MINIFY)
  if (error) throw error
  return `${code}\n`
}

async function check() {
  const committed = readFileSync(`${root}/${EMBEDDED}`, 'utf8')
  if (committed === (await bundle(EMBEDDED))) return
  console.error(`${EMBEDDED} is not the bundle of the sources: npm run build, and commit it`)
  process.exitCode = 1
}

async function main() {
  execFileSync('npx', ['tsc', '--project', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' })
  for (const file of Object.keys(BUNDLES)) {
    const path = `${root}/${file}`
    mkdirSync(dirname(path), { recursive: true })
    const text = await bundle(file)
    // The server is built with these files in it, and would be again if they were newer.
    if (!existsSync(path) || readFileSync(path, 'utf8') !== text) writeFileSync(path, text)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await (process.argv.includes('--check') ? check() : main())
