//! Who calls, and what their key lets them do.

use std::sync::Arc;

use wrenn_model::{ErrorKind, Fault, KeyId, Scope, Scopes, TeamName};
use wrenn_store::StoredKey;

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What names their key.
    pub key: KeyId,
    /// What its maker called it.
    pub name: Arc<str>,
    /// Whose it is.
    pub team: TeamName,
    /// What it is for.
    pub scopes: Scopes,
}

/// What a caller needs for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The scope that it is.
    pub scope: Scope,
    /// Whether it is the operator's alone: what it changes, or tells of, is not one team's.
    pub operator: bool,
}

impl Need {
    /// What every team may have.
    #[must_use]
    pub const fn of(scope: Scope) -> Self {
        Self {
            scope,
            operator: false,
        }
    }

    /// What the team that runs the installation may have alone.
    #[must_use]
    pub const fn of_operator(scope: Scope) -> Self {
        Self {
            scope,
            operator: true,
        }
    }
}

impl Caller {
    pub(crate) fn new(key: &StoredKey) -> Self {
        Self {
            key: key.id.clone(),
            name: key.name.as_str().into(),
            team: key.team.clone(),
            scopes: key.scopes.clone(),
        }
    }

    /// Whether they see what is other teams', and what is nobody's that is known here.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.team.is_operator() && self.scopes.allow(Scope::Admin)
    }

    /// The team that they are bound to; none for the operator.
    pub(crate) fn bound_to(&self) -> Option<&TeamName> {
        (!self.is_operator()).then_some(&self.team)
    }

    /// Lets them go on, or not.
    ///
    /// # Errors
    /// `forbidden`, naming what their key lacks.
    pub fn may(&self, need: Need) -> Result<(), Fault> {
        let scope = need.scope;
        if !self.scopes.allow(scope) {
            return Err(Fault::new(
                ErrorKind::Forbidden,
                format!("the key {} has not the scope `{scope}`", self.key),
                format!(
                    "use a key with the scope `{scope}`: an admin makes one with `wrenn key create --scope {scope}`"
                ),
            ));
        }
        if need.operator && !self.team.is_operator() {
            return Err(Fault::new(
                ErrorKind::Forbidden,
                format!("this wants a key of the team `{}`", TeamName::OPERATOR),
                format!(
                    "ask who runs this installation: a key with the scope `{scope}` of their team does it"
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(team: &str, scopes: &str) -> Caller {
        Caller {
            key: KeyId::random(),
            name: "k".into(),
            team: team.parse().unwrap(),
            scopes: scopes.parse().unwrap(),
        }
    }

    #[test]
    fn what_a_key_lacks_is_named() {
        let reader = caller("red", "read");
        assert_eq!(reader.may(Need::of(Scope::Read)), Ok(()));
        let refused = reader.may(Need::of(Scope::Sandboxes)).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Forbidden);
        assert!(refused.message.contains("`sandboxes`"), "{refused}");
        let other = caller("red", "admin").may(Need::of_operator(Scope::Admin));
        assert!(other.unwrap_err().message.contains("`default`"));
        let own = caller("default", "admin");
        assert_eq!(own.may(Need::of_operator(Scope::Templates)), Ok(()));
    }

    #[test]
    fn nobody_but_the_operator_s_admins_sees_all() {
        for (team, scopes, all) in [
            ("default", "admin", true),
            ("default", "read,sandboxes,templates", false),
            ("red", "admin", false),
        ] {
            let caller = caller(team, scopes);
            assert_eq!(caller.is_operator(), all, "{team} {scopes}");
            assert_eq!(caller.bound_to().is_none(), all);
        }
    }
}
