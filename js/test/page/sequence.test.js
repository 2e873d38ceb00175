/** The check behind the page's counts, by itself. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sequence } from '../../../crates/server/assets/sequence.js'

/** @param {number} count */
function sent(count) {
  const sequence = new Sequence()
  for (let n = 1; n <= count; n++) assert.equal(sequence.next(n * 100), n)
  return sequence
}

/** @param {any} sequence */
const counts = ({ sent, received, lost, doubled, refused, waiting }) => ({ sent, received, lost, doubled, refused, waiting: waiting.size })

test('what_arrives_in_order_is_received', () => {
  const sequence = sent(3)
  assert.equal(sequence.arrived(1), 100)
  sequence.stored(1)
  assert.equal(sequence.arrived(2), 200)
  assert.deepEqual(counts(sequence), { sent: 3, received: 2, lost: 0, doubled: 0, refused: 0, waiting: 1 })
})

test('a_number_passed_by_is_lost_only_once_it_is_known_to_be_stored', () => {
  const sequence = sent(3)
  sequence.arrived(3)
  assert.equal(sequence.lost, 0)
  sequence.stored(1)
  assert.equal(sequence.lost, 1)
  sequence.stored(2)
  assert.deepEqual(counts(sequence), { sent: 3, received: 1, lost: 2, doubled: 0, refused: 0, waiting: 0 })
})

test('what_is_stored_and_not_passed_by_is_on_its_way', () => {
  const sequence = sent(2)
  sequence.stored(1)
  sequence.stored(2)
  assert.equal(sequence.lost, 0)
  assert.equal(sequence.waiting.size, 2)
})

test('a_number_that_arrives_again_is_doubled', () => {
  const sequence = sent(2)
  sequence.arrived(1)
  assert.equal(sequence.arrived(1), null)
  sequence.arrived(2)
  sequence.arrived(1)
  assert.deepEqual(counts(sequence), { sent: 2, received: 2, lost: 0, doubled: 2, refused: 0, waiting: 0 })
})

test('what_comes_after_it_was_given_up_is_received_after_all', () => {
  const sequence = sent(3)
  sequence.stored(1)
  sequence.refuse(2)
  sequence.arrived(3)
  assert.deepEqual(counts(sequence), { sent: 3, received: 1, lost: 1, doubled: 0, refused: 1, waiting: 0 })
  sequence.arrived(1)
  sequence.arrived(2)
  assert.deepEqual(counts(sequence), { sent: 3, received: 3, lost: 0, doubled: 0, refused: 0, waiting: 0 })
})

test('numbers_that_were_never_sent_count_for_nothing', () => {
  const sequence = sent(1)
  for (const n of [0, -1, 2, Number.NaN]) assert.equal(sequence.arrived(n), null)
  assert.deepEqual(counts(sequence), { sent: 1, received: 0, lost: 0, doubled: 0, refused: 0, waiting: 1 })
})
