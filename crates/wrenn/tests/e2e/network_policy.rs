//! Network policies of real guests, from REST to packets: at creation, changed while it runs and while it is paused, across
//! pauses, deaths of Wrenn and archives.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use wrenn_client::api::{CreateSandbox, Network};
use wrenn_testkit::world::{INTERNET, LAN_NEIGHBOUR, METADATA, OTHER_INTERNET, Service};

use crate::harness::{Server, TestSandbox, python, shared};

/// Tries each address for two seconds, and prints those that answered.
const REACH: &str = "
import socket, sys
for address in sys.argv[2:]:
    try:
        socket.create_connection((address, int(sys.argv[1])), timeout=2).close()
        print(address)
    except OSError:
        pass
";

/// Talks with an address for as long as that answers, and counts.
const TALK: &str = "
import socket, sys, time
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2)
count = 0
try:
    while True:
        peer.sendall(b'x')
        assert peer.recv(1)
        count += 1
        open('/run/talk', 'w').write(str(count))
        time.sleep(0.05)
except OSError:
    open('/run/cut', 'w').write(str(count))
";

fn policy(internet: bool, allow: &[Ipv4Addr], deny: &[Ipv4Addr]) -> Network {
    let texts = |addresses: &[Ipv4Addr]| addresses.iter().map(|one| format!("{one}/32")).collect();
    Network {
        internet,
        allow: texts(allow),
        deny: texts(deny),
    }
}

fn under(network: Network) -> CreateSandbox {
    CreateSandbox {
        network: Some(network),
        ..Default::default()
    }
}

/// Which of the addresses a connection from the guest gets to.
pub(crate) async fn reached(sandbox: &TestSandbox, port: u16) -> Vec<Ipv4Addr> {
    let mut request = python(REACH);
    request.args.push(port.to_string());
    request
        .args
        .extend([INTERNET, OTHER_INTERNET, LAN_NEIGHBOUR].map(|one| one.to_string()));
    let done = sandbox.exec(&request).await.unwrap();
    assert_eq!(done.exit_code, 0, "{}", done.stderr);
    done.stdout
        .lines()
        .map(|line| line.parse().unwrap())
        .collect()
}

/// A server that opens the LAN to policies.
fn opening() -> Server {
    let lan = PathBuf::from("192.168.77.0/24");
    Server::start_with_env(&[("WRENN_ALLOW_PRIVATE", lan)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_holds_wherever_its_sandbox_goes() {
    const PORT: u16 = 4031;
    let mut server = opening();
    let client = server.client();
    let _outside = Service::tcp_echo(PORT).unwrap();
    let asked = policy(false, &[INTERNET], &[]);
    let mut sandbox = TestSandbox::create_with(&client, under(asked.clone())).await;
    assert_eq!(sandbox.network, asked);
    assert_eq!(reached(&sandbox, PORT).await, [INTERNET]);

    // What it talks with is cut, at once.
    sandbox
        .sh(&format!("cat > /run/talk.py <<'END'{TALK}END"))
        .await;
    let talk = format!("python3 /run/talk.py {INTERNET} {PORT}");
    sandbox.begin(&talk).await;
    sandbox
        .sh("until [ -s /run/talk ]; do sleep 0.05; done")
        .await;
    let turned = policy(true, &[LAN_NEIGHBOUR], &[INTERNET]);
    let answer = client.set_network(&sandbox.id, &turned).await.unwrap();
    assert_eq!(
        (answer.network, answer.status.as_str()),
        (turned.clone(), "running")
    );
    sandbox
        .sh("timeout 10 sh -c 'until [ -s /run/cut ]; do sleep 0.05; done'")
        .await;
    assert_eq!(
        reached(&sandbox, PORT).await,
        [OTHER_INTERNET, LAN_NEIGHBOUR]
    );

    // Another one while it is paused.
    sandbox.pause().await;
    assert_eq!(sandbox.now().await.network, turned);
    let other = policy(false, &[OTHER_INTERNET], &[]);
    client.set_network(&sandbox.id, &other).await.unwrap();
    let imported = import(&server, &sandbox.id);
    let resumed = sandbox.resume().await;
    assert_eq!(resumed.sandbox.network, other);
    assert_eq!(reached(&sandbox, PORT).await, [OTHER_INTERNET]);

    // After a death, and one in the middle of a change.
    server.kill();
    server.resume_with("network.apply=abort");
    sandbox.client = server.client();
    assert_eq!(sandbox.now().await.network, other);
    assert_eq!(reached(&sandbox, PORT).await, [OTHER_INTERNET]);
    let last = policy(true, &[], &[OTHER_INTERNET]);
    sandbox
        .client
        .set_network(&sandbox.id, &last)
        .await
        .unwrap_err();
    server.dies();
    server.resume_with("network.apply=error");
    sandbox.client = server.client();
    assert_eq!(
        sandbox.now().await.network,
        last,
        "recorded, and so in force"
    );
    assert_eq!(reached(&sandbox, PORT).await, [INTERNET]);

    // One that fails changes nothing.
    sandbox
        .client
        .set_network(&sandbox.id, &other)
        .await
        .unwrap_err();
    assert_eq!(sandbox.now().await.network, last);
    assert_eq!(reached(&sandbox, PORT).await, [INTERNET]);

    // The archive has the policy of its export, not that of its pause.
    let imported = sandbox.client.sandbox(&imported).await.unwrap();
    assert_eq!(
        (imported.network, imported.status.as_str()),
        (other, "paused")
    );
    sandbox.delete().await;
}

/// Exports a pause and imports it as another sandbox; gives its id.
fn import(server: &Server, id: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("archive");
    let mut export = server.cli();
    export.args(["snapshot", "export", id, "-o"]).arg(&archive);
    let exported = export.output().unwrap();
    assert!(
        exported.status.success(),
        "{}",
        String::from_utf8_lossy(&exported.stderr)
    );
    let imported = server
        .cli()
        .args(["snapshot", "import"])
        .arg(&archive)
        .output()
        .unwrap();
    assert!(
        imported.status.success(),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    String::from_utf8(imported.stdout)
        .unwrap()
        .trim()
        .to_owned()
}

#[tokio::test]
async fn what_the_host_does_not_open_is_refused_without_a_trace() {
    let server = shared();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    let count = client.sandboxes().await.unwrap().len();
    for closed in [LAN_NEIGHBOUR, METADATA, Ipv4Addr::LOCALHOST] {
        let asked = policy(true, &[closed], &[]);
        let refused = client
            .create_sandbox(&under(asked.clone()))
            .await
            .unwrap_err();
        let told = refused.api().unwrap();
        assert_eq!(told.code, "invalid_request", "{refused}");
        let refused = client.set_network(&sandbox.id, &asked).await.unwrap_err();
        assert_eq!(refused.api().unwrap().code, "invalid_request", "{refused}");
    }
    assert_eq!(sandbox.now().await.network, Network::default());
    let left = client.sandboxes().await.unwrap();
    let asked = left
        .iter()
        .filter(|one| !one.network.allow.is_empty())
        .count();
    assert_eq!(asked, 0, "of {} after {count}", left.len());
    sandbox.delete().await;
}

#[test]
fn the_command_line_shows_and_changes_it() {
    let server = shared();
    let run = |args: &[&str]| {
        let output = server.cli().arg("sandbox").args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let create = [
        "create",
        "--memory",
        "256",
        "--network",
        "none",
        "--allow",
        "192.0.2.0/25,8.8.8.8",
    ];
    // Documentation is nobody's: the host refuses it, and says so.
    let refused = server.cli().arg("sandbox").args(create).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("192.0.2.0/25 is never opened"));
    let id = run(&[
        "create",
        "--memory",
        "256",
        "--network",
        "none",
        "--allow",
        "8.8.8.8",
    ]);
    let id = id.trim();
    assert_eq!(
        run(&["network", id]),
        "internet   no\nallow      8.8.8.8/32\ndeny\n"
    );
    let changed = run(&["network", id, "--deny", "1.0.0.0/8", "--deny", "9.9.9.9"]);
    assert_eq!(
        changed,
        "internet   yes\nallow\ndeny       1.0.0.0/8 9.9.9.9/32\n"
    );
    let json: serde_json::Value = serde_json::from_str(&run(&["--json", "network", id])).unwrap();
    assert_eq!(json["internet"], true);
    run(&["rm", id]);
}
