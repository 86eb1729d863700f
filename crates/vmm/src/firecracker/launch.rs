//! From a description to a Firecracker in its jail that boots a guest, or waits for what it is to load.
//!
//! A saved state names its disk and its socket by their paths in the jail ([`super::layout`]) and its TAP by a name that is the same in every slot, so that it can be
//! loaded in any other jail. Our own helper makes what of the jail the host's files are bound into, and the namespaces that the
//! jailer leaves out; the jailer does the rest.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use wrenn_model::{MiB, VmId};
use wrenn_sys::cgroup::{Cgroup, CpuShare, Limits};
use wrenn_sys::dm::DeviceNumber;
use wrenn_sys::process::{self, Process};
use wrenn_sys::tap;

use super::api::Api;
use super::layout::{MEMORY, METRICS, ROOT, SERIAL, STATE};
use super::machine::FirecrackerMachine;
use super::pages::{self, Pages};
use super::{JAILER, PROGRAM, limits};
use crate::builds::Build;
use crate::jail::{Access, Device, Inhabitant, JailSpec, Launch, Mount, Zygote};
use crate::log::{self, Log};
use crate::pipe::{self, Pipe};
use crate::running::Running;
use crate::{Error, Identity, MemorySource, with_tables};

/// What Firecracker, its copy in the jail and its page server may take beside the guest's memory and its tables, in bytes.
pub(super) const OWN: u64 = 128 << 20;
/// For its own threads, in thousandths of a CPU beside the guest's.
const OWN_CPU_MILLI: u32 = 500;
/// Threads and processes beside the virtual CPUs: its two others, the page server, and the kernel's for KVM.
const OWN_PIDS: u32 = 32;
/// Of the jail's root: nodes and mount points, beside the program.
const ROOM: u64 = 1 << 20;
/// What the largest file may take beside the memory, in bytes.
const OWN_FILE: u64 = 64 << 20;
/// For a process that does not answer to end, so that its last words can be told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is to run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) vm: VmId,
    pub(super) dir: PathBuf,
    pub(super) uid: u32,
    pub(super) vcpus: u32,
    pub(super) memory: MiB,
    pub(super) begin: Begin,
    pub(super) disk: Option<DeviceNumber>,
    pub(super) tap: Option<(OwnedFd, [u8; 6])>,
    /// The system calls that it may make, where its build brings no list.
    pub(super) filter: Option<PathBuf>,
    pub(super) share: CpuShare,
}

/// The TAP that a VM will open.
#[derive(Debug)]
struct Network {
    name: String,
    /// Where it is. The jailer finds it by what we hold open until it has become Firecracker.
    namespace: OwnedFd,
    mac: [u8; 6],
}

/// What a guest begins with.
#[derive(Debug)]
pub(super) enum Begin {
    /// A kernel, and an initial file system unless only the kernel's progress is of interest.
    Kernel {
        kernel: PathBuf,
        initrd: Option<PathBuf>,
    },
    /// A saved state, which is loaded when the machine is told to.
    State {
        state: PathBuf,
        memory: MemorySource,
    },
}

impl Job {
    /// Starts it; a guest that boots runs then. What a failure leaves is for the caller to remove.
    pub(super) async fn run(
        mut self,
        build: &Build,
        cgroup: Cgroup,
        zygote: &Zygote,
    ) -> Result<FirecrackerMachine, Error> {
        cgroup.create(self.limits())?;
        if self.share != CpuShare::Usual {
            cgroup.share(self.share)?;
        }
        let (mut serial, mut log, said) = self.prepare_dir()?;
        let pages = match &self.begin {
            Begin::State { memory, .. } => {
                let said = said.try_clone().map_err(Error::io("the VMM's log"))?;
                let pages = Pages::start(zygote, &cgroup, &self.dir, self.uid, memory, said);
                Some(pages.await?)
            }
            Begin::Kernel { .. } => None,
        };
        let network = self.tap.take().map(|tap| self.give_away(tap)).transpose()?;
        let process = self.jailed(build, &cgroup, zygote, network.as_ref());
        let process = process.await?;
        let started = tokio::select! {
            started = self.begin(&process, network.as_ref()) => started,
            _ = process.ended() => Err(Error::Gone),
        };
        let api = match started {
            Ok(api) => api,
            Err(error) => return Err(last_words(error, &process, &mut serial, &mut log).await),
        };
        let identity = self.identity(&process, &cgroup, pages.as_ref())?;
        let running = Running::new(identity, process, cgroup);
        let machine = FirecrackerMachine::new(running, api, pages, false, Some(serial), Some(log));
        Ok(machine.await)
    }

    fn limits(&self) -> Limits {
        Limits {
            memory: with_tables(self.memory) + OWN,
            cpu_milli: self.vcpus * 1000 + OWN_CPU_MILLI,
            pids: self.vcpus + OWN_PIDS,
        }
    }

    /// Its pipes, and the files that a pause fills; the last value is the log's end for whoever says something.
    fn prepare_dir(&self) -> Result<(Pipe, Log, OwnedFd), Error> {
        let making = |what: &str| Error::io(format!("making {what} in {}", self.dir.display()));
        fs::create_dir(self.dir.join(ROOT)).map_err(making(ROOT))?;
        let serial = Pipe::create(&self.dir.join(SERIAL)).map_err(making(SERIAL))?;
        let (log, said) = Log::create(&self.vm, &self.dir).map_err(making(log::NAME))?;
        Pipe::create(&self.dir.join(METRICS)).map_err(making(METRICS))?;
        // Of its whole length from the start: what Firecracker adds to it then leaves what is there.
        for (name, len) in [(STATE, 0), (MEMORY, self.memory.bytes())] {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let made = options.open(self.dir.join(name));
            made.and_then(|file| file.set_len(len))
                .map_err(making(name))?;
        }
        for name in [STATE, MEMORY, METRICS, log::NAME] {
            std::os::unix::fs::chown(self.dir.join(name), Some(self.uid), Some(self.uid))
                .map_err(making(name))?;
        }
        Ok((serial, log.chatty(), said))
    }

    /// Lets the VM's user open the TAP, which has one holder at a time.
    fn give_away(&self, (tap, mac): (OwnedFd, [u8; 6])) -> Result<Network, Error> {
        let giving = || Error::io("giving away the TAP");
        tap::give_to(tap.as_fd(), self.uid).map_err(giving())?;
        Ok(Network {
            name: tap::name(tap.as_fd()).map_err(giving())?,
            namespace: tap::namespace(tap.as_fd()).map_err(giving())?,
            mac,
        })
    }

    /// Starts the process. It is the jailer, which becomes Firecracker.
    async fn jailed(
        &self,
        build: &Build,
        cgroup: &Cgroup,
        zygote: &Zygote,
        network: Option<&Network>,
    ) -> Result<Process, Error> {
        let spec = self.jail(build, cgroup, network)?;
        let serial = pipe::open(&self.dir.join(SERIAL)).map_err(Error::io("the serial line"))?;
        let launch = Launch {
            spec: &spec,
            fds: &[],
            log: serial.into(),
        };
        Ok(zygote.launch(launch).await?.process)
    }

    fn jail(
        &self,
        build: &Build,
        cgroup: &Cgroup,
        network: Option<&Network>,
    ) -> Result<JailSpec, Error> {
        let program = build.dir.join(PROGRAM);
        let size = fs::metadata(&program).map_err(Error::io("looking at Firecracker"))?;
        // Where the jailer will have its root.
        let inner = Path::new("firecracker").join(self.vm.as_str()).join("root");
        let mount = |from: &Path, to: &str, access| Mount {
            from: from.into(),
            to: inner.join(to),
            access,
        };
        let own = |name: &str, to: &str| mount(&self.dir.join(name), to, Access::Write);
        let mut mounts = vec![
            own(STATE, "captured.state"),
            own(MEMORY, "captured.memory"),
            own(log::NAME, "log"),
            own(METRICS, "metrics"),
        ];
        match &self.begin {
            Begin::Kernel { kernel, initrd } => {
                mounts.push(mount(kernel, "kernel", Access::Read));
                let initrd = initrd.as_deref();
                mounts.extend(initrd.map(|initrd| mount(initrd, "initrd", Access::Read)));
            }
            Begin::State { state, .. } => {
                mounts.push(mount(state, "state", Access::Read));
                mounts.push(own(pages::SOCKET, "pages.sock"));
            }
        }
        let filter = self.filter.as_deref();
        mounts.extend(filter.map(|filter| mount(filter, "filter", Access::Read)));
        let disk = self.disk.map(|number| Device::Disk {
            at: inner.join("disk"),
            number,
        });
        Ok(JailSpec {
            cgroup: cgroup.entry(),
            root: self.dir.join(ROOT),
            mounts,
            links: Vec::new(),
            devices: disk.into_iter().collect(),
            uid: self.uid,
            file_size: self.largest_file(),
            inhabitant: Inhabitant::Jailer {
                path: build.dir.join(JAILER),
                args: self.arguments(&program, network),
                room: size.len() + ROOM,
            },
        })
    }

    /// The jailer's, and behind them Firecracker's.
    fn arguments(&self, program: &Path, network: Option<&Network>) -> Vec<String> {
        let mut args = Vec::new();
        let mut pair = |name: &str, value: String| args.extend([name.to_owned(), value]);
        pair("--id", self.vm.to_string());
        pair("--exec-file", program.display().to_string());
        pair("--uid", self.uid.to_string());
        pair("--gid", self.uid.to_string());
        pair(
            "--chroot-base-dir",
            self.dir.join(ROOT).display().to_string(),
        );
        if let Some(Network { namespace, .. }) = network {
            let ours = std::process::id();
            pair(
                "--netns",
                format!("/proc/{ours}/fd/{}", namespace.as_raw_fd()),
            );
        }
        pair("--resource-limit", format!("fsize={}", self.largest_file()));
        pair("--resource-limit", "no-file=256".to_owned());
        args.push("--".to_owned());
        let mut pair = |name: &str, value: String| args.extend([name.to_owned(), value]);
        pair("--api-sock", socket(&self.vm));
        pair("--log-path", "/log".to_owned());
        pair("--metrics-path", "/metrics".to_owned());
        if self.filter.is_some() {
            pair("--seccomp-filter", "/filter".to_owned());
        }
        args
    }

    fn largest_file(&self) -> u64 {
        self.memory.bytes() + OWN_FILE
    }

    /// Waits until it answers, and boots what is to boot.
    async fn begin(&self, process: &Process, network: Option<&Network>) -> Result<Api, Error> {
        let path = socket(&self.vm);
        let api = Api::wait_for(process.pid(), Path::new(&path), limits::START).await?;
        match &self.begin {
            Begin::Kernel { initrd, .. } => self.boot(&api, initrd.is_some(), network).await?,
            Begin::State { .. } => {
                api.get("/", limits::CALL).await?;
            }
        }
        Ok(api)
    }

    async fn boot(&self, api: &Api, initrd: bool, network: Option<&Network>) -> Result<(), Error> {
        // A panic becomes a reset, which Firecracker ends with.
        let line = "console=ttyS0 quiet reboot=k panic=-1 pci=off";
        let mut source = json!({"kernel_image_path": "/kernel", "boot_args": line});
        if initrd {
            source["initrd_path"] = "/initrd".into();
        }
        let put = |path, body| api.put(path, body, limits::CALL);
        put("/boot-source", source).await?;
        let machine = json!({
            "vcpu_count": self.vcpus,
            "mem_size_mib": self.memory.0,
            // What a pause has to save of what was never saved before.
            "track_dirty_pages": true,
        });
        put("/machine-config", machine).await?;
        if self.disk.is_some() {
            let disk = json!({
                "drive_id": "disk",
                "path_on_host": "/disk",
                "is_root_device": false,
                "is_read_only": false,
                "cache_type": "Writeback",
            });
            put("/drives/disk", disk).await?;
        }
        if let Some(Network { name, mac, .. }) = network {
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            let net = json!({"iface_id": "net", "host_dev_name": name, "guest_mac": mac});
            put("/network-interfaces/net", net).await?;
        }
        put("/entropy", json!({})).await?;
        let start = json!({"action_type": "InstanceStart"});
        api.put("/actions", start, limits::of(self.memory.bytes()))
            .await
    }

    fn identity(
        &self,
        process: &Process,
        cgroup: &Cgroup,
        pages: Option<&Pages>,
    ) -> Result<Identity, Error> {
        let look = || Error::io("looking at the VMM's process");
        let pid = process.pid();
        Ok(Identity {
            vm: self.vm.clone(),
            dir: self.dir.clone(),
            isolation: wrenn_model::Isolation::Kvm,
            pid,
            birth: process::birth(pid).map_err(look())?.ok_or(Error::Gone)?,
            exe: process::exe(pid).map_err(look())?.ok_or(Error::Gone)?,
            cgroup: cgroup.path(),
            memory: None,
            pages: pages.map(|pages| pages.helper.clone()),
        })
    }
}

/// Where it has its API in the jail: a name that nothing else has, since before it has a jail it is looked for in the host's tree.
pub(super) fn socket(vm: &VmId) -> String {
    format!("/run/{vm}.api")
}

/// Instead of an error that only says that nobody answers: why, if the process has ended.
async fn last_words(error: Error, process: &Process, serial: &mut Pipe, log: &mut Log) -> Error {
    let Ok(exit) = tokio::time::timeout(LAST_WORDS, process.ended()).await else {
        return error;
    };
    // The jailer says it on what becomes the serial line, Firecracker in its log.
    let jailer = serial.drain().unwrap_or_default();
    let jailer = String::from_utf8_lossy(&jailer).trim().to_owned();
    let said = [jailer, log.drain()].join("\n");
    match said.trim() {
        "" => Error::Start {
            said: format!("it ended ({exit:?})"),
        },
        said => Error::Start {
            said: said.to_owned(),
        },
    }
}

/// Fails where Firecracker would only say so after its start.
pub(super) fn check(job: &Job, max_vcpus: u32) -> Result<(), Error> {
    if job.vcpus == 0 || job.vcpus > max_vcpus {
        let why = format!("{} virtual CPUs of at most {max_vcpus}", job.vcpus);
        return Err(Error::Spec(why));
    }
    let files: Vec<&Path> = match &job.begin {
        Begin::Kernel { kernel, initrd } => {
            let initrd = initrd.as_deref();
            std::iter::once(kernel.as_path()).chain(initrd).collect()
        }
        Begin::State { state, memory } => {
            let MemorySource::Summed { image, .. } = memory else {
                let why = "memory that is brought page by page has sums";
                return Err(Error::Spec(why.into()));
            };
            let len = fs::metadata(image).map_err(Error::io("looking at the memory image"))?;
            if len.size() != job.memory.bytes() {
                let why = format!("the memory image is not of {}", job.memory);
                return Err(Error::Spec(why));
            }
            vec![state, image]
        }
    };
    for path in files {
        File::open(path).map_err(Error::io(format!("opening {}", path.display())))?;
    }
    Ok(())
}
