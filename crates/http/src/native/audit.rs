//! The record of who did what.

use axum::extract::State;
use axum::response::Response;
use wrenn_api::{AuditEntry, Timestamp, limits};
use wrenn_control::AuditFilter;

use super::described::Page;
use super::listing::{page, page_size};
use crate::auth::Who;
use crate::extract::Pairs;
use crate::refusal::{Answer, Refusal};
use crate::router::App;

/// Calls that may have changed something, the newest first: who asked for what, when, and how it was answered.
///
/// A team's admin sees the calls with that team's keys, the operator all. A call is on the record within moments of its answer, also one that was refused, as long as its key is known. When there are
/// more, the header `Link` has the address of the next page.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "list_calls", tag = "events",
    params(
        ("sandbox_id" = Option<String>, Query, description = "Only those about this sandbox", pattern = "^sb-[a-z0-9]{20}$", example = "sb-k3x9q2m7c1v8b5n4z6a0"),
        Page,
        ("cursor" = Option<String>, Query, description = "Where the page before ended; taken from its `Link`", pattern = "^[0-9]{1,15}[.][A-Za-z0-9]*$", example = "1772366400000.req1"),
    ),
    responses((status = 200, description = "A page of them.", body = Vec<AuditEntry>, headers(("Link" = String, description = "The next page, if there is one"))))
)]
pub(super) async fn audit(
    State(app): State<App>,
    Who(caller): Who,
    Pairs(pairs): Pairs,
) -> Answer<Response> {
    let asked = parse(pairs)?;
    // One more than is asked for, to know whether there are more.
    let filter = AuditFilter {
        limit: asked.limit + 1,
        ..asked.clone()
    };
    let mut calls = app.control.audit().list(&caller, filter).await?;
    let more = calls.len() > asked.limit as usize;
    calls.truncate(asked.limit as usize);
    let next = calls.last().filter(|_| more).map(|last| {
        let of = asked
            .sandbox_id
            .as_deref()
            .map_or(String::new(), |id| format!("&sandbox_id={id}"));
        format!(
            "/v1/audit?limit={}{of}&cursor={}.{}",
            asked.limit, last.at_ms, last.id
        )
    });
    let calls: Vec<_> = calls.into_iter().map(view).collect();
    Ok(page(&calls, next))
}

fn parse(pairs: Vec<(String, String)>) -> Answer<AuditFilter> {
    let mut filter = AuditFilter {
        limit: limits::PAGE,
        ..AuditFilter::default()
    };
    for (key, value) in pairs {
        match key.as_str() {
            "sandbox_id" => {
                let id: wrenn_model::SandboxId =
                    value.parse().map_err(|_| invalid("sandbox_id is no id"))?;
                filter.sandbox_id = Some(id.to_string());
            }
            "limit" => {
                filter.limit =
                    page_size(&value).ok_or_else(|| invalid("limit is a number from 1 to 1000"))?;
            }
            "cursor" => {
                let place = value.split_once('.').and_then(|(ms, id)| {
                    let known = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
                    known.then(|| Some((ms.parse().ok()?, id.to_owned())))?
                });
                filter.before = Some(place.ok_or_else(|| {
                    invalid("cursor is taken from the Link header of the page before")
                })?);
            }
            _ => return Err(invalid("there are sandbox_id, limit and cursor")),
        }
    }
    Ok(filter)
}

fn invalid(rule: &str) -> Refusal {
    Refusal::invalid(format!("the query: {rule}"), "correct the query")
}

fn view(call: wrenn_control::AuditEntry) -> AuditEntry {
    AuditEntry {
        at: Timestamp::from_unix_ms(call.at_ms),
        request_id: call.request_id,
        key_id: call.key_id,
        key: call.key_name,
        action: call.action,
        sandbox_id: (!call.sandbox_id.is_empty()).then_some(call.sandbox_id),
        object: (!call.object.is_empty()).then_some(call.object),
        status: call.status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_read_and_nonsense_refused() {
        let read = |pairs: &[(&str, &str)]| {
            parse(
                pairs
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
            )
        };
        let id = "sb-aaaaaaaaaaaaaaaaaaaa";
        let filter = read(&[("sandbox_id", id), ("limit", "2"), ("cursor", "17.abc")]).unwrap();
        assert_eq!(filter.before, Some((17, "abc".to_owned())));
        assert_eq!((filter.sandbox_id.as_deref(), filter.limit), (Some(id), 2));
        for bad in [
            &[("limit", "0")][..],
            &[("limit", "1001")],
            &[("cursor", "17")],
            &[("cursor", "x.abc")],
            &[("cursor", "1.a>b")],
            &[("sandbox_id", "x")],
            &[("key", "first")],
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
