/** One server and one browser for the tests of a file, and pages that nothing troubles. */

import { after, before } from 'node:test'
import { LivePage, launch } from './page.js'
import { serve } from './server.js'

/** A short timeout, so that outages end soon. */
const TIMEOUT = ['--heartbeat-timeout', '2s']

/**
 * @param {string[]} [flags] further flags of the server
 * @param {Parameters<typeof LivePage.open>[2]} [always] how all pages are opened
 */
export function visits(flags = [], always = {}) {
  /** @type {Awaited<ReturnType<typeof serve>>} */
  let server
  /** @type {import('playwright-core').Browser} */
  let browser
  before(async () => {
    server = await serve(...TIMEOUT, ...flags)
    browser = await launch()
  })
  after(async () => {
    await browser?.close()
    await server?.stop()
  })
  return {
    /** Where the server is. */
    get url() {
      return server.url
    },
    /**
     * Opens the page, does what is to be shown, and closes it.
     *
     * @param {(page: LivePage) => Promise<void>} show
     * @param {Parameters<typeof LivePage.open>[2]} [options]
     */
    async visit(show, options) {
      const page = await LivePage.open(browser, server.url, { ...always, ...options })
      try {
        await show(page)
        page.isUntroubled()
      } finally {
        await page.close()
      }
    },
  }
}
