//! Guest kernel, initramfs and base images, made from packages without mounting anything.
