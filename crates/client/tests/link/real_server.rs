//! The link and the real server, with a network between them that breaks on command.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::{at_once, next_text, soon, status_is, until};
use heartwire::{Delivery, GapReason, Link, Loss, Status, SubFrom, Subscription};
use heartwire_proxy::{Command, Proxy};
use heartwire_server::{HeartbeatConfig, Hub, Server};
use heartwire_testing::{Lateness, lasting_address};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Interval + timeout of the shortest heartbeat, as a client keeps it.
const SHORTEST_BOUND: Duration = Duration::from_millis(2_250);

/// A server, and how to stop it.
struct Running {
    hub: Hub,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// A server that asks after a second of silence, and waits patiently for the answer.
async fn serve(address: &str) -> Running {
    serve_with_timeout(address, Duration::from_secs(3)).await
}

async fn serve_with_timeout(address: &str, timeout: Duration) -> Running {
    let heartbeat = HeartbeatConfig::new(Duration::from_secs(1), timeout).unwrap();
    let hub = Hub::builder().heartbeat(heartbeat).open().await.unwrap();
    let server = Server::bind(address, hub.clone()).await.unwrap();
    let server = server.drain_window(Duration::from_millis(100));
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.run(async {
        // An error says that the test is over.
        let _ = stopped.await;
    }));
    Running {
        hub,
        address,
        stop,
        task,
    }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        soon(self.task).await.unwrap();
    }
}

fn link_to(address: SocketAddr) -> Link {
    Link::builder(&format!("ws://{address}/websocket"))
        .reconnect(at_once())
        .connect()
        .unwrap()
}

/// The texts of the next so many messages.
async fn texts(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut texts = Vec::with_capacity(count);
    while texts.len() < count {
        texts.push(next_text(subscription).await);
    }
    texts
}

/// What `count` publishes of `n` have said, in order.
fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Everything in a topic, as another link reads it from the beginning.
async fn stored(server: &Running, topic: &str, count: usize) -> Vec<String> {
    let reader = link_to(server.address);
    let mut subscription = reader.subscribe_from(topic, SubFrom::Head).unwrap();
    let found = texts(&mut subscription, count).await;
    server.hub.publish(topic, "the end").await.unwrap();
    assert_eq!(next_text(&mut subscription).await, "the end");
    found
}

#[tokio::test]
async fn what_is_published_arrives() {
    let server = serve("127.0.0.1:0").await;
    let link = link_to(server.address);
    let mut task = link.subscribe("task:42").unwrap();
    status_is(&link, "open").await;
    soon(link.publish("task:42", "10 %")).await.unwrap();
    server.hub.publish("task:42", "20 %").await.unwrap();
    assert_eq!(texts(&mut task, 2).await, ["10 %", "20 %"]);
    assert_eq!(soon(link.close()).await, Ok(()));
    server.stop().await;
}

#[tokio::test]
async fn a_black_hole_is_noticed_in_time_and_costs_nothing() {
    let server = serve_with_timeout("127.0.0.1:0", Duration::from_secs(1)).await;
    let proxy = Proxy::start("127.0.0.1:0", server.address).await.unwrap();
    let link = link_to(proxy.addr());
    let mut task = link.subscribe_from("task:42", SubFrom::Head).unwrap();
    status_is(&link, "open").await;
    soon(link.publish("inbox", "0")).await.unwrap();
    server.hub.publish("task:42", "0").await.unwrap();
    assert_eq!(texts(&mut task, 1).await, ["0"]);

    proxy.apply(Command::Blackhole(None)).await.unwrap();
    let (since, lateness) = (Instant::now(), Lateness::watch());
    let waiting: Vec<_> = (1..10)
        .map(|n| link.publish("inbox", n.to_string()))
        .collect();
    for number in 1..10 {
        server
            .hub
            .publish("task:42", number.to_string())
            .await
            .unwrap();
    }
    let Status::Lost { why, .. } = status_is(&link, "lost").await else {
        panic!("the link is lost");
    };
    let took = since.elapsed();
    assert!(
        matches!(why, Loss::Silent { .. } | Loss::Unanswered),
        "{why}"
    );
    let bound = SHORTEST_BOUND + lateness.allowance();
    assert!(took <= bound, "after {took:?}, not {bound:?}");
    until(|| server.hub.connections() == 0).await;

    proxy.apply(Command::Pass).await.unwrap();
    assert_eq!(texts(&mut task, 9).await, numbers(10)[1..]);
    for publish in waiting {
        soon(publish).await.unwrap();
    }
    assert_eq!(stored(&server, "inbox", 10).await, numbers(10));
}

#[tokio::test]
async fn resets_in_the_middle_of_everything_lose_and_double_nothing() {
    const COUNT: usize = 300;
    let server = serve("127.0.0.1:0").await;
    let proxy = Proxy::start("127.0.0.1:0", server.address).await.unwrap();
    let link = link_to(proxy.addr());
    let mut task = link.subscribe_from("task:42", SubFrom::Head).unwrap();
    let publishing = async {
        let mut waiting = Vec::new();
        let mut pace = tokio::time::interval(Duration::from_millis(1));
        for number in 0..COUNT {
            waiting.push(link.publish("inbox", number.to_string()));
            server
                .hub
                .publish("task:42", number.to_string())
                .await
                .unwrap();
            if number % 100 == 50 {
                status_is(&link, "open").await;
                proxy.apply(Command::Reset).await.unwrap();
            }
            pace.tick().await;
        }
        for publish in waiting {
            soon(publish).await.unwrap();
        }
    };
    let (received, ()) = tokio::join!(texts(&mut task, COUNT), publishing);
    assert_eq!(received, numbers(COUNT));
    assert_eq!(stored(&server, "inbox", COUNT).await, numbers(COUNT));
    assert!(link.counters().opened >= 3);
}

#[tokio::test]
async fn a_restarted_server_has_another_epoch_and_the_gap_is_named() {
    let address = lasting_address().to_string();
    let first = serve(&address).await;
    let link = link_to(first.address);
    let mut task = link.subscribe_from("task:42", SubFrom::Head).unwrap();
    first.hub.publish("task:42", "old").await.unwrap();
    assert_eq!(next_text(&mut task).await, "old");
    first.stop().await;
    let publish = link.publish("task:42", "new");

    let _second = serve(&address).await;
    soon(publish).await.unwrap();
    let Some(Delivery::Gap(gap)) = soon(task.next()).await else {
        panic!("a gap is next");
    };
    assert_eq!((gap.first.0, gap.last), (2, None));
    assert_eq!(gap.reason, GapReason::Epoch);
    assert_eq!(next_text(&mut task).await, "new");
}

#[tokio::test]
async fn large_messages_go_through_a_narrow_line_without_a_loss() {
    let server = serve("127.0.0.1:0").await;
    let proxy = Proxy::start("127.0.0.1:0", server.address).await.unwrap();
    let link = link_to(proxy.addr());
    let mut task = link.subscribe("large").unwrap();
    status_is(&link, "open").await;
    // A megabyte up and a megabyte down take eight seconds each, twice the heartbeat's bound.
    let command = "throttle 125000".parse().unwrap();
    proxy.apply(command).await.unwrap();
    let payload = "x".repeat(1_000_000);
    let publish = link.publish("large", payload.clone());
    soon(publish).await.unwrap();
    assert!(next_text(&mut task).await == payload);
    assert_eq!(link.counters().opened, 1);
}
