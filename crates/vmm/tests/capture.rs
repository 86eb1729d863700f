//! Real virtual machines that are saved and loaded again: what they were they still are, and what can't be loaded is
//! refused. Wants root and a guest kernel.
#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

mod lab;

use lab::Lab;
use lab::generation::{Generation, WORK, begins};
use wrenn_vmm::{RunState, Vmm};

#[tokio::test]
async fn a_guest_goes_on_over_generations() {
    let lab = Lab::new().await;
    let mut spec = lab.vm(WORK).await;
    let mut machine = lab.start(&spec).await;
    begins(&machine, 3).await;
    let mut last: Option<Generation> = None;
    for round in 1..=6 {
        machine.freeze().await.unwrap();
        let saved = Generation::save(&lab, last.as_ref(), &spec, &machine).await;
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
