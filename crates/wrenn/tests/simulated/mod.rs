//! What the simulation is made of.
//!
//! ```text
//!   dice      decisions that follow from the seed
//!   world     what outlives agent and control plane: machines, slots, the history
//!   machines  a VMM whose machines are the world's; guest: the agent in them; slots: their network
//!   wire      the way between control plane and agent, on which calls are lost, late and doubled
//!   half      a runtime that can die; threads: whether anything goes on beside it
//!   names     ids in the order in which they were spoken of
//!   stage     all of them, and the time that passes
//!   callers   who asks for what, and was told what
//!   judge     what must hold in the end
//!   play      one seed, from beginning to end
//! ```

pub(crate) mod callers;
pub(crate) mod dice;
pub(crate) mod guest;
pub(crate) mod half;
pub(crate) mod judge;
pub(crate) mod machines;
pub(crate) mod names;
pub(crate) mod play;
pub(crate) mod slots;
pub(crate) mod stage;
pub(crate) mod threads;
pub(crate) mod wire;
pub(crate) mod world;
