//! The server is killed in the middle of publishing, again and again: what it had acknowledged is
//! there when it comes back, once, in order; followers go on where they were, and back ends are posted
//! everything.

#![cfg(unix)]
#![allow(
    clippy::print_stdout,
    reason = "the figures are for who runs the tests"
)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use common::{Heartwire, Server, Signal, assert_whole, http, link};
use heartwire::{Delivery, Link, SubFrom};
use heartwire_testing::lasting_address;
use http::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

/// How often the server is killed. HEARTWIRE_KILL_ROUNDS asks for more.
const ROUNDS: usize = 8;
const PUBLISHERS: usize = 4;
/// How many publishes of one publisher are under way at a time.
const UNDER_WAY: usize = 32;
/// How many acknowledgements each round waits for before the server dies.
const ACKNOWLEDGED: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens `task:*` to Ann until the year 2100, signed with [`SECRET`].
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDA\
     sImhlYXJ0d2lyZSI6eyJzdWJzY3JpYmUiOlsidGFzazoqIl19fQ.Mlo0SL_uqNTGuVQpPBPo5FQ0yCWIukAp-S-96iUgnLM";
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const KEY: &str = "a-key-for-this-test-alone";

fn rounds() -> usize {
    let asked = std::env::var("HEARTWIRE_KILL_ROUNDS").ok();
    asked.map_or(ROUNDS, |asked| asked.parse().expect("a number of rounds"))
}

/// An empty folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// Publishes `0`, `1`, … to a topic until it is told to stop. Returns how many there are.
async fn publish(
    link: Link,
    topic: String,
    acknowledged: tokio::sync::mpsc::Sender<()>,
    stop: tokio::sync::watch::Receiver<bool>,
) -> usize {
    let mut under_way = JoinSet::new();
    let mut next = 0;
    while !*stop.borrow() {
        while under_way.len() < UNDER_WAY {
            under_way.spawn(link.publish(&topic, next.to_string()));
            next += 1;
        }
        let stored = under_way.join_next().await.expect("some are under way");
        stored
            .expect("it does not panic")
            .expect("it is stored, whatever happens");
        acknowledged.send(()).await.expect("the test counts");
    }
    while let Some(stored) = under_way.join_next().await {
        stored
            .expect("it does not panic")
            .expect("it is stored, whatever happens");
    }
    next
}

/// Follows a topic from its first message on and returns the numbers up to `count`, once each of
/// them must have come.
async fn follow(
    mut topic: heartwire::Subscription,
    mut count: tokio::sync::watch::Receiver<Option<usize>>,
) -> Vec<usize> {
    let mut numbers = Vec::new();
    loop {
        if count
            .borrow_and_update()
            .is_some_and(|count| numbers.len() >= count)
        {
            return numbers;
        }
        let next = tokio::select! {
            next = tokio::time::timeout(PATIENCE, topic.next()) => next,
            Ok(()) = count.changed() => continue,
        };
        match next
            .expect("the next message comes")
            .expect("the link goes on")
        {
            Delivery::Message(message) => {
                let number = std::str::from_utf8(message.payload.as_bytes()).expect("text");
                numbers.push(number.parse().expect("a number"));
            }
            Delivery::Gap(gap) => panic!("nothing is missing, and yet: {gap:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_minus_nine() {
    let folder = folder("kill-minus-nine");
    let flags = [
        "--data",
        folder.to_str().expect("UTF-8"),
        "--retain-messages",
        "100000000",
    ];
    let address = lasting_address().to_string();
    let mut server = Server::start_on(&address, &flags);

    let (acknowledge, mut acknowledged) = tokio::sync::mpsc::channel(1_024);
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let follower = link(&address);
    let mut publishers = Vec::new();
    let mut followers = Vec::new();
    for number in 0..PUBLISHERS {
        let topic = format!("numbers:{number}");
        let followed = follower
            .subscribe_from(&topic, SubFrom::Head)
            .expect("a topic");
        let (count, counted) = tokio::sync::watch::channel(None);
        followers.push((tokio::spawn(follow(followed, counted)), count));
        let publishing = publish(link(&address), topic, acknowledge.clone(), stopping.clone());
        publishers.push(tokio::spawn(publishing));
    }

    let begun = Instant::now();
    for round in 0..rounds() {
        for _ in 0..ACKNOWLEDGED + round * 37 % 100 {
            let one = tokio::time::timeout(PATIENCE, acknowledged.recv()).await;
            one.expect("publishes are acknowledged");
        }
        server.process.signal(Signal::KILL);
        server.process.exit();
        server = tokio::task::block_in_place(|| Server::start_on(&address, &flags));
    }
    stop.send_replace(true);
    drop(acknowledge);
    // Publishers wait for whoever counts.
    let counting = tokio::spawn(async move { while acknowledged.recv().await.is_some() {} });

    let mut all_published = Vec::new();
    for (publisher, (follower, count)) in publishers.into_iter().zip(followers) {
        let published = tokio::time::timeout(PATIENCE, publisher).await;
        let published = published.expect("everything is stored").expect("no panic");
        count.send_replace(Some(published));
        let numbers = follower.await.expect("no panic");
        assert!(
            numbers == numbers_up_to(published),
            "once each, in order: {published} were published"
        );
        all_published.push(published);
    }
    counting.await.expect("no panic");
    server.process.signal(Signal::KILL);
    server.process.exit();
    read_back(&address, &flags, &all_published).await;
    assert_nothing_else_on_disk(&folder, &all_published);
    println!(
        "{} rounds of kill -9 in {:.1} s: {} messages published, followed and read back, none \
         lost, doubled or out of order",
        rounds(),
        begun.elapsed().as_secs_f64(),
        all_published.iter().sum::<usize>()
    );
}

fn numbers_up_to(published: usize) -> Vec<usize> {
    (0..published).collect()
}

/// Starts the server once more and follows each topic from its head as somebody who was never there:
/// what live followers were given may have come from memory, this comes from the disk. Stops the
/// server as a deploy does.
async fn read_back(address: &str, flags: &[&str], published: &[usize]) {
    let mut server = tokio::task::block_in_place(|| Server::start_on(address, flags));
    let reader = link(address);
    for (number, published) in published.iter().enumerate() {
        let followed = reader
            .subscribe_from(&format!("numbers:{number}"), SubFrom::Head)
            .expect("a topic");
        let (_count, counted) = tokio::sync::watch::channel(Some(*published));
        let numbers = follow(followed, counted).await;
        assert!(
            numbers == numbers_up_to(*published),
            "once each, in order, for a newcomer as well: {published} were published"
        );
    }
    drop(reader);
    tokio::task::block_in_place(|| server.process.interrupt());
}

/// The log is whole, and each topic ends with the last message that was published: whoever follows
/// until all have come does not see what may have been stored twice behind them.
fn assert_nothing_else_on_disk(folder: &Path, published: &[usize]) {
    let all = published.iter().enumerate();
    assert_whole(
        folder,
        all.map(|(number, count)| {
            let says = format!(" offsets 1 to {count}: {count} messages, ");
            (format!("numbers:{number}"), says)
        }),
    );
}

/// A back end that is posted to.
struct BackEnd {
    taken: UnboundedSender<Value>,
    requests: AtomicUsize,
}

impl BackEnd {
    /// Listens; returns where.
    async fn start(taken: UnboundedSender<Value>) -> String {
        let back_end = Self {
            taken,
            requests: AtomicUsize::new(0),
        };
        let app = Router::new()
            .fallback(Self::take)
            .with_state(Arc::new(back_end));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    /// Every twentieth request fails.
    async fn take(State(back_end): State<Arc<Self>>, body: String) -> StatusCode {
        if back_end.requests.fetch_add(1, Ordering::Relaxed) % 20 == 19 {
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        let body = serde_json::from_str(&body).expect("JSON");
        back_end.taken.send(body).expect("the test goes on");
        StatusCode::NO_CONTENT
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_is_posted_in_order_through_kill_minus_nine() {
    const PER_ROUND: usize = 60;
    const KILLS: usize = 3;
    let (sender, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let url = BackEnd::start(sender).await;
    let folder = folder("kill-webhook");
    let data = folder.to_str().expect("a path of text");
    let hook = format!("inbox {url} batch=4");
    let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let flags = [
        "--data",
        data,
        "--webhook",
        &hook,
        "--webhook-secret",
        secret,
    ];
    let address = lasting_address().to_string();

    let mut offset = 0;
    let (mut messages, mut repeated) = (0, 0);
    let mut handle = |body: Value| {
        assert_eq!(body["type"], "heartwire.messages", "no gap: {body}");
        for message in body["messages"].as_array().expect("messages") {
            let next = message["offset"].as_u64().expect("an offset");
            messages += 1;
            assert!(next <= offset + 1, "{next} after {offset}: one is missing");
            repeated += usize::from(next <= offset);
            offset = offset.max(next);
        }
        offset
    };
    for round in 0..=KILLS {
        let mut server = tokio::task::block_in_place(|| Server::start_on(&address, &flags));
        let begins = (round * PER_ROUND) as u64;
        let publishing = tokio::task::spawn_blocking(move || {
            (0..PER_ROUND).for_each(|number| drop(server.publish("inbox", &number.to_string())));
            server
        });
        // Somewhere in the middle of it, for all but the last round.
        let until = begins + (PER_ROUND / if round == KILLS { 1 } else { 2 }) as u64;
        let mut reached = 0;
        while reached < until {
            let next = tokio::time::timeout(PATIENCE, taken.recv()).await;
            reached = handle(
                next.expect("messages are posted")
                    .expect("the back end lives"),
            );
        }
        server = publishing.await.expect("everything is stored");
        server.process.signal(Signal::KILL);
        server.process.exit();
    }
    println!("{KILLS} kills: {messages} messages posted, {repeated} of them again, none lost");
}

fn killed_and_started(mut server: Server, flags: &[&str]) -> Server {
    server.process.signal(Signal::KILL);
    server.process.exit();
    Server::start(flags)
}

/// Asks as somebody who shows this; the status.
fn asks(server: &Server, shown: &str, method: &str, path: &str) -> u16 {
    let bearer = format!("Bearer {shown}");
    http(server.addr, method, path, &[("Authorization", &bearer)], "").0
}

#[test]
fn whoever_is_shut_out_stays_so() {
    let data = folder("shut-out");
    let data = data.to_str().expect("UTF-8");
    let flags = ["--data", data, "--api-key", KEY, "--jwt-secret", SECRET];
    let read =
        |server: &Server, topic: &str| asks(server, TOKEN, "GET", &format!("/v1/topics/{topic}"));
    let server = Server::start(&flags);
    assert_eq!(
        (read(&server, "task:42"), read(&server, "task:43")),
        (200, 200)
    );
    let taking = "/v1/subjects/ann/topics/task:42?for=1h";
    assert_eq!(asks(&server, KEY, "DELETE", taking), 200);
    let server = killed_and_started(server, &flags);
    assert_eq!(
        (read(&server, "task:42"), read(&server, "task:43")),
        (403, 200)
    );
    assert_eq!(asks(&server, KEY, "DELETE", "/v1/subjects/ann?for=1h"), 200);
    let server = killed_and_started(server, &flags);
    assert_eq!(read(&server, "task:43"), 403);
    assert_eq!(asks(&server, KEY, "POST", "/v1/subjects/ann/readmit"), 204);
    let mut server = killed_and_started(server, &flags);
    assert_eq!(read(&server, "task:42"), 200);
    server.process.interrupt();

    let file = format!("{data}/shut-out");
    let text = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, text.replace("crc32c ", "crc32c 1")).expect("it is damaged");
    let (code, _, errors) = Heartwire::run(&[&["serve"][..], &flags].concat());
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("shut-out is damaged"), "{errors}");
}
