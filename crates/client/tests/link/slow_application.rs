//! An application that is slower than its topics pauses them; the heartbeat goes on.

use crate::support::{Server, next_text, status_is};
use heartwire::{QueueLimits, SubFrom};

#[tokio::test]
async fn a_full_queue_pauses_its_topic_alone() {
    let server = Server::start().await;
    let limits = QueueLimits {
        messages_max: 4,
        bytes_max: 1_000,
    };
    let link = server.link().queue(limits).connect().unwrap();
    let mut slow = link.subscribe_from("slow", SubFrom::Head).unwrap();
    let mut other = link.subscribe_from("other", SubFrom::Head).unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("sub other head").await;
    peer.expect("sub slow head").await;
    peer.say("subbed other aa.0").await;
    peer.say("subbed slow bb.0").await;
    for offset in 1..=6 {
        peer.say(&format!("msg slow {offset} 1\n{offset}")).await;
    }
    peer.expect("unsub slow").await;
    peer.say("unsubbed slow").await;

    // The heartbeat and other topics go on.
    peer.say("ping 7").await;
    peer.expect("pong 7").await;
    peer.say("msg other 1 1\nstill here").await;
    assert_eq!(next_text(&mut other).await, "still here");

    // Two of four taken: it goes on from behind the last message that was queued.
    assert_eq!(next_text(&mut slow).await, "1");
    assert_eq!(next_text(&mut slow).await, "2");
    peer.expect("sub slow bb.4").await;
    peer.say("subbed slow bb.4").await;
    peer.say("msg slow 5 1\n5").await;
    for expected in ["3", "4", "5"] {
        assert_eq!(next_text(&mut slow).await, expected);
    }
}

#[tokio::test]
async fn a_paused_topic_stays_paused_over_a_reconnect() {
    let server = Server::start().await;
    let limits = QueueLimits {
        messages_max: 1,
        bytes_max: 1_000,
    };
    let link = server.link().queue(limits).connect().unwrap();
    let mut slow = link.subscribe_from("slow", SubFrom::Head).unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("sub slow head").await;
    peer.say("subbed slow bb.0").await;
    peer.say("msg slow 1 1\n1").await;
    peer.expect("unsub slow").await;
    peer.reset();

    let (mut peer, _) = server.accept_and_welcome().await;
    status_is(&link, "open").await;
    peer.say("ping 1").await;
    peer.expect("pong 1").await;
    assert_eq!(next_text(&mut slow).await, "1");
    peer.expect("sub slow bb.1").await;
}

#[tokio::test]
async fn a_burst_does_not_pause_an_application_that_keeps_up() {
    const COUNT: usize = 5_000;
    let server = Server::start().await;
    let limits = QueueLimits {
        messages_max: 200,
        ..QueueLimits::default()
    };
    let link = server.link().queue(limits).connect().unwrap();
    let mut task = link.subscribe_from("task:42", SubFrom::Head).unwrap();
    let (mut peer, _) = server.accept_and_welcome().await;
    peer.expect("sub task:42 head").await;
    peer.say("subbed task:42 aa.0").await;
    let burst = (1..=COUNT).map(|offset| format!("msg task:42 {offset} 1\n{offset}"));
    let reading = async {
        for expected in 1..=COUNT {
            assert_eq!(next_text(&mut task).await, expected.to_string());
        }
    };
    tokio::join!(peer.say_all(burst), reading);
    peer.say("ping 1").await;
    peer.expect("pong 1").await;
}
