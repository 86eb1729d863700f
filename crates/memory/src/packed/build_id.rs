//! The name of a pack's blocks.

use std::fmt;
use std::str::FromStr;

/// Names the blocks that one generation stored. Never nil: in a mapping, nil stands for zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId([u8; 16]);

/// Why something is no build id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a build id is 32 lower-case hexadecimal digits, not all of them zero")]
pub struct InvalidBuildId;

impl BuildId {
    /// The id with these bytes; none for nil.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The id's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

impl FromStr for BuildId {
    type Err = InvalidBuildId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(digits) {
            return Err(InvalidBuildId);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| InvalidBuildId)?;
        Self::new(number.to_be_bytes()).ok_or(InvalidBuildId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_is_shown() {
        let id = BuildId::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]).unwrap();
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let nil = "0".repeat(32);
        let upper = "000102030405060708090A0B0C0D0EFF";
        let signed = "+00102030405060708090a0b0c0d0eff";
        for text in ["", "00ff", &nil, upper, signed, &"f".repeat(33)] {
            assert_eq!(text.parse::<BuildId>(), Err(InvalidBuildId), "{text}");
        }
    }
}
