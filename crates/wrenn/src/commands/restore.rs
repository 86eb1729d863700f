//! `wrenn restore`: an installation out of a backup. What there is of it appears at once, or not at all.

use std::convert::Infallible;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use wrenn_agent::{BackupError, Restore, Restored, restore};

use super::backup::{advise, left_out, opened, state_dir};
use super::signals::Signals;
use crate::cli::{Globals, RestoreArgs};
use crate::install;
use crate::terminal::{print_json, print_line};

/// Restores, and says what there is now and what there is not.
pub(crate) async fn run(globals: &Globals, args: &RestoreArgs) -> Result<()> {
    install::require_root("wrenn restore")?;
    let plan = Restore {
        data: globals.dir.clone(),
        state: state_dir(globals, args.state.as_deref()),
        new_instance: args.new_instance,
    };
    let restored = if args.file == Path::new("-") {
        restore_from(io::stdin(), &plan).await
    } else {
        restore_from(opened(&args.file)?, &plan).await
    };
    tell(globals, &plan, &restored.map_err(advise)?)
}

/// Ctrl-C leaves as little as any other failure.
async fn restore_from(
    from: impl Read + Send + 'static,
    plan: &Restore,
) -> Result<Restored, BackupError> {
    let stopped = Arc::new(AtomicBool::new(false));
    let restoring = restore(Stoppable(from, stopped.clone()), plan);
    let stop = async {
        // Without them it ends at once, as a program does.
        if let Ok(mut signals) = Signals::new() {
            signals.wait().await;
            stopped.store(true, Ordering::SeqCst);
        }
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        restored = restoring => restored,
        never = stop => match never {},
    }
}

/// A source that ends in an error once somebody wants it to.
struct Stoppable<R>(R, Arc<AtomicBool>);

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1.load(Ordering::SeqCst) {
            return Err(io::Error::other("it was stopped by a signal"));
        }
        self.0.read(buffer)
    }
}

fn tell(globals: &Globals, plan: &Restore, restored: &Restored) -> Result<()> {
    if globals.json {
        return print_json(restored);
    }
    let (count, data) = (restored.sandboxes.len(), plan.data.display());
    let mut lines = vec![match count {
        1 => format!("1 sandbox is in {data} again."),
        count => format!("{count} sandboxes are in {data} again."),
    }];
    lines.extend(restored.left_out.iter().map(left_out));
    lines.push(if restored.state {
        format!(
            "The control plane's folder is {}. Start `wrenn agent` and `wrenn server` on both.",
            plan.state.display()
        )
    } else {
        format!("Start it with `wrenn up --dir {data}`.")
    });
    lines.push(
        "What ran when the backup was made is `error` there, with its last pause to resume, or `stopped`."
            .to_owned(),
    );
    print_line(&lines.join("\n"))
}
