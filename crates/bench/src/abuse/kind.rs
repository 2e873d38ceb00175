//! The kinds of peers that make up the crowd.

use std::fmt;

/// What a peer of the crowd does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Follows a topic of its own and answers pings: what most connections of a server do.
    Ordinary,
    /// Follows the busy topic and reads a few bytes a second.
    Slow,
    /// Says `hello` and then nothing, not even the answer to a ping.
    Silent,
    /// Sends bytes that mean nothing, before the handshake or after it.
    Garbage,
    /// Dials, follows, and is gone; again and again.
    Looping,
    /// Sends too much: heads, bodies, frames, messages.
    Oversized,
    /// Stops in the middle of the handshake, or before `hello`.
    Half,
    /// Sends more in a second than the server takes.
    Flooding,
    /// One of many from an address that has as many connections as one may.
    Greedy,
}

impl Kind {
    /// All of them, in the order of the table.
    pub(super) const ALL: [Self; 9] = [
        Self::Ordinary,
        Self::Slow,
        Self::Silent,
        Self::Garbage,
        Self::Looping,
        Self::Oversized,
        Self::Half,
        Self::Flooding,
        Self::Greedy,
    ];

    /// How many of a thousand peers are of this kind. Those from the greedy address are as many
    /// whatever the size of the crowd, so that they always are too many.
    const fn per_mille(self) -> usize {
        match self {
            Self::Slow | Self::Silent | Self::Half => 150,
            Self::Garbage | Self::Oversized => 50,
            Self::Looping => 30,
            Self::Flooding => 10,
            Self::Ordinary | Self::Greedy => 0,
        }
    }

    /// How many of a crowd are of this kind; the ordinary are the rest.
    pub(super) fn share(self, crowd: usize, greedy: usize) -> usize {
        match self {
            Self::Ordinary => {
                let others = Self::ALL.into_iter().filter(|kind| *kind != Self::Ordinary);
                let others: usize = others.map(|kind| kind.share(crowd, greedy)).sum();
                crowd.saturating_sub(others)
            }
            Self::Greedy => greedy,
            kind => crowd * kind.per_mille() / 1_000,
        }
    }

    /// How long it stays away, in milliseconds: a random time between these.
    pub(super) const fn pause_ms(self) -> std::ops::Range<u64> {
        match self {
            Self::Looping => 300..1_000,
            Self::Garbage | Self::Oversized | Self::Flooding => 3_000..8_000,
            _ => 1_000..5_000,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ordinary => "ordinary",
            Self::Slow => "slow readers",
            Self::Silent => "silent",
            Self::Garbage => "garbage",
            Self::Looping => "reconnecting in a loop",
            Self::Oversized => "oversized",
            Self::Half => "half a handshake",
            Self::Flooding => "flooding",
            Self::Greedy => "greedy address",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_make_up_the_crowd() {
        for crowd in [1_000, 15_000] {
            let all: usize = Kind::ALL
                .into_iter()
                .map(|kind| kind.share(crowd, 300))
                .sum();
            assert_eq!(all, crowd);
        }
    }
}
