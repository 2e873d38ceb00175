//! Identifiers, each a type of its own, so that an offset is never taken for a sequence number.
//!
//! Text forms are those of PROTOCOL.md, "Frames": parsing accepts exactly what the protocol allows.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The largest number a frame may carry: 2⁵³ − 1, the largest integer JavaScript counts exactly.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// The longest topic name, in bytes.
pub const TOPIC_BYTES_MAX: usize = 200;

/// How the names of the topics begin on which joins and leaves are told.
const PRESENCE: &str = "$presence:";

/// Why a text is not the identifier it should be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum IdError {
    /// Topic names are 1–200 bytes of `A–Z a–z 0–9 _ - . : @ ~`, the first a letter, digit, `_` or `$`.
    #[error(
        "a topic is 1-200 bytes of A-Z a-z 0-9 _ - . : @ ~ and begins with a letter, digit or _"
    )]
    Topic,
    /// Numbers are decimal, without leading zeros, below 2⁵³.
    #[error("a number is decimal, without leading zeros, below 2^53")]
    Number,
    /// Epochs, ping ids, log ids and connection ids are 1–16 of `0–9 a–z`.
    #[error("an id is 1-16 of 0-9 a-z")]
    Short,
    /// Client ids are 16–64 of `A–Z a–z 0–9 _ -`.
    #[error("a client id is 16-64 of A-Z a-z 0-9 _ -")]
    Client,
    /// Cursors are `EPOCH.OFFSET` or `0`.
    #[error("a cursor is EPOCH.OFFSET or 0")]
    Cursor,
}

/// Lets ids travel in the JSON of `hello`, `welcome` and `token` as the text they have elsewhere.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

/// Parses a decimal number as the protocol writes it: no sign, no leading zeros, below 2⁵³.
pub fn parse_number(text: &str) -> Result<u64, IdError> {
    let digits = text.as_bytes();
    let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.len() <= 16;
    if !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return Err(IdError::Number);
    }
    let number = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    if number > NUMBER_MAX {
        Err(IdError::Number)
    } else {
        Ok(number)
    }
}

/// A topic's name, borrowed and checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicRef<'a>(&'a str);

/// Which bytes a topic's name has after its first.
const IN_TOPICS: [bool; 256] = {
    let (mut in_topics, mut byte) = ([false; 256], 0);
    while byte < in_topics.len() {
        let b = byte as u8;
        in_topics[byte] =
            b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b'@' | b'~');
        byte += 1;
    }
    in_topics
};

impl<'a> TopicRef<'a> {
    /// Checks the name. Names that begin with `$` pass: they belong to the server and can be
    /// followed where granted, see [`TopicRef::is_reserved`].
    pub fn parse(name: &'a str) -> Result<Self, IdError> {
        match Self::is_name(name.as_bytes()) {
            true => Ok(Self(name)),
            false => Err(IdError::Topic),
        }
    }

    /// Whether these bytes are a topic's name.
    pub fn is_name(bytes: &[u8]) -> bool {
        let Some((first, rest)) = bytes.split_first() else {
            return false;
        };
        let first_ok = first.is_ascii_alphanumeric() || matches!(first, b'_' | b'$');
        // Names are checked for every message: no byte waits for what the one before it was.
        let rest_ok = || rest.iter().fold(true, |ok, b| ok & IN_TOPICS[*b as usize]);
        first_ok && bytes.len() <= TOPIC_BYTES_MAX && rest_ok()
    }

    /// The name as text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether the topic belongs to the server: it can be followed, never published to.
    pub fn is_reserved(self) -> bool {
        self.0.starts_with('$')
    }

    /// The topic on which is told who joins and leaves this one `[PRES-1]`; none for a topic of the
    /// server's own, or one whose name is too long to have another made from it.
    ///
    /// ```
    /// use heartwire_proto::TopicRef;
    ///
    /// let presence = TopicRef::parse("task:42")?.presence().expect("a short name");
    /// assert_eq!(presence.as_str(), "$presence:task:42");
    /// assert_eq!(presence.as_topic().presence_of(), Some(TopicRef::parse("task:42")?));
    /// # Ok::<(), heartwire_proto::id::IdError>(())
    /// ```
    pub fn presence(self) -> Option<TopicName> {
        let name = format!("{PRESENCE}{self}");
        (!self.is_reserved() && name.len() <= TOPIC_BYTES_MAX).then(|| TopicName(name.into()))
    }

    /// The topic whose joins and leaves are told on this one, if this is such a topic.
    pub fn presence_of(self) -> Option<Self> {
        Self::parse(self.0.strip_prefix(PRESENCE)?).ok()
    }

    /// A copy that owns its text.
    pub fn to_name(self) -> TopicName {
        TopicName(self.0.into())
    }
}

impl fmt::Display for TopicRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A topic's name, owned; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name, borrowed.
    pub fn as_topic(&self) -> TopicRef<'_> {
        TopicRef(&self.0)
    }
}

impl FromStr for TopicName {
    type Err = IdError;

    fn from_str(name: &str) -> Result<Self, IdError> {
        TopicRef::parse(name).map(TopicRef::to_name)
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

serde_as_text!(TopicName);

/// 1–16 characters of `0–9 a–z`, stored in place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Short([u8; 16]);

impl Short {
    fn from_ascii(bytes: &[u8]) -> Result<Self, IdError> {
        let allowed = |b: &u8| b.is_ascii_digit() || b.is_ascii_lowercase();
        if bytes.is_empty() || bytes.len() > 16 || !bytes.iter().all(allowed) {
            return Err(IdError::Short);
        }
        let mut id = [0; 16];
        id[..bytes.len()].copy_from_slice(bytes);
        Ok(Self(id))
    }

    /// The last `width` digits of `number` in base 36.
    fn base36(mut number: u64, width: usize) -> Self {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut id = [0; 16];
        for place in id[..width].iter_mut().rev() {
            *place = DIGITS[(number % 36) as usize];
            number /= 36;
        }
        Self(id)
    }

    fn as_bytes(&self) -> &[u8] {
        // Zeros stand behind the characters alone, at the upper end of the number.
        let unused = u128::from_le_bytes(self.0).leading_zeros() as usize / 8;
        &self.0[..self.0.len() - unused]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("short ids hold ASCII only, checked when made")
    }
}

macro_rules! short_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Short);

        impl $name {
            /// An id of eight characters made from a random number of the caller's.
            pub fn from_random(random: u64) -> Self {
                Self(Short::base36(random, 8))
            }

            /// The id that these bytes spell.
            pub fn from_ascii(bytes: &[u8]) -> Result<Self, IdError> {
                Short::from_ascii(bytes).map(Self)
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// The same, as bytes.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::from_ascii(text.as_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        serde_as_text!($name);
    };
}

short_id! {
    /// The epoch of a topic: when it changes, the offsets of the old one mean nothing any more.
    Epoch
}
short_id! {
    /// The id of a ping, returned in its pong.
    PingId
}
short_id! {
    /// The id of a server's log, told in `welcome`; another id means the old log is gone.
    LogId
}
short_id! {
    /// The server's name for one connection.
    ConnectionId
}

impl PingId {
    /// The id of the `count`-th ping of a connection: the number itself, in decimal.
    pub fn from_count(count: u32) -> Self {
        count
            .to_string()
            .parse()
            .expect("a u32 has at most ten decimal digits")
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);

            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_number(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u64(self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match u64::deserialize(deserializer)? {
                    number if number <= NUMBER_MAX => Ok(Self(number)),
                    _ => Err(de::Error::custom(IdError::Number)),
                }
            }
        }
    };
}

number_id! {
    /// The place of a message in its topic; the first is 1, and 0 means "before the first".
    Offset
}
number_id! {
    /// The number a client gives to what it publishes; the first is 1.
    Seq
}
number_id! {
    /// The number of a dial of one client; it rises with each.
    Attempt
}

/// Everything up to here has been handled: what a client keeps to resume a topic.
///
/// ```
/// use heartwire_proto::{Cursor, Offset};
///
/// let cursor: Cursor = "k3v9.41".parse()?;
/// assert_eq!(cursor.offset(), Offset(41));
/// assert_eq!("0".parse::<Cursor>()?, Cursor::Start);
/// # Ok::<(), heartwire_proto::id::IdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Cursor {
    /// `0`: nothing seen yet, whatever the epoch will be.
    #[default]
    Start,
    /// `EPOCH.OFFSET`.
    At {
        /// The epoch in which the offset counts.
        epoch: Epoch,
        /// The last message handled; 0 when none was.
        offset: Offset,
    },
}

impl Cursor {
    /// The offset, 0 at the start.
    pub const fn offset(self) -> Offset {
        match self {
            Self::Start => Offset::ZERO,
            Self::At { offset, .. } => offset,
        }
    }

    /// The epoch, if one is known.
    pub const fn epoch(self) -> Option<Epoch> {
        match self {
            Self::Start => None,
            Self::At { epoch, .. } => Some(epoch),
        }
    }
}

impl FromStr for Cursor {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == "0" {
            return Ok(Self::Start);
        }
        let (epoch, offset) = text.split_once('.').ok_or(IdError::Cursor)?;
        let epoch = epoch.parse().map_err(|_| IdError::Cursor)?;
        let offset = offset.parse().map_err(|_| IdError::Cursor)?;
        Ok(Self::At { epoch, offset })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("0"),
            Self::At { epoch, offset } => write!(f, "{epoch}.{offset}"),
        }
    }
}

/// The random name a client draws once per link. It is a secret: whoever knows it can take over the
/// client's connection, so it is never shown to others, nor logged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// The id made from 128 random bits of the caller's, which must come from a secure source.
    pub fn from_random(random: u128) -> Self {
        Self(format!("{random:032x}").into())
    }

    /// The id as text; keep it out of logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if (16..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(IdError::Client)
        }
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientId(secret)")
    }
}

serde_as_text!(ClientId);

/// A bearer token, as the application's back end issued it. It is a secret: never logged.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Wraps the text; what it means is the server's business.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token as text; keep it out of logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(parse_number("0"), Ok(0));
        assert_eq!(parse_number("9007199254740991"), Ok(NUMBER_MAX));
        for wrong in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "9007199254740992",
            "12345678901234567",
        ] {
            assert_eq!(parse_number(wrong), Err(IdError::Number), "{wrong:?}");
        }
    }

    #[test]
    fn topics_keep_to_the_charset() {
        let longest = "t".repeat(TOPIC_BYTES_MAX);
        for right in ["task:42", "_", "0", "a-b.c:d@e~f", "$presence:x", &longest] {
            assert!(TopicRef::parse(right).is_ok(), "{right:?}");
        }
        let too_long = "t".repeat(TOPIC_BYTES_MAX + 1);
        for wrong in ["", "-a", ".a", "a b", "a/b", "ä", "a$", "a\n", &too_long] {
            assert_eq!(TopicRef::parse(wrong), Err(IdError::Topic), "{wrong:?}");
        }
    }

    #[test]
    fn short_ids_are_lower_case_base_36() {
        assert_eq!(
            "k3v9".parse::<Epoch>().map(|e| e.to_string()),
            Ok("k3v9".to_owned())
        );
        for wrong in ["", "K3", "a.b", "12345678901234567"] {
            assert_eq!(wrong.parse::<Epoch>(), Err(IdError::Short), "{wrong:?}");
        }
        assert_eq!(Epoch::from_random(35).as_str(), "0000000z");
        assert_eq!(Epoch::from_random(u64::MAX).as_str().len(), 8);
    }

    #[test]
    fn cursors_read_back_as_written() {
        for text in ["0", "k3v9.0", "k3v9.9007199254740991"] {
            assert_eq!(
                text.parse::<Cursor>().map(|c| c.to_string()),
                Ok(text.to_owned())
            );
        }
        for wrong in [
            "", "k3v9", "k3v9.", ".1", "k3v9.01", "K.1", "00", "k3v9.1.2",
        ] {
            assert_eq!(wrong.parse::<Cursor>(), Err(IdError::Cursor), "{wrong:?}");
        }
    }

    #[test]
    fn a_client_id_does_not_print_its_secret() {
        let id: ClientId = "3f9c2a7e51b04d68".parse().expect("sixteen characters");
        assert!(!format!("{id:?}").contains("3f9c"));
    }
}
