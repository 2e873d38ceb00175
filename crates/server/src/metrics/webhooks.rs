//! What webhooks have delivered, and what waits.

use std::sync::Arc;

use super::text::Page;
use crate::shared::Shared;
use crate::sync::lock;
use crate::webhook::{Counts, Kind, Totals};

/// How one webhook stands.
struct Seen<'a> {
    name: &'a str,
    counts: Counts,
    totals: Totals,
}

/// Adds the families of webhooks, one sample for each webhook.
pub(super) fn add_to(page: &mut Page, shared: &Arc<Shared>) {
    let now = shared.clock.time();
    let all = shared.webhooks.all().iter().map(|running| {
        let hook = lock(&running.hook);
        Seen {
            name: running.config.called(),
            counts: *hook.counts(),
            totals: hook.totals(now),
        }
    });
    let all: Vec<Seen<'_>> = all.collect();
    counts(page, &all);
    standing(page, &all);
    page.counter(
        "heartwire_webhook_save_errors_total",
        "Times that the cursors of webhooks could not be saved.",
    )
    .value(shared.webhooks.save_errors());
}

fn counts(page: &mut Page, all: &[Seen<'_>]) {
    let mut requests = page.counter(
        "heartwire_webhook_requests_total",
        "Requests of webhooks by what came of them: taken, or tried again.",
    );
    for seen in all {
        for kind in Kind::ALL {
            let labels = [("webhook", seen.name), ("outcome", kind.as_str())];
            requests.with(&labels, seen.counts.requests[kind as usize]);
        }
    }
    let mut counter = |name, help, of: fn(&Counts) -> u64| {
        let mut family = page.counter(name, help);
        for seen in all {
            family.with(&[("webhook", seen.name)], of(&seen.counts));
        }
    };
    counter(
        "heartwire_webhook_messages_total",
        "Messages that receivers of webhooks have taken.",
        |counts| counts.messages,
    );
    counter(
        "heartwire_webhook_gaps_total",
        "Gaps that receivers of webhooks were told of.",
        |counts| counts.gaps,
    );
    counter(
        "heartwire_webhook_left_out_total",
        "Times that a topic moved for which a webhook had no room.",
        |counts| counts.left_out,
    );
}

fn standing(page: &mut Page, all: &[Seen<'_>]) {
    let mut gauge = |name, help, of: fn(&Totals) -> f64| {
        let mut family = page.gauge(name, help);
        for seen in all {
            family.with(&[("webhook", seen.name)], of(&seen.totals));
        }
    };
    gauge(
        "heartwire_webhook_topics",
        "Topics that a webhook keeps a cursor for.",
        |totals| totals.topics as f64,
    );
    gauge(
        "heartwire_webhook_waiting_topics",
        "Topics whose last request was not taken and is tried again.",
        |totals| totals.waiting as f64,
    );
    gauge(
        "heartwire_webhook_lag_messages",
        "Messages that receivers of webhooks have yet to take.",
        |totals| totals.lag as f64,
    );
    gauge(
        "heartwire_webhook_oldest_seconds",
        "How long the oldest of them may have waited; 0 when there is none.",
        |totals| totals.oldest.unwrap_or_default().as_secs_f64(),
    );
    gauge(
        "heartwire_webhook_paused_seconds",
        "For how long a receiver has asked to be left alone from now on.",
        |totals| totals.paused.unwrap_or_default().as_secs_f64(),
    );
}
