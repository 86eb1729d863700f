//! Services over the store and the agents: what should exist, and the way there.
