/**
 * The client as an application imports it: its sources, or what was built of them in the folder that HEARTWIRE_DIST
 * names. Names that the build shortened by mistake are missed there.
 */

import { pathToFileURL } from 'node:url'

const built = process.env.HEARTWIRE_DIST

/** @type {(file: string, source: string) => Promise<any>} */
const entry = (file, source) => import(built ? pathToFileURL(`${built}/${file}`).href : source)

/** @type {typeof import('../../src/index.js')} */
export const { Heartwire, HeartwireError } = await entry('heartwire.js', '../../src/index.js')

/** @type {typeof import('../../src/websocket.js')} */
export const { HeartwireWebSocket } = await entry('websocket.js', '../../src/websocket.js')
