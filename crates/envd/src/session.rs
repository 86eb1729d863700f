//! What `/init` made of this guest. Before the first one it is nobody's, and nothing runs in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use wrenn_envd_api::{InitRequest, Secret};

use crate::lock::lock;

/// Whose guest this is, and with what defaults.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// What every call but `/health` and `/init` must carry.
    pub(crate) token: Secret,
    /// Cancelled when another token takes this one's place.
    pub(crate) void: CancellationToken,
    /// What the next `/init` must carry.
    init_key: Secret,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) default_user: String,
    pub(crate) default_workdir: Option<PathBuf>,
    pub(crate) sandbox_id: String,
    pub(crate) template_id: String,
}

/// Why an `/init` was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum InitError {
    #[error("the header X-Init-Key is missing or wrong")]
    WrongKey,
    #[error("the first call must give accessToken and nextInitKey")]
    NoSecrets,
}

/// The session there is now, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<Option<Arc<Session>>>);

impl Sessions {
    /// The session as it stands.
    pub(crate) fn current(&self) -> Option<Arc<Session>> {
        lock(&self.0).clone()
    }

    /// Checks that the caller may call `/init`, and says what the session would become. The first call after a boot needs no
    /// key: no process of a user has run yet.
    pub(crate) fn propose(
        &self,
        request: &InitRequest,
        key: Option<&[u8]>,
    ) -> Result<Session, InitError> {
        let Some(current) = self.current() else {
            return Session::first(request).ok_or(InitError::NoSecrets);
        };
        if !key.is_some_and(|key| current.init_key.matches(key)) {
            return Err(InitError::WrongKey);
        }
        Ok(current.changed(request))
    }

    /// Makes `session` the current one. With a new token, the old one is void from here on.
    pub(crate) fn adopt(&self, session: Session) {
        let session = Arc::new(session);
        let before = lock(&self.0).replace(Arc::clone(&session));
        if let Some(before) = before
            && !before.token.matches(session.token.expose().as_bytes())
        {
            before.void.cancel();
        }
    }
}

impl Session {
    fn first(request: &InitRequest) -> Option<Self> {
        let present = |secret: &Option<Secret>| secret.clone().filter(|secret| !secret.is_empty());
        let blank = Self {
            token: present(&request.access_token)?,
            void: CancellationToken::new(),
            init_key: present(&request.next_init_key)?,
            env: BTreeMap::new(),
            default_user: "root".to_owned(),
            default_workdir: None,
            sandbox_id: String::new(),
            template_id: String::new(),
        };
        Some(blank.changed(request))
    }

    /// This session with what `request` names put in place.
    fn changed(&self, request: &InitRequest) -> Self {
        fn or<T: Clone>(new: Option<&T>, old: &T) -> T {
            new.unwrap_or(old).clone()
        }
        // An empty value of E2B's optional strings means that it was not given.
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let secret = |secret: &Option<Secret>| secret.clone().filter(|secret| !secret.is_empty());
        let token = or(secret(&request.access_token).as_ref(), &self.token);
        let void = if token.matches(self.token.expose().as_bytes()) {
            self.void.clone()
        } else {
            CancellationToken::new()
        };
        Self {
            token,
            void,
            init_key: or(secret(&request.next_init_key).as_ref(), &self.init_key),
            env: or(request.env_vars.as_ref(), &self.env),
            default_user: or(given(&request.default_user).as_ref(), &self.default_user),
            default_workdir: given(&request.default_workdir)
                .map(PathBuf::from)
                .or_else(|| self.default_workdir.clone()),
            sandbox_id: or(request.sandbox_id.as_ref(), &self.sandbox_id),
            template_id: or(request.template_id.as_ref(), &self.template_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(token: &str, key: &str) -> InitRequest {
        InitRequest {
            access_token: Some(token.into()),
            next_init_key: Some(key.into()),
            ..InitRequest::default()
        }
    }

    #[test]
    fn the_first_call_must_bring_both_secrets() {
        let sessions = Sessions::default();
        for request in [InitRequest::default(), request("t", ""), request("", "k")] {
            assert_eq!(
                sessions.propose(&request, None).unwrap_err(),
                InitError::NoSecrets
            );
        }
        assert!(sessions.propose(&request("t", "k"), None).is_ok());
    }

    #[test]
    fn each_call_replaces_the_key() {
        let sessions = Sessions::default();
        sessions.adopt(sessions.propose(&request("t", "one"), None).unwrap());
        for key in [None, Some(&b"two"[..]), Some(b"")] {
            assert_eq!(
                sessions.propose(&request("u", "two"), key).unwrap_err(),
                InitError::WrongKey
            );
        }
        sessions.adopt(
            sessions
                .propose(&request("u", "two"), Some(b"one"))
                .unwrap(),
        );
        assert!(
            sessions
                .propose(&InitRequest::default(), Some(b"one"))
                .is_err()
        );
        let kept = sessions
            .propose(&InitRequest::default(), Some(b"two"))
            .unwrap();
        assert!(kept.token.matches(b"u"));
        assert!(kept.init_key.matches(b"two"));
    }

    #[test]
    fn a_token_is_void_when_another_takes_its_place_and_not_before() {
        let sessions = Sessions::default();
        sessions.adopt(sessions.propose(&request("t", "one"), None).unwrap());
        let first = sessions.current().unwrap();
        let same = request("t", "two");
        sessions.adopt(sessions.propose(&same, Some(b"one")).unwrap());
        let clock = InitRequest::default();
        sessions.adopt(sessions.propose(&clock, Some(b"two")).unwrap());
        assert!(!first.void.is_cancelled());
        sessions.adopt(
            sessions
                .propose(&request("u", "three"), Some(b"two"))
                .unwrap(),
        );
        assert!(first.void.is_cancelled());
        assert!(!sessions.current().unwrap().void.is_cancelled());
    }
}
