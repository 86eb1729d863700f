//! Real virtual machines: their life, their ends, and that nothing of them stays behind. Wants root and a guest kernel.
#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

mod lab;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use lab::{Lab, event, processes_of, says};
use wrenn_model::{Isolation, VmId};
use wrenn_vmm::{Ended, Error, Identity, Qcow2Disk, RunState, VmDisk, VmEvent, Vmm};

#[tokio::test]
async fn a_machine_boots_freezes_and_goes_without_a_trace() {
    let lab = Lab::new().await;
    let spec = lab
        .vm("echo hello from $(hostname); cat /proc/cmdline")
        .await;
    let machine = lab.start(&spec).await;
    says(&machine, "hello from").await;
    assert_eq!(machine.run_state().await.unwrap(), RunState::Running);
    machine.freeze().await.unwrap();
    assert_eq!(machine.run_state().await.unwrap(), RunState::Frozen);
    machine.thaw().await.unwrap();
    assert_eq!(machine.run_state().await.unwrap(), RunState::Running);

    assert_eq!(
        fs::metadata(lab.holes()).unwrap().blocks(),
        0,
        "the memory image was written"
    );
    let status = fs::read_to_string(format!("/proc/{}/status", machine.identity().pid)).unwrap();
    for line in [
        // The jail's filter and QEMU's own.
        "Seccomp_filters:\t2",
        "NoNewPrivs:\t1",
        "CapBnd:\t0000000000000000",
        "Groups:\t \n",
    ] {
        assert!(status.contains(line), "{line:?} is not in {status}");
    }

    let mut events = machine.events();
    machine.kill().await.unwrap();
    machine.kill().await.unwrap();
    let ended = VmEvent::Ended {
        how: Ended::Signal(9),
    };
    assert_eq!(event(&mut events).await, ended);
    assert_eq!(event(&mut machine.events()).await, ended, "told once more");
    assert!(matches!(machine.run_state().await, Err(Error::Gone)));
    let console = machine.console().await.unwrap();
    assert!(String::from_utf8_lossy(&console).contains("hello from"));
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    lab.assert_gone(&spec).await;
}

#[tokio::test]
async fn power_off_reset_and_panic_are_told_apart() {
    let lab = Lab::new().await;
    for (script, expected, state) in [
        (
            "poweroff -f",
            VmEvent::Shutdown { reset: false },
            RunState::Shutdown,
        ),
        (
            "reboot -f",
            VmEvent::Shutdown { reset: true },
            RunState::Shutdown,
        ),
        (
            "echo c > /proc/sysrq-trigger",
            VmEvent::Panicked,
            RunState::Panicked,
        ),
    ] {
        let spec = lab.vm(script).await;
        let machine = lab.start(&spec).await;
        let mut events = machine.events();
        assert_eq!(event(&mut events).await, expected, "{script}");
        assert_eq!(machine.run_state().await.unwrap(), state, "{script}");
        says(&machine, "READY").await;
        lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
        assert!(matches!(event(&mut events).await, VmEvent::Ended { .. }));
        lab.assert_gone(&spec).await;
    }
}

#[tokio::test]
async fn a_machine_outlives_its_agent_and_is_adopted() {
    let lab = Lab::new().await;
    let spec = lab
        .vm("echo early; sleep 1; i=0; while :; do i=$((i+1)); echo tick $i; sleep 1; done")
        .await;
    let told = lab.path().join("identity");
    // Another process starts it and is killed: this very program, as the ignored test below.
    #[expect(clippy::disallowed_methods, reason = "an agent that is killed")]
    let mut agent = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_agent_that_will_be_killed", "--ignored"])
        .env("LAB_VM", spec.vm.as_str())
        .env("LAB_DIR", lab.path())
        .env("LAB_INSTANCE", lab.config.instance.as_str())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let identity: Identity = tokio::time::timeout(lab::PATIENCE, async {
        loop {
            match fs::read(&told) {
                Ok(text) if !text.is_empty() => return serde_json::from_slice(&text).unwrap(),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await
    .unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();

    let stranger = Identity {
        pid: 1,
        ..identity.clone()
    };
    assert!(matches!(lab.qemu.adopt(&stranger).await, Err(Error::Gone)));
    let mut earlier = identity.clone();
    earlier.birth.start_time += 1;
    assert!(matches!(lab.qemu.adopt(&earlier).await, Err(Error::Gone)));
    assert!(!identity.of_former_boot());

    let machine = lab.qemu.adopt(&identity).await.unwrap();
    assert_eq!(machine.run_state().await.unwrap(), RunState::Running);
    says(&machine, "tick 3").await;
    let console = machine.console().await.unwrap();
    assert!(
        String::from_utf8_lossy(&console).contains("early"),
        "the first agent's part is lost"
    );
    let mut events = machine.events();
    machine.kill().await.unwrap();
    assert_eq!(
        event(&mut events).await,
        VmEvent::Ended {
            how: Ended::Unknown
        }
    );
    assert!(matches!(lab.qemu.adopt(&identity).await, Err(Error::Gone)));
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    lab.assert_gone(&spec).await;
}

/// Not a test of its own: see the one above.
#[tokio::test]
#[ignore = "started by another test"]
async fn an_agent_that_will_be_killed() {
    let dir = std::env::var("LAB_DIR").unwrap();
    let vm: VmId = std::env::var("LAB_VM").unwrap().parse().unwrap();
    let lab = Lab::resumed(Path::new(&dir), &std::env::var("LAB_INSTANCE").unwrap()).await;
    let machine = lab.start(&lab.spec(&vm)).await;
    says(&machine, "tick 1").await;
    // Until the console has certainly been stored.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    fs::write(
        lab.path().join("identity.new"),
        serde_json::to_vec(machine.identity()).unwrap(),
    )
    .unwrap();
    fs::rename(lab.path().join("identity.new"), lab.path().join("identity")).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing_and_says_why() {
    let lab = Lab::new().await;
    let spec = lab.vm("").await;
    fs::write(&lab::layer(&spec).overlay, "no disk").unwrap();
    let error = lab.try_start(&spec).await.unwrap_err();
    assert!(error.to_string().contains("qcow2"), "{error}");
    assert!(matches!(error, Error::Start { .. }), "{error:?}");
    lab.assert_gone(&spec).await;

    let absent = wrenn_vmm::VmSpec {
        kernel: "/absent".into(),
        ..lab.vm("").await
    };
    assert!(matches!(
        lab.try_start(&absent).await,
        Err(Error::Io { .. })
    ));
    lab.assert_gone(&absent).await;
    let root = wrenn_vmm::VmSpec {
        uid: 0,
        ..lab.vm("").await
    };
    let error = lab.try_start(&root).await.unwrap_err();
    assert!(
        matches!(&error, Error::Jail(why) if why.contains("root")),
        "{error}"
    );
    assert_eq!(lab.qemu.leftovers().await.unwrap(), []);
    let many = wrenn_vmm::VmSpec {
        vcpus: 10_000,
        ..lab.vm("").await
    };
    assert!(matches!(lab.try_start(&many).await, Err(Error::Spec(_))));
}

#[tokio::test]
async fn what_is_half_made_is_listed_and_removed() {
    let lab = Lab::new().await;
    let spec = lab.vm("").await;
    let machine = lab.start(&spec).await;
    // All that is known of it is lost, as after a crash before its identity was written.
    drop(machine);
    assert_eq!(
        lab.qemu.leftovers().await.unwrap(),
        std::slice::from_ref(&spec.vm)
    );
    assert_eq!(processes_of(spec.uid).len(), 1);
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    lab.assert_gone(&spec).await;

    let spec = lab.vm("").await;
    fs::create_dir(spec.dir.join("root")).unwrap();
    fs::write(spec.dir.join("qmp.sock"), "").unwrap();
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    lab.assert_gone(&spec).await;
    lab.qemu
        .remove(&VmId::random(), Path::new("/absent"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_machine_over_its_memory_limit_ends_and_the_reason_is_known() {
    let lab = Lab::new().await;
    let spec = lab
        .vm("sleep 2; head -c 200m /dev/zero | tail -c 80m | wc -c")
        .await;
    let machine = lab.start(&spec).await;
    let mut events = machine.events();
    says(&machine, "READY").await;
    lab::squeeze(&machine.identity().cgroup, 8 << 20);
    let ended = VmEvent::Ended {
        how: Ended::OutOfMemory,
    };
    assert_eq!(event(&mut events).await, ended);
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    lab.assert_gone(&spec).await;
}

#[tokio::test]
async fn a_full_host_disk_freezes_and_room_lets_it_go_on() {
    let lab = Lab::new().await;
    let mut spec = lab
        .vm("dd if=/dev/urandom of=/dev/vda bs=64k seek=1 count=64 conv=fsync; echo written $?")
        .await;
    let small = lab::SmallDisk::new(&lab.path().join("small"), "2m");
    let overlay = small.path().join("overlay.qcow2");
    let disk = lab::layer(&spec).clone();
    fs::copy(&disk.overlay, &overlay).unwrap();
    spec.disk = VmDisk::Qcow2(Qcow2Disk { overlay, ..disk });
    let machine = lab.start(&spec).await;
    let mut events = machine.events();
    assert_eq!(event(&mut events).await, VmEvent::IoError { enospc: true });
    assert_eq!(machine.run_state().await.unwrap(), RunState::IoError);
    small.grow("16m");
    machine.thaw().await.unwrap();
    says(&machine, "written 0").await;
    assert_eq!(machine.run_state().await.unwrap(), RunState::Running);
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    lab.assert_gone(&spec).await;
}

#[tokio::test]
async fn kvm_is_used_only_where_a_guest_gets_on_and_the_verdict_is_kept() {
    let lab = Lab::with(wrenn_vmm::Accel::Auto).await;
    let began = std::time::Instant::now();
    let again = Lab::with(wrenn_vmm::Accel::Auto).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "it was tried again"
    );
    assert_eq!(lab.qemu.isolation(), again.qemu.isolation());
    assert_eq!(lab.qemu.leftovers().await.unwrap(), []);
    if lab.qemu.isolation() == Isolation::Kvm {
        let spec = lab.vm("").await;
        let machine = lab.start(&spec).await;
        says(&machine, "READY").await;
        lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
        lab.assert_gone(&spec).await;
    }
}

/// A process of a VMM's user that left its control group, a control group without one, a mount that the host sees.
#[tokio::test]
async fn what_virtual_machines_leave_is_listed_with_its_owner_and_goes() {
    use std::os::unix::process::CommandExt;
    use wrenn_model::leftover::{Kind, Owner};
    use wrenn_sys::cgroup::{Hierarchies, Limits};

    let dir = tempfile::tempdir().unwrap();
    let (instance, vm) = (
        wrenn_model::InstanceId::random(),
        wrenn_model::VmId::random(),
    );
    let group = Hierarchies::find()
        .unwrap()
        .group(&format!("wrenn-{instance}"), vm.as_str());
    let limits = Limits {
        memory: 64 << 20,
        cpu_milli: 500,
        pids: 8,
    };
    group.create(limits).unwrap();
    let user = 0x7000_0000 + std::process::id();
    #[expect(clippy::disallowed_methods, reason = "a process that escaped")]
    let mut stray = std::process::Command::new("sleep")
        .arg("600")
        .uid(user)
        .spawn()
        .unwrap();
    let small = lab::SmallDisk::new(
        &made(&dir.path().join("sandboxes/sb-1").join(vm.as_str())),
        "1m",
    );
    let list = || {
        let users = Some(user..user + 1);
        wrenn_vmm::leftovers(&instance, users, dir.path()).unwrap()
    };
    let owner = Owner::Vm(vm.as_str().to_owned());
    let seen: Vec<_> = list()
        .into_iter()
        .map(|left| (left.kind, left.owner))
        .collect();
    assert_eq!(
        seen,
        [
            (Kind::Process, Owner::VmUser(user)),
            (Kind::Cgroup, owner.clone()),
            (Kind::JailMount, owner)
        ]
    );
    for left in list() {
        left.remove().await.unwrap();
    }
    assert!(list().is_empty());
    assert!(!stray.wait().unwrap().success());
    std::mem::forget(small);
}

/// The folder that a mount is in, made.
fn made(folder: &std::path::Path) -> std::path::PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    folder.join("root")
}
