//! Who gets a place on a small host, and that all who have one can use what they were promised.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wrenn_client::api::{CreateSandbox, ResumeRequest};
use wrenn_client::{ApiError, Client, Error};

use crate::harness::{Server, TestSandbox, request};

/// What guests are promised together, in MiB: enough for three small ones, or for two large ones, with what runs them.
const BUDGET_MIB: u64 = 1800;
const SMALL: i64 = 128;
const LARGE: i64 = 512;
/// How many ask at once.
const CROWD: usize = 30;

/// Where the kernel counts the memory of all VMs of an installation, by its files' names: limit, rest.
struct Groups {
    parent: PathBuf,
    one: bool,
}

impl Groups {
    fn of(data: &Path) -> Self {
        let instance = std::fs::read_to_string(data.join("instance")).unwrap();
        let name = format!("wrenn-{}", instance.trim());
        let first = Path::new("/sys/fs/cgroup/memory").join(&name);
        let one = first.exists();
        let second = Path::new("/sys/fs/cgroup").join(&name);
        Self {
            parent: if one { first } else { second },
            one,
        }
    }

    fn each(&self, file: &str) -> Vec<String> {
        let entries = std::fs::read_dir(&self.parent).unwrap().flatten();
        let groups = entries.filter(|entry| entry.path().is_dir());
        groups
            .map(|group| std::fs::read_to_string(group.path().join(file)).unwrap())
            .collect()
    }

    fn limits_mib(&self) -> u64 {
        let file = if self.one {
            "memory.limit_in_bytes"
        } else {
            "memory.max"
        };
        let limits = self.each(file);
        let bytes = limits
            .iter()
            .map(|text| text.trim().parse::<u64>().unwrap());
        bytes.sum::<u64>() >> 20
    }

    fn oom_kills(&self) -> u64 {
        let file = if self.one {
            "memory.oom_control"
        } else {
            "memory.events"
        };
        let killed = |text: &String| {
            let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            line.unwrap().trim().parse::<u64>().unwrap()
        };
        self.each(file).iter().map(killed).sum()
    }

    fn pids(&self) -> Vec<u32> {
        let each = self.each("cgroup.procs");
        let pids = each.iter().flat_map(|text| text.lines());
        pids.map(|pid| pid.parse().unwrap()).collect()
    }
}

fn of_memory(memory: i64) -> CreateSandbox {
    CreateSandbox {
        memory_mb: Some(memory),
        ..Default::default()
    }
}

/// As many as ask at once: those that run, and what the others were told.
async fn crowd(client: &Client, memory: i64, size: usize) -> (Vec<TestSandbox>, Vec<ApiError>) {
    let asking = (0..size).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.create_sandbox(&of_memory(memory)).await })
    });
    let (mut running, mut refused) = (Vec::new(), Vec::new());
    for asked in asking.collect::<Vec<_>>() {
        match asked.await.unwrap() {
            Ok(made) => running.push(TestSandbox::of(client, made)),
            Err(Error::Api(error)) => refused.push(*error),
            Err(other) => panic!("{other}"),
        }
    }
    (running, refused)
}

#[track_caller]
fn assert_sent_away(error: &ApiError) {
    assert_eq!(error.status.map(|status| status.as_u16()), Some(429));
    assert_eq!(error.code, "resource_exhausted", "{error}");
    assert!(
        error.retryable && error.message.contains("memory"),
        "{error}"
    );
    assert!(matches!(error.retry_after_sec, Some(1..=60)), "{error:?}");
}

async fn statuses(client: &Client) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for sandbox in client.sandboxes().await.unwrap() {
        *counted.entry(sandbox.status).or_default() += 1;
    }
    counted
}

/// All of them write nearly all the memory that they were promised, at once.
async fn use_memory(sandboxes: &[TestSandbox], mib: i64) {
    let script = format!(
        "mount -o remount,size={mib}m /run; head -c {mib}M /dev/zero > /run/all; echo done"
    );
    let writing = sandboxes.iter().map(|sandbox| sandbox.sh(&script));
    for said in futures::future::join_all(writing).await {
        assert!(said.ends_with("done\n"), "{said}");
    }
}

#[tokio::test]
async fn of_thirty_at_once_each_runs_or_hears_when_to_come_back() {
    let budget = PathBuf::from(BUDGET_MIB.to_string());
    let server = Server::start_with_env(&[("WRENN_MEMORY_MB", budget)]);
    let client = server.client();
    let groups = || Groups::of(&server.data());

    let (running, refused) = crowd(&client, SMALL, CROWD).await;
    assert_eq!((running.len(), refused.len()), (3, CROWD - 3));
    refused.iter().for_each(assert_sent_away);
    // Who was sent away left nothing, no row either.
    let all_run = BTreeMap::from([("running".to_owned(), 3)]);
    assert_eq!(statuses(&client).await, all_run);
    assert!(
        groups().limits_mib() <= BUDGET_MIB,
        "{}",
        groups().limits_mib()
    );
    the_agent_is_spared(&server, &groups());

    let output = server
        .cli()
        .args(["sandbox", "create", "--memory", "128"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("try again: in "),
        "{said}"
    );
    never_fits(&client).await;

    futures::future::join_all(running.into_iter().map(TestSandbox::delete)).await;
    // All that was promised is back: a crowd of large ones finds room for as many as fit.
    let (running, refused) = crowd(&client, LARGE, 4).await;
    assert_eq!((running.len(), refused.len()), (2, 2));
    refused.iter().for_each(assert_sent_away);
    use_memory(&running, LARGE * 3 / 4).await;
    assert!(groups().limits_mib() <= BUDGET_MIB);
    assert_eq!(groups().oom_kills(), 0);
    a_paused_one_holds_no_place(&server, &client, &running).await;
    futures::future::join_all(running.into_iter().map(TestSandbox::delete)).await;
}

/// What is asked for has no chance, however long one waits.
async fn never_fits(client: &Client) {
    let Err(Error::Api(error)) = client.create_sandbox(&of_memory(4096)).await else {
        panic!("a guest larger than what there is for all");
    };
    assert_eq!(error.status.map(|status| status.as_u16()), Some(400));
    assert_eq!(error.retry_after_sec, None);
}

/// The kernel ends VMs first, the agent last.
fn the_agent_is_spared(server: &Server, groups: &Groups) {
    let score = |pid: u32| -> i32 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        text.trim().parse().unwrap()
    };
    // Root without CAP_SYS_RESOURCE, as in some containers, may not: then it says so.
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    match std::fs::write("/proc/self/oom_score_adj", "-1") {
        Ok(()) => {
            std::fs::write("/proc/self/oom_score_adj", own.trim()).unwrap();
            assert!(score(server.pid()) <= -900);
        }
        Err(_) => assert!(
            server
                .log()
                .contains("the agent is ended like any other program")
        ),
    }
    assert_eq!(score(server.control_plane()), 0);
    let vmms = groups.pids();
    assert_eq!(vmms.len(), 3);
    assert!(vmms.into_iter().all(|pid| score(pid) >= 500));
}

/// It gives its place to another one, and comes back when that one has gone.
async fn a_paused_one_holds_no_place(server: &Server, client: &Client, running: &[TestSandbox]) {
    let paused = &running[0];
    paused.pause().await;
    let key = server.key();
    let headers = [
        ("x-api-key", key.as_str()),
        ("content-type", "application/json"),
    ];
    let body = format!(r#"{{"memory_mb":{LARGE}}}"#);
    let answer = request(server, "POST", "/v1/sandboxes", &headers, body.as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
    let timing = answer.head.to_lowercase();
    assert!(timing.contains("server-timing: queue;dur="), "{timing}");
    assert!(timing.contains("machine;dur="), "{timing}");
    let other = answer.json()["id"].as_str().unwrap().to_owned();

    let full = client.resume(&paused.id, &ResumeRequest::default()).await;
    let Err(Error::Api(error)) = full else {
        panic!("more guests than there is memory for");
    };
    assert_sent_away(&error);
    client.delete_sandbox(&other).await.unwrap();
    let resumed = paused.resume().await;
    assert_eq!(resumed.timings[0].step, "queue");
    // A page or two of /run are the guest agent's.
    let kept: i64 = paused
        .sh("stat -c %s /run/all")
        .await
        .trim()
        .parse()
        .unwrap();
    assert!(kept >= ((LARGE * 3 / 4) << 20) - (64 << 10), "{kept}");
}
