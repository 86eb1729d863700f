//! From the kernel's first instruction in user space to a guest that serves, and back to power off.

mod limits;
mod modules;
mod mounts;
mod network;
mod shutdown;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use wrenn_envd_api::guest;

use crate::console;
use crate::machine::{self, Machine};
use crate::process::{Groups, Processes, Reaper, block_sigchld};
use crate::server::{Server, router, runtime, serve};

/// Under which control group the commands' own are made.
const COMMANDS: &str = "/sys/fs/cgroup/wrenn";

/// How many files a process may have open: softly, and at most.
const OPEN_FILES: (u64, u64) = (65_536, 524_288);

/// Boots the guest and serves until a signal asks for its end. Returns only if the guest cannot be used: PID 1 then ends,
/// the kernel panics, and the host sees that.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    umask(Mode::from_bits_truncate(0o022));
    mounts::early()?;
    modules::load_all()?;
    mounts::switch_root()?;
    mounts::late();
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES.0, OPEN_FILES.1)?;
    configure();
    block_sigchld()?;
    let processes = Processes::new(Reaper::start()?, Groups::new(PathBuf::from(COMMANDS))?);
    let server = Server::new(processes, Machine::Own);
    let runtime = runtime()?;
    let end = runtime.block_on(async {
        let mut signals = shutdown::Signals::new()?;
        let listener = network::listen()?;
        console::log(format_args!(
            "serving {} ms after the kernel's start of init",
            start.elapsed().as_millis()
        ));
        Ok::<_, std::io::Error>(tokio::select! {
            never = serve(listener, router(&server)) => match never {},
            end = signals.asked() => end,
        })
    })?;
    Err(shutdown::end(end).into())
}

/// Names the guest, connects it, and bounds its commands. One that lacks something here can still be used and looked into.
fn configure() {
    let steps = [
        ("host name", machine::set_hostname(guest::HOSTNAME)),
        ("network", network::configure()),
        ("resolver", network::write_resolver()),
        ("limits", limits::bound_commands(Path::new(COMMANDS))),
    ];
    for (name, result) in steps {
        if let Err(error) = result {
            console::log(format_args!("{name}: {error}"));
        }
    }
}
