//! What a key lets its holder do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One thing that a key may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To look at what is there.
    Read,
    /// To make, use, change and end sandboxes.
    Sandboxes,
    /// To change what sandboxes are made from.
    Templates,
    /// To decide who else may do what. It has all others in it.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Sandboxes, Self::Templates, Self::Admin];

    /// Its name in the contract and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Sandboxes => "sandboxes",
            Self::Templates => "templates",
            Self::Admin => "admin",
        }
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a scope is one of read, sandboxes, templates and admin")]
pub struct InvalidScope;

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let named = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        named.ok_or(InvalidScope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The scopes of a key. As text they are separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether they let their holder do what is for this scope.
    #[must_use]
    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, the narrowest first.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl FromStr for Scopes {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let names = text.split(',').filter(|name| !name.is_empty());
        names.map(str::parse).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, scope) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{scope}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_has_all_others_in_it_and_nothing_else_has_another() {
        for held in Scope::ALL {
            let scopes = Scopes::from_iter([held]);
            for wanted in Scope::ALL {
                let allowed = held == wanted || held == Scope::Admin;
                assert_eq!(scopes.allow(wanted), allowed, "{held} for {wanted}");
            }
        }
        assert!(!Scopes::default().allow(Scope::Read));
    }

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for (text, written) in [
            ("", ""),
            ("admin", "admin"),
            ("sandboxes,read,read", "read,sandboxes"),
        ] {
            let scopes: Scopes = text.parse().unwrap();
            assert_eq!(scopes.to_string(), written);
            assert_eq!(scopes.is_empty(), text.is_empty());
        }
        for bad in ["root", "read, sandboxes", "Read", "read;admin"] {
            assert!(bad.parse::<Scopes>().is_err(), "{bad}");
        }
    }
}
