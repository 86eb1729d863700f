//! What virtual machines leave in the kernel: control groups by their names, processes by their users, mounts by the
//! folders that they are in. It takes no driver to find them, and no agent.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use wrenn_model::leftover::{Kind, Leftover, Owner};
use wrenn_model::{InstanceId, VmId};
use wrenn_sys::cgroup::Hierarchies;
use wrenn_sys::process;

use crate::{Error, VmSpec, Vmm};

/// For all processes of a VM to end.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How the control group is called below which each virtual machine of an instance has its own.
#[must_use]
pub fn cgroup_of(instance: &InstanceId) -> String {
    format!("wrenn-{instance}")
}

/// All that stands of an instance's virtual machines, whoever started them. `users` are the ids that their VMMs may run as,
/// which nobody else on this machine has; `store` is where their folders are, three levels below.
///
/// # Errors
/// What the kernel said.
pub fn leftovers(
    instance: &InstanceId,
    users: Option<Range<u32>>,
    store: &Path,
) -> Result<Vec<Leftover>, Error> {
    let mut found = processes(users).map_err(Error::io("listing processes"))?;
    found.extend(cgroups(instance)?);
    found.extend(mounts(store).map_err(Error::io("listing mounts"))?);
    Ok(found)
}

/// The VMs of this instance of which the kernel still knows something.
pub(crate) fn vms(hierarchies: &Hierarchies, instance: &InstanceId) -> Result<Vec<VmId>, Error> {
    let names = hierarchies.children(&cgroup_of(instance))?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// How a start ended; one that failed has left nothing then.
pub(crate) async fn or_nothing<M>(
    vmm: &dyn Vmm,
    spec: &VmSpec,
    started: Result<M, Error>,
) -> Result<M, Error> {
    if started.is_err()
        && let Err(left) = vmm.remove(&spec.vm, &spec.dir).await
    {
        tracing::error!(vm = %spec.vm, error = %left, "a failed start was not cleaned up");
    }
    started
}

fn cgroups(instance: &InstanceId) -> Result<Vec<Leftover>, Error> {
    let hierarchies = Hierarchies::find()?;
    let parent = cgroup_of(instance);
    let names = hierarchies.children(&parent)?.into_iter();
    let leftovers = names.map(|name| {
        let group = hierarchies.group(&parent, &name);
        let owner = Owner::Vm(name);
        Leftover::new(Kind::Cgroup, group.path(), owner, move || async move {
            Ok(group.end(END_LIMIT).await?)
        })
    });
    Ok(leftovers.collect())
}

/// Processes that left their control group, or whose control group is gone, still have their user.
fn processes(users: Option<Range<u32>>) -> io::Result<Vec<Leftover>> {
    let Some(users) = users else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // One that is gone by now is none.
        let Ok(uid) = entry.metadata().map(|meta| meta.uid()) else {
            continue;
        };
        if users.contains(&uid)
            && let Some(born) = process::birth(pid)?
        {
            let name = format!("{pid} of user {uid}");
            let removal = move || async move { end(pid, &born).await };
            found.push(Leftover::new(
                Kind::Process,
                name,
                Owner::VmUser(uid),
                removal,
            ));
        }
    }
    Ok(found)
}

async fn end(pid: i32, born: &process::Birth) -> wrenn_model::leftover::Removed {
    if process::end(pid, born, END_LIMIT).await? {
        Ok(())
    } else {
        Err(format!("it does not end within {END_LIMIT:?}").into())
    }
}

/// A jail's mounts are seen by itself alone; one that the host sees would keep the VM's folder from being removed.
fn mounts(store: &Path) -> io::Result<Vec<Leftover>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    // What is mounted last is unmounted first.
    let points = text.lines().rev().filter_map(mount_point);
    let owned = points.filter_map(|point| {
        let mut below = point.strip_prefix(store).ok()?.iter().skip(2);
        let vm: VmId = below.next()?.to_str()?.parse().ok()?;
        below.next().is_some().then_some((point, vm))
    });
    let leftovers = owned.map(|(point, vm)| {
        let name = point.display().to_string();
        let owner = Owner::Vm(vm.as_str().to_owned());
        Leftover::new(Kind::JailMount, name, owner, move || async move {
            match unmount(&point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
    });
    Ok(leftovers.collect())
}

/// The fifth field of a line of `/proc/PID/mountinfo`, in which the kernel writes some characters as octal numbers.
fn mount_point(line: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;

    let field = line.split(' ').nth(4)?.as_bytes();
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let escaped = after.get(..3).filter(|_| *first == b'\\');
        let octal = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    Some(std::ffi::OsString::from_vec(path).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_with_spaces_is_read_as_it_is() {
        let line = r"36 35 98:0 / /a\040b/c\134d rw - ext4 /dev/x rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/a b/c\d")));
        assert_eq!(mount_point("36 35"), None);
    }
}
