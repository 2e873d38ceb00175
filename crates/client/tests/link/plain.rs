//! Plain mode: any WebSocket server, with a heartbeat and reconnecting.

use std::time::{Duration, Instant};

use crate::support::{Server, soon, status_is, text};
use heartwire::{Messages, Payload, PlainDelivery, PlainGap, QueueLimits, SendError};
use heartwire_testing::Lateness;
use tokio_tungstenite::tungstenite::Message;

const SECOND: Duration = Duration::from_secs(1);
/// The timeout where the peer has to be in time as well.
const PATIENTLY: Duration = Duration::from_secs(3);

async fn next(messages: &mut Messages) -> PlainDelivery {
    soon(messages.next()).await.expect("a delivery")
}

async fn next_message(messages: &mut Messages) -> String {
    match next(messages).await {
        PlainDelivery::Message(payload) => text(&payload),
        PlainDelivery::Gap(gap) => panic!("a message is next, not {gap:?}"),
    }
}

#[tokio::test]
async fn messages_go_both_ways_untouched() {
    let server = Server::start().await;
    let link = server.plain_link().connect().unwrap();
    let mut messages = link.messages();
    assert_eq!(link.send("too early"), Err(SendError::NotOpen));
    let mut peer = server.accept().await;
    status_is(&link, "open").await;
    link.send("hello").unwrap();
    link.send(vec![0, 255]).unwrap();
    peer.expect("hello").await;
    assert_eq!(peer.next().await, Some(Message::binary(vec![0, 255])));
    peer.say("msg is no verb here").await;
    peer.send(Message::binary(vec![1])).await;
    assert_eq!(next_message(&mut messages).await, "msg is no verb here");
    assert_eq!(
        next(&mut messages).await,
        PlainDelivery::Message(Payload::Binary(vec![1]))
    );
}

#[tokio::test]
async fn text_pings_are_asked_and_their_answers_kept_back() {
    let server = Server::start().await;
    let link = server
        .plain_link()
        .heartbeat(SECOND, PATIENTLY)
        .ping("ping")
        .pong(|message| message == "pong")
        .connect()
        .unwrap();
    let mut messages = link.messages();
    let mut peer = server.accept().await;
    peer.expect("ping").await;
    peer.say("pong").await;
    peer.say("pang").await;
    assert_eq!(next_message(&mut messages).await, "pang");
    assert!(link.rtt().is_some());
}

#[tokio::test]
async fn by_default_the_question_is_a_websocket_ping() {
    let server = Server::start().await;
    let link = server
        .plain_link()
        .heartbeat(SECOND, PATIENTLY)
        .connect()
        .unwrap();
    let mut peer = server.accept().await;
    // The library at the server's end answers by itself, once it is read again.
    assert!(matches!(peer.next().await, Some(Message::Ping(_))));
    assert!(matches!(peer.next().await, Some(Message::Ping(_))));
    assert!(link.rtt().is_some());
    assert_eq!(link.status().borrow().name(), "open");
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let server = Server::start().await;
    let link = server
        .plain_link()
        .heartbeat(SECOND, SECOND)
        .ping("ping")
        .connect()
        .unwrap();
    let silent = server.accept().await;
    status_is(&link, "open").await;
    let (since, lateness) = (Instant::now(), Lateness::watch());
    status_is(&link, "lost").await;
    let (took, bound) = (since.elapsed(), SECOND * 2 + lateness.allowance());
    assert!(took <= bound, "after {took:?}, not {bound:?}");
    let _next = server.accept().await;
    drop(silent);
}

#[tokio::test]
async fn the_first_messages_are_sent_on_every_connection() {
    let server = Server::start().await;
    let link = server
        .plain_link()
        .on_open(|connection| {
            connection.send("subscribe trades");
            connection.send("subscribe books");
        })
        .connect()
        .unwrap();
    let mut messages = link.messages();
    for round in 1..=2 {
        let mut peer = server.accept().await;
        status_is(&link, "open").await;
        link.send("after").unwrap();
        peer.expect("subscribe trades").await;
        peer.expect("subscribe books").await;
        peer.expect("after").await;
        peer.say(&format!("round {round}")).await;
        if round == 2 {
            let gap = PlainDelivery::Gap(PlainGap::Reconnected);
            assert_eq!(next(&mut messages).await, gap);
        }
        assert_eq!(next_message(&mut messages).await, format!("round {round}"));
        peer.reset();
        status_is(&link, "lost").await;
    }
}

#[tokio::test]
async fn a_slow_application_loses_the_oldest_and_is_told() {
    let server = Server::start().await;
    let limits = QueueLimits {
        messages_max: 3,
        bytes_max: 1_000,
    };
    let link = server.plain_link().queue(limits).connect().unwrap();
    let mut messages = link.messages();
    let mut peer = server.accept().await;
    for number in 1..=8 {
        peer.say(&number.to_string()).await;
    }
    // The ping behind them is answered: reading went on.
    peer.send(Message::Ping(vec![7].into())).await;
    assert_eq!(peer.next().await, Some(Message::Pong(vec![7].into())));
    let overflow = PlainGap::Overflow { messages: 5 };
    assert_eq!(next(&mut messages).await, PlainDelivery::Gap(overflow));
    for expected in ["6", "7", "8"] {
        assert_eq!(next_message(&mut messages).await, expected);
    }
}

#[tokio::test]
async fn closing_sends_what_was_given_before() {
    let server = Server::start().await;
    let link = server.plain_link().connect().unwrap();
    let mut messages = link.messages();
    let mut peer = server.accept().await;
    status_is(&link, "open").await;
    for number in 0..100 {
        link.send(number.to_string()).unwrap();
    }
    let server_side = async {
        for number in 0..100 {
            peer.expect(&number.to_string()).await;
        }
        assert!(matches!(peer.next().await, Some(Message::Close(_))));
        while peer.next().await.is_some() {}
    };
    let (closed, ()) = soon(async { tokio::join!(link.close(), server_side) }).await;
    assert_eq!(closed, Ok(()));
    assert_eq!(soon(messages.next()).await, None);
}

#[tokio::test]
async fn a_panic_in_a_hook_closes_the_link_and_leaves_nobody_waiting() {
    let server = Server::start().await;
    let link = server
        .plain_link()
        .pong(|_| panic!("a bug of the application's"))
        .connect()
        .unwrap();
    let mut messages = link.messages();
    let mut peer = server.accept().await;
    peer.say("anything").await;
    assert_eq!(soon(messages.next()).await, None);
    status_is(&link, "closed").await;
    assert_eq!(soon(link.close()).await, Ok(()));
}
