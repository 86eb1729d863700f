//! `wrenn bench`: each figure beside the same work done by hand, in turns on the same machine in the same minutes, so
//! that what the machine does otherwise hurts both.

mod api;
mod burst;
mod by_hand;
mod churn;
mod create;
mod density;
mod exec;
mod figures;
mod fork;
mod goal;
mod lifecycle;
mod machines;
mod metrics;
mod overhead;
mod pause;
mod pool;
mod server_memory;
mod sustained;
mod transfer;
mod written;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use wrenn_client::Client;
use wrenn_client::api::{CreateSandbox, ExecRequest, Sandbox};
use wrenn_model::MiB;

use crate::cli::{BenchArgs, Globals, Measured};
use crate::terminal::{print_json, print_line};
use crate::{install, server};

use by_hand::Hand;

/// What all measurements share.
struct Bench {
    client: Client,
    data: PathBuf,
    /// The folder of a control plane that runs alone.
    state: Option<PathBuf>,
    template: String,
    rounds: u32,
    hand: Option<Hand>,
}

/// Measures, judges and prints. With `--check` it fails where a goal is missed.
pub(crate) async fn run(globals: &Globals, args: &BenchArgs) -> Result<ExitCode> {
    let client = server::client(globals)?;
    let hand = if args.api_only || args.what == Measured::Api {
        None
    } else {
        install::require_root("wrenn bench")?;
        Some(Hand::open(globals, &args.template).await?)
    };
    let bench = Bench {
        client,
        data: globals.dir.clone(),
        state: globals.state.clone(),
        template: args.template.clone(),
        rounds: args.n,
        hand,
    };
    let measured = measure(&bench, args).await;
    if let Some(hand) = bench.hand {
        hand.close().await?;
    }
    let figures = measured?;
    if globals.json {
        print_json(&json!({ "figures": figures }))?;
    } else {
        print_line(&figures::table(&figures).to_string())?;
    }
    let missed = figures.iter().any(figures::Figure::missed);
    Ok(ExitCode::from(u8::from(args.check && missed)))
}

async fn measure(bench: &Bench, args: &BenchArgs) -> Result<Vec<figures::Figure>> {
    let what = args.what;
    let sandboxes = |usual| args.sandboxes.unwrap_or(usual);
    match what {
        Measured::Api => return api::measure(bench, sandboxes(10_000)).await,
        Measured::Burst => return burst::measure(bench, sandboxes(100)).await,
        Measured::Density => return density::measure(bench, sandboxes(20)).await,
        Measured::Sustained => {
            return sustained::measure(bench, Duration::from_secs(args.seconds)).await;
        }
        _ => {}
    }
    let wanted = |kind| what == kind || what == Measured::All;
    let mut figures = Vec::new();
    if wanted(Measured::Create) {
        figures.extend(create::measure(bench).await?);
    }
    if wanted(Measured::Create) || wanted(Measured::Delete) {
        let (create, delete) = lifecycle::measure(bench).await?;
        figures.extend(wanted(Measured::Create).then_some(create));
        figures.extend(wanted(Measured::Delete).then_some(delete));
    }
    if wanted(Measured::Exec) {
        figures.push(exec::measure(bench).await?);
    }
    if wanted(Measured::Transfer) {
        figures.extend(transfer::measure(bench).await?);
    }
    if wanted(Measured::Pause) {
        figures.extend(pause::measure(bench).await?);
    }
    if wanted(Measured::Fork) {
        figures.extend(fork::measure(bench, sandboxes(fork::CHILDREN)).await?);
    }
    if wanted(Measured::Overhead) {
        figures.extend(overhead::measure(bench).await?);
    }
    if wanted(Measured::Churn) {
        figures.extend(churn::measure(bench).await?);
    }
    Ok(figures)
}

/// How long a sandbox took to be there, and then to run its first command.
#[derive(Debug, Clone, Copy)]
struct FirstSteps {
    creation: Duration,
    command: Duration,
}

impl FirstSteps {
    fn in_all(self) -> Duration {
        self.creation + self.command
    }
}

impl Bench {
    async fn create(&self) -> Result<Sandbox> {
        self.create_with(None).await
    }

    async fn create_with(&self, memory: Option<MiB>) -> Result<Sandbox> {
        let request = CreateSandbox {
            template: Some(self.template.clone()),
            memory_mb: memory.map(|memory| memory.0.into()),
            ..Default::default()
        };
        Ok(self.client.create_sandbox(&request).await?)
    }

    /// The shortest command.
    async fn exec_true(&self, sandbox: &Sandbox) -> Result<()> {
        self.exec(sandbox, "true", &[]).await
    }

    /// A command that has to succeed.
    async fn exec(&self, sandbox: &Sandbox, cmd: &str, args: &[String]) -> Result<()> {
        let request = ExecRequest {
            cmd: cmd.to_owned(),
            args: args.to_vec(),
            ..Default::default()
        };
        let done = self.client.exec(&sandbox.id, &request).await?;
        anyhow::ensure!(done.exit_code == 0, "`{cmd}` ended with {}", done.exit_code);
        Ok(())
    }

    /// From the request for a sandbox to the first exit code out of it, which then ends.
    async fn first_exit_code(&self, request: &CreateSandbox) -> Result<Duration> {
        Ok(self.first_steps(request).await?.in_all())
    }

    /// The same in its two parts.
    async fn first_steps(&self, request: &CreateSandbox) -> Result<FirstSteps> {
        let begun = Instant::now();
        let sandbox = self.client.create_sandbox(request).await?;
        let creation = begun.elapsed();
        let work = async |sandbox: &Sandbox| {
            self.exec_true(sandbox).await?;
            let command = begun.elapsed().saturating_sub(creation);
            Ok(FirstSteps { creation, command })
        };
        self.with(sandbox, work).await
    }

    /// Runs `work` on a sandbox of its own, which ends also when the work fails.
    async fn with_sandbox<T>(&self, work: impl AsyncFnOnce(&Sandbox) -> Result<T>) -> Result<T> {
        self.with(self.create().await?, work).await
    }

    /// Runs `work` on a sandbox, and ends it also when the work fails.
    async fn with<T>(
        &self,
        sandbox: Sandbox,
        work: impl AsyncFnOnce(&Sandbox) -> Result<T>,
    ) -> Result<T> {
        let done = work(&sandbox).await;
        self.client.delete_sandbox(&sandbox.id).await?;
        done
    }

    /// Tells how far it is.
    fn round(&self, what: &str, round: u32) {
        tracing::info!("{what}: {} of {}", round + 1, self.rounds);
    }
}
