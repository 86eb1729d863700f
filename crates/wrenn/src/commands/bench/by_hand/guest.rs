//! A guest by hand: calls straight to its agent, its pause and its resume.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::process::Child;
use tokio::task::block_in_place;
use wrenn_envd_api::{InitRequest, guest};
use wrenn_envd_client::{Connector, EnvdClient, ProcessEvent, Start, Stream};
use wrenn_model::SandboxId;
use wrenn_network::SlotDialer;
use wrenn_sys::durable;

use super::capture::{self, Captured, Files, Source};
use super::qmp::Qmp;
use super::{Prepared, clones};

/// How long a boot may take, also under emulation on a busy machine.
pub(super) const BOOT: Duration = Duration::from_secs(120);
/// A SYN that came too early is lost: another soon, as the agent does it.
const CALL_EVERY: Duration = Duration::from_millis(15);
const ATTEMPT: Duration = Duration::from_millis(120);
const PAUSE: Duration = Duration::from_millis(3);
/// How often QEMU is asked whether it has loaded a state.
pub(super) const LOADING: Duration = Duration::from_micros(500);

/// A guest that runs.
pub(in super::super) struct Guest<'a> {
    pub(super) prepared: Prepared<'a>,
    process: Child,
    /// Of the guest's agent, and the key of the next `/init`.
    pub(super) token: String,
    pub(super) client: EnvdClient,
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
        Ok(Self::of(prepared, process, token, client))
    }

    /// One that runs and can be called.
    pub(super) fn of(
        prepared: Prepared<'a>,
        process: Child,
        token: String,
        client: EnvdClient,
    ) -> Self {
        Self {
            prepared,
            process,
            token,
            client,
            generation: 0,
        }
    }

    /// Its QEMU.
    pub(in super::super) fn pid(&self) -> Result<u32> {
        self.process.id().context("QEMU by hand has ended")
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
        let pid = self.pid()?;
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
        let saved = self.saved();
        durable::remove(&self.prepared.overlay)?;
        capture::clone(&saved.layer, &self.prepared.overlay)?;
        self.prepared.image = saved.memory;
        let begun = Instant::now();
        self.process = clones::load(&self.prepared, &saved.state).await?;
        self.exec_true().await?;
        Ok(begun.elapsed())
    }

    /// What the last pause has saved.
    pub(super) fn saved(&self) -> Files {
        Files::of(&self.folder(self.generation))
    }

    /// Of one that was paused: takes its slot and files away.
    pub(in super::super) async fn leave(self) -> Result<()> {
        self.prepared.remove().await
    }

    /// Of one that was paused: what it leaves, and the key that is in it.
    pub(super) fn dismantle(self) -> (Prepared<'a>, String) {
        (self.prepared, self.token)
    }

    fn folder(&self, generation: u32) -> PathBuf {
        self.prepared.file(&format!("generation-{generation}"))
    }

    /// Ends it and takes its slot and files away.
    pub(in super::super) async fn end(mut self) -> Result<()> {
        self.process.kill().await?;
        self.prepared.remove().await
    }
}

pub(super) fn client(prepared: &Prepared<'_>, token: &str) -> EnvdClient {
    EnvdClient::new(Arc::new(Dialer(prepared.slot.dialer()))).with_token(token.to_owned())
}

/// Calls again and again, without giving up the calls before, as the agent does.
pub(super) async fn listens(dialer: &SlotDialer) {
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
