//! What durable publishing costs, from the call to the follower.
//!
//! ```text
//!   cargo bench -p heartwire-server --bench durable -- FOLDER [SECONDS [PUBLISHERS]]
//! ```
//!
//! 1, 64 and 1,024 publishers in the server's own process each publish messages of 128 bytes to a topic
//! each, the next as soon as one is stored, while a follower of one of the topics takes the time
//! from the call until it is handed the message. Publishers that wait for each message leave the disk
//! idle while they are woken, so that 1,024 of them are measured with 8 messages under way each as
//! well, as links have. Each number is measured with topics on disk and in memory, beside a bare loop
//! in the same folder that appends one message of each publisher at a time to a file filled ahead, and
//! syncs; and beside the same loop with those who publish, who hand it their messages and wait. What a
//! message takes of the processors, those who publish and follow included, is told as well: unlike the
//! rest it says something on a machine that has other things to do.

#![allow(
    clippy::print_stdout,
    reason = "a benchmark reports to the terminal that started it"
)]

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use heartwire_server::{Delivery, Hub, SubFrom};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// How many publishers there are, and how many messages each has under way.
const PUBLISHERS: [(usize, usize); 4] = [(1, 1), (64, 1), (1_024, 1), (1_024, 8)];
const PAYLOAD_BYTES: usize = 128;
/// What a record takes on disk, with a topic and no publisher.
const RECORD_BYTES: usize = PAYLOAD_BYTES + 44;
/// How many messages the loop appends at once, as the log does.
const BATCH_MAX: usize = 4_096;
/// How large the file of the bare loop is; it begins again when it is full.
const FILE_BYTES: usize = 64 << 20;

/// As the command line has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error + Send + Sync>;
type Outcome<T> = Result<T, Failure>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let Some(folder) = arguments.next().map(PathBuf::from) else {
        println!(
            "usage: cargo bench -p heartwire-server --bench durable -- FOLDER [SECONDS [PUBLISHERS]]"
        );
        return Ok(());
    };
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let time = Duration::from_secs(seconds);
    let only: Option<usize> = arguments.next().map(|text| text.parse()).transpose()?;
    fs::create_dir_all(&folder)?;
    println!(
        "{:>14}  {:24} {:>12} {:>7} {:>8} {:>12} {:>12}",
        "publishers", "", "messages/s", "ratio", "CPU us", "p50 ms", "p99 ms"
    );
    let runtime = tokio::runtime::Runtime::new()?;
    for (publishers, depth) in PUBLISHERS {
        if only.is_some_and(|only| only != publishers) {
            continue;
        }
        let bare = bare(&folder.join("bare"), publishers, time)?;
        println!(
            "{:>14}  {:24} {:>12.0} {:>7} {:>8.2}",
            format!("{publishers} x {depth}"),
            "bare append and sync",
            bare.per_second,
            "1.00",
            bare.cpu_us
        );
        let path = folder.join("bare");
        let handed = runtime.block_on(handed(&path, (publishers, depth), time))?;
        println!(
            "{:>14}  {:24} {:>12.0} {:>7.2} {:>8.2}",
            "",
            "the same, handed over",
            handed.per_second,
            handed.per_second / bare.per_second,
            handed.cpu_us
        );
        for (name, log) in [("on disk", Some(folder.join("log"))), ("in memory", None)] {
            let measured = runtime.block_on(publish(log.as_deref(), (publishers, depth), time))?;
            println!(
                "{:>14}  {name:24} {:>12.0} {:>7.2} {:>8.2} {:>12.3} {:>12.3}",
                "",
                measured.rate.per_second,
                measured.rate.per_second / bare.per_second,
                measured.rate.cpu_us,
                quantile(&measured.latencies_ms, 0.50),
                quantile(&measured.latencies_ms, 0.99),
            );
        }
    }
    Ok(())
}

/// How many messages there were in a second, and what each took of the processors.
struct Rate {
    per_second: f64,
    cpu_us: f64,
}

/// Since when messages are counted.
struct Begun {
    at: Instant,
    cpu: Duration,
}

impl Begun {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            cpu: cpu_time(),
        }
    }

    fn rate(&self, messages: u64) -> Rate {
        let cpu = cpu_time().saturating_sub(self.cpu);
        Rate {
            per_second: messages as f64 / self.at.elapsed().as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / messages as f64,
        }
    }
}

/// What all threads together have taken of the processors.
fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

/// What a publisher hands to the loop, and waits for.
struct Handed {
    payload: Vec<u8>,
    stored: oneshot::Sender<()>,
}

/// The same loop with those who publish: each hands it a message, and waits for its turn. It does
/// nothing else that a log does: no offsets, no checksums, no topics, nobody who follows.
async fn handed(path: &Path, (publishers, depth): (usize, usize), time: Duration) -> Outcome<Rate> {
    let file = filled(path)?;
    let (sender, receiver) = mpsc::channel(publishers * depth);
    let writer = thread::spawn(move || append_handed(&file, receiver));
    let (start, is_over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let count = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..publishers {
        let (sender, is_over, count) = (sender.clone(), is_over.clone(), count.clone());
        tasks.spawn(async move {
            let hand = |payload| hand(&sender, payload);
            keep_publishing(hand, depth, start, &is_over, &count).await
        });
    }
    drop(sender);
    let (begun, before) = (Begun::now(), count.load(Ordering::Relaxed));
    tokio::time::sleep(time).await;
    let rate = begun.rate(count.load(Ordering::Relaxed) - before);
    is_over.store(true, Ordering::Relaxed);
    let ended = tasks.join_all().await;
    writer.join().map_err(|_| "the loop panicked")??;
    ended.into_iter().collect::<Outcome<()>>()?;
    fs::remove_file(path)?;
    Ok(rate)
}

async fn hand(sender: &mpsc::Sender<Handed>, payload: Vec<u8>) -> Outcome<()> {
    let (stored, is_stored) = oneshot::channel();
    sender.send(Handed { payload, stored }).await?;
    Ok(is_stored.await?)
}

/// Appends whatever was handed over during the last sync.
fn append_handed(file: &File, mut receiver: mpsc::Receiver<Handed>) -> Outcome<()> {
    let (mut batch, mut bytes, mut position) = (Vec::new(), Vec::new(), 0);
    while receiver.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
        for handed in &batch {
            bytes.extend_from_slice(&handed.payload);
            bytes.resize(bytes.len() + RECORD_BYTES - PAYLOAD_BYTES, b'x');
        }
        if position + bytes.len() > FILE_BYTES {
            position = 0;
        }
        file.write_all_at(&bytes, position as u64)?;
        file.sync_data()?;
        position += bytes.len();
        bytes.clear();
        for handed in batch.drain(..) {
            let _ = handed.stored.send(());
        }
    }
    Ok(())
}

/// A loop that appends a batch and syncs.
fn bare(path: &Path, publishers: usize, time: Duration) -> Outcome<Rate> {
    let file = filled(path)?;
    let batch = vec![b'x'; publishers * RECORD_BYTES];
    let (begun, mut messages, mut position) = (Begun::now(), 0, 0);
    while begun.at.elapsed() < time {
        if position + batch.len() > FILE_BYTES {
            position = 0;
        }
        file.write_all_at(&batch, position as u64)?;
        file.sync_data()?;
        position += batch.len();
        messages += publishers as u64;
    }
    let rate = begun.rate(messages);
    fs::remove_file(path)?;
    Ok(rate)
}

/// A file that was filled ahead.
fn filled(path: &Path) -> Outcome<File> {
    let file = File::create(path)?;
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.sync_all()?;
    Ok(file)
}

struct Measured {
    rate: Rate,
    /// In rising order.
    latencies_ms: Vec<f64>,
}

/// A message that begins with the time.
fn payload(start: Instant) -> Vec<u8> {
    let mut payload = vec![b'x'; PAYLOAD_BYTES];
    let stamp = start.elapsed().as_nanos() as u64;
    payload[..8].copy_from_slice(&stamp.to_le_bytes());
    payload
}

/// Of numbers in rising order.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part) as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// Publishes until it is over, with so many messages under way, and counts those that were stored.
async fn keep_publishing<T, E, F: Future<Output = Result<T, E>>>(
    publish: impl FnMut(Vec<u8>) -> F,
    depth: usize,
    start: Instant,
    is_over: &AtomicBool,
    count: &AtomicU64,
) -> Result<(), E> {
    let payloads = stream::iter(std::iter::repeat_with(|| payload(start)));
    let mut stored = pin!(payloads.map(publish).buffered(depth));
    while !is_over.load(Ordering::Relaxed)
        && let Some(outcome) = stored.next().await
    {
        outcome?;
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn publish(
    folder: Option<&Path>,
    (publishers, depth): (usize, usize),
    time: Duration,
) -> Outcome<Measured> {
    let mut builder = Hub::builder();
    if let Some(folder) = folder {
        let _ = fs::remove_dir_all(folder);
        builder = builder.data(folder);
    }
    let hub = builder.open().await?;
    let (start, count) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for number in 0..publishers {
        let (hub, count, is_over) = (hub.clone(), count.clone(), is_over.clone());
        tasks.spawn(async move {
            let topic = format!("topic:{number}");
            let publish = |payload| hub.publish(&topic, payload);
            keep_publishing(publish, depth, start, &is_over, &count).await
        });
    }
    let mut follower = hub.follow("topic:0", SubFrom::Tail)?;
    let mut latencies_ms = Vec::new();
    let (begun, before) = (Begun::now(), count.load(Ordering::Relaxed));
    while begun.at.elapsed() < time {
        if let Some(Delivery::Message(message)) = follower.next().await {
            let payload = message.payload();
            let (stamp, _) = payload.as_bytes().split_at(8);
            let sent = Duration::from_nanos(u64::from_le_bytes(stamp.try_into()?));
            latencies_ms.push((start.elapsed() - sent).as_secs_f64() * 1e3);
        }
    }
    let rate = begun.rate(count.load(Ordering::Relaxed) - before);
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    drop(follower);
    hub.drain(Duration::ZERO).await;
    latencies_ms.sort_by(f64::total_cmp);
    Ok(Measured { rate, latencies_ms })
}
