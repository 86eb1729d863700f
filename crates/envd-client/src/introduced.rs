//! What a guest answers when it has been told who it is.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use wrenn_envd_api::header;

/// The digits of the latest time that is believed: nanoseconds since 1970 that fit into 64 bits reach to the year 2554.
const MAX_DIGITS: usize = 20;

/// A guest's answer to [`init`](crate::EnvdClient::init).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Introduced {
    /// What its clock said right before it answered. `None` if it did not say, or said what is no time.
    pub guest_time: Option<SystemTime>,
}

impl Introduced {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        Self {
            guest_time: headers
                .get(header::GUEST_TIME)
                .and_then(|value| guest_time(value.as_bytes())),
        }
    }
}

fn guest_time(value: &[u8]) -> Option<SystemTime> {
    if value.len() > MAX_DIGITS || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = std::str::from_utf8(value).ok()?.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read() {
        let expected = SystemTime::UNIX_EPOCH + Duration::new(1_795_466_820, 5);
        assert_eq!(guest_time(b"1795466820000000005"), Some(expected));
        assert_eq!(guest_time(b"0"), Some(SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for value in [
            &b""[..],
            b"-1",
            b"+1",
            b" 1",
            b"1.5",
            b"0x1",
            b"\xff",
            b"18446744073709551616",
            &[b'0'; MAX_DIGITS + 1],
        ] {
            assert_eq!(guest_time(value), None, "{value:?}");
        }
        let latest = u64::MAX.to_string();
        assert!(
            guest_time(latest.as_bytes()).is_some(),
            "the latest that is believed"
        );
    }
}
