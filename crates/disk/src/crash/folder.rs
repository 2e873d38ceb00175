//! The names in a folder, as programs see them and as the device holds them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::content::Content;
use super::dice::Dice;

/// One file, by whatever name.
pub(super) type Node = Arc<Mutex<Content>>;

pub(super) fn content(node: &Node) -> MutexGuard<'_, Content> {
    node.lock().expect("no change of a file panics")
}

/// A change that no sync of the folder has made durable.
#[derive(Clone, Debug)]
enum Change {
    Create { name: String, node: Node },
    Rename { from: String, to: String },
    Remove { name: String },
}

type Names = BTreeMap<String, Node>;

/// The names in a folder.
#[derive(Debug, Default)]
pub(super) struct Folder {
    cached: Names,
    durable: Names,
    pending: Vec<Change>,
}

impl Folder {
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.cached.keys()
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.cached.values()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.cached.get(name)
    }

    pub(super) fn create(&mut self, name: &str) -> Node {
        let node = Node::default();
        self.change(Change::Create {
            name: name.to_owned(),
            node: Arc::clone(&node),
        });
        node
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        self.change(Change::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        });
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.change(Change::Remove {
            name: name.to_owned(),
        });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.pending.clear();
        self.durable.clone_from(&self.cached);
    }

    /// What survives a crash: of the unsynced changes either the first few, as a journal keeps them,
    /// or any, as long as each is possible without the others.
    pub(super) fn crash(&mut self, dice: &mut Dice) {
        let changes = std::mem::take(&mut self.pending);
        let kept = dice.below(changes.len() as u64 + 1) as usize;
        let in_order = dice.one_in(2);
        for (index, change) in changes.iter().enumerate() {
            let keep = if in_order {
                index < kept
            } else {
                dice.one_in(2)
            };
            if keep {
                change.apply(&mut self.durable);
            }
        }
        for node in self.durable.values() {
            content(node).crash(dice);
        }
        self.cached.clone_from(&self.durable);
    }

    /// A folder of its own with the same files, everything durable.
    pub(super) fn copy(&self) -> Self {
        let mut copy = Self::default();
        for (name, node) in &self.cached {
            let bytes = content(node).cached().to_vec();
            copy.put(name, bytes);
        }
        copy
    }

    /// Puts a file there, durable, in place of whatever had the name.
    pub(super) fn put(&mut self, name: &str, bytes: Vec<u8>) {
        let node = Arc::new(Mutex::new(Content::of(bytes)));
        self.durable.insert(name.to_owned(), Arc::clone(&node));
        self.cached.insert(name.to_owned(), node);
    }
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Create { name, node } => {
                names.insert(name.clone(), Arc::clone(node));
            }
            Self::Rename { from, to } => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Self::Remove { name } => {
                names.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsynced_names_may_be_lost_and_synced_ones_are_not() {
        let (mut renamed, mut unchanged, mut created) = (false, false, false);
        for seed in 0..100 {
            let mut folder = Folder::default();
            folder.create("a");
            folder.sync();
            folder.rename("a", "b");
            folder.create("c");
            folder.crash(&mut Dice::new(seed));
            let names: Vec<&str> = folder.names().map(String::as_str).collect();
            assert!(names.contains(&"a") != names.contains(&"b"), "{names:?}");
            renamed |= names == ["b"];
            unchanged |= names == ["a"];
            created |= names == ["a", "c"];
        }
        assert!(renamed && unchanged && created);
    }
}
