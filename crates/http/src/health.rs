//! Whether the server is well; for load balancers and for whoever waits for its start.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wrenn_api::{AgentHealth, Health};
use wrenn_control::AgentState;

use crate::refusal::Answer;
use crate::router::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(healthz))
}

/// Whether the server and its database answer, and how the host agent is.
#[utoipa::path(get, path = "/healthz", operation_id = "get_health", tag = "server", security(()), responses((status = 200, description = "The server and its database are well.", body = Health)))]
async fn healthz(State(app): State<App>) -> Answer<Json<Health>> {
    let agent = match app.control.check().await? {
        AgentState::Ready => AgentHealth::Ready,
        AgentState::Recovering => AgentHealth::Recovering,
        AgentState::Unreachable => AgentHealth::Unreachable,
        AgentState::Incompatible => AgentHealth::Incompatible,
    };
    Ok(Json(Health {
        status: "ok".into(),
        agent,
        version: env!("CARGO_PKG_VERSION").into(),
    }))
}
