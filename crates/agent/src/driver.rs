//! Which VMM runs this host's guests, and which kind of layers they have for disks.
//!
//! A data directory remembers it: what one VMM has made no other takes up. So where there are sandboxes or snapshots, a choice that is
//! left to us stays what it was, and a host on which that can not be had any more starts nothing: another VMM would end what runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wrenn_disk::dm::DmSnapshot;
use wrenn_disk::{Disk, Qcow2};
use wrenn_model::{InstanceId, VmmKind, chain};
use wrenn_sys::durable;
use wrenn_vmm::{Accel, Firecracker, FirecrackerConfig, Qemu, QemuConfig, Vmm};

/// What runs guests is remembered there, in the data directory.
const FILE: &str = "vmm";

/// Which VMM is to run guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// Firecracker where all that it needs is there, else QEMU under KVM, else QEMU by emulation.
    #[default]
    Auto,
    /// Firecracker, or an error.
    Firecracker,
    /// QEMU, under KVM where that works, else by emulation.
    Qemu,
    /// QEMU under KVM, or an error.
    QemuKvm,
    /// QEMU by emulation.
    QemuEmulated,
}

impl Choice {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Auto,
        Self::Firecracker,
        Self::Qemu,
        Self::QemuKvm,
        Self::QemuEmulated,
    ];

    /// As a flag takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Firecracker => "firecracker",
            Self::Qemu => "qemu",
            Self::QemuKvm => "qemu-kvm",
            Self::QemuEmulated => "qemu-emulated",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text names no VMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is one of auto, firecracker, qemu, qemu-kvm, qemu-emulated")]
pub struct NoChoice;

impl FromStr for Choice {
    type Err = NoChoice;

    fn from_str(text: &str) -> Result<Self, NoChoice> {
        let named = Self::ALL.into_iter().find(|choice| choice.as_str() == text);
        named.ok_or(NoChoice)
    }
}

/// What a data directory remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Chosen {
    vmm: VmmKind,
    /// Where it was, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    binary: Option<PathBuf>,
}

/// What a driver is opened with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) choice: Choice,
    /// The Firecracker to use; `None` looks for the host's.
    pub(crate) firecracker: Option<PathBuf>,
    pub(crate) instance: InstanceId,
    pub(crate) helper: PathBuf,
    pub(crate) probe_kernel: PathBuf,
    /// The store.
    pub(crate) store: PathBuf,
    pub(crate) verdict_dir: PathBuf,
}

/// A VMM and its disks.
pub(crate) type Driver = (Arc<dyn Vmm>, Arc<dyn Disk>);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriverError {
    #[error(transparent)]
    Vmm(#[from] wrenn_vmm::Error),
    #[error(
        "Firecracker's disks are snapshots of the device mapper; load the kernel's modules dm-mod and dm-snapshot"
    )]
    Disk(#[from] wrenn_disk::Error),
    #[error(
        "Firecracker has made what is in this data directory, and can not be used now; `--vmm qemu` runs new sandboxes without it, \
         and ends those that run"
    )]
    Stays(#[source] Box<DriverError>),
}

/// Opens the VMM that is chosen for this data directory, and remembers it.
pub(crate) async fn open(setup: Setup, data: &Path) -> Result<Driver, DriverError> {
    let file = data.join(FILE);
    let before = remembered(&file);
    let (driver, binary) = match setup.choice {
        Choice::Firecracker => (firecracker(&setup).await?, setup.firecracker.clone()),
        Choice::Qemu => (qemu(&setup, Accel::Auto).await?, None),
        Choice::QemuKvm => (qemu(&setup, Accel::Kvm).await?, None),
        Choice::QemuEmulated => (qemu(&setup, Accel::Tcg).await?, None),
        Choice::Auto => best(setup, before.clone()).await?,
    };
    let chosen = Chosen {
        vmm: driver.0.kind(),
        binary,
    };
    if before.as_ref() != Some(&chosen) {
        let text = serde_json::to_vec(&chosen).unwrap_or_default();
        if let Err(error) = durable::write(&file, &text, 0o600) {
            tracing::warn!(%error, "which VMM runs guests could not be remembered");
        }
    }
    Ok(driver)
}

async fn best(
    mut setup: Setup,
    before: Option<Chosen>,
) -> Result<(Driver, Option<PathBuf>), DriverError> {
    let in_use = before.filter(|_| has_something(&setup.store));
    let stays = in_use.as_ref().map(|chosen| chosen.vmm);
    if setup.firecracker.is_none() {
        setup.firecracker = in_use.and_then(|chosen| chosen.binary);
    }
    if stays != Some(VmmKind::Qemu) {
        match firecracker(&setup).await {
            Ok(driver) => return Ok((driver, setup.firecracker)),
            Err(error) if stays.is_some() => return Err(DriverError::Stays(Box::new(error))),
            Err(error) => tracing::info!(reason = chain(&error), "Firecracker is not used"),
        }
    }
    Ok((qemu(&setup, Accel::Auto).await?, None))
}

fn remembered(file: &Path) -> Option<Chosen> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Whether anything is there that a VMM has made.
fn has_something(store: &Path) -> bool {
    let folders = ["sandboxes", "snapshots"].map(|name| store.join(name));
    folders
        .iter()
        .any(|folder| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()))
}

async fn firecracker(setup: &Setup) -> Result<Driver, DriverError> {
    let vmm = Firecracker::open(FirecrackerConfig {
        instance: setup.instance.clone(),
        binary: setup.firecracker.clone(),
        helper: setup.helper.clone(),
        probe_kernel: setup.probe_kernel.clone(),
        // Generations will link the builds that they need: links do not leave a file system.
        state_dir: setup.store.clone(),
        verdict_dir: setup.verdict_dir.clone(),
    });
    let disks = DmSnapshot::open(&setup.instance)?;
    Ok((Arc::new(vmm.await?), Arc::new(disks)))
}

async fn qemu(setup: &Setup, accel: Accel) -> Result<Driver, DriverError> {
    let vmm = Qemu::open(QemuConfig {
        instance: setup.instance.clone(),
        helper: setup.helper.clone(),
        accel,
        probe_kernel: setup.probe_kernel.clone(),
        state_dir: setup.store.clone(),
        verdict_dir: setup.verdict_dir.clone(),
        ..QemuConfig::default()
    });
    Ok((Arc::new(vmm.await?), Arc::new(Qcow2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_written_as_it_is_read() {
        for choice in Choice::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("xen".parse::<Choice>(), Err(NoChoice));
    }

    #[test]
    fn what_is_remembered_outlives_nonsense() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        assert_eq!(remembered(&file), None);
        std::fs::write(&file, "nonsense").unwrap();
        assert_eq!(remembered(&file), None);
        let chosen = Chosen {
            vmm: VmmKind::Firecracker,
            binary: Some("/opt/firecracker".into()),
        };
        std::fs::write(&file, serde_json::to_vec(&chosen).unwrap()).unwrap();
        assert_eq!(remembered(&file), Some(chosen));
    }

    /// Another VMM would end what runs.
    #[tokio::test]
    async fn where_what_made_it_can_not_be_opened_nothing_else_is() {
        let data = tempfile::tempdir().unwrap();
        let store = data.path().join("store");
        std::fs::create_dir_all(store.join("sandboxes/one")).unwrap();
        let chosen = Chosen {
            vmm: VmmKind::Firecracker,
            binary: None,
        };
        let remembers = serde_json::to_vec(&chosen).unwrap();
        std::fs::write(data.path().join(FILE), &remembers).unwrap();
        let setup = Setup {
            choice: Choice::Auto,
            firecracker: Some("/absent/firecracker".into()),
            instance: InstanceId::random(),
            helper: "/absent/helper".into(),
            probe_kernel: "/absent/kernel".into(),
            store,
            verdict_dir: data.path().into(),
        };
        let refused = open(setup, data.path()).await.unwrap_err();
        assert!(matches!(refused, DriverError::Stays(_)), "{refused:?}");
        assert_eq!(std::fs::read(data.path().join(FILE)).unwrap(), remembers);
    }

    #[test]
    fn an_empty_store_has_nothing_to_stay_for() {
        let store = tempfile::tempdir().unwrap();
        assert!(!has_something(store.path()));
        std::fs::create_dir_all(store.path().join("snapshots")).unwrap();
        assert!(!has_something(store.path()));
        std::fs::create_dir(store.path().join("snapshots/one")).unwrap();
        assert!(has_something(store.path()));
    }
}
