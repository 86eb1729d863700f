//! Where a sandbox's packets may go.

use serde::{Deserialize, Serialize};

use crate::Subnet;

/// Where a sandbox's packets may go, as its owner decided. The host has the last word: see the network crate.
///
/// What decides about an address, in this order: the host's protection, `deny`, `allow`, `internet`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkPolicy {
    /// Whether public addresses are reached that no list names.
    pub internet: bool,
    /// Reached without `internet` too, and where the host's operator opened it, also private ranges.
    pub allow: Vec<Subnet>,
    /// Never reached.
    pub deny: Vec<Subnet>,
}

/// A list of ranges is longer than anybody needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{list} has {entries} entries")]
pub struct TooManyRanges {
    /// `allow` or `deny`.
    pub list: &'static str,
    /// How many there are.
    pub entries: usize,
}

impl NetworkPolicy {
    /// How many entries each list may have. Each costs every packet a comparison.
    pub const MAX_ENTRIES: usize = 64;

    /// Whether anything is reached at all. Where nothing is, nothing needs a name either: the resolver is off.
    #[must_use]
    pub fn reaches_anything(&self) -> bool {
        self.internet || !self.allow.is_empty()
    }

    /// Whether the lists are short enough.
    ///
    /// # Errors
    /// The list that is not.
    pub fn check(&self) -> Result<(), TooManyRanges> {
        for (list, ranges) in [("allow", &self.allow), ("deny", &self.deny)] {
            if ranges.len() > Self::MAX_ENTRIES {
                let entries = ranges.len();
                return Err(TooManyRanges { list, entries });
            }
        }
        Ok(())
    }
}

impl Default for NetworkPolicy {
    /// The public internet and nothing else.
    fn default() -> Self {
        Self {
            internet: true,
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_the_default() {
        let read = |json| serde_json::from_str::<NetworkPolicy>(json).unwrap();
        assert_eq!(read("{}"), NetworkPolicy::default());
        let closed = read(r#"{"internet":false,"deny":["10.0.0.0/8"]}"#);
        assert!(!closed.reaches_anything() && NetworkPolicy::default().reaches_anything());
        let json = serde_json::to_string(&closed).unwrap();
        assert_eq!(
            json,
            r#"{"internet":false,"allow":[],"deny":["10.0.0.0/8"]}"#
        );
    }

    #[test]
    fn lists_are_bounded() {
        let full = vec![Subnet::EVERYTHING; NetworkPolicy::MAX_ENTRIES];
        let mut policy = NetworkPolicy {
            allow: full.clone(),
            deny: full,
            ..Default::default()
        };
        policy.check().unwrap();
        policy.deny.push(Subnet::EVERYTHING);
        assert_eq!(
            policy.check().unwrap_err().to_string(),
            "deny has 65 entries"
        );
    }
}
