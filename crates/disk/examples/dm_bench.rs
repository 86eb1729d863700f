//! Layers of the device mapper beside the same requests with nothing around them: making and removing one, alone and among five
//! hundred that stand. Its folder has to be on a file system with reflinks: `dm_bench FOLDER`.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wrenn_disk::dm::{DmSnapshot, store};
use wrenn_disk::{Disk, Layer};
use wrenn_model::InstanceId;
use wrenn_sys::dm::{Mapper, SECTOR, Target};
use wrenn_sys::loopdev::LoopDevice;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROUNDS: usize = 200;
const MANY: usize = 500;
const SIZE: u64 = 64 << 20;

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: dm_bench FOLDER")?);
    let base = folder.join("base");
    File::create(&base)?.set_len(SIZE)?;
    let snapshots = DmSnapshot::open(&InstanceId::random())?;
    let layer = |number: usize| -> Result<Layer> {
        let folder = folder.join(format!("vm-{number}"));
        fs::create_dir(&folder)?;
        Ok(Layer {
            overlay: folder.join("overlay"),
            base: base.clone(),
            virtual_size: SIZE,
        })
    };
    let one = layer(0)?;
    let round = || -> Result<(Duration, Duration)> {
        let began = Instant::now();
        snapshots.create(&one, 0)?;
        snapshots.attach(&one)?;
        snapshots.remove(&one)?;
        Ok((began.elapsed(), by_hand(&base, &one.overlay)?))
    };
    // The base's device stands, as where others use it.
    let mut standing = vec![layer(1)?];
    snapshots.create(&standing[0], 0)?;
    snapshots.attach(&standing[0])?;
    tell("create and remove", round)?;
    for number in 2..=MANY {
        let layer = layer(number)?;
        snapshots.create(&layer, 0)?;
        snapshots.attach(&layer)?;
        standing.push(layer);
    }
    tell(&format!("the same among {MANY}"), round)?;
    for layer in &standing {
        snapshots.remove(layer)?;
    }
    Ok(())
}

/// In turns, so that what the machine does otherwise hurts both.
fn tell(what: &str, round: impl Fn() -> Result<(Duration, Duration)>) -> Result<()> {
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (one, other) = round()?;
        ours.push(one);
        by_hand.push(other);
    }
    let (ours, by_hand) = (median(ours), median(by_hand));
    let ratio = ours.as_secs_f64() / by_hand.as_secs_f64();
    println!("{what}: {ours:.2?}, by hand {by_hand:.2?}, ratio {ratio:.2}");
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn by_hand(base: &Path, overlay: &Path) -> Result<Duration> {
    const NAME: &str = "wrenn-by-hand";
    let mapper = Mapper::open()?;
    let origin = LoopDevice::find(&File::open(base)?)?.ok_or("the base has no device")?;
    let began = Instant::now();
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(overlay)?;
    file.set_len(store::most(SIZE))?;
    let cow = LoopDevice::attach(&file)?;
    mapper.create(NAME)?;
    let table = Target {
        start: 0,
        len: SIZE / SECTOR,
        kind: "snapshot".to_owned(),
        params: format!("{} {} P 8", origin.path().display(), cow.path().display()),
    };
    mapper.load(NAME, &[table])?;
    mapper.resume(NAME)?;
    drop((file, cow));
    mapper.remove(NAME)?;
    fs::remove_file(overlay)?;
    Ok(began.elapsed())
}
