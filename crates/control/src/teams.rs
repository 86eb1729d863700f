//! Teams: whose sandboxes are, and what each may have.

use wrenn_model::{ErrorKind, Fault, TeamName};
use wrenn_store::{Store, Team, TeamLimits};

use crate::Caller;
use crate::fault::store_fault;

/// The teams of this installation.
#[derive(Debug, Clone)]
pub struct Teams {
    store: Store,
}

impl Teams {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The caller's team, or every team for the operator, by name.
    ///
    /// # Errors
    /// `db_error`.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<Team>, Fault> {
        let mut teams = self
            .store
            .teams()
            .await
            .map_err(|error| store_fault(&error))?;
        if let Some(own) = caller.bound_to() {
            teams.retain(|team| team.name == *own);
        }
        Ok(teams)
    }

    /// One team.
    ///
    /// # Errors
    /// `not_found` where there is none, or it is not the caller's; `db_error`.
    pub async fn get(&self, caller: &Caller, name: &TeamName) -> Result<Team, Fault> {
        visible_team(&self.store, caller, name).await
    }

    /// Gives a team these limits in the place of those that it has; makes it where there is none. Sandboxes that are there
    /// go on, also beyond them.
    ///
    /// # Errors
    /// `db_error`.
    pub async fn put(&self, name: &TeamName, limits: &TeamLimits) -> Result<Team, Fault> {
        let team = self.store.put_team(name, limits, self.store.now_ms()).await;
        let team = team.map_err(|error| store_fault(&error))?;
        tracing::info!(team = %name, ?limits, "a team has its limits");
        Ok(team)
    }
}

/// The team, if there is one that this caller may know of.
pub(crate) async fn visible_team(
    store: &Store,
    caller: &Caller,
    name: &TeamName,
) -> Result<Team, Fault> {
    let team = if caller.bound_to().is_none_or(|own| own == name) {
        store
            .team(name)
            .await
            .map_err(|error| store_fault(&error))?
    } else {
        None
    };
    team.ok_or_else(|| {
        Fault::new(
            ErrorKind::NotFound,
            format!("there is no team {:?}", name.as_str()),
            "list the teams with GET /v1/teams; PUT /v1/teams/{name} makes one",
        )
    })
}
