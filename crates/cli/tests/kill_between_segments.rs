//! The server is killed while segments turn: while one is full and the next is begun, while emptied
//! ones are removed, and while the file of a removed one becomes a segment again. What was
//! acknowledged is there once and in order, and of each topic what retention keeps.
//!
//! Messages are large, so that a few hundred of them fill several segments.

#![cfg(unix)]
#![allow(
    clippy::print_stdout,
    reason = "the figures are for who runs the tests"
)]

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Server, Signal, assert_whole, link, wait_until};
use heartwire::{Delivery, Link, SubFrom, Subscription};
use heartwire_testing::lasting_address;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Each has a topic of its own.
const PUBLISHERS: usize = 2;
/// About how large a message is, in bytes.
const MESSAGE_BYTES: usize = 256 * 1024;
/// How many publishes of one publisher are under way at a time: half of the 4 MiB that a server takes
/// from one client without an acknowledgement.
const UNDER_WAY: usize = 8;
/// How many messages of a topic are kept: with all topics half a segment, so that each segment is
/// emptied while the next is being filled.
const KEPT: usize = 64;
/// How far publishers get ahead of who follows them: retention never overtakes a follower that is slow
/// to come back, and whatever does not come to it is lost.
const AHEAD: usize = KEPT / 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// When the server is killed: each of these once, and again if HEARTWIRE_KILL_ROUNDS asks for more. A
/// server begins with an empty segment and prepares another; a segment is 64 MiB.
const MOMENTS: [Moment; 5] = [
    // The first segment was filled, has just been emptied, and is being removed.
    Moment::Acknowledged(99 << 20),
    // A segment has been removed, and its file waits.
    Moment::Spared,
    // A segment has just been begun, and the file of a removed one made ready to follow it.
    Moment::SpareTaken,
    // The third segment, which has the file of a removed one, is being written.
    Moment::Acknowledged(149 << 20),
    // The same has just been begun.
    Moment::Acknowledged(130 << 20),
];

#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So many bytes of messages have been acknowledged since the start.
    Acknowledged(usize),
    /// The file of a removed segment is kept for another.
    Spared,
    /// That file has got a new name.
    SpareTaken,
}

impl Moment {
    async fn wait(self, round: usize, folder: &Path, acknowledged: &mut watch::Receiver<usize>) {
        match self {
            Self::Acknowledged(bytes) => {
                // Later rounds are to meet other places in a segment.
                let messages = bytes / MESSAGE_BYTES + round / MOMENTS.len() * 7 % 50;
                let goal = *acknowledged.borrow() + messages;
                let reached = acknowledged.wait_for(|count| *count >= goal);
                let reached = tokio::time::timeout(PATIENCE, reached).await;
                reached
                    .expect("publishes are acknowledged")
                    .expect("publishers go on");
            }
            Self::Spared => wait_for_spare(folder, true),
            Self::SpareTaken => {
                wait_for_spare(folder, true);
                wait_for_spare(folder, false);
            }
        }
    }
}

fn wait_for_spare(folder: &Path, is_there: bool) {
    let spare = folder.join("spare.tmp");
    let what = format!("whether there is a spare file is {is_there}");
    tokio::task::block_in_place(|| wait_until(&what, || spare.exists() == is_there));
}

fn rounds() -> usize {
    let asked = std::env::var("HEARTWIRE_KILL_ROUNDS").ok();
    let asked = asked.map_or(0, |asked| asked.parse().expect("a number of rounds"));
    asked.max(MOMENTS.len())
}

/// A message that says everywhere which one it is.
fn message(topic: &str, number: usize) -> String {
    let line = format!("{topic} {number}\n");
    line.repeat(MESSAGE_BYTES / line.len())
}

/// Publishes message 0, 1, … to a topic until it is told to stop. Returns how many there are.
async fn publish(
    link: Link,
    topic: String,
    acknowledged: watch::Sender<usize>,
    mut followed: watch::Receiver<usize>,
    stop: watch::Receiver<bool>,
) -> usize {
    let mut under_way = JoinSet::new();
    let mut next = 0;
    loop {
        let is_over = *stop.borrow();
        if !is_over && under_way.len() < UNDER_WAY {
            let near = followed.wait_for(|followed| next < followed + AHEAD).await;
            near.expect("the follower goes on");
            under_way.spawn(link.publish(&topic, message(&topic, next)));
            next += 1;
            continue;
        }
        let Some(stored) = under_way.join_next().await else {
            return next;
        };
        stored
            .expect("it does not panic")
            .expect("it is stored, whatever happens");
        acknowledged.send_modify(|count| *count += 1);
    }
}

/// The next message of a topic must be this one.
async fn comes_next(topic: &mut Subscription, number: usize) {
    let next = tokio::time::timeout(PATIENCE, topic.next()).await;
    let next = next.unwrap_or_else(|_| panic!("{} {number} never comes", topic.topic()));
    match next.expect("the link goes on") {
        Delivery::Message(came) => {
            let expected = message(topic.topic().as_str(), number);
            let bytes = came.payload.as_bytes();
            let begins = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
            assert!(
                bytes == expected.as_bytes(),
                "{} {number} comes next, and not {} bytes that begin with {begins:?}",
                topic.topic(),
                bytes.len()
            );
        }
        Delivery::Gap(gap) => panic!("nothing is missing before {number}, and yet: {gap:?}"),
    }
}

/// Follows a topic from message 0 on until `count` have come, once each and in order, and tells how
/// many.
async fn follow(
    mut topic: Subscription,
    followed: watch::Sender<usize>,
    mut count: watch::Receiver<Option<usize>>,
) {
    for number in 0.. {
        // The last message has come before it is known that it is the last: only the next one, or that
        // there is none, ends the wait.
        tokio::select! {
            () = comes_next(&mut topic, number) => {}
            known = count.wait_for(|count| *count == Some(number)) => {
                known.expect("the test goes on");
                return;
            }
        }
        followed.send_replace(number + 1);
    }
}

/// A topic, who publishes to it, and who follows it.
struct Pair {
    publisher: JoinHandle<usize>,
    follower: JoinHandle<()>,
    /// The follower's link, which is closed with its last handle.
    _link: Link,
    count: watch::Sender<Option<usize>>,
}

impl Pair {
    fn start(
        address: &str,
        number: usize,
        acknowledged: &watch::Sender<usize>,
        stop: &watch::Receiver<bool>,
    ) -> Self {
        let topic = topic(number);
        let following = link(address);
        let followed = following.subscribe_from(&topic, SubFrom::Head);
        let followed = followed.expect("a topic");
        let (tell, told) = watch::channel(0);
        let (count, counted) = watch::channel(None);
        let publishing = publish(
            link(address),
            topic,
            acknowledged.clone(),
            told,
            stop.clone(),
        );
        Self {
            publisher: tokio::spawn(publishing),
            follower: tokio::spawn(follow(followed, tell, counted)),
            _link: following,
            count,
        }
    }

    /// Waits until everything is stored and followed; how many messages there are.
    async fn finish(self) -> usize {
        let published = tokio::time::timeout(PATIENCE, self.publisher).await;
        let published = published.expect("everything is stored").expect("no panic");
        self.count.send_replace(Some(published));
        self.follower.await.expect("once each, in order");
        published
    }
}

fn topic(number: usize) -> String {
    format!("numbers:{number}")
}

/// What the log's folder has shown at the deaths of the servers.
#[derive(Debug, Default)]
struct Turned {
    /// The segments that had frames in them, or an index of such.
    written: BTreeSet<u32>,
    /// Those of them that another one followed in the life of the same server.
    filled: usize,
    /// Those of them whose file had been that of a removed one.
    reused: usize,
    removed: usize,
}

impl Turned {
    /// Looks at the folder of a server that was killed.
    fn look(&mut self, folder: &Path) {
        let there = numbered(folder, ".seg");
        let before = self.written.last().copied().unwrap_or(0);
        // What was filled has an index, under another name once the segment has been removed.
        let mut new = &numbered(folder, ".idx") | &numbered(folder, ".gone");
        for number in &there {
            // The magic in front says which kind of file it is; behind the 64 bytes of its header the
            // first frame begins with its own.
            let mut start = [0; 68];
            let file = File::open(folder.join(format!("{number:08}.seg")));
            let read = file.and_then(|mut file| file.read_exact(&mut start));
            if read.is_ok() && start.ends_with(b"HwF1") {
                new.insert(*number);
                let is_reused = *number > before && start.starts_with(b"HwLogReu");
                self.reused += usize::from(is_reused);
            }
        }
        new.retain(|number| *number > before);
        self.filled += new.len().saturating_sub(1);
        self.written.append(&mut new);
        self.removed = self.written.difference(&there).count();
    }
}

/// The numbers of the files in a log's folder whose names end so.
fn numbered(folder: &Path, ending: &str) -> BTreeSet<u32> {
    let entries = fs::read_dir(folder).expect("the log's folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let numbers = names.filter_map(|name| name.to_str()?.strip_suffix(ending)?.parse().ok());
    numbers.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_minus_nine_while_segments_turn() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kill-between-segments");
    let _ = fs::remove_dir_all(&folder);
    let kept = KEPT.to_string();
    let data = folder.to_str().expect("UTF-8");
    let flags = ["--data", data, "--retain-messages", &kept];
    let flags = [&flags[..], &["--retain-bytes", "1GiB"]].concat();
    let address = lasting_address().to_string();
    let mut server = Server::start_on(&address, &flags);

    let (acknowledge, mut acknowledged) = watch::channel(0);
    let (stop, stopping) = watch::channel(false);
    let start = |number| Pair::start(&address, number, &acknowledge, &stopping);
    let pairs: Vec<Pair> = (0..PUBLISHERS).map(start).collect();

    let begun = Instant::now();
    let mut turned = Turned::default();
    for (round, moment) in MOMENTS.iter().cycle().take(rounds()).enumerate() {
        moment.wait(round, &folder, &mut acknowledged).await;
        server.process.signal(Signal::KILL);
        server.process.exit();
        turned.look(&folder);
        server = tokio::task::block_in_place(|| Server::start_on(&address, &flags));
    }
    stop.send_replace(true);
    let mut published = Vec::new();
    for pair in pairs {
        published.push(pair.finish().await);
    }
    server.process.signal(Signal::KILL);
    server.process.exit();
    turned.look(&folder);

    assert!(turned.filled >= 3, "{turned:?}");
    assert!(turned.removed >= 1, "{turned:?}");
    assert!(turned.reused >= 1, "{turned:?}");
    read_back(&address, &flags, &folder, &published).await;
    let ends = published.iter().enumerate();
    assert_whole(
        &folder,
        ends.map(|(number, last)| (topic(number), format!(" to {last}: "))),
    );
    println!(
        "{} rounds of kill -9 in {:.1} s: {} messages in {} segments, {} of them filled, {} removed \
         and {} made of the files of others: nothing lost, doubled or out of order",
        rounds(),
        begun.elapsed().as_secs_f64(),
        published.iter().sum::<usize>(),
        turned.written.len(),
        turned.filled,
        turned.removed,
        turned.reused,
    );
}

/// Which messages of a topic are left.
fn newest(published: usize) -> Range<usize> {
    published.saturating_sub(KEPT)..published
}

/// Starts the server once more and follows each topic from its head as somebody who was never there:
/// the newest messages are all there, and the segments of the others go. Stops the server as a deploy
/// does.
async fn read_back(address: &str, flags: &[&str], folder: &Path, published: &[usize]) {
    let mut server = tokio::task::block_in_place(|| Server::start_on(address, flags));
    let reader = link(address);
    for (number, published) in published.iter().enumerate() {
        let followed = reader.subscribe_from(&topic(number), SubFrom::Head);
        let mut followed = followed.expect("a topic");
        for number in newest(*published) {
            comes_next(&mut followed, number).await;
        }
    }
    drop(reader);
    tokio::task::block_in_place(|| {
        wait_until("only the newest segments are left", || {
            let left = numbered(folder, ".seg");
            let (first, last) = (left.first().copied(), left.last().copied());
            first.is_some_and(|first| first > 3) && last > first && left.len() <= SEGMENTS_LEFT
        });
        server.process.interrupt();
    });
}

/// No more segments are left than what is retained may lie in: it takes up half of one, and no server
/// but the last few has written less than that. One more stands ready.
const SEGMENTS_LEFT: usize = 6;
