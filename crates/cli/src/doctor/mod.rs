//! `heartwire doctor`: looks at a real path, stretch by stretch, and says what to set.
//!
//! ```text
//!   dns ─► tcp ─► tls ─► upgrade ─► subprotocol ─► welcome (v1)      one connection, which is
//!                                                     │              needed for all that follows
//!        ┌────────────────────────────────────────────┘
//!        ▼
//!   text_ping ─► protocol_ping ─► round_trip ─► close                questions on it
//!        │
//!        ├─► largest_message                                         connections that may break
//!        └─► idle, heartbeat (v1)                                    connections that are watched
//! ```
//!
//! The steps stand on tokio-tungstenite as the client does, and not on the client's `Link`: a link
//! heals what is to be seen here. Nothing that it sends changes anything on the server, unless the
//! user asks for it.

mod certificate;
mod closing;
mod endpoint;
mod idle;
mod largest;
mod opening;
mod pings;
mod reach;
mod report;
mod session;
mod silence;
mod socket;
mod tls;
mod upgrade;

use std::ops::ControlFlow;
use std::time::Duration;

use clap::Args;
use heartwire_proto::frame::Welcome;
use heartwire_proto::id::{Token, TopicName};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::failure::Failure;
use crate::signals::Stop;
use crate::size::Size;
use crate::span::Span;
use crate::url;
use endpoint::Endpoint;
use largest::Way;
use pings::Asked;
use report::{Check, Report, Verdict};
use session::{Path, Question, Session};
use socket::Wire;
use tls::Tls;
use upgrade::Request;

/// The largest message that is tried with `--echo`, in bytes, unless the user names one: what
/// servers commonly take.
const ECHO_BYTES_MAX: u64 = 1 << 20;

/// Check the path to a WebSocket server, and say what to set
///
/// Looks at name resolution, TCP, TLS, the upgrade and its subprotocol, pings and round trips, the
/// close, the largest message, and at what becomes of idle connections, for which it waits as long
/// as --patience says. Works with every WebSocket server, Heartwire or not, and publishes nothing
/// unless --publish-to or --echo allow it.
///
/// Exits with 0 when nothing is wrong, with 1 when a check has failed, with 2 for wrong usage.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DoctorArgs {
    /// The server: ws://HOST/PATH, wss://HOST/PATH, or HOST:PORT for a Heartwire server.
    url: String,
    /// Do not offer heartwire.v1.
    #[arg(long, env = "HEARTWIRE_DOCTOR_PLAIN")]
    plain: bool,
    /// The text that asks a plain server for life.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "ping",
        env = "HEARTWIRE_DOCTOR_PING"
    )]
    ping: String,
    /// The text that answers it.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "pong",
        env = "HEARTWIRE_DOCTOR_PONG"
    )]
    pong: String,
    /// Send no text to a plain server.
    #[arg(long, env = "HEARTWIRE_DOCTOR_NO_TEXT_PING")]
    no_text_ping: bool,
    /// A header for the upgrade request, such as "Origin: https://example.org".
    #[arg(
        long = "header",
        value_name = "NAME: VALUE",
        value_parser = upgrade::parse_header,
        env = "HEARTWIRE_DOCTOR_HEADER",
        hide_env_values = true
    )]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The token to present, as Authorization: Bearer and in hello.
    #[arg(long, env = "HEARTWIRE_DOCTOR_TOKEN", hide_env_values = true, value_parser = token)]
    token: Option<Token>,
    /// Find the largest message by publishing to this topic; the messages stay in it.
    #[arg(long, value_name = "TOPIC", env = "HEARTWIRE_DOCTOR_PUBLISH_TO")]
    publish_to: Option<TopicName>,
    /// The server sends back what it gets: messages may be sent to find the largest.
    #[arg(long, conflicts_with = "publish_to", env = "HEARTWIRE_DOCTOR_ECHO")]
    echo: bool,
    /// The largest message to try; without it, what the server says that it takes.
    #[arg(long, value_name = "BYTES", env = "HEARTWIRE_DOCTOR_MESSAGE_BYTES_MAX")]
    message_bytes_max: Option<Size>,
    /// How long to stay silent; 0s skips it. Proxies commonly cut after 60 s.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "70s",
        env = "HEARTWIRE_DOCTOR_PATIENCE"
    )]
    patience: Span,
    /// How long each answer may take.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        env = "HEARTWIRE_DOCTOR_TIMEOUT"
    )]
    timeout: Span,
    /// Print one JSON object at the end.
    #[arg(long, env = "HEARTWIRE_DOCTOR_JSON")]
    json: bool,
}

#[allow(clippy::unnecessary_wraps, reason = "the signature that clap asks for")]
fn token(text: &str) -> Result<Token, std::convert::Infallible> {
    Ok(Token::new(text))
}

/// Examines the path and reports.
pub(crate) async fn run(args: DoctorArgs) -> Result<(), Failure> {
    let endpoint = Endpoint::parse(&url::of_any_server(&args.url)).map_err(Failure::usage)?;
    if args.timeout.0.is_zero() {
        return Err(Failure::usage("--timeout has to be longer than 0s"));
    }
    let mut report = Report::new(endpoint.shown(), args.json);
    let headers = headers(&args)?;
    let request = Request { endpoint, headers };
    if let Some((path, wire)) = reach(&args, request, &mut report).await? {
        let mut examination = Examination {
            args: &args,
            path,
            session: None,
            report: &mut report,
        };
        examination.run(wire).await?;
    }
    report.finish()
}

fn headers(args: &DoctorArgs) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in &args.headers {
        headers.append(name, value.clone());
    }
    if let Some(token) = &args.token {
        let value = HeaderValue::try_from(format!("Bearer {}", token.as_str()));
        let mut value = value.map_err(|_| Failure::usage("--token holds what no header may"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// Up to where HTTP begins.
async fn reach(
    args: &DoctorArgs,
    request: Request,
    report: &mut Report,
) -> Result<Option<(Path, Box<dyn Wire>)>, Failure> {
    let (endpoint, wait) = (&request.endpoint, args.timeout.0);
    let Some(addresses) = report.take(reach::resolve(endpoint, wait).await)? else {
        return Ok(None);
    };
    let Some((address, tcp)) = report.take(reach::connect(&addresses, wait).await)? else {
        return Ok(None);
    };
    let mut path = Path {
        address,
        tls: None,
        token: args.token.clone(),
        v1: !args.plain,
        wait,
        request,
    };
    if !path.request.endpoint.secure {
        return Ok(Some((path, Box::new(tcp))));
    }
    let tls = match Tls::of_platform().await {
        Ok(tls) => tls,
        Err(error) => {
            report.add(Check::new("tls", Verdict::Failed, error).advise(
                "This machine has no trust store to check certificates by: install its CA certificates.",
            ))?;
            return Ok(None);
        }
    };
    let host = &path.request.endpoint.host;
    let Some(stream) = report.take(tls.examine(host, tcp, wait).await)? else {
        return Ok(None);
    };
    path.tls = Some(tls);
    Ok(Some((path, Box::new(stream))))
}

/// The checks from the upgrade on.
struct Examination<'a> {
    args: &'a DoctorArgs,
    path: Path,
    /// The connection on which questions are asked, while there is one.
    session: Option<Session>,
    report: &'a mut Report,
}

impl Examination<'_> {
    async fn run(&mut self, wire: Box<dyn Wire>) -> Result<(), Failure> {
        let offered = self.path.v1;
        let opened = opening::upgrade(&mut self.path, wire).await;
        let Some(session) = self.report.take(opened)? else {
            return Ok(());
        };
        self.report
            .add(opening::subprotocol(offered, self.path.v1))?;
        self.session = Some(session);
        let ControlFlow::Continue(welcome) = self.welcome().await? else {
            return Ok(());
        };
        let question = self.pings().await?;
        if let Some(question) = &question {
            self.round_trips(question).await?;
        }
        if let Some(session) = self.session.take() {
            self.report
                .add(closing::examine(session, self.path.wait).await)?;
        }
        let largest = self.largest(welcome.as_ref()).await;
        self.report.add(largest)?;
        self.silence(question.as_ref(), welcome.as_ref()).await
    }

    /// The server's welcome, in v1; the path ends where it should have come and did not.
    async fn welcome(&mut self) -> Result<ControlFlow<(), Option<Welcome>>, Failure> {
        let (true, Some(session)) = (self.path.v1, &mut self.session) else {
            return Ok(ControlFlow::Continue(None));
        };
        let welcomed = opening::welcome(&self.path, session).await;
        Ok(match self.report.take(welcomed)? {
            Some(welcome) => ControlFlow::Continue(Some(welcome)),
            None => ControlFlow::Break(()),
        })
    }

    /// Asks in both ways; returns the question to ask from here on.
    async fn pings(&mut self) -> Result<Option<Question>, Failure> {
        let wait = self.path.wait;
        let mut by_text = None;
        if self.path.v1 {
            by_text = self
                .ask(async |session| pings::v1(session, wait).await)
                .await?;
        } else if self.args.no_text_ping {
            let why = "--no-text-ping";
            self.report
                .add(Check::new("text_ping", Verdict::Skipped, why))?;
        } else {
            let (ping, pong) = (&self.args.ping, &self.args.pong);
            by_text = self
                .ask(async |session| pings::text(session, ping, pong, wait).await)
                .await?;
        }
        let only = by_text.is_none();
        let by_protocol = self
            .ask(async |session| pings::protocol(session, only, wait).await)
            .await?;
        // A WebSocket Ping reaches no application, so it is the more harmless of the two; the
        // question of v1 is what its heartbeat will ask.
        let preferred = if self.path.v1 {
            by_text.or(by_protocol)
        } else {
            by_protocol.or(by_text)
        };
        Ok(preferred)
    }

    /// Asks on the connection at hand, or on a new one when the last question has ended it.
    async fn ask(
        &mut self,
        question: impl AsyncFnOnce(&mut Session) -> Asked,
    ) -> Result<Option<Question>, Failure> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => match self.path.open().await {
                Ok(session) => session,
                Err(error) => {
                    let what = format!("no further connection: {error}");
                    self.report
                        .add(Check::new("connection", Verdict::Failed, what))?;
                    return Ok(None);
                }
            },
        };
        let asked = question(&mut session).await;
        if !asked.ended {
            self.session = Some(session);
        }
        self.report.add(asked.check)?;
        Ok(asked.works)
    }

    async fn round_trips(&mut self, question: &Question) -> Result<(), Failure> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let wait = self.path.wait;
        let check = match pings::round_trips(session, question, wait).await {
            Ok(check) => check,
            Err(reply) => {
                self.session = None;
                pings::no_round_trips(&reply, wait)
            }
        };
        self.report.add(check)
    }

    async fn largest(&self, welcome: Option<&Welcome>) -> Check {
        let (way, limit) = match (welcome, &self.args.publish_to) {
            (Some(welcome), Some(topic)) => (
                Way::Published(topic.clone()),
                Some(welcome.limits.message_bytes_max),
            ),
            (Some(welcome), None) => (Way::Refused, Some(welcome.limits.message_bytes_max)),
            (None, _) if self.args.echo => (Way::Echoed, None),
            (None, _) => return largest::skipped(),
        };
        let asked = self.args.message_bytes_max.map(|size| size.0);
        let bytes_max = asked.or(limit).unwrap_or(ECHO_BYTES_MAX);
        let limit = limit.map(|limit| limit.min(bytes_max));
        largest::examine(&self.path, &way, bytes_max, limit).await
    }

    /// Waits, which the user can cut short.
    async fn silence(
        &mut self,
        question: Option<&Question>,
        welcome: Option<&Welcome>,
    ) -> Result<(), Failure> {
        let patience = self.args.patience.0;
        if patience.is_zero() {
            return self
                .report
                .add(Check::new("idle", Verdict::Skipped, "--patience 0s"));
        }
        let mut stop = Stop::on_signals()?;
        let path = &self.path;
        let watched = async {
            tokio::join!(silence::watch(path, question, patience), async {
                match welcome {
                    Some(welcome) => Some(silence::heartbeat(path, welcome, patience).await),
                    None => None,
                }
            })
        };
        let (seen, heartbeat) = tokio::select! {
            watched = watched => watched,
            () = stop.asked() => {
                return self.report.add(Check::new("idle", Verdict::Skipped, "interrupted"));
            }
        };
        if let Some(heartbeat) = heartbeat {
            self.report.add(heartbeat)?;
        }
        let interval = welcome.map(|welcome| Duration::from_millis(welcome.heartbeat.interval_ms));
        self.report.add(idle::judge(&seen, interval))
    }
}
