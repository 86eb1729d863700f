//! The checked-in document is the one that the handlers make.
//!
//! After a change of the API: `UPDATE_OPENAPI=1 cargo test -p wrenn-http --test document`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::path::Path;

use serde_json::Value;

#[test]
fn the_checked_in_document_is_current() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for (name, text) in [
        ("openapi.yaml", wrenn_http::document::yaml()),
        ("openapi.json", wrenn_http::document::json()),
    ] {
        let file = docs.join(name);
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(&file, text).unwrap();
        }
        let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            checked_in == text,
            "docs/{name} is not current: UPDATE_OPENAPI=1 cargo test -p wrenn-http --test document"
        );
    }
}

fn document() -> Value {
    serde_json::from_str(wrenn_http::document::json()).unwrap()
}

/// Every operation: its method, its path, and what is said of it.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        item.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    })
}

/// What a reference means, or what stands in its place.
fn resolved<'a>(document: &'a Value, part: &'a Value) -> &'a Value {
    match part["$ref"].as_str() {
        Some(place) => document.pointer(place.trim_start_matches('#')).unwrap(),
        None => part,
    }
}

#[test]
fn it_is_openapi_3_1_and_says_what_every_operation_answers() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(operations(&document).count() > 20);
    for (method, path, operation) in operations(&document) {
        let text = |part: &Value| !part.as_str().unwrap_or_default().is_empty();
        assert!(text(&operation["summary"]), "{method} {path}");
        let answers = operation["responses"].as_object().unwrap();
        // It would document whatever is answered.
        assert!(!answers.contains_key("default"), "{method} {path}");
        assert!(answers.keys().any(|status| status < &"300".to_owned()));
        for needed in ["500", "503"] {
            assert!(answers.contains_key(needed), "{method} {path}");
        }
        for (status, answer) in answers {
            let answer = resolved(&document, answer);
            assert!(text(&answer["description"]), "{method} {path}: {status}");
            let refused = status.parse::<u16>().unwrap() >= 400;
            let body = &answer["content"]["application/json"]["schema"]["$ref"];
            let is_refusal = body == "#/components/schemas/ErrorBody";
            assert_eq!(is_refusal, refused, "{method} {path}: {status}");
        }
    }
}

/// What programs are made from the document by, and links within it.
#[test]
fn every_operation_has_an_id_of_its_own() {
    let document = document();
    let mut seen = std::collections::BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(seen.insert(id.to_owned()), "{method} {path}: {id}");
    }
}

#[test]
fn every_body_and_parameter_has_an_example() {
    let document = document();
    for (method, path, operation) in operations(&document) {
        let none = Vec::new();
        for parameter in operation["parameters"].as_array().unwrap_or(&none) {
            let name = parameter["name"].as_str().unwrap();
            let has_one = parameter.get("example").is_some();
            // A key that everybody took from here would be no key.
            assert!(
                has_one || name == "Idempotency-Key",
                "{method} {path}: {name}"
            );
            let shape = &parameter["schema"]["type"];
            assert!(!shape.is_array(), "{method} {path}: {name} is never null");
        }
        for body in operation["requestBody"]["content"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let schema = &body.1["schema"];
            let schema = schema.get("oneOf").map_or(schema, |either| &either[0]);
            let example = &resolved(&document, schema)["example"];
            assert!(example.is_object(), "{method} {path}");
        }
    }
}

/// The scopes that a key may have, and what is said of each route.
#[test]
fn every_operation_says_which_scope_it_needs() {
    let document = document();
    for (method, path, operation) in operations(&document) {
        let security = &operation["security"];
        if *security == serde_json::json!([{}]) {
            continue;
        }
        let mut roles: Vec<&str> = security[0]["api_key"]
            .as_array()
            .unwrap_or_else(|| panic!("{method} {path} needs no scope"))
            .iter()
            .filter_map(|role| role.as_str())
            .collect();
        if roles.len() > 1 {
            assert_eq!(roles.pop(), Some("operator"), "{method} {path}");
        }
        let looks = method == "get" && !path.ends_with("/exec/stream");
        let scope = match path.split('/').nth(2) {
            Some("sandboxes" | "snapshots" | "events") if looks => "read",
            Some("sandboxes") => "sandboxes",
            Some("snapshots") => "templates",
            Some("keys" | "teams" | "hosts" | "audit" | "pools") => "admin",
            _ => panic!("{method} {path} is of no kind that is known here"),
        };
        assert_eq!(roles, [scope], "{method} {path}");
    }
}
