/**
 * A server of `heartwire.v1` in memory, as small as the client's rules allow: topics with epochs and retention, publishes
 * that become durable a little later, deduplication, takeover, heartbeat with positions.
 */

import { formatCursor, parseCursor } from './cursor.js'

/** @typedef {import('./cursor.js').Cursor} Cursor */
/** @typedef {{ epoch: string, messages: string[], base: number }} Topic `messages[0]` has the offset `base` + 1 */
/** @typedef {{ appended: number, durable: number }} Producer */

/**
 * What carries the server's words to one client and ends the connection.
 *
 * @typedef {object} Pipe
 * @property {(message: string) => void} send
 * @property {(code: number, reason: string) => void} close
 */

const INTERVAL_MS = 10_000
const TIMEOUT_MS = 10_000
const RETAINED_MAX = 40

/** The server's side of one connection. */
export class ModelConnection {
  /**
   * @param {ModelServer} server
   * @param {Pipe} pipe
   */
  constructor(server, pipe) {
    this.server = server
    this.pipe = pipe
    this.client = ''
    this.attempt = 0
    this.isOver = false
    this.heardMs = server.nowMs()
    this.pings = 0
    /** Where each followed topic has been sent to. @type {Map<string, Cursor>} */
    this.sent = new Map()
    /** A refused publish, until it comes again or is skipped. */
    this.refused = 0
    this.beat()
  }

  /** Asks after an interval of silence, and at least every 25 s; gives up after a timeout more. */
  beat() {
    const { server } = this
    server.after(INTERVAL_MS, () => {
      if (this.isOver) return
      if (server.nowMs() - this.heardMs >= INTERVAL_MS + TIMEOUT_MS) return this.close(4200, 'heartbeat-timeout')
      const lines = [...this.sent].map(([topic, cursor]) => `${topic} ${formatCursor(cursor)}`)
      if (this.client) this.pipe.send([`ping ${++this.pings}`, ...lines].join('\n'))
      this.beat()
    })
  }

  /** @param {string} message */
  receive(message) {
    if (this.isOver) return
    this.heardMs = this.server.nowMs()
    const lineEnd = message.indexOf('\n')
    const header = lineEnd < 0 ? message : message.slice(0, lineEnd)
    const payload = lineEnd < 0 ? '' : message.slice(lineEnd + 1)
    const [verb, ...fields] = header.split(' ')
    if (verb === 'hello') this.hello(JSON.parse(payload))
    else if (verb === 'sub') this.sub(fields[0], fields.slice(1).join(' ') || 'tail')
    else if (verb === 'unsub') this.unsub(fields[0])
    else if (verb === 'pub') this.pub(fields[0], Number(fields[1]), payload)
    else if (verb === 'skip') this.skip(Number(fields[0]))
    else if (verb === 'ping') this.pipe.send(fields[0] ? `pong ${fields[0]}` : 'pong')
    else if (verb === 'heartbeat') this.pipe.send(`heartbeat ${INTERVAL_MS}`)
    else if (verb !== 'pong') throw new Error(`the client said ${verb}`)
  }

  /** @param {{ client: string, attempt: number }} hello */
  hello({ client, attempt }) {
    const older = this.server.connections.get(client)
    if (older && older.attempt >= attempt) return this.close(4009, 'taken-over')
    older?.close(4009, 'taken-over')
    Object.assign(this, { client, attempt })
    this.server.connections.set(client, this)
    const producer = this.server.producers.get(client)
    this.pipe.send(
      `welcome\n${JSON.stringify({
        connection: 'c1',
        log: this.server.log,
        acked: producer?.durable ?? 0,
        producer_known: producer !== undefined,
        heartbeat: { interval_ms: INTERVAL_MS, timeout_ms: TIMEOUT_MS },
        durability: 'memory',
      })}`,
    )
  }

  /** @type {(name: string, from: string) => void} */
  sub(name, from) {
    const topic = this.server.topics.get(name)
    const { cursor, gap } = place(topic, parseCursor(from) ?? from)
    this.sent.set(name, cursor)
    this.pipe.send(`subbed ${name} ${formatCursor(cursor)}${gap}`)
    this.pump(name)
  }

  /** @param {string} name */
  unsub(name) {
    this.sent.delete(name)
    this.pipe.send(`unsubbed ${name}`)
  }

  /** Sends what lies between the cursor and the end. @param {string} name */
  pump(name) {
    const cursor = this.sent.get(name)
    const topic = this.server.topics.get(name)
    if (!cursor || !topic || this.isOver) return
    if (cursor.epoch === null) this.pipe.send(`epoch ${name} ${topic.epoch}`)
    let { offset } = cursor
    if (offset < topic.base) {
      this.pipe.send(`gap ${name} ${topic.epoch} ${offset + 1} ${topic.base} retention`)
      offset = topic.base
    }
    for (; offset < topic.base + topic.messages.length; offset++) {
      this.pipe.send(`msg ${name} ${offset + 1} 1790000000000\n${topic.messages[offset - topic.base]}`)
    }
    this.sent.set(name, { epoch: topic.epoch, offset })
  }

  /** @type {(topic: string, seq: number, payload: string) => void} */
  pub(topic, seq, payload) {
    const { server, client } = this
    if (this.refused && seq !== this.refused) return
    this.refused = 0
    const producer = server.producers.get(client) ?? { appended: 0, durable: 0 }
    if (seq > producer.appended && server.refuses()) {
      this.refused = seq
      return this.pipe.send(`nack ${seq} unavailable`)
    }
    server.producers.set(client, producer)
    const isNew = seq > producer.appended
    if (isNew) producer.appended = seq
    server.commit(() => {
      if (isNew) server.append(topic, payload)
      producer.durable = Math.max(producer.durable, seq)
      if (!this.isOver) this.pipe.send(`ack ${producer.durable}`)
    })
  }

  /** @param {number} seq */
  skip(seq) {
    const producer = this.server.producers.get(this.client) ?? { appended: 0, durable: 0 }
    producer.appended = producer.durable = seq
    this.refused = 0
    this.pipe.send(`ack ${seq}`)
  }

  /** @type {(code: number, reason: string) => void} */
  close(code, reason) {
    if (this.isOver) return
    this.end()
    this.pipe.send(`bye ${code} 0 ${reason}`)
    this.pipe.close(code, reason)
  }

  /** The socket is gone. */
  end() {
    this.isOver = true
    if (this.server.connections.get(this.client) === this) this.server.connections.delete(this.client)
  }
}

/** Where a `sub` begins, and the end of its answer. @type {(topic: Topic | undefined, from: Cursor | string) => { cursor: Cursor, gap: string }} */
function place(topic, from) {
  const start = { epoch: null, offset: 0 }
  if (typeof from !== 'string' && (!topic || (from.epoch !== null && from.epoch !== topic.epoch))) {
    const cursor = topic ? { epoch: topic.epoch, offset: topic.base } : start
    return { cursor, gap: from.epoch === null ? '' : ` gap ${from.epoch} ${from.offset + 1} ? epoch` }
  }
  if (!topic) return { cursor: start, gap: '' }
  const { epoch, base } = topic
  const end = base + topic.messages.length
  if (from === 'tail') return { cursor: { epoch, offset: end }, gap: '' }
  if (from === 'head') return { cursor: { epoch, offset: base }, gap: '' }
  if (typeof from === 'string')
    return { cursor: { epoch, offset: Math.max(base, end - Number(from.slice(5))) }, gap: '' }
  const { offset } = from
  if (offset > end) return { cursor: { epoch, offset: end }, gap: ` gap ${epoch} ${end + 1} ${offset} epoch` }
  const gap = offset < base ? ` gap ${epoch} ${offset + 1} ${base} retention` : ''
  return { cursor: { epoch, offset: Math.max(offset, base) }, gap }
}

export class ModelServer {
  /**
   * @param {object} world
   * @param {() => number} world.nowMs
   * @param {(delayMs: number, run: () => void) => void} world.after
   * @param {() => number} world.random
   */
  constructor({ nowMs, after, random }) {
    this.nowMs = nowMs
    this.after = after
    this.random = random
    this.incarnation = 0
    /** The part of publishes that are refused for the moment. */
    this.refusalRate = 0
    /** Everything that was ever stored, with the log that it went into. @type {Array<{ log: string, topic: string, payload: string }>} */
    this.stored = []
    this.durableMs = 0
    /** @type {Map<string, ModelConnection>} */
    this.connections = new Map()
    this.restart()
  }

  /** A restart with topics in memory: everything is forgotten, and the log has another id. */
  restart() {
    for (const connection of this.connections.values()) connection.end()
    this.incarnation++
    this.log = `log${this.incarnation}`
    this.connections.clear()
    /** @type {Map<string, Topic>} */
    this.topics = new Map()
    /** @type {Map<string, Producer>} */
    this.producers = new Map()
  }

  refuses() {
    return this.random() < this.refusalRate
  }

  /** Runs something when the disk is done, unless the server was restarted meanwhile. @param {() => void} durable */
  commit(durable) {
    const { incarnation } = this
    // In the order of the appends.
    this.durableMs = Math.max(this.durableMs, this.nowMs() + Math.floor(this.random() * 30))
    this.after(this.durableMs - this.nowMs(), () => {
      if (this.incarnation === incarnation) durable()
    })
  }

  /** @type {(name: string, payload: string) => void} */
  append(name, payload) {
    const topic = this.topics.get(name) ?? { epoch: `e${this.incarnation}`, messages: [], base: 0 }
    this.topics.set(name, topic)
    topic.messages.push(payload)
    this.stored.push({ log: /** @type {string} */ (this.log), topic: name, payload })
    for (const connection of this.connections.values()) connection.pump(name)
    if (topic.messages.length > RETAINED_MAX) topic.base += topic.messages.splice(0, RETAINED_MAX / 2).length
  }
}
