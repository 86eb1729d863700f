//! The agent under test: this very program, started anew as an agent over the fake VMM. A death of it is a real one.

use std::error::Error;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wrenn_agent::{Agent, Boot, DataDir, Failpoints, Host, Limits, Store, Warm};
use wrenn_testkit::vmm::FakeVmm;

/// How an argument begins that makes this program an agent; nothing else on the machine has it in its command line.
pub(crate) const ASKED: &str = "agent-under-test=";
/// The template of every sandbox.
pub(crate) const TEMPLATE: &str = "nothing";
/// How long an agent may take to die of what it was armed with.
const DEATH_LIMIT: Duration = Duration::from_secs(20);

/// Becomes an agent if this program was started as one.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let argument = std::env::args().nth(1)?;
    let dir = PathBuf::from(argument.strip_prefix(ASKED)?);
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_env_filter("info,wrenn_agent=debug")
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    Some(
        match runtime
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(serve(&dir)))
        {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error, "the agent under test ended");
                ExitCode::FAILURE
            }
        },
    )
}

async fn serve(dir: &Path) -> Result<(), Box<dyn Error>> {
    let data = DataDir::open(dir)?;
    let instance = data.instance().clone();
    let store = Store::open(data, &dir.join("cache")).await?;
    put_template(&dir.join("store/templates").join(TEMPLATE))?;
    let vmm = FakeVmm::open(instance, std::env::current_exe()?, &dir.join("store"))?;
    let boot = Boot {
        kernel: "no-kernel".into(),
        initrd: "no-initrd".into(),
    };
    let host = Host::with_vmm(
        store,
        (Arc::new(vmm), Arc::new(wrenn_disk::Qcow2)),
        boot,
        Default::default(),
    )
    .await?;
    // Its guests take nothing of what they are promised.
    let host = host.limited(Limits {
        memory_overcommit: "16".parse()?,
        ..Limits::default()
    })?;
    // Nothing of it is made before somebody asks.
    let host = host.warmed(Warm {
        images: 1 << 30,
        shapes: Vec::new(),
        slots: 0,
    });
    let failpoints = host.failpoints();
    thread::spawn(move || obey(&failpoints));
    let agent = Agent::start(host)?;
    agent.serve(CancellationToken::new()).await?;
    Ok(())
}

/// Each line arms what it says; an empty one asks whether all that was armed has been hit.
fn obey(failpoints: &Failpoints) {
    for line in io::stdin().lines() {
        let Ok(line) = line else { return };
        let answer = match line.as_str() {
            "" => Ok(failpoints.all_hit()),
            text => failpoints.arm(text).map(|()| true),
        };
        println!("{answer:?}");
    }
}

/// A template without an operating system: the fake VMM's guests need none.
fn put_template(folder: &Path) -> io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let aside = folder.with_extension("new");
    fs::create_dir_all(&aside)?;
    let disk = File::create(aside.join("disk.ext4"))?;
    disk.set_len(1 << 20)?;
    disk.set_permissions(Permissions::from_mode(0o444))?;
    let about = r#"{"image_id": "none", "recipe_key": "none", "created_unix_ms": 1}"#;
    fs::write(aside.join("template.json"), about)?;
    fs::rename(aside, folder)
}

/// An agent that runs. Dropping it leaves it alone.
#[derive(Debug)]
pub(crate) struct AgentProcess {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) began: Instant,
}

impl AgentProcess {
    /// Starts one on this data directory, with these faults armed from the beginning.
    #[expect(
        clippy::disallowed_methods,
        reason = "the test starts the program under test and ends it itself"
    )]
    pub(crate) fn start(dir: &Path, failpoints: &str) -> Self {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.with_extension("log"))
            .unwrap();
        let began = Instant::now();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(format!("{ASKED}{}", dir.display()))
            .env("WRENN_FAILPOINTS", failpoints)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            orders: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
            began,
        }
    }

    /// Arms these faults instead of those that were.
    pub(crate) fn arm(&mut self, failpoints: &str) {
        assert_eq!(self.order(failpoints), "Ok(true)", "{failpoints}");
    }

    /// Whether something comes by all that was armed; what is told before it is done may take a moment.
    pub(crate) async fn comes_by(&mut self) -> bool {
        for _ in 0..200 {
            if self.order("") == "Ok(true)" {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").expect("the agent takes orders");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    /// How much processor time it has taken.
    pub(crate) fn worked(&self) -> Duration {
        let threads = format!("/proc/{}/task", self.child.id());
        let threads = std::fs::read_dir(threads).unwrap().flatten();
        let of = |thread: std::fs::DirEntry| -> Option<u64> {
            let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            stat.split(' ').next()?.parse().ok()
        };
        Duration::from_nanos(threads.filter_map(of).sum())
    }

    /// Ends it as by a power cut.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has died of what it was armed with.
    pub(crate) async fn dies(&mut self) {
        let limit = Instant::now() + DEATH_LIMIT;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < limit, "the agent lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
