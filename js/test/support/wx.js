/**
 * A Mini Program's host as devices behave: at most five sockets, none while hidden or shortly after, sockets that are
 * interrupted some time after hiding, with a close event or without, and no way to take handlers off a task.
 */

const SOCKETS_MAX = 5

/** @typedef {(event?: any) => void} Handler */

/** A SocketTask. */
export class Task {
  /**
   * @param {WxHost} host
   * @param {Record<string, any>} options
   */
  constructor(host, options) {
    this.host = host
    this.options = options
    this.isOpen = false
    this.isClosed = false
    /** @type {{ code?: number, reason?: string } | undefined} */
    this.closedWith = undefined
    /** @type {Array<string | ArrayBuffer>} */
    this.sent = []
    /** @type {Record<string, Handler>} */
    this.handlers = {}
  }

  onOpen = (/** @type {Handler} */ handler) => void (this.handlers.open = handler)
  onMessage = (/** @type {Handler} */ handler) => void (this.handlers.message = handler)
  onClose = (/** @type {Handler} */ handler) => void (this.handlers.close = handler)
  onError = (/** @type {Handler} */ handler) => void (this.handlers.error = handler)

  /** @param {{ data: string | ArrayBuffer, fail?: Handler }} options */
  send({ data, fail }) {
    if (!this.isOpen || this.isClosed)
      return void fail?.({ errMsg: 'sendSocketMessage:fail SocketTask.readyState is not OPEN' })
    if (typeof data !== 'string' && !(data instanceof ArrayBuffer)) throw new TypeError('string or ArrayBuffer only')
    this.sent.push(data)
  }

  /** @param {{ code?: number, reason?: string }} options */
  close(options) {
    this.closedWith = options
    this.end()
  }

  end() {
    this.isClosed = true
    this.host.tasks.delete(this)
  }

  // What the network does.

  /** @param {Record<string, string>} [header] */
  open(header = { 'sec-WebSocket-protocol': 'heartwire.v1' }) {
    this.isOpen = true
    this.handlers.open?.({ header })
  }

  /** @param {string | ArrayBuffer} data */
  receive(data) {
    this.handlers.message?.({ data })
  }

  /** Devices interrupt sockets of hidden programs; some say so. @param {boolean} saysSo */
  interrupt(saysSo) {
    this.end()
    if (saysSo) this.handlers.close?.({ code: 1000, reason: 'interrupted' })
  }
}

export class WxHost {
  constructor() {
    /** @type {Set<Task>} */
    this.tasks = new Set()
    /** Every task there ever was. @type {Task[]} */
    this.made = []
    this.failures = 0
    this.isHidden = false
    /** `connectSocket` fails until then, also for a while after the program is shown. */
    this.fails = false
    /** @type {Record<string, Handler[]>} */
    this.listeners = {}
  }

  /** @type {(options: Record<string, any>) => Task | undefined} */
  connectSocket = (options) => {
    if (this.isHidden || this.fails) {
      this.failures++
      options.fail?.({ errMsg: 'connectSocket:fail suspended' })
      return undefined
    }
    if (this.tasks.size >= SOCKETS_MAX) {
      this.failures++
      options.fail?.({ errMsg: 'connectSocket:fail exceed max task count' })
      return undefined
    }
    const task = new Task(this, options)
    this.tasks.add(task)
    this.made.push(task)
    return task
  }

  onAppShow = (/** @type {Handler} */ handler) => this.listen('show', handler)
  onAppHide = (/** @type {Handler} */ handler) => this.listen('hide', handler)
  onNetworkStatusChange = (/** @type {Handler} */ handler) => this.listen('network', handler)
  offAppShow = (/** @type {Handler} */ handler) => this.unlisten('show', handler)
  offAppHide = (/** @type {Handler} */ handler) => this.unlisten('hide', handler)
  offNetworkStatusChange = (/** @type {Handler} */ handler) => this.unlisten('network', handler)

  /** @type {(name: string, handler: Handler) => void} */
  listen(name, handler) {
    this.listeners[name] = [...(this.listeners[name] ?? []), handler]
  }

  /** @type {(name: string, handler: Handler) => void} */
  unlisten(name, handler) {
    this.listeners[name] = (this.listeners[name] ?? []).filter((other) => other !== handler)
  }

  /** @type {(name: string, event?: any) => void} */
  tell(name, event) {
    for (const handler of this.listeners[name] ?? []) handler(event)
  }

  hide() {
    this.isHidden = true
    this.tell('hide')
  }

  show() {
    this.isHidden = false
    this.tell('show')
  }

  /** The latest task. */
  get task() {
    return this.made[this.made.length - 1]
  }
}
