//! A publish is stored once, whatever the network does, or its caller is told.

use std::time::Duration;

use crate::support::{Peer, Server, soon, status_is};
use heartwire::{Durability, Event, Link, NackCode, OutboxLimits, PublishError, Unflushed};

/// Waits until the server's end has seen the client go.
async fn gone(mut peer: Peer) {
    while peer.next().await.is_some() {}
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_unchanged() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let first = link.publish("inbox", "one");
    let second = link.publish("inbox", &b"\x00\xff"[..]);

    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("pub inbox 1\none").await;
    let binary = peer.next().await.unwrap();
    assert_eq!(binary.into_data(), &b"pub inbox 2\n\x00\xff"[..]);
    peer.say("ack 1").await;
    let stored = soon(first).await.unwrap();
    assert_eq!((stored.seq.0, stored.durability), (1, Durability::Memory));
    peer.reset();

    // The first had been stored, the second too, but its acknowledgement was lost.
    let mut peer = server.accept().await;
    peer.hello().await;
    peer.welcome(r#""acked":2;"producer_known":true"#).await;
    assert_eq!(soon(second).await.unwrap().seq.0, 2);
    let third = link.publish("inbox", "three");
    peer.expect("pub inbox 3\nthree").await;
    peer.reset();

    let mut peer = server.accept().await;
    peer.hello().await;
    peer.welcome(r#""acked":2;"producer_known":true"#).await;
    peer.expect("pub inbox 3\nthree").await;
    peer.say("ack 3").await;
    assert_eq!(soon(third).await.unwrap().seq.0, 3);
    assert_eq!(link.unconfirmed(), 0);
}

#[tokio::test]
async fn a_publish_that_nobody_waits_for_is_sent_all_the_same() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let cancelled = tokio::time::timeout(Duration::ZERO, link.publish("inbox", "one")).await;
    assert!(cancelled.is_err());
    drop(link.publish("inbox", "two"));
    assert_eq!(link.unconfirmed(), 2);
    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("pub inbox 1\none").await;
    peer.expect("pub inbox 2\ntwo").await;
}

#[tokio::test]
async fn a_full_outbox_is_a_clear_error_and_loses_nothing() {
    let server = Server::start().await;
    let limits = OutboxLimits {
        messages_max: 2,
        bytes_max: 1_000,
    };
    let link = server.link().outbox(limits).connect().unwrap();
    let first = link.publish("inbox", "one");
    let _second = link.publish("inbox", "two");
    let refused = link.publish("inbox", "three");
    assert_eq!(refused.seq(), None);
    let error = refused.await.unwrap_err();
    assert!(matches!(error, PublishError::OutboxFull(full) if full.messages == 2));
    assert_eq!(
        error.to_string(),
        "the outbox is full: it holds 2 of 2 messages and 6 of 1000 bytes"
    );

    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("pub inbox 1\none").await;
    peer.expect("pub inbox 2\ntwo").await;
    peer.say("ack 1").await;
    soon(first).await.unwrap();
    let _again = link.publish("inbox", "three");
    peer.expect("pub inbox 3\nthree").await;
}

#[tokio::test]
async fn a_refusal_reaches_its_publisher_and_the_rest_goes_on() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    let refused = link.publish("audit", "one");
    let behind = link.publish("inbox", "two");
    peer.expect("pub audit 1\none").await;
    peer.expect("pub inbox 2\ntwo").await;
    peer.say("nack 1 forbidden").await;
    let error = soon(refused).await.unwrap_err();
    assert_eq!(error, PublishError::Refused(NackCode::Forbidden));
    peer.expect("skip 1").await;
    peer.expect("pub inbox 2\ntwo").await;
    peer.say("ack 2").await;
    assert_eq!(soon(behind).await.unwrap().seq.0, 2);
}

#[tokio::test]
async fn what_the_caller_does_wrong_is_told_at_once() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let error = |topic: &'static str, payload: String| {
        let publish = link.publish(topic, payload);
        async { soon(publish).await.unwrap_err() }
    };
    assert!(matches!(
        error("a b", String::new()).await,
        PublishError::Topic(_)
    ));
    assert_eq!(error("$sys", String::new()).await, PublishError::Reserved);
    let mut peer = server.accept().await;
    peer.hello().await;
    peer.welcome(r#""limits":{"message_bytes_max":10}"#).await;
    status_is(&link, "open").await;
    assert_eq!(
        error("inbox", "12345678901".to_owned()).await,
        PublishError::TooLarge {
            bytes: 11,
            bytes_max: 10
        }
    );
}

#[tokio::test]
async fn a_server_that_lost_its_log_is_told_of_upward() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    let stored = link.publish("inbox", "one");
    peer.expect("pub inbox 1\none").await;
    peer.say("ack 1").await;
    soon(stored).await.unwrap();
    let mut events = link.events();
    peer.reset();

    let mut peer = server.accept().await;
    peer.hello().await;
    peer.welcome(r#""log":"other""#).await;
    loop {
        if let Event::LogLost { from, to } = soon(events.next()).await.unwrap().unwrap() {
            assert_eq!((from.0, to.0), (1, 1));
            break;
        }
    }
}

#[tokio::test]
async fn closing_flushes_the_outbox_over_a_new_connection() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let (peer, _) = server.accept_and_welcome().await;
    status_is(&link, "open").await;
    peer.reset();
    status_is(&link, "lost").await;
    let publish = link.publish("inbox", "last words");
    let closing = tokio::spawn(async move { link.close().await });

    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("pub inbox 1\nlast words").await;
    peer.say("ack 1").await;
    soon(publish).await.unwrap();
    gone(peer).await;
    assert_eq!(soon(closing).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn closing_is_bounded_and_counts_what_was_not_confirmed() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    let publish = link.publish("inbox", "one");
    peer.expect("pub inbox 1\none").await;
    let closed = link.close_within(Duration::from_millis(50));
    let (closed, ()) = soon(async { tokio::join!(closed, gone(peer)) }).await;
    assert_eq!(closed, Err(Unflushed { publishes: 1 }));
    assert_eq!(soon(publish).await, Err(PublishError::Closed));
    let late = soon(link.publish("inbox", "two")).await;
    assert_eq!(late, Err(PublishError::Closed));
}

#[tokio::test]
async fn dropping_the_last_handle_closes_at_once() {
    let server = Server::start().await;
    let link: Link = server.link().connect().unwrap();
    let clone = link.clone();
    let (mut peer, _) = server.accept_and_welcome().await;
    let publish = link.publish("inbox", "one");
    drop(link);
    peer.expect("pub inbox 1\none").await;
    drop(clone);
    gone(peer).await;
    assert_eq!(soon(publish).await, Err(PublishError::Closed));
}
