//! The steps of a sandbox's creation as values, and the executor that runs them forwards and backwards.
//!
//! Steps of one stage run side by side; stages run one after the other. Unmaking runs the stages in reverse. To unmake a
//! step it takes nothing but the record, it may be done twice, and it may be done to a step that was never made.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use rustix::fd::OwnedFd;
use tokio_util::sync::CancellationToken;
use wrenn_disk::{Disk, Layer, Qcow2};
use wrenn_envd_client::EnvdClient;
use wrenn_model::{ErrorKind, Fault};
use wrenn_network::{Slot, SlotDialer};
use wrenn_sys::durable;
use wrenn_vmm::{Machine, MemorySource, VmDisk, VmSpec};

use crate::Host;
use crate::chain::chain;
use crate::guest;
use crate::record::Record;

/// One step of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The sandbox's folder with a link to the base image, and the VM's folder in it.
    Folder,
    /// The network slot.
    Slot,
    /// The copy-on-write disk layer.
    Layer,
    /// The VMM's process, with its jail.
    Machine,
    /// The guest agent: up, and told who it is.
    Guest,
}

impl Step {
    /// Its name in logs, errors and failpoints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Slot => "slot",
            Self::Layer => "layer",
            Self::Machine => "machine",
            Self::Guest => "guest",
        }
    }
}

/// The stages of a creation.
pub const CREATE: &[&[Step]] = &[
    &[Step::Folder, Step::Slot],
    &[Step::Layer],
    &[Step::Machine],
    &[Step::Guest],
];

/// What of a sandbox outlives its VM until it is destroyed.
const KEPT: &[Step] = &[Step::Folder, Step::Layer];

/// What the steps made that lives in this process only.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) slot: OnceLock<Slot>,
    tap: Mutex<Option<OwnedFd>>,
    pub(crate) machine: OnceLock<Arc<dyn Machine>>,
    pub(crate) guest: OnceLock<EnvdClient>,
}

impl Parts {
    /// Takes up what a former agent made.
    pub(crate) fn adopt(
        &self,
        slot: Slot,
        machine: Arc<dyn Machine>,
        client: impl FnOnce(SlotDialer) -> EnvdClient,
    ) {
        self.guest.get_or_init(|| client(slot.dialer()));
        self.machine.get_or_init(|| machine);
        self.slot.get_or_init(|| slot);
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[error("step {}: {reason}", step.name())]
pub(crate) struct StepError {
    step: Step,
    kind: ErrorKind,
    reason: String,
}

impl StepError {
    pub(crate) fn fault(&self) -> Fault {
        let remedy = match self.kind {
            ErrorKind::HostFull => "free disk space on the host, or destroy sandboxes",
            ErrorKind::Conflict => "create a new sandbox",
            _ => "see the agent's log on the host; the request may be tried again",
        };
        Fault::new(
            self.kind,
            format!("the sandbox did not start: {self}"),
            remedy,
        )
    }
}

/// Runs all stages. It looks for a cancellation between them, and in the long wait for the guest.
pub(crate) async fn make(
    host: &Host,
    record: &Record,
    parts: &Parts,
    cancel: &CancellationToken,
) -> Result<(), StepError> {
    for stage in CREATE {
        if cancel.is_cancelled() {
            return Err(cancelled(stage[0]));
        }
        try_join_all(
            stage
                .iter()
                .map(|step| make_step(*step, host, record, parts, cancel)),
        )
        .await?;
    }
    Ok(())
}

fn cancelled(step: Step) -> StepError {
    StepError {
        step,
        kind: ErrorKind::Conflict,
        reason: "nobody waits for it any more".into(),
    }
}

/// Unmakes everything, or (when `keep_disk`) all but the files. It goes on past failures and tells them at the end.
pub(crate) async fn unmake(host: &Host, record: &Record, keep_disk: bool) -> Result<(), String> {
    let mut failures = Vec::new();
    for stage in CREATE.iter().rev() {
        let steps = stage
            .iter()
            .filter(|step| !keep_disk || !KEPT.contains(step));
        let results = join_all(steps.map(|step| unmake_step(*step, host, record))).await;
        failures.extend(results.into_iter().filter_map(Result::err));
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("; "))
    }
}

async fn make_step(
    step: Step,
    host: &Host,
    record: &Record,
    parts: &Parts,
    cancel: &CancellationToken,
) -> Result<(), StepError> {
    let began = Instant::now();
    let failed = |kind, reason: String| StepError { step, kind, reason };
    host.failpoints
        .hit(step.name())
        .await
        .map_err(|reason| failed(ErrorKind::AgentError, reason))?;
    let made = match step {
        Step::Folder => make_folder(host, record).await,
        Step::Slot => make_slot(host, record, parts).await,
        Step::Layer => make_layer(record).await,
        Step::Machine => make_machine(host, record, parts).await,
        Step::Guest => tokio::select! {
            made = make_guest(host, record, parts) => made,
            () = cancel.cancelled() => return Err(cancelled(step)),
        },
    };
    let took = began.elapsed();
    tracing::debug!(step = step.name(), ?took, ok = made.is_ok(), "made");
    made.map_err(|error| failed(error.kind, error.reason))
}

/// A failure inside a step.
struct Failed {
    kind: ErrorKind,
    reason: String,
}

impl<E: std::error::Error + 'static> From<E> for Failed {
    fn from(error: E) -> Self {
        let full = no_space(&error);
        Self {
            kind: if full {
                ErrorKind::HostFull
            } else {
                ErrorKind::AgentError
            },
            reason: chain(&error),
        }
    }
}

/// Whether there is an ENOSPC anywhere below.
fn no_space(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
    })
}

async fn make_folder(host: &Host, record: &Record) -> Result<(), Failed> {
    host.volume.grow_if_needed().await.map_err(|error| Failed {
        kind: match error {
            wrenn_disk::Error::HostFull { .. } => ErrorKind::HostFull,
            _ => ErrorKind::AgentError,
        },
        reason: chain(&error),
    })?;
    let resources = record.resources.clone();
    blocking(move || {
        let mut folders = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
        folders.create(&resources.folder)?;
        folders.create(resources.vm_folder())?;
        std::fs::hard_link(&resources.template_image, &resources.layer.base)
    })
    .await?;
    Ok(())
}

async fn make_slot(host: &Host, record: &Record, parts: &Parts) -> Result<(), Failed> {
    let mut slot = host.network.create(&record.resources.slot).await?;
    *parts
        .tap
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = slot.take_tap();
    let taken = parts.slot.set(slot).is_ok();
    debug_assert!(taken, "a slot is made once");
    Ok(())
}

async fn make_layer(record: &Record) -> Result<(), Failed> {
    let (layer, uid) = (record.resources.layer.clone(), record.resources.uid);
    tokio::task::spawn_blocking(move || Qcow2.create(&layer, uid)).await??;
    Ok(())
}

async fn make_machine(host: &Host, record: &Record, parts: &Parts) -> Result<(), Failed> {
    let resources = &record.resources;
    let spec = VmSpec {
        vm: resources.vm.clone(),
        vcpus: record.spec.vcpus,
        memory: record.spec.memory,
        kernel: host.boot.kernel.clone(),
        initrd: host.boot.initrd.clone(),
        disk: VmDisk {
            overlay: resources.layer.overlay.clone(),
            base: resources.layer.base.clone(),
        },
        mac: wrenn_envd_api::guest::MAC,
        uid: resources.uid,
        dir: resources.vm_folder(),
    };
    let memory = MemorySource::Image(host.empty_memory(record.spec.memory).await?);
    let tap = parts
        .tap
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .take()
        .ok_or_else(|| std::io::Error::other("the slot has no TAP"))?;
    let machine = host.vmm.start(&spec, memory, tap).await?;
    let taken = parts.machine.set(machine).is_ok();
    debug_assert!(taken, "a machine is started once");
    Ok(())
}

async fn make_guest(host: &Host, record: &Record, parts: &Parts) -> Result<(), Failed> {
    let (Some(slot), Some(machine)) = (parts.slot.get(), parts.machine.get()) else {
        return Err(std::io::Error::other("no slot or machine").into());
    };
    let dialer = slot.dialer();
    guest::wait_for_boot(
        &dialer,
        machine.as_ref(),
        host.boot_limit(record.spec.memory),
    )
    .await?;
    let client = guest::client(dialer, &record.keys.token);
    guest::introduce(&client, record).await?;
    let taken = parts.guest.set(client).is_ok();
    debug_assert!(taken, "a guest is introduced once");
    Ok(())
}

async fn unmake_step(step: Step, host: &Host, record: &Record) -> Result<(), String> {
    let began = Instant::now();
    let resources = &record.resources;
    let unmade = match step {
        Step::Guest => Ok(()),
        Step::Machine => host
            .vmm
            .remove(&resources.vm, &resources.vm_folder())
            .await
            .map_err(|error| chain(&error)),
        Step::Layer => remove_layer(&resources.layer).await,
        Step::Slot => host
            .network
            .remove(&resources.slot)
            .await
            .map_err(|error| chain(&error)),
        Step::Folder => remove(&resources.folder).await,
    };
    tracing::debug!(step = step.name(), took = ?began.elapsed(), ok = unmade.is_ok(), "unmade");
    unmade.map_err(|reason| format!("{}: {reason}", step.name()))
}

async fn remove_layer(layer: &Layer) -> Result<(), String> {
    let layer = layer.clone();
    match tokio::task::spawn_blocking(move || Qcow2.remove(&layer)).await {
        Ok(removed) => removed.map_err(|error| chain(&error)),
        Err(error) => Err(error.to_string()),
    }
}

async fn remove(path: &Path) -> Result<(), String> {
    let owned = path.to_owned();
    blocking(move || durable::remove(&owned))
        .await
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// File work off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| std::io::Error::other(error.to_string()))?
}

/// How long the executor waits before it tries again to unmake what would not go.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
