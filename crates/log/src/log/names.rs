//! Topics by their names: in order, as they are listed, and hashed, as they are looked up with every
//! message. To find a name among many in order is to compare it with a dozen others, each in memory of
//! its own; that takes longer than everything else that is looked up for a message.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::ops::Bound::{Excluded, Unbounded};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use heartwire_proto::TopicName;
use heartwire_proto::id::TopicRef;

use crate::producer::ProducerKey;
use crate::slab::Slab;
use crate::topic::{TopicId, TopicLog};

/// The names of all topics of a log. The topics themselves, which know their names, are brought along
/// by the caller.
#[derive(Clone, Debug)]
pub(super) struct Names {
    ordered: BTreeMap<TopicName, TopicId>,
    /// The same topics, by the hashes of their names.
    hashed: HashTable<TopicId>,
    state: FixedState,
}

impl Names {
    /// No names. The key is a secret, so that nobody who chooses topics can make their hashes collide.
    pub(super) fn new(key: &ProducerKey) -> Self {
        let [seed, _] = key.hash(&[b"topics"]);
        Self {
            ordered: BTreeMap::new(),
            hashed: HashTable::new(),
            state: FixedState::with_seed(seed),
        }
    }

    pub(super) fn get(&self, name: TopicRef<'_>, topics: &Slab<TopicLog>) -> Option<TopicId> {
        let is_it = |id: &TopicId| {
            topics
                .get(id.0)
                .is_some_and(|topic| topic.name().as_topic() == name)
        };
        let hash = self.state.hash_one(name);
        self.hashed.find(hash, is_it).copied()
    }

    /// Lists these topics and no others.
    pub(super) fn set(&mut self, named: Vec<(TopicName, TopicId)>, topics: &Slab<TopicLog>) {
        self.hashed = HashTable::with_capacity(named.len());
        for (name, id) in &named {
            self.insert_hashed(name, *id, topics);
        }
        self.ordered = named.into_iter().collect();
    }

    /// Lists a topic that is not listed.
    pub(super) fn insert(&mut self, name: TopicName, id: TopicId, topics: &Slab<TopicLog>) {
        self.insert_hashed(&name, id, topics);
        self.ordered.insert(name, id);
    }

    fn insert_hashed(&mut self, name: &TopicName, id: TopicId, topics: &Slab<TopicLog>) {
        let hash = self.state.hash_one(name.as_topic());
        let hash_of = |id: &TopicId| {
            let topic = topics.get(id.0).expect("a topic goes from the list first");
            self.state.hash_one(topic.name().as_topic())
        };
        self.hashed.insert_unique(hash, id, hash_of);
    }

    pub(super) fn remove(&mut self, name: &TopicName) {
        let Some(id) = self.ordered.remove(name) else {
            return;
        };
        let hash = self.state.hash_one(name.as_topic());
        if let Ok(entry) = self.hashed.find_entry(hash, |held| *held == id) {
            entry.remove();
        }
    }

    /// Topics in the order of their names, from the first after `name` on.
    pub(super) fn after(&self, name: Option<TopicRef<'_>>) -> impl Iterator<Item = TopicId> {
        let from = name.map_or(Unbounded, |name| Excluded(name.as_str()));
        let named = self.ordered.range::<str, _>((from, Unbounded));
        named.map(|(_, id)| *id)
    }
}

/// What is listed, however it is hashed.
impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.ordered == other.ordered
    }
}

impl Eq for Names {}

impl Hash for Names {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.ordered.hash(hasher);
    }
}
