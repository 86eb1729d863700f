//! A guest's memory in each of the forms that it is served from.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use wrenn_memory::packed::{BuildId, Identity, Mapping, Reader, Source, pack};
use wrenn_memory::page_server::PageSource;
use wrenn_sys::extents::Extent;

use super::PAGE;

/// What stands in the image at this page: every fourth stretch of 16 pages is a hole.
pub(crate) fn expected(page: u64) -> u8 {
    let is_hole = page / 16 % 4 == 3;
    if is_hole { 0 } else { content(page) }
}

fn content(page: u64) -> u8 {
    u8::try_from(page % 251 + 1).unwrap()
}

/// What stands in for an image's sums.
pub(crate) fn as_written(at: u64, bytes: &[u8]) -> bool {
    let pages = bytes.chunks(4096).zip(at / PAGE..);
    let mut bad = pages.filter(|(bytes, page)| bytes.iter().any(|byte| *byte != expected(*page)));
    bad.next().is_none()
}

/// The image as a sparse file.
pub(crate) fn sparse(folder: &Path, len: u64) -> File {
    written(folder, len, |_| true)
}

/// The image in both forms: the sparse file, and the packs of two generations, the second of which has every second MiB.
pub(crate) fn both(len: u64) -> [Box<dyn PageSource>; 2] {
    let folder = std::env::temp_dir();
    let (_, reader) = packed(&folder, len);
    [Box::new(sparse(&folder, len)), Box::new(reader)]
}

/// The packs of both generations, and what reads them.
pub(crate) fn packed(folder: &Path, len: u64) -> ([File; 2], Reader) {
    let is_second = |page: u64| page / 256 % 2 == 1;
    let (first, mapping) = packed_of(
        folder,
        &written(folder, len, |page| !is_second(page)),
        1,
        None,
    );
    let changed: Vec<Extent> = (0..len / PAGE)
        .filter(|page| is_second(*page))
        .map(|page| Extent {
            start: page * PAGE,
            len: PAGE,
        })
        .collect();
    let (second, _) = packed_of(folder, &sparse(folder, len), 2, Some((&mapping, &changed)));
    let [top, ancestor] = [&second, &first].map(|pack| pack.try_clone().unwrap());
    let reader = Reader::open(top, [ancestor]).unwrap();
    ([first, second], reader)
}

/// Where the bytes of this page stand in the second generation's pack, which has them.
pub(crate) fn place(reader: &Reader, page: u64) -> u64 {
    let mapping = reader.mapping();
    let range = Extent {
        start: page * PAGE,
        len: PAGE,
    };
    let entry = mapping.pieces(range).next().unwrap();
    let Source::Build { build, at } = entry.source else {
        panic!("page {page} is zeros");
    };
    assert_eq!(build, mapping.identity().build);
    104 + 40 * mapping.entries().len() as u64 + at
}

/// The pages of the image that are meant, and for each of the others that has data one of another content.
fn written(folder: &Path, len: u64, is_meant: impl Fn(u64) -> bool) -> File {
    let image = tempfile::tempfile_in(folder).unwrap();
    image.set_len(len).unwrap();
    for page in (0..len / PAGE).filter(|page| expected(*page) != 0) {
        let byte = content(page + u64::from(!is_meant(page)));
        image.write_all_at(&[byte; 4096], page * PAGE).unwrap();
    }
    image
}

fn packed_of(
    folder: &Path,
    image: &File,
    generation: u8,
    parent: Option<(&Mapping, &[Extent])>,
) -> (File, Mapping) {
    let identity = Identity {
        generation: generation.into(),
        build: BuildId::new([generation; 16]).unwrap(),
        base: BuildId::new([1; 16]).unwrap(),
    };
    let mut bytes = Vec::new();
    let mapping = pack(image, identity, parent, &mut bytes).unwrap();
    let mut file = tempfile::tempfile_in(folder).unwrap();
    file.write_all(&bytes).unwrap();
    (file, mapping)
}
