//! What `/init` changes beside the session: the clock, the host name, the machine id, the random number generator.

use std::fs;
use std::io;
use std::path::Path;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use wrenn_envd_api::{InitRequest, Timestamp};

use crate::sys::entropy;

/// Whether this process has a machine of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// It is PID 1 of a guest.
    Own,
    /// It was started on somebody's machine, whose clock and name it leaves alone.
    Shared,
}

/// Why the machine was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MachineError {
    #[error("{0}")]
    Invalid(&'static str),
    #[error("could not set the {0}")]
    Refused(&'static str, #[source] io::Error),
}

impl MachineError {
    /// The HTTP status that says whose fault it is.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Refused(..) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Machine {
    /// Checks all that the request asks of the machine, then does it. The entropy comes first: whatever is drawn from the
    /// generator afterwards must differ between two clones.
    pub(crate) fn apply(self, request: &InitRequest) -> Result<(), MachineError> {
        let entropy = request
            .entropy
            .as_ref()
            .map(|text| decode(text.expose()))
            .transpose()?;
        let machine_id = request
            .machine_id
            .as_deref()
            .map(checked_machine_id)
            .transpose()?;
        let hostname = request
            .hostname
            .as_deref()
            .map(checked_hostname)
            .transpose()?;
        if self == Self::Shared {
            return Ok(());
        }
        let refused = |what| move |error| MachineError::Refused(what, error);
        if let Some(entropy) = entropy {
            entropy::reseed(&entropy).map_err(refused("random number generator"))?;
        }
        if let Some(time) = &request.timestamp {
            set_clock(time).map_err(refused("clock"))?;
        }
        if let Some(hostname) = hostname {
            set_hostname(hostname).map_err(refused("host name"))?;
        }
        if let Some(id) = machine_id {
            write_machine_id(id).map_err(refused("machine id"))?;
        }
        Ok(())
    }
}

/// Sets the host name, and /etc/hosts so that the name has an address.
pub(crate) fn set_hostname(name: &str) -> io::Result<()> {
    nix::unistd::sethostname(name)?;
    fs::write("/etc/hostname", format!("{name}\n"))?;
    fs::write(
        "/etc/hosts",
        format!(
            "127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        ),
    )
}

/// Fills in /etc/machine-id, and D-Bus's copy where there is one that is no link.
fn write_machine_id(id: &str) -> io::Result<()> {
    let line = format!("{id}\n");
    fs::write("/etc/machine-id", &line)?;
    let copy = Path::new("/var/lib/dbus/machine-id");
    if fs::symlink_metadata(copy).is_ok_and(|metadata| metadata.is_file()) {
        fs::write(copy, &line)?;
    }
    Ok(())
}

fn set_clock(time: &Timestamp) -> io::Result<()> {
    let time = TimeSpec::new(time.seconds, i64::from(time.nanos));
    Ok(clock_settime(ClockId::CLOCK_REALTIME, time)?)
}

fn decode(text: &str) -> Result<Vec<u8>, MachineError> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| MachineError::Invalid("entropy is not base64"))?;
    if bytes.is_empty() || bytes.len() > entropy::MAX_LEN {
        return Err(MachineError::Invalid("entropy must be 1 to 512 bytes"));
    }
    Ok(bytes)
}

fn checked_machine_id(id: &str) -> Result<&str, MachineError> {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if id.len() == 32 && id.chars().all(is_digit) {
        Ok(id)
    } else {
        Err(MachineError::Invalid(
            "machineId must be 32 lower case hex digits",
        ))
    }
}

/// A name as RFC 1123 has it, and no longer than the kernel takes.
fn checked_hostname(name: &str) -> Result<&str, MachineError> {
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 64 && name.split('.').all(is_label) {
        Ok(name)
    } else {
        Err(MachineError::Invalid("hostname is not a host name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_are_told_before_anything_changes() {
        let wrong = [
            InitRequest {
                entropy: Some("!".into()),
                ..InitRequest::default()
            },
            InitRequest {
                entropy: Some("".into()),
                ..InitRequest::default()
            },
            InitRequest {
                entropy: Some(STANDARD.encode([0; 513]).into()),
                ..InitRequest::default()
            },
            InitRequest {
                machine_id: Some("0".repeat(31)),
                ..InitRequest::default()
            },
            InitRequest {
                machine_id: Some("G".repeat(32)),
                ..InitRequest::default()
            },
            InitRequest {
                hostname: Some("a b".to_owned()),
                ..InitRequest::default()
            },
            InitRequest {
                hostname: Some("-a".to_owned()),
                ..InitRequest::default()
            },
            InitRequest {
                hostname: Some("a".repeat(65)),
                ..InitRequest::default()
            },
            InitRequest {
                hostname: Some(String::new()),
                ..InitRequest::default()
            },
        ];
        for request in wrong {
            assert!(
                matches!(
                    Machine::Shared.apply(&request),
                    Err(MachineError::Invalid(_))
                ),
                "{request:?}"
            );
        }
        let right = InitRequest {
            entropy: Some(STANDARD.encode([7; 512]).into()),
            machine_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            hostname: Some("sb-1.example".to_owned()),
            ..InitRequest::default()
        };
        Machine::Shared.apply(&right).unwrap();
    }
}
