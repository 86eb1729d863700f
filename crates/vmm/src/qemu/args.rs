//! QEMU's command line. All paths in it are paths in the jail.

use serde_json::{Value, json};
use wrenn_model::{Isolation, MiB, VmId};

use super::host::{FIRMWARE_DIR, PROGRAM};
use crate::console::CONSOLE_BYTES;
use crate::jail::FIRST_FD;

/// Where the jail has the build.
pub(super) const BUILD: &str = "vmm";
/// Where the jail has the VM's files.
pub(super) const MEMORY: &str = "vm/memory";
/// See [`MEMORY`].
pub(super) const STATE: &str = "vm/state";
/// See [`MEMORY`].
pub(super) const KERNEL: &str = "vm/kernel";
/// See [`MEMORY`].
pub(super) const INITRD: &str = "vm/initrd";
/// See [`MEMORY`].
pub(super) const BASE: &str = "vm/base";
/// See [`MEMORY`].
pub(super) const OVERLAY: &str = "vm/overlay";

/// The descriptor of the socket on which QMP is served.
pub(super) const QMP_FD: i32 = FIRST_FD;
/// The descriptor of the TAP.
pub(super) const TAP_FD: i32 = FIRST_FD + 1;

/// For the code that the emulator makes. Without a bound it grows to a gibibyte; with less than 32 it thrashes.
pub(super) const TRANSLATED_MIB: u32 = 64;
/// Threads that read and write the disk. QEMU's own bound of 64 is above what the cgroup allows, and it aborts when it
/// can't have a thread, which a guest with many requests under way could bring about.
pub(super) const DISK_THREADS: u32 = 16;

/// The machine type with all its options. With the old timer and interrupt controller some boots of an uncompressed
/// kernel end in a silent reset. A saved state of the devices alone has no description, which a load would miss aloud.
pub(super) const MACHINE: &str =
    "microvm,acpi=on,rtc=on,pit=off,pic=off,suppress-vmdesc=on,memory-backend=memory";

/// The CPU that the guest sees.
pub(super) fn cpu_model(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Kvm => "host",
        Isolation::Emulated => "max",
    }
}

/// What the guest begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// A kernel.
    Kernel {
        /// Beside it, an initial file system.
        initrd: bool,
    },
    /// A state that was saved. Its memory has the kernel in it.
    State,
}

/// A machine to be described.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) vm: VmId,
    pub(super) vcpus: u32,
    pub(super) memory: MiB,
    pub(super) isolation: Isolation,
    /// Of the host's time stamp counter. The emulator's guest can't measure it reliably.
    pub(super) tsc_khz: u64,
    pub(super) begin: Begin,
    pub(super) disk: bool,
    /// The guest's Ethernet address, if it has a network.
    pub(super) mac: Option<[u8; 6]>,
}

/// The program, as a path in the jail.
pub(super) fn program() -> String {
    format!("/{BUILD}/{PROGRAM}")
}

/// Its arguments.
pub(super) fn arguments(plan: &Plan) -> Vec<String> {
    let mut args = Arguments(Vec::new());
    args.flag("-nodefaults")
        .flag("-no-user-config")
        .flag("-no-reboot");
    args.pair("-name", format!("{},debug-threads=on", plan.vm));
    args.pair("-L", format!("/{BUILD}/{FIRMWARE_DIR}"));
    args.pair("-display", "none");
    args.pair(
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    );
    machine(&mut args, plan);
    begin(&mut args, plan);
    control(&mut args);
    disk(&mut args, plan);
    network(&mut args, plan);
    args.pair("-device", "virtio-rng-device");
    args.0
}

fn machine(args: &mut Arguments, plan: &Plan) {
    args.pair("-machine", MACHINE);
    let accel = match plan.isolation {
        Isolation::Kvm => "kvm".to_owned(),
        Isolation::Emulated => format!("tcg,tb-size={TRANSLATED_MIB}"),
    };
    args.pair("-accel", accel)
        .pair("-cpu", cpu_model(plan.isolation));
    args.pair("-smp", plan.vcpus.to_string());
    args.pair("-m", format!("{}M", plan.memory.0));
    // Private and read-only: what the guest writes is the process's own, and the file can't be harmed. No two guests'
    // pages are merged (KSM), which would tell the one what the other has; a crash writes none of them anywhere.
    args.pair(
        "-object",
        format!(
            "memory-backend-file,id=memory,size={},mem-path=/{MEMORY},share=off,readonly=on,rom=off,\
             merge=off,dump=off",
            plan.memory.bytes()
        ),
    );
    args.pair(
        "-object",
        format!("main-loop,id=main-loop,thread-pool-max={DISK_THREADS}"),
    );
}

fn begin(args: &mut Arguments, plan: &Plan) {
    match plan.begin {
        Begin::Kernel { initrd } => boot(args, plan, initrd),
        // The state is that of the devices alone, which QEMU's own format of a whole machine would introduce. And
        // whatever it says about running: the virtual CPUs wait for us.
        Begin::State => {
            args.flag("-S").pair("-incoming", "defer");
            args.pair("-global", "migration.send-configuration=off");
            // The guest has not moved: nobody has to be told where it is, least of all by the guest before it answers.
            args.pair("-global", "migration.announce-rounds=0");
        }
    }
}

fn boot(args: &mut Arguments, plan: &Plan, initrd: bool) {
    args.pair("-kernel", format!("/{KERNEL}"));
    if initrd {
        args.pair("-initrd", format!("/{INITRD}"));
    }
    // A panic becomes a reset, which -no-reboot makes an end.
    let mut line = "console=ttyS0 quiet reboot=t panic=-1".to_owned();
    if plan.isolation == Isolation::Emulated {
        line += &format!(" tsc_early_khz={} tsc=reliable", plan.tsc_khz);
    }
    args.pair("-append", line);
}

fn control(args: &mut Arguments) {
    args.pair(
        "-chardev",
        format!("socket,id=qmp,fd={QMP_FD},server=on,wait=off"),
    );
    args.pair("-mon", "chardev=qmp,mode=control");
    args.pair(
        "-chardev",
        format!("ringbuf,id=console,size={CONSOLE_BYTES}"),
    );
    args.pair("-serial", "chardev:console");
    // A machine that has ended stands until its reason and its console have been read.
    args.pair("-action", "panic=pause,shutdown=pause");
}

fn disk(args: &mut Arguments, plan: &Plan) {
    if !plan.disk {
        return;
    }
    let file = |path: &str, read_only: bool| -> Value {
        json!({"driver": "file", "filename": format!("/{path}"), "read-only": read_only, "discard": "unmap"})
    };
    // Both layers by name: what the layer's own header says about a backing file is not looked at.
    let node = json!({
        "driver": "qcow2", "node-name": "disk", "discard": "unmap", "detect-zeroes": "unmap",
        "file": file(OVERLAY, false),
        "backing": {"driver": "raw", "node-name": "base", "read-only": true, "file": file(BASE, true)},
    });
    args.pair("-blockdev", node.to_string());
    args.pair("-device", "virtio-blk-device,drive=disk");
}

fn network(args: &mut Arguments, plan: &Plan) {
    let Some(mac) = plan.mac else { return };
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    args.pair("-netdev", format!("tap,id=net,fd={TAP_FD},vhost=off"));
    args.pair("-device", format!("virtio-net-device,netdev=net,mac={mac}"));
}

struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.to_owned());
        self
    }

    fn pair(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.flag(name).0.push(value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(isolation: Isolation) -> Plan {
        Plan {
            vm: VmId::random(),
            vcpus: 2,
            memory: MiB(512),
            isolation,
            tsc_khz: 2_600_000,
            begin: Begin::Kernel { initrd: true },
            disk: true,
            mac: Some([2, 0xfc, 0, 0, 0, 5]),
        }
    }

    #[test]
    fn the_emulator_is_told_the_rate_of_the_counter_and_kvm_is_not() {
        let emulated = arguments(&plan(Isolation::Emulated)).join(" ");
        assert!(
            emulated.contains("tsc_early_khz=2600000 tsc=reliable"),
            "{emulated}"
        );
        assert!(
            emulated.contains("-accel tcg,tb-size=64 -cpu max"),
            "{emulated}"
        );
        let kvm = arguments(&plan(Isolation::Kvm)).join(" ");
        assert!(!kvm.contains("tsc"), "{kvm}");
        assert!(kvm.contains("-accel kvm -cpu host"), "{kvm}");
    }

    #[test]
    fn memory_and_base_can_not_be_written() {
        let line = arguments(&plan(Isolation::Emulated)).join(" ");
        assert!(line.contains(
            "size=536870912,mem-path=/vm/memory,share=off,readonly=on,rom=off,\
             merge=off,dump=off"
        ));
        assert!(line.contains("mac=02:fc:00:00:00:05"), "{line}");
        let bare = Plan {
            disk: false,
            mac: None,
            ..plan(Isolation::Emulated)
        };
        let line = arguments(&bare).join(" ");
        assert!(
            !line.contains("blockdev") && !line.contains("netdev"),
            "{line}"
        );
    }
    #[test]
    fn a_restore_needs_no_kernel_and_has_the_same_devices() {
        let cold = plan(Isolation::Emulated);
        let restored = Plan {
            begin: Begin::State,
            ..cold.clone()
        };
        let devices = |plan: &Plan| -> Vec<String> {
            let args = arguments(plan);
            let named = args
                .windows(2)
                .filter(|pair| ["-device", "-machine", "-cpu", "-m", "-smp"].contains(&&*pair[0]));
            named.map(|pair| pair.join(" ")).collect()
        };
        assert_eq!(devices(&cold), devices(&restored));
        let line = arguments(&restored).join(" ");
        assert!(line.contains("-S -incoming defer"), "{line}");
        assert!(!line.contains("vm/kernel") && !line.contains("-append"));
    }
}
