//! The room that the log has left, and whether more can be made, for whoever asks why messages are
//! refused. The hub itself knows no more than that there is none.

use std::sync::Arc;

use heartwire_disk::Disk;
use heartwire_log::store::Store;

/// What the writer last knew of its room.
#[derive(Clone, Default)]
pub(super) struct Room {
    bytes: u64,
    /// Why the next segment could not be prepared when that was last tried, if not for want of space,
    /// which the hub knows of.
    failure: Option<Arc<str>>,
    is_upkeep_failing: bool,
}

impl Room {
    pub(super) fn of<D: Disk>(store: &Store<D>) -> Self {
        Self {
            bytes: store.room_bytes(),
            failure: store
                .prepare_failure()
                .filter(|_| !store.is_full())
                .cloned(),
            is_upkeep_failing: store.is_upkeep_failing(),
        }
    }

    /// Why there is no room for a message that takes so many bytes, if more could not be made.
    pub(super) fn wanting_for(&self, bytes: u64) -> Option<Arc<str>> {
        let failure = self.failure.as_ref();
        failure.filter(|_| self.bytes < bytes).cloned()
    }

    /// Whether anything that is done beside writing has failed, and not succeeded since.
    pub(super) const fn is_upkeep_failing(&self) -> bool {
        self.is_upkeep_failing
    }
}
