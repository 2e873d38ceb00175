// A receiver of webhooks in Node.js without packages: it checks the signature, knows repetitions and
// keeps the order.
//
//   WEBHOOK_SECRET=whsec_… node receiver.mjs [PORT]

import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'

const key = Buffer.from(process.env.WEBHOOK_SECRET.replace(/^whsec_/, ''), 'base64')
const BODY_BYTES_MAX = 16 << 20
const AGE_S_MAX = 300

/** Whether one of the signatures is ours, of this body, and not old. */
function isGood(headers, body) {
  const id = headers['webhook-id'], timestamp = headers['webhook-timestamp']
  const isFresh = Math.abs(Date.now() / 1000 - Number(timestamp)) < AGE_S_MAX
  if (!isFresh) return false
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest()
  return (headers['webhook-signature'] ?? '').split(' ').some((signature) => {
    const [version, value = ''] = signature.split(',')
    const given = Buffer.from(value, 'base64')
    return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected)
  })
}

// What was handled of each topic. A real receiver keeps this in the transaction in which it handles
// the messages: then each is handled once.
const handled = new Map()

function handle(event) {
  if (event.type === 'heartwire.gap') {
    console.log(`gap ${event.topic} ${JSON.stringify(event.gap)}`)
    return
  }
  for (const message of event.messages ?? []) {
    const last = handled.get(event.topic)
    if (last?.epoch === event.epoch && message.offset <= last.offset) continue
    console.log(`message ${event.topic} ${message.offset} ${message.text ?? message.base64}`)
    handled.set(event.topic, { epoch: event.epoch, offset: message.offset })
  }
}

const server = createServer(async (request, response) => {
  const parts = []
  let size = 0
  for await (const part of request) {
    if ((size += part.length) > BODY_BYTES_MAX) return response.writeHead(413).end()
    parts.push(part)
  }
  const body = Buffer.concat(parts)
  if (!isGood(request.headers, body)) return response.writeHead(401).end()
  handle(JSON.parse(body))
  response.writeHead(204).end()
})
server.listen(Number(process.argv[2] ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`)
})
