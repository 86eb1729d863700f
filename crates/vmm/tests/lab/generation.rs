//! A VM that was saved, and the work by which its guest shows that it is still the same.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wrenn_model::Platform;
use wrenn_sys::extents::{Extent, Piece};
use wrenn_sys::pagemap;
use wrenn_sys::program::Program;
use wrenn_vmm::{Capture, Error, Machine, MemorySource, SavedState, VmSpec, Vmm};

use super::{Lab, layer, lonely_tap};

/// A chain of sums, each one on the disk and read back from there; around it a file in memory that must not change and
/// one that always does. A line for each link.
pub(crate) const WORK: &str = r#"
head -c 3000000 /dev/urandom > /kept
kept=$(sha256sum < /kept)
h=start
i=0
while :; do
i=$((i+1))
h=$(echo $h $i | sha256sum | head -c 64)
at=$((2048+i%64))
echo $h | dd of=/dev/vda bs=512 seek=$at conv=sync,fsync 2>/dev/null
echo 3 > /proc/sys/vm/drop_caches
d=$(dd if=/dev/vda bs=512 skip=$at count=1 2>/dev/null | head -c 64)
head -c 200000 /dev/urandom > /fresh
s=good
[ "$d" = "$h" ] || s=disk
[ "$(sha256sum < /kept)" = "$kept" ] || s=memory
echo "link $i $h $s"
done
"#;

/// What was saved of a VM.
#[derive(Debug)]
pub(crate) struct Generation {
    dir: PathBuf,
    pub(crate) platform: Platform,
    /// What its guest had written to its console since its beginning.
    console: Vec<u8>,
}

impl Generation {
    /// The empty one.
    pub(crate) fn image_of(parent: Option<&Self>, lab: &Lab) -> PathBuf {
        parent.map_or_else(|| lab.holes(), Self::image)
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.dir.join("memory")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    fn overlay(&self) -> PathBuf {
        self.dir.join("overlay")
    }

    /// Saves a VM that stands still.
    pub(crate) async fn save(
        lab: &Lab,
        parent: Option<&Self>,
        spec: &VmSpec,
        machine: &Arc<dyn Machine>,
    ) -> Self {
        let capture = machine.capture().await.unwrap();
        Self::save_captured(lab, parent, spec, machine, &capture).await
    }

    /// The same where the kernel is asked for every page of the guest, as one before 6.7 has to be.
    pub(crate) async fn save_by_entries(
        lab: &Lab,
        parent: Option<&Self>,
        spec: &VmSpec,
        machine: &Arc<dyn Machine>,
    ) -> Self {
        let mut capture = machine.capture().await.unwrap();
        let first = capture.pieces.first().unwrap();
        let guest = Extent {
            start: first.from - first.to,
            len: spec.memory.bytes(),
        };
        let pid = machine.identity().pid;
        let pages = pagemap::private_by(pagemap::Method::Entries, pid, guest).unwrap();
        let piece = |page: Extent| Piece {
            from: page.start,
            to: page.start - guest.start,
            len: page.len,
        };
        capture.pieces = pages.into_iter().map(piece).collect();
        Self::save_captured(lab, parent, spec, machine, &capture).await
    }

    async fn save_captured(
        lab: &Lab,
        parent: Option<&Self>,
        spec: &VmSpec,
        machine: &Arc<dyn Machine>,
        capture: &Capture,
    ) -> Self {
        let dir = lab.path().join(format!("saved-{}", spec.vm));
        fs::create_dir_all(&dir).unwrap();
        let mut console = parent.map_or_else(Vec::new, |parent| parent.console.clone());
        console.extend(machine.console().await.unwrap());
        let saved = Self {
            dir,
            platform: parent.map_or_else(|| lab.qemu.platform().clone(), |p| p.platform.clone()),
            console,
        };
        copy(&Self::image_of(parent, lab), &saved.image()).await;
        copy(&layer(spec).overlay, &saved.overlay()).await;
        write_pieces(capture, &saved.image());
        fs::write(saved.state(), &capture.state).unwrap();
        for file in [saved.image(), saved.state()] {
            fs::set_permissions(file, PermissionsExt::from_mode(0o444)).unwrap();
        }
        saved
    }

    /// A VM on a copy of the disk, not started.
    pub(crate) async fn spec(&self, lab: &Lab) -> VmSpec {
        let spec = lab.vm(WORK).await;
        copy(&self.overlay(), &layer(&spec).overlay).await;
        spec
    }

    /// Starts it.
    pub(crate) async fn restore(
        &self,
        lab: &Lab,
        spec: &VmSpec,
    ) -> Result<Arc<dyn Machine>, Error> {
        let saved = SavedState {
            state: self.state(),
            platform: self.platform.clone(),
        };
        let memory = MemorySource::Image(self.image());
        lab.qemu.restore(spec, memory, &saved, lonely_tap()).await
    }

    /// Waits until a VM that began here has done more links; all of the chain must be right. Answers with their number.
    pub(crate) async fn goes_on(&self, machine: &Arc<dyn Machine>, more: usize) -> usize {
        let before = links(&self.console);
        goes_on_from(&self.console, machine, before + more).await
    }
}

/// As [`Generation::goes_on`], of a VM that was booted.
pub(crate) async fn begins(machine: &Arc<dyn Machine>, least: usize) -> usize {
    goes_on_from(&[], machine, least).await
}

async fn goes_on_from(before: &[u8], machine: &Arc<dyn Machine>, least: usize) -> usize {
    let mut seen = Vec::new();
    let wait = tokio::time::timeout(super::PATIENCE, async {
        loop {
            seen = [before, &machine.console().await.unwrap()].concat();
            let links = links(&seen);
            if links >= least {
                return links;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    match wait.await {
        Ok(links) => links,
        Err(_) => panic!("it stands still: {}", String::from_utf8_lossy(&seen)),
    }
}

/// Checks the chain and counts its links.
fn links(console: &[u8]) -> usize {
    let text = String::from_utf8_lossy(console);
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut sum = "start".to_owned();
    let links = whole.lines().filter(|line| line.starts_with("link "));
    let check = |(link, index): (&str, usize)| {
        sum = Sha256::digest(format!("{sum} {index}\n"))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(link.trim(), format!("link {index} {sum} good"));
    };
    links.zip(1..).map(check).count()
}

fn write_pieces(capture: &Capture, image: &Path) {
    let image = File::options().write(true).open(image).unwrap();
    for piece in &capture.pieces {
        let mut bytes = vec![0; usize::try_from(piece.len).unwrap()];
        capture
            .memory
            .read_exact_at(&mut bytes, piece.from)
            .unwrap();
        image.write_all_at(&bytes, piece.to).unwrap();
    }
}

async fn copy(from: &Path, to: &Path) {
    wrenn_sys::durable::remove(to).unwrap();
    let options = ["--sparse=always", "--reflink=auto"];
    Program::new("cp")
        .args(options)
        .arg(from)
        .arg(to)
        .run()
        .await
        .unwrap();
    fs::set_permissions(to, PermissionsExt::from_mode(0o600)).unwrap();
}
