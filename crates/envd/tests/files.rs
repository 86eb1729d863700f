//! File content through the real agent.
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use common::{Agent, TOKEN, eventually};
use futures::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wrenn_envd_client::{EnvdClient, Error, RefusedCode};

fn pieces(count: usize) -> impl Stream<Item = io::Result<Bytes>> {
    futures::stream::iter((0..count).map(|n| Ok(piece(n))))
}

fn piece(number: usize) -> Bytes {
    Bytes::from(vec![u8::try_from(number % 251).unwrap(); 100_000])
}

fn content(count: usize) -> Vec<u8> {
    (0..count).flat_map(piece).collect()
}

async fn read(client: &EnvdClient, path: &Path) -> Result<Vec<u8>, Error> {
    let mut stream = client.read_file(path.to_str().unwrap(), None).await?;
    let mut content = Vec::new();
    while let Some(data) = stream.next().await? {
        content.extend_from_slice(&data);
    }
    Ok(content)
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> RefusedCode {
    match result {
        Err(Error::Refused { code, .. }) => code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn content_goes_in_and_comes_out_again() {
    let (_agent, client) = Agent::initialised().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a b/ü/file");
    client
        .write_file(path.to_str().unwrap(), None, pieces(300))
        .await
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), content(300));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
    let mut stream = client
        .read_file(path.to_str().unwrap(), None)
        .await
        .unwrap();
    assert_eq!(stream.size(), Some(30_000_000));
    drop(stream.next().await.unwrap());
    drop(stream);
    assert_eq!(read(&client, &path).await.unwrap(), content(300));
    client
        .write_file(path.to_str().unwrap(), None, pieces(0))
        .await
        .unwrap();
    assert_eq!(read(&client, &path).await.unwrap(), b"");
    assert!(
        !read(&client, Path::new("/proc/self/status"))
            .await
            .unwrap()
            .is_empty(),
        "size 0, but not empty"
    );
}

#[tokio::test]
async fn a_file_belongs_to_its_user_and_keeps_its_permissions() {
    let (_agent, client) = Agent::initialised().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sub/file");
    client
        .write_file(path.to_str().unwrap(), Some("daemon"), pieces(1))
        .await
        .unwrap();
    assert_eq!(
        (
            fs::metadata(&path).unwrap().uid(),
            fs::metadata(path.parent().unwrap()).unwrap().uid()
        ),
        (1, 1)
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    client
        .write_file(path.to_str().unwrap(), None, pieces(1))
        .await
        .unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (0, 0o4755));
}

#[tokio::test]
async fn a_broken_upload_leaves_the_old_file() {
    let (_agent, client) = Agent::initialised().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "old").unwrap();
    let alone = || fs::read_dir(dir.path()).unwrap().count() == 1;

    let broken = pieces(50).chain(futures::stream::iter([Err(io::Error::other(
        "the caller hung up",
    ))]));
    let result = client
        .write_file(path.to_str().unwrap(), None, broken)
        .await;
    assert!(matches!(result, Err(Error::Content(_))), "{result:?}");
    eventually("the unfinished file is gone", alone).await;
    assert_eq!(fs::read(&path).unwrap(), b"old");

    let endless = pieces(50).chain(futures::stream::pending());
    let upload = client.write_file(path.to_str().unwrap(), None, endless);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), upload)
            .await
            .is_err()
    );
    eventually("the unfinished file is gone", alone).await;
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[tokio::test]
async fn wrong_paths_are_refused() {
    let (_agent, client) = Agent::initialised().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let long = format!("/tmp/{}", "x".repeat(300));
    for (path, code) in [
        ("/no/such/file", RefusedCode::NotFound),
        ("/etc", RefusedCode::InvalidArgument),
        ("/", RefusedCode::InvalidArgument),
        ("/dev/null", RefusedCode::InvalidArgument),
        ("relative", RefusedCode::InvalidArgument),
        ("", RefusedCode::InvalidArgument),
        (&long, RefusedCode::InvalidArgument),
    ] {
        assert_eq!(
            refused(client.read_file(path, None).await),
            code,
            "reading {path}"
        );
    }
    for path in [
        "/etc",
        "/",
        "/dev/null",
        "relative",
        &long,
        file.join("below").to_str().unwrap(),
    ] {
        assert_eq!(
            refused(client.write_file(path, None, pieces(1)).await),
            RefusedCode::InvalidArgument,
            "writing {path}"
        );
    }
    let unknown = client
        .read_file(file.to_str().unwrap(), Some("no-such-user"))
        .await;
    assert_eq!(refused(unknown), RefusedCode::InvalidArgument);
}

/// A file system of one MiB.
struct Tiny(tempfile::TempDir);

impl Tiny {
    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(
            Some("none"),
            dir.path(),
            Some("tmpfs"),
            flags,
            Some("size=1m"),
        )
        .unwrap();
        Self(dir)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_is_told() {
    let (_agent, client) = Agent::initialised().await;
    let tiny = Tiny::mount();
    let path = tiny.0.path().join("file");
    fs::write(&path, "old").unwrap();
    let result = client
        .write_file(path.to_str().unwrap(), None, pieces(300))
        .await;
    assert_eq!(refused(result), RefusedCode::ResourceExhausted);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    eventually("the unfinished file is gone", || {
        fs::read_dir(tiny.0.path()).unwrap().count() == 1
    })
    .await;
}

/// Sends a form as E2B's clients do; the status and body of the answer.
async fn post_form(agent: &Agent, query: &str, form: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(agent.address).await.unwrap();
    let head = format!(
        "POST /files{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-access-token: {TOKEN}\r\n\
         content-type: multipart/form-data; boundary=B\r\ncontent-length: {}\r\n\r\n",
        form.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(form.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

fn part(name: &str, file_name: &str, content: &str) -> String {
    format!(
        "--B\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\n\r\n{content}\r\n"
    )
}

#[tokio::test]
async fn forms_bring_one_file_or_several() {
    let (agent, _client) = Agent::initialised().await;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("{}/{name}", dir.path().display());
    let form = format!(
        "{}{}--B--\r\n",
        part("file", &at("a"), "one"),
        part("file", &at("b/c"), "two")
    );
    let (status, body) = post_form(&agent, "", &form).await;
    assert_eq!(status, 200, "{body}");
    let entry =
        |name: &str, path: String| format!(r#"{{"name":"{name}","path":"{path}","type":"file"}}"#);
    assert_eq!(
        body,
        format!("[{},{}]", entry("a", at("a")), entry("c", at("b/c")))
    );
    assert_eq!(
        (
            fs::read_to_string(at("a")).unwrap(),
            fs::read_to_string(at("b/c")).unwrap()
        ),
        ("one".into(), "two".into())
    );

    let query = format!("?path={}", at("d"));
    assert_eq!(
        post_form(
            &agent,
            &query,
            &format!("{}--B--\r\n", part("file", "ignored", "x"))
        )
        .await
        .0,
        200
    );
    assert_eq!(
        post_form(&agent, &query, &form).await.0,
        400,
        "one path, two files"
    );
    assert_eq!(
        post_form(&agent, "", &format!("{}--B--\r\n", part("other", "x", "x")))
            .await
            .0,
        400
    );
    assert_eq!(
        post_form(&agent, "", &format!("{}--B--\r\n", part("file", "", "x")))
            .await
            .0,
        400
    );
    let (status, _) = post_form(&agent, "", &part("file", &at("cut"), "x")).await;
    assert_eq!(status, 400, "no end");
    assert!(!Path::new(&at("cut")).exists());
}
