//! All routes, and what every request passes on its way.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use wrenn_control::{ControlPlane, Need};
use wrenn_model::Scope;

use crate::metrics::{self, Metrics};
use crate::places::Places;
use crate::refusal::Refusal;
use crate::{auth, console, document, envelope, health, native, once};

/// Bodies of up to 100 MiB that may be in memory at a time.
const LARGE_BODIES: usize = 4;

/// What handlers share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) control: ControlPlane,
    /// Tells long conversations that the server stops.
    pub(crate) closing: CancellationToken,
    /// A permit for each large body in memory.
    pub(crate) large: Arc<Semaphore>,
    /// A place for each stream of events.
    pub(crate) streams: Places,
    pub(crate) metrics: Arc<Metrics>,
}

/// The routes that the document describes, before and after the key is asked for.
pub(crate) fn described() -> (OpenApiRouter<App>, OpenApiRouter<App>) {
    (
        health::routes().merge(native::open_routes()),
        native::routes(),
    )
}

/// The REST API of this control plane. Conversations end when `closing` is cancelled.
pub fn router(control: ControlPlane, closing: CancellationToken) -> Router {
    let app = App {
        control,
        closing,
        large: Arc::new(Semaphore::new(LARGE_BODIES)),
        streams: Places::default(),
        metrics: Arc::default(),
    };
    let outermost = app.clone();
    let (open, guarded) = described();
    let guarded = Router::from(guarded)
        .merge(metrics::routes().route_layer(from_fn_with_state(
            Need::of_operator(Scope::Read),
            auth::require,
        )))
        .route_layer(from_fn_with_state(app.clone(), once::once))
        .route_layer(from_fn_with_state(app.clone(), auth::require_key));
    Router::from(open)
        .merge(guarded)
        .with_state(app)
        .merge(document::routes())
        .merge(console::routes())
        .layer(CatchPanicLayer::custom(|_| Refusal::panicked()))
        .layer(from_fn_with_state(outermost, envelope::envelope))
}
