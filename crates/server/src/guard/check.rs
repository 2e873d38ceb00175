//! A check of the application's own.

use std::borrow::Cow;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use heartwire_hub::Grant;
use heartwire_proto::{Close, CloseCode};
use http::StatusCode;
use http::request::Parts;

use crate::api::HttpError;

/// How long a check may take; whoever waits longer is told to come back later.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How long somebody stays away whose check did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Decides who comes in and what they may do, for WebSockets, the HTTP API and event streams
/// alike. What takes long, such as asking a back end, is awaited; nobody else waits for it.
///
/// ```
/// use heartwire_server::{Check, CheckRequest, Grant, Hub, Refusal};
///
/// struct Sessions;
///
/// impl Check for Sessions {
///     async fn check(&self, request: CheckRequest<'_>) -> Result<Grant, Refusal> {
///         let user = request.parts.headers.get("x-user").and_then(|user| user.to_str().ok());
///         let user = user.ok_or_else(|| Refusal::unauthorized("sign in first"))?;
///         let own = format!("user:{user}").parse().map_err(Refusal::forbidden)?;
///         Ok(Grant::new(user).subscribe(own))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::builder().check(Sessions).open().await?;
/// # drop(hub);
/// # Ok(())
/// # }
/// ```
pub trait Check: Send + Sync + 'static {
    /// Who asks, and what may they do? For a v1 WebSocket it is asked when its `hello` has come, so
    /// that the token may stand there.
    fn check(
        &self,
        request: CheckRequest<'_>,
    ) -> impl Future<Output = Result<Grant, Refusal>> + Send;

    /// A living connection of `subject` shows a fresh token. The grant has to be of the same
    /// subject. Unless an application says otherwise, tokens cannot be renewed.
    fn renew(
        &self,
        subject: Option<&str>,
        token: &str,
    ) -> impl Future<Output = Result<Grant, Refusal>> + Send {
        let _ = (subject, token);
        ready(Err(Refusal::unauthorized("tokens cannot be renewed here")))
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct CheckRequest<'a> {
    /// The HTTP request: of the upgrade, or of the API.
    pub parts: &'a Parts,
    /// The token from the first frame, the `Authorization` header or the query, in this order.
    pub token: Option<&'a str>,
    /// Where it comes from.
    pub peer: Option<SocketAddr>,
}

/// Why somebody does not come in, as both a WebSocket and an HTTP request are told it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    kind: Kind,
    reason: Cow<'static, str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Unauthorized,
    Expired,
    Forbidden,
    Unavailable(Duration),
}

impl Refusal {
    /// Nobody knows who this is: 4001, or 401. A client does not come back by itself.
    pub fn unauthorized(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unauthorized, reason)
    }

    /// It was known, but not for ever: 4002, or 401. A client comes back with a fresh token.
    pub fn expired(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Expired, reason)
    }

    /// It is known, and may not: 4003, or 403. A client does not come back by itself.
    pub fn forbidden(reason: impl ToString) -> Self {
        Self::new(Kind::Forbidden, reason.to_string())
    }

    /// It cannot be found out at the moment: 4100, or 503, and when to come back.
    pub fn unavailable(reason: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::new(Kind::Unavailable(retry_after), reason)
    }

    fn new(kind: Kind, reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = reason.into();
        Self { kind, reason }
    }
}

impl From<Refusal> for Close {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.kind {
            Kind::Unauthorized => CloseCode::UNAUTHORIZED,
            Kind::Expired => CloseCode::TOKEN_EXPIRED,
            Kind::Forbidden => CloseCode::FORBIDDEN,
            Kind::Unavailable(delay) => {
                return Self::new(CloseCode::OVERLOADED, refusal.reason).retry_after(delay);
            }
        };
        Self::new(code, refusal.reason)
    }
}

impl From<Refusal> for HttpError {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal.kind {
            Kind::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Kind::Expired => (StatusCode::UNAUTHORIZED, "token-expired"),
            Kind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Kind::Unavailable(delay) => {
                return Self::unavailable("unavailable", refusal.reason, delay);
            }
        };
        Self::new(status, code, refusal.reason)
    }
}

/// What a check answers.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Grant, Refusal>> + Send + 'a>>;

/// A check whose type nobody knows. Its answers come in time.
pub(crate) trait AnyCheck: Send + Sync {
    fn check<'a>(&'a self, request: CheckRequest<'a>) -> Answer<'a>;
    fn renew<'a>(&'a self, subject: Option<&'a str>, token: &'a str) -> Answer<'a>;
}

impl<C: Check> AnyCheck for C {
    fn check<'a>(&'a self, request: CheckRequest<'a>) -> Answer<'a> {
        Box::pin(in_time(Check::check(self, request)))
    }

    fn renew<'a>(&'a self, subject: Option<&'a str>, token: &'a str) -> Answer<'a> {
        Box::pin(in_time(Check::renew(self, subject, token)))
    }
}

async fn in_time(
    answer: impl Future<Output = Result<Grant, Refusal>> + Send,
) -> Result<Grant, Refusal> {
    let answered = tokio::time::timeout(ANSWERED_WITHIN, answer).await;
    answered.unwrap_or_else(|_| {
        let reason = "it took too long to find out who this is";
        Err(Refusal::unavailable(reason, RETRY_AFTER))
    })
}

/// A check, shared and nameless.
#[derive(Clone)]
pub(crate) struct SharedCheck(pub(crate) Arc<dyn AnyCheck>);

impl std::fmt::Debug for SharedCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Check")
    }
}
