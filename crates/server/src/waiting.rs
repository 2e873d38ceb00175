//! Publishers in the process, and over HTTP, that wait until their message is stored.

use std::collections::VecDeque;
use std::sync::Mutex;

use heartwire_log::{Fate, Lsn};
use tokio::sync::oneshot;

use crate::sync::lock;

/// Those who wait, in the order of their appends, so that a commit finds them without asking each.
///
/// There are no more than appends may wait to become durable: nobody waits longer than its append.
#[derive(Default)]
pub(crate) struct Waiting {
    queue: Mutex<VecDeque<(Lsn, oneshot::Sender<Fate>)>>,
}

impl Waiting {
    /// Waits for an append. To be called under the hub's lock, under which it got its number.
    pub(crate) fn wait_for(&self, lsn: Lsn) -> oneshot::Receiver<Fate> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.queue).push_back((lsn, sender));
        receiver
    }

    /// Everything up to `through` is durable. To be called without the hub's lock, after it was
    /// committed under it.
    pub(crate) fn stored(&self, through: Lsn) {
        self.tell(through, Fate::Durable);
    }

    /// Everything that waits has failed.
    pub(crate) fn failed(&self) {
        self.tell(Lsn(u64::MAX), Fate::Failed);
    }

    fn tell(&self, through: Lsn, fate: Fate) {
        let told = {
            let mut queue = lock(&self.queue);
            let count = queue.partition_point(|(lsn, _)| *lsn <= through);
            let rest = queue.split_off(count);
            std::mem::replace(&mut *queue, rest)
        };
        for (_, waiting) in told {
            // Whoever gave up waiting need not know.
            let _ = waiting.send(fate);
        }
    }
}
