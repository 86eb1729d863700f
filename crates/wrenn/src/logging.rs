//! The log: standard error, for people or as JSON.

use tracing_subscriber::EnvFilter;

use crate::report::Advised;

/// Starts logging. `filter` is in the form of `RUST_LOG`, which it wins over; `default` serves when there is neither.
pub(crate) fn start(filter: Option<&str>, default: &str, json: bool) -> anyhow::Result<()> {
    let given = filter.map(str::to_owned).or_else(|| {
        std::env::var("RUST_LOG")
            .ok()
            .filter(|filter| !filter.is_empty())
    });
    let filter = EnvFilter::try_new(given.as_deref().unwrap_or(default)).map_err(|error| {
        Advised::new(
            "the log filter is not valid",
            "write it like `info` or `wrenn_agent=debug,info`",
        )
        .because(error)
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // They would be told where they happened, and a word that cannot be said there is a panic: the log may lie on a
        // full disk.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    if json {
        log.json().init();
    } else {
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
        log.with_target(false).with_ansi(colours).init();
    }
    Ok(())
}
