//! From what mmdebstrap, apt and dpkg print to how far the build is.

use crate::progress::Progress;
use crate::rootfs::script::MARK;

/// Reads the programs' lines and counts packages.
pub(crate) struct Watch<'a> {
    progress: &'a dyn Progress,
    /// How many packages the current round installs, as apt announced it.
    total: usize,
    /// What is being counted, and how many there were.
    counted: (&'static str, usize),
}

impl<'a> Watch<'a> {
    pub(crate) fn new(progress: &'a dyn Progress) -> Self {
        Self {
            progress,
            total: 0,
            counted: ("", 0),
        }
    }

    /// Takes one line that a program printed.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(step) = line.strip_prefix("I: ").and_then(step) {
            self.progress.step(step);
            self.counted = ("", 0);
        } else if let Some(message) = line.strip_prefix(MARK) {
            self.progress.step(message);
        } else if let Some(total) = newly_installed(line) {
            self.total = total;
        } else if let Some(what) = package_action(line) {
            self.count(what);
        }
    }

    fn count(&mut self, what: &'static str) {
        let (before, count) = self.counted;
        // dpkg unpacks in batches and configures between them, so only the way from one kind to the next starts anew.
        let count = if before == what { count + 1 } else { 1 };
        self.counted = (what, count);
        // Packages that are unpacked twice (dpkg itself) must not make it more than all.
        let count = count.min(self.total);
        if count > 0 {
            self.progress
                .detail(&format!("{what} {count} of {} packages", self.total));
        }
    }
}

/// mmdebstrap's own steps that take time, in our words.
fn step(said: &str) -> Option<&'static str> {
    const STEPS: [(&str, &str); 4] = [
        (
            "downloading packages",
            "downloading the smallest Debian system",
        ),
        (
            "installing essential",
            "installing the smallest Debian system",
        ),
        ("installing remaining", "installing the recipe's packages"),
        ("running --customize-hook", "applying the recipe"),
    ];
    STEPS
        .into_iter()
        .find(|(begins, _)| said.starts_with(begins))
        .map(|(_, ours)| ours)
}

/// "0 upgraded, 78 newly installed, 0 to remove": how many.
fn newly_installed(line: &str) -> Option<usize> {
    let (before, _) = line.split_once(" newly installed")?;
    before.rsplit(' ').next()?.parse().ok()
}

fn package_action(line: &str) -> Option<&'static str> {
    const ACTIONS: [(&str, &str); 3] = [
        ("Get:", "downloading"),
        ("Unpacking ", "unpacking"),
        ("Setting up ", "setting up"),
    ];
    ACTIONS
        .into_iter()
        .find(|(begins, _)| line.starts_with(begins))
        .map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Progress for Told {
        fn step(&self, what: &str) {
            self.0.lock().unwrap().push(what.to_uppercase());
        }

        fn detail(&self, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
    }

    #[test]
    fn lines_become_steps_and_counts() {
        let told = Told::default();
        let mut watch = Watch::new(&told);
        for line in [
            "I: running apt-get update...",
            "Get:1 http://mirror.test bookworm InRelease [151 kB]",
            "I: installing remaining packages inside the chroot...",
            "0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.",
            "Get:1 http://mirror.test bookworm/main amd64 less",
            "Get:2 http://mirror.test bookworm/main amd64 git",
            "Selecting previously unselected package less.",
            "Unpacking less (590-2.1) ...",
            "Setting up less (590-2.1) ...",
            "I: running --customize-hook in shell: chroot",
            "wrenn: command 1 of 1",
        ] {
            watch.line(line);
        }
        assert_eq!(
            *told.0.lock().unwrap(),
            [
                "INSTALLING THE RECIPE'S PACKAGES",
                "downloading 1 of 2 packages",
                "downloading 2 of 2 packages",
                "unpacking 1 of 2 packages",
                "setting up 1 of 2 packages",
                "APPLYING THE RECIPE",
                "COMMAND 1 OF 1",
            ]
        );
    }
}
