//! A process's memory as its files and what it has written over them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command};

use wrenn_memory::{branch, overlay};
use wrenn_sys::extents::{Extent, Piece};
use wrenn_sys::pagemap::{self, Method};
use wrenn_testkit::xfs::on_xfs;

use super::{SIZE, sparse};

/// A process that stands still, ended with this value.
struct Still(Child);

impl Still {
    fn start() -> Self {
        let still = Self(Command::new("sleep").arg("600").spawn().unwrap());
        // Once it sleeps, its memory is as it will be.
        let asleep = (0..400).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            still.state() == Some('S')
        });
        assert!(asleep);
        still
    }

    fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// Its private mappings of files: where, at which offset of which file.
    fn private_mappings(&self) -> Vec<(Extent, u64, String)> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.0.id())).unwrap();
        let mapping = |line: &str| {
            let mut fields = line.split_whitespace();
            let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
            let (start, end) = fields.next()?.split_once('-')?;
            let access = fields.next()?;
            let offset = hex(fields.next()?);
            let path = fields.nth(2)?;
            let start = hex(start);
            let range = Extent {
                start,
                len: hex(end) - start,
            };
            let wanted = access.starts_with('r') && access.ends_with('p') && path.starts_with('/');
            wanted.then(|| (range, offset, path.to_owned()))
        };
        maps.lines().filter_map(mapping).collect()
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What a pause relies on, shown with a process that nobody prepared: its program and libraries are mapped privately, and
/// the dynamic linker has written into them.
#[test]
fn a_file_and_the_private_pages_over_it_are_what_a_process_sees() {
    on_xfs(SIZE, |dir| {
        let process = Still::start();
        let pid = i32::try_from(process.0.id()).unwrap();
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut private = 0;
        for (number, (range, offset, path)) in process.private_mappings().into_iter().enumerate() {
            let (parent, child) = (
                dir.join(format!("{number}.parent")),
                dir.join(format!("{number}.child")),
            );
            let mut expected = vec![0; usize::try_from(range.len).unwrap()];
            memory.read_exact_at(&mut expected, range.start).unwrap();
            let mapped = fs::read(path).unwrap();
            let mapped = mapped
                .get(usize::try_from(offset).unwrap()..)
                .unwrap_or_default();
            let mut file = mapped[..mapped.len().min(expected.len())].to_vec();
            file.resize(expected.len(), 0);
            sparse(&parent, &file);

            let pages = pagemap::private_by(Method::Scan, pid, range).unwrap();
            assert_eq!(
                pages,
                pagemap::private_by(Method::Entries, pid, range).unwrap()
            );
            let piece = |page: &Extent| Piece {
                from: page.start,
                to: page.start - range.start,
                len: page.len,
            };
            let pieces: Vec<_> = pages.iter().map(piece).collect();
            let image = branch(&parent, &child).unwrap();
            overlay(&image, &memory, &pieces, &mut |_, _| {}).unwrap();
            assert!(fs::read(&child).unwrap() == expected);
            private += pieces.iter().map(|piece| piece.len).sum::<u64>();
        }
        assert!(private > 0, "the dynamic linker has written nothing");
    });
}
