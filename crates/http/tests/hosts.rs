//! Inviting hosts, and joining, as they are met over HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use common::{Answered, Bench};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use wrenn_pki::{JoinAnswer, Joining, Token};

const JOIN: &str = "/v1/hosts/join";

fn joining(token: Token) -> (Joining, Value) {
    let joining = Joining::new(token, &["10.0.0.5".parse().unwrap()]).unwrap();
    let request = joining.request();
    let body = json!({
        "token_id": request.token_id, "csr": request.csr, "names": request.names, "proof": request.proof,
    });
    (joining, body)
}

/// Without a key.
async fn join(bench: &Bench, body: impl Into<bytes::Bytes>) -> Answered {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}{JOIN}", bench.address))
        .header("content-type", "application/json");
    bench.send(request, body).await
}

async fn invite(bench: &Bench, body: &str) -> Answered {
    bench.post("/v1/hosts/invitations", body).await
}

#[tokio::test]
async fn a_host_joins_once_without_a_key() {
    let bench = Bench::new().await;
    let invited = invite(&bench, "").await;
    assert_eq!(invited.status, StatusCode::CREATED);
    let invited = invited.json();
    let token: Token = invited["token"].as_str().unwrap().parse().unwrap();
    assert!(invited["expires_at"].as_str().unwrap().ends_with('Z'));

    let (host, body) = joining(token.clone());
    let joined = join(&bench, body.to_string()).await;
    assert_eq!(joined.status, StatusCode::OK, "{:?}", joined.body);
    let said = String::from_utf8_lossy(&joined.body).into_owned();
    assert!(!said.contains(token.secret()) && !said.contains("PRIVATE"));
    let text = |field: &str| joined.json()[field].as_str().unwrap().to_owned();
    let answer = JoinAnswer {
        certificate: text("certificate"),
        authority: text("authority"),
        proof: text("proof"),
    };
    let identity = host.complete(&answer).unwrap();
    identity.server_config().unwrap();

    join(&bench, body.to_string())
        .await
        .refused(403, "forbidden");
    let (_, again) = joining(token);
    join(&bench, again.to_string())
        .await
        .refused(403, "forbidden");
    let (_, unknown) = joining(Token::random());
    join(&bench, unknown.to_string())
        .await
        .refused(401, "unauthorized");
}

#[tokio::test]
async fn invitations_are_bounded() {
    let bench = Bench::new().await;
    for good in ["{}", "null", r#"{"ttl_sec":86400}"#] {
        assert_eq!(invite(&bench, good).await.status, StatusCode::CREATED);
    }
    for bad in [r#"{"ttl_sec":86401}"#, r#"{"ttl":1}"#, "[]"] {
        invite(&bench, bad).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn what_anybody_may_send_is_small_and_understood() {
    let bench = Bench::new().await;
    let (_, good) = joining(Token::random());
    let mut padded = good.clone();
    padded["csr"] = json!("x".repeat(9000));
    let mut crowded = good.clone();
    crowded["names"] = json!(vec!["a"; 17]);
    let mut curious = good.clone();
    curious["more"] = json!(1);
    for bad in [padded, crowded, curious, json!({}), json!([])] {
        join(&bench, bad.to_string())
            .await
            .refused(400, "invalid_request");
    }
    let mut huge = good;
    huge["csr"] = json!("x".repeat(40_000));
    join(&bench, huge.to_string())
        .await
        .refused(413, "too_large");
    join(&bench, vec![b'{'; 64 << 10])
        .await
        .refused(413, "too_large");
}
