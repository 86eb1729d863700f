//! What this machine gives to sandboxes: the store, images, network, VMM and its own size.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use wrenn_disk::{Disk, Layer, Volume, VolumeConfig};
use wrenn_guest_image::{Cache, Images, Progress, Reuse};
use wrenn_model::{ErrorKind, Fault, Isolation, MiB, SandboxSpec, Subnet, VmId};
use wrenn_network::{Network, Ranges};
use wrenn_snapshot::Root;
use wrenn_vmm::{Machine, Vmm};

use crate::admission::{Admission, Limits, Place};
use crate::boot_images::BootImages;
use crate::data_dir::DataDir;
use crate::doubts::Doubts;
use crate::driver::{self, Choice as VmmChoice};
use crate::failpoint::Failpoints;
use crate::failure::{Failed, internal};
use crate::library::Library;
use crate::metrics::Metrics;
use crate::pools::Pools;
use crate::ready_slots::ReadySlots;
use crate::record::{Home, Keys, Origin, Vm};
use crate::slots::Slots;
use crate::spare::PoolSize;
use crate::steps::blocking;
use crate::watched_disk::WatchedDisk;
use wrenn_model::chain;

/// How much room the store keeps free, and how much it grows at a time, in bytes.
const STORE_HEADROOM: u64 = 1 << 30;
const STORE_STEP: u64 = 2 << 30;
const STORE_INITIAL: u64 = 4 << 30;

/// How the store of every data directory is made.
pub(crate) fn store_config() -> VolumeConfig {
    VolumeConfig {
        initial: STORE_INITIAL,
        step: STORE_STEP,
        headroom: STORE_HEADROOM,
    }
}

/// How an agent is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// The program that has the hidden `jail` command: this one.
    pub helper: PathBuf,
    /// The guest agent's static binary.
    pub envd: &'static [u8],
    /// Where slow results are kept by content.
    pub cache: PathBuf,
    /// The Debian package that guests' kernel is made from.
    pub kernel: String,
    /// What guests may reach by the network, and how.
    pub network: GuestNetwork,
    /// What guests may have of the host.
    pub limits: Limits,
    /// What stands ready for creations.
    pub warm: Warm,
    /// What runs guests.
    pub vmm: VmmChoice,
    /// The Firecracker to use, with its jailer beside it. `None` looks for the host's.
    pub firecracker: Option<PathBuf>,
}

/// What stands ready for creations. By default nothing does, and each of them boots.
#[derive(Debug, Clone, Default)]
pub struct Warm {
    /// How many bytes boot images may take that `shapes` does not name. With none there are no boot images.
    pub images: u64,
    /// Shapes whose boot images are made ahead and kept, and how many of each stand ready.
    pub shapes: Vec<PoolSize>,
    /// How many network slots stand ready for what is started beside those.
    pub slots: usize,
}

/// What guests may reach by this host's network, and how much of it they may use.
#[derive(Debug, Clone, Default)]
pub struct GuestNetwork {
    /// Who answers their questions for names; none means whom the host asks.
    pub resolvers: Vec<Ipv4Addr>,
    /// Private ranges of which sandboxes' policies may open parts.
    pub opened: Vec<Subnet>,
    /// What each guest may use.
    pub limits: wrenn_network::Limits,
}

/// Why a host cannot run sandboxes. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", chain(source.as_ref()))]
pub struct OpenError {
    what: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn cannot<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    what: &'static str,
) -> impl FnOnce(E) -> OpenError {
    move |error| OpenError {
        what,
        source: error.into(),
    }
}

/// What every guest boots from.
#[derive(Debug, Clone)]
pub struct Boot {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial RAM file system, with the guest agent.
    pub initrd: PathBuf,
}

impl Boot {
    /// By what generations remember the kernel: its file's name tells its version or content.
    pub(crate) fn kernel_name(&self) -> String {
        file_name(&self.kernel)
    }

    /// By what generations remember the guest agent.
    pub(crate) fn initrd_name(&self) -> String {
        file_name(&self.initrd)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// A machine that is ready to run sandboxes.
#[derive(Debug)]
pub struct Host {
    pub(crate) data: DataDir,
    pub(crate) volume: Arc<Volume>,
    pub(crate) images: Images,
    pub(crate) network: Arc<dyn Slots>,
    pub(crate) vmm: Arc<dyn Vmm>,
    pub(crate) disks: Arc<dyn Disk>,
    pub(crate) boot: Boot,
    pub(crate) failpoints: Failpoints,
    pub(crate) metrics: Metrics,
    pub(crate) cpus: u32,
    pub(crate) admission: Arc<Admission>,
    pub(crate) snapshots: Library,
    pub(crate) boot_images: BootImages,
    pub(crate) pools: Pools,
    pub(crate) ready_slots: ReadySlots,
    pub(crate) warm: Warm,
    pub(crate) doubts: Doubts,
    base_uid: u32,
    base_roots: BaseRoots,
}

/// A data directory with its store mounted: images can be built, no VM can run yet.
#[derive(Debug)]
pub struct Store {
    data: DataDir,
    volume: Volume,
    images: Images,
}

impl Store {
    /// Mounts the store of a data directory.
    pub async fn open(data: DataDir, cache: &Path) -> Result<Self, OpenError> {
        let volume = Volume::open(data.path(), store_config())
            .await
            .map_err(cannot("the store cannot be opened"))?;
        let images = Images::open(volume.root(), Cache::new(cache))
            .map_err(cannot("the images cannot be read"))?;
        Ok(Self {
            data,
            volume,
            images,
        })
    }

    /// Kernels, initramfs and templates.
    #[must_use]
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Unmounts it.
    pub async fn close(self) -> Result<(), OpenError> {
        self.volume
            .close()
            .await
            .map_err(cannot("the store cannot be unmounted"))
    }
}

impl Host {
    /// Prepares kernel and initramfs, the VMM and the network.
    pub async fn open(
        store: Store,
        config: &Config,
        progress: &dyn Progress,
    ) -> Result<Self, OpenError> {
        let Store {
            data,
            volume,
            images,
        } = store;
        let kernel = images
            .ensure_kernel(&config.kernel, Reuse::Present, progress)
            .await
            .map_err(cannot("there is no guest kernel"))?;
        let initrd = images
            .ensure_initramfs(&kernel, config.envd)
            .await
            .map_err(cannot("the initramfs cannot be made"))?;
        let boot = Boot {
            kernel: kernel.vmlinux.clone(),
            initrd,
        };
        progress.step("looking at the machine: VMM, KVM, network");
        let cache = config.cache.clone();
        blocking(move || std::fs::create_dir_all(cache))
            .await
            .map_err(cannot("the cache cannot be made"))?;
        let setup = driver::Setup {
            choice: config.vmm,
            firecracker: config.firecracker.clone(),
            instance: data.instance().clone(),
            helper: config.helper.clone(),
            probe_kernel: boot.kernel.clone(),
            store: volume.root().to_owned(),
            verdict_dir: config.cache.clone(),
        };
        let driver = driver::open(setup, data.path())
            .await
            .map_err(cannot("no virtual machine can be run"))?;
        let store = Store {
            data,
            volume,
            images,
        };
        let host = Self::with_vmm(store, driver, boot, config.network.clone()).await?;
        Ok(host
            .limited(config.limits.clone())?
            .warmed(config.warm.clone()))
    }

    /// Prepares the network for the machines of this VMM.
    pub async fn with_vmm(
        store: Store,
        driver: (Arc<dyn Vmm>, Arc<dyn Disk>),
        boot: Boot,
        guests: GuestNetwork,
    ) -> Result<Self, OpenError> {
        let network = Network::open(wrenn_network::Config {
            instance: store.data.instance().clone(),
            state_dir: store.data.path().to_owned(),
            ranges: None,
            resolvers: guests.resolvers,
            uplink: None,
            opened: guests.opened,
            limits: guests.limits,
        })
        .await
        .map_err(cannot("the network cannot be set up"))?;
        for warning in network.warnings() {
            tracing::warn!(%warning, "the network is not as it should be");
        }
        Self::with(store, driver, Arc::new(network), boot)
    }

    /// A host of these machines and these slots.
    pub fn with(
        store: Store,
        (vmm, disks): (Arc<dyn Vmm>, Arc<dyn Disk>),
        network: Arc<dyn Slots>,
        boot: Boot,
    ) -> Result<Self, OpenError> {
        let Store {
            data,
            volume,
            images,
        } = store;
        let failpoints = Failpoints::from_env().map_err(cannot("a test switch is wrong"))?;
        Ok(Self {
            admission: admission(&data, vmm.as_ref(), &boot, Limits::default())?,
            base_uid: users(&network.ranges()).start,
            base_roots: BaseRoots::default(),
            snapshots: Library::of(volume.root().join("snapshots")),
            boot_images: boot_images(&volume, 0),
            pools: Pools::default(),
            ready_slots: ReadySlots::at_least(0),
            warm: Warm::default(),
            doubts: Doubts::default(),
            data,
            volume: Arc::new(volume),
            images,
            network,
            vmm,
            disks,
            boot,
            failpoints,
            metrics: Metrics::default(),
            cpus: cpus(),
        })
    }

    /// The same host, of which guests may have no more than this.
    pub fn limited(self, limits: Limits) -> Result<Self, OpenError> {
        let admission = admission(&self.data, self.vmm.as_ref(), &self.boot, limits)?;
        Ok(Self { admission, ..self })
    }

    /// The same host, on which this stands ready.
    #[must_use]
    pub fn warmed(self, warm: Warm) -> Self {
        let boot_images = boot_images(&self.volume, warm.images);
        Self {
            boot_images,
            ready_slots: ReadySlots::at_least(warm.slots),
            warm,
            ..self
        }
    }

    /// Ends what a checkpoint holds up of this layer.
    pub(crate) async fn let_disk_go_on(&self, layer: &Layer) -> Result<(), Failed> {
        let (disks, layer) = (Arc::clone(&self.disks), layer.clone());
        Ok(tokio::task::spawn_blocking(move || disks.go_on(&layer)).await??)
    }

    /// A machine that has this layer for its disk, so that it stands still before that has no room.
    pub(crate) fn watched(&self, machine: Arc<dyn Machine>, layer: &Layer) -> Arc<dyn Machine> {
        if self.vmm.capabilities().freezes_on_full_disk {
            return machine;
        }
        let volume = Arc::clone(&self.volume);
        let room = Arc::new(move || {
            // What is free now takes what is written next; what waits to be written finds room that is made meanwhile, too.
            let unwritten = wrenn_sys::process::unwritten()?;
            let later = volume.whole_room()?.saturating_sub(unwritten);
            Ok(volume.free()?.free.min(later))
        });
        WatchedDisk::of(machine, Arc::clone(&self.disks), layer.clone(), room)
    }

    /// The faults that tests arm.
    #[must_use]
    pub fn failpoints(&self) -> Failpoints {
        self.failpoints.clone()
    }

    /// Takes a place for a virtual machine to come. What stands ready gives its own back for that.
    ///
    /// # Errors
    /// That there is none, and when to try again.
    pub(crate) async fn admit(self: &Arc<Self>, spec: &SandboxSpec) -> Result<Place, Fault> {
        loop {
            let refused = match self.admit_plainly(spec).await {
                Err(fault) if matches!(fault.kind, ErrorKind::HostBusy | ErrorKind::HostFull) => {
                    fault
                }
                admitted => return admitted,
            };
            // Not for who would find no place then, either.
            let ready = self.pools.memories();
            let enough = self.admission.fits_without(&self.volume, spec, &ready);
            let spare = enough.then(|| self.pools.give_back()).flatten();
            let Some(spare) = spare else {
                return Err(refused);
            };
            spare.unmake().await;
        }
    }

    /// The same of what is left beside all that stands ready.
    pub(crate) async fn admit_plainly(
        self: &Arc<Self>,
        spec: &SandboxSpec,
    ) -> Result<Place, Fault> {
        let (host, spec) = (self.clone(), spec.clone());
        tokio::task::spawn_blocking(move || host.admission.admit(&host.volume, &spec))
            .await
            .map_err(internal)?
    }

    /// The user id of the VMM in a slot: nobody else on this machine has it.
    pub(crate) fn uid(&self, slot_index: u16) -> u32 {
        self.base_uid + u32::from(slot_index)
    }

    /// Names all that a virtual machine of a sandbox will own, before any of it exists.
    pub(crate) fn plan_vm(&self, home: &Home, slot_index: u16, origin: Origin) -> Vm {
        self.name_vm(home, VmId::random(), slot_index, origin)
    }

    /// All that the virtual machine of this id owns.
    pub(crate) fn name_vm(&self, home: &Home, id: VmId, slot_index: u16, origin: Origin) -> Vm {
        let folder = home.folder.join(id.as_str());
        Vm {
            origin,
            slot: self.network.plan(slot_index, &id),
            uid: self.uid(slot_index),
            layer: Layer {
                overlay: folder.join(self.disks.file_name()),
                base: home.base.clone(),
                virtual_size: home.virtual_size,
            },
            keys: Keys::random(),
            platform: None,
            machine: None,
            folder,
            id,
        }
    }

    /// Where sandboxes have their folders.
    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.volume.root().join("sandboxes")
    }

    /// The folders of the store that sandboxes and what they are begun from are made in.
    pub(crate) fn folders(&self) -> [PathBuf; 4] {
        [
            self.sandboxes(),
            self.spares(),
            self.snapshots.folder().to_owned(),
            self.boot_images.library.folder().to_owned(),
        ]
    }

    /// Where virtual machines have their folders that no sandbox has.
    pub(crate) fn spares(&self) -> PathBuf {
        self.volume.root().join("spares")
    }

    /// A new name for a folder of files that a sandbox is begun from. What is left of it goes at the next start.
    pub(crate) fn lent(&self) -> PathBuf {
        let name = format!(".{}", VmId::random());
        self.volume.root().join("lent").join(name)
    }

    /// The memory of a guest that has never run: a read-only file of holes, shared by all of its size.
    pub(crate) async fn empty_memory(&self, size: MiB) -> std::io::Result<PathBuf> {
        let folder = self.volume.root().join("memory");
        blocking(move || empty_memory(&folder, size)).await
    }

    /// What all blocks of a base image sum to. The first time it is read as a whole.
    pub(crate) async fn base_root(&self, base: &Path) -> std::io::Result<Root> {
        let roots = self.base_roots.clone();
        let base = base.to_owned();
        blocking(move || roots.get(&base)).await
    }

    /// How long a boot may take. Emulation is an order of magnitude slower, and memory costs time to set up.
    pub(crate) fn boot_limit(&self, memory: MiB) -> Duration {
        let seconds = match self.vmm.isolation() {
            Isolation::Kvm => 30,
            Isolation::Emulated => 120,
        };
        Duration::from_secs(seconds + u64::from(memory.0) / 256)
    }

    /// How long one step of an operation may take before it counts as failed.
    pub(crate) fn step_limit(&self, memory: MiB) -> Duration {
        let limit = || self.boot_limit(memory) + Duration::from_secs(60);
        self.failpoints.limit().unwrap_or_else(limit)
    }
}

fn boot_images(volume: &Volume, most: u64) -> BootImages {
    BootImages::of(Library::of(volume.root().join("boot-images")), most)
}

/// The sums of base images by what tells one file from another: links of one file have one.
#[derive(Debug, Clone, Default)]
struct BaseRoots(Arc<Mutex<HashMap<ImageFile, Root>>>);

/// A file that nobody writes any more. A removed one's inode number is soon another's; the time of its last write is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ImageFile {
    device: u64,
    inode: u64,
    bytes: u64,
    written: SystemTime,
}

impl ImageFile {
    fn of(file: &File) -> std::io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.len(),
            written: meta.modified()?,
        })
    }
}

impl BaseRoots {
    fn get(&self, base: &Path) -> std::io::Result<Root> {
        let file = File::open(base)?;
        let image = ImageFile::of(&file)?;
        // Whoever comes while the file is read waits: it would only be read twice.
        let mut roots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match roots.entry(image) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(vacant) => Ok(*vacant.insert(wrenn_snapshot::base_root(&file)?)),
        }
    }
}

fn empty_memory(folder: &Path, size: MiB) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    let path = folder.join(format!("empty-{}", size.0));
    if path.exists() {
        return Ok(path);
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)?;
    let aside = tempfile_in(folder)?;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(&aside)?;
    file.set_len(size.bytes())?;
    file.sync_all()?;
    // Two at once make the same file of holes: either may win.
    wrenn_sys::durable::publish(&aside, &path)?;
    Ok(path)
}

fn tempfile_in(folder: &Path) -> std::io::Result<PathBuf> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!(".new-{}-{number}", std::process::id()));
    wrenn_sys::durable::remove(&path)?;
    Ok(path)
}

/// The user ids of VMMs, by the numbers of their slots. No slot has the number 0: its user is the control plane.
pub(crate) fn vmm_users(ranges: &Ranges) -> std::ops::Range<u32> {
    let all = users(ranges);
    all.start + 1..all.end
}

/// User ids follow from the instance's address range, which no other instance on the machine has.
fn users(ranges: &Ranges) -> std::ops::Range<u32> {
    const EACH: u32 = 0x8000;
    let [a, b, ..] = ranges.veth.subnet().address().octets();
    let first = 0x4000_0000 + (u32::from(a) << 8 | u32::from(b)) * EACH;
    first..first + EACH
}

fn cpus() -> u32 {
    std::thread::available_parallelism()
        .ok()
        .and_then(|n| u32::try_from(n.get()).ok())
        .unwrap_or(1)
}

fn admission(
    data: &DataDir,
    vmm: &dyn Vmm,
    boot: &Boot,
    limits: Limits,
) -> Result<Arc<Admission>, OpenError> {
    let size = |path: &Path| path.metadata().map_or(0, |file| file.len());
    let own = vmm.own_memory(size(&boot.kernel) + size(&boot.initrd));
    Admission::new(limits, data.instance(), own, cpus())
        .map(Arc::new)
        .map_err(cannot("what guests may have cannot be bounded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As when a template is built anew: its image takes the inode of one that was removed.
    #[test]
    fn an_image_in_the_place_of_a_removed_one_has_sums_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let roots = BaseRoots::default();
        let (path, link) = (dir.path().join("image"), dir.path().join("link"));
        let mut inodes = std::collections::HashSet::new();
        for byte in 1..=20 {
            std::fs::write(&path, [byte; 4096]).unwrap();
            // Images take seconds to build, longer than the kernel's clock takes for a tick.
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(byte.into());
            let image = File::options().write(true).open(&path).unwrap();
            image.set_modified(written).unwrap();
            drop(image);
            std::fs::hard_link(&path, &link).unwrap();
            let root = roots.get(&path).unwrap();
            assert_eq!(roots.get(&link).unwrap(), root);
            let anew = wrenn_snapshot::base_root(&File::open(&path).unwrap()).unwrap();
            assert_eq!(root, anew);
            inodes.insert(path.metadata().unwrap().ino());
            std::fs::remove_file(&path).unwrap();
            std::fs::remove_file(&link).unwrap();
        }
        assert!(inodes.len() < 20, "no inode came back: nothing was shown");
    }
}
