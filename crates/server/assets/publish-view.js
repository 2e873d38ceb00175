/** The box to publish from, and the command that does the same in a terminal. */

import { byId, setText } from './dom.js'
import { milliseconds } from './format.js'

/** @typedef {import('./demo.js').Demo} Demo */

/** A publish that takes longer is told that it waits. */
const PATIENCE_MS = 300

/** Why a message was not taken, by the client's codes. @type {Record<string, string>} */
const REFUSALS = {
  'bad-topic': 'No topic has such a name, or it belongs to the server.',
  'outbox-full': 'As much waits for the link as may; this would be too much.',
  'too-large': 'The message is larger than the server takes.',
  'invalid-text': 'The server does not take this text.',
  'in-doubt': 'Stored or not, nobody knows any more.',
  forbidden: 'The server does not let this page publish to the topic.',
  closed: 'The link is closed.',
}

/** What a POSIX shell reads back as the same text. @param {string} text */
const quoted = (text) => (/^[\w\-.:/@~]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`)

/**
 * @param {Demo} demo
 * @param {URL} base where `v1/` is
 * @returns {() => void} to be called when it turns out that the server wants a key
 */
export function showPublish(demo, base) {
  let key = ''
  const form = /** @type {HTMLFormElement} */ (byId('publish'))
  const { topic, text } = /** @type {any} */ (form.elements)
  topic.value = demo.topic
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    publish(demo, topic.value.trim(), text.value)
    text.select()
  })
  text.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    form.requestSubmit()
  })
  byId('copy').addEventListener('click', () => copy(byId('command').innerText))
  const showCommand = () => {
    setText(byId('command'), `curl -d 'hello'${key} ${quoted(new URL(`v1/topics/${topic.value.trim()}`, base).href)}`)
  }
  topic.addEventListener('input', showCommand)
  showCommand()
  return () => {
    key = ` -H 'Authorization: Bearer KEY'`
    showCommand()
  }
}

/** @type {(demo: Demo, topic: string, text: string) => Promise<void>} */
async function publish(demo, topic, text) {
  const output = byId('published')
  const beganMs = performance.now()
  setText(output, '')
  const waits = setTimeout(() => setText(output, 'Waits for the link; it will be stored once.'), PATIENCE_MS)
  try {
    const { durability } = await demo.publish(topic, text)
    setText(output, `Stored after ${milliseconds(performance.now() - beganMs)} (${durability}).`)
  } catch (error) {
    const { code, message } = /** @type {Error & { code: string }} */ (error)
    setText(output, REFUSALS[code] ?? message)
  } finally {
    clearTimeout(waits)
  }
}

/** @param {string} text */
async function copy(text) {
  const said = await navigator.clipboard.writeText(text).then(() => 'Copied', () => 'Select it')
  setText(byId('copy'), said)
  setTimeout(() => setText(byId('copy'), 'Copy'), 1_500)
}
