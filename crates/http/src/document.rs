//! The OpenAPI document, made from the handlers, and the page that shows it.

mod messages;
mod refusals;

use std::sync::LazyLock;

use axum::Router;
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use utoipa::OpenApi as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, PathItem};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};
use wrenn_api::{ClientMessage, ErrorBody, ErrorInfo, ServerMessage};
use wrenn_control::Need;

use crate::once::describe_key;
use crate::router::{App, described};

const SCHEME: &str = "api_key";
/// A role beside the scopes.
const OPERATOR: &str = "operator";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Wrenn",
        description = "Sandboxes in microVMs. Every answer that is no success has the form of ErrorBody; docs/errors.md lists the codes.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        contact()
    ),
    components(schemas(ErrorBody, ErrorInfo, ClientMessage, ServerMessage))
)]
struct Base;

/// The document of every described route.
#[must_use]
pub fn openapi() -> OpenApi {
    let (open, guarded) = described();
    let routes: OpenApiRouter<App> = OpenApiRouter::with_openapi(Base::openapi())
        .merge(open)
        .merge(guarded);
    let mut document = routes.into_openapi();
    let key = ApiKey::Header(ApiKeyValue::with_description(
        "X-API-Key",
        "An API key of this installation. Every operation names the scope that the key needs, which `admin` has in it, and \
         `operator` where only a key of the team `default` will do.",
    ));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(SCHEME, SecurityScheme::ApiKey(key));
    components.responses.extend(refusals::all());
    messages::join_start(components);
    document.security = Some(vec![SecurityRequirement::new(SCHEME, Vec::<String>::new())]);
    for (path, item) in &mut document.paths.paths {
        operations(item).for_each(|(method, operation)| {
            describe_key(&method, path, operation);
            refusals::describe(&method, path, operation);
        });
    }
    document
}

/// The document in YAML.
#[must_use]
pub fn yaml() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| openapi().to_yaml().unwrap_or_default());
    &TEXT
}

/// The document in JSON.
#[must_use]
pub fn json() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| openapi().to_pretty_json().unwrap_or_default() + "\n");
    &TEXT
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PUT, &mut item.put),
        (Method::DELETE, &mut item.delete),
        (Method::PATCH, &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Says of these operations what a caller's key needs for them.
pub(crate) fn describe_need(document: &mut OpenApi, need: Need) {
    let operator = need.operator.then_some(OPERATOR);
    let roles: Vec<&str> = [need.scope.as_str()].into_iter().chain(operator).collect();
    for item in document.paths.paths.values_mut() {
        operations(item).for_each(|(_, operation)| {
            operation.security = Some(vec![SecurityRequirement::new(SCHEME, roles.clone())]);
        });
    }
}

/// The document in both forms, and Swagger UI from the binary.
pub(crate) fn routes() -> Router {
    // Without a validator the page asks nobody outside about the document.
    let page = Config::from("/openapi.json")
        .validator_url("none")
        .persist_authorization(true);
    Router::new()
        .route(
            "/openapi.yaml",
            get(|| async { ([(CONTENT_TYPE, "application/yaml")], yaml()) }),
        )
        .route(
            "/openapi.json",
            get(|| async { ([(CONTENT_TYPE, "application/json")], json()) }),
        )
        .merge(SwaggerUi::new("/docs").config(page))
}
