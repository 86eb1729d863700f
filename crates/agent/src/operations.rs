//! Everything that the agent does to a sandbox in steps, as one list: what faults can be armed at, and what the tests of
//! faults walk. An operation that is not in it has no failpoints.

use std::collections::BTreeSet;

use crate::archive::{EXPORT, IMPORT};
use crate::capture::{FORK, IMAGE, PAUSE, SNAPSHOT};
use crate::recovery::RECOVER;
use crate::sandbox::NETWORK;
use crate::steps::{CLONE, CREATE, FILL, Leave, Plan, RESUME, SETTLE, STAND_BY, TAKE};

/// Something that is done to a sandbox, step by step.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    points: fn() -> Vec<String>,
}

impl Operation {
    /// The failpoints of its steps, in their order.
    #[must_use]
    pub fn points(&self) -> Vec<String> {
        (self.points)()
    }
}

/// All of them.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "create",
        points: || made(CREATE),
    },
    // What is asked for is restored from a snapshot or a boot image, or is begun as a fork.
    Operation {
        name: "clone",
        points: || made(CLONE),
    },
    // It gets what stands ready.
    Operation {
        name: "take",
        points: || made(TAKE),
    },
    // A guest comes up of which a boot image is made.
    Operation {
        name: "settle",
        points: || made(SETTLE),
    },
    Operation {
        name: "image",
        points: || IMAGE.points(),
    },
    // Something is made to stand ready.
    Operation {
        name: "fill",
        points: || made(FILL),
    },
    Operation {
        name: "standby",
        points: || made(STAND_BY),
    },
    Operation {
        name: "snapshot",
        points: || SNAPSHOT.points(),
    },
    Operation {
        name: "fork",
        points: || FORK.points(),
    },
    Operation {
        name: "pause",
        points: || PAUSE.points(),
    },
    Operation {
        name: "resume",
        points: || made(RESUME),
    },
    // A sandbox goes with all that it had.
    Operation {
        name: "destroy",
        points: || unmade(Leave::Nothing),
    },
    // A virtual machine goes, and what its sandbox was paused to stays.
    Operation {
        name: "retire",
        points: || unmade(Leave::Home),
    },
    // A virtual machine that ended by itself goes, and its disk stays.
    Operation {
        name: "release",
        points: || unmade(Leave::Disk),
    },
    Operation {
        name: "export",
        points: || named(EXPORT),
    },
    Operation {
        name: "import",
        points: || named(IMPORT),
    },
    Operation {
        name: "network",
        points: || named(NETWORK),
    },
    Operation {
        name: "recover",
        points: || named(RECOVER),
    },
];

/// The failpoints of all operations.
pub(crate) fn points() -> BTreeSet<String> {
    OPERATIONS.iter().flat_map(Operation::points).collect()
}

fn made(plan: Plan) -> Vec<String> {
    let steps = plan.stages.iter().copied().flatten();
    steps.map(|step| plan.point(*step)).collect()
}

fn unmade(leave: Leave) -> Vec<String> {
    let steps = CREATE.stages.iter().rev().copied().flatten();
    steps
        .filter(|step| !leave.spares(**step))
        .map(|step| leave.point(*step))
        .collect()
}

fn named(points: &[&str]) -> Vec<String> {
    points.iter().map(|point| (*point).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_of_every_operation_has_a_failpoint_of_its_own() {
        let all: Vec<String> = OPERATIONS.iter().flat_map(Operation::points).collect();
        assert_eq!(points().len(), all.len(), "{all:?}");
        assert!(
            OPERATIONS
                .iter()
                .all(|operation| !operation.points().is_empty())
        );
    }
}
