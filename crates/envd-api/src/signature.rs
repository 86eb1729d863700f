//! Signed file URLs: whoever holds the token can let others read or write one path without giving the token away.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

use crate::Secret;

/// What a signature allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `GET /files`.
    Read,
    /// `POST /files`.
    Write,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// The signature over one path, as E2B's clients make it: `v1_` and the unpadded base64 of a SHA-256.
///
/// `user` is empty when the URL names none. `expiration` is in seconds since 1970; without it the signature holds as long
/// as the token does.
#[must_use]
pub fn sign(
    path: &str,
    operation: Operation,
    user: &str,
    token: &Secret,
    expiration: Option<i64>,
) -> String {
    let mut signed = format!("{path}:{}:{user}:{}", operation.as_str(), token.expose());
    if let Some(expiration) = expiration {
        signed.push_str(&format!(":{expiration}"));
    }
    format!("v1_{}", STANDARD_NO_PAD.encode(Sha256::digest(signed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let token = Secret::from("secret");
        // printf '/a:read:user:secret' | sha256sum | xxd -r -p | base64
        assert_eq!(sign("/a", Operation::Read, "user", &token, None), KNOWN);
        assert_eq!(
            sign("/a", Operation::Write, "", &token, Some(12)),
            KNOWN_EXPIRING
        );
    }

    #[test]
    fn every_part_counts() {
        let token = Secret::from("t");
        let one = sign("/a", Operation::Read, "u", &token, None);
        assert_ne!(one, sign("/b", Operation::Read, "u", &token, None));
        assert_ne!(one, sign("/a", Operation::Write, "u", &token, None));
        assert_ne!(one, sign("/a", Operation::Read, "v", &token, None));
        assert_ne!(
            one,
            sign("/a", Operation::Read, "u", &Secret::from("s"), None)
        );
        assert_ne!(one, sign("/a", Operation::Read, "u", &token, Some(1)));
    }

    const KNOWN: &str = "v1_/8nsfhagrrysjWi5ctOoRYzl/ELsT7BUR7ryFIPSIwY";
    const KNOWN_EXPIRING: &str = "v1_/LIRIxPQ2SMkZmLiik3mK3KOoOswAFgRY4/dC8NUKJM";
}
