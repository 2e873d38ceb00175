//! Several subscriptions of one link, taken by turns.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use futures_core::Stream;
use heartwire::{Delivery, End, Subscription, TopicName};

/// The subscriptions, and whose turn it is.
#[derive(Default)]
pub(crate) struct Followed {
    subscriptions: Vec<Subscription>,
    turn: usize,
}

/// What one of them brings.
#[derive(Debug)]
pub(crate) enum Brought {
    /// A message or a gap.
    Delivery(TopicName, Delivery),
    /// Nothing more will come; the subscription has been taken out.
    End(TopicName, End),
}

impl Followed {
    /// Adds one.
    pub(crate) fn push(&mut self, subscription: Subscription) {
        self.subscriptions.push(subscription);
    }

    /// Takes one out, which stops following; whether it was there.
    pub(crate) fn remove(&mut self, topic: &str) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions
            .retain(|subscription| subscription.topic().as_str() != topic);
        self.subscriptions.len() < before
    }

    /// Whether it is there.
    pub(crate) fn contains(&self, topic: &str) -> bool {
        let mut topics = self.subscriptions.iter().map(Subscription::topic);
        topics.any(|followed| followed.as_str() == topic)
    }

    /// The topics, in the order in which they were added.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.subscriptions.iter().map(Subscription::topic)
    }

    /// Whether none is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.subscriptions.is_empty()
    }

    /// The next delivery of any of them; never, while there are none. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Brought {
        poll_fn(|cx| {
            let count = self.subscriptions.len();
            for _ in 0..count {
                // By turns, so that a talkative topic does not silence the others.
                self.turn = (self.turn + 1) % count;
                let subscription = &mut self.subscriptions[self.turn];
                let Poll::Ready(delivery) = Pin::new(&mut *subscription).poll_next(cx) else {
                    continue;
                };
                let topic = subscription.topic().clone();
                return Poll::Ready(match delivery {
                    Some(delivery) => Brought::Delivery(topic, delivery),
                    None => {
                        let ended = self.subscriptions.remove(self.turn);
                        let end = ended.end().expect("a stream that has ended says why");
                        Brought::End(topic, end)
                    }
                });
            }
            Poll::Pending
        })
        .await
    }
}

/// Why a subscription has ended, as a sentence.
pub(crate) fn told(end: &End) -> String {
    match end {
        End::Refused(code) => format!("refused: {code}"),
        End::Stopped(code) => format!("ended by the server: {code}"),
        End::LinkClosed(why) => format!("the link is closed: {why}"),
    }
}
