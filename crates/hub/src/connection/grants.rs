//! What a connection may do, and until when.

use std::sync::Arc;

use heartwire_proto::{Close, CloseCode, Time};

use super::progress::NEVER;
use super::{Connection, State};
use crate::grant::Grant;
use crate::state::HubState;

impl Connection {
    /// A fresh token was looked at `[HELLO-12]`: its grant takes the place of the one before, or
    /// the connection closes. Topics that it does not cover end. [`Fill`](Self::fill) the
    /// connection before the hub is unlocked.
    pub fn renew<H: Clone>(
        &mut self,
        renewed: Result<Arc<Grant>, Close>,
        hub: &mut HubState<H>,
        now: Time,
    ) {
        self.set_renewing(false);
        let State::Live(live) = &mut self.state else {
            return;
        };
        let key = live.key;
        let subject = hub.who(key).and_then(|who| who.grant()?.subject());
        match renewed {
            Err(close) => self.close(close, now),
            Ok(grant) if grant.subject() != subject => {
                let reason = "HELLO-12: the token is somebody else's";
                self.close(Close::new(CloseCode::FORBIDDEN, reason), now);
            }
            Ok(grant) => {
                live.extra.set_expires_at(expiry(Some(&grant), now));
                hub.attend(key);
                hub.regrant(key, grant);
            }
        }
    }

    /// A fresh token changes nothing, as nobody checks tokens.
    pub fn keep_grant(&mut self) {
        self.set_renewing(false);
    }

    pub(super) fn set_renewing(&mut self, is_renewing: bool) {
        if let State::Live(live) = &mut self.state {
            live.extra.set_renewing(is_renewing);
        }
    }

    /// The grant has run out `[HELLO-12]`.
    pub(super) fn expire(&mut self, now: Time) {
        let reason = "HELLO-12: the token has run out";
        self.close(Close::new(CloseCode::TOKEN_EXPIRED, reason), now);
    }
}

/// When a grant ends that is given now.
pub(super) fn expiry(grant: Option<&Arc<Grant>>, now: Time) -> Time {
    let validity = grant.and_then(|grant| grant.validity());
    validity.map_or(NEVER, |validity| now + validity)
}
