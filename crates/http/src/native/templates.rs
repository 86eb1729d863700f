//! Templates, which the contract calls snapshots.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use wrenn_api::{Template, TemplateType, Timestamp};
use wrenn_control::TemplateKind;

use crate::auth::Who;
use crate::extract::{Name, Pairs};
use crate::refusal::{Answer, Refusal};
use crate::router::App;

/// Lists the base templates, which all teams share, and the caller's team's snapshots, by name. The operator sees every team's.
#[utoipa::path(
    get, path = "/v1/snapshots", operation_id = "list_templates", tag = "templates",
    params(("type" = Option<TemplateType>, Query, description = "Only those of this type", example = "base")),
    responses((status = 200, description = "The templates.", body = Vec<Template>))
)]
pub(super) async fn list(
    State(app): State<App>,
    Who(caller): Who,
    Pairs(pairs): Pairs,
) -> Answer<Body<Vec<Template>>> {
    let mut wanted = None;
    for (key, value) in pairs {
        wanted = match (key.as_str(), value.as_str()) {
            ("type", "base") => Some(TemplateKind::Base),
            ("type", "snapshot") => Some(TemplateKind::Snapshot),
            _ => {
                return Err(Refusal::invalid(
                    "the query is not understood",
                    "use type=base or type=snapshot",
                ));
            }
        };
    }
    let mut templates = app.control.templates_of(&caller).list().await?;
    templates.retain(|template| wanted.is_none_or(|kind| template.kind == kind));
    Ok(Body(templates.into_iter().map(view).collect()))
}

/// Deletes a template. Sandboxes made from it go on. A snapshot its team deletes; a base template, which all teams share, the
/// team `default` alone.
#[utoipa::path(
    delete, path = "/v1/snapshots/{name}", operation_id = "delete_template", tag = "templates", params(("name" = String, Path, description = "The template's name", pattern = "^[a-z0-9][a-z0-9._-]{0,62}$", example = "python")),
    responses((status = 204, description = "It is deleted."))
)]
pub(super) async fn delete(
    State(app): State<App>,
    Who(caller): Who,
    Name(name): Name,
) -> Answer<StatusCode> {
    app.control.templates_of(&caller).delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A template as a caller sees it.
pub(crate) fn view(template: wrenn_control::Template) -> Template {
    Template {
        name: template.name,
        kind: match template.kind {
            TemplateKind::Base => TemplateType::Base,
            TemplateKind::Snapshot => TemplateType::Snapshot,
        },
        vcpus: template.vcpus,
        memory_mb: template.memory.map(|memory| memory.0),
        size_bytes: template.size_bytes,
        created_at: Timestamp::from_unix_ms(template.created_at_ms),
    }
}
