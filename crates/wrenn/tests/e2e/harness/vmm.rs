//! The process that a sandbox is.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Kills a sandbox's VMM, as a bug in it or the kernel's want of memory would.
pub(crate) fn kill_vmm(data: &Path, sandbox: &str) {
    signal_vmm(data, sandbox, Signal::KILL);
}

/// The same to a virtual machine by its id.
pub(crate) fn kill_machine(vm: &str) {
    for pid in processes_in_group(vm) {
        kill_process(pid, Signal::KILL).unwrap();
    }
}

/// Has a virtual machine's VMM stand still, so that it says nothing any more.
pub(crate) fn stop_machine(vm: &str) {
    for pid in processes_in_group(vm) {
        kill_process(pid, Signal::STOP).unwrap();
    }
}

/// Sends a signal to a sandbox's VMM.
pub(crate) fn signal_vmm(data: &Path, sandbox: &str, signal: Signal) {
    let folder = data.join("store/sandboxes").join(sandbox);
    let names = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let vms: Vec<_> = names.filter(|name| name.starts_with("vm-")).collect();
    let pids: Vec<_> = vms.iter().flat_map(|vm| processes_in_group(vm)).collect();
    assert!(!pids.is_empty(), "{sandbox} has no process: {vms:?}");
    for pid in pids {
        kill_process(pid, signal).unwrap();
    }
}

/// The processes in control groups that have `name` in theirs.
fn processes_in_group(name: &str) -> Vec<Pid> {
    let numbers = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let inside = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .is_ok_and(|groups| groups.contains(name))
    };
    numbers.filter(inside).filter_map(Pid::from_raw).collect()
}
