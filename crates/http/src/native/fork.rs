//! Forks: other sandboxes of what one is at one instant.

use axum::Json as Body;
use axum::extract::Extension;
use axum::http::StatusCode;
use wrenn_api::{ErrorInfo, ForkResult, ForkSandbox, Forked, millis};
use wrenn_control::{NewFork, Sandbox, request};
use wrenn_model::Fault;

use super::described::OfSandbox;
use super::pause::timings;
use super::sandboxes::view;
use crate::auth::Mine;
use crate::extract::{Id, MaybeJson};
use crate::once::Planned;
use crate::refusal::Answer;

/// Makes running sandboxes of what a running or paused one is now: memory, processes and disk, and all that it was created
/// with, but for labels and the timeout, which the request may say.
///
/// All children are of one instant. The source goes on as it was, which while its memory is read means that it stands still for
/// a moment. Each child comes to be or fails by itself, as it would when it is created: for want of a place, or of room within
/// the team's limits, where it counts like any other sandbox. Where no child comes to be, the answer is what the first one
/// failed with. What was random or secret in the source is the same in its children. A caller that hangs up before the answer
/// has the children unwound.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/fork", operation_id = "fork", tag = "sandboxes", params(OfSandbox),
    request_body = Option<ForkSandbox>,
    responses((status = 201, description = "What came of each child.", body = Forked))
)]
pub(super) async fn fork(
    Mine(sandboxes): Mine,
    Id(id): Id,
    planned: Option<Extension<Planned>>,
    MaybeJson(request): MaybeJson<ForkSandbox>,
) -> Answer<(StatusCode, Body<Forked>)> {
    let asked = request.check()?;
    let new = NewFork {
        planned: planned.map(|Extension(Planned(id))| id),
        count: asked.count,
        metadata: request.metadata,
        timeout_sec: asked.timeout_sec,
    };
    let made = sandboxes.fork(&id, new).await?;
    let forked = Forked {
        results: made.children.into_iter().map(result).collect(),
        timings: timings(made.steps),
        frozen_ms: millis(made.frozen_micros),
    };
    Ok((StatusCode::CREATED, Body(forked)))
}

/// What came of a child as a caller sees it.
pub(crate) fn result(came_to: Result<Sandbox, Fault>) -> ForkResult {
    match came_to {
        Ok(sandbox) => ForkResult::Sandbox(Box::new(view(sandbox))),
        Err(fault) => {
            let id = request::current().map_or_else(String::new, |id| id.to_string());
            ForkResult::Error(ErrorInfo::new(&fault, id))
        }
    }
}
