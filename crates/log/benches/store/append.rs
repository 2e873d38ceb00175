//! What making batches durable costs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heartwire_log::store::Batch;

use crate::{Source, Writer, open};

const BATCH_SIZES: [usize; 3] = [1, 64, 1_024];
const ROUNDS: usize = 3;
/// How many segments the store keeps that has their files again.
const SEGMENTS_MAX: u32 = 3;

pub(crate) fn append(folder: &Path, seconds: u64) {
    let span = Duration::from_secs(seconds);
    let mut filling = Appender::new(&folder.join("log"), None);
    let mut reusing = Appender::new(&folder.join("log-reused"), Some(SEGMENTS_MAX));
    println!(
        "messages a second, and in % of the bare loops that append, and that fill a file ahead"
    );
    println!("batch           filling               reusing             append    filled   frame");
    for size in BATCH_SIZES {
        let (mut fills, mut reuses, mut grown, mut filled) = (0.0, 0.0, 0.0, 0.0);
        let mut frame = 0;
        for round in 0..ROUNDS {
            frame = filling.rate(size, span, &mut fills);
            reusing.rate(size, span, &mut reuses);
            let path = folder.join(format!("bare-{size}-{round}"));
            grown = bare_loop(&path, frame, span, false).max(grown);
            filled = bare_loop(&path, frame, span, true).max(filled);
        }
        let messages = |frames: f64| frames * size as f64;
        let beside = |ours: f64| {
            let share = |bare: f64| 100.0 * ours / bare;
            let (grown, filled) = (share(grown), share(filled));
            format!("{:9.0} {grown:4.0} % {filled:4.0} %", messages(ours))
        };
        println!(
            "{size:5}  {}  {}  {:9.0} {:9.0} {frame:7}",
            beside(fills),
            beside(reuses),
            messages(grown),
            messages(filled),
        );
    }
    println!("{} segments reused", reusing.writer.store.segments_reused());
    filling.writer.finish();
    reusing.writer.finish();
}

/// A store, and what it is given.
struct Appender {
    writer: Writer,
    source: Source,
}

impl Appender {
    /// One whose segments stand in the files of others already, if they ever do.
    fn new(folder: &Path, segments_max: Option<u32>) -> Self {
        let (store, _) = open(folder, 0);
        let mut writer = Writer::new(store, segments_max);
        let mut source = Source::new();
        let mut batch = Batch::default();
        while segments_max.is_some() && writer.store.segments_reused() < 2 {
            source.fill(&mut batch, Batch::RECORDS_MAX);
            writer.commit(&batch);
        }
        Self { writer, source }
    }

    /// Makes batches durable for a while; `best` becomes how many a second, if those are more. Returns
    /// how long a frame is, in bytes.
    fn rate(&mut self, size: usize, span: Duration, best: &mut f64) -> usize {
        self.writer.settle();
        let mut batch = Batch::default();
        let (mut spent, mut count, mut frame) = (Duration::ZERO, 0, 0);
        while spent < span {
            self.source.fill(&mut batch, size);
            let start = Instant::now();
            frame = self.writer.commit(&batch);
            spent += start.elapsed();
            count += 1;
        }
        *best = best.max(f64::from(count) / spent.as_secs_f64());
        frame
    }
}

/// One `pwrite` and one `fdatasync` after the other, so many bytes each, into a file that grows, or
/// one that was filled with zeros before; how many a second.
fn bare_loop(path: &PathBuf, bytes: usize, span: Duration, is_filled: bool) -> f64 {
    const FILE_BYTES: usize = 64 << 20;
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    let file = options.open(path).expect("a file");
    if is_filled {
        file.write_all_at(&vec![0; FILE_BYTES], 0).expect("room");
        file.sync_all().expect("a sync");
    }
    let frame = vec![0xA5; bytes];
    let (start, mut count, mut position) = (Instant::now(), 0, 0);
    while start.elapsed() < span {
        file.write_all_at(&frame, position as u64).expect("a write");
        file.sync_data().expect("a sync");
        count += 1;
        let is_full = is_filled && position + 2 * bytes > FILE_BYTES;
        position = if is_full { 0 } else { position + bytes };
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    fs::remove_file(path).expect("it is there");
    rate
}
