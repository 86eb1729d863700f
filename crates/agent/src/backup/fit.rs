//! Which sandboxes a backup has, and as what they come back.

use std::path::PathBuf;

use wrenn_model::lifecycle::{Reason, State};
use wrenn_snapshot::GenerationId;

use crate::record::{Home, Record};

/// What a sandbox comes back as whose virtual machine went on after the backup: lost, with a pause to go back to.
const RAN: &str = "it ran on after the backup that this is";

/// A sandbox as a backup has it: by its pause, and without all that only the host has that it was on.
pub(super) struct Fit {
    pub(super) record: Record,
    pub(super) generation: GenerationId,
}

impl Fit {
    /// What a backup has of a sandbox, or why it has nothing.
    pub(super) fn of(record: &Record) -> Result<Self, &'static str> {
        let state = match &record.state {
            State::Stopping { .. } | State::Stopped(_) => return Err("it is being destroyed"),
            State::Pending | State::Starting => return Err("it is being made"),
            // A resume has not happened before it has ended.
            State::Paused | State::Resuming { lost: None, .. } => State::Paused,
            State::Error(reason)
            | State::Resuming {
                lost: Some(reason), ..
            } => State::Error(reason.clone()),
            State::Running { .. } | State::Copying(_) | State::Pausing => {
                State::Error(Reason::VmmEnded(RAN.into()))
            }
        };
        let pause = record.pause.clone().ok_or("it has never been paused")?;
        let home = Home {
            // Where it will be is for who restores it to say.
            folder: PathBuf::new(),
            base: PathBuf::new(),
            template_image: PathBuf::new(),
            ..record.home.clone()
        };
        Ok(Self {
            generation: pause.generation,
            record: Record {
                state,
                home,
                vm: None,
                // It has a generation of its own.
                seed: None,
                pause: Some(pause),
                ..record.clone()
            },
        })
    }
}

/// A record of a backup, for a sandbox whose folder is `folder`.
pub(super) fn at_home(record: Record, folder: PathBuf) -> Record {
    let home = Home {
        base: folder.join("base.ext4"),
        folder,
        ..record.home
    };
    Record { home, ..record }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use crate::recovery::understood;
    use wrenn_model::Status;

    /// One that runs and one that is paused.
    fn records() -> [Record; 2] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, include_bytes!("../../testdata/journal-2")).unwrap();
        let (_journal, replay) = Journal::open(&path, &dir.path().join("sandboxes")).unwrap();
        let (mut records, _) = understood(&replay);
        records.sort_by_key(|record| record.state == State::Paused);
        records.try_into().unwrap()
    }

    #[test]
    fn what_a_sandbox_comes_back_as_follows_from_what_it_was() {
        let [running, paused] = records();
        let with = |state: State, pause: bool| {
            let record = Record {
                state,
                pause: pause.then(|| paused.pause.clone()).flatten(),
                ..running.clone()
            };
            Fit::of(&record).map(|fit| {
                assert!(fit.record.vm.is_none());
                assert_eq!(fit.record.home.folder, PathBuf::new());
                assert_eq!(
                    Some(fit.generation),
                    fit.record.pause.map(|pause| pause.generation)
                );
                fit.record.state.status()
            })
        };
        let lost = || Reason::OutOfMemory;
        let resuming = |lost| State::Resuming { lost, cold: false };
        for (state, comes_back) in [
            (State::Paused, Status::Paused),
            (resuming(None), Status::Paused),
            (resuming(Some(lost())), Status::Error),
            (State::Running { stalled: true }, Status::Error),
            (State::Pausing, Status::Error),
            (State::Error(lost()), Status::Error),
        ] {
            assert_eq!(with(state.clone(), true), Ok(comes_back), "{state:?}");
            assert!(with(state.clone(), false).is_err(), "{state:?}");
        }
        let stopping = State::Stopping {
            was: Status::Paused,
            reason: Reason::Destroyed,
        };
        for state in [
            State::Pending,
            State::Starting,
            stopping,
            State::Stopped(lost()),
        ] {
            assert!(with(state.clone(), true).is_err(), "{state:?}");
        }
    }

    #[test]
    fn a_record_comes_home() {
        let [_, paused] = records();
        let fit = Fit::of(&paused).unwrap().record;
        let home = at_home(fit, PathBuf::from("/new/sb-1")).home;
        assert_eq!(home.base, PathBuf::from("/new/sb-1/base.ext4"));
        assert_eq!(home.virtual_size, paused.home.virtual_size);
    }
}
