//! A guest that says more than anybody can hear: to its caller, to its console.

use std::time::Duration;

use wrenn_client::api::{Encoding, ExecRequest, ExecResponse};

use crate::harness::{
    Attack, Memory, Server, TestSandbox, assert_undisturbed, shell, start, until,
};

const MIB: u64 = 1 << 20;

/// What is kept of a stream that is collected, in bytes: see `exec::CAP` of the agent. Base64 rounds up to three.
const KEPT: u64 = (8 << 20) + 2;

/// What a flood may cost the server: some of the largest answers, in each form that they take on their way.
const MEMORY: u64 = 256 * MIB;

/// What stands of a console on the host at most, in bytes: see `console::LONGEST_FILE` of the VMM.
const CONSOLE_FILE: u64 = 256 << 10;

/// Says as much as it can.
const FLOOD: &str = "cat /dev/zero";

/// The same to the serial line, by the terminal and by the kernel.
const CONSOLE_FLOOD: &str =
    "yes 'to the console' > /dev/console & while :; do echo '<0>as the kernel' > /dev/kmsg; done";

/// A command under way.
type Collecting = tokio::task::JoinHandle<wrenn_client::Result<ExecResponse>>;

#[tokio::test]
async fn a_flood_costs_its_sandbox_alone() {
    let server = Server::start();
    let client = server.client();
    let (flooding, neighbour) =
        tokio::join!(TestSandbox::create(&client), TestSandbox::create(&client));
    let memory = Memory::of(&server);

    // Nobody reads: what was said waits in the guest.
    let streamed = start(FLOOD);
    let unread = client.exec_stream(&flooding.id, &streamed).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    memory.assert_grew_less_than(32 * MIB);
    drop(unread);
    until(
        "the end of what nobody hears",
        Duration::from_secs(20),
        || async {
            let left = flooding.sh("pgrep -fx 'cat /dev/zero' || true").await;
            left.is_empty().then_some(())
        },
    )
    .await;

    // Four are collected at once, and a neighbour is served meanwhile.
    let begin = || async {
        let collected = ExecRequest {
            timeout_sec: Some(4),
            ..shell(FLOOD)
        };
        let floods = (0..4).map(|_| {
            let (client, id, collected) = (client.clone(), flooding.id.clone(), collected.clone());
            tokio::spawn(async move { client.exec(&id, &collected).await })
        });
        floods.collect::<Vec<_>>()
    };
    let end = |floods: Vec<Collecting>| async {
        for flood in floods {
            let said = flood.await.unwrap().unwrap();
            assert!(said.timed_out, "{}", said.exit_code);
            assert_eq!(said.encoding, Encoding::Base64);
            let kept = said.stdout.len() as u64 / 4 * 3;
            assert!(kept <= KEPT, "{kept} bytes were kept");
            flooding.sh("rm -f /var/tmp/wrenn-exec-*").await;
        }
    };
    assert_undisturbed("a flood of output", &neighbour, begin, end).await;
    memory.assert_grew_less_than(MEMORY);

    let begin = || Attack::begin(&flooding, CONSOLE_FLOOD);
    assert_undisturbed("a flood of the console", &neighbour, begin, Attack::end).await;
    let console = client.console(&flooding.id).await.unwrap();
    assert!((1..=64 << 10).contains(&console.len()), "{}", console.len());
    for file in console_files(&server, &flooding.id) {
        assert!(file <= CONSOLE_FILE, "{file} bytes of console on the host");
    }
    assert_eq!(flooding.sh("echo well").await, "well\n");
    memory.assert_grew_less_than(MEMORY);
    flooding.delete().await;
    neighbour.delete().await;
}

/// The sizes of the sandbox's console files, of which there must be one.
fn console_files(server: &Server, sandbox: &str) -> Vec<u64> {
    let folder = server.data().join("store/sandboxes").join(sandbox);
    let files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().path().join("console.log").metadata().ok())
        .map(|file| file.len())
        .collect();
    assert!(!files.is_empty(), "no console was kept");
    files
}
