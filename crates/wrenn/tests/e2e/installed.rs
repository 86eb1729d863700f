//! What `make install` and `make deb` give: everything in its place, units that systemd takes, and a program that runs
//! sandboxes with the configuration and the rights that it is installed with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::{Apart, TestSandbox};

/// What has to be there, and its mode.
const FILES: [(&str, u32); 13] = [
    ("etc/wrenn/wrenn.toml", 0o644),
    ("usr/bin/wrenn", 0o755),
    ("usr/lib/systemd/system/wrenn-agent.service", 0o644),
    ("usr/lib/systemd/system/wrenn-server.service", 0o644),
    ("usr/lib/sysusers.d/wrenn.conf", 0o644),
    ("usr/lib/tmpfiles.d/wrenn.conf", 0o644),
    ("usr/share/bash-completion/completions/wrenn", 0o644),
    ("usr/share/zsh/vendor-completions/_wrenn", 0o644),
    ("usr/share/fish/vendor_completions.d/wrenn.fish", 0o644),
    ("usr/share/man/man1/wrenn.1.gz", 0o644),
    ("usr/share/man/man1/wrenn-sandbox-exec.1.gz", 0o644),
    ("usr/share/doc/wrenn/README.md", 0o644),
    ("usr/share/doc/wrenn/operations.md", 0o644),
];
const UNITS: [&str; 2] = ["wrenn-agent.service", "wrenn-server.service"];

/// One of our scripts, or a program of the machine's.
fn run(program: impl AsRef<Path>, args: &[&str], envs: &[(&str, &Path)]) -> Output {
    #[expect(clippy::disallowed_methods, reason = "as a person runs it")]
    let mut command = Command::new(program.as_ref());
    command.args(args).envs(envs.iter().copied());
    command.output().unwrap()
}

fn said(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../scripts")
        .join(name)
}

/// Installs the program under test below a folder.
fn install(root: &Path) {
    let envs = [
        ("DESTDIR", root),
        ("PREFIX", Path::new("/usr")),
        ("BINARY", Path::new(env!("CARGO_BIN_EXE_wrenn"))),
    ];
    said(run(script("install"), &[], &envs));
}

#[test]
fn everything_is_in_its_place_and_goes_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    install(root);
    for (file, mode) in FILES {
        let meta = fs::metadata(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{file}");
    }
    // A configuration that is there is somebody's, and so it is when all else goes.
    let config = root.join(FILES[0].0);
    fs::write(&config, "# mine\n").unwrap();
    install(root);
    let envs = [("DESTDIR", root), ("PREFIX", Path::new("/usr"))];
    said(run(script("install"), &["remove"], &envs));
    assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\n");
    let left = said(run("find", &[root.to_str().unwrap(), "-type", "f"], &[]));
    assert_eq!(left.trim(), config.to_str().unwrap());
}

#[test]
fn the_units_are_sound_and_the_control_planes_has_next_to_no_rights() {
    let dir = tempfile::tempdir().unwrap();
    install(dir.path());
    let program = dir.path().join("usr/bin/wrenn");
    let units = UNITS.map(|name| {
        // Whether the program is there is looked at, too.
        let unit =
            fs::read_to_string(dir.path().join("usr/lib/systemd/system").join(name)).unwrap();
        assert!(unit.contains("ExecStart=/usr/bin/wrenn "), "{unit}");
        assert!(unit.contains("file:/usr/share/doc/wrenn/"), "{unit}");
        let here = dir.path().join(name);
        fs::write(
            &here,
            unit.replace("/usr/bin/wrenn", program.to_str().unwrap()),
        )
        .unwrap();
        here.to_str().unwrap().to_owned()
    });
    if !Path::new("/usr/bin/systemd-analyze").exists() {
        eprintln!("systemd is not here to look at the units");
        return;
    }
    let verified = run(
        "systemd-analyze",
        &["verify", "--man=no", &units[0], &units[1]],
        &[],
    );
    assert_eq!(String::from_utf8_lossy(&verified.stderr), "");
    assert!(verified.status.success());
    // In tenths; the scale goes to 10, and what runs as root with nothing said has 9.6.
    for (unit, most) in units.iter().zip(["85", "15"]) {
        let threshold = format!("--threshold={most}");
        said(run(
            "systemd-analyze",
            &["security", "--offline=true", &threshold, unit],
            &[],
        ));
    }
}

#[test]
fn the_package_says_what_it_needs_and_ends_no_sandbox_with_an_upgrade() {
    let dir = tempfile::tempdir().unwrap();
    let envs = [
        ("BINARY", Path::new(env!("CARGO_BIN_EXE_wrenn"))),
        ("DEB_DIR", dir.path()),
        ("DEB_OPTIONS", Path::new("-Znone")),
    ];
    let package = said(run(script("deb"), &[], &envs));
    let package = package.trim();
    let contents = said(run("dpkg-deb", &["--contents", package], &[]));
    for (file, _) in FILES {
        let line = contents
            .lines()
            .find(|line| line.ends_with(&format!(" ./{file}")));
        let line = line.unwrap_or_else(|| panic!("{file}: {contents}"));
        assert!(line.contains(" root/root "), "{line}");
    }
    let field = |name: &str| said(run("dpkg-deb", &["--field", package, name], &[]));
    assert_eq!(field("Package").trim(), "wrenn");
    assert_eq!(field("Version").trim(), env!("CARGO_PKG_VERSION"));
    let depends = field("Depends");
    for needed in [
        "qemu-system-x86 (>= 1:10.0)",
        "mmdebstrap",
        "xfsprogs",
        "libc6 (>= 2.",
    ] {
        assert!(depends.contains(needed), "{depends}");
    }
    assert!(
        !depends.contains("nftables"),
        "it is the tests' alone: {depends}"
    );

    let control = dir.path().join("control");
    said(run(
        "dpkg-deb",
        &["--control", package, control.to_str().unwrap()],
        &[],
    ));
    let read = |name: &str| fs::read_to_string(control.join(name)).unwrap();
    assert_eq!(read("conffiles"), "/etc/wrenn/wrenn.toml\n");
    assert!(read("md5sums").contains("  usr/bin/wrenn\n"));
    upgrades_end_nothing(&control);
}

/// Runs the scripts as dpkg does, with programs in the machine's place that write down what is asked of them.
fn upgrades_end_nothing(control: &Path) {
    let (bin, log) = (control.join("bin"), control.join("log"));
    fs::create_dir(&bin).unwrap();
    for program in ["systemctl", "systemd-sysusers", "systemd-tmpfiles", "wrenn"] {
        let path = bin.join(program);
        let text = format!("#!/bin/sh\necho {program} $* >>{}\n", log.display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let asked = |name: &str, args: &[&str]| {
        fs::write(&log, "").unwrap();
        said(run(control.join(name), args, &[("PATH", Path::new(&path))]));
        fs::read_to_string(&log).unwrap()
    };
    assert_eq!(asked("prerm", &["upgrade", "0.2.0"]), "");
    let configured = asked("postinst", &["configure", "0.1.0"]);
    assert!(
        configured.contains("systemd-sysusers wrenn.conf"),
        "{configured}"
    );
    assert!(
        !configured.contains("wrenn down") && !configured.contains(" stop"),
        "{configured}"
    );
    assert!(asked("prerm", &["remove"]).contains("wrenn down"));
    let unit = include_str!("../../../../deploy/systemd/wrenn-agent.service");
    assert!(
        unit.contains("\nKillMode=process\n"),
        "a restart would end every sandbox"
    );
}

#[tokio::test]
async fn what_is_installed_runs_sandboxes_with_no_more_rights_than_its_unit_leaves_it() {
    let root = tempfile::tempdir().unwrap();
    install(root.path());
    let unit = root
        .path()
        .join("usr/lib/systemd/system/wrenn-agent.service");
    let unit = fs::read_to_string(unit).unwrap();
    let taken = unit
        .lines()
        .filter_map(|line| line.strip_prefix("CapabilityBoundingSet=~"));
    let taken: Vec<String> = taken
        .flat_map(|line| line.split(' '))
        .map(|name| format!("-{}", name.strip_prefix("CAP_").unwrap().to_lowercase()))
        .collect();
    assert!(taken.len() > 15, "{taken:?}");
    let mut apart = Apart::installed(root.path(), &taken.join(","));
    apart.start_agent();
    apart.start_server();
    let sandbox = TestSandbox::create(&apart.client()).await;
    assert_eq!(sandbox.sh("echo $((6*7))").await, "42\n");
    sandbox.pause().await;
    sandbox.resume().await;

    // An upgrade: another file has the program's name, and the agent is started anew.
    let boot = sandbox.sh("cat /proc/sys/kernel/random/boot_id").await;
    install(root.path());
    apart.kill_agent();
    apart.start_agent();
    let now = sandbox.sh("cat /proc/sys/kernel/random/boot_id").await;
    assert_eq!(now, boot);
    assert!(apart.client().delete_sandbox(&sandbox.id).await.unwrap());
}
