//! The test console: a page, its style and its script from the binary. The page asks for the API key itself and calls the
//! REST API like any other client.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::routing::{MethodRouter, get};

/// Style, script and calls go to this server only; no frame, no form, no markup made from text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; \
    require-trusted-types-for 'script'";

macro_rules! asset {
    ($kind:literal, $file:literal) => {
        asset($kind, include_str!(concat!("../../../web/console/", $file)))
    };
}

/// The page and the two files that it loads.
pub(crate) fn routes() -> Router {
    Router::new()
        .route("/test", asset!("text/html; charset=utf-8", "index.html"))
        .route(
            "/test/console.css",
            asset!("text/css; charset=utf-8", "console.css"),
        )
        .route(
            "/test/console.js",
            asset!("text/javascript; charset=utf-8", "console.js"),
        )
}

fn asset(kind: &'static str, text: &'static str) -> MethodRouter {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // A new server's page must not meet an old one's script.
        (CACHE_CONTROL, "no-cache"),
    ];
    get(move || async move { (headers, text) })
}
