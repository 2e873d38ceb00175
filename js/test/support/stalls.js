/** How much later a loss may be noticed where a machine has other things to do. */

/** A process that stood still for longer looks once more before it judges. */
const STALL_MS = 500
const GRACE_MS = 1_000

/**
 * Watches how long this process, or page, does not get to run: others may be at work on the machine. It runs in pages as
 * it stands here, and knows nothing around it.
 *
 * @returns {() => number} how long it was, in milliseconds
 */
export function watchStalls() {
  const TICK_MS = 20
  let stalledMs = 0
  let lastMs = Date.now()
  const tick = () => {
    const nowMs = Date.now()
    const lateMs = nowMs - lastMs - TICK_MS
    if (lateMs > TICK_MS) stalledMs += lateMs
    lastMs = nowMs
  }
  /** @type {any} */
  const timer = setInterval(tick, TICK_MS)
  if (timer.unref) timer.unref()
  return () => {
    tick()
    return stalledMs
  }
}

/** What is allowed to somebody who did not get to run for so long. @type {(stalledMs: number) => number} */
export const allowedMs = (stalledMs) => stalledMs + (stalledMs > STALL_MS ? GRACE_MS : 0)
