//! What `wrenn server` says as JSON at the level that it has by itself, over an agent without a host: who asked for what,
//! and of which sandbox; and nobody's secrets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use futures::stream;
use serde_json::Value;
use wrenn_client::api::{CreateSandbox, ExecRequest};
use wrenn_client::{Client, Error};
use wrenn_testkit::agent::FakeAgent;

/// Something that only its owner may know.
const SECRET: &str = "of-somebody-0451";

/// The program, ended with this.
struct Server {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Server {
    #[expect(
        clippy::disallowed_methods,
        reason = "the program under test is run as a user runs it"
    )]
    fn start(folder: &Path) -> Self {
        let log = folder.join("log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_wrenn"))
            .args(["server", "--addr", "127.0.0.1:0", "--json", "--log-json"])
            .arg("--agent")
            .arg(format!("unix:{}", folder.join("agent.sock").display()))
            .arg("--state")
            .arg(folder.join("state"))
            .env_remove("RUST_LOG")
            .env("WRENN_CONFIG", "/dev/null")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self {
            child,
            url: String::new(),
            log,
        };
        let mut text = String::new();
        for line in stdout.lines() {
            text.push_str(&line.unwrap());
            if let Ok(serving) = serde_json::from_str::<Value>(&text) {
                server.url = serving["url"].as_str().unwrap().to_owned();
                return server;
            }
        }
        panic!("it does not serve: {:?}", server.lines());
    }

    /// What it said; every line of it has to be JSON.
    fn lines(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let line = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        log.lines().map(line).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_leaves_a_line_with_its_ids_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let agent = FakeAgent::start(&folder.path().join("agent.sock")).unwrap();
    let server = Server::start(folder.path());
    let key = std::fs::read_to_string(folder.path().join("state/api-key")).unwrap();
    let client = Client::new(&server.url, Some(key.trim())).unwrap();

    let asked = CreateSandbox {
        envs: [("TOKEN".to_owned(), format!("env-{SECRET}"))].into(),
        metadata: [("note".to_owned(), format!("label-{SECRET}"))].into(),
        ..CreateSandbox::default()
    };
    let id = client.create_sandbox(&asked).await.unwrap().id;
    let echo = ExecRequest {
        cmd: "echo".to_owned(),
        args: vec![format!("arg-{SECRET}")],
        ..ExecRequest::default()
    };
    client.exec(&id, &echo).await.unwrap();
    let content = Ok::<_, std::io::Error>(Bytes::from(format!("file-{SECRET}")));
    let path = format!("/name-{SECRET}");
    let written = client.write_file(&id, &path, stream::iter([content]));
    written.await.unwrap();
    client.sandbox(&id).await.unwrap();
    client.pause(&id).await.unwrap();
    client.delete_sandbox(&id).await.unwrap();
    let stranger = Client::new(&server.url, Some(&format!("wrn_{SECRET}"))).unwrap();
    stranger.sandbox(&id).await.unwrap_err();
    let Err(Error::Api(absent)) = client.sandbox("sb-aaaaaaaaaaaaaaaaaaaa").await else {
        panic!("there is no such sandbox");
    };

    let lines = server.lines();
    let answered: Vec<&Value> = lines
        .iter()
        .map(|line| &line["fields"])
        .filter(|fields| fields["message"] == "answered")
        .collect();
    for (method, route, status) in [
        ("POST", "/v1/sandboxes", 201),
        ("POST", "/v1/sandboxes/{id}/exec", 200),
        ("POST", "/v1/sandboxes/{id}/pause", 200),
        ("DELETE", "/v1/sandboxes/{id}", 204),
    ] {
        let mut of_it = answered.iter().filter(|fields| {
            fields["method"] == method && fields["route"] == route && fields["sandbox"] == *id
        });
        let fields = of_it
            .next()
            .unwrap_or_else(|| panic!("{route}: {answered:#?}"));
        assert!(of_it.next().is_none(), "{route} more than once");
        assert_eq!(fields["status"], status);
        let request = fields["request_id"].as_str().unwrap();
        assert!(agent.heard_of(request), "{route}: {request}");
    }
    // What only looked leaves none, unless it was refused: its caller was told an id.
    let looked = |fields: &&&Value| fields["method"] == "GET";
    let refused: Vec<_> = answered.iter().filter(looked).collect();
    let statuses: Vec<_> = refused.iter().map(|fields| &fields["status"]).collect();
    assert_eq!(statuses, [401, 404]);
    assert_eq!(refused[1]["request_id"], *absent.request_id);

    let log = std::fs::read_to_string(&server.log).unwrap();
    assert!(!log.contains(SECRET), "{log}");
    assert!(!log.contains(key.trim()), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_with_a_wrong_key_is_told_how_to_give_another() {
    let folder = tempfile::tempdir().unwrap();
    let _agent = FakeAgent::start(&folder.path().join("agent.sock")).unwrap();
    let server = Server::start(folder.path());
    #[expect(
        clippy::disallowed_methods,
        reason = "the program under test is run as a user runs it"
    )]
    let mut list = Command::new(env!("CARGO_BIN_EXE_wrenn"));
    list.args(["sandbox", "ls", "--url", &server.url])
        .env_clear()
        .env("WRENN_CONFIG", "/dev/null")
        .stdin(Stdio::null());
    let wrong = list.env("WRENN_API_KEY", format!("wrn_{SECRET}")).output();
    let wrong = wrong.unwrap();
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(told.contains("nobody knows this API key"), "{told}");
    let remedy = told.lines().find(|line| line.contains("what to do: "));
    assert!(
        remedy.unwrap().contains("--api-key or WRENN_API_KEY"),
        "{told}"
    );
    let key = std::fs::read_to_string(folder.path().join("state/api-key")).unwrap();
    let right = list.env("WRENN_API_KEY", key.trim()).output().unwrap();
    assert!(right.status.success(), "{right:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_listed_and_revoked_by_commands() {
    let folder = tempfile::tempdir().unwrap();
    let _agent = FakeAgent::start(&folder.path().join("agent.sock")).unwrap();
    let server = Server::start(folder.path());
    let first = std::fs::read_to_string(folder.path().join("state/api-key")).unwrap();
    let wrenn = |key: &str, args: &[&str]| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the program under test is run as a user runs it"
        )]
        let mut command = Command::new(env!("CARGO_BIN_EXE_wrenn"));
        command
            .args(args)
            .args(["--url", &server.url])
            .env_clear()
            .env("WRENN_CONFIG", "/dev/null")
            .env("WRENN_API_KEY", key.trim())
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let [said, told] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), said, told)
    };
    let (code, _, told) = wrenn(&first, &["team", "set", "red", "--vcpus", "4"]);
    assert_eq!(code, Some(0), "{told}");
    let create = [
        "key", "create", "ci", "--team", "red", "--scope", "read", "--ttl", "600",
    ];
    let (code, made, told) = wrenn(&first, &create);
    assert_eq!(code, Some(0), "{told}");
    let id = told.split(' ').next().unwrap();
    assert!(
        made.starts_with("wrn_") && made.trim().len() == 36,
        "{made}"
    );
    assert!(told.contains("of team red, for read, until "), "{told}");

    assert_eq!(wrenn(&made, &["sandbox", "ls"]).0, Some(0));
    let (code, _, told) = wrenn(&made, &["sandbox", "create"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("has not the scope `sandboxes`"), "{told}");

    let (_, listed, _) = wrenn(&first, &["key", "ls"]);
    assert!(
        listed.contains(id) && listed.contains("first of "),
        "{listed}"
    );
    let (_, teams, _) = wrenn(&first, &["team", "ls"]);
    let red = teams.lines().find(|line| line.starts_with("red")).unwrap();
    assert_eq!(
        red.split_whitespace().collect::<Vec<_>>(),
        ["red", "-", "4", "-", "-", "-"]
    );

    let (code, revoked, told) = wrenn(&first, &["key", "revoke", id]);
    assert_eq!((code, revoked.trim()), (Some(0), id), "{told}");
    let (code, _, told) = wrenn(&made, &["sandbox", "ls"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("was revoked"), "{told}");
}
