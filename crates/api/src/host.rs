//! Hosts on other machines: inviting one, and joining.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wrenn_model::Fault;

use crate::{Timestamp, check, limits, whole};

/// An invitation that is asked for. No body at all means `{}`, and so does `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"ttl_sec": 3600}))]
pub struct InviteHost {
    /// Seconds for which it is good. Absent, zero or less mean 3600.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(maximum = 86400)]
    pub ttl_sec: Option<i64>,
}

impl InviteHost {
    /// Whether it keeps the contract. Answers with the seconds for which it is good.
    ///
    /// # Errors
    /// `invalid_request`, naming the field and the rule.
    pub fn check(&self) -> Result<u32, Fault> {
        let given = check::positive("ttl_sec", self.ttl_sec, limits::INVITATION_SEC)?;
        Ok(given.unwrap_or(limits::INVITATION_DEFAULT_SEC))
    }
}

/// An invitation for one host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    /// What `wrenn agent join` is given there. It is shown once.
    #[schema(example = "wrnj_0123456789abcdef_0123456789abcdef0123456789abcdef")]
    pub token: String,
    /// From when on it is no more use.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A host's request to join. It holds no secret; the token's secret proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "token_id": "0123456789abcdef", "csr": "-----BEGIN CERTIFICATE REQUEST-----\n…", "names": ["10.0.0.5"],
    "proof": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}))]
pub struct JoinHost {
    /// The second part of the token, between the underscores.
    #[schema(max_length = 256)]
    pub token_id: String,
    /// A certificate request (PKCS #10, PEM) for an ECDSA key on P-256. Names in it are ignored.
    #[schema(max_length = 8192)]
    pub csr: String,
    /// Addresses and DNS names by which the server dials the host.
    #[schema(min_items = 1, max_items = 16)]
    pub names: Vec<String>,
    /// HMAC-SHA256 under the third part of the token, in hex: of `wrenn join request 1`, `token_id`, `csr` and each of
    /// `names`, each preceded by its length as eight bytes, most significant first.
    #[schema(max_length = 256)]
    pub proof: String,
}

impl JoinHost {
    /// Whether it keeps the contract's bounds.
    ///
    /// # Errors
    /// `invalid_request`, naming the field and the rule.
    pub fn check(&self) -> Result<(), Fault> {
        if self.names.is_empty() || self.names.len() > limits::HOST_NAMES {
            return Err(check::refuse(
                format!("names has {} entries", self.names.len()),
                format!("give 1 to {}", limits::HOST_NAMES),
            ));
        }
        check::at_most("token_id", &self.token_id, limits::JOIN_FIELD_BYTES)?;
        check::at_most("csr", &self.csr, limits::CSR_BYTES)?;
        check::at_most("proof", &self.proof, limits::JOIN_FIELD_BYTES)?;
        self.names
            .iter()
            .try_for_each(|name| check::at_most("a name", name, limits::JOIN_FIELD_BYTES))
    }
}

/// What a host has joined with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinedHost {
    /// The host's certificate, in PEM.
    pub certificate: String,
    /// The certificate of the server's authority, in PEM.
    pub authority: String,
    /// HMAC-SHA256 under the third part of the token, in hex: of `wrenn join answer 1`, the request's `proof`,
    /// `certificate` and `authority`, written as in the request. An answer without it is somebody else's.
    pub proof: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_good_for_an_hour_and_a_day_at_the_most() {
        let check = |ttl_sec| InviteHost { ttl_sec }.check();
        assert_eq!(check(None).unwrap(), 3600);
        assert_eq!(check(Some(0)).unwrap(), 3600);
        assert_eq!(check(Some(86_400)).unwrap(), 86_400);
        assert!(check(Some(86_401)).is_err());
        let shown = Invitation {
            token: "wrnj_secret".into(),
            expires_at: Timestamp::from_unix_ms(0),
        };
        assert!(!format!("{shown:?}").contains("secret"));
    }

    #[test]
    fn a_join_is_bounded() {
        let good = JoinHost {
            token_id: "a".repeat(16),
            csr: "c".repeat(500),
            names: vec!["10.0.0.5".into()],
            proof: "0".repeat(64),
        };
        good.check().unwrap();
        type Change = fn(&mut JoinHost);
        let changes: [Change; 6] = [
            |join| join.names.clear(),
            |join| join.names = vec!["a".into(); 17],
            |join| join.names[0] = "a".repeat(257),
            |join| join.csr = "c".repeat(8193),
            |join| join.token_id = "a".repeat(257),
            |join| join.proof = "0".repeat(257),
        ];
        for change in changes {
            let mut join = good.clone();
            change(&mut join);
            assert!(join.check().is_err(), "{join:?}");
        }
    }
}
