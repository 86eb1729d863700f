//! A guest whose root puts another program in its agent's place.

use std::time::{Duration, Instant};

use wrenn_client::api::{ExecRequest, StartCommand};

use crate::harness::{Memory, Server, TestSandbox, assert_undisturbed, python, shell, until};

/// What all its answers may cost the server.
const MEMORY: u64 = 96 << 20;

/// How many calls are made, at least and at most.
const CALLS: std::ops::Range<u32> = 9..30;

/// How long a command's limit may be overstepped where nobody in the guest ends it.
const GRACE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_agent_that_was_replaced_is_survived() {
    let server = Server::start();
    let client = server.client();
    let (taken, neighbour) =
        tokio::join!(TestSandbox::create(&client), TestSandbox::create(&client));
    let take_over = python(include_str!("attacks/agent.py"));
    let detached = StartCommand {
        cmd: take_over.cmd,
        args: take_over.args,
        detach: true,
        ..Default::default()
    };
    drop(client.exec_stream(&taken.id, &detached).await.unwrap());
    let asked = ExecRequest {
        timeout_sec: Some(2),
        ..shell("echo well")
    };
    until("another agent", Duration::from_secs(60), || async {
        let error = client.exec(&taken.id, &asked).await.err()?;
        (!error.to_string().contains("reached")).then_some(())
    })
    .await;

    let memory = Memory::of(&server);
    // Each in another wrong way, until a command has met the flood too.
    let (mut number, mut kept) = (0, 0);
    while number < CALLS.start || (kept == 0 && number < CALLS.end) {
        let begun = Instant::now();
        let outcome = if number % 4 == 3 {
            match client.read_file(&taken.id, "/etc/hostname").await {
                Err(error) => error.to_string(),
                Ok(_) => "a file".to_owned(),
            }
        } else {
            match client.exec(&taken.id, &asked).await {
                Err(error) => error
                    .api()
                    .expect("an answer of the server")
                    .message
                    .clone(),
                Ok(said) => {
                    assert!(said.timed_out && said.stdout.len() <= 8 << 20);
                    kept = kept.max(said.stdout.len());
                    format!("{} bytes until its end", said.stdout.len())
                }
            }
        };
        number += 1;
        eprintln!("call {number}: {outcome} after {:?}", begun.elapsed());
        assert!(
            begun.elapsed() < GRACE,
            "call {number}: {:?}",
            begun.elapsed()
        );
    }
    assert!(kept > 0, "no flood was kept");
    let begin = || {
        let (client, id, asked) = (client.clone(), taken.id.clone(), asked.clone());
        std::future::ready(tokio::spawn(async move {
            loop {
                drop(client.exec(&id, &asked).await);
            }
        }))
    };
    let end = |calls: tokio::task::JoinHandle<()>| async move { calls.abort() };
    assert_undisturbed("an agent that was replaced", &neighbour, begin, end).await;
    memory.assert_grew_less_than(MEMORY);

    let begun = Instant::now();
    taken.delete().await;
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    neighbour.delete().await;
}
