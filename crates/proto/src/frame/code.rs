//! The words by which a frame says why.

use std::fmt;
use std::str::FromStr;

use super::FrameError;

const CODE: FrameError = FrameError::new("FRAME-11", "the code is not one that this verb knows");

/// An enum whose variants have one spelling on the wire each.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every word of this kind.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word as it stands in a frame.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = FrameError;

            fn from_str(text: &str) -> Result<Self, FrameError> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(CODE),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Why messages will never come.
    GapReason {
        /// They were trimmed before this follower came to them.
        Retention = "retention",
        /// They belonged to an epoch that is gone.
        Epoch = "epoch",
        /// They were stored, and the server's disk has lost them.
        Damage = "damage",
    }
}

words! {
    /// Why a topic is not followed, in `refused` and in `ended`.
    RefusedCode {
        /// The identity may not follow it; what does not exist answers the same.
        Forbidden = "forbidden",
        /// The connection follows as many topics as it may.
        Limit = "limit",
        /// The name is not one that can be followed.
        BadTopic = "bad-topic",
    }
}

words! {
    /// Why a publish was not stored.
    NackCode {
        /// The identity may not publish to the topic.
        Forbidden = "forbidden",
        /// The payload is larger than `message_bytes_max`.
        TooLarge = "too-large",
        /// The topic belongs to the server.
        BadTopic = "bad-topic",
        /// A text payload is not UTF-8.
        InvalidText = "invalid-text",
        /// The log takes nothing at the moment.
        Unavailable = "unavailable",
        /// This client publishes too fast.
        Rate = "rate",
    }
}

impl NackCode {
    /// Whether the same publish would be refused again, however often it is sent.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Forbidden | Self::TooLarge | Self::BadTopic | Self::InvalidText => true,
            Self::Unavailable | Self::Rate => false,
        }
    }
}
