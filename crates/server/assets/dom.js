/**
 * Writing to the page: only what changed, and only as text, as agents, identities, topics and payloads come from
 * strangers.
 */

/** @param {string} id @returns {HTMLElement} */
export const byId = (id) => document.getElementById(id)

/** The longest text that a cell is given; what is beyond says nothing more to people. */
const TEXT_MAX = 500

/** @type {(element: Element, text: string) => void} */
export function setText(element, text) {
  const short = text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text
  if (element.textContent !== short) element.textContent = short
}

/** @type {(element: Element, name: string, isSo: boolean) => void} */
export const setFlag = (element, name, isSo) => element.setAttribute(name, String(isSo))

/** @type {(name: string, text?: string, className?: string) => HTMLElement} */
export function make(name, text = '', className = '') {
  const element = document.createElement(name)
  if (text) setText(element, text)
  if (className) element.className = className
  return element
}

/** Rows of a table body, one for each item, kept over updates so that focus and selection stay where they are. */
export class Rows {
  /**
   * @param {HTMLElement} body
   * @param {object} how
   * @param {(item: any) => string} how.key
   * @param {(item: any) => HTMLElement} how.make a row, with everything that never changes
   * @param {(row: HTMLElement, item: any) => void} how.fill writes what changes
   */
  constructor(body, how) {
    this.body = body
    this.how = how
    /** @type {Map<string, HTMLElement>} */
    this.rows = new Map()
  }

  /** @param {any[]} items in the order in which they are to stand */
  update(items) {
    const { how, rows, body } = this
    const keys = new Set(items.map(how.key))
    for (const [key, row] of rows) if (!keys.has(key)) this.remove(key, row)
    let place = body.firstElementChild
    for (const item of items) {
      const key = how.key(item)
      const row = rows.get(key) ?? how.make(item)
      rows.set(key, row)
      if (row === place) place = place.nextElementSibling
      else body.insertBefore(row, place)
      how.fill(row, item)
    }
  }

  /** A focus that stood in the row goes to the next one, not to the top of the page. */
  remove(key, row) {
    const hadFocus = row.contains(document.activeElement)
    const neighbour = row.nextElementSibling ?? row.previousElementSibling
    this.rows.delete(key)
    row.remove()
    if (hadFocus) (neighbour?.querySelector('button') ?? this.body.closest('[tabindex]'))?.focus()
  }
}
