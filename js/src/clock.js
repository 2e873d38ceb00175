/**
 * Notices that time has passed unseen: the machine slept, or the page stood still. Monotonic clocks stand still during
 * sleep on some systems and go on on others, so both a jump between the clocks and a tick that is far too late count.
 * [RETRY-8]
 */

import { JUMP_MS, TICK_MS } from './constants.js'

/**
 * @param {import('./platform.js').Platform} platform
 * @param {() => void} jumped
 * @returns {() => void} stop
 */
export function watchClock(platform, jumped) {
  let nowMs = platform.nowMs()
  let wallMs = platform.wallMs()
  let stop = () => {}
  const arm = () => {
    stop = platform.timer(TICK_MS, () => {
      const passedMs = platform.nowMs() - nowMs
      const wallPassedMs = platform.wallMs() - wallMs
      nowMs += passedMs
      wallMs += wallPassedMs
      if (Math.max(passedMs - TICK_MS, Math.abs(wallPassedMs - passedMs)) > JUMP_MS) jumped()
      arm()
    })
  }
  arm()
  return () => stop()
}
