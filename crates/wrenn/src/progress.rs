//! Long work told on standard error: what is being done and how far it is.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wrenn_guest_image::Progress;

use crate::terminal::escaped_cell;

/// How often a log gets a line about the same step; a terminal's line is rewritten more often.
const LOG_EVERY: Duration = Duration::from_secs(10);
const TERMINAL_EVERY: Duration = Duration::from_millis(100);

/// Progress for whoever reads standard error: a terminal sees one line a step that is rewritten, a log sees few lines.
#[derive(Debug)]
pub(crate) struct Told {
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    step: Option<(String, Instant)>,
    last: Instant,
}

impl Told {
    /// Nothing has been told yet.
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            state: Mutex::new(State {
                step: None,
                last: Instant::now(),
            }),
        }
    }

    /// The last step is done.
    pub(crate) fn done(&self) {
        self.end(&mut self.state());
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, state: &mut State) {
        if let Some((step, begun)) = state.step.take() {
            let took = begun.elapsed().as_secs_f64();
            if self.terminal {
                show(&format!("\r\x1b[K  {step}: done in {took:.1} s\n"));
            } else if took >= LOG_EVERY.as_secs_f64() {
                show(&format!("  {step}: done in {took:.1} s\n"));
            }
        }
    }
}

impl Progress for Told {
    fn step(&self, what: &str) {
        let mut state = self.state();
        self.end(&mut state);
        let what = escaped_cell(what).into_owned();
        show(&format!(
            "  {what} …{}",
            if self.terminal { "" } else { "\n" }
        ));
        state.step = Some((what, Instant::now()));
        state.last = Instant::now();
    }

    fn detail(&self, line: &str) {
        let mut state = self.state();
        let every = if self.terminal {
            TERMINAL_EVERY
        } else {
            LOG_EVERY
        };
        if state.last.elapsed() < every {
            return;
        }
        state.last = Instant::now();
        let step = state.step.as_ref().map_or("", |(step, _)| step.as_str());
        let line = escaped_cell(line);
        let text: String = format!("{step}: {line}").chars().take(100).collect();
        match self.terminal {
            true => show(&format!("\r\x1b[K  {text}")),
            false => show(&format!("  {text}\n")),
        }
    }
}

/// A reader of the log that went away does not end the work.
fn show(text: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(
        stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush()),
    );
}
