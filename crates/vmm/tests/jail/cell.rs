//! A jail to be, with a program in it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use wrenn_sys::cgroup::{Cgroup, Hierarchies, Limits};
use wrenn_sys::process::Exit;
use wrenn_vmm::Error;
use wrenn_vmm::jail::{Access, Device, Inhabitant, JailSpec, Jailed, Launch, Link, Mount, Zygote};

/// A user that nobody is.
pub(crate) const UID: u32 = 1_900_042;
/// How many processes there may be.
pub(crate) const PIDS: u32 = 8;
/// The largest file that may be written.
pub(crate) const FILE_SIZE: u64 = 1 << 20;

/// What the shell may try.
const TOOLS: [&str; 15] = [
    "sh", "cat", "chmod", "chroot", "head", "hostname", "id", "ifconfig", "kill", "mkdir", "mknod",
    "mount", "rm", "sleep", "touch",
];

/// See the module.
pub(crate) struct Cell {
    pub(crate) dir: TempDir,
    pub(crate) cgroup: Cgroup,
    pub(crate) spec: JailSpec,
}

impl Cell {
    /// With a shell that runs a script.
    pub(crate) fn shell(script: &str) -> Self {
        let mut cell = Self::new("/bin/sh", &["-c", script]);
        cell.show("/bin/busybox", "bin/busybox", Access::Execute);
        cell.show("/bin/busybox", "vm/no-program", Access::Read);
        for tool in TOOLS {
            cell.link(&format!("bin/{tool}"), "busybox");
        }
        cell.link("lib/link", "/vm/read");
        cell.show_own_files();
        cell
    }

    /// With `examples/escape`, and beside it a file of root's and a program with the setuid bit.
    pub(crate) fn escape(args: &[&str]) -> Self {
        let mut cell = Self::new("/vm/escape", args);
        let program = example("escape");
        cell.show(&program, "vm/escape", Access::Execute);
        for library in libraries() {
            let name = library.file_name().unwrap().to_str().unwrap();
            cell.show(&library, &format!("lib/{name}"), Access::Execute);
            // The loader has to be where the program looks for it.
            cell.link(&format!("lib64/{name}"), &format!("/lib/{name}"));
        }
        cell.show_own_files();
        let setuid = cell.path("setuid");
        fs::copy(&program, &setuid).unwrap();
        fs::set_permissions(&setuid, fs::Permissions::from_mode(0o4755)).unwrap();
        cell.show(&setuid, "vm/setuid", Access::Execute);
        let foreign = cell.path("foreign");
        fs::write(&foreign, "root's").unwrap();
        fs::set_permissions(&foreign, fs::Permissions::from_mode(0o600)).unwrap();
        cell.show(&foreign, "vm/foreign", Access::Write);
        if let Inhabitant::Program { env, .. } = &mut cell.spec.inhabitant {
            *env = vec![("LD_LIBRARY_PATH".into(), "/lib".into())];
        }
        cell
    }

    fn new(program: &str, args: &[&str]) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let parent = format!("wrenn-jailtest-{}-{number}", std::process::id());
        let cgroup = Hierarchies::find().unwrap().group(&parent, "vm");
        let limits = Limits {
            memory: 64 << 20,
            cpu_milli: 1000,
            pids: PIDS,
        };
        cgroup.create(limits).unwrap();
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        let spec = JailSpec {
            cgroup: cgroup.entry(),
            root: dir.path().join("root"),
            mounts: Vec::new(),
            links: Vec::new(),
            devices: vec![Device::Null, Device::Urandom],
            uid: UID,
            file_size: FILE_SIZE,
            inhabitant: Inhabitant::Program {
                path: program.into(),
                args: args.iter().map(|&arg| arg.into()).collect(),
                env: vec![("ONLY".into(), "this".into())],
            },
        };
        Self { dir, cgroup, spec }
    }

    fn show_own_files(&mut self) {
        for (name, access) in [("read", Access::Read), ("write", Access::Write)] {
            let path = self.path(name);
            fs::write(&path, "secret").unwrap();
            // What may be done is the mount's to say alone.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
            self.show(&path, &format!("vm/{name}"), access);
        }
        std::os::unix::fs::chown(self.path("write"), Some(UID), Some(UID)).unwrap();
    }

    fn show(&mut self, from: impl AsRef<Path>, to: &str, access: Access) {
        self.spec.mounts.push(Mount {
            from: from.as_ref().into(),
            to: to.into(),
            access,
        });
    }

    fn link(&mut self, at: &str, target: &str) {
        self.spec.links.push(Link {
            at: at.into(),
            target: target.into(),
        });
    }

    /// Of a file on the host.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) async fn start(&self, fds: &[OwnedFd]) -> Result<Jailed, Error> {
        self.start_by(&Zygote::new(&example("jail")), fds).await
    }

    pub(crate) async fn start_by(&self, zygote: &Zygote, fds: &[OwnedFd]) -> Result<Jailed, Error> {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let log = File::create(self.path("log")).unwrap().into();
        let launch = Launch {
            spec: &self.spec,
            fds: &fds,
            log,
        };
        zygote.launch(launch).await
    }

    /// Runs it to its end and returns what it said.
    pub(crate) async fn run(&self, fds: &[OwnedFd]) -> (Exit, String) {
        let jailed = self.start(fds).await.unwrap();
        let exit = jailed.process.ended().await;
        let said = fs::read_to_string(self.path("log")).unwrap();
        (exit, said)
    }

    pub(crate) async fn end(&self) {
        self.cgroup.end(Duration::from_secs(5)).await.unwrap();
    }
}

/// A program of this crate's `examples`.
pub(crate) fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let target = own.parent().unwrap().parent().unwrap();
    target.join("examples").join(name)
}

/// What this test program has loaded; the example needs no more than that.
fn libraries() -> BTreeSet<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .filter(|path| path.contains(".so"))
        .map(PathBuf::from)
        .collect()
}
