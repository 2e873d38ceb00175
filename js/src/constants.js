/**
 * Every bound, default, code and state of the client that is a number, in one place. This file imports nothing, which
 * lets bundlers write the numbers where they are used.
 */

// Close codes. [CLOSE-1]

export const NORMAL = 1000
/** No close frame came. */
export const ABNORMAL = 1006
export const PROTOCOL = 4000
export const UNAUTHORIZED = 4001
export const TOKEN_EXPIRED = 4002
export const FORBIDDEN = 4003
export const TAKEN_OVER = 4009
export const OVERLOADED = 4100
export const RATE_LIMITED = 4102

// Dialling.

/** One attempt, from asking for the token to `welcome` [RETRY-6]; browsers hold some dials back by up to 5 s. */
export const ATTEMPT_TIMEOUT_MS = 10_000
/** How long an attempt that was under way at a wake-up may still take: its packets may have gone nowhere. */
export const ATTEMPT_AFTER_WAKE_MS = 3_000
/** Attempts of one outage. [RETRY-4] */
export const ATTEMPTS_MAX = 12
/** The first dial of an outage comes within this time. [RETRY-2] */
export const FIRST_MAX_MS = 3_000
/** Later dials come after a draw between these two; the upper one doubles from the unit up to the cap. [RETRY-3] */
export const DELAY_MIN_MS = 300
export const DELAY_UNIT_MS = 1_000
export const DELAY_MAX_MS = 30_000
export const FIXED_MIN_MS = 100
/** The longest time that a server can send a client away. */
export const NAMED_MAX_MS = 3_600_000
/** How often a suspended link tries by itself, give or take a half. */
export const WAKE_EVERY_MS = 300_000
/** The least time to stay away from a server that is overloaded. */
export const OVERLOADED_MS = 1_000
/** A connection that has been open for so long starts the count of attempts again. [RETRY-5] */
export const STABLE_MS = 5_000
/** So many connections in a row that end because a rule was broken end the link. */
export const BROKEN_MAX = 3
/** How long `close` lets the outbox empty itself. */
export const FLUSH_MS = 5_000
/** How long a clean close may take in Node before the socket is dropped. */
export const CLOSE_MS = 2_000

// Life and death of a connection.

/** Plain mode asks so often, and waits so long; in v1 the server says both. */
export const INTERVAL_MS = 10_000
export const TIMEOUT_MS = 10_000
/** What a server may say. [LIVE-8] */
export const INTERVAL_MIN_MS = 1_000
export const INTERVAL_MAX_MS = 3_600_000
/** What a hidden page asks for. */
export const BACKGROUND_INTERVAL_MS = 60_000
/** The time for the answer when the link looks at once; a slow one is given so many round trips. [LIVE-6] */
export const PROBE_MS = 3_000
export const ROUND_TRIPS = 4
/** How late a deadline may fire before the page counts as paused. */
export const LATE_MS = 500
/** The extra time for an answer that a paused page found overdue. */
export const GRACE_MS = 1_000
/** How often the clocks are compared, and what they may differ by. */
export const TICK_MS = 2_000
export const JUMP_MS = 3_000
/** How long a due timer waits for messages that have arrived and stand in the event loop. */
export const LOOK_MS = 20

// Frames.

export const HEADER_BYTES_MAX = 512
export const JSON_BYTES_MAX = 16 << 10

// Following.

/** What the application wants of a topic. */
export const FOLLOW = 0
/** It is slow, and will come back to it; or it does not know yet where to begin. */
export const PAUSE = 1
export const LEAVE = 2

/** Where a topic stands on the connection: the server does not send it. */
export const OFF = 0
/** `sub` has been sent. */
export const ASKED = 1
/** The server sends it. */
export const ON = 2
/** `unsub` has been sent. */
export const LEAVING = 3

/** As many as servers allow by default. */
export const TOPICS_MAX = 1_000
/** How often in a row a topic may show a hole before the server is taken to be broken. */
export const HOLES_MAX = 8
/** An iterator that has so many messages waiting pauses its topic; it goes on when a quarter is left. */
export const QUEUE_MAX = 256

// Publishing.

/** What waits for the server at most. */
export const OUTBOX_MESSAGES_MAX = 4_096
export const OUTBOX_BYTES_MAX = 16 << 20
/** What may be unanswered, unless the server says otherwise, and in any case: nothing stands behind much. */
export const UNACKED_MAX = 1_024
export const WINDOW_BYTES = 256 << 10
/** How long servers remember who published, less an hour, as two clocks are at work: an older publish may be stored already. [HELLO-10] */
export const PRODUCER_MEMORY_MS = 23 * 3_600_000
/** A publish that waits so long makes the client ask, or for some round trips on a slow link. [PUB-11] */
export const ASK_MS = 2_000
/** What is in flight is given time at this rate, before its answer, or that of a ping behind it, is missed. */
export const SLOW_BYTES_PER_SECOND = 16 << 10
/** The drop-in for WebSocket keeps so much for the next connection. */
export const BUFFER_BYTES_MAX = 1 << 20

/** For what is not going to happen. */
export const NEVER = Infinity
