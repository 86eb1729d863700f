//! A program that knows what to try: each way out, and the kernel's answer. `docs/jail.md` is the table.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use wrenn_sys::process::Exit;

use super::cell::{Cell, FILE_SIZE, PIDS, UID};

/// A TAP in a namespace of its own, which ends with it.
fn lonely_tap() -> OwnedFd {
    let made = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        wrenn_sys::tap::create("tap0", [2, 0xfc, 0, 0, 0, 1]).unwrap()
    });
    made.join().unwrap()
}

/// Whether all that was tried got this answer, and that something was.
fn all_got(report: &Value, what: &str, expected: &str) {
    let answers = report[what].as_object().unwrap();
    let wrong: BTreeMap<_, _> = answers
        .iter()
        .filter(|(_, said)| **said != expected)
        .collect();
    assert!(wrong.is_empty(), "not {expected}: {wrong:?}");
    assert!(answers.len() > 4, "{what}: {answers:?}");
}

#[tokio::test]
async fn every_way_out_is_closed() {
    let (socket, _other) = UnixStream::pair().unwrap();
    let cell = Cell::escape(&["look", &std::process::id().to_string()]);
    let (exit, said) = cell.run(&[socket.into(), lonely_tap()]).await;
    assert_eq!(exit, Exit::Code(0), "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();

    all_got(&report, "calls", "EPERM");
    all_got(&report, "list", "refused");
    all_got(&report, "sockets", "EPERM");
    all_got(&report, "requests", "EPERM");
    all_got(&report, "opens", "ENOENT");
    // The same program can do what a VMM has to: it is not that nothing works.
    all_got(&report, "allowed", "done");
    let others = json!({
        "end a process of the host": "ESRCH",
        "end all processes": "ESRCH",
        "clone in the new way": "ENOSYS",
        "allow new privileges": "EINVAL",
        "keep a capability": "EPERM",
        "take the CPU before others": "EACCES",
        "read root's file": "EACCES",
        "write root's file": "EACCES",
        "give its file away": "EPERM",
        "write what is to be read": "EROFS",
        "write the root": "EROFS",
        "write beside its file": "EROFS",
        "lock much memory": "EAGAIN",
        "outgrow its file": "EFBIG",
        "become root by a setuid program": UID.to_string(),
    });
    assert_eq!(report["others"], others);
    assert_eq!(fs::read(cell.path("write")).unwrap(), b"changed");
    assert_eq!(fs::read(cell.path("foreign")).unwrap(), b"root's");
    cell.end().await;
}

#[tokio::test]
async fn it_finds_what_it_was_given_and_nothing_else() {
    let (socket, _other) = UnixStream::pair().unwrap();
    let cell = Cell::escape(&["look"]);
    let (exit, said) = cell.run(&[socket.into()]).await;
    assert_eq!(exit, Exit::Code(0), "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    let surroundings = json!({
        "pid": 1,
        "parent": null,
        "uids": [UID, UID],
        "gids": [UID, UID],
        "groups": 0,
        "environment": { "LD_LIBRARY_PATH": "/lib" },
        "descriptors": [0, 1, 2, 3],
        "umask": 0o077,
        "host": "vm",
        "directory": "/",
        "core": [1, 1],
        "open files": [256, 256],
        "file size": [FILE_SIZE, FILE_SIZE],
    });
    assert_eq!(report["surroundings"], surroundings);

    let files = report["files"].as_object().unwrap();
    let (libraries, rest): (Vec<_>, Vec<_>) =
        files.iter().partition(|(path, _)| path.starts_with("/lib"));
    let expected = [
        ("/dev", "r-x"),
        ("/dev/null", "rw-"),
        ("/dev/urandom", "r--"),
        ("/vm", "r-x"),
        ("/vm/escape", "r-x"),
        ("/vm/foreign", "---"),
        ("/vm/read", "r--"),
        ("/vm/setuid", "r-x"),
        ("/vm/write", "rw-"),
    ];
    let rest: Vec<_> = rest
        .iter()
        .map(|(path, rights)| (path.as_str(), rights.as_str().unwrap()))
        .collect();
    assert_eq!(rest, expected);
    assert!(!libraries.is_empty());
    let writable = |rights: &Value| rights.as_str().unwrap().contains('w');
    assert!(!libraries.iter().any(|(_, rights)| writable(rights)));
    cell.end().await;
}

#[tokio::test]
async fn processes_are_bounded() {
    let cell = Cell::escape(&["fork"]);
    let (exit, said) = cell.run(&[]).await;
    assert_eq!(exit, Exit::Code(0), "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report, json!({ "children": PIDS - 1, "why": "EAGAIN" }));
    cell.end().await;
}

#[tokio::test]
async fn memory_is_bounded_and_a_neighbour_lives_on() {
    let neighbour = Cell::shell("sleep 600 & wait");
    let beside = neighbour.start(&[]).await.unwrap();
    let cell = Cell::escape(&["memory"]);
    let (exit, said) = cell.run(&[]).await;
    assert_eq!(exit, Exit::Signal(libc::SIGKILL), "{said}");
    assert!(cell.cgroup.oom_kills() > 0);
    assert_eq!(neighbour.cgroup.oom_kills(), 0);
    assert_eq!(beside.process.exit(), None);
    cell.end().await;
    neighbour.end().await;
}

#[tokio::test]
async fn the_host_sees_the_filter_and_that_a_vm_goes_first() {
    let cell = Cell::shell("sleep 600 & wait");
    let jailed = cell.start(&[]).await.unwrap();
    let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", jailed.process.pid()));
    let status = read("status").unwrap();
    assert!(status.contains("Seccomp:\t2\n"), "{status}");
    assert_eq!(read("oom_score_adj").unwrap(), "500\n");
    // It can't move: the groups' files are nowhere in its sight, and on the host it stays where it was put.
    let groups = wrenn_sys::process::cgroups(jailed.process.pid()).unwrap();
    assert!(groups.contains(&cell.cgroup.path()), "{groups:?}");
    cell.end().await;
}
