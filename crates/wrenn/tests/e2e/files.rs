//! Files in and out.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use wrenn_client::Error;

use crate::harness::{TestSandbox, shared};

async fn write(sandbox: &TestSandbox, path: &str, content: Vec<u8>) -> Result<(), Error> {
    let pieces: Vec<_> = content
        .chunks(100_000)
        .map(Bytes::copy_from_slice)
        .map(Ok::<_, std::io::Error>)
        .collect();
    sandbox
        .client
        .write_file(&sandbox.id, path, stream::iter(pieces))
        .await
}

async fn read(sandbox: &TestSandbox, path: &str) -> Result<Vec<u8>, Error> {
    let content = sandbox.client.read_file(&sandbox.id, path).await?;
    content
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
}

/// Bytes that no compression and no repetition hides a mistake in.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    for length in [0, 1, 65_536, 5_000_001] {
        let content = noise(length);
        write(&sandbox, "/root/made/on the way/ä.bin", content.clone())
            .await
            .unwrap();
        assert!(
            read(&sandbox, "/root/made/on the way/ä.bin").await.unwrap() == content,
            "{length} bytes"
        );
    }
    assert_eq!(
        sandbox
            .sh("stat -c '%U %s' '/root/made/on the way/ä.bin'")
            .await,
        "root 5000001\n"
    );
    sandbox.delete().await;
}

#[tokio::test]
async fn what_cannot_be_read_or_written_is_refused() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    let code = |error: Error| error.api().map(|api| api.code.clone());
    for (path, expected) in [
        ("/absent", "not_found"),
        ("/etc", "invalid_request"),
        ("etc/hostname", "invalid_request"),
    ] {
        assert_eq!(
            code(read(&sandbox, path).await.unwrap_err()).as_deref(),
            Some(expected),
            "{path}"
        );
    }
    for (path, expected) in [("/etc", "invalid_request"), ("tmp/x", "invalid_request")] {
        let error = write(&sandbox, path, b"x".to_vec()).await.unwrap_err();
        assert_eq!(code(error).as_deref(), Some(expected), "{path}");
    }
    sandbox.delete().await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_the_old_file() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    write(&sandbox, "/root/kept", b"old".to_vec())
        .await
        .unwrap();
    let broken = stream::iter([
        Ok(Bytes::from(noise(1 << 20))),
        Err(std::io::Error::other("gone")),
    ]);
    let slow = broken.then(|chunk| async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        chunk
    });
    assert!(
        sandbox
            .client
            .write_file(&sandbox.id, "/root/kept", slow)
            .await
            .is_err()
    );
    assert_eq!(read(&sandbox, "/root/kept").await.unwrap(), b"old");
    assert_eq!(
        sandbox.sh("ls -A /root | grep -c kept").await,
        "1\n",
        "nothing half is left beside it"
    );
    sandbox.delete().await;
}
