//! Whether this host has joined a control plane on another machine, and for how long its certificate is good.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use wrenn_agent::{ENDS_SOON, IdentityFile, TlsError};

use super::finding::Finding;

const CHECK: &str = "host certificate";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AGAIN: &str =
    "`wrenn host invite` on the control plane's machine, then `wrenn agent join` here";

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Facts {
    /// It has not.
    Alone,
    /// How long it is good still; `None` when it is not.
    Joined(Option<Duration>),
    /// Only root may look.
    Hidden,
    /// There is no reading it.
    Damaged(String),
}

impl Facts {
    pub(super) fn look(dir: &Path) -> Self {
        match IdentityFile::of(dir).read() {
            Ok(identity) => {
                Self::Joined(identity.expires_at().duration_since(SystemTime::now()).ok())
            }
            Err(TlsError::NotJoined { .. }) => Self::Alone,
            Err(TlsError::Unreadable { source, .. })
                if source.kind() == ErrorKind::PermissionDenied =>
            {
                Self::Hidden
            }
            Err(error) => Self::Damaged(error.to_string()),
        }
    }

    /// Of a host that has joined nobody there is nothing to say.
    pub(super) fn judge(&self) -> Option<Finding> {
        Some(match self {
            Self::Alone => return None,
            Self::Hidden => Finding::hidden(CHECK, "the certificate for control planes elsewhere"),
            Self::Damaged(why) => Finding::warning(CHECK, why, AGAIN),
            Self::Joined(None) => Finding::warning(
                CHECK,
                "it has expired: the control plane does not believe this host any more",
                AGAIN,
            ),
            Self::Joined(Some(left)) => {
                let days = left.as_secs() / DAY.as_secs();
                let found = format!("good for {days} days");
                if *left < ENDS_SOON {
                    Finding::warning(CHECK, found, AGAIN)
                } else {
                    Finding::ok(CHECK, found)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Verdict;

    #[test]
    fn a_certificate_that_ends_is_told_in_time() {
        let verdict = |facts: Facts| facts.judge().map(|finding| finding.verdict);
        assert_eq!(verdict(Facts::Alone), None);
        assert_eq!(verdict(Facts::Joined(Some(300 * DAY))), Some(Verdict::Ok));
        for bad in [
            Facts::Joined(Some(29 * DAY)),
            Facts::Joined(None),
            Facts::Damaged("damaged".into()),
        ] {
            assert_eq!(verdict(bad), Some(Verdict::Warning));
        }
    }

    #[test]
    fn what_is_there_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Facts::look(dir.path()), Facts::Alone);
        std::fs::create_dir(dir.path().join("tls")).unwrap();
        std::fs::write(dir.path().join("tls/identity.pem"), "nothing").unwrap();
        assert!(matches!(Facts::look(dir.path()), Facts::Damaged(_)));
    }
}
