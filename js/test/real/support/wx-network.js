/** The Mini Program's host of the tests, with sockets that go over the network. */

import { WebSocket } from 'ws'
import { WxHost } from '../../support/wx.js'

/** @typedef {import('../../support/wx.js').Task} Task */

/** How long a close may take that the other end does not answer, in milliseconds. */
const CLOSE_MS = 500

/** Ties a task to a socket. As on devices, the end of a connection is not always told. @param {Task} task */
function connect(task) {
  const { url, protocols } = task.options
  const socket = new WebSocket(url, protocols)
  const { send, close, end } = task
  socket.on('open', () => !task.isClosed && task.open({ 'Sec-WebSocket-Protocol': socket.protocol }))
  socket.on('message', (data) => !task.isClosed && task.receive(String(data)))
  socket.on('error', (error) => !task.isClosed && task.handlers.error?.({ errMsg: error.message }))
  task.send = (options) => {
    send.call(task, options)
    if (task.isOpen && !task.isClosed) socket.send(options.data)
  }
  task.close = (options) => {
    close.call(task, options)
    socket.close(options.code, options.reason)
  }
  task.end = () => {
    end.call(task)
    setTimeout(() => socket.terminate(), CLOSE_MS).unref()
  }
}

export class WxNetwork extends WxHost {
  constructor() {
    super()
    /** @type {(options: Record<string, any>) => Task | undefined} */
    const connectSocket = this.connectSocket
    this.connectSocket = (/** @type {Record<string, any>} */ options) => {
      const task = connectSocket(options)
      if (task) connect(task)
      return task
    }
  }
}
