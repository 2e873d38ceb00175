import { Heartwire } from '../../js/dist/heartwire.js'

const $ = (id) => document.getElementById(id)
const server = new URLSearchParams(location.search).get('server') ?? 'ws://127.0.0.1:7070/websocket'

// Where this page has come to, so that a reload goes on from there.
const cursors = {
  load: (topic) => sessionStorage.getItem(topic),
  save: (topic, cursor) => sessionStorage.setItem(topic, cursor),
}

const link = new Heartwire(server, { cursors })

link.on('status', (status) => {
  $('status').value = status
  $('status').dataset.status = status
  $('detail').textContent = ''
})
link.on('lost', ({ why, retryInMs }) => {
  $('detail').textContent = retryInMs === null ? why : `${why}; next dial in ${(retryInMs / 1000).toFixed(1)} s`
})
link.on('rtt', ({ lastMs }) => {
  $('detail').textContent = `round trip ${lastMs} ms`
})
link.on('gap', ({ topic, from, to, reason }) =>
  show(`(${topic ?? 'sent'}: ${from} to ${to ?? '?'} are gone: ${reason})`),
)

link.subscribe('task:42', ({ data, from }) => show(from ? `${from}: ${data}` : data), 'last 20')

$('form').addEventListener('submit', async (event) => {
  event.preventDefault()
  const text = $('text').value
  $('text').value = ''
  await link.publish('task:42', text).catch((error) => show(`(not stored: ${error.message})`))
})

function show(text) {
  const item = document.createElement('li')
  item.textContent = text
  $('messages').append(item)
}
