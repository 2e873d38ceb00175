//! The session: what an application, a transport and a clock make of a link.

use std::time::Duration;

use super::config::ClientConfig;
use super::event::{Counters, PublishError, SendError, Status, SubscribeError};
use super::io::{Input, Now, Output, Transmit, WakeCause};
use crate::frame::{Payload, SubFrom, Welcome};
use crate::heartbeat::{HeartbeatRange, Rtt};
use crate::id::{Attempt, ClientId, Cursor, Seq, Token, TopicName};
use crate::time::Time;

/// One link, without its socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClientSession {
    config: ClientConfig,
    client: ClientId,
}

#[allow(
    unused_variables,
    clippy::unimplemented,
    missing_docs,
    clippy::needless_pass_by_value,
    clippy::missing_const_for_fn
)]
impl ClientSession {
    /// A link at rest. `client` is drawn at random, once per link, from a secure source.
    pub fn new(config: ClientConfig, client: ClientId) -> Self {
        Self { config, client }
    }

    /// Dials for the first time; afterwards it does nothing.
    pub fn start(&mut self, now: Now) {
        unimplemented!()
    }

    /// Takes what the transport reports.
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        unimplemented!()
    }

    /// Does what is due; to be called when [`next_timeout`](Self::next_timeout) has come. Early or
    /// needless calls do nothing.
    pub fn timeout(&mut self, now: Now) {
        unimplemented!()
    }

    /// The next thing to do. To be called until it returns `None`, after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        unimplemented!()
    }

    /// The next thing to write to the current connection, answers first, then publishes as far as
    /// the server's window allows. To be called when the outputs have been done and while the
    /// transport has room: what is not asked for waits here, where it is bounded.
    pub fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        unimplemented!()
    }

    /// When [`timeout`](Self::timeout) is next due. It changes with every call; ask last.
    pub fn next_timeout(&self) -> Option<Time> {
        unimplemented!()
    }

    /// Follows a topic, on this connection and all later ones. For one that is followed already it
    /// moves the cursor to `from` `[SUB-13]`, and messages that were on their way are dropped.
    pub fn subscribe(
        &mut self,
        topic: TopicName,
        from: SubFrom,
        now: Now,
    ) -> Result<(), SubscribeError> {
        unimplemented!()
    }

    /// Follows a topic no longer; nothing of it is delivered from here on.
    pub fn unsubscribe(&mut self, topic: &TopicName, now: Now) {
        unimplemented!()
    }

    /// The application is slower than this topic: nothing of it is delivered from here on, and the
    /// cursor stays where it is `[SUB-15]`.
    pub fn pause(&mut self, topic: &TopicName, now: Now) {
        unimplemented!()
    }

    /// Goes on with a paused topic, from its cursor.
    pub fn resume(&mut self, topic: &TopicName, now: Now) {
        unimplemented!()
    }

    /// Puts a message into the outbox, whatever the state of the connection. What becomes of it is
    /// told by [`Event::Stored`](super::Event::Stored) and its like, under the number returned.
    pub fn publish(
        &mut self,
        topic: TopicName,
        payload: Payload,
        now: Now,
    ) -> Result<Seq, PublishError> {
        unimplemented!()
    }

    /// Plain mode: sends a message over the connection that is open.
    pub fn send(&mut self, payload: Payload, now: Now) -> Result<(), SendError> {
        unimplemented!()
    }

    /// Replaces the token of the connection that is open, if one is; later dials ask for their own.
    pub fn renew_token(&mut self, token: Token, now: Now) {
        unimplemented!()
    }

    /// Asks for another heartbeat interval, on this connection and all later ones `[LIVE-7]`.
    pub fn set_heartbeat_interval(
        &mut self,
        interval: Duration,
        now: Now,
    ) -> Result<(), HeartbeatRange> {
        unimplemented!()
    }

    /// Asks the server at once whether it is there, with 3 s to answer `[LIVE-6]`.
    pub fn probe(&mut self, now: Now) {
        unimplemented!()
    }

    /// Dials at once: a connection that is open is given up, a delay is cut short, suspension ends.
    pub fn reconnect(&mut self, now: Now) {
        unimplemented!()
    }

    /// Ends the link. What is in the outbox still goes out, for at most `flush`, over later
    /// connections if need be; then, or at once if it is empty, the state is `closed`.
    pub fn close(&mut self, flush: Duration, now: Now) {
        unimplemented!()
    }

    /// The process is about to be suspended, or knows that there is no network: a connection that
    /// is open stays, but nothing is dialled until [`wake`](Self::wake).
    pub fn sleep(&mut self, now: Now) {
        unimplemented!()
    }

    /// Something changed on this side: a connection that is open is asked at once, one that is
    /// lost is dialled at once `[LIVE-6]`.
    pub fn wake(&mut self, cause: WakeCause, now: Now) {
        unimplemented!()
    }

    /// The state of the link.
    pub fn status(&self) -> &Status {
        unimplemented!()
    }

    /// The number of the latest dial, 0 before the first.
    pub fn attempt(&self) -> Attempt {
        unimplemented!()
    }

    /// This client's id, which changes only by [`Event::ClientChanged`](super::Event).
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// Round-trip times of the current connection, or else of the last.
    pub fn rtt(&self) -> Option<Rtt> {
        unimplemented!()
    }

    /// What the server of the current connection, or else of the last, said at its opening.
    pub fn welcome(&self) -> Option<&Welcome> {
        unimplemented!()
    }

    /// The place up to which a topic has been delivered, if it is known.
    pub fn cursor(&self, topic: &TopicName) -> Option<Cursor> {
        unimplemented!()
    }

    /// How many publishes are neither stored nor given up.
    pub fn unacked(&self) -> usize {
        unimplemented!()
    }

    /// What happened that should not happen on a healthy link.
    pub fn counters(&self) -> Counters {
        unimplemented!()
    }
}
