//! Writing an archive.

use std::fs::File;
use std::io::Write;

use wrenn_memory::packed::{self, BuildId, Identity};

use super::stream::Summed;
use super::{IMAGES, Invalid, MAGIC, MAX_SECRET, VERSION};
use crate::{Error, Generation, files, manifest};

impl Generation {
    /// Writes the generation as an archive, after a [verification](Self::verify) that reads all of it and asks `stop` as that
    /// does. `secret` goes with it as it is, up to [`MAX_SECRET`] bytes; nothing encrypts it. Once it has begun to write, it
    /// comes to its end also where the generation is removed.
    ///
    /// # Errors
    /// What the verification found; [`Error::Removed`] where it went before; an `out` that takes no more.
    pub fn export(
        &self,
        secret: &[u8],
        stop: &dyn Fn() -> bool,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        self.verify(stop)?;
        let state = self.remember(self.read_state())?;
        let images = self.remember(self.open_images())?;
        let manifest = self.manifest().to_bytes()?;
        let mut out = Summed::new(out);
        write_head(&mut out, &manifest, secret, &state)?;
        let build = self.build()?;
        let identity = Identity {
            generation: self.id().number(),
            build,
            base: build,
        };
        for (file, image) in images {
            packed::pack(&image, identity, None, &mut out).map_err(Invalid::pack(file))?;
        }
        Ok(out.finish()?)
    }

    /// The images, open, in their order.
    fn open_images(&self) -> Result<Vec<(&'static str, File)>, Error> {
        let open = |file| Ok((file, files::open(self.dir(), file)?));
        IMAGES.into_iter().map(open).collect()
    }

    fn build(&self) -> Result<BuildId, Error> {
        let build = self.manifest().build.parse();
        Ok(build.map_err(|_| manifest::Invalid::Contradiction("build"))?)
    }
}

/// Writes all that comes before the images.
fn write_head(
    out: &mut Summed<&mut dyn Write>,
    manifest: &[u8],
    secret: &[u8],
    state: &[u8],
) -> Result<(), Invalid> {
    let parts: [(&'static str, &[u8], usize); 3] = [
        ("manifest", manifest, manifest::MAX_LEN),
        ("secret", secret, MAX_SECRET),
        ("device state", state, files::MAX_STATE),
    ];
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&VERSION.to_le_bytes());
    for (part, bytes, max) in parts {
        let len = bytes.len() as u64;
        if bytes.len() > max {
            return Err(Invalid::TooLong { part, len });
        }
        head.extend_from_slice(&len.to_le_bytes());
    }
    std::iter::once(&head[..])
        .chain(parts.map(|(_, bytes, _)| bytes))
        .try_for_each(|bytes| out.write_all(bytes))
        .map_err(Invalid::Write)
}
