//! The query of a file URL.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use wrenn_envd_api::{Operation, Secret, sign};

use crate::users::User;

/// `?path=&username=&signature=&signature_expiration=`, all optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FileQuery {
    pub(crate) path: Option<String>,
    pub(crate) username: Option<String>,
    signature: Option<String>,
    signature_expiration: Option<i64>,
}

impl FileQuery {
    /// Whether the URL is signed for `operation` with `token`, and still holds.
    pub(crate) fn allows(&self, operation: Operation, token: &Secret) -> bool {
        let Some(signature) = &self.signature else {
            return false;
        };
        let expected = sign(
            self.path.as_deref().unwrap_or_default(),
            operation,
            self.username.as_deref().unwrap_or_default(),
            token,
            self.signature_expiration,
        );
        let expired = self
            .signature_expiration
            .is_some_and(|expiration| expiration < now());
        Secret::from(expected).matches(signature.as_bytes()) && !expired
    }

    /// The path that is meant, as `user` sees it; `None` if none was given.
    pub(crate) fn resolved(&self, user: &User) -> Option<PathBuf> {
        let path = self.path.as_deref().filter(|path| !path.is_empty())?;
        Some(crate::paths::resolve(path, &user.home))
    }
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(expiration: Option<i64>) -> FileQuery {
        let token = Secret::from("token");
        FileQuery {
            path: Some("/a".to_owned()),
            username: None,
            signature: Some(sign("/a", Operation::Read, "", &token, expiration)),
            signature_expiration: expiration,
        }
    }

    #[test]
    fn a_signature_allows_just_what_was_signed() {
        let token = Secret::from("token");
        assert!(signed(None).allows(Operation::Read, &token));
        assert!(signed(Some(i64::MAX)).allows(Operation::Read, &token));
        assert!(!signed(Some(1)).allows(Operation::Read, &token));
        assert!(!signed(None).allows(Operation::Write, &token));
        assert!(!signed(None).allows(Operation::Read, &Secret::from("other")));
        assert!(
            !FileQuery {
                path: Some("/b".to_owned()),
                ..signed(None)
            }
            .allows(Operation::Read, &token)
        );
        assert!(
            !FileQuery {
                signature_expiration: None,
                ..signed(Some(i64::MAX))
            }
            .allows(Operation::Read, &token)
        );
        assert!(!FileQuery::default().allows(Operation::Read, &token));
    }
}
