//! Topics are followed over any number of connections: in order, once each, and what is gone is
//! named.

use crate::support::{Server, next_text, soon, status_is};
use heartwire::{Delivery, End, GapReason, Link, RefusedCode, Status, SubFrom, SubscribeError};

#[tokio::test]
async fn a_link_opens_and_delivers() {
    let server = Server::start().await;
    let link = server.link().agent("test/1").connect().unwrap();
    let mut task = link.subscribe("task:42").unwrap();

    let mut peer = server.accept().await;
    let hello = peer.hello().await;
    assert_eq!(hello.agent, "test/1");
    assert_eq!(hello.attempt.0, 1);
    peer.expect("sub task:42").await;
    peer.welcome("").await;
    status_is(&link, "open").await;
    peer.say("subbed task:42 k3v9.7").await;
    peer.say("msg task:42 8 1790000000000 build%20bot\n10 %")
        .await;

    let Some(Delivery::Message(message)) = soon(task.next()).await else {
        panic!("a message is next");
    };
    assert_eq!(message.payload, "10 %".into());
    assert_eq!(message.topic.as_str(), "task:42");
    assert_eq!(message.from.as_deref(), Some("build bot"));
    assert_eq!(message.time.as_unix_millis(), 1_790_000_000_000);
    assert_eq!(message.cursor, "k3v9.8".parse().unwrap());
    assert_eq!(task.cursor(), Some(message.cursor));
}

#[tokio::test]
async fn a_reset_connection_is_resumed_from_the_cursor() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let mut task = link.subscribe_from("task:42", SubFrom::Head).unwrap();

    let (mut peer, first) = server.accept_and_welcome().await;
    peer.expect("sub task:42 head").await;
    peer.say("subbed task:42 k3v9.0").await;
    peer.say("msg task:42 1 1790000000000\n10 %").await;
    assert_eq!(next_text(&mut task).await, "10 %");
    peer.reset();

    let (mut peer, second) = server.accept_and_welcome().await;
    assert_eq!(second.client, first.client);
    assert!(second.attempt > first.attempt);
    peer.expect("sub task:42 k3v9.1").await;
    peer.say("subbed task:42 k3v9.1").await;
    peer.say("msg task:42 2 1790000001000\n20 %").await;
    assert_eq!(next_text(&mut task).await, "20 %");
    assert_eq!(link.counters().opened, 2);
}

#[tokio::test]
async fn a_quiet_topic_has_a_cursor_before_its_first_message() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let mut task = link.subscribe("task:42").unwrap();
    assert_eq!(task.cursor(), None);
    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("sub task:42").await;
    peer.say("subbed task:42 k3v9.7").await;
    peer.say("msg task:42 8 1790000000000\none").await;
    peer.say("subbed other k3v9.7").await;

    // What waits and has not been taken is not behind the cursor.
    let mut events = link.events();
    peer.say("ping 1").await;
    peer.expect("pong 1").await;
    assert_eq!(task.cursor(), Some("k3v9.7".parse().unwrap()));
    assert_eq!(next_text(&mut task).await, "one");
    assert_eq!(task.cursor(), Some("k3v9.8".parse().unwrap()));
    drop(link);
    while soon(events.next()).await.is_some() {}
}

#[tokio::test]
async fn a_gap_stands_between_the_messages_around_it() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let mut task = link
        .subscribe_from("task:42", SubFrom::After("k3v9.2".parse().unwrap()))
        .unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("sub task:42 k3v9.2").await;
    peer.say("subbed task:42 k3v9.80 gap k3v9 3 80 retention")
        .await;
    peer.say("msg task:42 81 1790000000000\nnext").await;

    let Some(Delivery::Gap(gap)) = soon(task.next()).await else {
        panic!("a gap is next");
    };
    assert_eq!((gap.first.0, gap.last.map(|last| last.0)), (3, Some(80)));
    assert_eq!(gap.reason, GapReason::Retention);
    assert_eq!(task.cursor(), Some("k3v9.80".parse().unwrap()));
    assert_eq!(next_text(&mut task).await, "next");
}

#[tokio::test]
async fn a_refused_topic_ends_its_stream_and_says_why() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let mut secret = link.subscribe("secret").unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("sub secret").await;
    peer.say("refused secret forbidden").await;
    assert_eq!(soon(secret.next()).await, None);
    assert_eq!(secret.end(), Some(End::Refused(RefusedCode::Forbidden)));

    // The name is free again, and the old subscription does not take the new one along.
    let mut again = link.subscribe("secret").unwrap();
    drop(secret);
    peer.expect("sub secret").await;
    peer.say("subbed secret k3v9.0").await;
    peer.say("msg secret 1 1790000000000\nhush").await;
    assert_eq!(next_text(&mut again).await, "hush");
}

#[tokio::test]
async fn a_dropped_subscription_stops_following() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let task = link.subscribe("task:42").unwrap();
    assert_eq!(
        link.subscribe("task:42").err(),
        Some(SubscribeError::AlreadyFollowed)
    );
    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("sub task:42").await;
    peer.say("subbed task:42 k3v9.0").await;
    drop(task);
    peer.expect("unsub task:42").await;
    peer.say("unsubbed task:42").await;
    let _again = link.subscribe("task:42").unwrap();
    peer.expect("sub task:42").await;
}

#[tokio::test]
async fn closing_ends_everything_with_the_reason() {
    let server = Server::start().await;
    let link: Link = server.link().connect().unwrap();
    let mut task = link.subscribe("task:42").unwrap();
    let mut events = link.events();
    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("sub task:42").await;
    status_is(&link, "open").await;
    let close = tokio::spawn({
        let link = link.clone();
        async move { link.close().await }
    });
    while peer.next().await.is_some() {}
    assert_eq!(soon(close).await.unwrap(), Ok(()));
    assert!(matches!(*link.status().borrow(), Status::Closed { .. }));
    assert_eq!(soon(task.next()).await, None);
    assert!(matches!(task.end(), Some(End::LinkClosed(_))));
    while soon(events.next()).await.is_some() {}
    assert_eq!(soon(events.next()).await, None, "asked again after the end");
    assert_eq!(link.subscribe("other").err(), Some(SubscribeError::Closed));
}
