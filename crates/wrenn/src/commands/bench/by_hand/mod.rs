//! The same guest without Wrenn: a bare QEMU on the same kernel, initramfs and template, asked straight from inside its
//! network namespace. No jail, no journal, no API.

mod capture;
mod clones;
mod guest;
mod qemu;
mod qmp;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};
use wrenn_guest_image::{Cache, Images, Kernel, Reuse, Silent, Template};
use wrenn_model::{InstanceId, MiB, NetworkPolicy, VmId};
use wrenn_network::{Limits, Network, Slot};
use wrenn_sys::durable;

use crate::agent_rpc::AgentRpc;
use crate::cli::Globals;
use crate::{guest_agent, install};

use qemu::Begin;

pub(super) use clones::{Image, Started, Waiting};
pub(super) use guest::Guest;

/// What a sandbox has by default.
pub(super) const VCPUS: u32 = 1;
pub(super) const MEMORY: MiB = MiB(512);

/// What guests by hand are made from, and a network for them: an instance of its own beside Wrenn's.
pub(super) struct Hand {
    /// On the store, as Wrenn's own overlays are.
    dir: PathBuf,
    kernel: Kernel,
    initramfs: PathBuf,
    template: Template,
    network: Network,
    kvm: bool,
    /// Of the host's time stamp counter. Measuring it takes longer than a resume, and is no part of any figure.
    tsc_khz: u64,
    next_slot: AtomicU16,
}

/// A guest that only has to be started: its slot, its overlay and its memory stand.
pub(super) struct Prepared<'a> {
    hand: &'a Hand,
    slot: Slot,
    /// It outlives one QEMU and serves the next.
    tap: OwnedFd,
    /// Where everything else of it is.
    folder: PathBuf,
    overlay: PathBuf,
    memory: MiB,
    /// The file that its memory is a private mapping of.
    image: PathBuf,
}

impl Hand {
    /// Takes what the Wrenn of the data directory uses, and its accelerator.
    pub(super) async fn open(globals: &Globals, template: &str) -> Result<Self> {
        let health = AgentRpc::new(&globals.dir).health().await;
        let health = health.context(
            "the Wrenn of this data directory does not answer: start it with `wrenn up`",
        )?;
        let store = globals.dir.join("store");
        let images = Images::open(&store, Cache::new(&globals.cache)).map_err(install::advise)?;
        let kernel = images
            .ensure_kernel(&globals.kernel, Reuse::Present, &Silent)
            .await
            .map_err(install::advise)?;
        let initramfs = images
            .ensure_initramfs(&kernel, guest_agent::BINARY)
            .await
            .map_err(install::advise)?;
        let template = images
            .template(&template.parse()?)
            .map_err(install::advise)?;
        let dir = store.join("bench");
        durable::remove(&dir)?;
        std::fs::create_dir(&dir)?;
        let config = wrenn_network::Config {
            instance: InstanceId::random(),
            state_dir: dir.clone(),
            ranges: None,
            resolvers: Vec::new(),
            uplink: None,
            opened: Vec::new(),
            limits: Limits::default(),
        };
        Ok(Self {
            network: Network::open(config)
                .await
                .context("the network by hand cannot be made")?,
            dir,
            kernel,
            initramfs,
            template,
            kvm: health.isolation == "kvm",
            tsc_khz: wrenn_sys::clock::tsc_khz(),
            next_slot: AtomicU16::new(1),
        })
    }

    /// Makes what is not measured.
    pub(super) async fn prepare(&self, memory: MiB) -> Result<Prepared<'_>> {
        let vm = VmId::random();
        let plan = self
            .network
            .plan(self.next_slot.fetch_add(1, Ordering::Relaxed), &vm);
        let mut slot = self
            .network
            .create(&plan, &NetworkPolicy::default())
            .await?;
        let tap = slot.take_tap().context("the slot has no TAP")?;
        let folder = self.dir.join(vm.as_str());
        std::fs::create_dir(&folder)?;
        let overlay = folder.join("disk.qcow2");
        wrenn_disk::create_overlay(
            &overlay,
            &self.template.image,
            self.template.virtual_size,
            0,
        )?;
        let image = folder.join("holes");
        File::create(&image)?.set_len(memory.bytes())?;
        Ok(Prepared {
            hand: self,
            slot,
            tap,
            folder,
            overlay,
            memory,
            image,
        })
    }

    /// Gives the machine back what this took.
    pub(super) async fn close(self) -> Result<()> {
        self.network.close().await?;
        Ok(durable::remove(&self.dir)?)
    }
}

impl<'a> Prepared<'a> {
    /// Starts the guest and introduces the host to it, as the agent does.
    pub(super) async fn boot(self) -> Result<Guest<'a>> {
        let process = qemu::start(&self, Begin::Boot)?;
        Guest::introduce(self, process).await
    }

    /// Takes its slot and files away.
    async fn remove(self) -> Result<()> {
        self.hand.network.remove(self.slot.plan()).await?;
        Ok(durable::remove(&self.folder)?)
    }

    /// One of its files.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
