/** The server's HTTP API, as far as this page asks it. The key is held in memory, and nowhere else. */

/** A request that takes longer has failed. */
const REQUEST_MS = 10_000

export class ApiError extends Error {
  /**
   * @param {number} status 0 when the server did not answer
   * @param {string} message
   */
  constructor(status, message) {
    super(message)
    this.name = 'ApiError'
    this.status = status
  }
}

export class Api {
  /** @param {URL} base where `v1/` is */
  constructor(base) {
    this.base = base
    this.key = ''
  }

  /** @param {string} path @returns {Promise<any>} */
  get(path) {
    return this.request('GET', path)
  }

  /** @param {string} path */
  delete(path) {
    return this.request('DELETE', path)
  }

  /** @type {(method: string, path: string) => Promise<any>} */
  async request(method, path) {
    const headers = this.key ? { authorization: `Bearer ${this.key}` } : undefined
    /** @type {RequestInit} */
    const request = { method, headers, cache: 'no-store', signal: AbortSignal.timeout(REQUEST_MS) }
    const response = await fetch(new URL(path, this.base), request).catch(() => {
      throw new ApiError(0, 'The server does not answer.')
    })
    const body = await response.json().catch(() => null)
    if (!response.ok) throw new ApiError(response.status, body?.message ?? `The server answers ${response.status}.`)
    return body
  }
}

/**
 * Does a task again and again, one at a time: at ease while nobody looks, and ever more seldom while it fails.
 *
 * @param {() => Promise<boolean>} task resolves to whether there is any use in going on; if not, it waits to be asked
 * @param {{ everyMs: number, hiddenMs: number, failedMsMax: number }} pace
 * @returns {() => void} do it at once
 */
export function repeat(task, { everyMs, hiddenMs, failedMsMax }) {
  let failures = 0
  let goesOn = true
  let timer = 0
  let isRunning = false
  let isWanted = false
  const attempt = async () => {
    try {
      goesOn = await task()
      failures = 0
    } catch {
      failures++
    }
  }
  const run = async () => {
    clearTimeout(timer)
    isWanted = true
    if (isRunning) return
    isRunning = true
    while (isWanted) {
      isWanted = false
      await attempt()
    }
    isRunning = false
    const delayMs = Math.max(document.hidden ? hiddenMs : 0, Math.min(failedMsMax, everyMs * 2 ** failures))
    if (goesOn) timer = setTimeout(run, delayMs)
  }
  document.addEventListener('visibilitychange', () => !document.hidden && goesOn && run())
  run()
  return run
}
