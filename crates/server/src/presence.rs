//! Who is there: the deadlines of those who are away, and a word to the operator when some cannot be
//! listed.

use std::sync::Arc;
use std::time::Duration;

use heartwire_proto::Time;

use crate::shared::Shared;

/// How often the log says that somebody was not listed.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Tells whose time to come back is over. It comes with the turns of the wheel, so that a leave is
/// told at most one slot late.
pub(crate) fn tell_leaves(shared: &Arc<Shared>, now: Time) {
    if shared.config.hub.presence.topics.is_empty() {
        return;
    }
    // Bounded per call, so that nobody waits long for the lock.
    while shared.hub(|hub| {
        let deadline = hub.presence_deadline();
        deadline.is_some_and(|due| due <= now) && hub.tell_presence()
    }) {}
}

/// What the log has said of connections that are there and not listed.
#[derive(Debug, Default)]
pub(crate) struct Unlisted {
    told: u64,
    told_at: Option<Time>,
}

impl Unlisted {
    /// Says so, if there are more than before and the last line is old enough.
    pub(crate) fn look(&mut self, shared: &Shared, now: Time) {
        let is_quiet = self
            .told_at
            .is_none_or(|told_at| now.since(told_at) >= TELL_EVERY);
        let seen = shared.lock_hub().presence_counts().unlisted();
        if seen > self.told && is_quiet {
            tracing::warn!(
                count = seen - self.told,
                "connections follow a topic and are not listed as there, as a limit of members or of \
                 presence topics is reached"
            );
            (self.told, self.told_at) = (seen, Some(now));
        }
    }
}
