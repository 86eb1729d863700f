//! API keys: making one, and what is told of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wrenn_model::{Fault, Scope, Scopes, TeamName};

use crate::{Timestamp, check, limits, whole};

/// One thing that a key may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyScope {
    /// To look at what is there.
    Read,
    /// To make, use, change and end sandboxes.
    Sandboxes,
    /// To change what sandboxes are made from.
    Templates,
    /// To decide who else may do what. It has all others in it.
    Admin,
}

/// A key that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "ci", "scopes": ["read", "sandboxes"], "expires_in_sec": 2_592_000}))]
pub struct CreateKey {
    /// What it is called, for people; up to 64 bytes. Several may be called the same.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub name: String,
    /// Whose it is: the team of the key that asks, without it. Only the operator makes keys of other teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$")]
    pub team: Option<String>,
    /// What it is for: `read` and `sandboxes` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1)]
    pub scopes: Option<Vec<KeyScope>>,
    /// Seconds after which it opens nothing any more; never without it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(minimum = 1, maximum = 315_360_000)]
    pub expires_in_sec: Option<i64>,
}

/// What a [`CreateKey`] asks for, in types that have no room for nonsense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedKey {
    /// Its name.
    pub name: String,
    /// Whose it is, where that is said.
    pub team: Option<TeamName>,
    /// What it is for.
    pub scopes: Scopes,
    /// How long it is good.
    pub good_for: Option<Duration>,
}

impl CreateKey {
    /// Whether it keeps the contract.
    ///
    /// # Errors
    /// `invalid_request`, naming the field and the rule.
    pub fn check(self) -> Result<AskedKey, Fault> {
        check::at_most("name", &self.name, limits::KEY_NAME_BYTES)?;
        if self.name.is_empty() || self.name.chars().any(char::is_control) {
            return Err(check::refuse(
                "name is empty, or has a control character in it",
                "call the key something that people can read",
            ));
        }
        let team = self.team.as_deref().map(team_name).transpose()?;
        let scopes: Scopes = match self.scopes {
            Some(scopes) => scopes.into_iter().map(Scope::from).collect(),
            None => Scopes::from_iter([Scope::Read, Scope::Sandboxes]),
        };
        if scopes.is_empty() {
            return Err(check::refuse(
                "scopes is empty",
                "give one at least, or leave it out for read and sandboxes",
            ));
        }
        let good_for = match self.expires_in_sec {
            None => None,
            Some(seconds) => match u64::try_from(seconds) {
                Ok(seconds @ 1..=limits::KEY_EXPIRES_SEC) => Some(Duration::from_secs(seconds)),
                _ => {
                    let rule = format!(
                        "give 1 to {}, or leave it out for a key that does not expire",
                        limits::KEY_EXPIRES_SEC
                    );
                    return Err(check::refuse(format!("expires_in_sec is {seconds}"), rule));
                }
            },
        };
        Ok(AskedKey {
            name: self.name,
            team,
            scopes,
            good_for,
        })
    }
}

fn team_name(text: &str) -> Result<TeamName, Fault> {
    text.parse().map_err(|error: wrenn_model::InvalidName| {
        check::refuse(error.to_string(), "name a team that there is")
    })
}

/// What is known of a key; the key itself is kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// What names it.
    #[schema(example = "key-0a1b2c3d")]
    pub id: String,
    /// What its maker called it.
    #[schema(example = "ci")]
    pub name: String,
    /// Whose it is.
    #[schema(example = "default")]
    pub team: String,
    /// What it is for.
    pub scopes: Vec<KeyScope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it opens nothing any more; absent when it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to a minute or so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// Since when it opens nothing any more because it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// A key that was made. Its debug form does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedKey {
    /// What is known of it from now on.
    #[serde(flatten)]
    pub described: Key,
    /// The key itself, for the header `X-API-Key`. It is shown this once.
    #[schema(example = "wrn_abcdefghijkmnpqrstuvwxyz23456789")]
    pub key: String,
}

impl std::fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedKey")
            .field("described", &self.described)
            .finish_non_exhaustive()
    }
}

impl From<Scope> for KeyScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Read => Self::Read,
            Scope::Sandboxes => Self::Sandboxes,
            Scope::Templates => Self::Templates,
            Scope::Admin => Self::Admin,
        }
    }
}

impl From<KeyScope> for Scope {
    fn from(scope: KeyScope) -> Self {
        match scope {
            KeyScope::Read => Self::Read,
            KeyScope::Sandboxes => Self::Sandboxes,
            KeyScope::Templates => Self::Templates,
            KeyScope::Admin => Self::Admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> Result<AskedKey, Fault> {
        serde_json::from_str::<CreateKey>(json).unwrap().check()
    }

    #[test]
    fn what_is_not_said_is_little() {
        let key = asked(r#"{"name":"ci"}"#).unwrap();
        assert_eq!(key.scopes.to_string(), "read,sandboxes");
        assert_eq!((key.team, key.good_for), (None, None));
        let key = asked(r#"{"name":"ci","team":"red","scopes":["admin"],"expires_in_sec":60}"#);
        let key = key.unwrap();
        assert_eq!(key.scopes.to_string(), "admin");
        assert_eq!(key.team.unwrap().as_str(), "red");
        assert_eq!(key.good_for, Some(Duration::from_secs(60)));
    }

    #[test]
    fn nonsense_is_refused() {
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(65));
        for bad in [
            r#"{"name":""}"#,
            r#"{"name":"a\nb"}"#,
            &long,
            r#"{"name":"a","team":"../x"}"#,
            r#"{"name":"a","scopes":[]}"#,
            r#"{"name":"a","expires_in_sec":0}"#,
            r#"{"name":"a","expires_in_sec":-1}"#,
            r#"{"name":"a","expires_in_sec":315360001}"#,
        ] {
            assert!(asked(bad).is_err(), "{bad}");
        }
        for bad in [
            r#"{}"#,
            r#"{"name":"a","scopes":["root"]}"#,
            r#"{"name":"a","x":1}"#,
        ] {
            assert!(serde_json::from_str::<CreateKey>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_that_was_made_hides() {
        let made = CreatedKey {
            described: Key {
                id: "key-0a1b2c3d".into(),
                name: "ci".into(),
                team: "red".into(),
                scopes: vec![KeyScope::Read],
                created_at: Timestamp::from_unix_ms(0),
                expires_at: None,
                last_used_at: None,
                revoked_at: None,
            },
            key: "wrn_secret".into(),
        };
        assert!(!format!("{made:?}").contains("secret"));
    }
}
