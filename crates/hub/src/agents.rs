//! The names of client programs, which very many connections share.

use std::collections::BTreeSet;
use std::sync::Arc;

/// How many names are shared; further ones are kept per connection.
const SHARED_MAX: usize = 256;

/// The longest name, in bytes; more is cut off.
const BYTES_MAX: usize = 200;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Agents {
    shared: BTreeSet<Arc<str>>,
}

impl Agents {
    /// The name, shared with whoever has the same.
    pub(crate) fn share(&mut self, agent: &str) -> Arc<str> {
        let agent = cut(agent);
        if let Some(known) = self.shared.get(agent) {
            return known.clone();
        }
        let new: Arc<str> = agent.into();
        if self.shared.len() < SHARED_MAX {
            self.shared.insert(new.clone());
        }
        new
    }
}

fn cut(agent: &str) -> &str {
    let mut end = agent.len().min(BYTES_MAX);
    while !agent.is_char_boundary(end) {
        end -= 1;
    }
    &agent[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_kept_once_and_names_are_bounded() {
        let mut agents = Agents::default();
        assert!(Arc::ptr_eq(&agents.share("a"), &agents.share("a")));
        assert_eq!(agents.share(&"ä".repeat(101)).len(), 200);
        for n in 0..1_000 {
            agents.share(&n.to_string());
        }
        assert_eq!(agents.shared.len(), SHARED_MAX);
    }
}
