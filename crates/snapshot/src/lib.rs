//! A generation: a paused sandbox as one thing, its disk, its memory and what they depend on.
