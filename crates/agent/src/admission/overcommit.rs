//! How many times over a host's memory is promised.

use std::fmt;
use std::str::FromStr;

/// 1 promises what there is; more is for who knows that guests rarely touch what they ask for. At more, guests that do
/// touch it make the kernel end some of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryOvercommit {
    /// In hundredths.
    percent: u32,
}

/// What is no factor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a number from 1 to 16")]
pub struct InvalidOvercommit(String);

impl MemoryOvercommit {
    /// So many bytes, as often as they are promised.
    pub(super) fn times(self, bytes: u64) -> u64 {
        let times = u128::from(bytes) * u128::from(self.percent) / 100;
        u64::try_from(times).unwrap_or(u64::MAX)
    }
}

impl Default for MemoryOvercommit {
    fn default() -> Self {
        Self { percent: 100 }
    }
}

impl fmt::Display for MemoryOvercommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.percent / 100, self.percent % 100)
    }
}

impl FromStr for MemoryOvercommit {
    type Err = InvalidOvercommit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidOvercommit(text.to_owned());
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 2 {
            return Err(invalid());
        }
        let whole: u32 = whole.parse().map_err(|_| invalid())?;
        let hundredths: u32 = format!("{part:0<2}").parse().map_err(|_| invalid())?;
        match whole
            .checked_mul(100)
            .and_then(|all| all.checked_add(hundredths))
        {
            Some(percent @ 100..=1600) => Ok(Self { percent }),
            _ => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_one_to_sixteen() {
        for (text, shown) in [
            ("1", "1.00"),
            ("1.0", "1.00"),
            ("1.5", "1.50"),
            ("2.25", "2.25"),
            ("16", "16.00"),
        ] {
            assert_eq!(text.parse::<MemoryOvercommit>().unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "0.99",
            "16.01",
            "-1",
            "1.005",
            "1,5",
            "inf",
            "NaN",
            ".5",
            "1.",
            "99999999999",
        ] {
            assert!(wrong.parse::<MemoryOvercommit>().is_err(), "{wrong}");
        }
        assert_eq!(MemoryOvercommit::default().to_string(), "1.00");
        assert_eq!(
            "1.5".parse::<MemoryOvercommit>().unwrap().times(u64::MAX),
            u64::MAX
        );
    }
}
