//! The native API. The list of its routes, read in one sitting:

mod audit;
mod events;
mod exec;
mod files;
mod hosts;
mod listing;
mod metrics;
mod pause;
mod sandboxes;
mod stream;
mod templates;
mod upload;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wrenn_api::limits;

use crate::router::App;

/// The one route that wants no key: whoever joins proves a token instead.
pub(crate) fn open_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(hosts::join))
}

/// Every other route of the native API, each with what it takes and answers.
pub(crate) fn routes() -> OpenApiRouter<App> {
    let small = OpenApiRouter::new()
        .routes(routes!(sandboxes::create, sandboxes::list))
        .routes(routes!(sandboxes::get, sandboxes::delete))
        .routes(routes!(pause::pause))
        .routes(routes!(pause::resume))
        .routes(routes!(sandboxes::network))
        .routes(routes!(sandboxes::ping))
        .routes(routes!(sandboxes::console))
        .routes(routes!(metrics::metrics))
        .routes(routes!(events::events))
        .routes(routes!(events::sandbox_events))
        .routes(routes!(audit::audit))
        .routes(routes!(exec::exec))
        .routes(routes!(stream::exec_stream))
        .routes(routes!(files::read))
        .routes(routes!(files::read_stream))
        .routes(routes!(hosts::invite))
        .routes(routes!(templates::list))
        .routes(routes!(templates::delete));
    let bounded = OpenApiRouter::new()
        .routes(routes!(files::write))
        .layer(DefaultBodyLimit::max(limits::FILE_BODY_BYTES));
    let unbounded = OpenApiRouter::new()
        .routes(routes!(files::write_stream))
        .layer(DefaultBodyLimit::disable());
    small.merge(bounded).merge(unbounded)
}
