//! From numbers to the text that Prometheus reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use heartwire_hub::{ByKind, Counts, Death, Gaps, LagPart, Mode, Outcome, PresenceCounts};

use super::text::Page;
use super::{Metrics, Origin, lag, webhooks};
use crate::shared::Shared;

/// What the hub and its log count, copied under one short lock.
struct Seen {
    counts: Counts,
    presence: PresenceCounts,
    /// Members, and topics with somebody there.
    presence_len: (usize, usize),
    follows: usize,
    log: heartwire_log::Stats,
    memory_bytes: usize,
    disk: heartwire_log::DiskUsage,
    topics: usize,
    producers: usize,
    is_accepting: bool,
    is_disk_full: bool,
}

/// Everything, at this moment.
pub(crate) async fn collect(shared: &Arc<Shared>) -> String {
    let lag = lag::measure(shared).await;
    let seen = Seen::of(shared);
    let metrics = &shared.metrics;
    let mut page = Page::default();
    page.gauge("heartwire_build_info", "1, labelled with the version.")
        .with(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    #[cfg(target_os = "linux")]
    super::process::add_to(&mut page);
    connections(&mut page, shared, &seen.counts);
    heartbeats(&mut page, metrics, &seen.counts);
    following(&mut page, &seen, &lag);
    presence(&mut page, &seen);
    publishing(&mut page, metrics, &seen.counts);
    log(&mut page, shared, &seen);
    webhooks::add_to(&mut page, shared);
    limits(&mut page, shared);
    page.finish()
}

impl Seen {
    fn of(shared: &Shared) -> Self {
        let hub = shared.lock_hub();
        let log = hub.log();
        Self {
            counts: *hub.counts(),
            presence: hub.presence_counts().clone(),
            presence_len: hub.presence_len(),
            follows: hub.follows_len(),
            log: log.stats(),
            memory_bytes: log.bytes() + log.warm_bytes(),
            disk: log.disk_usage(),
            topics: log.topics_len(),
            producers: log.producers_len(),
            is_accepting: log.is_accepting(),
            is_disk_full: log.is_disk_full(),
        }
    }
}

fn connections(page: &mut Page, shared: &Shared, counts: &Counts) {
    let metrics = &shared.metrics;
    page.gauge(
        "heartwire_websockets",
        "WebSockets open, those included that have not said hello yet or are being closed.",
    )
    .value(shared.seats.taken());
    page.gauge(
        "heartwire_connections",
        "Connections that are part of the hub, by how they speak.",
    )
    .with(&[("mode", "v1")], counts.present.v1)
    .with(&[("mode", "plain")], counts.present.plain);
    let mut opened = page.counter(
        "heartwire_connections_opened_total",
        "WebSockets opened, by how they speak.",
    );
    for mode in [Mode::V1, Mode::Plain] {
        let count = metrics.opened[mode as usize].load(Ordering::Relaxed);
        opened.with(&[("mode", mode.as_str())], count);
    }
    let mut ended = page.counter(
        "heartwire_connections_ended_total",
        "WebSockets ended, by who decided it and the name of the close code; hung-up and broken \
         had none.",
    );
    for ((by, reason), count) in crate::sync::lock(&metrics.ended).iter() {
        ended.with(&[("by", by), ("reason", reason)], count);
    }
    page.counter(
        "heartwire_reconnects_total",
        "v1 connections whose client had dialled before.",
    )
    .value(counts.reconnects);
    page.counter(
        "heartwire_takeovers_total",
        "Connections that a later attempt of the same client replaced.",
    )
    .value(counts.takeovers);
    page.counter(
        "heartwire_stale_dials_total",
        "Dials that came after a later attempt of the same client, and were refused.",
    )
    .value(counts.stale_dials);
}

fn heartbeats(page: &mut Page, metrics: &Metrics, counts: &Counts) {
    page.histogram(
        "heartwire_heartbeat_round_trip_seconds",
        "Time from a ping of the server to its answer.",
    )
    .observed(&[], &metrics.round_trips);
    let deaths = [Death::Silence, Death::Blocked];
    let mut dead = page.counter(
        "heartwire_dead_links_total",
        "Links found dead, by the side that noticed: the server's verdict, or a client that came \
         back while its old connection was still held.",
    );
    for death in deaths {
        let count = metrics.dead[death as usize].load(Ordering::Relaxed);
        dead.with(&[("side", "server"), ("reason", death.as_str())], count);
    }
    dead.with(
        &[("side", "client"), ("reason", "taken-over")],
        counts.takeovers,
    );
    let mut detection = page.histogram(
        "heartwire_detection_delay_seconds",
        "Time from a dead peer's last sign of life to the server's verdict.",
    );
    for death in deaths {
        let histogram = &metrics.detection[death as usize];
        detection.observed(&[("reason", death.as_str())], histogram);
    }
}

fn following(page: &mut Page, seen: &Seen, lag: &LagPart) {
    let counts = &seen.counts;
    page.gauge(
        "heartwire_followers",
        "Topics followed, summed over connections and readers.",
    )
    .value(seen.follows);
    page.gauge(
        "heartwire_readers",
        "Followers inside the process: event streams and embedders.",
    )
    .value(counts.present.reader);
    let starts = &counts.starts;
    let mut family = page.counter(
        "heartwire_follows_started_total",
        "Topics that following began at, by whether a cursor was resumed and what it missed.",
    );
    family
        .with(&[("outcome", "fresh")], starts.fresh)
        .with(&[("outcome", "resumed")], starts.resumed);
    for (reason, count) in by_reason(&starts.with_gap) {
        family.with(&[("outcome", &format!("gap-{reason}"))], count);
    }
    let refused = &counts.refused_follows;
    page.counter(
        "heartwire_follows_refused_total",
        "Topics that were not followed, by reason.",
    )
    .with(&[("reason", "bad-topic")], refused.bad_topic)
    .with(&[("reason", "forbidden")], refused.forbidden)
    .with(&[("reason", "limit")], refused.limit);
    let mut gaps = page.counter(
        "heartwire_gaps_total",
        "Gaps that followers were told of, by reason.",
    );
    for (reason, count) in by_reason(&counts.gaps) {
        gaps.with(&[("reason", reason)], count);
    }
    deliveries(page, counts);
    page.gauge(
        "heartwire_lag_messages",
        "Messages that followers have yet to be sent, summed over those looked at.",
    )
    .value(lag.sum);
    page.gauge(
        "heartwire_lag_max_messages",
        "Messages that the follower furthest behind has yet to be sent of one topic.",
    )
    .value(lag.max);
    page.gauge(
        "heartwire_lag_looked_at_followers",
        "Followers that the lag was taken of; fewer than heartwire_followers where there are very \
         many, and others the next time.",
    )
    .value(lag.looked_at);
}

fn presence(page: &mut Page, seen: &Seen) {
    let (members, topics) = seen.presence_len;
    let counts = &seen.presence;
    page.gauge(
        "heartwire_presence_members",
        "Members that are there, those included that may yet come back, summed over topics.",
    )
    .value(members);
    page.gauge(
        "heartwire_presence_topics",
        "Topics with presence where somebody is.",
    )
    .value(topics);
    page.counter("heartwire_presence_joins_total", "Joins that were told.")
        .value(counts.joins);
    page.counter(
        "heartwire_presence_returns_total",
        "Members that came back within the grace time, of which nothing was told.",
    )
    .value(counts.returns);
    let mut leaves = page.counter(
        "heartwire_presence_leaves_total",
        "Leaves that were told, by who decided it and why.",
    );
    for ((by, reason), count) in &counts.leaves {
        leaves.with(&[("by", by), ("reason", reason)], *count);
    }
    page.counter(
        "heartwire_presence_unlisted_total",
        "Connections that came to a topic with presence and were not listed, by the limit.",
    )
    .with(&[("limit", "topic-members")], counts.unlisted_by_topic)
    .with(&[("limit", "members")], counts.unlisted_by_members)
    .with(&[("limit", "topics")], counts.unlisted_by_topics);
}

fn deliveries(page: &mut Page, counts: &Counts) {
    let ByKind { v1, plain, reader } = &counts.delivered;
    let kinds = [("v1", v1), ("plain", plain), ("reader", reader)];
    let mut messages = page.counter(
        "heartwire_deliveries_total",
        "Messages handed to followers, by how they follow.",
    );
    for (to, delivered) in kinds {
        messages.with(&[("to", to)], delivered.messages);
    }
    let mut bytes = page.counter(
        "heartwire_delivered_bytes_total",
        "Bytes of the messages handed to followers, headers included.",
    );
    for (to, delivered) in kinds {
        bytes.with(&[("to", to)], delivered.bytes);
    }
}

fn publishing(page: &mut Page, metrics: &Metrics, counts: &Counts) {
    let mut publishes = page.counter(
        "heartwire_publishes_total",
        "Messages that came to be published, by origin and outcome; one that failed after it was \
         accepted is in both.",
    );
    for outcome in Outcome::ALL {
        let mut add = |origin, count| {
            let labels = [("origin", origin), ("outcome", outcome.as_str())];
            publishes.with(&labels, count);
        };
        add("websocket", counts.publishes.of(outcome));
        for origin in Origin::ALL {
            let count = &metrics.publishes[origin as usize][outcome as usize];
            add(origin.as_str(), count.load(Ordering::Relaxed));
        }
    }
}

fn log(page: &mut Page, shared: &Shared, seen: &Seen) {
    let metrics = &shared.metrics;
    page.counter("heartwire_log_messages_total", "Messages stored.")
        .value(seen.log.committed);
    page.counter(
        "heartwire_log_trimmed_messages_total",
        "Messages that retention has trimmed.",
    )
    .value(seen.log.trimmed);
    page.counter(
        "heartwire_log_trimmed_unread_messages_total",
        "Trimmed messages that nobody had been given.",
    )
    .value(seen.log.trimmed_unread);
    page.gauge("heartwire_topics", "Topics in the log.")
        .value(seen.topics);
    page.gauge("heartwire_producers", "Producers remembered.")
        .value(seen.producers);
    page.gauge("heartwire_log_memory_bytes", "Memory that messages take.")
        .value(seen.memory_bytes);
    let segment_bytes = shared
        .storage
        .as_ref()
        .map_or(0, crate::storage::Storage::segment_bytes);
    page.gauge(
        "heartwire_log_disk_bytes",
        "Disk that segments with retained messages take.",
    )
    .value(seen.disk.segments as u64 * segment_bytes);
    page.gauge(
        "heartwire_log_retained_bytes",
        "Bytes on disk of the messages retained.",
    )
    .value(seen.disk.retained_bytes);
    page.gauge(
        "heartwire_log_accepting",
        "1 while the log takes messages; 0 while draining or after a failure of the disk.",
    )
    .value(u8::from(seen.is_accepting));
    page.gauge(
        "heartwire_log_disk_full",
        "1 while messages are refused for want of space.",
    )
    .value(u8::from(seen.is_disk_full));
    let is_failing = shared
        .storage
        .as_ref()
        .is_some_and(crate::storage::Storage::is_upkeep_failing);
    page.gauge(
        "heartwire_log_upkeep_failing",
        "1 while segments, indexes or checkpoints cannot be made, or segments removed.",
    )
    .value(u8::from(is_failing));
    page.histogram(
        "heartwire_log_sync_seconds",
        "Time that one write and sync of the log took.",
    )
    .observed(&[], &metrics.syncs);
    page.histogram(
        "heartwire_log_batch_records",
        "Records that one sync of the log has made durable.",
    )
    .observed(&[], &metrics.batch_messages);
    page.counter(
        "heartwire_log_written_bytes_total",
        "Bytes of records written to the log, about.",
    )
    .value(metrics.written_bytes.load(Ordering::Relaxed));
}

fn limits(page: &mut Page, shared: &Shared) {
    let metrics = &shared.metrics;
    let mut refusals = page.counter(
        "heartwire_refusals_total",
        "Clients turned away, by where and by the code of the error or the name of the close code.",
    );
    for (over, reason, count) in metrics.refusals.counts() {
        refusals.with(&[("over", over.as_str()), ("reason", reason)], count);
    }
    page.counter(
        "heartwire_accept_errors_total",
        "Errors of the listener that were no connection's own, such as no descriptors left.",
    )
    .value(metrics.accept_errors.load(Ordering::Relaxed));
    page.gauge(
        "heartwire_half_received_bytes",
        "Memory that half-received messages take.",
    )
    .value(shared.partial_bytes());
    page.gauge(
        "heartwire_draining",
        "1 from the moment the server is being stopped.",
    )
    .value(u8::from(shared.is_draining()));
    page.gauge(
        "heartwire_drain_websockets",
        "WebSockets that were open when the drain began; heartwire_websockets are left of them.",
    )
    .value(metrics.drain_began_with.load(Ordering::Relaxed));
}

fn by_reason(gaps: &Gaps) -> [(&'static str, u64); 3] {
    let Gaps {
        retention,
        epoch,
        damage,
    } = *gaps;
    [
        ("retention", retention),
        ("epoch", epoch),
        ("damage", damage),
    ]
}
