//! Commands, through the real agent and the host's client.
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Agent, collect, eventually, is_alive, run, sh};
use wrenn_envd_client::{
    EnvdClient, Error, ProcessEvent, ProcessStream, RefusedCode, Spool, Start,
};
use wrenn_model::TerminalSize;

/// The pid in a stream's first event.
async fn pid(stream: &mut ProcessStream) -> u32 {
    match stream.next().await.unwrap() {
        Some(ProcessEvent::Start { pid }) => pid,
        other => panic!("no start event: {other:?}"),
    }
}

/// The next piece of standard output, as a number.
async fn printed(stream: &mut ProcessStream) -> u32 {
    match stream.next().await.unwrap() {
        Some(ProcessEvent::Stdout(data)) => {
            std::str::from_utf8(&data).unwrap().trim().parse().unwrap()
        }
        other => panic!("no output: {other:?}"),
    }
}

fn refused(result: Result<ProcessStream, Error>) -> RefusedCode {
    match result {
        Err(Error::Refused { code, .. }) => code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn exit_codes_and_both_streams_come_through() {
    let (_agent, client) = Agent::initialised().await;
    let output = run(&client, "echo out; echo err >&2; exit 3").await;
    assert_eq!(
        (output.text(), &output.stderr[..], output.exit_code),
        ("out\n", &b"err\n"[..], 3)
    );
    assert_eq!(output.status, "exit status 3");
    let output = run(&client, "kill -SEGV $$").await;
    assert_eq!(
        (output.exit_code, output.status.as_str()),
        (139, "signal: segmentation fault")
    );
    let output = run(&client, "true").await;
    assert_eq!((output.exit_code, output.stdout.len()), (0, 0));
}

#[tokio::test]
async fn the_last_words_of_a_command_are_never_lost() {
    let (_agent, client) = Agent::initialised().await;
    for length in [1, 700, 65_536, 65_537, 131_840].repeat(40) {
        let output = run(
            &client,
            &format!("head -c {length} /dev/zero; printf end >&2"),
        )
        .await;
        assert_eq!(
            (output.stdout.len(), &output.stderr[..]),
            (length, &b"end"[..])
        );
    }
}

#[tokio::test]
async fn the_environment_is_the_sandboxs_own() {
    let (_agent, client) = Agent::initialised().await;
    let mut start = Start {
        cmd: "env".to_owned(),
        cwd: Some("/tmp".to_owned()),
        ..Start::default()
    };
    start.envs = BTreeMap::from([("MINE".to_owned(), "yes".to_owned())]);
    let output = collect(client.start(start).await.unwrap()).await.unwrap();
    let env: BTreeMap<&str, &str> = output
        .text()
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let expected = [
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("LOGNAME", "root"),
        ("MINE", "yes"),
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("SHELL", "/bin/bash"),
        ("USER", "root"),
        ("WRENN_SANDBOX", "true"),
        ("WRENN_SANDBOX_ID", "sb-test"),
        ("WRENN_TEMPLATE_ID", "minimal"),
    ];
    assert_eq!(env, BTreeMap::from(expected));
}

#[tokio::test]
async fn a_command_runs_as_its_user_in_its_home_and_own_session() {
    let (_agent, client) = Agent::initialised().await;
    let mut start = sh(
        "id -un; id -G; pwd; echo $$; ps -o sid= -p $$; ls -l /proc/self/fd | wc -l; echo again > /dev/stdout",
    );
    start.user = Some("daemon".to_owned());
    let output = collect(client.start(start).await.unwrap()).await.unwrap();
    let lines: Vec<&str> = output.text().lines().map(str::trim).collect();
    assert_eq!(&lines[..3], ["daemon", "1", "/usr/sbin"], "{output:?}");
    assert_eq!(lines[3], lines[4], "leader of a session of its own");
    // The total, the three standard streams, and the directory that `ls` reads.
    assert_eq!(lines[5], "5", "no descriptor of the agent is inherited");
    assert_eq!(lines[6], "again");
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_its_reason() {
    let (_agent, client) = Agent::initialised().await;
    let start = |cmd: &str, cwd: Option<&str>, user: Option<&str>| Start {
        cmd: cmd.to_owned(),
        cwd: cwd.map(str::to_owned),
        user: user.map(str::to_owned),
        ..Start::default()
    };
    for (asked, code) in [
        (start("no-such-program", None, None), RefusedCode::NotFound),
        (start("/no/such/program", None, None), RefusedCode::NotFound),
        (
            start("/etc/passwd", None, None),
            RefusedCode::PermissionDenied,
        ),
        (start("", None, None), RefusedCode::InvalidArgument),
        (
            start("true", Some("/none"), None),
            RefusedCode::InvalidArgument,
        ),
        (
            start("true", Some("/etc/passwd"), None),
            RefusedCode::InvalidArgument,
        ),
        (
            start("true", Some("/root"), Some("daemon")),
            RefusedCode::PermissionDenied,
        ),
        (
            start("true", None, Some("no-such-user")),
            RefusedCode::InvalidArgument,
        ),
        (start("a\0b", None, None), RefusedCode::InvalidArgument),
    ] {
        assert_eq!(
            refused(client.start(asked.clone()).await),
            code,
            "{asked:?}"
        );
    }
    assert!(client.processes().await.unwrap().is_empty());
}

#[tokio::test]
async fn input_reaches_the_command_until_it_is_closed() {
    let (_agent, client) = Agent::initialised().await;
    let start = Start {
        cmd: "cat".to_owned(),
        stdin: true,
        ..Start::default()
    };
    let mut stream = client.start(start).await.unwrap();
    let pid = pid(&mut stream).await;
    let big = Bytes::from(vec![b'x'; 1 << 20]);
    let (sent, output) = tokio::join!(
        async {
            client
                .send_input(pid, Bytes::from_static(b"hello "))
                .await
                .unwrap();
            client.send_input(pid, big.clone()).await.unwrap();
            client.close_stdin(pid).await
        },
        collect(stream)
    );
    sent.unwrap();
    let output = output.unwrap();
    assert_eq!(output.stdout.len(), 6 + big.len());
    assert!(output.stdout.starts_with(b"hello x"));
    let late = client.send_input(pid, Bytes::from_static(b"x")).await;
    assert!(matches!(
        late,
        Err(Error::Refused {
            code: RefusedCode::NotFound,
            ..
        })
    ));
}

#[tokio::test]
async fn without_input_a_command_reads_an_end_of_file() {
    let (_agent, client) = Agent::initialised().await;
    assert_eq!(run(&client, "cat; echo over").await.text(), "over\n");
}

#[tokio::test]
async fn signals_reach_the_process_group() {
    let (_agent, client) = Agent::initialised().await;
    let mut stream = client
        .start(sh(
            "trap 'echo caught; exit 7' INT; echo 1; sleep 60 & wait",
        ))
        .await
        .unwrap();
    let pid = pid(&mut stream).await;
    printed(&mut stream).await;
    client.signal(pid, libc_sigint()).await.unwrap();
    let output = collect(stream).await.unwrap();
    assert_eq!((output.text(), output.exit_code), ("caught\n", 7));
    let wrong = client.signal(pid, 2).await;
    assert!(matches!(
        wrong,
        Err(Error::Refused {
            code: RefusedCode::NotFound,
            ..
        })
    ));
}

fn libc_sigint() -> i32 {
    nix::sys::signal::Signal::SIGINT as i32
}

#[tokio::test]
async fn a_kill_takes_everything_with_it() {
    let (_agent, client) = Agent::initialised().await;
    let script = "setsid sh -c 'trap \"\" TERM HUP; echo $$; sleep 60; sleep 60' & sleep 60";
    let mut stream = client.start(sh(script)).await.unwrap();
    let pid = pid(&mut stream).await;
    let grandchild = printed(&mut stream).await;
    assert!(is_alive(grandchild));
    client.signal(pid, 9).await.unwrap();
    let output = collect(stream).await.unwrap();
    assert_eq!(
        (output.exit_code, output.status.as_str()),
        (137, "signal: killed")
    );
    assert!(!is_alive(grandchild), "killed before the end is told");
}

#[tokio::test]
async fn a_time_limit_kills_everything_and_keeps_the_output() {
    let (agent, client) = Agent::initialised().await;
    let mut start = sh("(setsid sh -c 'echo $$; sleep 60') & sleep 60");
    start.timeout = Some(Duration::from_millis(500));
    let began = Instant::now();
    let mut stream = client.start(start).await.unwrap();
    pid(&mut stream).await;
    let grandchild = printed(&mut stream).await;
    assert!(matches!(stream.next().await, Err(Error::TimedOut)));
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert!(!is_alive(grandchild));
    assert!(matches!(stream.next().await, Ok(None)));
    let groups = || {
        std::fs::read_dir(&agent.cgroup)
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .count()
    };
    run(&client, "true").await;
    eventually("all control groups are gone", || groups() <= 1).await;
}

#[tokio::test]
async fn a_time_limit_holds_while_nobody_reads() {
    let (_agent, client) = Agent::initialised().await;
    let mut start = sh("echo $$; exec yes");
    start.timeout = Some(Duration::from_millis(500));
    let mut stream = client.start(start).await.unwrap();
    let pid = pid(&mut stream).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(is_alive(pid));
    eventually("the command is killed", || !is_alive(pid)).await;
    assert!(matches!(collect(stream).await, Err(Error::TimedOut)));
}

#[tokio::test]
async fn what_runs_in_the_background_neither_delays_the_end_nor_dies_of_it() {
    let (_agent, client) = Agent::initialised().await;
    let script = "(while sleep 0.05; do echo noise || exit; done) & echo $!; exit 4";
    let began = Instant::now();
    let output = run(&client, script).await;
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(output.exit_code, 4);
    let background: u32 = output.text().lines().next().unwrap().parse().unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(is_alive(background), "it may go on writing");
}

#[tokio::test]
async fn a_slow_reader_holds_the_command_back() {
    let (_agent, client) = Agent::initialised().await;
    let mut stream = client
        .start(sh("yes | head -c 300000000; echo done >&2"))
        .await
        .unwrap();
    let pid = pid(&mut stream).await;
    let written = || {
        let io = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        io.split_whitespace().count()
    };
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(written() > 0, "the command waits for its reader");
    let memory = resident(&_agent.address);
    assert!(memory < 64 << 20, "the agent holds {memory} bytes");
    let output = collect(stream).await.unwrap();
    assert_eq!(output.stdout.len(), 300_000_000);
}

/// How much memory the agent that listens on this address holds.
fn resident(address: &std::net::SocketAddr) -> usize {
    let port = format!(":{:04X}", address.port());
    let tcp = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let inode = tcp
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields[1].ends_with(&port) && fields[3] == "0A")
        .map(|fields| fields[9].to_owned())
        .unwrap();
    let holds = |pid: &str| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        fds.filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .any(|to| to.as_os_str() == format!("socket:[{inode}]").as_str())
    };
    let pid = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .find(|pid| pid.parse::<u32>().is_ok() && holds(pid))
        .unwrap();
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn a_command_outlives_its_stream_and_is_taken_up_again() {
    let (_agent, client) = Agent::initialised().await;
    let mut stream = client
        .start(sh("while sleep 0.05; do echo tick; done"))
        .await
        .unwrap();
    let pid = pid(&mut stream).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let list = client.processes().await.unwrap();
    assert_eq!(list.iter().map(|info| info.pid).collect::<Vec<_>>(), [pid]);
    assert_eq!((list[0].cmd.as_str(), list[0].args.len()), ("/bin/sh", 2));
    let mut again = client.connect(pid).await.unwrap();
    assert_eq!(
        again.next().await.unwrap(),
        Some(ProcessEvent::Start { pid })
    );
    assert_eq!(
        again.next().await.unwrap(),
        Some(ProcessEvent::Stdout(Bytes::from_static(b"tick\n")))
    );
    client.signal(pid, 15).await.unwrap();
    assert_eq!(collect(again).await.unwrap().exit_code, 143);
    assert!(client.processes().await.unwrap().is_empty());
    let late = collect(client.connect(pid).await.unwrap()).await.unwrap();
    assert_eq!((late.pid, late.exit_code), (pid, 143), "its end is kept");
    assert!(late.stdout.is_empty());
    assert_eq!(refused(client.connect(1).await), RefusedCode::NotFound);
}

#[tokio::test]
async fn a_command_that_ends_while_nobody_listens_tells_its_end_later() {
    let (_agent, client) = Agent::initialised().await;
    let mut stream = client.start(sh("echo lost; exit 5")).await.unwrap();
    let pid = pid(&mut stream).await;
    drop(stream);
    eventually("the command has ended", || !is_alive(pid)).await;
    let output = collect(client.connect(pid).await.unwrap()).await.unwrap();
    assert_eq!(
        (output.exit_code, output.status.as_str()),
        (5, "exit status 5")
    );
    let input = client.send_input(pid, Bytes::from_static(b"x")).await;
    assert!(matches!(
        input,
        Err(Error::Refused {
            code: RefusedCode::NotFound,
            ..
        })
    ));
}

#[tokio::test]
async fn output_that_is_too_long_stands_whole_in_a_file() {
    let (_agent, client) = Agent::initialised().await;
    let dir = tempfile::tempdir().unwrap();
    let spooled = async |script: &str, name: &str| {
        let mut start = sh(script);
        start.spool = Some(Spool {
            prefix: dir.path().join(name),
            after: 8 << 20,
        });
        collect(client.start(start).await.unwrap()).await.unwrap()
    };
    let output = spooled("seq 1 2000000; seq 1 1000 >&2", "long").await;
    assert!(output.stdout.len() > 8 << 20);
    assert_eq!(
        std::fs::read(dir.path().join("long.stdout")).unwrap(),
        output.stdout
    );
    assert!(!dir.path().join("long.stderr").exists());
    spooled("seq 1 500000", "short").await;
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_hundred_commands_at_once() {
    let (_agent, client) = Agent::initialised().await;
    let one = async |client: EnvdClient, number: i32| {
        let output = run(&client, &format!("echo {number}; exit {}", number % 7)).await;
        assert_eq!(
            (output.text().trim().parse(), output.exit_code),
            (Ok(number), number % 7)
        );
    };
    futures::future::join_all((0..100).map(|number| one(client.clone(), number))).await;
    assert!(client.processes().await.unwrap().is_empty());
}

#[tokio::test]
async fn orphans_are_collected() {
    let (_agent, client) = Agent::initialised().await;
    let output = run(&client, "(sleep 0.1 & echo $!)").await;
    let orphan: u32 = output.text().trim().parse().unwrap();
    eventually("the orphan is not even a zombie", || {
        !std::path::Path::new(&format!("/proc/{orphan}")).exists()
    })
    .await;
}

/// A shell command on a terminal.
async fn on_terminal(client: &EnvdClient, command: &str, cols: u16, rows: u16) -> ProcessStream {
    let start = Start {
        terminal: Some(TerminalSize { cols, rows }),
        ..sh(command)
    };
    client.start(start).await.unwrap()
}

/// What a terminal shows, until it has shown this.
async fn shows(stream: &mut ProcessStream, until: &str) -> String {
    let mut shown = Vec::new();
    loop {
        match stream.next().await.unwrap() {
            Some(ProcessEvent::Stdout(data)) => shown.extend_from_slice(&data),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&shown)),
        }
        let text = String::from_utf8_lossy(&shown);
        if text.contains(until) {
            return text.into_owned();
        }
    }
}

#[tokio::test]
async fn a_terminal_is_what_a_command_finds_and_may_change_its_size() {
    let (_agent, client) = Agent::initialised().await;
    let command = "test -t 0 && test -t 1 && test -t 2 && stty size && echo $TERM; \
        trap 'stty size; exit 7' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut stream = on_terminal(&client, command, 100, 40).await;
    let pid = pid(&mut stream).await;
    let shown = shows(&mut stream, "ready").await;
    assert!(shown.contains("40 100\r\nxterm-256color\r\n"), "{shown:?}");
    let larger = TerminalSize {
        cols: 132,
        rows: 50,
    };
    client.resize(pid, larger).await.unwrap();
    let end = collect(stream).await.unwrap();
    assert_eq!((end.text(), end.exit_code), ("50 132\r\n", 7));
}

#[tokio::test]
async fn keys_reach_a_terminal_and_ctrl_c_ends_what_runs_in_front() {
    let (_agent, client) = Agent::initialised().await;
    let mut stream = on_terminal(&client, "cat; echo \"cat: $?\"; cat", 80, 24).await;
    let pid = pid(&mut stream).await;
    client.send_input(pid, "hello\n".into()).await.unwrap();
    // Once as it is typed, once as `cat` says it.
    shows(&mut stream, "hello\r\nhello\r\n").await;
    // What is typed has no end, but Ctrl-D is taken for one.
    let closed = client.close_stdin(pid).await;
    assert!(matches!(closed, Err(Error::Refused { .. })), "{closed:?}");
    client.send_input(pid, "\x04".into()).await.unwrap();
    shows(&mut stream, "cat: 0").await;
    client.send_input(pid, "\x03".into()).await.unwrap();
    let end = collect(stream).await.unwrap();
    assert_eq!(end.exit_code, 130, "{end:?}");
    // It is the user's who runs the command, and gone with it.
    let start = Start {
        user: Some("nobody".into()),
        terminal: Some(TerminalSize { cols: 80, rows: 24 }),
        ..sh("stat -c %U $(tty); echo over > $(tty)")
    };
    let output = collect(client.start(start).await.unwrap()).await.unwrap();
    assert_eq!(output.text(), "nobody\r\nover\r\n");
    let pipes = run(&client, "tty").await;
    assert_eq!(pipes.text(), "not a tty\n");
}

#[tokio::test]
async fn all_that_a_terminal_shows_comes_before_the_end() {
    let (_agent, client) = Agent::initialised().await;
    for _ in 0..10 {
        let stream = on_terminal(&client, "seq 1 20000", 80, 24).await;
        let output = collect(stream).await.unwrap();
        let numbers: Vec<u32> = output
            .text()
            .lines()
            .map(|line| line.trim().parse().unwrap())
            .collect();
        assert_eq!(numbers, (1..=20_000).collect::<Vec<u32>>());
        assert_eq!(output.exit_code, 0);
    }
    // Who has pipes has no terminal to resize.
    let mut stream = client.start(sh("sleep 9")).await.unwrap();
    let pid = pid(&mut stream).await;
    let size = TerminalSize { cols: 1, rows: 1 };
    assert!(client.resize(pid, size).await.is_err());
}
