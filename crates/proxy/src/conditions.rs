//! What the path is like at a moment.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::command::{Command, Direction};

/// Bytes a second for each connection and direction, or no bound.
pub type Throttle = Option<NonZeroU64>;

/// The faults in force; by default none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Conditions {
    /// Nothing passes from client to server.
    pub blackhole_up: bool,
    /// Nothing passes from server to client.
    pub blackhole_down: bool,
    /// New connections are refused.
    pub refuse: bool,
    /// How long bytes are held back, in each direction.
    pub delay: Duration,
    /// Up to how much longer.
    pub jitter: Duration,
    /// How fast bytes pass.
    pub throttle: Throttle,
    /// How long a connection lives.
    pub cut_every: Option<Duration>,
}

impl Conditions {
    /// Whether nothing passes that way.
    pub const fn holed(&self, direction: Direction) -> bool {
        match direction {
            Direction::Up => self.blackhole_up,
            Direction::Down => self.blackhole_down,
        }
    }

    /// What the path is like after `command`.
    #[must_use]
    pub fn after(mut self, command: Command) -> Self {
        match command {
            Command::Pass | Command::Reset => self = Self::default(),
            Command::Blackhole(direction) => {
                self.blackhole_up = direction != Some(Direction::Down);
                self.blackhole_down = direction != Some(Direction::Up);
            }
            Command::Refuse => self.refuse = true,
            Command::Delay { base, jitter } => (self.delay, self.jitter) = (base, jitter),
            Command::Throttle(rate) => self.throttle = Some(rate),
            Command::CutEvery(after) => self.cut_every = Some(after),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(commands: &[&str]) -> Conditions {
        commands.iter().fold(Conditions::default(), |path, text| {
            path.after(text.parse().expect("a command"))
        })
    }

    #[test]
    fn faults_add_up_until_pass() {
        let path = after(&["delay 100ms", "throttle 1000", "blackhole"]);
        assert!(path.holed(Direction::Up) && path.holed(Direction::Down));
        assert_eq!(path.delay, Duration::from_millis(100));
        assert!(path.throttle.is_some());
        assert_eq!(
            after(&["delay 100ms", "refuse", "pass"]),
            Conditions::default()
        );
    }

    #[test]
    fn a_black_hole_one_way_replaces_one_both_ways() {
        let path = after(&["blackhole", "blackhole down"]);
        assert!(!path.holed(Direction::Up) && path.holed(Direction::Down));
    }
}
