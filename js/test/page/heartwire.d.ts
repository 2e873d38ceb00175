// What the page imports from the server as `../heartwire.js`.
declare module '*/heartwire.js' {
  export const Heartwire: typeof import('../../src/index.js').Heartwire
  export const webPlatform: typeof import('../../src/index.js').webPlatform
  export type Heartwire = import('../../src/index.js').Heartwire
  export type Lost = import('../../src/link.js').Lost
  export type Ending = import('../../src/link.js').Ending
  export type GapEvent = import('../../src/heartwire.js').GapEvent
  export type Message = import('../../src/subscription.js').Message
  export type Welcome = import('../../src/frames.js').Welcome
  export type Platform = import('../../src/platform.js').Platform
  export type Signal = import('../../src/platform.js').Signal
  export type Socket = import('../../src/platform.js').Socket
  export type SocketEvents = import('../../src/platform.js').SocketEvents
  export type DialRequest = import('../../src/platform.js').DialRequest
  export type CloseInfo = import('../../src/platform.js').CloseInfo
  export type Payload = import('../../src/frames.js').Payload
}
