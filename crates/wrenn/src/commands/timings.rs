//! How long the steps of an operation took, for people.

use anyhow::Result;
use wrenn_client::api::Timing;

use crate::terminal::{Table, print_line};

/// Prints a table of them, with their sum.
pub(crate) fn print(timings: &[Timing]) -> Result<()> {
    let mut table = Table::new(["STEP", "MS"]);
    for timing in timings {
        table.row([&timing.step, &milliseconds(timing.ms)]);
    }
    let sum = timings.iter().map(|timing| timing.ms).sum();
    table.row(["together", &milliseconds(sum)]);
    print_line(&table.to_string())
}

/// Says how long a guest stood still for it.
pub(crate) fn print_frozen(ms: f64) -> Result<()> {
    print_line(&format!("the sandbox stood still for {ms:.3} ms"))
}

fn milliseconds(ms: f64) -> String {
    format!("{ms:10.3}")
}
