//! Sandboxes, from create to delete.

use axum::Json as Body;
use axum::extract::Extension;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use wrenn_api::{CreateSandbox, Network, Sandbox, Timestamp};
use wrenn_control::{Created, Deleted, NewSandbox, StepTime, Wait};
use wrenn_model::{MiB, OnTimeout, Status};

use super::described::{Label, OfSandbox, Page, Preference};
use super::listing::{Listing, page};
use crate::auth::Mine;
use crate::extract::{Id, Json, Pairs};
use crate::once::Planned;
use crate::refusal::Answer;

/// A header of the W3C's Server Timing.
const SERVER_TIMING: &str = "server-timing";

/// Makes a sandbox, and answers when it runs.
///
/// The host starts so many at a time; the others wait for their turn, fair between teams. When it has no place, or too
/// many wait, the answer is 429, with the seconds after which to try again in `Retry-After`.
///
/// A caller that hangs up before that has it unwound, unless it sent `Prefer: respond-async`: then the answer comes at
/// once, with the sandbox still pending.
#[utoipa::path(
    post, path = "/v1/sandboxes", operation_id = "create_sandbox", tag = "sandboxes", request_body = CreateSandbox,
    params(Preference),
    responses(
        (status = 201, description = "It runs.", body = Sandbox, headers(
            ("Location" = String, description = "Where it is from now on"),
            ("Server-Timing" = String, description = "How long the wait for its turn (`queue`), each step and the writes of the `journal` took, in milliseconds")
        )),
        (status = 202, description = "It is pending.", body = Sandbox, headers(
            ("Location" = String, description = "Where it is from now on"),
            ("Preference-Applied" = String, description = "`respond-async`, where that was preferred")
        )),
    )
)]
pub(super) async fn create(
    Mine(sandboxes): Mine,
    planned: Option<Extension<Planned>>,
    headers: HeaderMap,
    Json(request): Json<CreateSandbox>,
) -> Answer<Response> {
    let asked = request.check()?;
    let new = NewSandbox {
        id: planned.map(|Extension(Planned(id))| id),
        template: asked.template,
        vcpus: asked.vcpus,
        memory: asked.memory_mb.map(MiB),
        timeout_sec: asked.timeout_sec,
        on_timeout: asked.on_timeout.unwrap_or_default(),
        auto_resume: request.auto_resume.unwrap_or_default(),
        network: asked.network.unwrap_or_default(),
        hostname: request.hostname,
        metadata: request.metadata,
        envs: request.envs,
        cold: request.cold,
    };
    let wait = if prefers_async(&headers) {
        Wait::Accepted
    } else {
        Wait::Running
    };
    let Created {
        sandbox: made,
        steps,
    } = sandboxes.create(new, wait).await?;
    let place = [(LOCATION, format!("/v1/sandboxes/{}", made.id))];
    Ok(match wait {
        Wait::Running => {
            let timings = [(SERVER_TIMING, server_timing(&steps))];
            (StatusCode::CREATED, place, timings, Body(view(made))).into_response()
        }
        Wait::Accepted => {
            let applied = [("preference-applied", "respond-async")];
            (StatusCode::ACCEPTED, place, applied, Body(view(made))).into_response()
        }
    })
}

/// `queue;dur=0.004, folder;dur=1.250`: milliseconds, in the order of the steps.
fn server_timing(steps: &[StepTime]) -> String {
    let one = |step: &StepTime| {
        let (ms, rest) = (step.micros / 1000, step.micros % 1000);
        format!("{};dur={ms}.{rest:03}", step.step)
    };
    steps.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// RFC 7240: several headers, several preferences in each, in any case.
fn prefers_async(headers: &HeaderMap) -> bool {
    let preferences = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok());
    preferences
        .flat_map(|value| value.split(','))
        .any(|one| one.trim().eq_ignore_ascii_case("respond-async"))
}

/// Lists sandboxes, newest first, those that stopped in the last days as well.
///
/// When there are more, the header `Link` has the address of the next page.
#[utoipa::path(
    get, path = "/v1/sandboxes", operation_id = "list_sandboxes", tag = "sandboxes",
    params(
        ("status" = Option<String>, Query, description = "pending, running, paused, stopped or error", pattern = "^(pending|running|paused|stopped|error)$", example = "running"),
        ("template" = Option<String>, Query, description = "Only those made from this template", pattern = "^[a-z0-9][a-z0-9._-]{0,62}$", example = "minimal"),
        ("metadata" = inline(Option<Vec<Label>>), Query, description = "Repeated, all of them have to match", max_items = 64, example = json!(["team=red"])),
        Page,
        ("cursor" = Option<String>, Query, description = "Where the page before ended; taken from its `Link`", pattern = "^[0-9]{1,15}[.]sb-[a-z0-9]{20}$", example = "1772366400000.sb-k3x9q2m7c1v8b5n4z6a0"),
    ),
    responses((status = 200, description = "A page of them.", body = Vec<Sandbox>, headers(("Link" = String, description = "The next page, if there is one"))))
)]
pub(super) async fn list(
    Mine(sandboxes): Mine,
    Pairs(pairs): Pairs,
    uri: axum::http::Uri,
) -> Answer<Response> {
    let listing = Listing::parse(pairs)?;
    let mut found = sandboxes.list(&listing.filter()).await?;
    let next = listing.cut(&mut found, uri.query().unwrap_or_default());
    let found: Vec<_> = found.into_iter().map(view).collect();
    Ok(page(&found, next))
}

/// One sandbox.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}", operation_id = "get_sandbox", tag = "sandboxes", params(OfSandbox),
    responses((status = 200, description = "As it is now.", body = Sandbox))
)]
pub(super) async fn get(Mine(sandboxes): Mine, Id(id): Id) -> Answer<Body<Sandbox>> {
    Ok(Body(view(sandboxes.get(&id).await?)))
}

/// Destroys a sandbox, whatever it is doing. Asked again, it answers the same.
#[utoipa::path(
    delete, path = "/v1/sandboxes/{id}", operation_id = "delete_sandbox", tag = "sandboxes", params(OfSandbox),
    responses(
        (status = 204, description = "Nothing of it exists any more."),
        (status = 202, description = "Its host cannot be reached; it is destroyed when that is back."),
    )
)]
pub(super) async fn delete(Mine(sandboxes): Mine, Id(id): Id) -> Answer<StatusCode> {
    Ok(match sandboxes.delete(&id).await? {
        Deleted::Gone => StatusCode::NO_CONTENT,
        Deleted::Accepted => StatusCode::ACCEPTED,
    })
}

/// Puts a sandbox under another network policy, in the place of the one that it has: what is left out is the default.
///
/// One that runs is under it when the answer comes, and connections that it forbids are cut; one that is paused, from its
/// resume on. No packet meets half of a policy. A change that fails leaves the policy as it was.
#[utoipa::path(
    put, path = "/v1/sandboxes/{id}/network", operation_id = "set_network", tag = "sandboxes", params(OfSandbox),
    request_body = Network,
    responses((status = 200, description = "It is under this policy.", body = Sandbox))
)]
pub(super) async fn network(
    Mine(sandboxes): Mine,
    Id(id): Id,
    Json(request): Json<Network>,
) -> Answer<Body<Sandbox>> {
    let policy = request.check()?;
    Ok(Body(view(sandboxes.set_network(&id, policy).await?)))
}

/// Counts as use: the time until `on_timeout` happens begins anew. A paused sandbox with `auto_resume` is resumed.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/ping", operation_id = "ping", tag = "sandboxes", params(OfSandbox),
    responses((status = 204, description = "It counted."))
)]
pub(super) async fn ping(Mine(sandboxes): Mine, Id(id): Id) -> Answer<StatusCode> {
    sandboxes.ping(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The last 64 KiB of its serial console. The guest wrote it: escape it before a terminal sees it.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/console", operation_id = "get_console", tag = "sandboxes", params(OfSandbox),
    responses((status = 200, description = "What it wrote last.", body = String, content_type = "text/plain"))
)]
pub(super) async fn console(Mine(sandboxes): Mine, Id(id): Id) -> Answer<Response> {
    let content = sandboxes.console(&id).await?;
    let text = String::from_utf8_lossy(&content).into_owned();
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// A sandbox as a caller sees it.
pub(crate) fn view(row: wrenn_control::Sandbox) -> Sandbox {
    let text = |text: String| (!text.is_empty()).then_some(text);
    let time = |ms: Option<i64>| ms.map(Timestamp::from_unix_ms);
    let last_used = row
        .last_active_at_ms
        .or(row.started_at_ms)
        .filter(|_| row.status == Status::Running && row.on_timeout != OnTimeout::None);
    Sandbox {
        id: row.id.into(),
        status: row.status.to_string(),
        transition: row
            .transition
            .map(|transition| transition.as_str().to_owned()),
        status_reason: text(row.status_reason),
        template: row.template.into(),
        parent_id: row.parent_id.map(Into::into),
        vcpus: row.vcpus,
        memory_mb: row.memory.0,
        timeout_sec: row.timeout_sec,
        on_timeout: row.on_timeout.as_str().to_owned(),
        auto_resume: row.auto_resume,
        network: row.network.into(),
        guest_ip: text(row.guest_ip),
        host_ip: text(row.host_ip),
        isolation: text(row.isolation),
        vmm: text(row.vmm),
        metadata: row.metadata,
        created_at: Timestamp::from_unix_ms(row.created_at_ms),
        started_at: time(row.started_at_ms),
        last_active_at: time(row.last_active_at_ms),
        paused_at: time(row.paused_at_ms),
        lost_since: time(row.lost_since_ms),
        expires_at: time(last_used.map(|used| used + 1000 * i64::from(row.timeout_sec))),
        last_updated: Timestamp::from_unix_ms(row.last_updated_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds() {
        let step = |step: &str, micros| StepTime {
            step: step.to_owned(),
            micros,
        };
        let told = server_timing(&[step("queue", 4), step("folder", 1_002_050)]);
        assert_eq!(told, "queue;dur=0.004, folder;dur=1002.050");
        assert_eq!(server_timing(&[]), "");
    }

    #[test]
    fn a_preference_is_found_among_others() {
        for (values, wanted) in [
            (&["respond-async"][..], true),
            (&["wait=10, Respond-Async"], true),
            (&["wait=10", "respond-async"], true),
            (&["respond-asynchronously"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("prefer", value.parse().unwrap());
            }
            assert_eq!(prefers_async(&headers), wanted, "{values:?}");
        }
    }
}
