//! How the end of a process by a signal is told: `signal: killed`, the wording that E2B's clients know.

/// What precedes the name in a status.
const PREFIX: &str = "signal: ";

/// Names of the signals 1 to 15.
const NAMES: [&str; 15] = [
    "hangup",
    "interrupt",
    "quit",
    "illegal instruction",
    "trace/breakpoint trap",
    "aborted",
    "bus error",
    "floating point exception",
    "killed",
    "user defined signal 1",
    "segmentation fault",
    "user defined signal 2",
    "broken pipe",
    "alarm clock",
    "terminated",
];

/// The status of a process that the signal `number` ended.
#[must_use]
pub fn status(number: i32) -> String {
    let name = usize::try_from(number)
        .ok()
        .and_then(|number| NAMES.get(number.checked_sub(1)?));
    match name {
        Some(name) => format!("{PREFIX}{name}"),
        None => format!("{PREFIX}signal {number}"),
    }
}

/// The signal that such a status names, if it names one.
#[must_use]
pub fn from_status(status: &str) -> Option<i32> {
    let name = status.strip_prefix(PREFIX)?;
    let name = name.strip_suffix(" (core dumped)").unwrap_or(name);
    if let Some(number) = name.strip_prefix("signal ") {
        return number
            .parse()
            .ok()
            .filter(|number| (1..=64).contains(number));
    }
    let index = NAMES.iter().position(|known| *known == name)?;
    i32::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_read_back() {
        for number in 1..=64 {
            assert_eq!(from_status(&status(number)), Some(number));
        }
    }

    #[test]
    fn other_statuses_name_no_signal() {
        for text in [
            "exit status 1",
            "signal: ",
            "signal: signal 65",
            "signal: signal x",
            "",
        ] {
            assert_eq!(from_status(text), None, "{text}");
        }
        assert_eq!(
            from_status("signal: segmentation fault (core dumped)"),
            Some(11)
        );
    }
}
