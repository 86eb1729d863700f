//! What a sandbox's folder has that nobody needs any more: folders of former virtual machines, former generations, and
//! what a pause left that came to nothing.

use std::path::Path;

use wrenn_model::VmId;
use wrenn_snapshot::{GenerationId, Generations};
use wrenn_sys::durable;

use wrenn_model::chain;

/// Leaves of VMs' folders that of `vm`, and of generations `current` and what is newer: a newer one is no pause that anybody
/// could read, and its owner may want to know what became of it.
pub(crate) fn tidy(
    folder: &Path,
    vm: Option<VmId>,
    current: Option<GenerationId>,
) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(told)? {
        let entry = entry.map_err(told)?;
        let former = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<VmId>().ok())
            .is_some_and(|id| Some(id) != vm);
        if former {
            durable::remove(&entry.path()).map_err(told)?;
        }
    }
    let generations = Generations::of(folder);
    generations.abandon().map_err(|error| chain(&error))?;
    match current {
        Some(id) => generations.remove_older(id).map_err(|error| chain(&error)),
        None => Ok(()),
    }
}
