//! On whose behalf a call is made.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use wrenn_envd_api::UNKNOWN_USER;

use crate::session::Session;
use crate::users::{Accounts, User};

/// Why a call has no user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("{UNKNOWN_USER}{0:?}")]
    Unknown(String),
    #[error("could not read the guest's users")]
    Accounts(#[source] io::Error),
}

/// The user that the call names, by basic authentication or in its query; else the session's default user.
///
/// The name is all that counts: whoever has the token may be anybody.
pub(crate) fn user(
    headers: &HeaderMap,
    query: Option<&str>,
    session: &Session,
) -> Result<User, UserError> {
    let accounts = Accounts::read().map_err(UserError::Accounts)?;
    let named = basic_user(headers)
        .or_else(|| query.map(str::to_owned))
        .filter(|name| !name.is_empty());
    let name = named.as_deref().unwrap_or(&session.default_user);
    accounts
        .user(name)
        .ok_or_else(|| UserError::Unknown(name.to_owned()))
}

fn basic_user(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    Some(
        text.split_once(':')
            .map_or(text.as_str(), |(name, _)| name)
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_name_of_basic_authentication() {
        let named = |value: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            basic_user(&headers)
        };
        assert_eq!(named("Basic dXNlcjo=").as_deref(), Some("user"));
        assert_eq!(named("basic dXNlcjpwYXNz").as_deref(), Some("user"));
        assert_eq!(named("Basic dXNlcg==").as_deref(), Some("user"));
        assert_eq!(named("Bearer dXNlcjo="), None);
        assert_eq!(named("Basic ///"), None);
        assert_eq!(basic_user(&HeaderMap::new()), None);
    }
}
