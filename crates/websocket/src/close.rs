//! The payload of a close frame.

use heartwire_proto::CloseCode;

use super::text::whole_text;
use super::violation::Violation;

/// What a peer says when it closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClosePayload<'a> {
    /// `None` when the close frame was empty.
    pub code: Option<CloseCode>,
    /// For people; the peer's own text.
    pub reason: &'a str,
}

impl<'a> ClosePayload<'a> {
    /// Checks a close frame's payload as RFC 6455 sections 5.5.1 and 7.4 ask.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Violation> {
        match payload {
            [] => Ok(Self {
                code: None,
                reason: "",
            }),
            [_] => Err(Violation::ClosePayload),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !may_be_sent(code) {
                    return Err(Violation::CloseCode);
                }
                Ok(Self {
                    code: Some(CloseCode(code)),
                    reason: whole_text(reason)?,
                })
            }
        }
    }
}

/// Whether a close code may travel: those of RFC 6455 and of the IANA registry that are not
/// reserved for local use (1005, 1006, 1015), and the ranges of libraries and applications.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_must_not_travel_are_refused() {
        for code in [
            0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
        ] {
            let parsed = ClosePayload::parse(&code.to_be_bytes()).err();
            assert_eq!(parsed, Some(Violation::CloseCode), "{code}");
        }
        for code in [
            1000_u16, 1001, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999,
        ] {
            let parsed = ClosePayload::parse(&code.to_be_bytes()).map(|close| close.code);
            assert_eq!(parsed, Ok(Some(CloseCode(code))));
        }
    }

    #[test]
    fn a_reason_is_text() {
        assert_eq!(
            ClosePayload::parse(b"\x03").err(),
            Some(Violation::ClosePayload)
        );
        let bad = ClosePayload::parse(b"\x03\xe8\xff").err();
        assert_eq!(bad, Some(Violation::InvalidText));
        let good = ClosePayload::parse(b"\x03\xe8bye").map(|close| close.reason);
        assert_eq!(good, Ok("bye"));
    }
}
