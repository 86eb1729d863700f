//! What a slow operation tells while it runs.

/// Told what is being done and how far it is. Called often, from any thread: an implementation must be quick.
pub trait Progress: Send + Sync {
    /// A new step begins, as "installing Debian packages".
    fn step(&self, what: &str);

    /// How far the step is, as "unpacking 87 of 147 packages". Each line replaces the one before.
    fn detail(&self, line: &str);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _what: &str) {}

    fn detail(&self, _line: &str) {}
}
