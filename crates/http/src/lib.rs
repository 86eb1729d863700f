//! The REST API over HTTP: thin handlers that turn requests into calls of the control plane, and its answers into JSON.
//!
//! Everything that is no success leaves in one form ([`mod@envelope`]); every route but `/healthz`, joining, the
//! document and the pages wants an API key ([`mod@auth`]). The OpenAPI document comes from the same lines that make the routes.

mod auth;
mod console;
pub mod document;
mod envelope;
mod extract;
mod health;
mod line;
mod metrics;
mod native;
mod once;
mod places;
mod refusal;
mod router;
mod serve;
mod traced;
mod waiting;

pub use router::router;
pub use serve::serve;
pub use waiting::waiting;
