/** Shows the server's connections and topics, asked for again and again, and closes connections. */

import { repeat } from './api.js'
import { byId, make, Rows, setText } from './dom.js'
import { age, count, milliseconds, rate } from './format.js'

/** @typedef {import('./api.js').Api} Api */
/** @typedef {import('./api.js').ApiError} ApiError */
/** @typedef {import('./demo.js').Demo} Demo */

/**
 * @typedef {{ connection: string, mode: string, identity: string | null, agent: string, address: string | null,
 *   age_ms: number, round_trip_ms: number | null, lag: number }} Connection
 * @typedef {{ topic: string, first: number, last: number, followers: number, messages_per_second: number }} Topic
 * @typedef {{ next: string | null }} Page
 */

const PACE = { everyMs: 1_000, hiddenMs: 15_000, failedMsMax: 10_000 }
/** How many of each are shown: more than that is for `curl`. */
const ROWS_MAX = 100
/** What the server answers when it wants a key, or another one. */
const UNAUTHORIZED = 401

export class ServerView {
  /**
   * @param {Api} api
   * @param {Demo} demo whose connection is marked
   * @param {() => void} keyNeeded called once it is known that there is a key
   */
  constructor(api, demo, keyNeeded) {
    this.api = api
    this.demo = demo
    this.keyNeeded = keyNeeded
    this.needsKey = false
    this.knownTopics = ''
    /** @type {Rows<Connection>} */
    this.connections = new Rows(byId('connections'), {
      key: ({ connection }) => connection,
      make: (connection) => this.connectionRow(connection),
      fill: (row, connection) => this.fillConnection(row, connection),
    })
    /** @type {Rows<Topic>} */
    this.topics = new Rows(byId('topics'), { key: ({ topic }) => topic, make: topicRow, fill: fillTopic })
    this.bindKey()
    this.refresh = repeat(() => this.load(), PACE)
  }

  bindKey() {
    const form = /** @type {HTMLFormElement} */ (byId('key'))
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      const { key } = /** @type {any} */ (form.elements)
      this.api.key = key.value
      form.reset()
      this.refresh()
    })
  }

  /** @returns {Promise<boolean>} false when there is no use in asking again before there is a key */
  async load() {
    try {
      const connections = await this.api.get(`v1/connections?limit=${ROWS_MAX}`)
      this.show(connections, await this.api.get(`v1/topics?limit=${ROWS_MAX}`))
      return true
    } catch (error) {
      this.fail(/** @type {ApiError} */ (error))
      if (/** @type {ApiError} */ (error).status === UNAUTHORIZED) return false
      throw error
    }
  }

  /** @type {(connections: Page & { connections: Connection[] }, topics: Page & { topics: Topic[] }) => void} */
  show(connections, topics) {
    this.setProblem('', false)
    const isOwn = (/** @type {Connection} */ { connection }) => connection === this.demo.welcome?.connection
    const rows = connections.connections
    this.connections.update([...rows.filter(isOwn), ...rows.filter((row) => !isOwn(row))])
    this.topics.update(topics.topics)
    setText(byId('connections-total'), totalOf(connections, rows))
    setText(byId('topics-total'), totalOf(topics, topics.topics))
    this.nameTopics(topics.topics)
  }

  /** @param {ApiError} error */
  fail(error) {
    const isRefused = error.status === UNAUTHORIZED
    if (isRefused && !this.needsKey) {
      this.needsKey = true
      this.keyNeeded()
    }
    const wrong = this.api.key ? 'The server does not know this key.' : 'The server shows these to whoever has its API key.'
    this.setProblem(isRefused ? wrong : error.message, isRefused)
  }

  /** @type {(text: string, asksForKey: boolean) => void} */
  setProblem(text, asksForKey) {
    setText(byId('problem'), text)
    byId('key').hidden = !asksForKey
    for (const id of ['connections', 'topics']) byId(id).closest('table')?.toggleAttribute('hidden', asksForKey)
  }

  /** Suggests the topics there are to whoever publishes. @param {Topic[]} topics */
  nameTopics(topics) {
    const list = byId('topic-names')
    const names = topics.map(({ topic }) => topic)
    const known = names.join('\n')
    if (this.knownTopics === known) return
    this.knownTopics = known
    list.replaceChildren(...names.map((name) => Object.assign(make('option'), { value: name })))
  }

  /** @param {Connection} connection */
  connectionRow({ connection: id, identity }) {
    const row = make('tr')
    const who = make('td')
    who.append(make('div'), make('div'))
    const close = make('button', 'Close')
    close.type = 'button'
    close.setAttribute('aria-label', `Close the connection ${identity ?? id}`)
    close.addEventListener('click', () => this.close(id, close))
    const last = make('td')
    last.append(close)
    row.append(who, make('td', '', 'number'), make('td', '', 'number'), make('td', '', 'number'), last)
    return row
  }

  /** @type {(row: HTMLElement, connection: Connection) => void} */
  fillConnection(row, { connection, mode, identity, agent, address, round_trip_ms, age_ms, lag }) {
    const [who, roundTrip, since, behind] = row.children
    row.classList.toggle('mine', connection === this.demo.welcome?.connection)
    const about = [mode, agent, address].filter(Boolean).join(' · ')
    setText(who.children[0], identity ?? connection)
    setText(who.children[1], about)
    if (who.getAttribute('title') !== about) who.setAttribute('title', about)
    setText(roundTrip, round_trip_ms === null ? '–' : milliseconds(round_trip_ms))
    setText(since, age(age_ms))
    setText(behind, count(lag))
  }

  /** @type {(id: string, button: HTMLButtonElement) => Promise<void>} */
  async close(id, button) {
    button.ariaDisabled = 'true'
    try {
      await this.api.delete(`v1/connections/${encodeURIComponent(id)}`)
    } catch (error) {
      button.ariaDisabled = null
      this.fail(/** @type {ApiError} */ (error))
    }
    this.refresh()
  }
}

/** @param {Topic} topic */
function topicRow({ topic }) {
  const row = make('tr')
  const name = make('td', topic)
  name.title = topic
  row.append(name, make('td', '', 'number'), make('td', '', 'number'), make('td', '', 'number'))
  return row
}

/** @type {(row: HTMLElement, topic: Topic) => void} */
function fillTopic(row, { followers, messages_per_second, first, last }) {
  const [, following, speed, kept] = row.children
  setText(following, count(followers))
  setText(speed, rate(messages_per_second))
  setText(kept, count(last - first + 1))
}

/** @type {(page: Page, rows: unknown[]) => string} */
const totalOf = ({ next }, { length }) => (next ? `the first ${length}` : String(length))
