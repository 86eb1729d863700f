//! The query of a list: filters, and pages by a cursor that is the place where the last one ended.

use axum::Json as Body;
use axum::http::header::LINK;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use wrenn_api::limits;
use wrenn_control::{Cursor, Filter, Sandbox};
use wrenn_model::Status;

use crate::refusal::{Answer, Refusal};

/// A list that was asked for.
#[derive(Debug)]
pub(super) struct Listing {
    filter: Filter,
    limit: u32,
}

impl Listing {
    /// Reads the query.
    pub(super) fn parse(pairs: Vec<(String, String)>) -> Answer<Self> {
        let mut filter = Filter::default();
        let mut limit = None;
        for (key, value) in pairs {
            let twice = match key.as_str() {
                "status" => filter.status.replace(status(&value)?).is_some(),
                "template" => {
                    let name = value
                        .parse()
                        .map_err(|error: wrenn_model::InvalidName| bad(&key, &error.to_string()))?;
                    filter.template.replace(name).is_some()
                }
                "metadata" => {
                    let (name, text) = value
                        .split_once('=')
                        .ok_or_else(|| bad(&key, "it is written key=value"))?;
                    if value.contains('\0') {
                        return Err(bad(&key, "there is no NUL character in it"));
                    }
                    filter.metadata.push((name.to_owned(), text.to_owned()));
                    filter.metadata.len() > limits::METADATA_PAIRS
                }
                "limit" => {
                    let number = page_size(&value).ok_or_else(|| {
                        bad(&key, &format!("it is a number from 1 to {}", limits::PAGE))
                    })?;
                    limit.replace(number).is_some()
                }
                "cursor" => filter.after.replace(cursor(&value)?).is_some(),
                _ => {
                    return Err(Refusal::invalid(
                        format!(
                            "the query has no parameter {:?}",
                            key.chars().take(64).collect::<String>()
                        ),
                        "use status, template, metadata, limit and cursor",
                    ));
                }
            };
            if twice {
                return Err(bad(&key, "it is given too often"));
            }
        }
        Ok(Self {
            filter,
            limit: limit.unwrap_or(limits::PAGE),
        })
    }

    /// What to look for: one more than is asked for, to know whether there are more.
    pub(super) fn filter(&self) -> Filter {
        Filter {
            limit: Some(self.limit + 1),
            ..self.filter.clone()
        }
    }

    /// Cuts what was found down to the page, and answers with the address of the next, if there is one.
    pub(super) fn cut(&self, found: &mut Vec<Sandbox>, query: &str) -> Option<String> {
        let limit = usize::try_from(self.limit)
            .ok()
            .filter(|limit| *limit < found.len())?;
        found.truncate(limit);
        let last = found.last()?;
        let kept = query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
        let next = format!("cursor={}.{}", last.created_at_ms, last.id);
        let query: Vec<&str> = kept.chain([next.as_str()]).collect();
        Some(format!("/v1/sandboxes?{}", query.join("&")))
    }
}

/// A page, and in `Link` the address of the next, if there is one.
pub(super) fn page<T: Serialize>(found: &[T], next: Option<String>) -> Response {
    match next {
        Some(next) => ([(LINK, format!("<{next}>; rel=\"next\""))], Body(found)).into_response(),
        None => Body(found).into_response(),
    }
}

/// How many a page may have, when it is such a number.
pub(super) fn page_size(text: &str) -> Option<u32> {
    let number = text.parse().ok();
    number.filter(|number| (1..=limits::PAGE).contains(number))
}

fn status(name: &str) -> Answer<Status> {
    Status::from_name(name).ok_or_else(|| {
        bad(
            "status",
            "it is one of pending, running, paused, stopped and error",
        )
    })
}

fn cursor(text: &str) -> Answer<Cursor> {
    let parsed = text.split_once('.').and_then(|(ms, id)| {
        Some(Cursor {
            created_at_ms: ms.parse().ok()?,
            id: id.parse().ok()?,
        })
    });
    parsed.ok_or_else(|| {
        bad(
            "cursor",
            "it is taken from the Link header of the page before",
        )
    })
}

fn bad(parameter: &str, rule: &str) -> Refusal {
    Refusal::invalid(
        format!("the query's {parameter}: {rule}"),
        "correct the query",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Answer<Listing> {
        Listing::parse(
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn filters_are_read() {
        let listing = parse(&[
            ("status", "running"),
            ("template", "minimal"),
            ("metadata", "a=b=c"),
            ("metadata", "d="),
            ("limit", "5"),
            ("cursor", "17.sb-aaaaaaaaaaaaaaaaaaaa"),
        ])
        .unwrap();
        let filter = listing.filter();
        assert_eq!(filter.status, Some(Status::Running));
        assert_eq!(
            filter.metadata,
            [("a".into(), "b=c".into()), ("d".into(), String::new())]
        );
        assert_eq!(filter.limit, Some(6));
        assert_eq!(filter.after.unwrap().created_at_ms, 17);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            &[("state", "running")][..],
            &[("status", "gone")],
            &[("status", "running"), ("status", "running")],
            &[("template", "../x")],
            &[("metadata", "a")],
            &[("metadata", "a=\0")],
            &[("limit", "0")],
            &[("limit", "1001")],
            &[("limit", "-1")],
            &[("cursor", "17")],
            &[("cursor", "x.sb-aaaaaaaaaaaaaaaaaaaa")],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
