//! The topics that one connection follows, and which of them have something for it.

use smallvec::SmallVec;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// One followed topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Follow {
    /// The number of the topic in the hub.
    pub(super) topic: u32,
    /// The place in the topic's list of followers.
    pub(super) slot: u32,
    /// The next topic in the chain of those with something new.
    next: u32,
    /// Whether it is in the chain.
    marked: bool,
    /// Whether the follower knows the epoch: not, while the topic was never published to.
    pub(super) knows_epoch: bool,
    /// The next message is being read back from disk.
    pub(super) waits: bool,
    /// Something was sent since the last ping told positions.
    pub(super) moved: bool,
    /// The offset of the last message sent.
    pub(super) offset: u64,
}

impl Follow {
    pub(super) const fn new(topic: u32, slot: u32) -> Self {
        Self {
            topic,
            slot,
            next: NONE,
            marked: false,
            knows_epoch: false,
            waits: false,
            moved: false,
            offset: 0,
        }
    }
}

/// All followed topics by their number, with a chain through those that have something new: first
/// marked, first served.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Follows {
    /// In the order of topics. Most connections follow one, which needs no allocation.
    sorted: SmallVec<[Follow; 1]>,
    first: u32,
    last: u32,
}

impl Default for Follows {
    fn default() -> Self {
        Self {
            sorted: SmallVec::new(),
            first: NONE,
            last: NONE,
        }
    }
}

impl Follows {
    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Follow> {
        self.sorted.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Follow> {
        self.sorted.iter_mut()
    }

    pub(super) fn get(&self, topic: u32) -> Option<&Follow> {
        self.index(topic).ok().map(|index| &self.sorted[index])
    }

    pub(super) fn get_mut(&mut self, topic: u32) -> Option<&mut Follow> {
        self.index(topic).ok().map(|index| &mut self.sorted[index])
    }

    /// Adds a topic that is not followed yet.
    pub(super) fn insert(&mut self, follow: Follow) {
        if let Err(index) = self.index(follow.topic) {
            self.sorted.insert(index, follow);
        }
    }

    pub(super) fn remove(&mut self, topic: u32) -> Option<Follow> {
        let index = self.index(topic).ok()?;
        if self.sorted[index].marked {
            self.unlink(topic);
        }
        let follow = self.sorted.remove(index);
        if self.sorted.len() <= 1 {
            self.sorted.shrink_to_fit();
        }
        Some(follow)
    }

    /// Whether some topic has something new.
    pub(super) const fn has_marks(&self) -> bool {
        self.first != NONE
    }

    /// The topic has something new; returns whether that is news.
    pub(super) fn mark(&mut self, topic: u32) -> bool {
        let Some(follow) = self.get_mut(topic) else {
            return false;
        };
        if follow.marked {
            return false;
        }
        follow.marked = true;
        follow.next = NONE;
        match self.last {
            NONE => self.first = topic,
            last => self.link(last, topic),
        }
        self.last = topic;
        true
    }

    /// Takes the topic whose turn it is out of the chain.
    pub(super) fn take_mark(&mut self) -> Option<u32> {
        let topic = self.first;
        let follow = self.get_mut(topic)?;
        follow.marked = false;
        self.first = follow.next;
        if self.first == NONE {
            self.last = NONE;
        }
        Some(topic)
    }

    fn link(&mut self, from: u32, to: u32) {
        if let Some(follow) = self.get_mut(from) {
            follow.next = to;
        }
    }

    /// Takes a topic out of the middle of the chain: rare, and as long as the chain.
    fn unlink(&mut self, topic: u32) {
        let mut chain = Vec::new();
        while let Some(next) = self.take_mark() {
            chain.push(next);
        }
        for other in chain.into_iter().filter(|other| *other != topic) {
            self.mark(other);
        }
    }

    fn index(&self, topic: u32) -> Result<usize, usize> {
        self.sorted
            .binary_search_by_key(&topic, |follow| follow.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn following(topics: &[u32]) -> Follows {
        let mut follows = Follows::default();
        for topic in topics {
            follows.insert(Follow::new(*topic, 0));
        }
        follows
    }

    fn drain(follows: &mut Follows) -> Vec<u32> {
        std::iter::from_fn(|| follows.take_mark()).collect()
    }

    #[test]
    fn first_marked_is_first_served_and_a_second_mark_changes_nothing() {
        let mut follows = following(&[3, 1, 2]);
        let news = [2, 3, 2, 1, 9].map(|topic| follows.mark(topic));
        assert_eq!(news, [true, true, false, true, false]);
        assert_eq!(drain(&mut follows), [2, 3, 1]);
        assert!(!follows.has_marks());
        assert!(follows.mark(2));
        assert_eq!(drain(&mut follows), [2]);
    }

    #[test]
    fn a_topic_that_is_left_leaves_the_chain() {
        for left in [1, 2, 3] {
            let mut follows = following(&[1, 2, 3]);
            for topic in [1, 2, 3] {
                follows.mark(topic);
            }
            assert!(follows.remove(left).is_some());
            let rest: Vec<_> = [1, 2, 3].into_iter().filter(|t| *t != left).collect();
            assert_eq!(drain(&mut follows), rest);
        }
    }

    #[test]
    fn one_topic_needs_no_allocation() {
        assert!(size_of::<Follows>() <= 48, "{}", size_of::<Follows>());
        assert!(!following(&[7]).sorted.spilled());
    }
}
