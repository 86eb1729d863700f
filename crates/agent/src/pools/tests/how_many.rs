//! How many are to stand ready of a shape, and what somebody is told who asked for too many.

use wrenn_model::ErrorKind;

use crate::pools::*;

fn size(text: &str) -> PoolSize {
    text.parse().unwrap()
}

/// How many are to stand ready of the only shape, and stand by.
fn wanted(pools: &Pools) -> (usize, usize) {
    let states = pools.states();
    (states[0].wanted, states[0].wanted_started)
}

#[test]
fn what_somebody_asks_for_holds_whatever_else_is_said() {
    let pools = Pools::default();
    let shape = size("minimal:1:512=0").shape;
    pools.configure(size("minimal:1:512=2+1"));
    for _ in 0..3 {
        pools.asked(&shape);
    }
    assert_eq!(wanted(&pools), (3, 1));
    pools.warm(size("minimal:1:512=0+1"));
    assert_eq!(wanted(&pools), (0, 1));
    pools.warm(size("minimal:1:512=8+2"));
    assert_eq!(wanted(&pools), (8, 2));
    pools.drain(|_| true);
    assert_eq!(wanted(&pools), (0, 0));
    pools.warm(size("minimal:1:512=1"));
    assert_eq!(wanted(&pools), (1, 0));
}

#[test]
fn who_is_refused_has_changed_nothing() {
    let pools = Pools::default();
    pools.configure(size("minimal:1:512=2+1"));
    let (many, more) = (size("minimal:1:512=50"), size("minimal:1:512=60"));
    let former = pools.warm(many.clone());
    pools.unwarm(&many, former);
    assert_eq!(wanted(&pools), (2, 1));
    pools.drain(|_| true);
    let former = pools.warm(many.clone());
    pools.unwarm(&many, former);
    assert_eq!(wanted(&pools), (0, 0), "it was drained");
    // What another has said meanwhile stands.
    let former = pools.warm(many.clone());
    pools.warm(more);
    pools.unwarm(&many, former);
    assert_eq!(wanted(&pools), (60, 0));
}

#[test]
fn some_failures_in_a_row_are_enough() {
    let pools = Pools::default();
    let size = size("minimal:1:512=2");
    let busy = || Fault::new(ErrorKind::HostBusy, "no memory", "wait");
    pools.warm(size.clone());
    for _ in 1..IN_VAIN {
        pools.failed(&size.shape, busy());
    }
    assert_eq!(pools.in_vain(&size.shape), None);
    pools.failed(&size.shape, busy());
    assert_eq!(pools.in_vain(&size.shape), Some(busy()));
    pools.warm(size.clone());
    assert_eq!(pools.in_vain(&size.shape), None, "it was asked for anew");
}
