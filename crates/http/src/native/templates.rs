//! Templates, which the contract calls snapshots.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use wrenn_api::{Template, TemplateType, Timestamp};

use crate::extract::{Name, Pairs};
use crate::refusal::{Answer, Refusal};
use crate::router::App;

/// Lists the templates, by name.
#[utoipa::path(
    get, path = "/v1/snapshots", operation_id = "list_templates", tag = "templates",
    params(("type" = Option<TemplateType>, Query, description = "Only those of this type", example = "base")),
    responses((status = 200, description = "The templates.", body = Vec<Template>))
)]
pub(super) async fn list(
    State(app): State<App>,
    Pairs(pairs): Pairs,
) -> Answer<Body<Vec<Template>>> {
    let mut wanted = TemplateType::Base;
    for (key, value) in pairs {
        wanted = match (key.as_str(), value.as_str()) {
            ("type", "base") => TemplateType::Base,
            ("type", "snapshot") => TemplateType::Snapshot,
            _ => {
                return Err(Refusal::invalid(
                    "the query is not understood",
                    "use type=base or type=snapshot",
                ));
            }
        };
    }
    if wanted == TemplateType::Snapshot {
        return Ok(Body(Vec::new()));
    }
    let templates = app
        .control
        .templates()
        .list()
        .await?
        .into_iter()
        .map(|template| Template {
            name: template.name,
            kind: TemplateType::Base,
            vcpus: None,
            memory_mb: None,
            size_bytes: template.size_bytes,
            created_at: Timestamp::from_unix_ms(template.created_at_ms),
        });
    Ok(Body(templates.collect()))
}

/// Deletes a template. Sandboxes made from it go on.
#[utoipa::path(
    delete, path = "/v1/snapshots/{name}", operation_id = "delete_template", tag = "templates", params(("name" = String, Path, description = "The template's name", pattern = "^[a-z0-9][a-z0-9._-]{0,62}$", example = "python")),
    responses((status = 204, description = "It is deleted."))
)]
pub(super) async fn delete(State(app): State<App>, Name(name): Name) -> Answer<StatusCode> {
    app.control.templates().delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
