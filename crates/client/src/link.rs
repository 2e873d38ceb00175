//! The handle of a link.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use heartwire_proto::client::{ClientSession, Counters, SendError, Status};
use heartwire_proto::frame::{Payload, SubFrom, Welcome};
use heartwire_proto::heartbeat::{HeartbeatRange, Rtt};
use heartwire_proto::{Token, TopicName};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::builder::Builder;
use crate::error::{SubscribeError, Unflushed};
use crate::events::Events;
use crate::publish::Publish;
use crate::shared::Shared;
use crate::streams::{Messages, Subscription};

/// How long [`Link::close`] waits for what is still in the outbox.
const FLUSH: Duration = Duration::from_secs(5);

/// A link that speaks `heartwire.v1`: topics, cursors, acknowledged publishes.
#[derive(Clone, Copy, Debug)]
pub enum V1 {}

/// A link that speaks raw WebSocket messages with any server.
#[derive(Clone, Copy, Debug)]
pub enum Plain {}

/// A lasting relation to a server, over as many connections as it takes.
///
/// A link is made by [`Link::builder`] or [`Link::plain`] and dials in the background. Clones are
/// handles of the same link; when the last one is dropped, the link is closed at once, without
/// waiting for its outbox. [`close`](Link::close) is the patient way.
///
/// All methods but `close` return without waiting for the network.
pub struct Link<M = V1> {
    handle: Arc<Handle>,
    mode: PhantomData<M>,
}

/// Closes the link when the last clone goes.
struct Handle {
    shared: Arc<Shared>,
    /// The driver, so that closing can wait for its goodbye.
    driver: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared
            .request(|session| session.close(Duration::ZERO, self.shared.now()));
    }
}

impl Link<V1> {
    /// A link to a Heartwire server, such as `wss://example.org/websocket`. The schemes `ws`,
    /// `wss`, `http` and `https` are understood; user and password in the URL become an
    /// `Authorization` header.
    pub fn builder(url: &str) -> Builder<V1> {
        Builder::new(url)
    }

    /// A link to any WebSocket server: raw messages, with a heartbeat and reconnecting.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use heartwire::{Link, PlainDelivery};
    ///
    /// let feed = Link::plain("wss://exchange.example/stream")
    ///     .ping("ping")
    ///     .pong(|message| message == "pong")
    ///     .on_open(|connection| connection.send(r#"{"subscribe":"trades"}"#))
    ///     .connect()?;
    /// let mut messages = feed.messages();
    /// while let Some(delivery) = messages.next().await {
    ///     match delivery {
    ///         PlainDelivery::Message(payload) => println!("{payload:?}"),
    ///         PlainDelivery::Gap(why) => println!("something may be missing here: {why:?}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn plain(url: &str) -> Builder<Plain> {
        Builder::new(url)
    }

    /// Follows a topic from its end: only what is published from here on. See
    /// [`subscribe_from`](Self::subscribe_from).
    pub fn subscribe(&self, topic: &str) -> Result<Subscription, SubscribeError> {
        self.subscribe_from(topic, SubFrom::Tail)
    }

    /// Follows a topic, from its oldest message retained, from some messages before its end, or
    /// from a [saved cursor](Subscription::cursor) on.
    ///
    /// A link follows each topic once: the place in a topic belongs to the link, and two consumers
    /// of different speed would pull at it. Who needs two shares the one, or makes two links.
    ///
    /// ```no_run
    /// # async fn example(link: heartwire::Link, saved: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use heartwire::{Delivery, SubFrom};
    ///
    /// let mut task = link.subscribe_from("task:42", SubFrom::After(saved.parse()?))?;
    /// while let Some(delivery) = task.next().await {
    ///     match delivery {
    ///         Delivery::Message(message) => println!("{:?} at {}", message.payload, message.cursor),
    ///         Delivery::Gap(gap) => println!("gone for good: {gap:?}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe_from(
        &self,
        topic: &str,
        from: SubFrom,
    ) -> Result<Subscription, SubscribeError> {
        let topic: TopicName = topic.parse()?;
        let queue = self.shared().subscribe(&topic, from)?;
        Ok(Subscription::new(topic, queue, Arc::clone(self.shared())))
    }

    /// Publishes a message. It is in the outbox when this returns, whatever the state of the
    /// connection, and it is sent and sent again until the server has stored it, once. The future
    /// returned waits for that; it need not be waited for, and dropping it takes nothing back.
    ///
    /// Messages are stored in the order of the calls.
    ///
    /// ```no_run
    /// # async fn example(link: heartwire::Link) -> Result<(), heartwire::PublishError> {
    /// let stored = link.publish("inbox", "please hurry").await?;
    /// println!("message {} is stored", stored.seq);
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish(&self, topic: &str, payload: impl Into<Payload>) -> Publish {
        match topic.parse() {
            Ok(topic) => self.shared().publish(topic, payload.into()),
            Err(error) => Publish::failed(crate::PublishError::Topic(error)),
        }
    }

    /// How many publishes the server has not confirmed yet.
    pub fn unconfirmed(&self) -> usize {
        self.shared().ask(ClientSession::unacked)
    }

    /// Replaces the token of the connection that is open, before it runs out. Dials ask the
    /// [token function](Builder::token).
    pub fn renew_token(&self, token: impl Into<String>) {
        let token = Token::new(token);
        self.shared().request(|session| session.renew_token(token));
    }

    /// Asks the server for another heartbeat interval, on this connection and later ones: a longer
    /// one in the background, where each ping costs battery.
    pub fn set_heartbeat_interval(&self, interval: Duration) -> Result<(), HeartbeatRange> {
        self.shared()
            .request(|session| session.set_heartbeat_interval(interval))
    }

    /// What the server said when the latest connection opened.
    pub fn welcome(&self) -> Option<Welcome> {
        self.shared().ask(|session| session.welcome().cloned())
    }
}

impl Link<Plain> {
    /// Sends a message over the connection that is open. Plain mode keeps nothing for later: while
    /// the link is not open, this is an error, and what was sent in the last moments of a
    /// connection may be lost.
    pub fn send(&self, payload: impl Into<Payload>) -> Result<(), SendError> {
        let payload = payload.into();
        self.shared().request(|session| session.send(payload))
    }

    /// The messages of the server, from the first dial on. All streams share one queue.
    pub fn messages(&self) -> Messages {
        Messages::new(self.shared().messages())
    }
}

impl<M> Link<M> {
    pub(crate) fn new(shared: Arc<Shared>, driver: JoinHandle<()>) -> Self {
        let driver = tokio::sync::Mutex::new(Some(driver));
        Self {
            handle: Arc::new(Handle { shared, driver }),
            mode: PhantomData,
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// The state of the link, to be read at any time or waited for.
    ///
    /// ```no_run
    /// # async fn example(link: heartwire::Link) {
    /// use heartwire::Status;
    ///
    /// let mut status = link.status();
    /// let open = status.wait_for(|status| matches!(status, Status::Open { .. })).await;
    /// # }
    /// ```
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared().status()
    }

    /// What happens to the link from here on: states, gaps, refusals, round trips.
    pub fn events(&self) -> Events {
        Events::new(self.shared().events())
    }

    /// Round-trip times of the latest connection, once a ping has been answered.
    pub fn rtt(&self) -> Option<Rtt> {
        self.shared().ask(ClientSession::rtt)
    }

    /// What happened that should not happen on a healthy link.
    pub fn counters(&self) -> Counters {
        self.shared().ask(ClientSession::counters)
    }

    /// Asks the server at once whether it is there; after 3 s without an answer the link is lost.
    /// The answer is told as an [event](Self::events) with the round trip.
    pub fn probe(&self) {
        let shared = self.shared();
        shared.request(|session| session.probe(shared.now()));
    }

    /// Gives the connection up and dials at once; cuts a delay short and ends suspension.
    pub fn reconnect(&self) {
        let shared = self.shared();
        shared.request(|session| session.reconnect(shared.now()));
    }

    /// The network has changed, or is back: a connection that seems open is asked at once, a lost
    /// one is dialled at once.
    pub fn network_changed(&self) {
        self.wake();
    }

    /// The program is about to be suspended, or knows that there is no network: nothing is dialled
    /// until [`wake`](Self::wake).
    pub fn sleep(&self) {
        let shared = self.shared();
        shared.request(|session| session.sleep(shared.now()));
    }

    /// Ends [`sleep`](Self::sleep), or tells of a return to the foreground. That the machine has
    /// slept the link notices by itself, from a jump between its clocks.
    pub fn wake(&self) {
        let shared = self.shared();
        shared.request(|session| session.wake(shared.now()));
    }

    /// Closes the link for good. What is in the outbox may still go out, for up to 5 s; see
    /// [`close_within`](Self::close_within).
    pub async fn close(&self) -> Result<(), Unflushed> {
        self.close_within(FLUSH).await
    }

    /// Closes the link for good. For at most `flush`, over new connections if need be, what is in
    /// the outbox still goes out; an error tells how many publishes were not confirmed by then.
    /// Saying goodbye to the server takes up to another second.
    ///
    /// The link is closing from the first time that this is polled; cancelling does not stop it.
    pub async fn close_within(&self, flush: Duration) -> Result<(), Unflushed> {
        let shared = self.shared();
        shared.request(|session| session.close(flush, shared.now()));
        let mut driver = self.handle.driver.lock().await;
        if let Some(running) = driver.as_mut() {
            // An error says that the driver was stopped from outside, which closes as well.
            let _ = running.await;
        }
        *driver = None;
        match shared.ask(ClientSession::unacked) {
            0 => Ok(()),
            publishes => Err(Unflushed { publishes }),
        }
    }
}

impl<M> Clone for Link<M> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
            mode: PhantomData,
        }
    }
}

impl<M> std::fmt::Debug for Link<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = self.shared().ask(|session| session.status().clone());
        f.debug_struct("Link").field("status", &status).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_and_streams_go_between_threads() {
        const fn shared<T: Send + Sync>() {}
        const fn sent<T: Send>() {}
        shared::<Link<V1>>();
        shared::<Link<Plain>>();
        shared::<Subscription>();
        shared::<Messages>();
        sent::<Publish>();
        sent::<Events>();
    }
}
