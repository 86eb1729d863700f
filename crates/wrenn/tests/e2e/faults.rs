//! A creation that fails at any of its steps leaves nothing; a death of Wrenn in any step of whatever it does loses nothing;
//! and what runs beside it runs on. The steps are the executor's own list.

use std::time::Duration;

use wrenn_agent::{CREATE, Step};
use wrenn_client::api::CreateSandbox;
use wrenn_client::{Client, Error};
use wrenn_testkit::leaks::Snapshot;

use crate::fault_walks::every_step_of_every_operation;
use crate::harness::{MEMORY, Server, TestSandbox, scope, until};

fn steps() -> impl Iterator<Item = Step> {
    CREATE.stages.iter().copied().flatten().copied()
}

fn request() -> CreateSandbox {
    CreateSandbox {
        memory_mb: Some(MEMORY),
        ..CreateSandbox::default()
    }
}

async fn uptime(client: &Client, neighbour: &TestSandbox) -> f64 {
    let shell = crate::harness::shell("cut -d' ' -f1 /proc/uptime");
    let done = client.exec(&neighbour.id, &shell).await.unwrap();
    done.stdout.trim().parse().unwrap()
}

/// Nothing is pending any more, and only the neighbour runs.
async fn settled(client: &Client, neighbour: &TestSandbox) {
    until("settled sandboxes", Duration::from_secs(60), || async {
        let all = client.sandboxes().await.unwrap();
        let settled = all.iter().all(|sandbox| {
            sandbox.transition.is_none()
                && (sandbox.id == neighbour.id
                    || matches!(sandbox.status.as_str(), "error" | "stopped"))
        });
        settled.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_creation_is_undone_at_every_step() {
    let mut server = Server::start();
    let neighbour = TestSandbox::create(&server.client()).await;
    let mut last = uptime(&server.client(), &neighbour).await;
    let scope = scope(&server);
    let before = Snapshot::take(&scope);

    for step in steps() {
        server.terminate();
        server.resume_with(&format!("{}=error", step.name()));
        let client = server.client();
        let refused = client.create_sandbox(&request()).await.unwrap_err();
        let Error::Api(refused) = refused else {
            panic!("{step:?}: {refused}");
        };
        assert_eq!(refused.code, "agent_error", "{step:?}: {refused}");
        assert!(refused.message.contains(step.name()), "{step:?}: {refused}");
        before.assert_nothing_new(&scope);
        settled(&client, &neighbour).await;
        let now = uptime(&client, &neighbour).await;
        assert!(now > last, "the neighbour was disturbed at {step:?}");
        last = now;
    }
}

#[tokio::test]
async fn wrenn_may_die_in_every_step_of_every_operation() {
    every_step_of_every_operation(&["abort"]).await;
}

#[tokio::test]
async fn a_call_ends_with_its_sandbox() {
    let server = crate::harness::shared();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    let mut sleep = crate::harness::shell("echo here; exec sleep 4711");
    sleep.timeout_sec = Some(600);
    let (caller, id) = (client.clone(), sandbox.id.clone());
    let calling = tokio::spawn(async move { caller.exec(&id, &sleep).await });
    until("the command", Duration::from_secs(20), || async {
        let found = crate::harness::shell("grep -l 4711 /proc/[0-9]*/cmdline");
        let found = client.exec(&sandbox.id, &found).await.unwrap();
        (!found.stdout.is_empty()).then_some(())
    })
    .await;
    sandbox.delete().await;
    let answer = tokio::time::timeout(Duration::from_secs(5), calling).await;
    let refused = answer.expect("the call ends").unwrap().unwrap_err();
    assert!(
        matches!(&refused, Error::Api(error) if error.code == "invalid_state"),
        "{refused}"
    );
}
