//! Reading an archive, which may be anybody's.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use wrenn_disk::qcow2;
use wrenn_memory::packed;

use super::stream::Summed;
use super::{Invalid, MAGIC, MAX_SECRET, VERSION};
use crate::manifest::{self, Facts, Image};
use crate::next::{Captured, CapturedLayer, Next};
use crate::sums::{Root, Table, read_blocks};
use crate::{Error, Generation, Generations, Manifest, base_root, files};

impl Generations {
    /// Makes a generation out of an archive, the first one of a new sandbox, and gives the secret that went with it.
    /// `adopt` makes it the new sandbox's, before it is published.
    ///
    /// Sums are made anew and held against those of the archive's manifest.
    ///
    /// # Errors
    /// [`Error::Archive`] for what is wrong with the archive. After any error there is no generation and no `next/`.
    pub fn import(
        &self,
        input: &mut dyn Read,
        adopt: impl FnOnce(&Next, &mut Facts),
    ) -> Result<(Generation, Vec<u8>), Error> {
        let imported = self
            .begin()
            .and_then(|next| import(next, Summed::new(input), adopt));
        if imported.is_err() {
            // The error that led here is the one to tell.
            drop(self.abandon());
        }
        imported
    }
}

fn import(
    mut next: Next,
    mut input: Summed<&mut dyn Read>,
    adopt: impl FnOnce(&Next, &mut Facts),
) -> Result<(Generation, Vec<u8>), Error> {
    let head = Head::read(&mut input)?;
    let manifest = head.manifest;
    next.put_state(&head.state)?;
    if next.state.as_ref() != Some(&manifest.state) {
        return Err(Invalid::Mixed { file: files::STATE }.into());
    }
    let mut images = Images {
        next: &mut next,
        input: &mut input,
        build: &manifest.build,
    };
    let memory = images.unpack_summed(files::MEMORY, files::MEMORY_SUMS, &manifest.memory)?;
    let layer = images.unpack_summed(files::LAYER, files::LAYER_SUMS, &manifest.layer.image)?;
    let root = images.unpack_base(&manifest.base)?;
    input.finish()?;
    next.memory = Some(memory);
    next.layer = Some(CapturedLayer {
        image: layer,
        virtual_size: manifest.layer.virtual_size,
    });
    next.base = Some(manifest::Base {
        len: manifest.base.len,
        root: Some(root),
    });
    let mut facts = Facts {
        spec: manifest.spec,
        platform: manifest.platform,
        kernel: manifest.kernel,
        envd: manifest.envd,
        created_ms: manifest.created_ms,
    };
    adopt(&next, &mut facts);
    Ok((next.publish(facts)?, head.secret))
}

/// All that comes before the images.
struct Head {
    manifest: Manifest,
    secret: Vec<u8>,
    state: Vec<u8>,
}

impl Head {
    fn read(input: &mut Summed<&mut dyn Read>) -> Result<Self, Invalid> {
        if input.array()? != MAGIC {
            return Err(Invalid::Magic);
        }
        let version = u32::from_le_bytes(input.array()?);
        if version != VERSION {
            return Err(Invalid::Version(version));
        }
        let mut len = || Ok::<_, Invalid>(u64::from_le_bytes(input.array()?));
        let (manifest, secret, state) = (len()?, len()?, len()?);
        let manifest = input.bytes("manifest", manifest, manifest::MAX_LEN as u64)?;
        let manifest = Manifest::from_bytes(&manifest)?;
        check(&manifest)?;
        Ok(Self {
            manifest,
            secret: input.bytes("secret", secret, MAX_SECRET as u64)?,
            state: input.bytes("device state", state, files::MAX_STATE as u64)?,
        })
    }
}

/// Whether what a manifest says can be, before anything is made that is so large.
fn check(manifest: &Manifest) -> Result<(), manifest::Invalid> {
    let fits = manifest.layer.virtual_size <= qcow2::MAX_VIRTUAL_SIZE
        && manifest.base.len <= manifest.layer.virtual_size;
    if manifest.memory.layout.len != manifest.spec.memory.bytes() {
        return Err(manifest::Invalid::Contradiction("memory"));
    }
    if !fits {
        return Err(manifest::Invalid::Contradiction("disk"));
    }
    Ok(())
}

/// The images of an archive, as they are unpacked.
struct Images<'a, 'b> {
    next: &'a mut Next,
    input: &'a mut Summed<&'b mut dyn Read>,
    build: &'a str,
}

impl Images<'_, '_> {
    fn unpack(&mut self, name: &'static str, len: u64) -> Result<File, Error> {
        let path = self.next.dir.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(files::MODE)
            .open(&path)
            .map_err(Error::io("make", &path))?;
        let mapping = packed::unpack(self.input, &file).map_err(Invalid::pack(name))?;
        if mapping.size() == len && mapping.identity().build.to_string() == self.build {
            Ok(file)
        } else {
            Err(Invalid::Mixed { file: name }.into())
        }
    }

    fn unpack_summed(
        &mut self,
        name: &'static str,
        table: &'static str,
        saved: &Image,
    ) -> Result<Captured, Error> {
        let file = self.unpack(name, saved.layout.len)?;
        let path = self.next.dir.join(table);
        let sums = Table::create(&path, saved.layout.len).map_err(Error::io("make", &path))?;
        let (sums, root) = sum_all(sums, &file).map_err(Error::io("sum", &path))?;
        if root != saved.root {
            return Err(Invalid::Mixed { file: name }.into());
        }
        self.next.keep(sums);
        Ok(Captured {
            file,
            root,
            written: saved.written,
            parent: None,
        })
    }

    fn unpack_base(&mut self, saved: &manifest::Base) -> Result<Root, Error> {
        let file = self.unpack(files::BASE, saved.len)?;
        let root = base_root(&file).map_err(Error::io("sum", &self.next.dir))?;
        if saved.root.is_some_and(|saved| saved != root) {
            return Err(Invalid::Mixed { file: files::BASE }.into());
        }
        self.next.keep(file);
        Ok(root)
    }
}

fn sum_all(mut sums: Table, image: &File) -> io::Result<(File, Root)> {
    let extents = wrenn_disk::changed(image, None)?;
    let len = image.metadata()?.len();
    read_blocks(image, len, &extents, |at, bytes| {
        sums.take(at, bytes).map(drop)
    })?;
    sums.finish()
}
