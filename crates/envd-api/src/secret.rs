//! A value that must not end up in a log.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// A token or key. It prints as `Secret(..)` and is compared in constant time only. What is dropped is wiped: a guest's memory
/// may be written to a disk, and read back into others.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `offered` is the same value. How long the answer takes tells nothing but the length.
    #[must_use]
    pub fn matches(&self, offered: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let difference = own
            .iter()
            .zip(offered)
            .fold(0, |difference, (a, b)| difference | (a ^ b));
        own.len() == offered.len() && std::hint::black_box(difference) == 0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_value_matches() {
        let secret = Secret::from("abc");
        assert!(secret.matches(b"abc"));
        for other in [&b"abd"[..], b"ab", b"abcd", b""] {
            assert!(!secret.matches(other));
        }
    }

    #[test]
    fn it_does_not_print() {
        assert!(!format!("{:?}", Secret::from("hunter2")).contains("hunter2"));
    }
}
