//! Writing a cpio archive in the "newc" format, which the kernel unpacks as its first root file system.

/// File types, as in `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// The archive's length is a multiple of this: QEMU 10 hangs at boot with some lengths that are not.
const PAGE: usize = 4096;

/// An archive being written. The same entries give the same bytes: owner root, time 0, inodes counted.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

/// What distinguishes one entry's header from another's.
#[derive(Default)]
struct Header {
    inode: u32,
    mode: u32,
    device: (u32, u32),
}

impl Archive {
    /// Adds a directory; its parent must come first.
    pub(crate) fn directory(&mut self, name: &str, permissions: u32) {
        let mode = DIRECTORY | permissions;
        self.add(name, mode, (0, 0), b"");
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, name: &str, permissions: u32, contents: &[u8]) {
        let mode = REGULAR | permissions;
        self.add(name, mode, (0, 0), contents);
    }

    /// Adds a character device by major and minor number.
    pub(crate) fn device(&mut self, name: &str, permissions: u32, device: (u32, u32)) {
        self.add(name, CHARACTER_DEVICE | permissions, device, b"");
    }

    /// The whole archive, padded to pages.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(Header::default(), "TRAILER!!!", b"");
        pad(&mut self.bytes, PAGE);
        self.bytes
    }

    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.entries += 1;
        let inode = self.entries;
        let header = Header {
            inode,
            mode,
            device,
        };
        self.entry(header, name, contents);
    }

    fn entry(&mut self, header: Header, name: &str, contents: &[u8]) {
        use std::io::Write;

        let Header {
            inode,
            mode,
            device: (major, minor),
        } = header;
        let size = contents.len();
        let name_size = name.len() + 1;
        // Magic; inode, mode, uid, gid, links, time, size; device of the file system; device of the entry; length of the
        // name; checksum, unused. Writing to a vector cannot fail.
        let _infallible = write!(
            self.bytes,
            "070701{inode:08x}{mode:08x}{uid:08x}{gid:08x}{links:08x}{time:08x}{size:08x}{none:08x}{none:08x}\
             {major:08x}{minor:08x}{name_size:08x}{none:08x}{name}\0",
            uid = 0,
            gid = 0,
            links = 1,
            time = 0,
            none = 0,
        );
        pad(&mut self.bytes, 4);
        self.bytes.extend_from_slice(contents);
        pad(&mut self.bytes, 4);
    }
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrenn_sys::program::Program;

    fn archive() -> Vec<u8> {
        let mut archive = Archive::default();
        archive.directory("dev", 0o755);
        archive.device("dev/console", 0o600, (5, 1));
        archive.directory("modules", 0o755);
        archive.file("modules/order", 0o444, b"one\n");
        archive.file("init", 0o755, &[7; 12_345]);
        archive.finish()
    }

    #[test]
    fn an_archive_is_whole_pages_and_always_the_same() {
        assert_eq!(archive().len() % PAGE, 0);
        assert_eq!(archive(), archive());
    }

    #[tokio::test]
    async fn another_program_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("archive"), archive()).unwrap();
        Program::new("sh")
            .args(["-c", "busybox cpio -idm < archive"])
            .current_dir(dir.path())
            .run()
            .await
            .unwrap();
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        assert_eq!(read("modules/order"), b"one\n");
        assert_eq!(read("init"), [7; 12_345]);
        let listed = Program::new("sh")
            .args(["-c", "busybox cpio -tv < archive"])
            .current_dir(dir.path())
            .run()
            .await
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(listed.lines().count(), 5, "{listed}");
        assert!(listed.contains("crw-------"), "{listed}");
        assert!(listed.contains("-rwxr-xr-x"), "{listed}");
    }
}
