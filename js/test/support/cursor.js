/** Cursors as tests write them: `EPOCH.OFFSET`, or `0` when nothing has been seen. */

/** @typedef {{ epoch: string | null, offset: number }} Cursor */

/** The cursor that a text is, or null if it is none. @type {(text: string) => Cursor | null} */
export function parseCursor(text) {
  if (text === '0') return { epoch: null, offset: 0 }
  const [, epoch, offset] = /^([0-9a-z]+)\.(\d+)$/.exec(text) ?? []
  return epoch ? { epoch, offset: Number(offset) } : null
}

/** @type {(cursor: Cursor) => string} */
export const formatCursor = ({ epoch, offset }) => (epoch === null ? '0' : `${epoch}.${offset}`)
