//! Which calls take an `Idempotency-Key`, and what being sent twice means to each.

use axum::http::Method;
use utoipa::openapi::RefOr;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use wrenn_model::ErrorKind;

use super::KEY_LENGTH;

/// How a call takes being sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Twice is as once.
    Repeatable,
    /// So it is, and one that failed has left everything as it was, whatever the reason.
    Upload,
    /// It makes a sandbox, whose id is known before.
    Create,
    /// It makes several, whose ids follow from one that is known before.
    Fork,
    /// It makes a template, whose name is known before.
    Snapshot,
    /// Twice is told another thing than once, and does no harm.
    State,
    /// Twice is not as once.
    Once,
    /// Nor is it, and its answer has a secret in it, which is kept nowhere.
    Secret,
}

impl Kind {
    /// Whether a call that failed so may have been done.
    pub(super) fn may_be_done(self, fault: ErrorKind) -> bool {
        matches!(self, Self::Once | Self::Secret | Self::Snapshot)
            && matches!(
                fault,
                ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::DbError
            )
    }

    /// Whether what it makes is named by an id that is chosen before.
    pub(super) fn is_planned(self) -> bool {
        matches!(self, Self::Create | Self::Fork | Self::Snapshot)
    }

    /// The largest body of an answer that is kept to be given again, in bytes.
    pub(super) fn kept_body(self) -> usize {
        match self {
            // Of a hundred children with labels of their own.
            Self::Fork => 1 << 20,
            _ => 64 << 10,
        }
    }

    /// `None` for a call that changes nothing, and for one that there is none of: a key changes nothing about its refusal.
    pub(super) fn of(method: &Method, route: &str) -> Option<Self> {
        Some(match (method.as_str(), route) {
            ("POST", "/v1/sandboxes") => Self::Create,
            ("POST", "/v1/sandboxes/{id}/fork") => Self::Fork,
            ("POST", "/v1/snapshots") => Self::Snapshot,
            ("POST", "/v1/keys" | "/v1/hosts/invitations") => Self::Secret,
            ("POST", "/v1/sandboxes/{id}/pause" | "/v1/sandboxes/{id}/resume") => Self::State,
            ("POST", "/v1/sandboxes/{id}/exec") => Self::Once,
            ("POST", "/v1/sandboxes/{id}/ping")
            | ("POST" | "DELETE", "/v1/pools")
            | ("PUT", "/v1/sandboxes/{id}/network" | "/v1/teams/{name}")
            | ("DELETE", "/v1/sandboxes/{id}" | "/v1/keys/{id}" | "/v1/snapshots/{name}") => {
                Self::Repeatable
            }
            ("POST", _) if is_upload(route) => Self::Upload,
            _ => return None,
        })
    }
}

/// Says of an operation that it takes a key, where it does.
pub(crate) fn describe_key(method: &Method, route: &str, operation: &mut Operation) {
    if Kind::of(method, route).is_none() {
        return;
    }
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "Whoever sends the same call with the same key within 24 hours is told what came of the first; docs/errors.md has the rules",
        ))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(KEY_LENGTH))
                .pattern(Some("^[!-~]+$"))
                .build(),
        ))
        .build();
    operation
        .parameters
        .get_or_insert_default()
        .push(key.into());
    let replayed = HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .description(Some("`true` where this is the answer of an earlier call"))
        .build();
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let headers = &mut response.headers;
            headers.insert("Idempotency-Replayed".to_owned(), replayed.clone().into());
        }
    }
}

/// What it uploads streams through, and is no part of what tells calls apart.
pub(super) fn is_upload(route: &str) -> bool {
    route.ends_with("/files/write") || route.ends_with("/files/stream/write")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_that_changes_something_is_of_a_kind() {
        let document: serde_json::Value =
            serde_json::from_str(crate::document::json()).unwrap_or_default();
        let mut kinds = Vec::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (verb, operation) in item.as_object().into_iter().flatten() {
                let method = verb.to_uppercase().parse().unwrap();
                if let Some(kind) = Kind::of(&method, path) {
                    kinds.push((format!("{method} {path}"), kind));
                }
                let takes = operation["parameters"]
                    .to_string()
                    .contains("Idempotency-Key");
                // Who joins has a token that is good once; a file that is read stays as it is.
                let changes_nothing =
                    method.is_safe() || path == "/v1/hosts/join" || path.ends_with("/read");
                assert_eq!(takes, !changes_nothing, "{method} {path}");
            }
        }
        kinds.sort_by(|a, b| a.0.cmp(&b.0));
        let kinds: Vec<_> = kinds
            .iter()
            .map(|(call, kind)| (call.as_str(), *kind))
            .collect();
        assert_eq!(
            kinds,
            [
                ("DELETE /v1/keys/{id}", Kind::Repeatable),
                ("DELETE /v1/pools", Kind::Repeatable),
                ("DELETE /v1/sandboxes/{id}", Kind::Repeatable),
                ("DELETE /v1/snapshots/{name}", Kind::Repeatable),
                ("POST /v1/hosts/invitations", Kind::Secret),
                ("POST /v1/keys", Kind::Secret),
                ("POST /v1/pools", Kind::Repeatable),
                ("POST /v1/sandboxes", Kind::Create),
                ("POST /v1/sandboxes/{id}/exec", Kind::Once),
                ("POST /v1/sandboxes/{id}/files/stream/write", Kind::Upload),
                ("POST /v1/sandboxes/{id}/files/write", Kind::Upload),
                ("POST /v1/sandboxes/{id}/fork", Kind::Fork),
                ("POST /v1/sandboxes/{id}/pause", Kind::State),
                ("POST /v1/sandboxes/{id}/ping", Kind::Repeatable),
                ("POST /v1/sandboxes/{id}/resume", Kind::State),
                ("POST /v1/snapshots", Kind::Snapshot),
                ("PUT /v1/sandboxes/{id}/network", Kind::Repeatable),
                ("PUT /v1/teams/{name}", Kind::Repeatable),
            ]
        );
    }
}
