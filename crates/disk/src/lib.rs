//! Copy-on-write disk layers over shared base images, and the volume that they stand on.
