//! API keys.

use axum::Json as Body;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use wrenn_api::{CreateKey, CreatedKey, Key, KeyScope, Timestamp};
use wrenn_control::{NewKey, StoredKey};

use crate::auth::Who;
use crate::extract::{Json, Named};
use crate::refusal::Answer;
use crate::router::App;

/// Makes a key of the caller's team, or of any for the operator: an admin of the team `default`.
#[utoipa::path(
    post, path = "/v1/keys", operation_id = "create_key", tag = "keys", request_body = CreateKey,
    responses((status = 201, description = "The key, which is shown this once.", body = CreatedKey, headers(("Location" = String, description = "Where it is revoked"))))
)]
pub(super) async fn create(
    State(app): State<App>,
    Who(caller): Who,
    Json(request): Json<CreateKey>,
) -> Answer<(StatusCode, [(HeaderName, String); 1], Body<CreatedKey>)> {
    let asked = request.check()?;
    let new = NewKey {
        name: asked.name,
        team: asked.team,
        scopes: asked.scopes,
        good_for: asked.good_for,
    };
    let made = app.control.keys().create(&caller, new).await?;
    let created = CreatedKey {
        key: made.key.reveal().to_owned(),
        described: view(made.stored),
    };
    let place = format!("/v1/keys/{}", created.described.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, place)],
        Body(created),
    ))
}

/// Lists the keys of the caller's team, or every key for the operator, newest first. Those that have expired or were revoked
/// are among them.
#[utoipa::path(
    get, path = "/v1/keys", operation_id = "list_keys", tag = "keys",
    responses((status = 200, description = "The keys.", body = Vec<Key>))
)]
pub(super) async fn list(State(app): State<App>, Who(caller): Who) -> Answer<Body<Vec<Key>>> {
    let keys = app.control.keys().list(&caller).await?;
    Ok(Body(keys.into_iter().map(view).collect()))
}

/// Revokes a key: it opens nothing any more, on other servers of the same database within five seconds. Asked again, it
/// answers the same.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", operation_id = "revoke_key", tag = "keys", params(("id" = String, Path, description = "The key's id", pattern = "^key-[a-z0-9]{8}$", example = "key-0a1b2c3d")),
    responses((status = 204, description = "It is revoked."))
)]
pub(super) async fn revoke(
    State(app): State<App>,
    Who(caller): Who,
    Named(id): Named<wrenn_model::KeyId>,
) -> Answer<StatusCode> {
    app.control.keys().revoke(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A key as a caller sees it.
fn view(key: StoredKey) -> Key {
    let time = |ms: Option<i64>| ms.map(Timestamp::from_unix_ms);
    Key {
        id: key.id.into(),
        name: key.name,
        team: key.team.into(),
        scopes: key.scopes.iter().map(KeyScope::from).collect(),
        created_at: Timestamp::from_unix_ms(key.created_at_ms),
        expires_at: time(key.expires_at_ms),
        last_used_at: time(key.last_used_at_ms),
        revoked_at: time(key.revoked_at_ms),
    }
}
