//! How far followers are behind, when somebody asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use heartwire_hub::LagPart;

use crate::shared::Shared;

/// How many followed topics are looked at under one lock of the hub: well below a millisecond.
const AT_ONCE: usize = 1_024;

/// Looks at followers in parts, and at no more than the configured number: with more of them each
/// look goes on where the last one ended. What is told is of those that were looked at.
pub(super) async fn measure(shared: &Arc<Shared>) -> LagPart {
    let follows_max = shared.config.observation.lag_follows_max;
    let start = shared.metrics.lag_place.load(Ordering::Relaxed);
    let mut all = LagPart::default();
    let mut place = start;
    let mut has_wrapped = false;
    // Places without a topic count for a look as well, so that the parts are bounded.
    for _ in 0..follows_max.div_ceil(AT_ONCE) {
        let part = shared.lock_hub().lag_from(place, AT_ONCE);
        all.looked_at += part.looked_at;
        all.sum += part.sum;
        all.max = all.max.max(part.max);
        place = part.next.unwrap_or(0);
        has_wrapped |= part.next.is_none();
        if has_wrapped && place >= start {
            break;
        }
        tokio::task::yield_now().await;
    }
    shared.metrics.lag_place.store(place, Ordering::Relaxed);
    all
}
