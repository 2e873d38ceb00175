//! For how many the writer waits, so that one sync serves many.
//!
//! Whoever waits for a message before the next one comes back a moment after it was answered. A
//! writer that took at once what is there would find the first few of them, and sync for those while
//! the others come. So it remembers how many there are, and waits for a part of them: while that part
//! is written, the rest is answered and comes back in its turn.

use std::time::Duration;

use heartwire_log::store::Batch;

/// The part of the crowd that has to wait before it is written; the others are answered and publish
/// again while it is. Messages that come at a steady rate are hardly ever waited for: as many come
/// during a write as it holds, and that is half of what is taken for the crowd.
const PART: usize = 4;

/// Those who publish, as far as the writer can tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crowd {
    size: usize,
}

impl Crowd {
    /// How long the writer waits for them, at the most: about as long as a good disk takes to write
    /// what is there.
    pub(super) const PATIENCE: Duration = Duration::from_millis(1);

    /// How many messages have to wait before they are written; 1 is the next that comes.
    pub(super) fn wanted(&self) -> usize {
        (self.size / PART).clamp(1, Batch::RECORDS_MAX)
    }

    /// So many messages were written, while so many came. The crowd is as large as it was lately:
    /// those who have just been answered are not seen.
    pub(super) fn note(&mut self, written: usize, came: usize) {
        let lately = self.size - self.size / 8;
        self.size = lately.max(written + came);
    }

    /// Nobody came: whoever is next need not wait for others.
    pub(super) fn disperse(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_alone_waits_for_others() {
        let mut crowd = Crowd::default();
        assert_eq!(crowd.wanted(), 1);
        crowd.note(1, 0);
        assert_eq!(crowd.wanted(), 1);
    }

    #[test]
    fn a_crowd_is_remembered_while_it_comes_back_one_by_one_and_is_forgotten_when_it_does_not() {
        let mut crowd = Crowd::default();
        crowd.note(1, 999);
        assert_eq!(crowd.wanted(), 250);
        crowd.note(10, 10);
        assert!((200..250).contains(&crowd.wanted()));
        crowd.disperse();
        assert_eq!(crowd.wanted(), 1);
        crowd.note(1, usize::MAX / 2);
        assert_eq!(crowd.wanted(), Batch::RECORDS_MAX);
    }
}
