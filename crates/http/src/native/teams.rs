//! Teams, and what each may have.

use axum::Json as Body;
use axum::extract::State;
use wrenn_api::{Team, TeamLimits, Timestamp};
use wrenn_model::{MiB, TeamName};

use crate::auth::Who;
use crate::extract::{Json, Named};
use crate::refusal::Answer;
use crate::router::App;

/// Lists the caller's team, or every team for the operator, by name.
#[utoipa::path(
    get, path = "/v1/teams", operation_id = "list_teams", tag = "keys",
    responses((status = 200, description = "The teams.", body = Vec<Team>))
)]
pub(super) async fn list(State(app): State<App>, Who(caller): Who) -> Answer<Body<Vec<Team>>> {
    let teams = app.control.teams().list(&caller).await?;
    Ok(Body(teams.into_iter().map(view).collect()))
}

/// One team.
#[utoipa::path(
    get, path = "/v1/teams/{name}", operation_id = "get_team", tag = "keys", params(("name" = String, Path, description = "The team's name", pattern = "^[a-z0-9][a-z0-9._-]{0,62}$", example = "red")),
    responses((status = 200, description = "As it is now.", body = Team))
)]
pub(super) async fn get(
    State(app): State<App>,
    Who(caller): Who,
    Named(name): Named<TeamName>,
) -> Answer<Body<Team>> {
    Ok(Body(view(app.control.teams().get(&caller, &name).await?)))
}

/// Gives a team these limits in the place of those that it has: what is left out has none. Makes the team where there is
/// none. Sandboxes that are there go on, also beyond a limit.
#[utoipa::path(
    put, path = "/v1/teams/{name}", operation_id = "put_team", tag = "keys", params(("name" = String, Path, description = "The team's name", pattern = "^[a-z0-9][a-z0-9._-]{0,62}$", example = "red")),
    request_body = TeamLimits,
    responses((status = 200, description = "It has these limits.", body = Team))
)]
pub(super) async fn put(
    State(app): State<App>,
    Named(name): Named<TeamName>,
    Json(request): Json<TeamLimits>,
) -> Answer<Body<Team>> {
    let asked = request.check()?;
    let limits = wrenn_control::TeamLimits {
        sandboxes: asked.sandboxes,
        vcpus: asked.vcpus,
        memory: asked.memory_mb.map(MiB),
        storage: asked.storage_mb.map(MiB),
        creates_per_min: asked.creates_per_min,
    };
    Ok(Body(view(app.control.teams().put(&name, &limits).await?)))
}

/// A team as a caller sees it.
fn view(team: wrenn_control::Team) -> Team {
    let limits = team.limits;
    Team {
        name: team.name.into(),
        limits: TeamLimits {
            max_sandboxes: limits.sandboxes.map(i64::from),
            max_vcpus: limits.vcpus.map(i64::from),
            max_memory_mb: limits.memory.map(|memory| i64::from(memory.0)),
            max_storage_mb: limits.storage.map(|storage| i64::from(storage.0)),
            creates_per_min: limits.creates_per_min.map(i64::from),
        },
        created_at: (team.created_at_ms > 0).then(|| Timestamp::from_unix_ms(team.created_at_ms)),
    }
}
