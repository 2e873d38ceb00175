//! What is told of a connection: to whoever asks while it lives, and for good when it has ended.

use std::io;

use heartwire_hub::Reason;
use heartwire_proto::{CloseCode, Time};

use super::Conn;
use super::output::Output;
use super::task::Turn;
use crate::ended::{Account, Ending};
use crate::metrics::{Over, Weight};
use crate::shared::Shared;
use crate::sync::lock;

impl Conn {
    /// What is known of it at the moment.
    pub(crate) fn account(&self) -> Account {
        let output = lock(&self.output);
        let ending = output.connection.ended().cloned().map(Ending::Closed);
        self.account_of(&output, ending)
    }

    /// The same for somebody who holds the connection.
    fn account_of(&self, output: &Output, ending: Option<Ending>) -> Account {
        let connection = &output.connection;
        let hub = self.shared.lock_hub();
        let at = self.shared.clock.time();
        let departing = connection.key().and_then(|key| hub.departing(key, at));
        let (info, followed) = departing.unzip();
        let mut account = Account {
            mode: self.mode,
            opened_at: at,
            info,
            followed: followed.unwrap_or_default(),
            life: connection.life(),
            at,
            ending,
        };
        account.opened_at = self.opened_at(account.joined_at().unwrap_or(at));
        account
    }

    /// When the request was upgraded, by a moment less than 49 days later. A connection says `hello`
    /// or is closed within seconds, so there always is one.
    const fn opened_at(&self, later: Time) -> Time {
        let later_ms = later.as_millis();
        let span_ms = (later_ms as u32).wrapping_sub(self.opened_ms);
        Time::from_millis(later_ms.saturating_sub(span_ms as u64))
    }

    /// The connection is over: it is counted, logged and remembered. It must not have left the hub
    /// yet. Returns why it is.
    pub(super) fn bury(&self, output: &Output, turn: Turn) -> Reason {
        let ending = match (output.connection.ended(), turn) {
            (Some(end), _) => Ending::Closed(end.clone()),
            (None, Turn::Broken(kind)) => Ending::Broken(broken(kind)),
            (None, Turn::Abandon) => Ending::Dropped,
            (None, _) => Ending::HungUp,
        };
        let account = self.account_of(output, Some(ending.clone()));
        count(&self.shared, &ending);
        tracing::debug!(
            connection = account.info.as_ref().map(|info| info.id.to_string()),
            mode = account.mode.as_str(),
            by = ending.reason().0.as_str(),
            why = %ending,
            "a connection ended"
        );
        self.shared.ended.add(account);
        ending.reason()
    }
}

fn broken(kind: io::ErrorKind) -> String {
    format!("the socket failed: {kind}")
}

fn count(shared: &Shared, ending: &Ending) {
    let metrics = &shared.metrics;
    let (by, name) = ending.reason();
    metrics.ended((by, name));
    let Ending::Closed(end) = ending else {
        return;
    };
    if let Some((death, delay)) = end.death {
        metrics.died(death, delay);
    }
    let is_refusal = matches!(
        end.close.code,
        CloseCode::UNAUTHORIZED
            | CloseCode::FORBIDDEN
            | CloseCode::OVERLOADED
            | CloseCode::RATE_LIMITED
    );
    if is_refusal && by == heartwire_hub::Side::Server {
        let now = shared.clock.time();
        let refusals = &metrics.refusals;
        refusals.note(Over::WebSocket, name, Weight::Warning, now);
    }
}
