//! What a call made that a dead server had in hand: what it makes has a name that was chosen before, and is looked for by it.

use axum::Json;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::de::DeserializeOwned;
use wrenn_api::{CreateSnapshot, ForkSandbox, Forked, Snapshot};
use wrenn_control::{Caller, InHand, Sandbox, Sandboxes, TemplateKind, children, snapshot_name};
use wrenn_model::{ErrorKind, Fault, SandboxId, Status, Transition};

use super::kind::Kind;
use crate::native::{child, made_snapshot, template_view, view};
use crate::refusal::{Answer, Refusal};
use crate::router::App;

/// What is found of a call that was begun by a server that died.
pub(super) enum Found {
    /// It came to this.
    Done(Response),
    /// What comes of it is not known yet: who sends it again looks again.
    NotYet(Response),
    /// It came to nothing, or twice is as once: it may be done.
    Nothing,
    /// Nobody can say.
    Unknown,
}

/// Looks for what came of a call with this body.
pub(super) async fn look(
    app: &App,
    caller: &Caller,
    kind: Kind,
    in_hand: &InHand,
    body: &Bytes,
) -> Answer<Found> {
    let sandboxes = app.control.sandboxes_of(caller);
    let Some(planned) = in_hand.sandbox().filter(|_| kind.is_planned()) else {
        return Ok(match kind {
            Kind::Repeatable | Kind::Upload => Found::Nothing,
            _ => Found::Unknown,
        });
    };
    match kind {
        Kind::Fork => forked(&sandboxes, &planned, body).await,
        Kind::Snapshot => snapshot(app, caller, in_hand, &planned, body).await,
        _ => created(&sandboxes, &planned).await,
    }
}

/// The sandbox that a create made.
async fn created(sandboxes: &Sandboxes, id: &SandboxId) -> Answer<Found> {
    let Some(row) = find(sandboxes, id).await? else {
        return Ok(Found::Nothing);
    };
    let place = [(header::LOCATION, format!("/v1/sandboxes/{id}"))];
    let status = row.status;
    let answer = |status| (status, place, Json(view(row))).into_response();
    Ok(match status {
        Status::Pending => Found::NotYet(answer(StatusCode::ACCEPTED)),
        Status::Running | Status::Paused => Found::Done(answer(StatusCode::CREATED)),
        Status::Stopped | Status::Error => Found::Nothing,
    })
}

/// The children that a fork made.
async fn forked(sandboxes: &Sandboxes, planned: &SandboxId, body: &Bytes) -> Answer<Found> {
    let Some(asked) = asked::<ForkSandbox>(body).and_then(|asked| asked.check().ok()) else {
        return Ok(Found::Nothing);
    };
    let mut results = Vec::new();
    let mut any = false;
    for id in children(planned, asked.count) {
        let row = find(sandboxes, &id).await?;
        if row
            .as_ref()
            .is_some_and(|row| row.status == Status::Pending)
        {
            return Ok(Found::NotYet(under_way()));
        }
        let stands = row.filter(|row| matches!(row.status, Status::Running | Status::Paused));
        any |= stands.is_some();
        results.push(child(stands.ok_or_else(|| lost(&id))));
    }
    if !any {
        return Ok(Found::Nothing);
    }
    let forked = Forked {
        results,
        timings: Vec::new(),
        frozen_ms: 0.0,
    };
    Ok(Found::Done(
        (StatusCode::CREATED, Json(forked)).into_response(),
    ))
}

/// The template that a snapshot made: the one of the name that follows from the call, or one of the name given that is not older.
async fn snapshot(
    app: &App,
    caller: &Caller,
    in_hand: &InHand,
    planned: &SandboxId,
    body: &Bytes,
) -> Answer<Found> {
    let Some(asked) = asked::<CreateSnapshot>(body).and_then(|asked| asked.check().ok()) else {
        return Ok(Found::Nothing);
    };
    let row = find(&app.control.sandboxes_of(caller), &asked.sandbox).await?;
    if row.is_some_and(|row| row.transition == Some(Transition::Snapshotting)) {
        return Ok(Found::NotYet(under_way()));
    }
    // A name that follows from the call is nobody else's, by whatever clock it was made.
    let follows = asked.name.is_none();
    let name = asked.name.unwrap_or_else(|| snapshot_name(planned));
    let there = app.control.templates_of(caller).find(&name).await?;
    let made = there.filter(|there| {
        let is_new = there.created_at_ms >= in_hand.asked_at_ms();
        there.kind == TemplateKind::Snapshot && (follows || is_new)
    });
    Ok(match made {
        Some(made) => Found::Done(made_snapshot(Snapshot {
            template: template_view(made),
            notice: Snapshot::NOTICE.to_owned(),
            timings: Vec::new(),
            frozen_ms: 0.0,
        })),
        None => Found::Nothing,
    })
}

async fn find(sandboxes: &Sandboxes, id: &SandboxId) -> Answer<Option<Sandbox>> {
    match sandboxes.get(id).await {
        Ok(row) => Ok(Some(row)),
        Err(fault) if fault.kind == ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault.into()),
    }
}

/// What a body asks for, as its route reads it: nothing at all where one may be left out.
fn asked<T: DeserializeOwned + Default>(body: &Bytes) -> Option<T> {
    match body.trim_ascii() {
        b"" | b"null" => Some(T::default()),
        body => serde_json::from_slice(body).ok(),
    }
}

fn under_way() -> Response {
    Refusal(Fault::new(
        ErrorKind::Conflict,
        "the first call with this Idempotency-Key is still under way",
        "ask again with the same key",
    ))
    .into_response()
}

/// A child of a fork whose server died.
fn lost(id: &SandboxId) -> Fault {
    Fault::new(
        ErrorKind::Unavailable,
        format!("sandbox {id} did not come to be: its server ended meanwhile"),
        "fork once more, into as many as are missing",
    )
}
