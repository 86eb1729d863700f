//! A guest by hand, and calls straight to its agent.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::process::Child;
use wrenn_envd_api::{InitRequest, guest};
use wrenn_envd_client::{Connector, EnvdClient, ProcessEvent, Start};
use wrenn_model::SandboxId;
use wrenn_network::SlotDialer;
use wrenn_sys::durable;

use super::Prepared;

/// How long a boot may take, also under emulation on a busy machine.
const BOOT: Duration = Duration::from_secs(120);
/// A SYN that came too early is lost: another soon, as the agent does it.
const ATTEMPT: Duration = Duration::from_millis(25);
const PAUSE: Duration = Duration::from_millis(3);

/// A guest that runs.
pub(in super::super) struct Guest<'a> {
    prepared: Prepared<'a>,
    process: Child,
    client: EnvdClient,
}

#[derive(Debug)]
struct Dialer(SlotDialer);

impl Connector for Dialer {
    fn connect(&self, port: u16) -> BoxFuture<'static, std::io::Result<TcpStream>> {
        let dialer = self.0.clone();
        Box::pin(async move { dialer.connect(port).await })
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
        let client = EnvdClient::new(Arc::new(Dialer(dialer))).with_token(token.clone());
        let request = InitRequest {
            access_token: Some(token.clone().into()),
            next_init_key: Some(token.into()),
            ..InitRequest::default()
        };
        client.init(&request, None).await?;
        Ok(Self {
            prepared,
            process,
            client,
        })
    }

    /// The shortest command.
    pub(in super::super) async fn exec_true(&self) -> Result<()> {
        let command = Start {
            cmd: "true".to_owned(),
            ..Start::default()
        };
        let mut events = self.client.start(command).await?;
        while let Some(event) = events.next().await? {
            if let ProcessEvent::End { exit_code, .. } = event {
                ensure!(exit_code == 0, "`true` by hand ended with {exit_code}");
                return Ok(());
            }
        }
        bail!("the guest by hand does not tell how `true` ended")
    }

    /// Ends it and takes its slot and disk away.
    pub(in super::super) async fn end(mut self) -> Result<()> {
        self.process.kill().await?;
        self.prepared
            .hand
            .network
            .remove(self.prepared.slot.plan())
            .await?;
        Ok(durable::remove(&self.prepared.overlay)?)
    }
}

async fn listens(dialer: &SlotDialer) {
    loop {
        match tokio::time::timeout(ATTEMPT, dialer.connect(guest::PORT)).await {
            Ok(Ok(_)) => return,
            Ok(Err(_)) => tokio::time::sleep(PAUSE).await,
            Err(_) => {}
        }
    }
}
