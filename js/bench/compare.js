/**
 * Measures all clients, side by side in this process, in several rounds, and prints a table in Markdown.
 */

import { cpus } from 'node:os'
import { createRequire } from 'node:module'
import { clients } from './clients.js'
import { AGAIN_MAX_MS, measure, NOTICED_MAX_MS } from './measure.js'

const ROUNDS = 5

const require = createRequire(import.meta.url)

/** @type {Map<string, import('./measure.js').Result[]>} */
const results = new Map(clients.map(({ name }) => [name, []]))
for (let round = 1; round <= ROUNDS; round++) {
  await Promise.all(
    clients.map(async (client) => {
      const result = await measure(client)
      results.get(client.name)?.push(result)
      console.error(`round ${round}/${ROUNDS}, ${client.name}: ${JSON.stringify(result)}`)
    }),
  )
}

console.log('| | heartbeat | noticed after, s | flows again after, s | lost | doubled |')
console.log('|---|---|---|---|---|---|')
for (const { name, heartbeat } of clients) console.log(row(name, heartbeat, results.get(name) ?? []))
console.log(`\nNode ${process.version}, ${cpus().length} × ${cpus()[0].model}, ${versions()}`)
// The connections that libraries still wait for keep the process alive.
process.exit()

/** @type {(name: string, heartbeat: string, results: import('./measure.js').Result[]) => string} */
function row(name, heartbeat, results) {
  const noticed = results.map(({ noticedMs }) => noticedMs)
  const again = results.map(({ againMs }) => againMs)
  const lost = results.map(({ lost }) => lost)
  const doubled = results.map(({ doubled }) => doubled)
  const cells = [span(noticed, NOTICED_MAX_MS), span(again, AGAIN_MAX_MS), median(lost), median(doubled)]
  return `| ${[name, heartbeat, ...cells].join(' | ')} |`
}

/** Median and worst, in seconds. @type {(timesMs: number[], maxMs: number) => string} */
function span(timesMs, maxMs) {
  const seconds = (/** @type {number} */ ms) => (ms < Infinity ? (ms / 1000).toFixed(1) : `> ${maxMs / 1000}`)
  return `${seconds(median(timesMs))}, worst ${seconds(Math.max(...timesMs))}`
}

/** Of an odd number of values. @param {number[]} values */
function median(values) {
  return [...values].sort((a, b) => a - b)[(values.length - 1) / 2]
}

/** The libraries as installed. */
function versions() {
  const { dependencies } = require('./package.json')
  return Object.entries(dependencies)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')
}
