//! Numbers of bytes as people write them: `1048576`, `64KiB`, `16MiB`, `2GiB`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A number of bytes, read from a flag, an environment variable or a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub(crate) struct Size(pub(crate) u64);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number of bytes, such as 1048576 or \"1MiB\""
)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = UNITS.iter().find(|(name, _)| text.ends_with(name));
        let (number, factor) = match unit {
            Some((name, factor)) => (text[..text.len() - name.len()].trim_end(), *factor),
            None => (text, 1),
        };
        let number: Option<u64> = number.parse().ok();
        number
            .and_then(|number| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| "not a number of bytes (write for example 1048576 or 1MiB)".to_owned())
    }
}

impl TryFrom<NumberOrText> for Size {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        match value {
            NumberOrText::Number(bytes) => Ok(Self(bytes)),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole =
            |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        match UNITS.iter().find(whole) {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_or_without_a_unit() {
        let size = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(size("1000"), Ok(1_000));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("2 GiB"), Ok(2 << 30));
        for wrong in ["", "MiB", "1.5MiB", "-1", "1MB", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(Size(16 << 20).to_string(), "16MiB");
        assert_eq!(Size(1_500).to_string(), "1500");
        assert_eq!(Size(0).to_string(), "0");
    }
}
