//! Close codes: how each end says why a connection ends, and what the client makes of it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// A WebSocket close code (RFC 6455 section 7.4, and 4000–4999 of PROTOCOL.md, "Close codes").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The peer is going away.
    pub const GOING_AWAY: Self = Self(1001);
    /// A close frame without a code; never written, RFC 6455 reserves it for that.
    pub const NO_STATUS: Self = Self(1005);
    /// The peer broke RFC 6455.
    pub const WEBSOCKET_PROTOCOL: Self = Self(1002);
    /// A text message was not UTF-8.
    pub const INVALID_TEXT: Self = Self(1007);
    /// A message was larger than the hard cap.
    pub const TOO_LARGE: Self = Self(1009);
    /// The server met a condition it cannot work under.
    pub const INTERNAL: Self = Self(1011);
    /// A frame broke a rule of `heartwire.v1`; the reason names the rule.
    pub const PROTOCOL: Self = Self(4000);
    /// The token is missing or not valid.
    pub const UNAUTHORIZED: Self = Self(4001);
    /// The token was valid and has run out.
    pub const TOKEN_EXPIRED: Self = Self(4002);
    /// The identity may not do this.
    pub const FORBIDDEN: Self = Self(4003);
    /// A newer connection of the same client took over, or this one came late.
    pub const TAKEN_OVER: Self = Self(4009);
    /// The server is at a limit.
    pub const OVERLOADED: Self = Self(4100);
    /// This client sent too much.
    pub const RATE_LIMITED: Self = Self(4102);
    /// Nothing was heard for interval + timeout.
    pub const HEARTBEAT_TIMEOUT: Self = Self(4200);
    /// The server is being stopped.
    pub const DRAINING: Self = Self(4201);
    /// An operator closed the connection.
    pub const CLOSED_BY_OPERATOR: Self = Self(4202);

    /// The name that logs, metrics and `bye` use; `None` for codes without one of our own.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NORMAL => "normal",
            Self::GOING_AWAY => "going-away",
            Self::WEBSOCKET_PROTOCOL => "websocket-protocol",
            Self::INVALID_TEXT => "invalid-text",
            Self::TOO_LARGE => "too-large",
            Self::INTERNAL => "internal",
            Self::PROTOCOL => "protocol-error",
            Self::UNAUTHORIZED => "unauthorized",
            Self::TOKEN_EXPIRED => "token-expired",
            Self::FORBIDDEN => "forbidden",
            Self::TAKEN_OVER => "taken-over",
            Self::OVERLOADED => "overloaded",
            Self::RATE_LIMITED => "rate-limited",
            Self::HEARTBEAT_TIMEOUT => "heartbeat-timeout",
            Self::DRAINING => "draining",
            Self::CLOSED_BY_OPERATOR => "closed-by-operator",
            _ => return None,
        })
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A decision to end a connection: the code, how long the client stays away, and why.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Close {
    /// What the close frame says.
    pub code: CloseCode,
    /// How long the client is asked to stay away, if the server has an opinion.
    pub retry: Option<Duration>,
    /// For people: which rule was broken, or what happened. At most 123 bytes reach the wire.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// A close without a delay.
    pub fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            retry: None,
            reason: reason.into(),
        }
    }

    /// The peer broke a rule of the protocol; the reason names the rule.
    pub fn protocol(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(CloseCode::PROTOCOL, reason)
    }

    /// The same close, asking the client to stay away for `delay`.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry = Some(delay);
        self
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}
