//! How long a close takes: until the close frame is answered, and until TCP ends.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::report::{Check, Verdict, millis, shown};
use super::session::{Session, within};
use super::socket::End;

/// What came of a goodbye.
#[derive(Default, Debug)]
struct Closing {
    /// When the close frame was answered.
    answered: Option<Duration>,
    /// When TCP ended.
    ended: Option<Duration>,
}

/// Closes in good order.
pub(super) async fn examine(mut session: Session, wait: Duration) -> Check {
    let begun = Instant::now();
    let mut closing = Closing::default();
    // What has happened by then is what is told.
    let _ = timeout(wait, close(&mut session, begun, &mut closing)).await;
    judged(&closing, wait)
}

async fn close(session: &mut Session, begun: Instant, closing: &mut Closing) {
    if session.close().await.is_err() {
        return;
    }
    loop {
        match session.next().await {
            Ok(_) => {}
            Err(End::CloseFrame { .. }) => closing.answered = Some(begun.elapsed()),
            Err(_) => {
                closing.ended = Some(begun.elapsed());
                return;
            }
        }
    }
}

fn judged(closing: &Closing, wait: Duration) -> Check {
    let check = |verdict, summary: String| {
        Check::new("close", verdict, summary)
            .fact("answered_ms", closing.answered.map(millis))
            .fact("ended_ms", closing.ended.map(millis))
    };
    match (closing.answered, closing.ended) {
        (Some(answered), Some(ended)) => check(
            Verdict::Ok,
            format!("answered in {}, TCP ended after {}", shown(answered), shown(ended)),
        ),
        (Some(answered), None) => check(
            Verdict::Note,
            format!("answered in {}, but TCP did not end {}", shown(answered), within(wait)),
        )
        .advise("The server leaves the connection open after the close: clients should drop their end themselves."),
        (None, Some(ended)) => check(
            Verdict::Note,
            format!("the close frame is not answered; TCP ended after {}", shown(ended)),
        ),
        (None, None) => check(
            Verdict::Warning,
            format!("the close frame is not answered {}", within(wait)),
        )
        .advise("A close is not answered: clients that wait for the close event hang (a browser for a minute, others for ever). They should drop the connection and go on."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_without_any_answer_is_a_warning() {
        let wait = Duration::from_secs(2);
        let some = Some(Duration::from_millis(3));
        let verdict = |answered, ended| judged(&Closing { answered, ended }, wait).verdict();
        assert_eq!(verdict(some, some), Verdict::Ok);
        assert_eq!(verdict(some, None), Verdict::Note);
        assert_eq!(verdict(None, some), Verdict::Note);
        assert_eq!(verdict(None, None), Verdict::Warning);
    }
}
