//! What `/init` made of this guest. Before the first one it is nobody's, and nothing runs in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use wrenn_envd_api::{InitRequest, Secret};
use zeroize::Zeroize;

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
    #[error("the first call, and one that renews, must give accessToken and nextInitKey")]
    NoSecrets,
}

/// What an `/init` would make of the guest.
#[derive(Debug)]
pub(crate) struct Proposal {
    session: Session,
    /// What was let in before ends.
    voids: bool,
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
    ) -> Result<Proposal, InitError> {
        let current = self.current();
        if let Some(current) = &current
            && !key.is_some_and(|key| current.init_key.matches(key))
        {
            return Err(InitError::WrongKey);
        }
        match current.filter(|_| !request.renew) {
            Some(current) => Ok(current.changed(request)),
            None => Session::first(request).ok_or(InitError::NoSecrets),
        }
    }

    /// Makes what was proposed the current one. With a new token or another life, the old token is void from here on.
    pub(crate) fn adopt(&self, proposal: Proposal) {
        let before = lock(&self.0).replace(Arc::new(proposal.session));
        if let Some(before) = before
            && proposal.voids
        {
            before.void.cancel();
        }
    }
}

impl Session {
    /// One that has nothing of any before it.
    fn first(request: &InitRequest) -> Option<Proposal> {
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
        Some(Proposal {
            voids: true,
            ..blank.changed(request)
        })
    }

    /// This session with what `request` names put in place.
    fn changed(&self, request: &InitRequest) -> Proposal {
        fn or<T: Clone>(new: Option<&T>, old: &T) -> T {
            new.unwrap_or(old).clone()
        }
        // An empty value of E2B's optional strings means that it was not given.
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let secret = |secret: &Option<Secret>| secret.clone().filter(|secret| !secret.is_empty());
        let token = or(secret(&request.access_token).as_ref(), &self.token);
        let voids = !token.matches(self.token.expose().as_bytes());
        let void = if voids {
            CancellationToken::new()
        } else {
            self.void.clone()
        };
        let session = Self {
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
        };
        Proposal { session, voids }
    }
}

impl Drop for Session {
    /// What callers keep in variables is often as secret as the token.
    fn drop(&mut self) {
        self.env.values_mut().for_each(Zeroize::zeroize);
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
        assert!(kept.session.token.matches(b"u"));
        assert!(kept.session.init_key.matches(b"two"));
    }

    #[test]
    fn one_that_renews_has_nothing_of_the_one_before() {
        let sessions = Sessions::default();
        let former = InitRequest {
            env_vars: Some(BTreeMap::from([("A".to_owned(), "b".to_owned())])),
            default_user: Some("user".to_owned()),
            default_workdir: Some("/srv".to_owned()),
            sandbox_id: Some("sb-former".to_owned()),
            template_id: Some("python".to_owned()),
            ..request("t", "one")
        };
        sessions.adopt(sessions.propose(&former, None).unwrap());
        let renew = |request| InitRequest {
            renew: true,
            ..request
        };
        for (incomplete, key, why) in [
            (request("u", "two"), &b"two"[..], InitError::WrongKey),
            (request("u", ""), b"one", InitError::NoSecrets),
            (request("", "two"), b"one", InitError::NoSecrets),
        ] {
            let refused = sessions.propose(&renew(incomplete), Some(key)).unwrap_err();
            assert_eq!(refused, why);
        }
        let before = sessions.current().unwrap();
        // The same token says nothing: who came in before is of another life.
        let again = renew(request("t", "two"));
        sessions.adopt(sessions.propose(&again, Some(b"one")).unwrap());
        assert!(before.void.is_cancelled());
        let now = sessions.current().unwrap();
        assert!(!now.void.is_cancelled() && now.init_key.matches(b"two"));
        assert!(now.env.is_empty() && now.default_workdir.is_none());
        let names = [&now.default_user, &now.sandbox_id, &now.template_id];
        assert_eq!(names, ["root", "", ""]);
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
