/** A frame that breaks a rule; its message is the id of the rule in PROTOCOL.md. */
export class FrameError extends Error {}

/** The server broke a rule. @type {(rule: string) => never} */
export const breach = (rule) => {
  throw new FrameError(rule)
}

/**
 * An error of the link's, as `publish` rejects with, and as the event `error` brings.
 *
 * | code | what happened |
 * |---|---|
 * | `closed` | the link is closed, or closing |
 * | `outbox-full` | as much waits for the server as may; try again when something is stored |
 * | `too-large` | the message is larger than the server takes |
 * | `bad-topic` | the name is none, or belongs to the server |
 * | `bad-cursor` | the beginning is neither `tail`, `head`, `last N` nor a cursor |
 * | `forbidden` | the server does not let this identity publish to, or follow, the topic |
 * | `limit` | as many topics are followed as may be |
 * | `invalid-text` | the server does not take the text |
 * | `in-doubt` | stored or not, nobody knows any more: it was not answered for 23 h, or another process has the same client id |
 * | `wrong-mode` | the method belongs to the other mode |
 */
export class HeartwireError extends Error {
  /**
   * @param {string} code
   * @param {string} about the topic, or what else it is about
   */
  constructor(code, about) {
    super(`${code}: ${about}`)
    this.name = 'HeartwireError'
    this.code = code
    this.about = about
  }
}

/** The application cannot have its way. @type {(code: string, about: string) => never} */
export const refuse = (code, about) => {
  throw new HeartwireError(code, about)
}
