//! A one-time token: the right to join, handed from the control plane's operator to the host's.

use std::fmt;
use std::str::FromStr;

use wrenn_model::random_text;

const PREFIX: &str = "wrnj_";
const ID_LENGTH: usize = 16;
/// More than 160 random bits: nobody finds it by trying, also away from the server.
const SECRET_LENGTH: usize = 32;

/// A token, `wrnj_<id>_<secret>`, in lowercase letters and digits. The id may be seen by anybody, the secret by its two
/// sides alone: the debug form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    secret: String,
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token is \"wrnj_\", 16 lowercase letters or digits, \"_\" and 32 lowercase letters or digits"
)]
pub struct InvalidToken;

impl Token {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self {
            id: random_text(ID_LENGTH),
            secret: random_text(SECRET_LENGTH),
        }
    }

    /// What names it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What proves it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The whole token, to be shown to its owner.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let (id, secret) = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .ok_or(InvalidToken)?;
        let word = |text: &str, length| {
            text.len() == length
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if !word(id, ID_LENGTH) || !word(secret, SECRET_LENGTH) {
            return Err(InvalidToken);
        }
        Ok(Self {
            id: id.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_…", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_read_as_it_was_shown_and_hides() {
        let token = Token::random();
        assert_eq!(token.reveal().parse(), Ok(token.clone()));
        assert_ne!(token, Token::random());
        assert!(!format!("{token:?}").contains(token.secret()));
        let text = token.reveal();
        for wrong in [
            "",
            "wrnj_",
            "wrnj__",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}a"),
            &format!("{text} "),
            &text.to_uppercase(),
            &text.replacen('_', "-", 2),
        ] {
            assert_eq!(wrong.parse::<Token>(), Err(InvalidToken), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_is_shown(text in "(wrnj_)?[a-z0-9_]{0,60}") {
            if let Ok(token) = text.parse::<Token>() {
                prop_assert_eq!(token.reveal(), text);
            }
        }
    }
}
