//! A directory tree as an ext4 image, without mounting it.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wrenn_sys::program::Program;

use crate::error::{Error, Result};

/// Spelt out, so that an image does not depend on the building machine's defaults; all of it is in every guest kernel.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,\
    sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// A tree of hundreds of megabytes takes seconds.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Makes the image, sparse, of `size` bytes. `key` (hexadecimal, at least 32 digits) gives the file system its identity.
pub(crate) async fn build(tree: &Path, image: &Path, size: u64, key: &str) -> Result<()> {
    File::create_new(image)
        .and_then(|file| file.set_len(size))
        .map_err(Error::io("write", image))?;
    let config = image.with_extension("conf");
    fs::write(&config, "").map_err(Error::io("write", &config))?;
    let uuid = uuid(key);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let made = Program::new("mke2fs")
        // Tables that a guest would have to zero in the background are zeroed here, where they stay holes.
        .args([
            "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-m", "0",
        ])
        .args(["-O", FEATURES])
        .args(["-U", &uuid])
        .arg("-E")
        .arg(format!(
            "hash_seed={uuid},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
        ))
        .arg("-d")
        .args([tree, image])
        .env("MKE2FS_CONFIG", &config)
        .env("MKE2FS_SYNC", "0")
        .env(
            "E2FSPROGS_FAKE_TIME",
            now.unwrap_or_default().as_secs().to_string(),
        )
        .limit(LIMIT)
        .run()
        .await;
    made.map_err(Error::program(image))?;
    fs::remove_file(&config).map_err(Error::io("remove", &config))
}

/// The first 32 digits of a key as a UUID.
fn uuid(key: &str) -> String {
    let group = |range: std::ops::Range<usize>| key.get(range).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        group(0..8),
        group(8..12),
        group(12..16),
        group(16..20),
        group(20..32)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    async fn debugfs(image: &Path, command: &str) -> String {
        let output = Program::new("debugfs")
            .args(["-R", command])
            .arg(image)
            .run()
            .await
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[tokio::test]
    async fn an_image_is_sound_sparse_and_keeps_owners_and_modes() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, image) = (dir.path().join("tree"), dir.path().join("disk.ext4"));
        fs::create_dir(&tree).unwrap();
        let file = tree.join("sudo");
        fs::write(&file, "program").unwrap();
        chown(&file, Some(0), Some(42)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4755)).unwrap();
        build(&tree, &image, 8 << 30, KEY).await.unwrap();
        let meta = fs::metadata(&image).unwrap();
        assert_eq!(meta.len(), 8 << 30);
        assert!(meta.blocks() * 512 < 100 << 20, "{} KiB", meta.blocks() / 2);
        Program::new("e2fsck")
            .args(["-f", "-n"])
            .arg(&image)
            .run()
            .await
            .unwrap();
        let stat = debugfs(&image, "stat /sudo").await;
        assert!(stat.contains("Mode:  04755"), "{stat}");
        assert!(stat.contains("Group:    42"), "{stat}");
        let names = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 2, "nothing but tree and image");
    }

    #[test]
    fn a_key_gives_a_uuid() {
        assert_eq!(uuid(KEY), "01234567-89ab-cdef-0123-456789abcdef");
    }
}
