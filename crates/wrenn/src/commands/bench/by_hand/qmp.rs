//! Just enough of QEMU's machine protocol to command a guest by hand, blocking.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// No command here takes nearly as long.
const LIMIT: Duration = Duration::from_secs(60);

/// A conversation with one QEMU.
pub(super) struct Qmp(BufReader<UnixStream>);

impl Qmp {
    /// Connects to a socket that QEMU listens on, or will as soon as it runs.
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut qmp = Self(BufReader::new(stream));
        qmp.read().context("QEMU by hand does not greet")?;
        qmp.run("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and waits for its answer.
    pub(super) fn run(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.0.get_mut().write_all(request.to_string().as_bytes())?;
        loop {
            let mut answer = self.read().context("QEMU by hand does not answer")?;
            if let Some(error) = answer.get("error") {
                bail!("{command} by hand: {error}");
            }
            // Anything else is an event.
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}
