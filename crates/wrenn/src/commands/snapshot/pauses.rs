//! The pauses of sandboxes as data, for root, over the agent's own socket.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use connectrpc::ConnectError;
use futures::{Stream, StreamExt};
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use wrenn_hostagent_api as rpc;
use wrenn_model::{Fault, SandboxId};

use crate::agent_rpc::{AgentRpc, ImportError};
use crate::cli::{ExportArgs, Globals, ImportArgs, VerifyArgs};
use crate::output_file::{self, Readers};
use crate::report::{self, Advised};
use crate::terminal::{Table, print_json, print_line, size, stdout_is_terminal};

/// Fails when something is not as it was written, or could not be looked at.
pub(super) async fn verify(
    globals: &Globals,
    agent: &AgentRpc,
    args: VerifyArgs,
) -> Result<ExitCode> {
    let ids = match args.id {
        Some(id) => vec![id],
        None => with_pause(agent.sandboxes().await.map_err(told)?),
    };
    let mut verdicts = Vec::new();
    let mut failed = false;
    for id in ids {
        match agent.verify(&id).await {
            Ok(verdict) => {
                failed |= !verdict.intact;
                verdicts.push((id, verdict));
            }
            // One that cannot be looked at hides no other.
            Err(error) => {
                failed = true;
                let error = anyhow::Error::from(told(error));
                report::failure(
                    &error.context(format!("{id} was not verified")),
                    globals.json,
                );
            }
        }
    }
    show(globals, &verdicts)?;
    Ok(ExitCode::from(u8::from(failed)))
}

fn with_pause(sandboxes: Vec<rpc::Sandbox>) -> Vec<String> {
    let paused = sandboxes
        .into_iter()
        .filter(|sandbox| sandbox.paused_at_unix_ms > 0);
    paused.map(|sandbox| sandbox.sandbox_id).collect()
}

fn show(globals: &Globals, verdicts: &[(String, rpc::VerifySnapshotResponse)]) -> Result<()> {
    if globals.json {
        let one = |(id, verdict): &(String, rpc::VerifySnapshotResponse)| {
            let damage = Some(&verdict.damage).filter(|_| !verdict.intact);
            json!({ "id": id, "generation": verdict.generation, "bytes_read": verdict.bytes_read,
                    "intact": verdict.intact, "damage": damage })
        };
        return print_json(&verdicts.iter().map(one).collect::<Vec<_>>());
    }
    let mut table = Table::new(["ID", "GENERATION", "READ", "VERDICT"]);
    for (id, verdict) in verdicts {
        let damage = format!("damaged: {}", verdict.damage);
        table.row([
            id,
            &verdict.generation,
            &size(verdict.bytes_read),
            if verdict.intact { "intact" } else { &damage },
        ]);
    }
    print_line(&table.to_string())
}

pub(super) async fn export(globals: &Globals, agent: &AgentRpc, args: &ExportArgs) -> Result<()> {
    let to_stdout = args.output == Path::new("-");
    if to_stdout && stdout_is_terminal() {
        let message = "a snapshot is no text for a terminal";
        return Err(Advised::new(message, "name a file with -o, or redirect it").into());
    }
    let chunks = agent.export(&args.id).await.map_err(told)?;
    if to_stdout {
        copy(chunks, &mut tokio::io::stdout()).await?;
        return Ok(());
    }
    // A guest's memory is in it: nobody but its owner reads it.
    let bytes = output_file::replace(&args.output, Readers::Owner, async |file| {
        copy(chunks, file).await
    })
    .await?;
    if globals.json {
        return print_json(&json!({ "id": args.id, "bytes": bytes }));
    }
    eprintln!("wrenn: {} written", size(bytes));
    Ok(())
}

async fn copy(
    chunks: impl Stream<Item = Result<bytes::Bytes, ConnectError>>,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<u64> {
    let mut chunks = std::pin::pin!(chunks);
    let mut copied = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(told)?;
        copied += chunk.len() as u64;
        to.write_all(&chunk).await?;
    }
    to.flush().await?;
    Ok(copied)
}

pub(super) async fn import(globals: &Globals, agent: &AgentRpc, args: &ImportArgs) -> Result<()> {
    let id = SandboxId::random();
    let shown = args.input.display();
    let imported = if args.input == Path::new("-") {
        agent.import(&id, tokio::io::stdin()).await
    } else {
        let opened = File::open(&args.input).await;
        let file = opened.with_context(|| format!("{shown} cannot be read"))?;
        agent.import(&id, file).await
    };
    let sandbox = imported.map_err(|error| match error {
        ImportError::Agent(error) => anyhow::Error::from(told(error)),
        unreadable @ ImportError::Input(_) => {
            anyhow::Error::from(unreadable).context(format!("nothing was imported from {shown}"))
        }
    })?;
    if globals.json {
        return print_json(&json!({
            "id": sandbox.sandbox_id, "status": sandbox.status, "template": sandbox.template,
            "vcpus": sandbox.vcpus, "memory_mb": sandbox.memory_mb,
        }));
    }
    print_line(&sandbox.sandbox_id)
}

/// What the agent says went wrong, with what to do about it.
fn told(error: ConnectError) -> Fault {
    wrenn_control::agent_fault(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use std::os::unix::fs::PermissionsExt;
    use wrenn_testkit::agent::FakeAgent;

    /// Runs `wrenn snapshot …` against a data directory.
    async fn snapshot(dir: &Path, args: &[&str]) -> Result<ExitCode> {
        let cli = Cli::parse_from([&["wrenn", "snapshot"], args].concat());
        let mut globals = cli.globals;
        globals.dir = dir.to_owned();
        let Command::Snapshot(command) = cli.command else {
            panic!("another command")
        };
        super::super::run(&globals, command).await
    }

    fn paused(agent: &FakeAgent) -> String {
        let id = SandboxId::random().to_string();
        agent.put(rpc::Sandbox {
            sandbox_id: id.clone(),
            status: "paused".into(),
            template: "minimal".into(),
            vcpus: 2,
            memory_mb: 256,
            paused_at_unix_ms: 7,
            on_timeout: "pause".into(),
            ..Default::default()
        });
        id
    }

    #[tokio::test]
    async fn what_is_exported_is_imported_as_another() {
        let dir = tempfile::tempdir().unwrap();
        let agent = FakeAgent::start(&dir.path().join("agent.sock")).unwrap();
        let id = paused(&agent);
        let file = dir.path().join("snapshot");
        let name = file.to_str().unwrap();
        snapshot(dir.path(), &["export", &id, "-o", name])
            .await
            .unwrap();
        snapshot(dir.path(), &["import", name]).await.unwrap();
        assert_eq!(agent.count(), 2);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        // Half of one leaves nothing, on either side.
        agent.set(|knobs| knobs.damage = Some("a block is not what it was".into()));
        let before = std::fs::read(&file).unwrap();
        let refused = snapshot(dir.path(), &["export", &id, "-o", name]).await;
        assert!(refused.unwrap_err().to_string().contains("a block"));
        assert_eq!(std::fs::read(&file).unwrap(), before);
        std::fs::write(&file, [0xff; 100]).unwrap();
        snapshot(dir.path(), &["import", name]).await.unwrap_err();
        let folder = dir.path().to_str().unwrap();
        snapshot(dir.path(), &["import", folder]).await.unwrap_err();
        assert_eq!(agent.count(), 2);
    }

    #[tokio::test]
    async fn damage_is_an_exit_code() {
        let dir = tempfile::tempdir().unwrap();
        let agent = FakeAgent::start(&dir.path().join("agent.sock")).unwrap();
        let id = paused(&agent);
        agent.put(rpc::Sandbox {
            sandbox_id: SandboxId::random().to_string(),
            status: "running".into(),
            ..Default::default()
        });
        let ends = async |args: &[&str], code| {
            let ended = snapshot(dir.path(), args).await.unwrap();
            assert_eq!(ended, ExitCode::from(code), "{args:?}");
        };
        ends(&["verify", &id], 0).await;
        // One that has no pause is none to verify.
        ends(&["verify", "--all"], 0).await;
        ends(&["verify", "sb-aaaaaaaaaaaaaaaaaaaa"], 1).await;
        agent.set(|knobs| knobs.damage = Some("a block is not what it was".into()));
        ends(&["verify", &id], 1).await;
        ends(&["verify", "--all"], 1).await;
    }
}
