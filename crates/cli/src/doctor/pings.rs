//! Whether the other end answers when it is asked for life, by which question, and how fast.

use std::time::Duration;

use super::report::{Check, Verdict, millis, shown};
use super::session::{Question, Reply, Session, within};

/// How many round trips are measured.
const ROUND_TRIPS: usize = 10;

/// A question and what came of it.
pub(super) struct Asked {
    pub(super) check: Check,
    /// The question, if it is one that this server answers.
    pub(super) works: Option<Question>,
    /// Whether the connection has gone.
    pub(super) ended: bool,
}

/// The question of v1, `ping ID`.
pub(super) async fn v1(session: &mut Session, wait: Duration) -> Asked {
    const NAME: &str = "text_ping";
    let question = Question::V1;
    let reply = session.ask(&question, wait).await;
    if let Reply::After(took) = reply {
        let check = answered(NAME, "ping is answered by pong", took);
        return Asked::works(check, question);
    }
    let check = Check::new(NAME, Verdict::Failed, told(&reply, wait))
        .fact("answered", false)
        .advise("The server does not answer the ping of heartwire.v1: messages do not pass in one direction, or the server hangs.");
    Asked::fails(check, &reply)
}

/// A text question of a plain connection. Plain servers need not know it.
pub(super) async fn text(session: &mut Session, ping: &str, pong: &str, wait: Duration) -> Asked {
    const NAME: &str = "text_ping";
    let question = Question::Text {
        ping: ping.to_owned(),
        pong: pong.to_owned(),
    };
    match session.ask(&question, wait).await {
        Reply::After(took) => {
            let what = format!("{ping:?} is answered by {pong:?}");
            Asked::works(answered(NAME, &what, took), question)
        }
        Reply::Echo => {
            let check = Check::new(NAME, Verdict::Note, format_args!("{ping:?} comes back as it is"))
                .fact("answered", true)
                .fact("echo", true)
                .advise(format_args!(
                    "The server sends texts back: a client in plain mode may take {ping:?} itself for the answer (--pong {ping})."
                ));
            let question = Question::Text {
                ping: ping.to_owned(),
                pong: ping.to_owned(),
            };
            Asked::works(check, question)
        }
        reply @ Reply::Ended(_) => {
            let check = Check::new(NAME, Verdict::Warning, told(&reply, wait))
                .fact("answered", false)
                .advise(format_args!(
                    "The server closes the connection over the text {ping:?}: ask it by a text that it knows (--ping, --pong), or not by text (--no-text-ping)."
                ));
            Asked::fails(check, &reply)
        }
        Reply::Silence => {
            let check = Check::new(NAME, Verdict::Note, told(&Reply::Silence, wait))
                .fact("answered", false)
                .advise(format_args!(
                    "The server does not answer the text {ping:?}. A page in a browser cannot send WebSocket Pings, so it needs a text that this server answers (--ping, --pong), or messages that the server sends by itself."
                ));
            Asked::fails(check, &Reply::Silence)
        }
    }
}

/// A WebSocket Ping, which every server has to answer `[WS-9]`. `only` says that nothing else has
/// been answered.
pub(super) async fn protocol(session: &mut Session, only: bool, wait: Duration) -> Asked {
    const NAME: &str = "protocol_ping";
    let question = Question::Protocol;
    let reply = session.ask(&question, wait).await;
    if let Reply::After(took) = reply {
        let check = answered(NAME, "a WebSocket Ping is answered by a Pong", took);
        return Asked::works(check, question);
    }
    let verdict = if only {
        Verdict::Failed
    } else {
        Verdict::Warning
    };
    let check = Check::new(NAME, verdict, told(&reply, wait)).fact("answered", false);
    let check = if only {
        check.advise("The server answers no question, so a dead connection looks like a quiet one: find a text that it answers (--ping, --pong), or make it answer WebSocket Pings, as RFC 6455 asks.")
    } else {
        check.advise("The server, or a proxy, does not answer WebSocket Pings, as RFC 6455 asks: clients have to ask by text.")
    };
    Asked::fails(check, &reply)
}

/// Several round trips, one after the other.
pub(super) async fn round_trips(
    session: &mut Session,
    question: &Question,
    wait: Duration,
) -> Result<Check, Reply> {
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        match session.ask(question, wait).await {
            Reply::After(took) => times.push(took),
            reply => return Err(reply),
        }
    }
    times.sort_unstable();
    let (min, median, max) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    let summary = format!(
        "{} least, {} median, {} most, of {ROUND_TRIPS}",
        shown(min),
        shown(median),
        shown(max)
    );
    Ok(Check::new("round_trip", Verdict::Ok, summary)
        .fact("min_ms", millis(min))
        .fact("median_ms", millis(median))
        .fact("max_ms", millis(max)))
}

/// Round trips that broke off.
pub(super) fn no_round_trips(reply: &Reply, wait: Duration) -> Check {
    Check::new("round_trip", Verdict::Failed, told(reply, wait)).advise(
        "A question that was answered before is not answered again: the path, or the server, stalls.",
    )
}

fn answered(name: &'static str, what: &str, took: Duration) -> Check {
    Check::new(name, Verdict::Ok, format_args!("{what} in {}", shown(took)))
        .fact("answered", true)
        .fact("took_ms", millis(took))
}

fn told(reply: &Reply, wait: Duration) -> String {
    match reply {
        Reply::Ended(end) => format!("answered by {end}"),
        _ => format!("no answer {}", within(wait)),
    }
}

impl Asked {
    fn works(check: Check, question: Question) -> Self {
        Self {
            check,
            works: Some(question),
            ended: false,
        }
    }

    fn fails(check: Check, reply: &Reply) -> Self {
        Self {
            check,
            works: None,
            ended: matches!(reply, Reply::Ended(_)),
        }
    }
}
