/** A server of the real program, for one test file. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const BINARY = process.env.HEARTWIRE_BIN ?? fileURLToPath(new URL('../../../../target/debug/heartwire', import.meta.url))

/**
 * Starts `heartwire serve` on a free port.
 *
 * @param {...string} flags
 * @returns {Promise<{ url: string, stop: () => Promise<void> }>}
 */
export async function serve(...flags) {
  if (!existsSync(BINARY)) throw new Error(`${BINARY} is not there: cargo build -p heartwire-cli, or name one in HEARTWIRE_BIN`)
  const child = spawn(BINARY, ['serve', '--memory', '--listen', '127.0.0.1:0', ...flags], { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const line of createInterface(child.stdout)) {
    const [, url] = /listening on (http:\S+)/.exec(line) ?? []
    if (!url) continue
    return {
      url,
      async stop() {
        child.kill('SIGKILL')
        await once(child, 'exit')
      },
    }
  }
  throw new Error('the server ended before it was ready')
}

/** Publishes over HTTP. @type {(url: string, topic: string, text: string) => Promise<void>} */
export async function publish(url, topic, text) {
  const response = await fetch(`${url}/v1/topics/${topic}`, { method: 'POST', body: text, headers: { 'content-type': 'text/plain' } })
  if (response.status !== 201) throw new Error(`publishing is answered by ${response.status}: ${await response.text()}`)
}
