//! The first root file system: the guest agent as `/init`, and the modules that it loads before it can see a disk.

use crate::cpio::Archive;
use crate::modules::Module;

/// The initramfs of one kernel and guest agent.
///
/// `/modules/order` names the files beside it, one a line, in the order of loading. `/dev/console` is there so that the
/// kernel can open it for `/init`; what else `/init` needs it makes itself.
pub(crate) fn archive(envd: &[u8], modules: &[Module]) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.directory("dev", 0o755);
    archive.device("dev/console", 0o600, (5, 1));
    archive.file("init", 0o755, envd);
    let order: String = modules
        .iter()
        .map(|module| format!("{}.ko\n", module.name))
        .collect();
    archive.directory("modules", 0o755);
    archive.file("modules/order", 0o444, order.as_bytes());
    for module in modules {
        let name = format!("modules/{}.ko", module.name);
        archive.file(&name, 0o444, &module.bytes);
    }
    archive.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_names_the_files_in_the_order_of_loading() {
        let modules = ["virtio_ring", "virtio"].map(|name| Module {
            name: name.to_owned(),
            bytes: b"ko".to_vec(),
        });
        let bytes = archive(b"envd", &modules);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("virtio_ring.ko\nvirtio.ko\n"));
        assert!(text.contains("modules/virtio.ko"));
        assert_ne!(bytes, archive(b"other", &modules));
    }
}
