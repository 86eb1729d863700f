//! Ids and names: one validated type each, since they become paths, labels and keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is no valid id or name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no {what}: {rule}")]
pub struct InvalidName {
    what: &'static str,
    given: String,
    rule: &'static str,
}

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// `length` random characters out of lowercase letters and digits, five bits each and a little more.
#[must_use]
pub fn random_text(length: usize) -> String {
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 32];
    while text.len() < length {
        #[expect(clippy::expect_used, reason = "without entropy nothing may go on")]
        getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
        // 252 is the largest multiple of 36 in a byte: what is above would favour the first letters.
        text.extend(
            bytes
                .iter()
                .filter(|byte| **byte < 252)
                .map(|byte| char::from(ALPHABET[usize::from(byte % 36)]))
                .take(length - text.len()),
        );
    }
    text
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $prefix:literal, $length:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// A new one, never seen before.
            #[must_use]
            pub fn random() -> Self {
                Self(format!("{}{}", $prefix, random_text($length)))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let valid = text.strip_prefix($prefix).is_some_and(|rest| {
                    rest.len() == $length && rest.bytes().all(|b| ALPHABET.contains(&b))
                });
                if valid {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { what: $what, given: shortened(text), rule: $rule })
                }
            }
        }
        text_traits!($name);
    };
}

macro_rules! text_traits {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

/// What an error message repeats of a caller's text.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

id!(
    /// A sandbox, for its whole life: `sb-` and 20 lowercase letters and digits. Never used twice.
    SandboxId, "sandbox id", "sb-", 20, "it is \"sb-\" and 20 lowercase letters or digits"
);
id!(
    /// One run of a virtual machine: a boot, a restore, a resume. `vm-` and 12 characters. Names every kernel object.
    VmId, "VM id", "vm-", 12, "it is \"vm-\" and 12 lowercase letters or digits"
);
id!(
    /// A data directory, made once: 6 characters. What belongs to it carries it in its name.
    InstanceId, "instance id", "", 6, "it is 6 lowercase letters or digits"
);
id!(
    /// A machine that runs an agent.
    HostId, "host id", "host-", 8, "it is \"host-\" and 8 lowercase letters or digits"
);
id!(
    /// What names an API key without opening anything.
    KeyId, "key id", "key-", 8, "it is \"key-\" and 8 lowercase letters or digits"
);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if is_name(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { what: $what, given: shortened(text), rule: NAME_RULE })
                }
            }
        }
        text_traits!($name);
    };
}

const NAME_RULE: &str =
    "it has 1 to 63 of a-z, 0-9, '-', '_' and '.', and begins with a letter or digit";

/// Whether it is fit for a path, a URL and a label.
fn is_name(text: &str) -> bool {
    let fits =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    (1..=63).contains(&text.len())
        && text.bytes().all(fits)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

name!(
    /// The name of a template: it becomes a folder.
    TemplateName, "template name"
);
name!(
    /// The name of a team: callers who share their sandboxes, and no others.
    TeamName, "team name"
);

impl TeamName {
    /// The name of the team that there always is: who runs the installation.
    pub const OPERATOR: &str = "default";

    /// The team that there always is.
    #[must_use]
    pub fn operator() -> Self {
        Self(Self::OPERATOR.to_owned())
    }

    /// Whether it is that one.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.0 == Self::OPERATOR
    }
}

/// What tells one request from another in the logs of all who have a part in it. Callers may choose their own.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("req-{}", random_text(16)))
    }

    /// The id as text: printable, and fit for a header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=128).contains(&text.len()) && text.bytes().all(word) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                what: "request id",
                given: shortened(text),
                rule: "it has 1 to 128 of letters, digits, '.', '_' and '-'",
            })
        }
    }
}
text_traits!(RequestId);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn random_ids_are_valid_and_differ() {
        let a = SandboxId::random();
        assert_eq!(a.as_str().parse::<SandboxId>().unwrap(), a);
        assert_ne!(a, SandboxId::random());
        assert!(VmId::random().as_str().parse::<VmId>().is_ok());
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in [
            "",
            "../x",
            "a/b",
            ".hidden",
            "ä",
            "A",
            "a b",
            &"x".repeat(300),
        ] {
            assert!(bad.parse::<TemplateName>().is_err(), "{bad}");
        }
        for bad in ["", "a b", "a\nb", "a\u{1b}[31m", "ä", &"x".repeat(129)] {
            assert!(bad.parse::<RequestId>().is_err(), "{bad:?}");
        }
        assert!(TeamName::operator().as_str().parse::<TeamName>().is_ok());
        let own = RequestId::random();
        assert_eq!(own.as_str().parse(), Ok(own.clone()));
        assert!("x".repeat(128).parse::<RequestId>().is_ok());
        for bad in [
            "",
            "sb-",
            "sb-abc",
            "sb-ABCDEFGHIJKLMNOPQRST",
            "../../etc/passwd",
        ] {
            assert!(bad.parse::<SandboxId>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_valid_name_is_one_path_component(text in "\\PC{0,80}") {
            if let Ok(name) = text.parse::<TemplateName>() {
                let path = std::path::Path::new(name.as_str());
                prop_assert_eq!(path.components().count(), 1);
                prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
            }
        }
    }
}
