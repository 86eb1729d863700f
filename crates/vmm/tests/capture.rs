//! Real virtual machines that are saved and loaded again: what they were they still are, and what can't be loaded is
//! refused. Wants root and a guest kernel.
#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

mod lab;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::Lab;
use lab::generation::{Generation, WORK, begins};
use wrenn_model::{Mismatch, Platform};
use wrenn_sys::program::Program;
use wrenn_vmm::{Error, Qemu, RunState, Vmm};

#[tokio::test]
async fn a_guest_goes_on_over_generations() {
    let lab = Lab::new().await;
    let mut spec = lab.vm(WORK).await;
    let mut machine = lab.start(&spec).await;
    begins(&machine, 3).await;
    let mut last: Option<Generation> = None;
    for round in 1..=6 {
        machine.freeze().await.unwrap();
        // What it wrote is found in either way.
        let saved = if round % 2 == 0 {
            Generation::save_by_entries(&lab, last.as_ref(), &spec, &machine).await
        } else {
            Generation::save(&lab, last.as_ref(), &spec, &machine).await
        };
        machine.kill().await.unwrap();
        lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
        lab.assert_gone(&spec).await;
        spec = saved.spec(&lab).await;
        machine = saved.restore(&lab, &spec).await.unwrap();
        assert_eq!(machine.run_state().await.unwrap(), RunState::Frozen);
        machine.thaw().await.unwrap();
        let links = saved.goes_on(&machine, 4).await;
        println!("generation {round}: {links} links");
        last = Some(saved);
    }
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    lab.assert_gone(&spec).await;
}

#[tokio::test]
async fn clones_share_an_image_and_the_source_goes_on() {
    let lab = Lab::new().await;
    let mut spec = lab.vm(WORK).await;
    spec.vcpus = 2;
    let source = lab.start(&spec).await;
    begins(&source, 2).await;
    let running = source.capture().await.unwrap_err();
    assert!(matches!(running, Error::NotFrozen(RunState::Running)));
    source.freeze().await.unwrap();
    let saved = Generation::save(&lab, None, &spec, &source).await;
    let published = fs::read(saved.image()).unwrap();
    source.thaw().await.unwrap();

    let mut specs = Vec::new();
    for _ in 0..2 {
        let mut clone = saved.spec(&lab).await;
        clone.vcpus = 2;
        specs.push(clone);
    }
    let [first, second] = [&specs[0], &specs[1]];
    let (one, two) = tokio::join!(saved.restore(&lab, first), saved.restore(&lab, second));
    let (one, two) = (one.unwrap(), two.unwrap());
    one.thaw().await.unwrap();
    two.thaw().await.unwrap();
    saved.goes_on(&one, 3).await;
    saved.goes_on(&two, 3).await;
    begins(&source, 6).await;

    // What was captured once can be captured again, with all that was written since its start.
    source.freeze().await.unwrap();
    let again = source.capture().await.unwrap();
    let written: u64 = again.pieces.iter().map(|piece| piece.len).sum();
    assert!(written > 3_000_000, "{written}");
    assert!(
        fs::read(saved.image()).unwrap() == published,
        "an image was written"
    );
    for spec in [first, second, &spec] {
        lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    }
    for spec in [first, second, &spec] {
        lab.assert_gone(spec).await;
    }
}

#[tokio::test]
async fn a_machine_that_was_adopted_is_captured_as_any_other() {
    let lab = Lab::new().await;
    let spec = lab.vm(WORK).await;
    let machine = lab.start(&spec).await;
    begins(&machine, 2).await;
    // As an agent that was started anew would have it.
    let identity = serde_json::to_string(machine.identity()).unwrap();
    drop(machine);
    let machine = lab
        .qemu
        .adopt(&serde_json::from_str(&identity).unwrap())
        .await
        .unwrap();
    machine.freeze().await.unwrap();
    let saved = Generation::save(&lab, None, &spec, &machine).await;
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();

    let restored = saved.spec(&lab).await;
    let machine = saved.restore(&lab, &restored).await.unwrap();
    let identity = machine.identity().clone();
    drop(machine);
    let machine = lab.qemu.adopt(&identity).await.unwrap();
    assert_eq!(machine.run_state().await.unwrap(), RunState::Frozen);
    let next = Generation::save(&lab, Some(&saved), &restored, &machine).await;
    lab.qemu.remove(&restored.vm, &restored.dir).await.unwrap();

    let restored = next.spec(&lab).await;
    let machine = next.restore(&lab, &restored).await.unwrap();
    machine.thaw().await.unwrap();
    next.goes_on(&machine, 3).await;
    lab.qemu.remove(&restored.vm, &restored.dir).await.unwrap();
    lab.assert_gone(&restored).await;
}

#[tokio::test]
async fn the_build_that_saved_a_state_loads_it() {
    let mut lab = Lab::new().await;
    let builds = lab.path().join("vmm-builds");
    fs::create_dir(&builds).unwrap();
    let current = lab.config.state_dir.join("vmm-builds");
    let current = current.join(&lab.qemu.platform().build);
    let old = builds.join("ab".repeat(32));
    let copied = Program::new("cp").arg("-r").args([&current, &old]).run();
    copied.await.unwrap();
    fs::write(old.join("firmware/other"), "than today").unwrap();
    lab.config.state_dir = lab.path().to_owned();
    lab.qemu = Qemu::open(lab.config.clone()).await.unwrap();
    let platform = Platform {
        build: "ab".repeat(32),
        ..lab.qemu.platform().clone()
    };
    lab.qemu.can_restore(&platform).unwrap();
    let link = lab.path().join("kept");
    lab.qemu.keep_build(&platform, &link).unwrap();
    lab.qemu.keep_build(&platform, &link).unwrap();
    lab.qemu.collect_builds().await.unwrap();

    let spec = lab.vm(WORK).await;
    let machine = lab.start(&spec).await;
    begins(&machine, 2).await;
    machine.freeze().await.unwrap();
    let mut saved = Generation::save(&lab, None, &spec, &machine).await;
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();

    saved.platform = platform.clone();
    let spec = saved.spec(&lab).await;
    let machine = saved.restore(&lab, &spec).await.unwrap();
    assert_eq!(
        foreign_files(machine.identity().pid, &old),
        [] as [String; 0]
    );
    machine.thaw().await.unwrap();
    saved.goes_on(&machine, 2).await;
    // A VM that runs needs its build, whoever else does.
    fs::remove_file(&link).unwrap();
    lab.qemu.collect_builds().await.unwrap();
    lab.qemu.can_restore(&platform).unwrap();
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    lab.qemu.collect_builds().await.unwrap();
    assert!(!old.exists());
    assert_eq!(
        lab.qemu.can_restore(&platform),
        Err(Mismatch::Build("ab".repeat(32)))
    );
    let refused = saved.restore(&lab, &spec).await.unwrap_err();
    assert!(
        matches!(refused, Error::Mismatch(Mismatch::Build(_))),
        "{refused}"
    );
    lab.assert_gone(&spec).await;
}

#[tokio::test]
async fn another_platform_is_refused_before_anything_is_made() {
    let lab = Lab::new().await;
    let spec = lab.vm("").await;
    let machine = lab.start(&spec).await;
    machine.freeze().await.unwrap();
    let mut saved = Generation::save(&lab, None, &spec, &machine).await;
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    let here = lab.qemu.platform().clone();
    let others = [
        Platform {
            tsc_khz: here.tsc_khz + here.tsc_khz / 2000,
            ..here.clone()
        },
        Platform {
            cpu_model: "qemu64".into(),
            ..here.clone()
        },
        Platform {
            cpu_features: ["amx".to_owned()].into(),
            ..here.clone()
        },
        Platform {
            build: "../../etc".into(),
            ..here.clone()
        },
    ];
    let spec = saved.spec(&lab).await;
    for other in others {
        saved.platform = other;
        let refused = saved.restore(&lab, &spec).await.unwrap_err();
        assert!(matches!(refused, Error::Mismatch(_)), "{refused}");
        lab.assert_gone(&spec).await;
    }
}

#[tokio::test]
async fn a_damaged_state_ends_in_an_error_and_leaves_nothing() {
    let lab = Lab::new().await;
    let spec = lab.vm("").await;
    let machine = lab.start(&spec).await;
    machine.freeze().await.unwrap();
    let saved = Generation::save(&lab, None, &spec, &machine).await;
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    let whole = fs::read(saved.state()).unwrap();
    let cut = [0, 1, 7, 8, 100, whole.len() / 2, whole.len() - 1];
    let mut damaged: Vec<_> = cut.iter().map(|length| whole[..*length].to_vec()).collect();
    damaged.push(b"no state at all".repeat(5000));
    damaged.push(vec![0xff; 20_000]);
    for state in damaged {
        let (outcome, took) = load(&lab, &saved, &state).await;
        assert!(matches!(outcome, Err(Error::Restore { .. })), "{outcome:?}");
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
    // QEMU notices few of these. It has to end well or badly, and soon.
    let mut errors = 0;
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut state = whole.clone();
        state[at] ^= 0xff;
        let (outcome, took) = load(&lab, &saved, &state).await;
        errors += usize::from(outcome.is_err());
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
    println!("{errors} of 40 flipped bytes were noticed");
    assert!(errors > 0);
    let huge = vec![0; (16 << 20) + 1];
    assert!(matches!(
        load(&lab, &saved, &huge).await.0,
        Err(Error::Spec(_))
    ));
}

/// Tries another state in the place of the one that was saved, and looks that nothing is left.
async fn load(lab: &Lab, saved: &Generation, state: &[u8]) -> (Result<(), Error>, Duration) {
    fs::remove_file(saved.state()).unwrap();
    fs::write(saved.state(), state).unwrap();
    let spec = saved.spec(lab).await;
    let began = Instant::now();
    let outcome = saved.restore(lab, &spec).await;
    let took = began.elapsed();
    if outcome.is_ok() {
        lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
    }
    lab.assert_gone(&spec).await;
    (outcome.map(drop), took)
}

#[tokio::test]
async fn a_vmm_that_is_killed_meanwhile_is_gone() {
    let lab = Lab::new().await;
    let spec = lab.vm("").await;
    let machine = lab.start(&spec).await;
    machine.freeze().await.unwrap();
    let saved = Generation::save(&lab, None, &spec, &machine).await;
    lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();

    let (mut failed, mut done) = (0, 0);
    for round in 0..24 {
        let spec = saved.spec(&lab).await;
        let killed = async {
            tokio::time::sleep(Duration::from_millis(round * 5)).await;
            lab::kill_all(spec.uid);
        };
        let (restored, ()) = tokio::join!(saved.restore(&lab, &spec), killed);
        match restored {
            Ok(_) => done += 1,
            Err(Error::Start { .. } | Error::Restore { .. } | Error::Jail(_) | Error::Gone) => {
                failed += 1;
                lab.assert_gone(&spec).await;
            }
            Err(other) => panic!("{other:?}"),
        }
        lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
        lab.assert_gone(&spec).await;
    }
    println!("restores: {failed} failed, {done} were through");
    assert!(failed > 0);

    failed = 0;
    for round in 0..24 {
        let spec = saved.spec(&lab).await;
        let machine = saved.restore(&lab, &spec).await.unwrap();
        let killed = async {
            tokio::time::sleep(Duration::from_micros(round * 100)).await;
            lab::kill_all(spec.uid);
        };
        let (captured, ()) = tokio::join!(machine.capture(), killed);
        match captured {
            Ok(capture) => assert!(!capture.state.is_empty()),
            Err(Error::Gone) => failed += 1,
            Err(other) => panic!("{other:?}"),
        }
        assert!(matches!(machine.capture().await, Err(Error::Gone)));
        lab.qemu.remove(&spec.vm, &spec.dir).await.unwrap();
        lab.assert_gone(&spec).await;
    }
    println!("captures: {failed} of 24 failed");
    assert!(failed > 0);
}

/// What a process has mapped that is neither of a build nor the memory.
fn foreign_files(pid: i32, build: &Path) -> Vec<String> {
    let mut known = Vec::new();
    for folder in ["bin", "lib"] {
        for entry in fs::read_dir(build.join(folder)).unwrap() {
            known.push(entry.unwrap().metadata().unwrap().ino().to_string());
        }
    }
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let fields = maps.lines().map(|line| line.split_ascii_whitespace());
    fields
        .filter_map(|mut fields| Some((fields.nth(4)?.to_owned(), fields.next()?.to_owned())))
        .filter(|(inode, path)| {
            path.starts_with('/') && path != "/vm/memory" && !known.contains(inode)
        })
        .map(|(_, path)| path)
        .collect()
}
