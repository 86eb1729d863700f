//! Snapshots: templates that are taken from sandboxes.

use axum::Json as Body;
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse as _, Response};
use wrenn_api::{CreateSnapshot, Snapshot, millis};
use wrenn_control::{Need, NewSnapshot, Source, snapshot_name};
use wrenn_model::{SandboxId, Scope};

use super::pause::timings;
use super::templates::view;
use crate::auth::{Mine, Who};
use crate::envelope::About;
use crate::extract::{Json, Pairs};
use crate::once::Planned;
use crate::refusal::{Answer, Refusal};

/// Makes a template of what a running or paused sandbox is now: memory, processes and disk. Sandboxes made from it go on
/// from there, with its vCPUs and its memory.
///
/// The sandbox goes on as it was, which while its memory is read means that it stands still for a moment; with
/// `source=pause` it is paused before, which needs the scope `sandboxes`, too, and stays so. The snapshot is the team's whose
/// the sandbox is, and no other team sees it; that its name is taken, any team is told. Whatever the sandbox's processes have
/// in memory is in it, as `notice` says.
#[utoipa::path(
    post, path = "/v1/snapshots", operation_id = "create_snapshot", tag = "templates", request_body = CreateSnapshot,
    params(
        ("overwrite" = Option<bool>, Query, description = "Takes the place of a snapshot of this name and of the same team; sandboxes made from that go on", example = true),
        ("source" = Option<String>, Query, description = "What becomes of the sandbox: `keep` has it go on, `pause` pauses it before", pattern = "^(keep|pause)$", example = "keep"),
    ),
    responses((status = 201, description = "It is made.", body = Snapshot, headers(("Location" = String, description = "Where it is from now on"))))
)]
pub(super) async fn create(
    Mine(sandboxes): Mine,
    Who(caller): Who,
    planned: Option<Extension<Planned>>,
    Pairs(pairs): Pairs,
    Json(request): Json<CreateSnapshot>,
) -> Answer<Response> {
    let (overwrite, source) = query(pairs)?;
    let asked = request.check()?;
    if source == Source::Pause {
        caller.may(Need::of(Scope::Sandboxes))?;
    }
    let planned = planned.map_or_else(SandboxId::random, |Extension(Planned(id))| id);
    let new = NewSnapshot {
        sandbox: asked.sandbox,
        name: asked.name.unwrap_or_else(|| snapshot_name(&planned)),
        overwrite,
        source,
    };
    let about = About(new.sandbox.clone());
    let made = sandboxes.snapshot(new).await?;
    let mut response = answer(Snapshot {
        template: view(made.template),
        notice: Snapshot::NOTICE.to_owned(),
        timings: timings(made.steps),
        frozen_ms: millis(made.frozen_micros),
    });
    response.extensions_mut().insert(about);
    Ok(response)
}

/// That a snapshot is made, and where it is.
pub(crate) fn answer(made: Snapshot) -> Response {
    let place = [(LOCATION, format!("/v1/snapshots/{}", made.template.name))];
    (StatusCode::CREATED, place, Body(made)).into_response()
}

fn query(pairs: Vec<(String, String)>) -> Answer<(bool, Source)> {
    let (mut overwrite, mut source) = (None, None);
    for (key, value) in pairs {
        let twice = match (key.as_str(), value.as_str()) {
            ("overwrite", "true") => overwrite.replace(true).is_some(),
            ("overwrite", "false") => overwrite.replace(false).is_some(),
            ("source", "keep") => source.replace(Source::Keep).is_some(),
            ("source", "pause") => source.replace(Source::Pause).is_some(),
            _ => true,
        };
        if twice {
            return Err(Refusal::invalid(
                "the query is not understood",
                "use overwrite=true or overwrite=false, and source=keep or source=pause, each once",
            ));
        }
    }
    Ok((overwrite.unwrap_or_default(), source.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Option<(bool, Source)> {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        query(owned.collect()).ok()
    }

    #[test]
    fn the_query_says_each_thing_once() {
        assert_eq!(read(&[]), Some((false, Source::Keep)));
        let both = read(&[("overwrite", "true"), ("source", "pause")]);
        assert_eq!(both, Some((true, Source::Pause)));
        for bad in [
            &[("overwrite", "1")][..],
            &[("source", "stop")],
            &[("name", "a")],
            &[("overwrite", "true"), ("overwrite", "true")],
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
