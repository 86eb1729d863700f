//! Pause and resume.

use axum::Json as Body;
use wrenn_api::{Paused, ResumeRequest, Resumed, Timing};
use wrenn_control::StepTime;

use super::described::OfSandbox;
use super::sandboxes::view;
use crate::auth::Mine;
use crate::extract::{Id, MaybeJson};
use crate::refusal::Answer;

/// Pauses a running sandbox: memory, processes and disk stand on the host's disk, and nothing runs any more.
///
/// The answer comes when the pause is durable. One that fails leaves the sandbox running. A pause that is asked for
/// while one is under way joins it, and both callers get its outcome; of a paused sandbox it is 409. Open exec streams
/// end with an error that says so; their commands go on after the resume.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/pause", operation_id = "pause", tag = "sandboxes", params(OfSandbox),
    responses((status = 200, description = "It is paused.", body = Paused))
)]
pub(super) async fn pause(Mine(sandboxes): Mine, Id(id): Id) -> Answer<Body<Paused>> {
    let paused = sandboxes.pause(&id).await?;
    Ok(Body(Paused {
        sandbox: view(paused.sandbox),
        timings: timings(paused.steps),
        memory_bytes: paused.memory_bytes,
        disk_bytes: paused.disk_bytes,
    }))
}

/// Resumes a paused sandbox, or one in error that was paused before: then `lost_since` says from when on work is lost.
///
/// One that fails leaves the pause as it was. A resume that is asked for while one is under way joins it; of a running
/// sandbox it is 409. Where the pause does not fit this host (`conflict`), `{"cold": true}` boots from its disk.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/resume", operation_id = "resume", tag = "sandboxes", params(OfSandbox),
    request_body = Option<ResumeRequest>,
    responses((status = 200, description = "It runs.", body = Resumed))
)]
pub(super) async fn resume(
    Mine(sandboxes): Mine,
    Id(id): Id,
    MaybeJson(request): MaybeJson<ResumeRequest>,
) -> Answer<Body<Resumed>> {
    let resumed = sandboxes.resume(&id, request.cold).await?;
    Ok(Body(Resumed {
        sandbox: view(resumed.sandbox),
        timings: timings(resumed.steps),
    }))
}

pub(super) fn timings(steps: Vec<StepTime>) -> Vec<Timing> {
    let one = |step: StepTime| Timing::from_micros(step.step, step.micros);
    steps.into_iter().map(one).collect()
}
