//! Who may call what, and when.
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::time::Duration;

use common::{Agent, KEY, TOKEN, first_init, run, sh};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wrenn_envd_api::{Operation, Secret, sign};
use wrenn_envd_client::{Error, InitRequest, RefusedCode};

/// Everything that is served beside `/health` and `/init`.
const GUARDED: [&str; 13] = [
    "GET /metrics",
    "GET /envs",
    "POST /sync",
    "GET /files?path=/etc/hostname",
    "POST /files?path=/tmp/never",
    "POST /files/compose",
    "POST /freeze",
    "POST /process.Process/List",
    "POST /process.Process/Start",
    "POST /process.Process/SendSignal",
    "POST /filesystem.Filesystem/Stat",
    "POST /filesystem.Filesystem/Remove",
    "GET /nowhere",
];

/// One raw request; the status of its answer and the answer.
async fn raw(agent: &Agent, request: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(agent.address).await.unwrap();
    let text = format!(
        "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

fn code<T>(result: Result<T, Error>) -> Option<RefusedCode> {
    match result {
        Ok(_) => None,
        Err(Error::Refused { code, .. }) => Some(code),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn before_init_nothing_is_served_and_nothing_runs() {
    let agent = Agent::start();
    agent.client().health(Duration::from_secs(5)).await.unwrap();
    for request in GUARDED {
        let (status, answer) = raw(&agent, request, "x-access-token: a-token\r\n").await;
        assert_eq!(status, 503, "{request}: {answer}");
        assert!(
            answer.ends_with(r#"{"code":503,"message":"the guest is not initialised"}"#),
            "{answer}"
        );
    }
    let refused = agent.client().start(sh("true")).await;
    assert!(matches!(
        refused,
        Err(Error::Refused {
            code: RefusedCode::Unavailable,
            ..
        })
    ));
}

#[tokio::test]
async fn afterwards_everything_needs_the_token() {
    let (agent, client) = Agent::initialised().await;
    for request in GUARDED {
        for header in [
            "",
            "x-access-token: a-tokem\r\n",
            "x-access-token: a-token2\r\n",
            "x-access-token: \r\n",
        ] {
            let (status, answer) = raw(&agent, request, header).await;
            assert_eq!(status, 401, "{request} with {header}: {answer}");
        }
    }
    assert_eq!(raw(&agent, "GET /health", "").await.0, 204);
    assert!(
        raw(&agent, "GET /metrics", "x-access-token: a-token\r\n")
            .await
            .1
            .contains("\"mem_total\":")
    );
    assert_eq!(
        raw(&agent, "POST /freeze", "x-access-token: a-token\r\n")
            .await
            .0,
        501
    );
    assert_eq!(
        raw(&agent, "GET /nowhere", "x-access-token: a-token\r\n")
            .await
            .0,
        404
    );
    assert!(client.metrics().await.unwrap().mem_total > 0);
    let stranger = agent
        .client()
        .with_token("other".to_owned())
        .start(sh("true"))
        .await;
    assert!(matches!(
        stranger,
        Err(Error::Refused {
            code: RefusedCode::Unauthenticated,
            ..
        })
    ));
}

#[tokio::test]
async fn a_signed_url_opens_one_file_one_way() {
    let (agent, _client) = Agent::initialised().await;
    let token = Secret::from(TOKEN);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let path = path.to_str().unwrap();
    let escaped = |signature: String| signature.replace('+', "%2B").replace('/', "%2F");
    let write = escaped(sign(path, Operation::Write, "", &token, None));
    let read = escaped(sign(
        path,
        Operation::Read,
        "root",
        &token,
        Some(4_000_000_000),
    ));
    let late = escaped(sign(path, Operation::Read, "root", &token, Some(1)));
    assert_eq!(
        raw(
            &agent,
            &format!("POST /files?path={path}&signature={write}"),
            ""
        )
        .await
        .0,
        200
    );
    assert_eq!(
        raw(
            &agent,
            &format!("GET /files?path={path}&signature={write}"),
            ""
        )
        .await
        .0,
        401
    );
    let url = format!("GET /files?path={path}&username=root&signature={read}");
    assert_eq!(
        raw(
            &agent,
            &format!("{url}&signature_expiration=4000000000"),
            ""
        )
        .await
        .0,
        200
    );
    assert_eq!(
        raw(
            &agent,
            &format!("{url}&signature_expiration=4000000001"),
            ""
        )
        .await
        .0,
        401
    );
    assert_eq!(raw(&agent, &url, "").await.0, 401);
    let url =
        format!("GET /files?path={path}&username=root&signature={late}&signature_expiration=1");
    assert_eq!(raw(&agent, &url, "").await.0, 401);
}

#[tokio::test]
async fn only_the_holder_of_the_key_may_initialise_again() {
    let agent = Agent::start();
    let client = agent.client();
    assert_eq!(
        code(client.init(&InitRequest::default(), None).await),
        Some(RefusedCode::InvalidArgument)
    );
    client.init(&first_init(), None).await.unwrap();
    let next = InitRequest {
        access_token: Some("another".into()),
        next_init_key: Some("next".into()),
        sandbox_id: Some("sb-other".to_owned()),
        ..InitRequest::default()
    };
    for key in [None, Some(""), Some("wrong"), Some(TOKEN), Some("next")] {
        assert_eq!(
            code(client.init(&next, key).await),
            Some(RefusedCode::Unauthenticated),
            "{key:?}"
        );
    }
    // What the machine cannot take leaves key and token as they were.
    let wrong = InitRequest {
        machine_id: Some("x".to_owned()),
        ..next.clone()
    };
    assert_eq!(
        code(client.init(&wrong, Some(KEY)).await),
        Some(RefusedCode::InvalidArgument)
    );
    client.init(&next, Some(KEY)).await.unwrap();
    assert_eq!(
        code(client.init(&next, Some(KEY)).await),
        Some(RefusedCode::Unauthenticated)
    );
    assert!(
        agent
            .client()
            .with_token(TOKEN.to_owned())
            .processes()
            .await
            .is_err()
    );
    let client = client.with_token("another".to_owned());
    assert_eq!(
        run(&client, "echo $WRENN_SANDBOX_ID $WRENN_TEMPLATE_ID")
            .await
            .text(),
        "sb-other minimal\n"
    );
}

#[tokio::test]
async fn a_users_process_cannot_make_itself_the_host() {
    let (_agent, client) = Agent::initialised().await;
    let output = run(&client, "cat /proc/self/environ /proc/self/cmdline").await;
    for secret in [TOKEN, KEY] {
        assert!(
            !output
                .stdout
                .windows(secret.len())
                .any(|window| window == secret.as_bytes())
        );
    }
}
