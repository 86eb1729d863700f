//! Writing an archive.

use std::io::Write;

use wrenn_memory::packed::{self, BuildId, Identity};

use super::stream::Summed;
use super::{IMAGES, Invalid, MAGIC, MAX_SECRET, VERSION};
use crate::{Error, Generation, files, manifest};

impl Generation {
    /// Writes the generation as an archive, after a [verification](Self::verify) that reads all of it. `secret` goes with
    /// it as it is, up to [`MAX_SECRET`] bytes; nothing encrypts it.
    ///
    /// # Errors
    /// What the verification found; an `out` that takes no more.
    pub fn export(&self, secret: &[u8], out: &mut dyn Write) -> Result<(), Error> {
        self.verify(&|| false)?;
        let manifest = self.manifest().to_bytes()?;
        let state = self.read_state()?;
        let mut out = Summed::new(out);
        write_head(&mut out, &manifest, secret, &state)?;
        let build = self.build()?;
        let identity = Identity {
            generation: self.id().number(),
            build,
            base: build,
        };
        for file in IMAGES {
            let image = files::open(self.dir(), file)?;
            packed::pack(&image, identity, None, &mut out).map_err(Invalid::pack(file))?;
        }
        Ok(out.finish()?)
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
