//! API keys: who may call. Stored as SHA-256 alone; a key itself is shown once and kept nowhere.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use wrenn_model::{ErrorKind, Fault, KeyId, Scope, Scopes, TeamName};
use wrenn_store::{Store, StoreError, StoredKey, millis};

use crate::Caller;
use crate::fault::store_fault;
use crate::teams::visible_team;

/// How long a key that was found is let in without a look: another server may have revoked it.
const REMEMBERED: Duration = Duration::from_secs(3);
/// Between two times that the use of a key is written, in milliseconds.
const NOTED_EVERY_MS: i64 = 60_000;
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

/// What a key is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewKey {
    /// What it is called.
    pub name: String,
    /// Whose it is; its maker's team without it.
    pub team: Option<TeamName>,
    /// What it is for.
    pub scopes: Scopes,
    /// How long it opens anything; for ever without it.
    pub good_for: Option<Duration>,
}

/// A key that was made. Its debug form does not show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeKey {
    /// The key itself, which is kept nowhere.
    pub key: ApiKey,
    /// What is known of it from now on.
    pub stored: StoredKey,
}

/// The keys that this installation knows.
#[derive(Debug, Clone)]
pub struct Keys {
    store: Store,
    /// For what callers need not wait for.
    tasks: TaskTracker,
    memory: Arc<RwLock<Memory>>,
}

/// Keys that were found lately.
#[derive(Debug, Default)]
struct Memory {
    /// By hash; as many at most as there are keys.
    found: HashMap<String, Found>,
    /// Counts what was revoked here: what was read before is not remembered after.
    revoked: u64,
}

/// A key that was found.
#[derive(Debug)]
struct Found {
    caller: Arc<Caller>,
    expires_at_ms: Option<i64>,
    since: Instant,
}

impl Keys {
    pub(crate) fn new(store: Store, tasks: TaskTracker) -> Self {
        Self {
            store,
            tasks,
            memory: Arc::default(),
        }
    }

    /// Lets callers with this key in from now on, beside all others, as the operator. Told twice is told once, and a key
    /// that was revoked stays so.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn register(&self, name: &str, key: &ApiKey) -> Result<(), StoreError> {
        let own = NewKey {
            name: name.to_owned(),
            scopes: Scopes::from_iter([Scope::Admin]),
            ..NewKey::default()
        };
        let (hash, stored) = described(key, own, &TeamName::operator(), self.store.now_ms());
        self.store.insert_key(&hash, &stored).await
    }

    /// Makes a key.
    ///
    /// # Errors
    /// `not_found` where there is no such team, or it is not the maker's to give keys of; `db_error`.
    pub async fn create(&self, maker: &Caller, new: NewKey) -> Result<MadeKey, Fault> {
        let team = new.team.clone().unwrap_or_else(|| maker.team.clone());
        visible_team(&self.store, maker, &team).await?;
        let key = ApiKey::random();
        let (hash, stored) = described(&key, new, &team, self.store.now_ms());
        let written = self.store.insert_key(&hash, &stored).await;
        written.map_err(|error| store_fault(&error))?;
        tracing::info!(key = %stored.id, team = %stored.team, scopes = %stored.scopes, maker = %maker.key, "a key is made");
        Ok(MadeKey { key, stored })
    }

    /// The keys of the caller's team, or every key for the operator, newest first; those too that open nothing any more.
    ///
    /// # Errors
    /// `db_error`.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<StoredKey>, Fault> {
        let keys = self.store.keys(caller.bound_to()).await;
        keys.map_err(|error| store_fault(&error))
    }

    /// Takes from a key all that it opens: at once here, within five seconds on other servers. Told twice is told once.
    ///
    /// # Errors
    /// `not_found` where there is no such key, or it is another team's; `db_error`.
    pub async fn revoke(&self, caller: &Caller, id: &KeyId) -> Result<(), Fault> {
        let revoked = self
            .store
            .revoke_key(id, caller.bound_to(), self.store.now_ms())
            .await;
        if !revoked.map_err(|error| store_fault(&error))? {
            return Err(Fault::new(
                ErrorKind::NotFound,
                format!("there is no key {:?}", id.as_str()),
                "list the keys with GET /v1/keys",
            ));
        }
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.found.retain(|_, found| found.caller.key != *id);
        memory.revoked += 1;
        tracing::info!(key = %id, by = %caller.key, "a key is revoked");
        Ok(())
    }

    /// Whose this key is.
    ///
    /// # Errors
    /// `unauthorized` when nobody knows it, it has expired or was revoked; `unavailable` or `db_error` when the database
    /// does not answer.
    pub async fn check(&self, given: &str) -> Result<Arc<Caller>, Fault> {
        // Looked up by its hash: how long that takes says nothing about the key.
        let hash = hash(given);
        let now = self.store.now_ms();
        // However long the database takes, what it says is not of later than this.
        let since = Instant::now();
        let revoked = {
            let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
            let found = memory.found.get(&hash);
            if let Some(found) = found.filter(|found| found.since.elapsed() < REMEMBERED)
                && found.expires_at_ms.is_none_or(|then| now < then)
            {
                return Ok(Arc::clone(&found.caller));
            }
            memory.revoked
        };
        let key = self.store.key(&hash).await;
        let key = key.map_err(|error| store_fault(&error))?;
        let good = key.ok_or_else(unknown).and_then(|key| usable(key, now));
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        let key = match good {
            Ok(key) => key,
            Err(fault) => {
                memory.found.remove(&hash);
                return Err(fault);
            }
        };
        let caller = Arc::new(Caller::new(&key));
        if memory.revoked == revoked {
            let found = Found {
                caller: Arc::clone(&caller),
                expires_at_ms: key.expires_at_ms,
                since,
            };
            memory.found.insert(hash, found);
        }
        drop(memory);
        self.note_use(&key, now);
        Ok(caller)
    }

    /// Writes that a key was used, at most once a minute. Nobody waits for that.
    fn note_use(&self, key: &StoredKey, now: i64) {
        let unless_after = now.saturating_sub(NOTED_EVERY_MS);
        if key.last_used_at_ms.is_some_and(|then| then > unless_after) {
            return;
        }
        let (store, id) = (self.store.clone(), key.id.clone());
        self.tasks.spawn(async move {
            if let Err(error) = store.note_key_use(&id, now, unless_after).await {
                tracing::debug!(%error, key = %id, "its use is not noted");
            }
        });
    }
}

/// A key's hash, and what is known of it.
fn described(key: &ApiKey, new: NewKey, team: &TeamName, now: i64) -> (String, StoredKey) {
    let hash = hash(&key.0);
    #[expect(clippy::expect_used, reason = "hex digits, by a test")]
    let id = format!("key-{}", &hash[..8]).parse().expect("a valid id");
    let stored = StoredKey {
        id,
        name: new.name,
        team: team.clone(),
        scopes: new.scopes,
        created_at_ms: now,
        expires_at_ms: new.good_for.map(|time| now.saturating_add(millis(time))),
        last_used_at_ms: None,
        revoked_at_ms: None,
    };
    (hash, stored)
}

/// The key, if it opens anything now.
fn usable(key: StoredKey, now: i64) -> Result<StoredKey, Fault> {
    let refused = |what: &str| {
        Fault::new(
            ErrorKind::Unauthorized,
            format!("the key {} {what}", key.id),
            "ask an admin for a new one, which `wrenn key create` makes",
        )
    };
    if key.revoked_at_ms.is_some() {
        return Err(refused("was revoked"));
    }
    if key.expires_at_ms.is_some_and(|then| then <= now) {
        return Err(refused("has expired"));
    }
    Ok(key)
}

fn unknown() -> Fault {
    Fault::new(
        ErrorKind::Unauthorized,
        "nobody knows this API key",
        "send a key of this installation in the header X-API-Key; `api-key` in its data directory has the first",
    )
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
