//! A restart under five thousand links: nothing is lost or doubled, everybody comes back when told
//! to, and finds room in the accept queue `[CLOSE-5]`.

#![allow(
    clippy::print_stdout,
    reason = "the figures are for who runs the tests"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use heartwire::{CloseCode, Event, Events, Link, Loss, Publish, Status, SubFrom, Subscription};
use heartwire_load::{Faults, Sequence, Stamp};
use heartwire_testing::{Lateness, lasting_address};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::common::{Server, Signal};

const LINKS: usize = 5_000;
/// How many of them dial at the same time in the beginning.
const WAVE: usize = 250;
/// Topics with a publisher each, that all links follow in equal parts.
const ROOMS: usize = 50;
const PUBLISH_EVERY: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(6);
/// How much later than the window the last may be asked to come: telling all of them takes a while, and
/// the next server has a second to listen.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// How long the last may take to be back once it dials: thousands open in the seconds before it.
const BACK_WITHIN: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);
/// Sockets, and what a process has open besides.
const DESCRIPTORS: u64 = LINKS as u64 + 500;

/// What a link met between two servers.
struct Outage {
    why: Loss,
    lost_at: Instant,
    /// The delay that the server named, with the tenth that the client may add.
    named: Duration,
    dialled_at: Instant,
    dials: usize,
    back_at: Instant,
}

/// Reads a link's events until it is back.
async fn outage(mut events: Events) -> Outage {
    let mut lost = None;
    let mut dialled: Option<Instant> = None;
    let mut dials = 0;
    loop {
        let event = events.next().await.expect("the link goes on");
        let Event::Status(status) = event.expect("events are few") else {
            continue;
        };
        let now = Instant::now();
        match (status, &lost) {
            (Status::Lost { why, retry_in, .. }, None) => lost = Some((why, retry_in, now)),
            (Status::Connecting { .. }, Some(_)) => {
                dialled.get_or_insert(now);
                dials += 1;
            }
            (Status::Open { .. }, Some(_)) => break,
            _ => {}
        }
    }
    let (why, named, lost_at) = lost.expect("nothing ends the loop before");
    Outage {
        why,
        lost_at,
        named,
        dialled_at: dialled.expect("it has dialled"),
        dials,
        back_at: Instant::now(),
    }
}

fn room(number: usize) -> String {
    format!("room:{}", number % ROOMS)
}

/// Follows a room until as many messages have come as were published, and tells what went wrong.
async fn follow(mut room: Subscription, mut published: watch::Receiver<Option<u64>>) -> Faults {
    let mut sequence = Sequence::default();
    loop {
        let published_len = *published.borrow_and_update();
        if published_len.is_some_and(|len| sequence.next() >= len) {
            return sequence.faults();
        }
        tokio::select! {
            delivery = room.next() => {
                sequence.note(&delivery.expect("the link goes on"));
            }
            Ok(()) = published.changed() => {}
        }
    }
}

/// Publishes to a room until it is told to stop, whatever the state of the connection; returns how
/// many messages that were, once all are stored.
async fn publish(link: Link, room: String, mut stop: watch::Receiver<bool>) -> u64 {
    let mut ticks = tokio::time::interval(PUBLISH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut publishes: Vec<Publish> = Vec::new();
    while !*stop.borrow_and_update() {
        let number = publishes.len() as u64;
        publishes.push(link.publish(&room, Stamp::new(number).payload(0)));
        tokio::select! {
            _ = ticks.tick() => {}
            Ok(()) = stop.changed() => {}
        }
    }
    let published = publishes.len() as u64;
    stored(publishes).await;
    published
}

/// Waits until all of these are stored.
async fn stored(publishes: Vec<Publish>) {
    for publish in publishes {
        let stored = tokio::time::timeout(PATIENCE, publish).await;
        stored.expect("in time").expect("it is stored once");
    }
}

/// The followers and publishers of all rooms.
struct Rooms {
    followers: Vec<Vec<JoinHandle<Faults>>>,
    publishers: Vec<(JoinHandle<u64>, watch::Sender<Option<u64>>)>,
    stop: watch::Sender<bool>,
}

impl Rooms {
    fn open(links: &[Link]) -> Self {
        let (stop, stopping) = watch::channel(false);
        let mut rooms = Self {
            followers: Vec::new(),
            publishers: Vec::new(),
            stop,
        };
        for number in 0..ROOMS {
            let (count, counted) = watch::channel(None);
            let members = links.iter().skip(number).step_by(ROOMS);
            let followers = members.map(|link| {
                let followed = link.subscribe_from(&room(number), SubFrom::Head);
                tokio::spawn(follow(followed.expect("a topic"), counted.clone()))
            });
            rooms.followers.push(followers.collect());
            let publishing = publish(links[number].clone(), room(number), stopping.clone());
            rooms.publishers.push((tokio::spawn(publishing), count));
        }
        rooms
    }

    /// Stops publishing and waits until everybody has everything: how many messages were published
    /// and delivered, and what went wrong.
    async fn close(self) -> (u64, u64, Faults) {
        self.stop.send_replace(true);
        let (mut published, mut delivered, mut faults) = (0, 0, Faults::default());
        for ((publisher, count), followers) in self.publishers.into_iter().zip(self.followers) {
            let messages = publisher.await.expect("no panic");
            count.send_replace(Some(messages));
            published += messages;
            for follower in followers {
                let followed = tokio::time::timeout(PATIENCE, follower).await;
                faults += followed.expect("everything comes").expect("no panic");
                delivered += messages;
            }
        }
        (published, delivered, faults)
    }
}

/// Reads the topic to which each link has published its number, and returns the numbers in order of size.
async fn numbers_in(link: &Link, topic: &str) -> Vec<usize> {
    let mut topic = link.subscribe_from(topic, SubFrom::Head).expect("a topic");
    let mut numbers = Vec::new();
    link.publish(topic.topic().as_str(), "end")
        .await
        .expect("it is stored");
    loop {
        let next = tokio::time::timeout(PATIENCE, topic.next()).await;
        let Some(heartwire::Delivery::Message(message)) = next.expect("it comes") else {
            panic!("nothing is missing, and nothing ends");
        };
        let text = std::str::from_utf8(message.payload.as_bytes()).expect("text");
        match text.parse() {
            Ok(number) => numbers.push(number),
            Err(_) => break,
        }
    }
    numbers.sort_unstable();
    numbers
}

/// Dials that found no room in an accept queue of this machine, and those that were dropped there.
fn overflows() -> [u64; 2] {
    let text = fs::read_to_string("/proc/net/netstat").expect("Linux has it");
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let names = lines.next().expect("a line of names").split(' ');
    let values: Vec<&str> = lines
        .next()
        .expect("a line of numbers")
        .split(' ')
        .collect();
    let find = |wanted: &str| {
        let index = names.clone().position(|name| name == wanted);
        let value = index.and_then(|index| values.get(index)?.parse().ok());
        value.expect("the kernel counts it")
    };
    [find("ListenOverflows"), find("ListenDrops")]
}

/// Why the links lost their connections, how many each time, and when the first and the last did.
fn causes(outages: &[Outage], stopped_at: Instant) -> BTreeMap<String, (usize, [Duration; 2])> {
    let mut causes = BTreeMap::new();
    for outage in outages {
        let after = outage.lost_at.saturating_duration_since(stopped_at);
        let (count, [first, last]) = causes
            .entry(outage.why.to_string())
            .or_insert((0, [after; 2]));
        *count += 1;
        (*first, *last) = (after.min(*first), after.max(*last));
    }
    causes
}

/// The dials are due over the whole window, and no tenth of it, wherever it begins, holds more than
/// two tenths of them. How many the fullest holds.
fn check_spread(outages: &[Outage]) -> usize {
    let due = outages.iter().map(|outage| outage.lost_at + outage.named);
    let mut due: Vec<Instant> = due.collect();
    due.sort_unstable();
    let crowd = due.iter().enumerate().map(|(index, first)| {
        let end = due.partition_point(|due| *due < *first + WINDOW / 10);
        end - index
    });
    let crowd = crowd.max().expect("there are some");
    assert!(crowd <= due.len() / 5, "{crowd} come within a tenth");
    let (early, late) = (due[due.len() / 20], due[due.len() * 19 / 20]);
    let spread = late - early;
    assert!(spread > WINDOW.mul_f64(0.7), "{spread:?}, not {WINDOW:?}");
    crowd
}

/// Checks that the delays were spread over the window, that they were kept, and that everybody was
/// back in time; prints the figures.
fn check(outages: &[Outage], stopped_at: Instant, lateness: &Lateness) {
    println!("lost by: {:?}", causes(outages, stopped_at));
    let late = Duration::from_secs(1) + lateness.allowance();
    for Outage { why, .. } in outages {
        assert!(
            matches!(why, Loss::Closed { code, .. } if *code == CloseCode::DRAINING),
            "{why}"
        );
    }
    let crowd = check_spread(outages);
    for outage in outages {
        let named = outage.named;
        let earliest = outage.dialled_at.duration_since(stopped_at);
        assert!(earliest >= named, "{earliest:?}, not {named:?}");
        let waited = outage.dialled_at.duration_since(outage.lost_at);
        assert!(
            waited <= named + late,
            "{waited:?}, not {named:?} and {late:?}"
        );
    }
    let due = outages.iter().map(|outage| outage.lost_at + outage.named);
    let last_due = due.max().expect("there are some") - stopped_at;
    let due_by = WINDOW + TOLD_WITHIN + lateness.allowance();
    assert!(last_due <= due_by, "due after {last_due:?}, not {due_by:?}");
    let back = |outage: &Outage| outage.back_at.duration_since(stopped_at);
    let last = outages.iter().map(back).max().expect("there are some");
    let bound = last_due + BACK_WITHIN + lateness.allowance();
    let again: usize = outages.iter().map(|outage| outage.dials - 1).sum();
    println!(
        "at most {crowd} dials due within a tenth of the window; {again} had to be tried again; \
         the last dial was due {:.1} s after SIGTERM and the last link back {:.1} s after it \
         (window {:.0} s)",
        last_due.as_secs_f64(),
        last.as_secs_f64(),
        WINDOW.as_secs_f64(),
    );
    assert!(
        last <= bound,
        "the last was back after {last:?}, not {bound:?}"
    );
}

/// Waits for the end of a server that was asked to stop, and starts the next one in its place.
fn succeed(mut server: Server, address: &str, flags: &[&str], stopped_at: Instant) -> Server {
    assert_eq!(server.process.exit_code(), 0);
    let ended = stopped_at.elapsed().as_secs_f64();
    let next = Server::start_on(address, flags);
    let listening = stopped_at.elapsed().as_secs_f64();
    println!(
        "the old server ended {ended:.1} s after SIGTERM, the new one listened after {listening:.1} s"
    );
    next
}

fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, wanted).expect("up to the hard limit it is allowed");
    let most = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        most >= DESCRIPTORS,
        "it takes {DESCRIPTORS} descriptors, and {most} are allowed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_links_come_back_from_a_restart_with_everything() {
    raise_descriptors();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("restart-under-load");
    let _ = fs::remove_dir_all(&folder);
    let window = format!("{}s", WINDOW.as_secs());
    let data = folder.to_str().expect("UTF-8");
    let mut flags = vec!["--data", data, "--drain-window", &window];
    // Five thousand pings a while are work, and a busy machine that answers them late is not what
    // this is about.
    flags.extend(["--heartbeat-interval", "1m", "--heartbeat-timeout", "1m"]);
    let address = lasting_address().to_string();
    let server = Server::start_on(&address, &flags);

    let begun = Instant::now();
    let url = format!("ws://{address}/websocket");
    // On a busy machine thousands of handshakes take their time; who gives up begins anew.
    let dial = || Ok(Link::builder(&url).attempt_timeout(PATIENCE).connect()?);
    let links = heartwire_load::open(&dial, LINKS, WAVE).await;
    let (links, _) = links.expect("all open");
    println!(
        "{LINKS} links open after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let rooms = Rooms::open(&links);
    // What a link publishes behind its `sub` is stored when that is answered.
    stored(
        links
            .iter()
            .map(|link| link.publish("ready", "yes"))
            .collect(),
    )
    .await;
    let (overflows_before, lateness) = (overflows(), Lateness::watch());
    let outages: Vec<_> = links.iter().map(|link| outage(link.events())).collect();
    let outages: Vec<_> = outages.into_iter().map(tokio::spawn).collect();
    let own = links.iter().enumerate();
    let own: Vec<Publish> = own
        .map(|(n, link)| link.publish("own", n.to_string()))
        .collect();
    let stopped_at = Instant::now();
    server.process.signal(Signal::TERM);
    let server = tokio::task::block_in_place(|| succeed(server, &address, &flags, stopped_at));

    let mut ended = Vec::with_capacity(LINKS);
    for outage in outages {
        let back = tokio::time::timeout(PATIENCE, outage).await;
        ended.push(back.expect("everybody comes back").expect("no panic"));
    }
    check(&ended, stopped_at, &lateness);
    assert_eq!(
        overflows(),
        overflows_before,
        "dials found no room in the accept queue"
    );

    stored(own).await;
    let (published, delivered, faults) = rooms.close().await;
    println!("{published} messages published, {delivered} delivered: {faults}");
    assert!(faults.none(), "{faults}");
    let expected: Vec<usize> = (0..LINKS).collect();
    let numbers = numbers_in(&links[1], "own").await;
    assert!(
        numbers == expected,
        "each link's own message once, not {}",
        numbers.len()
    );
    drop(server);
}
