//! Slots: a network namespace, a veth pair, a TAP and the rules around them, for one VM each.
