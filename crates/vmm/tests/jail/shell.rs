//! A shell in the VMM's place: what it sees of the host, and what the host sees of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use wrenn_sys::process::Exit;
use wrenn_vmm::Error;
use wrenn_vmm::jail::{Inhabitant, JailSpec, Zygote};

use super::cell::{Cell, UID, example};

#[tokio::test]
async fn the_jail_shows_what_was_given_and_nothing_else() {
    let cell = Cell::shell(
        "for f in /* /vm/* /dev/* /lib/*; do echo $f; done; hostname; id -u; id -g; id -G; echo pid $$; env; ulimit -c; \
         cat /lib/link; echo; head -c 4 /dev/urandom > /dev/null && echo random",
    );
    let (exit, said) = cell.run(&[]).await;
    cell.end().await;
    assert_eq!(exit, Exit::Code(0), "{said}");
    let lines: Vec<_> = said.lines().collect();
    let (files, rest) = lines.split_at(12);
    assert_eq!(
        files,
        [
            "/bin",
            "/dev",
            "/lib",
            "/vm",
            "/vm/no-program",
            "/vm/read",
            "/vm/write",
            "/dev/null",
            "/dev/urandom",
            "/lib/link",
            "vm",
            &UID.to_string(),
        ]
    );
    let uid = UID.to_string();
    assert_eq!(rest[..3], [&*uid, &*uid, "pid 1"]);
    assert!(
        rest.contains(&"ONLY=this") && !said.contains("CARGO"),
        "{said}"
    );
    assert_eq!(rest[rest.len() - 3..], ["0", "secret", "random"]);
}

#[tokio::test]
async fn nothing_can_be_changed_but_the_own_file() {
    let cell = Cell::shell(
        "t() { \"$@\" 2>/dev/null && echo \"$1 $2 worked\"; }\n\
         t touch /new; t touch /vm/new; t rm /vm/read; t mkdir /dev/x; t mknod /vm/node b 8 0; t chmod 777 /vm/read\n\
         t sh -c 'echo x > /vm/read'; t /vm/no-program true; t mount -t tmpfs x /vm; t chroot /; t kill -9 -1\n\
         t sh -c 'echo x > /bin/busybox'; t hostname evil; t ifconfig lo up\n\
         t touch /vm/write; echo changed > /vm/write; echo end",
    );
    let (exit, said) = cell.run(&[]).await;
    cell.end().await;
    assert_eq!(said, "touch /vm/write worked\nend\n");
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(fs::read_to_string(cell.path("write")).unwrap(), "changed\n");
    assert_eq!(fs::read_to_string(cell.path("read")).unwrap(), "secret");
}

#[tokio::test]
async fn the_host_sees_a_process_without_any_power() {
    let (socket, other) = UnixStream::pair().unwrap();
    let cell = Cell::shell("sleep 600 & wait");
    let jailed = cell.start(&[socket.into()]).await.unwrap();
    let pid = jailed.process.pid();
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let status = read("status");
    for line in [
        format!("Uid:\t{UID}\t{UID}\t{UID}\t{UID}\n"),
        format!("Gid:\t{UID}\t{UID}\t{UID}\t{UID}\n"),
        "Groups:\t \n".into(),
        format!("PPid:\t{}\n", std::process::id()),
        format!("NSpid:\t{pid}\t1\n"),
        format!("NSsid:\t{pid}\t1\n"),
        "CapInh:\t0000000000000000\n".into(),
        "CapPrm:\t0000000000000000\n".into(),
        "CapEff:\t0000000000000000\n".into(),
        "CapBnd:\t0000000000000000\n".into(),
        "CapAmb:\t0000000000000000\n".into(),
        "NoNewPrivs:\t1\n".into(),
    ] {
        assert!(status.contains(&line), "{line:?} is not in {status}");
    }
    for kind in ["mnt", "pid", "ipc", "uts", "net", "cgroup"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_ne!(of(&pid.to_string()), of("self"), "{kind}");
    }
    let links = read("net/dev")
        .lines()
        .skip(2)
        .map(|line| line.trim().to_owned())
        .collect::<Vec<_>>();
    assert!(links.len() == 1 && links[0].starts_with("lo:"), "{links:?}");
    let mounts = read("mountinfo");
    assert_eq!(mounts.lines().count(), 5, "{mounts}");
    assert!(
        !fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains(cell.dir.path().to_str().unwrap())
    );
    let mut open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2", "3"]);
    assert_eq!(
        fs::metadata(format!("/proc/{pid}/fd/0")).unwrap().rdev(),
        fs::metadata("/dev/null").unwrap().rdev()
    );

    // Its first process takes all others along.
    jailed.process.kill().unwrap();
    assert_eq!(jailed.process.ended().await, Exit::Signal(9));
    cell.end().await;
    drop(other);
}

fn runs(spec: &mut JailSpec, program: &str) {
    if let Inhabitant::Program { path, .. } = &mut spec.inhabitant {
        *path = program.into();
    }
}

#[tokio::test]
async fn a_jail_that_can_not_be_made_says_why_and_leaves_nobody() {
    type Change = fn(&mut JailSpec);
    let broken: [(&str, Change); 7] = [
        ("root", |spec| {
            spec.uid = 0;
        }),
        ("running /absent", |spec| {
            runs(spec, "/absent");
        }),
        ("running /vm/no-program", |spec| {
            runs(spec, "/vm/no-program");
        }),
        ("no place in a jail", |spec| {
            spec.mounts[0].to = "../../etc/passwd".into();
        }),
        ("mounting /absent", |spec| {
            spec.mounts[0].from = "/absent".into();
        }),
        ("joining /absent", |spec| {
            spec.cgroup.tasks = vec!["/absent".into()];
        }),
        ("joining /absent", |spec| {
            spec.cgroup.birthplace = Some("/absent".into());
        }),
    ];
    for (expected, change) in broken {
        let mut cell = Cell::shell("true");
        change(&mut cell.spec);
        let error = cell.start(&[]).await.expect_err(expected);
        assert!(
            matches!(&error, Error::Jail(why) if why.contains(expected)),
            "{error}, not {expected}"
        );
        assert_eq!(fs::read_dir(&cell.spec.root).unwrap().count(), 0);
        cell.end().await;
        assert!(!cell.cgroup.exists());
        assert_no_child().await;
    }
}

#[tokio::test]
async fn a_helper_that_is_no_helper_is_an_error() {
    let cell = Cell::shell("true");
    let with = |helper| Zygote::new(Path::new(helper));
    let error = cell.start_by(&with("/absent"), &[]).await.unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let error = cell.start_by(&with("/bin/true"), &[]).await.unwrap_err();
    assert!(
        matches!(error, Error::Jail(_) | Error::Io { .. }),
        "{error}"
    );
    cell.end().await;
}

#[tokio::test]
async fn one_zygote_makes_many_jails_at_once_and_one_that_died_is_replaced() {
    // Under a name of its own, by which it is told from those of other tests.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("zygote");
    fs::copy(example("jail"), &program).unwrap();
    let zygote = Zygote::new(&program);
    for _ in 0..3 {
        let cells: Vec<_> = (0..8).map(|n| Cell::shell(&format!("echo {n}"))).collect();
        let runs = cells.iter().map(|cell| async {
            let jailed = cell.start_by(&zygote, &[]).await.unwrap();
            let exit = jailed.process.ended().await;
            (exit, fs::read_to_string(cell.path("log")).unwrap())
        });
        let runs = futures::future::join_all(runs).await;
        for (n, (exit, said)) in runs.into_iter().enumerate() {
            assert_eq!((exit, said), (Exit::Code(0), format!("{n}\n")));
        }
        for cell in &cells {
            cell.end().await;
        }
        kill_children("zygote");
    }
}

/// Of this process and this name, which a program in a jail has only before it becomes that.
fn kill_children(name: &str) {
    for pid in children(name) {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

fn children(name: &str) -> Vec<i32> {
    let me = format!("PPid:\t{}\n", std::process::id());
    let name = format!("Name:\t{name}\n");
    let is_child = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/status"))
            .is_ok_and(|status| status.contains(&me) && status.starts_with(&name))
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(is_child)
        .collect()
}

/// A child that failed before it became anything is reaped soon.
async fn assert_no_child() {
    let began = Instant::now();
    loop {
        let left = children("jail").len();
        if left == 0 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{left} are left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
