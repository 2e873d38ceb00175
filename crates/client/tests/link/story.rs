//! The events of a link tell its story, and say so when a listener has missed a part of it.

use crate::support::{Server, soon, status_is};
use heartwire::{Event, Events, Missed, Status};

/// The next event, in a word.
async fn next(events: &mut Events) -> String {
    match soon(events.next()).await.unwrap().unwrap() {
        Event::Status(Status::Lost { why, .. }) => format!("lost: {}", why.name()),
        Event::Status(status) => status.name().to_owned(),
        Event::Welcome(_) => "welcome".to_owned(),
        Event::Followed { topic, cursor } => format!("followed {topic} {cursor}"),
        Event::Gap { topic, gap } => format!("gap {topic} {}", gap.first),
        other => panic!("not part of this story: {other:?}"),
    }
}

#[tokio::test]
async fn an_outage_is_told_from_its_cause_to_its_end() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let mut events = link.events();
    let _task = link.subscribe("task:42").unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("sub task:42").await;
    peer.say("subbed task:42 k3v9.7").await;
    for expected in ["open", "welcome", "followed task:42 k3v9.7"] {
        assert_eq!(next(&mut events).await, expected);
    }
    peer.reset();
    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("sub task:42 k3v9.7").await;
    peer.say("subbed task:42 k3v9.9 gap k3v9 8 9 retention")
        .await;
    for expected in [
        "lost: closed",
        "connecting",
        "open",
        "welcome",
        "gap task:42 8",
        "followed task:42 k3v9.9",
    ] {
        assert_eq!(next(&mut events).await, expected);
    }
}

#[tokio::test]
async fn a_slow_listener_is_told_how_much_it_missed() {
    let server = Server::start().await;
    let link = server.link().connect().unwrap();
    let _task = link.subscribe("task:42").unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("sub task:42").await;
    peer.say("subbed task:42 k3v9.0").await;
    status_is(&link, "open").await;
    peer.say("ping 1").await;
    peer.expect("pong 1").await;

    let mut events = link.events();
    for offset in 1..=300 {
        peer.say(&format!("gap task:42 k3v9 {offset} {offset} retention"))
            .await;
    }
    peer.say("ping 2").await;
    peer.expect("pong 2").await;
    let missed = soon(events.next()).await.unwrap();
    assert_eq!(missed, Err(Missed { events: 300 - 256 }));
    assert_eq!(next(&mut events).await, "gap task:42 45");
}
