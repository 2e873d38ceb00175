/**
 * Writing to the page: only what changed, and only as text, as agents, identities, topics and payloads come from
 * strangers.
 */

/** An element that the page is known to have. @param {string} id @returns {HTMLElement} */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id))

/** The longest text that a cell is given; what is beyond says nothing more to people. */
const TEXT_MAX = 500

/** @type {(element: Element, text: string) => void} */
export function setText(element, text) {
  const short = text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text
  if (element.textContent !== short) element.textContent = short
}

/** @type {(element: Element, name: string, isSo: boolean) => void} */
export const setFlag = (element, name, isSo) => element.setAttribute(name, String(isSo))

/**
 * @template {keyof HTMLElementTagNameMap} N
 * @param {N} name
 * @returns {HTMLElementTagNameMap[N]}
 */
export function make(name, text = '', className = '') {
  const element = document.createElement(name)
  if (text) setText(element, text)
  if (className) element.className = className
  return element
}

/**
 * Rows of a list or table, one for each item, kept over updates so that focus and selection stay where they are.
 *
 * @template T
 */
export class Rows {
  /**
   * @param {HTMLElement} body
   * @param {object} how
   * @param {(item: T) => string | number} how.key
   * @param {(item: T) => HTMLElement} how.make a row, with everything that never changes
   * @param {(row: HTMLElement, item: T) => void} [how.fill] writes what changes
   */
  constructor(body, how) {
    this.body = body
    this.how = how
    /** @type {Map<string | number, HTMLElement>} */
    this.rows = new Map()
  }

  /** @param {T[]} items in the order in which they are to stand */
  update(items) {
    const { how, rows, body } = this
    const keys = new Set(items.map(how.key))
    for (const [key, row] of rows) if (!keys.has(key)) this.remove(key, row)
    let place = body.firstElementChild
    for (const item of items) {
      const key = how.key(item)
      const row = rows.get(key) ?? how.make(item)
      rows.set(key, row)
      if (row === place) place = row.nextElementSibling
      else body.insertBefore(row, place)
      how.fill?.(row, item)
    }
  }

  /** A focus that stood in the row goes to the next one, not to the top of the page. @type {(key: string | number, row: HTMLElement) => void} */
  remove(key, row) {
    const hadFocus = row.contains(document.activeElement)
    const neighbour = row.nextElementSibling ?? row.previousElementSibling
    this.rows.delete(key)
    row.remove()
    const next = neighbour?.querySelector('button') ?? this.body.closest('[tabindex]')
    if (hadFocus) /** @type {HTMLElement | null} */ (next)?.focus()
  }
}
