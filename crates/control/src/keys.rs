//! API keys: who may call. Stored as SHA-256 alone; a key itself is shown once and kept nowhere.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use wrenn_model::{ErrorKind, Fault};
use wrenn_store::{Store, StoreError};

use crate::clock::now_ms;
use crate::sandboxes::store_fault;

/// How long a key that was found is let in without a look: another server may have replaced it.
const REMEMBERED: Duration = Duration::from_secs(5);
const PREFIX: &str = "wrn_";
const LENGTH: usize = 32;
/// 32 characters, five bits each; no 0, 1, l or o, which people confuse.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// An API key: `wrn_` and 32 characters, 160 random bits. Its debug form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// A text that is no API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an API key is \"wrn_\" and 32 lowercase letters or digits")]
pub struct InvalidKey;

impl ApiKey {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; LENGTH];
        #[expect(clippy::expect_used, reason = "without entropy nothing may go on")]
        getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
        let letters = bytes
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
        Self(PREFIX.chars().chain(letters).collect())
    }

    /// The key itself, to be shown to its owner.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let valid = text.strip_prefix(PREFIX).is_some_and(|rest| {
            rest.len() == LENGTH
                && rest
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidKey)
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrn_…")
    }
}

/// The keys that this installation knows.
#[derive(Debug, Clone)]
pub struct Keys {
    store: Store,
    /// By hash, keys that were found; as many at most as there are keys.
    known: Arc<RwLock<HashMap<String, Known>>>,
}

/// A key that was found.
#[derive(Debug)]
struct Known {
    name: Arc<str>,
    since: Instant,
}

impl Keys {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            known: Arc::default(),
        }
    }

    /// Lets callers with this key in from now on. Told twice is told once.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn register(&self, name: &str, key: &ApiKey) -> Result<(), StoreError> {
        self.store.insert_key(&hash(&key.0), name, now_ms()).await
    }

    /// The name of a caller's key.
    ///
    /// # Errors
    /// `unauthorized` when nobody knows it, `unavailable` or `db_error` when the database does not answer.
    pub async fn check(&self, given: &str) -> Result<Arc<str>, Fault> {
        // Looked up by its hash: how long that takes says nothing about the key.
        let hash = hash(given);
        let known = self
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&hash)
            .filter(|known| known.since.elapsed() < REMEMBERED)
            .map(|known| Arc::clone(&known.name));
        if let Some(name) = known {
            return Ok(name);
        }
        let Some(name) = self
            .store
            .key_name(&hash)
            .await
            .map_err(|error| store_fault(&error))?
        else {
            self.known
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&hash);
            return Err(Fault::new(
                ErrorKind::Unauthorized,
                "nobody knows this API key",
                "send a key of this installation in the header X-API-Key; `api-key` in its data directory has the first",
            ));
        };
        let name: Arc<str> = name.into();
        let known = Known {
            name: Arc::clone(&name),
            since: Instant::now(),
        };
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(hash, known);
        Ok(name)
    }
}

fn hash(key: &str) -> String {
    Sha256::digest(key)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_look_as_the_contract_says_and_hide() {
        let key = ApiKey::random();
        assert_eq!(key.reveal().parse(), Ok(key.clone()));
        assert_ne!(key, ApiKey::random());
        assert!(!format!("{key:?}").contains(&key.reveal()[4..]));
        for bad in [
            "",
            "wrn_",
            "wrn_short",
            &key.reveal().to_uppercase(),
            &format!("{}x", key.reveal()),
        ] {
            assert_eq!(bad.parse::<ApiKey>(), Err(InvalidKey), "{bad}");
        }
    }
}
