//! What many routes take or give, for their document only.

#![expect(
    dead_code,
    reason = "the handlers read the request by types of their own"
)]

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// The sandbox that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfSandbox {
    /// The sandbox's id
    #[param(pattern = "^sb-[a-z0-9]{20}$", example = "sb-k3x9q2m7c1v8b5n4z6a0")]
    id: String,
}

/// How long a page is.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Of a page: at most so many
    #[param(minimum = 1, maximum = 1000, example = 100)]
    limit: Option<u32>,
}

/// The place from which events are told.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct LastEvent {
    /// As `after`, which it wins over
    #[param(rename = "Last-Event-ID", required = false, minimum = 0, example = 0)]
    id: i64,
}

/// What a create prefers.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Preference {
    /// `respond-async` to be answered at once
    #[param(rename = "Prefer", required = false, example = "respond-async")]
    prefer: String,
}

/// `key=value`, as a filter.
pub(super) enum Label {}

impl PartialSchema for Label {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("A label and its value, `key=value`."))
            .pattern(Some(r"^[^=\x00]*=[^\x00]*$"))
            .into()
    }
}

impl ToSchema for Label {}

/// Bytes of any kind: the document has no schema for them, since they are no JSON.
pub(super) enum Octets {}

impl PartialSchema for Octets {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(
                utoipa::openapi::KnownFormat::Binary,
            )))
            .into()
    }
}

impl ToSchema for Octets {}

/// One message of a stream of events.
#[derive(ToSchema)]
pub(super) struct EventMessage {
    /// `created`, `changed` and `forgotten` are events; `ready` says that the stream has begun, `gap` that some before it are
    /// not known any more
    #[schema(
        pattern = "^(ready|gap|created|changed|forgotten)$",
        example = "changed"
    )]
    event: String,
    /// Its number, for `Last-Event-ID`; `gap` has none
    #[schema(value_type = String, required = false, example = "4711")]
    id: String,
    /// An `Event` in JSON; of `ready` and `gap`, `{}`
    #[schema(content_media_type = "application/json")]
    data: String,
}
