//! Forks: children are what their parent was at one instant, and each its own from there on.

use wrenn_client::Client;
use wrenn_client::api::{CreateSandbox, ForkResult, ForkSandbox, Sandbox};

use crate::harness::{MEMORY, Server, TestSandbox, shared};

/// Runs and counts, on the disk and in memory.
const COUNT: &str =
    "i=0; while :; do i=$((i+1)); echo $i > /dev/shm/n; echo $i >> /root/log; sleep 0.1; done";
/// That memory, disk and the process are of one instant, and go on.
const GOES_ON: &str = "n=$(cat /dev/shm/n); l=$(tail -n 1 /root/log); m=$(cat /dev/shm/n); \
    [ $l -ge $((n - 1)) ] && [ $l -le $((m + 1)) ] && sleep 0.7 && [ $(cat /dev/shm/n) -gt $m ] && echo goes on";

async fn fork(client: &Client, id: &str, count: i64) -> Vec<ForkResult> {
    let request = ForkSandbox {
        count: Some(count),
        ..ForkSandbox::default()
    };
    client.fork(id, &request).await.unwrap().results
}

fn born(results: Vec<ForkResult>) -> Vec<Sandbox> {
    let children = results.into_iter().map(|result| match result {
        ForkResult::Sandbox(child) => *child,
        ForkResult::Error(error) => panic!("{error:?}"),
    });
    children.collect()
}

#[tokio::test]
async fn children_begin_as_their_parent_and_go_their_own_ways() {
    let server = shared();
    let client = server.client();
    let request = CreateSandbox {
        envs: [("FOR".to_owned(), "all".to_owned())].into(),
        metadata: [("of".to_owned(), "parent".to_owned())].into(),
        ..CreateSandbox::default()
    };
    let parent = TestSandbox::create_with(&client, request).await;
    parent.begin(COUNT).await;
    parent.sh("head -c 3000000 /dev/urandom > /dev/shm/m").await;
    let sum = parent.sh("sha256sum /dev/shm/m").await;
    let children = born(fork(&client, &parent.id, 2).await);
    let mut all: Vec<_> = children
        .into_iter()
        .map(|child| TestSandbox::of(&client, child))
        .collect();
    for child in &all {
        assert_eq!(child.parent_id.as_ref(), Some(&parent.id));
        assert_eq!(child.metadata["of"], "parent");
        assert_eq!(
            child.sh("echo $FOR $WRENN_SANDBOX_ID").await,
            format!("all {}\n", child.id)
        );
    }
    all.push(parent);
    let mut identities = std::collections::HashSet::new();
    for one in &all {
        assert_eq!(one.sh("sha256sum /dev/shm/m").await, sum);
        assert_eq!(one.sh(GOES_ON).await, "goes on\n");
        one.sh("echo $WRENN_SANDBOX_ID > /root/mine; echo $WRENN_SANDBOX_ID > /dev/shm/mine; sync")
            .await;
        let ids = "cat /proc/sys/kernel/random/boot_id /etc/machine-id; head -c 8 /dev/urandom | od -An -tx8";
        identities.extend(one.sh(ids).await.lines().map(str::to_owned));
    }
    assert_eq!(identities.len(), 9, "something repeats: {identities:?}");
    for one in &all {
        let mine = one.sh("cat /root/mine /dev/shm/mine").await;
        assert_eq!(mine, format!("{0}\n{0}\n", one.id));
    }

    // A fork of a fork, also while it is paused, which stays so.
    all[0].pause().await;
    let grandchild = born(fork(&client, &all[0].id, 1).await).remove(0);
    let grandchild = TestSandbox::of(&client, grandchild);
    assert_eq!(grandchild.parent_id.as_ref(), Some(&all[0].id));
    assert_eq!(all[0].now().await.status, "paused");
    assert_eq!(
        grandchild.sh("cat /root/mine").await,
        format!("{}\n", all[0].id)
    );
    assert_eq!(grandchild.sh(GOES_ON).await, "goes on\n");
    all[0].resume().await;
    assert_eq!(all[0].sh(GOES_ON).await, "goes on\n");
    all.push(grandchild);
    for one in all {
        one.delete().await;
    }
}

#[tokio::test]
async fn a_storm_of_forks_is_told_to_come_back_and_its_source_runs_on() {
    let room = (MEMORY + 400) * 3;
    let server = Server::start_with_env(&[("WRENN_MEMORY_MB", room.to_string().into())]);
    let client = server.client();
    let parent = TestSandbox::create(&client).await;
    parent.begin(COUNT).await;
    let results = fork(&client, &parent.id, 12).await;
    let refused: Vec<_> = results
        .iter()
        .filter_map(|result| match result {
            ForkResult::Error(error) => Some(error),
            ForkResult::Sandbox(_) => None,
        })
        .collect();
    assert!(!refused.is_empty() && refused.len() < 12, "{results:?}");
    for error in refused {
        assert!(error.retryable && !error.remedy.is_empty(), "{error:?}");
    }
    // Nobody can have a child: the call itself says so.
    let request = ForkSandbox::default();
    let error = client.fork(&parent.id, &request).await.unwrap_err();
    let status = error.api().unwrap().status;
    assert_eq!(status.map(|status| status.as_u16()), Some(429), "{error}");
    assert_eq!(parent.sh(GOES_ON).await, "goes on\n");
    let lent = server.data().join("store/lent");
    assert_eq!(lent.read_dir().map_or(0, Iterator::count), 0);
    // What has no child any more can have one again.
    for child in results {
        if let ForkResult::Sandbox(child) = child {
            client.delete_sandbox(&child.id).await.unwrap();
        }
    }
    assert_eq!(born(fork(&client, &parent.id, 1).await).len(), 1);
}

#[tokio::test]
async fn an_agent_that_dies_in_a_fork_leaves_its_source_running() {
    for point in ["fork.memory", "fork.sync", "clone.machine"] {
        let mut server = Server::start();
        let parent = TestSandbox::create(&server.client()).await;
        parent.begin(COUNT).await;
        let id = parent.id.clone();
        server.kill();
        server.resume_with(&format!("{point}=abort*1"));
        let request = ForkSandbox::default();
        let died = server.client().fork(&id, &request).await;
        assert!(died.is_err(), "{point}: {died:?}");
        server.dies();
        server.resume();
        let client = server.client();
        let parent = TestSandbox::of(&client, client.sandbox(&id).await.unwrap());
        assert_eq!(parent.sh(GOES_ON).await, "goes on\n", "{point}");
        assert_eq!(born(fork(&client, &id, 1).await).len(), 1);
    }
}
