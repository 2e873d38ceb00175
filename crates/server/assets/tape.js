/**
 * What the trace shows, by time: an electrocardiogram of the link. Knows the shapes, not the canvas.
 *
 * A beat is a question that was answered; a message is the small wave between two beats. The line has colour as long
 * as something was heard: what is dead is grey.
 */

/** @typedef {'alive' | 'quiet' | 'down'} Pulse heard from in time; open, but not heard from; not open */
/** @typedef {{ atMs: number, kind: 'beat' | 'message' | 'question' | 'note', label: string }} Mark a note is a line with words, and has no shape */
/** @typedef {{ fromMs: number, toMs: number, pulse: Pulse }} Stretch */

/** How long the tape is, in milliseconds, and how much it holds at most. */
const TAPE_MS = 30_000
const MARKS_MAX = 400

/** How long a shape takes, and how close the points are that draw it, in milliseconds. */
const SHAPE_MS = 420
const GRID_MS = 8
/** The height of a wave of very many messages. */
const WAVE_MAX = 0.6

/** How long after its event a beat is at its top. */
export const PEAK_MS = 90

/** @type {(t: number, centre: number, width: number) => number} */
const bump = (t, centre, width) => Math.exp(-(((t - centre) / width) ** 2))

/** Height over milliseconds since the event; 1 is the top of a beat. @type {Record<string, (t: number) => number>} */
const SHAPES = {
  beat: (t) => bump(t, PEAK_MS, 16) - 0.16 * bump(t, 50, 18) - 0.3 * bump(t, 138, 22),
  message: (t) => 0.26 * bump(t, 150, 62),
  question: (t) => -0.2 * bump(t, 60, 26),
}

export class Tape {
  constructor() {
    /** In the order of their time. @type {Mark[]} */
    this.marks = []
    /** From when on the pulse is what. @type {Array<{ atMs: number, pulse: Pulse }>} */
    this.pulses = [{ atMs: -Infinity, pulse: 'down' }]
  }

  /** @type {(atMs: number, kind: Mark['kind'], label?: string) => void} */
  mark(atMs, kind, label = '') {
    this.marks.push({ atMs, kind, label })
    const first = this.marks.findIndex((mark) => mark.atMs > atMs - TAPE_MS)
    this.marks.splice(0, Math.max(first, this.marks.length - MARKS_MAX))
  }

  /** @type {(atMs: number, pulse: Pulse) => void} */
  setPulse(atMs, pulse) {
    if (this.pulses[this.pulses.length - 1].pulse === pulse) return
    this.pulses.push({ atMs, pulse })
    while (this.pulses.length > 2 && this.pulses[1].atMs < atMs - TAPE_MS) this.pulses.shift()
  }

  /** Marks whose shape or words may show between two times. @type {(fromMs: number, toMs: number) => Mark[]} */
  between(fromMs, toMs) {
    return this.marks.filter(({ atMs }) => atMs > fromMs - SHAPE_MS && atMs <= toMs)
  }

  /** Stretches of one pulse each. @type {(fromMs: number, toMs: number) => Stretch[]} */
  stretches(fromMs, toMs) {
    return this.pulses
      .map(({ atMs, pulse }, i) => ({
        fromMs: Math.max(atMs, fromMs),
        toMs: Math.min(this.pulses[i + 1]?.atMs ?? toMs, toMs),
        pulse,
      }))
      .filter((stretch) => stretch.toMs > stretch.fromMs)
  }
}

/**
 * The line between two times, as points; what is left out is flat. The points stand on a grid of time, not of the
 * screen, so that a peak keeps its height while it moves.
 *
 * @param {Mark[]} marks in the order of their time
 * @param {number} fromMs
 * @param {number} toMs
 * @returns {Array<[atMs: number, height: number]>}
 */
export function points(marks, fromMs, toMs) {
  /** @type {Array<[number, number]>} */
  const line = [[fromMs, height(marks, fromMs)]]
  let atMs = fromMs
  for (const mark of marks) {
    if (!SHAPES[mark.kind]) continue
    const beginMs = Math.max(atMs, Math.ceil(mark.atMs / GRID_MS) * GRID_MS)
    const endMs = Math.min(mark.atMs + SHAPE_MS, toMs)
    for (atMs = beginMs; atMs < endMs; atMs += GRID_MS) line.push([atMs, height(marks, atMs)])
  }
  line.push([toMs, height(marks, toMs)])
  return line
}

/** @type {(marks: Mark[], atMs: number) => number} */
function height(marks, atMs) {
  let beats = 0
  let messages = 0
  for (const mark of marks) {
    const t = atMs - mark.atMs
    if (t <= 0) break
    if (t >= SHAPE_MS) continue
    const h = SHAPES[mark.kind]?.(t) ?? 0
    if (mark.kind === 'message') messages += h
    else beats += h
  }
  // Many messages at once make a taller wave, and never a beat.
  return beats + WAVE_MAX * (1 - Math.exp(-messages / WAVE_MAX))
}
