//! The host agent: the life of every sandbox on this machine.
