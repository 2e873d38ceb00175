//! Who a connection is, found out when its `hello` or a fresh token has come.
//!
//! Mostly it is known at once. An application's check may take its time: then a task of its own
//! waits for it, and nothing more is read from the connection meanwhile.

use std::sync::Arc;

use heartwire_proto::frame::Hello;
use heartwire_proto::{Close, Token};
use http::request::Parts;

use super::Conn;
use super::output::Output;
use crate::guard::{Door, Granted, Guard, Renewal};
use crate::shared::{Handle, HubGuard, Wakes};
use crate::sync::lock;

/// The request of an upgrade, kept until its `hello` has come.
pub(crate) struct Entrance(pub(crate) Parts);

/// What becomes of a connection that has said who it is.
pub(super) enum Answer {
    /// Known.
    Now(Granted),
    /// Somebody else finds out, and goes on from there.
    Later,
}

impl Conn {
    /// Who has said `hello`? Without an entrance nobody is asked.
    pub(super) fn look_at_hello(
        self: &Arc<Self>,
        hello: &Hello,
        entrance: Option<Box<Entrance>>,
    ) -> Answer {
        let Some(entrance) = entrance else {
            return Answer::Now(Ok(None));
        };
        let frame = hello.token.as_ref().map(Token::as_str);
        let guard = self.guard();
        if let Some(granted) = guard.grant_at_once(Door::WebSocket, &entrance.0, frame) {
            return Answer::Now(granted);
        }
        let (conn, hello) = (self.clone(), hello.clone());
        tokio::spawn(async move {
            let frame = hello.token.as_ref().map(Token::as_str);
            let guard = conn.guard();
            let granted = guard.grant(Door::WebSocket, &entrance.0, frame).await;
            conn.go_on(|output, hub| conn.welcome(output, hub, &hello, granted));
        });
        Answer::Later
    }

    /// What does a fresh token grant? `None` where nobody asks for tokens.
    pub(super) fn look_at_token(self: &Arc<Self>, token: Token) -> Option<Answer> {
        let check = match self.guard().renewal()? {
            Renewal::AtOnce(tokens) => {
                let granted = tokens.grant(token.as_str());
                return Some(Answer::Now(granted.map(|grant| Some(Arc::new(grant)))));
            }
            Renewal::ByCheck(check) => check,
        };
        let conn = self.clone();
        tokio::spawn(async move {
            let subject = conn.subject();
            let granted = check.0.renew(subject.as_deref(), token.as_str()).await;
            let granted = granted.map(|grant| Some(Arc::new(grant)));
            conn.go_on(|output, hub| conn.renew(output, hub, granted));
        });
        Some(Answer::Later)
    }

    /// Answers `hello`.
    pub(super) fn welcome(
        self: &Arc<Self>,
        output: &mut Output,
        hub: &mut HubGuard<'_>,
        hello: &Hello,
        granted: Granted,
    ) {
        let now = self.shared.clock.now();
        let connection = &mut output.connection;
        match granted {
            Ok(_) if self.shared.is_draining() => {
                connection.close(self.shared.draining(), now.time);
            }
            Ok(grant) => {
                let handle = Handle::Connection(self.clone());
                connection.welcome(hello, grant.as_ref(), hub, &handle, now);
            }
            Err(refusal) => connection.close(refusal.into(), now.time),
        }
    }

    /// Answers a fresh token.
    pub(super) fn renew(&self, output: &mut Output, hub: &mut HubGuard<'_>, granted: Granted) {
        let connection = &mut output.connection;
        match granted.map_err(Close::from) {
            Ok(None) => connection.keep_grant(),
            Ok(Some(grant)) => connection.renew(Ok(grant), hub, self.shared.clock.time()),
            Err(close) => connection.renew(Err(close), hub, self.shared.clock.time()),
        }
    }

    fn guard(&self) -> &Guard {
        &self.shared.config.guard
    }

    fn subject(&self) -> Option<String> {
        let key = lock(&self.output).connection.key()?;
        let hub = self.shared.lock_hub();
        hub.subject_of(key).map(str::to_owned)
    }

    /// Goes on with what was awaited, on another task than the connection's own.
    fn go_on(self: &Arc<Self>, work: impl FnOnce(&mut Output, &mut HubGuard<'_>)) {
        let mut wakes = Wakes::default();
        let waker = {
            let mut output = lock(&self.output);
            if output.is_gone() {
                // It has left already: whoever joined now would never leave.
                return;
            }
            let mut hub = self.shared.lock_hub();
            work(&mut output, &mut hub);
            output.fill_from(&mut hub, self.shared.clock.time());
            hub.settle(&mut wakes);
            output.drain(&self.shared, None, &mut wakes);
            output.waker.clone()
        };
        // The task takes what it has held back meanwhile, and pumps for whoever came.
        if let Some(waker) = waker {
            waker.wake();
        }
        wakes.run();
    }
}
