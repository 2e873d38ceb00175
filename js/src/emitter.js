/** Events by name, whose handlers cannot harm each other. */

/** @typedef {(...details: any[]) => unknown} Handler */

export function makeEmitter() {
  /** @type {Map<string, Set<Handler>>} */
  const byName = new Map()

  /** @type {(name: string, ...details: any[]) => void} */
  function emit(name, ...details) {
    const handlers = [...(byName.get(name) || [])]
    if (name === 'error' && !handlers.length) console.error(...details)
    for (const handler of handlers) guard(name === 'error' ? console.error : report, handler, details)
  }

  /** @param {unknown} error */
  const report = (error) => emit('error', error)

  return {
    _emit: emit,

    /** Calls a handler; what it throws, or rejects with, becomes an `error`. @type {(handler: Handler, ...details: any[]) => void} */
    _call: (handler, ...details) => guard(report, handler, details),

    /** @type {(name: string, handler: Handler) => () => void} */
    _on(name, handler) {
      const handlers = byName.get(name) || new Set()
      byName.set(name, handlers.add(handler))
      return () => void handlers.delete(handler)
    },
  }
}

/** @type {(failed: (error: unknown) => void, handler: Handler, details: any[]) => Promise<void>} */
async function guard(failed, handler, details) {
  try {
    await handler(...details)
  } catch (error) {
    failed(error)
  }
}
