//! The host's wall clock is set while sandboxes run, as by an administrator, by a time server, or by a machine's sleep.
//!
//! The machine's own clock stays as it is: the program under test is loaded with a library that gives it another one.

use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use wrenn_client::api::CreateSandbox;

use crate::harness::{Server, TestSandbox, until};

const DAY: i64 = 86_400;

/// Adds the seconds in a file to the wall clock, and leaves every other clock alone.
const LIBRARY: &str = r#"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static volatile long *ahead;
__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("WRENN_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED) ahead = map;
}
int clock_gettime(clockid_t id, struct timespec *now) {
    long done = syscall(SYS_clock_gettime, id, now);
    if (id == CLOCK_REALTIME && ahead) now->tv_sec += *ahead;
    return done;
}
"#;

/// A wall clock for the program under test.
struct Clock {
    dir: TempDir,
    ahead: File,
}

impl Clock {
    fn make() -> Self {
        let dir = TempDir::new().unwrap();
        // The control plane is another user's.
        let open = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let source = dir.path().join("clock.c");
        std::fs::write(&source, LIBRARY).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test's helper")]
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([dir.path().join("clock.so"), source])
            .status();
        assert!(compiled.unwrap().success());
        let ahead = File::create_new(dir.path().join("ahead")).unwrap();
        let clock = Self { dir, ahead };
        clock.set(0);
        clock
    }

    /// Sets it so many seconds ahead of the machine's.
    fn set(&self, ahead: i64) {
        self.ahead.write_all_at(&ahead.to_ne_bytes(), 0).unwrap();
    }

    fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("LD_PRELOAD", self.dir.path().join("clock.so")),
            ("WRENN_TEST_CLOCK", self.dir.path().join("ahead")),
        ]
    }
}

/// Seconds since the epoch, by the machine's own clock.
fn here() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    since.as_secs().try_into().unwrap()
}

/// Waits until the guest's clock is so far ahead of the machine's.
async fn guest_is_ahead(sandbox: &TestSandbox, ahead: i64) {
    until("the guest's clock", Duration::from_secs(60), || async {
        let there: i64 = sandbox.sh("date +%s").await.trim().parse().unwrap();
        ((there - here() - ahead).abs() <= 5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_is_set_ends_no_sandbox_and_guests_follow_it() {
    let clock = Clock::make();
    let server = Server::start_with_env(&clock.environment());
    let client = server.client();
    let request = CreateSandbox {
        timeout_sec: Some(15),
        on_timeout: Some("pause".to_owned()),
        ..CreateSandbox::default()
    };
    let watched = TestSandbox::create(&client).await;
    let idle = TestSandbox::create_with(&client, request).await;
    let times = async || {
        let now = idle.now().await;
        let [created, used, expires] = [Some(now.created_at), now.last_active_at, now.expires_at]
            .map(|time| time.unwrap().unix_ms() / 1000);
        (now.status, created, used, expires)
    };
    let (_, created, used, expires) = times().await;

    clock.set(DAY);
    guest_is_ahead(&watched, DAY).await;
    // What is told of a sandbox may be a second old.
    let then = until("the times", Duration::from_secs(10), || async {
        let then = times().await;
        ((then.2 - used - DAY).abs() <= 1).then_some(then)
    });
    let (status, created_still, _, expires_then) = then.await;
    assert_eq!((status.as_str(), created_still), ("running", created));
    assert!(
        (expires_then - expires - DAY).abs() <= 1,
        "{expires} became {expires_then}"
    );

    // Set back, it does not have to wait for the day to come again.
    clock.set(-DAY);
    guest_is_ahead(&watched, -DAY).await;
    idle.becomes("paused", Duration::from_secs(60)).await;
    assert_eq!(watched.now().await.status, "running");
    assert!(
        server.log().contains("the host's clock was set"),
        "{}",
        server.log()
    );
    idle.resume().await;
    guest_is_ahead(&idle, -DAY).await;
    for sandbox in [watched, idle] {
        sandbox.delete().await;
    }
}
