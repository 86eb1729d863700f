//! Clones by hand: one guest is saved, and others go on from there beside each other.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::json;
use tokio::process::Child;
use tokio::task::{block_in_place, spawn_blocking};
use wrenn_envd_api::{InitRequest, Timestamp};
use wrenn_model::{MiB, SandboxId, random_text};
use wrenn_sys::durable;

use super::capture::{self, Files};
use super::guest::{BOOT, Guest, LOADING, client, listens};
use super::qemu::{self, Begin};
use super::qmp::Qmp;
use super::{Hand, Prepared};

/// What clones go on from: a guest that came up, ran one command and was saved.
pub(in super::super) struct Image<'a> {
    saved: Prepared<'a>,
    files: Files,
    /// The key of the next `/init`.
    key: String,
}

/// A QEMU that has only to load the image's state.
pub(in super::super) struct Started<'a> {
    prepared: Prepared<'a>,
    process: Child,
    qmp: Qmp,
    state: PathBuf,
    key: String,
}

/// A clone that was used once and stands still.
pub(in super::super) struct Waiting<'a> {
    guest: Guest<'a>,
    qmp: Qmp,
}

impl Hand {
    /// Boots a guest and saves it.
    pub(in super::super) async fn image(&self, memory: MiB) -> Result<Image<'_>> {
        let mut guest = self.prepare(memory).await?.boot().await?;
        guest.exec_true().await?;
        guest.pause().await?;
        let files = guest.saved();
        let (saved, key) = guest.dismantle();
        Ok(Image { saved, files, key })
    }
}

impl<'a> Image<'a> {
    /// Makes what is not measured of a clone.
    pub(in super::super) async fn prepare(&self) -> Result<Prepared<'a>> {
        let mut prepared = self.saved.hand.prepare(self.saved.memory).await?;
        durable::remove(&prepared.overlay)?;
        capture::clone(&self.files.layer, &prepared.overlay)?;
        prepared.image.clone_from(&self.files.memory);
        Ok(prepared)
    }

    /// Starts a clone, and makes it another guest than its image was.
    pub(in super::super) async fn restore(&self, prepared: Prepared<'a>) -> Result<Guest<'a>> {
        let process = load(&prepared, &self.files.state).await?;
        let client = client(&prepared, &self.key);
        let mut guest = Guest::of(prepared, process, self.key.clone(), client);
        guest.renew().await?;
        Ok(guest)
    }

    /// One that was started before it is needed.
    pub(in super::super) async fn started(&self) -> Result<Started<'a>> {
        let prepared = self.prepare().await?;
        let process = qemu::start(&prepared, Begin::State)?;
        let qmp = block_in_place(|| Qmp::connect(&prepared.file("qmp")))?;
        Ok(Started {
            prepared,
            process,
            qmp,
            state: self.files.state.clone(),
            key: self.key.clone(),
        })
    }

    /// One that stands still after it has run a command.
    pub(in super::super) async fn waiting(&self) -> Result<Waiting<'a>> {
        let guest = self.restore(self.prepare().await?).await?;
        guest.exec_true().await?;
        block_in_place(|| {
            let mut qmp = Qmp::connect(&guest.prepared.file("qmp"))?;
            qmp.run("stop", json!({}))?;
            Ok(Waiting { guest, qmp })
        })
    }

    /// Takes its slot and files away.
    pub(in super::super) async fn remove(self) -> Result<()> {
        self.saved.remove().await
    }
}

impl<'a> Started<'a> {
    /// Has it load the state, and makes it another guest than its image was.
    pub(in super::super) async fn restore(mut self) -> Result<Guest<'a>> {
        block_in_place(|| go_on(&mut self.qmp, &self.state))?;
        comes_back(&self.prepared).await?;
        let client = client(&self.prepared, &self.key);
        let mut guest = Guest::of(self.prepared, self.process, self.key, client);
        guest.renew().await?;
        Ok(guest)
    }
}

impl<'a> Waiting<'a> {
    /// Has it go on as yet another guest.
    pub(in super::super) async fn hand_out(mut self) -> Result<Guest<'a>> {
        block_in_place(|| self.qmp.run("cont", json!({})))?;
        self.guest.renew().await?;
        Ok(self.guest)
    }
}

impl Guest<'_> {
    /// The call that makes all new that would repeat in clones.
    async fn renew(&mut self) -> Result<()> {
        let token = SandboxId::random().to_string();
        let id = random_hex()?;
        let request = InitRequest {
            renew: true,
            access_token: Some(token.clone().into()),
            next_init_key: Some(token.clone().into()),
            timestamp: Some(Timestamp::from(std::time::SystemTime::now())),
            // What has no other letters is base64.
            entropy: Some(random_text(44).into()),
            boot_id: Some(uuid(&id)),
            machine_id: Some(id),
            hostname: Some("clone".to_owned()),
            sandbox_id: Some(token.clone()),
            template_id: Some("minimal".to_owned()),
            ..InitRequest::default()
        };
        self.client.init(&request, Some(&self.token)).await?;
        self.client = self.client.clone().with_token(token.clone());
        self.token = token;
        Ok(())
    }
}

/// Starts a QEMU on a saved state, and waits until the guest's agent listens.
pub(super) async fn load(prepared: &Prepared<'_>, state: &Path) -> Result<Child> {
    let process = qemu::start(prepared, Begin::State)?;
    let (socket, state) = (prepared.file("qmp"), state.to_owned());
    spawn_blocking(move || go_on(&mut Qmp::connect(&socket)?, &state)).await??;
    comes_back(prepared).await?;
    Ok(process)
}

async fn comes_back(prepared: &Prepared<'_>) -> Result<()> {
    tokio::time::timeout(BOOT, listens(&prepared.slot.dialer()))
        .await
        .context("the guest by hand does not come back")
}

fn go_on(qmp: &mut Qmp, state: &Path) -> Result<()> {
    let from = format!("file:{}", state.display());
    qmp.run("migrate-incoming", json!({ "uri": from }))?;
    loop {
        match qmp.run("query-migrate", json!({}))?["status"].as_str() {
            Some("completed") => break,
            Some("failed") => bail!("QEMU by hand does not load the state"),
            _ => std::thread::sleep(LOADING),
        }
    }
    qmp.run("cont", json!({})).map(drop)
}

/// 32 hex digits.
fn random_hex() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// The same digits as a UUID is written.
fn uuid(hex: &str) -> String {
    let ends = [0, 8, 12, 16, 20, 32];
    let parts: Vec<&str> = ends.windows(2).map(|pair| &hex[pair[0]..pair[1]]).collect();
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_that_guests_take() {
        let hex = random_hex().unwrap();
        assert_eq!(hex.len(), 32);
        let uuid = uuid(&hex);
        assert!(uuid.split('-').map(str::len).eq([8, 4, 4, 4, 12]), "{uuid}");
        assert_ne!(hex, random_hex().unwrap());
    }
}
