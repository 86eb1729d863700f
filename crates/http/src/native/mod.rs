//! The native API. The list of its routes, read in one sitting:

mod audit;
mod described;
mod events;
mod exec;
mod files;
mod fork;
mod hosts;
mod keys;
mod listing;
mod metrics;
mod pause;
mod pools;
mod sandboxes;
mod snapshots;
mod stream;
mod teams;
mod templates;
mod upload;

use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wrenn_api::limits;
use wrenn_control::Need;
use wrenn_model::Scope;

use crate::auth;
use crate::document::describe_need;
use crate::router::App;

pub(crate) use fork::result as child;
pub(crate) use sandboxes::view;
pub(crate) use snapshots::answer as made_snapshot;
pub(crate) use templates::view as template_view;

/// The one route that wants no key: whoever joins proves a token instead.
pub(crate) fn open_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(hosts::join))
}

/// Every other route of the native API, each with what its caller needs, what it takes and what it answers.
pub(crate) fn routes() -> OpenApiRouter<App> {
    let read = OpenApiRouter::new()
        .routes(routes!(sandboxes::list))
        .routes(routes!(sandboxes::get))
        .routes(routes!(sandboxes::console))
        .routes(routes!(metrics::metrics))
        .routes(routes!(events::events))
        .routes(routes!(events::sandbox_events))
        .routes(routes!(templates::list));
    // A base template, which all teams share, is the operator's to delete: that is told by what stands there.
    let change_templates = OpenApiRouter::new()
        .routes(routes!(snapshots::create))
        .routes(routes!(templates::delete));
    let administer = OpenApiRouter::new()
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::revoke))
        .routes(routes!(audit::audit))
        .routes(routes!(teams::list))
        .routes(routes!(teams::get));
    let run = OpenApiRouter::new()
        .routes(routes!(hosts::invite))
        .routes(routes!(pools::list, pools::warm, pools::drain))
        .routes(routes!(teams::put));
    guarded(Need::of(Scope::Read), read)
        .merge(guarded(Need::of(Scope::Sandboxes), use_sandboxes()))
        .merge(guarded(Need::of(Scope::Templates), change_templates))
        .merge(guarded(Need::of(Scope::Admin), administer))
        .merge(guarded(Need::of_operator(Scope::Admin), run))
}

fn use_sandboxes() -> OpenApiRouter<App> {
    let small = OpenApiRouter::new()
        .routes(routes!(sandboxes::create))
        .routes(routes!(sandboxes::delete))
        .routes(routes!(pause::pause))
        .routes(routes!(pause::resume))
        .routes(routes!(fork::fork))
        .routes(routes!(sandboxes::network))
        .routes(routes!(sandboxes::ping))
        .routes(routes!(exec::exec))
        .routes(routes!(stream::exec_stream))
        .routes(routes!(files::read))
        .routes(routes!(files::read_stream));
    let bounded = OpenApiRouter::new()
        .routes(routes!(files::write))
        .layer(DefaultBodyLimit::max(limits::FILE_BODY_BYTES));
    let unbounded = OpenApiRouter::new()
        .routes(routes!(files::write_stream))
        .layer(DefaultBodyLimit::disable());
    small.merge(bounded).merge(unbounded)
}

/// Routes for callers who have what is needed, which their document says too.
fn guarded(need: Need, mut routes: OpenApiRouter<App>) -> OpenApiRouter<App> {
    describe_need(routes.get_openapi_mut(), need);
    routes.route_layer(from_fn_with_state(need, auth::require))
}
