/** Draws a tape on a canvas, moving left with time; in steps of a second for those who asked for less motion. */

import { PEAK_MS, points } from './tape.js'

/** @typedef {import('./tape.js').Tape} Tape */

/**
 * @typedef {object} View what one picture shows
 * @property {number} fromMs
 * @property {number} toMs
 * @property {import('./tape.js').Mark[]} marks
 * @property {(atMs: number) => number} x of a time
 * @property {(height: number) => number} y of a height, 1 being the top of a beat
 */

/** How much time is on the screen: as much as fits at this speed, within bounds. */
const PX_PER_S = 72
const SPAN_S_MIN = 5
const SPAN_S_MAX = 18

/** Where the beating point stands, left of the edge, in CSS pixels. */
const EDGE_PX = 18
/** Room above the line for round-trip times, and below it for notes. */
const TOP_PX = 34
const BOTTOM_PX = 46
const CALM_STEP_MS = 1_000

/** How far the rows of notes are apart. */
const ROW_PX = 15

export class Trace {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Tape} tape
   */
  constructor(canvas, tape) {
    this.canvas = canvas
    this.tape = tape
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'))
    this.calm = matchMedia('(prefers-reduced-motion: reduce)')
    this.font = `11px ${getComputedStyle(canvas).fontFamily}`
    this.width = this.height = 0
    this.drawnMs = -Infinity
    this.colours = this.readColours()
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      this.colours = this.readColours()
      this.drawnMs = -Infinity
    })
    new ResizeObserver(() => this.resize()).observe(canvas)
    this.resize()
  }

  readColours() {
    const style = getComputedStyle(this.canvas)
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim()
    return { life: colour('--life'), soft: colour('--soft'), line: colour('--line'), faint: colour('--faint') }
  }

  resize() {
    const { canvas } = this
    const ratio = Math.min(devicePixelRatio || 1, 3)
    this.width = canvas.clientWidth
    this.height = canvas.clientHeight
    canvas.width = Math.round(this.width * ratio)
    canvas.height = Math.round(this.height * ratio)
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0)
    this.drawnMs = -Infinity
  }

  /** @param {number} nowMs */
  draw(nowMs) {
    if (this.calm.matches && nowMs - this.drawnMs < CALM_STEP_MS) return
    this.drawnMs = nowMs
    const { context, width, height: full } = this
    const spanMs = 1_000 * Math.min(SPAN_S_MAX, Math.max(SPAN_S_MIN, width / PX_PER_S))
    const perMs = (width - EDGE_PX) / spanMs
    /** @type {View} */
    const view = {
      fromMs: nowMs - spanMs,
      toMs: nowMs,
      marks: this.tape.between(nowMs - spanMs, nowMs),
      x: (atMs) => width - EDGE_PX - (nowMs - atMs) * perMs,
      y: (h) => TOP_PX + (full - TOP_PX - BOTTOM_PX) * (0.78 - 0.78 * h),
    }
    context.clearRect(0, 0, width, full)
    context.font = this.font
    this.seconds(view)
    this.notes(view)
    for (const stretch of this.tape.stretches(view.fromMs, view.toMs)) this.line(view, stretch)
    this.roundTrips(view)
    this.point(view)
  }

  /** One faint line a second. @param {View} view */
  seconds({ fromMs, toMs, x }) {
    const { context, colours } = this
    context.fillStyle = colours.faint
    for (let atMs = Math.ceil(fromMs / 1_000) * 1_000; atMs <= toMs; atMs += 1_000) {
      context.fillRect(Math.round(x(atMs)), 0, 1, this.height)
    }
  }

  /** @type {(view: View, stretch: import('./tape.js').Stretch) => void} */
  line(view, { fromMs, toMs, pulse }) {
    const { context, colours } = this
    context.beginPath()
    for (const [atMs, h] of points(view.marks, fromMs, toMs)) context.lineTo(view.x(atMs), view.y(h))
    context.strokeStyle = pulse === 'alive' ? colours.life : colours.soft
    context.lineWidth = pulse === 'alive' ? 2.25 : 1.5
    context.lineJoin = 'round'
    context.setLineDash(pulse === 'down' ? [2, 5] : [])
    context.stroke()
    context.setLineDash([])
  }

  /** The round-trip time above each beat. @param {View} view */
  roundTrips({ marks, x, y, fromMs }) {
    const { context, colours } = this
    context.fillStyle = colours.soft
    context.textAlign = 'center'
    for (const { atMs, kind, label } of marks) {
      if (kind !== 'beat' || atMs < fromMs) continue
      const half = context.measureText(label).width / 2
      context.fillText(label, Math.min(x(atMs + PEAK_MS), this.width - half - 4), y(1) - 10)
    }
  }

  /** What happened, as words beside a vertical line, in rows so that they do not cover each other. @param {View} view */
  notes({ marks, x }) {
    const { context, colours } = this
    const ends = [-Infinity, -Infinity, -Infinity]
    for (const { atMs, kind, label } of marks) {
      if (kind !== 'note') continue
      const at = Math.round(x(atMs))
      const width = context.measureText(label).width
      const from = Math.min(at + 5, this.width - width - 2)
      const row = Math.max(0, ends.findIndex((end) => end < from))
      ends[row] = from + width + 8
      context.fillStyle = colours.line
      context.fillRect(at, 0, 1, this.height)
      context.fillStyle = colours.soft
      context.textAlign = 'left'
      context.fillText(label, from, this.height - 9 - ROW_PX * row)
    }
  }

  /** Where the line is being written. @param {View} view */
  point({ x, y, toMs, marks }) {
    const { context, colours } = this
    const pulse = this.tape.pulses[this.tape.pulses.length - 1].pulse
    context.beginPath()
    const [[, h]] = points(marks, toMs, toMs)
    context.arc(x(toMs), y(h), pulse === 'alive' ? 4 : 3, 0, 2 * Math.PI)
    context.fillStyle = pulse === 'alive' ? colours.life : colours.soft
    context.fill()
  }
}
