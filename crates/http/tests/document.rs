//! The checked-in document is the one that the handlers make.
//!
//! After a change of the API: `UPDATE_OPENAPI=1 cargo test -p wrenn-http --test document`.

use std::path::Path;

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

#[test]
fn it_is_openapi_3_1_and_says_how_every_operation_refuses() {
    let document = wrenn_http::document::openapi();
    let json: serde_json::Value = serde_json::from_str(wrenn_http::document::json()).unwrap();
    assert!(json["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(document.paths.paths.len() > 10);
    for (path, item) in json["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                operation["responses"]["default"]["content"]["application/json"].is_object(),
                "{method} {path}"
            );
            assert!(
                !operation["summary"].as_str().unwrap_or_default().is_empty(),
                "{method} {path}"
            );
        }
    }
}

/// The scopes that a key may have, and what is said of each route.
#[test]
fn every_operation_says_which_scope_it_needs() {
    let json: serde_json::Value = serde_json::from_str(wrenn_http::document::json()).unwrap();
    for (path, item) in json["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
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
                Some("keys" | "teams" | "hosts" | "audit") => "admin",
                _ => panic!("{method} {path} is of no kind that is known here"),
            };
            assert_eq!(roles, [scope], "{method} {path}");
        }
    }
}
