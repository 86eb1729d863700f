//! The names of generations.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which generation of a sandbox this is. They are counted from one, and the highest is the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GenerationId(u64);

/// A text that names no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a generation is named g- and its number, with at least eight digits")]
pub struct InvalidId;

impl GenerationId {
    /// The first generation of a sandbox.
    pub(crate) const FIRST: Self = Self(1);

    /// The one after this one.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g-{:08}", self.0)
    }
}

impl FromStr for GenerationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let number = text
            .strip_prefix("g-")
            .and_then(|digits| digits.parse().ok());
        let id = Self(number.ok_or(InvalidId)?);
        // One number has one name.
        if id.0 > 0 && id.to_string() == text {
            Ok(id)
        } else {
            Err(InvalidId)
        }
    }
}

impl TryFrom<String> for GenerationId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<GenerationId> for String {
    fn from(id: GenerationId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_no_other_is() {
        for number in [1, 7, 99_999_999, 100_000_000, u64::MAX] {
            let id = GenerationId(number);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(GenerationId::FIRST.to_string(), "g-00000001");
        for text in [
            "",
            "g-",
            "g-1",
            "g-00000000",
            "g-+0000001",
            "g-000000001",
            "G-00000001",
            "g-00000001 ",
            "g-99999999999999999999",
        ] {
            assert_eq!(text.parse::<GenerationId>(), Err(InvalidId), "{text:?}");
        }
    }
}
