//! Hosts on other machines.

use std::time::Duration;

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use wrenn_api::{Invitation, InviteHost, JoinHost, JoinedHost, Timestamp, limits};
use wrenn_control::JoinRequest;

use crate::extract::{Json, MaybeJson};
use crate::refusal::Answer;
use crate::router::App;

/// Makes a one-time token, with which one host joins: `wrenn agent join` there.
#[utoipa::path(
    post, path = "/v1/hosts/invitations", operation_id = "invite_host", tag = "hosts", request_body = Option<InviteHost>,
    responses((status = 201, description = "The token, which is shown this once.", body = Invitation))
)]
pub(super) async fn invite(
    State(app): State<App>,
    MaybeJson(request): MaybeJson<InviteHost>,
) -> Answer<(StatusCode, Body<Invitation>)> {
    let good_for = Duration::from_secs(request.check()?.into());
    let invited = app.control.hosts().invite(good_for).await?;
    let invitation = Invitation {
        token: invited.token.reveal(),
        expires_at: Timestamp::from_unix_ms(invited.expires_at_ms),
    };
    Ok((StatusCode::CREATED, Body(invitation)))
}

/// Gives a host the certificate with which its agent is dialled over TLS. Needs no key: a token proves the request, and the
/// answer in turn. Neither carries a secret.
///
/// A token that nobody knows, or a proof that is none, is 401; one that was used or has expired is 403. A refused request
/// uses no token up.
#[utoipa::path(
    post, path = "/v1/hosts/join", operation_id = "join_host", tag = "hosts", security(()), request_body = JoinHost,
    responses((status = 200, description = "It has joined.", body = JoinedHost))
)]
pub(super) async fn join(
    State(app): State<App>,
    Json(request): Json<JoinHost, { limits::JOIN_BODY_BYTES }>,
) -> Answer<Body<JoinedHost>> {
    request.check()?;
    let request = JoinRequest {
        token_id: request.token_id,
        csr: request.csr,
        names: request.names,
        proof: request.proof,
    };
    let answer = app.control.hosts().join(&request).await?;
    Ok(Body(JoinedHost {
        certificate: answer.certificate,
        authority: answer.authority,
        proof: answer.proof,
    }))
}
