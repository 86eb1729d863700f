//! A guest by hand: calls straight to its agent, its pause and its resume.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::json;
use tokio::process::Child;
use tokio::task::block_in_place;
use wrenn_envd_api::{InitRequest, guest};
use wrenn_envd_client::{Connector, EnvdClient, ProcessEvent, Start, Stream};
use wrenn_model::SandboxId;
use wrenn_network::SlotDialer;
use wrenn_sys::durable;

use super::Prepared;
use super::capture::{self, Captured, Files, Source};
use super::qemu::{self, Begin};
use super::qmp::Qmp;

/// How long a boot may take, also under emulation on a busy machine.
const BOOT: Duration = Duration::from_secs(120);
/// A SYN that came too early is lost: another soon, as the agent does it.
const CALL_EVERY: Duration = Duration::from_millis(15);
const ATTEMPT: Duration = Duration::from_millis(120);
const PAUSE: Duration = Duration::from_millis(3);
/// How often QEMU is asked whether it has loaded a state.
const LOADING: Duration = Duration::from_micros(500);

/// A guest that runs.
pub(in super::super) struct Guest<'a> {
    prepared: Prepared<'a>,
    process: Child,
    token: String,
    client: EnvdClient,
    generation: u32,
}

#[derive(Debug)]
struct Dialer(SlotDialer);

impl Connector for Dialer {
    fn connect(&self, port: u16) -> BoxFuture<'static, std::io::Result<Box<dyn Stream>>> {
        let dialer = self.0.clone();
        Box::pin(async move { Ok(Box::new(dialer.connect(port).await?) as Box<dyn Stream>) })
    }
}

impl<'a> Guest<'a> {
    /// Waits for its agent and makes the first call.
    pub(super) async fn introduce(prepared: Prepared<'a>, mut process: Child) -> Result<Self> {
        let dialer = prepared.slot.dialer();
        tokio::select! {
            listens = tokio::time::timeout(BOOT, listens(&dialer)) => listens.context("the guest by hand does not boot")?,
            ended = process.wait() => bail!("QEMU by hand ended while it booted: {}", ended?),
        }
        let token = SandboxId::random().to_string();
        let client = client(&prepared, &token);
        let request = InitRequest {
            access_token: Some(token.clone().into()),
            next_init_key: Some(token.clone().into()),
            ..InitRequest::default()
        };
        client.init(&request, None).await?;
        Ok(Self {
            prepared,
            process,
            token,
            client,
            generation: 0,
        })
    }

    /// The shortest command.
    pub(in super::super) async fn exec_true(&self) -> Result<()> {
        self.exec("true", &[]).await
    }

    /// Runs a command that has to succeed.
    pub(in super::super) async fn exec(&self, cmd: &str, args: &[String]) -> Result<()> {
        let command = Start {
            cmd: cmd.to_owned(),
            args: args.to_vec(),
            ..Start::default()
        };
        let mut events = self.client.start(command).await?;
        while let Some(event) = events.next().await? {
            if let ProcessEvent::End { exit_code, .. } = event {
                ensure!(exit_code == 0, "`{cmd}` by hand ended with {exit_code}");
                return Ok(());
            }
        }
        bail!("the guest by hand does not tell how `{cmd}` ended")
    }

    /// Saves the guest, and ends it.
    pub(in super::super) async fn pause(&mut self) -> Result<Captured> {
        // Nobody is connected any more.
        self.client = client(&self.prepared, &self.token);
        let pid = self.process.id().context("QEMU by hand has ended")?;
        let mut qmp = block_in_place(|| Qmp::connect(&self.prepared.file("qmp")))?;
        let source = Source {
            pid: pid.try_into()?,
            qmp: &mut qmp,
            image: &self.prepared.image,
            overlay: &self.prepared.overlay,
        };
        let (aside, folder) = (self.prepared.file("next"), self.folder(self.generation + 1));
        let captured = block_in_place(|| capture::capture(source, &aside, &folder))?;
        self.process.kill().await?;
        let former = self.folder(self.generation);
        self.generation += 1;
        durable::remove(&former)?;
        Ok(captured)
    }

    /// Goes on from the last pause, and says how long it took until a command ran.
    pub(in super::super) async fn resume(&mut self) -> Result<Duration> {
        let saved = Files::of(&self.folder(self.generation));
        durable::remove(&self.prepared.overlay)?;
        capture::clone(&saved.layer, &self.prepared.overlay)?;
        self.prepared.image = saved.memory;
        let begun = Instant::now();
        self.process = qemu::start(&self.prepared, Begin::State)?;
        block_in_place(|| {
            let mut qmp = Qmp::connect(&self.prepared.file("qmp"))?;
            let from = format!("file:{}", saved.state.display());
            qmp.run("migrate-incoming", json!({ "uri": from }))?;
            loop {
                match qmp.run("query-migrate", json!({}))?["status"].as_str() {
                    Some("completed") => return qmp.run("cont", json!({})),
                    Some("failed") => bail!("QEMU by hand does not load the state"),
                    _ => std::thread::sleep(LOADING),
                }
            }
        })?;
        tokio::time::timeout(BOOT, listens(&self.prepared.slot.dialer()))
            .await
            .context("the guest by hand does not come back")?;
        self.exec_true().await?;
        Ok(begun.elapsed())
    }

    fn folder(&self, generation: u32) -> PathBuf {
        self.prepared.file(&format!("generation-{generation}"))
    }

    /// Ends it and takes its slot and files away.
    pub(in super::super) async fn end(mut self) -> Result<()> {
        self.process.kill().await?;
        self.prepared
            .hand
            .network
            .remove(self.prepared.slot.plan())
            .await?;
        Ok(durable::remove(&self.prepared.folder)?)
    }
}

fn client(prepared: &Prepared<'_>, token: &str) -> EnvdClient {
    EnvdClient::new(Arc::new(Dialer(prepared.slot.dialer()))).with_token(token.to_owned())
}

/// Calls again and again, without giving up the calls before, as the agent does.
async fn listens(dialer: &SlotDialer) {
    let mut beat = tokio::time::interval(CALL_EVERY);
    let mut calls = FuturesUnordered::new();
    loop {
        tokio::select! {
            _ = beat.tick() => calls.push(tokio::time::timeout(ATTEMPT, dialer.connect(guest::PORT))),
            Some(called) = calls.next() => match called {
                Ok(Ok(_)) => return,
                Ok(Err(_)) => beat.reset_after(PAUSE),
                Err(_) => {}
            }
        }
    }
}
