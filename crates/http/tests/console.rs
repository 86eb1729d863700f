//! The test console's files: open to everybody, under a policy that lets them load nothing from elsewhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use common::{Answered, Bench};
use http::{Method, Request, StatusCode};

const FILES: [(&str, &str); 3] = [
    ("/test", "text/html; charset=utf-8"),
    ("/test/console.css", "text/css; charset=utf-8"),
    ("/test/console.js", "text/javascript; charset=utf-8"),
];

/// A stranger's request: without a key.
async fn open(bench: &Bench, path: &str) -> Answered {
    let uri = format!("http://{}{path}", bench.address);
    bench
        .send(Request::builder().method(Method::GET).uri(uri), "")
        .await
}

#[tokio::test]
async fn its_files_need_no_key_and_the_api_does() {
    let bench = Bench::new().await;
    for (path, kind) in FILES {
        let file = open(&bench, path).await;
        assert_eq!(file.status, StatusCode::OK, "{path}");
        assert_eq!(file.headers["content-type"], kind, "{path}");
        assert!(!file.body.is_empty(), "{path}");
    }
    for path in ["/v1/sandboxes", "/v1/snapshots"] {
        open(&bench, path).await.refused(401, "unauthorized");
    }
    for path in ["/test/", "/test/index.html", "/test/..%2fCargo.toml"] {
        open(&bench, path).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn it_may_load_nothing_from_elsewhere() {
    let bench = Bench::new().await;
    for (path, _) in FILES {
        let headers = open(&bench, path).await.headers;
        let policy: Vec<&str> = headers["content-security-policy"]
            .to_str()
            .unwrap()
            .split("; ")
            .collect();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(&rule), "{path}: {rule}");
        }
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers["cache-control"], "no-cache", "{path}");
    }
}

/// What the policy would refuse does not stand in the files to begin with.
#[tokio::test]
async fn nothing_in_it_needs_more_than_the_policy_gives() {
    let bench = Bench::new().await;
    let text = |file: Answered| String::from_utf8(file.body.to_vec()).unwrap();
    let page = text(open(&bench, "/test").await);
    assert!(page.contains("<title>Wrenn Sandbox — Test Console</title>"));
    for inline in ["<style", "style=", "onclick", "javascript:", "https://"] {
        assert!(!page.contains(inline), "{inline}");
    }
    for tag in page.split("<script").skip(1) {
        assert!(tag.contains("src=\"/test/console.js\"></script>"), "{tag}");
    }
    let script = text(open(&bench, "/test/console.js").await);
    for markup in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
    ] {
        assert!(!script.contains(markup), "{markup}");
    }
}
