//! The commands, and their text form.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// One of the two ways along the path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// From the client, which connected to the proxy, to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// What to do to the path.
///
/// Faults add up: a path may be delayed and throttled. [`Command::Pass`] takes all of them away.
///
/// ```
/// use heartwire_proxy::{Command, Direction};
/// use std::time::Duration;
///
/// assert_eq!("blackhole up".parse(), Ok(Command::Blackhole(Some(Direction::Up))));
/// let delay = Command::Delay {
///     base: Duration::from_millis(200),
///     jitter: Duration::from_millis(50),
/// };
/// assert_eq!("delay 200ms 50ms".parse(), Ok(delay));
/// assert_eq!(delay.to_string(), "delay 200ms 50ms");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Command {
    /// Forward everything, at once.
    Pass,
    /// Let nothing through, one way or, with `None`, both ways; see the crate's documentation.
    Blackhole(Option<Direction>),
    /// Send RST to both ends of all living connections, then pass.
    Reset,
    /// Refuse new connections, as a host does on which nobody listens; living ones stay.
    Refuse,
    /// Hold all bytes back for a while, in each direction; their order stays.
    Delay {
        /// The least delay, so half of what is added to the round trip.
        base: Duration,
        /// Up to this much more, drawn evenly for each piece that is read.
        jitter: Duration,
    },
    /// Let through this many bytes a second, for each connection and direction.
    Throttle(NonZeroU64),
    /// Send RST to both ends of each connection when it has lived this long, counted from this
    /// command for those that live already.
    CutEvery(Duration),
}

/// A text that is no command.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// The first word is not known.
    #[error("no such command: {0:?}; there are {names}", names = Command::NAMES)]
    Unknown(String),
    /// The words after the first are not what the command takes.
    #[error("usage: {0}")]
    Usage(&'static str),
    /// A duration is not one, or out of range.
    #[error("{0:?} is no duration up to an hour; write for example 200ms or 5s")]
    Duration(String),
}

/// The longest delay, jitter or life of a connection that a command takes.
const DURATION_MAX: Duration = Duration::from_secs(3_600);

impl Command {
    /// The names of all commands.
    pub const NAMES: &str = "pass, blackhole, reset, refuse, delay, throttle, cut-every";
}

impl FromStr for Command {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.split_first() {
            Some((&"pass", rest)) => without_words(rest, Self::Pass, "pass"),
            Some((&"reset", rest)) => without_words(rest, Self::Reset, "reset"),
            Some((&"refuse", rest)) => without_words(rest, Self::Refuse, "refuse"),
            Some((&"blackhole", rest)) => blackhole(rest),
            Some((&"delay", rest)) => delay(rest),
            Some((&"throttle", rest)) => throttle(rest),
            Some((&"cut-every", rest)) => cut_every(rest),
            Some((name, _)) => Err(CommandError::Unknown((*name).to_owned())),
            None => Err(CommandError::Unknown(String::new())),
        }
    }
}

fn without_words(
    rest: &[&str],
    command: Command,
    usage: &'static str,
) -> Result<Command, CommandError> {
    if rest.is_empty() {
        Ok(command)
    } else {
        Err(CommandError::Usage(usage))
    }
}

fn blackhole(rest: &[&str]) -> Result<Command, CommandError> {
    let direction = match rest {
        [] => None,
        ["up"] => Some(Direction::Up),
        ["down"] => Some(Direction::Down),
        _ => return Err(CommandError::Usage("blackhole [up|down]")),
    };
    Ok(Command::Blackhole(direction))
}

fn delay(rest: &[&str]) -> Result<Command, CommandError> {
    let (base, jitter) = match rest {
        [base] => (duration(base)?, Duration::ZERO),
        [base, jitter] => (duration(base)?, duration(jitter)?),
        _ => return Err(CommandError::Usage("delay DURATION [JITTER]")),
    };
    Ok(Command::Delay { base, jitter })
}

fn throttle(rest: &[&str]) -> Result<Command, CommandError> {
    const USAGE: CommandError =
        CommandError::Usage("throttle BYTES_PER_SECOND, a whole number from 1");
    let [rate] = rest else { return Err(USAGE) };
    rate.parse().map(Command::Throttle).map_err(|_| USAGE)
}

fn cut_every(rest: &[&str]) -> Result<Command, CommandError> {
    match rest {
        [after] => Ok(Command::CutEvery(duration(after)?)),
        _ => Err(CommandError::Usage("cut-every DURATION")),
    }
}

fn duration(text: &str) -> Result<Duration, CommandError> {
    humantime::parse_duration(text)
        .ok()
        .filter(|duration| *duration <= DURATION_MAX)
        .ok_or_else(|| CommandError::Duration(text.to_owned()))
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Pass => f.write_str("pass"),
            Self::Blackhole(None) => f.write_str("blackhole"),
            Self::Blackhole(Some(Direction::Up)) => f.write_str("blackhole up"),
            Self::Blackhole(Some(Direction::Down)) => f.write_str("blackhole down"),
            Self::Reset => f.write_str("reset"),
            Self::Refuse => f.write_str("refuse"),
            Self::Delay { base, jitter } if jitter.is_zero() => write!(f, "delay {base:?}"),
            Self::Delay { base, jitter } => write!(f, "delay {base:?} {jitter:?}"),
            Self::Throttle(rate) => write!(f, "throttle {rate}"),
            Self::CutEvery(after) => write!(f, "cut-every {after:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_reads_what_it_writes() {
        let texts = [
            "pass",
            "blackhole",
            "blackhole up",
            "blackhole down",
            "reset",
            "refuse",
            "delay 1.5s",
            "delay 200ms 50ms",
            "throttle 50000",
            "cut-every 5s",
        ];
        for text in texts {
            let command: Command = text.parse().expect(text);
            assert_eq!(command.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_command_is_explained() {
        let error = |text: &str| text.parse::<Command>().expect_err(text).to_string();
        assert!(error("explode").contains("cut-every"));
        assert!(error("").contains("no such command"));
        assert_eq!(error("blackhole left"), "usage: blackhole [up|down]");
        assert_eq!(error("pass now"), "usage: pass");
        assert!(error("throttle 0").contains("BYTES_PER_SECOND"));
        assert!(error("delay 5").contains("5s"));
        assert!(error("delay 2h").contains("hour"));
        assert!(error("cut-every").contains("cut-every DURATION"));
    }
}
