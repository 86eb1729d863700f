//! How full the host is, for those who watch it.

use super::resources::{Promised, Room};

/// How much of something is used, and how much of it there is. What was promised once stays so when there is less: then
/// the first is the larger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) used: u64,
    pub(crate) limit: u64,
}

impl Share {
    pub(super) fn of(used: usize, limit: usize) -> Self {
        let count = |number| u64::try_from(number).unwrap_or(u64::MAX);
        Self {
            used: count(used),
            limit: count(limit),
        }
    }
}

/// What is promised, and who waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Slots of virtual machines, and how many there are addresses and descriptors for.
    pub(crate) slots: Share,
    /// Bytes of memory.
    pub(crate) memory: Share,
    /// Bytes of disk.
    pub(crate) disk: Share,
    /// Places in the queue of those who are to start.
    pub(crate) waiting: Share,
    /// Turns to start.
    pub(crate) turns: Share,
}

impl Load {
    /// What is promised of this room. Nobody waits.
    pub(super) fn promised(promised: &Promised, room: &Room, slots: Share) -> Self {
        Self {
            slots: Share {
                limit: slots.limit.min(room.machines),
                ..slots
            },
            memory: Share {
                used: promised.memory,
                limit: room.memory,
            },
            disk: Share {
                used: promised.disk,
                limit: room.disk,
            },
            ..Self::default()
        }
    }
}
