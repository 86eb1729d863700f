//! What `/init` changes beside the session: the random number generator, the clock, the boot id, the host name, the machine
//! id.

use std::fs;
use std::io;
use std::path::Path;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use wrenn_envd_api::{InitRequest, Timestamp};

use crate::boot_id;
use crate::sys::entropy;

const NANOS_PER_SECOND: i32 = 1_000_000_000;

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

/// One thing that `/init` changes.
#[derive(Debug, PartialEq, Eq)]
enum Change<'a> {
    Entropy(Vec<u8>),
    Clock(TimeSpec),
    BootId(&'a str),
    Hostname(&'a str),
    MachineId(&'a str),
}

impl Machine {
    /// Checks all that the request asks of the machine, then does it. What stands as asked already is left alone.
    pub(crate) fn apply(self, request: &InitRequest) -> Result<(), MachineError> {
        let changes = changes(request)?;
        if self == Self::Own {
            changes.iter().try_for_each(Change::make)?;
        }
        Ok(())
    }
}

/// What `request` asks for, in the order in which it is done. Entropy comes first: whatever is drawn from the generator
/// afterwards must differ between two guests that were restored from one state. Then the clock, since each name that is
/// written carries a time; then the boot id, by which programs see that the names may be others; then the names.
fn changes(request: &InitRequest) -> Result<Vec<Change<'_>>, MachineError> {
    let entropy = request.entropy.as_ref().map(|text| decode(text.expose()));
    let clock = request.timestamp.as_ref().map(checked_time);
    let boot_id = request.boot_id.as_deref().map(checked_boot_id);
    let hostname = request.hostname.as_deref().map(checked_hostname);
    let machine_id = request.machine_id.as_deref().map(checked_machine_id);
    let changes = [
        entropy.map(|bytes| bytes.map(Change::Entropy)),
        clock.map(|time| time.map(Change::Clock)),
        boot_id.map(|id| id.map(Change::BootId)),
        hostname.map(|name| name.map(Change::Hostname)),
        machine_id.map(|id| id.map(Change::MachineId)),
    ];
    changes.into_iter().flatten().collect()
}

impl Change<'_> {
    fn make(&self) -> Result<(), MachineError> {
        let (what, result) = match self {
            Self::Entropy(bytes) => ("random number generator", entropy::reseed(bytes)),
            Self::Clock(time) => (
                "clock",
                clock_settime(ClockId::CLOCK_REALTIME, *time).map_err(io::Error::from),
            ),
            Self::BootId(id) => ("boot id", boot_id::change(id)),
            Self::Hostname(name) => ("host name", change_hostname(name)),
            Self::MachineId(id) => ("machine id", change_machine_id(id)),
        };
        result.map_err(|error| MachineError::Refused(what, error))
    }
}

/// A guest that keeps its name keeps what its user made of /etc/hosts, too.
fn change_hostname(name: &str) -> io::Result<()> {
    if nix::unistd::gethostname()? == *name {
        Ok(())
    } else {
        set_hostname(name)
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
fn change_machine_id(id: &str) -> io::Result<()> {
    let line = format!("{id}\n");
    let path = Path::new("/etc/machine-id");
    if fs::read(path).is_ok_and(|present| present == line.as_bytes()) {
        return Ok(());
    }
    fs::write(path, &line)?;
    let copy = Path::new("/var/lib/dbus/machine-id");
    if fs::symlink_metadata(copy).is_ok_and(|metadata| metadata.is_file()) {
        fs::write(copy, &line)?;
    }
    Ok(())
}

fn checked_time(time: &Timestamp) -> Result<TimeSpec, MachineError> {
    if time.seconds >= 0 && (0..NANOS_PER_SECOND).contains(&time.nanos) {
        Ok(TimeSpec::new(time.seconds, i64::from(time.nanos)))
    } else {
        Err(MachineError::Invalid("timestamp is no time after 1970"))
    }
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

fn is_lower_hex(digits: &str) -> bool {
    digits
        .chars()
        .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

/// A UUID as the kernel writes one.
fn checked_boot_id(id: &str) -> Result<&str, MachineError> {
    let parts = id.split('-');
    if parts.clone().map(str::len).eq([8, 4, 4, 4, 12]) && parts.clone().all(is_lower_hex) {
        Ok(id)
    } else {
        Err(MachineError::Invalid("bootId must be a lower case UUID"))
    }
}

fn checked_machine_id(id: &str) -> Result<&str, MachineError> {
    if id.len() == 32 && is_lower_hex(id) {
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

    fn time(seconds: i64, nanos: i32) -> Timestamp {
        Timestamp {
            seconds,
            nanos,
            ..Timestamp::default()
        }
    }

    #[test]
    fn entropy_comes_first_then_the_clock_then_the_boot_id_then_the_names() {
        let id = "0123456789abcdef0123456789abcdef";
        let boot_id = "01234567-89ab-cdef-0123-456789abcdef";
        let request = InitRequest {
            entropy: Some(STANDARD.encode([7; 32]).into()),
            timestamp: Some(time(5, 6)),
            hostname: Some("spring".to_owned()),
            machine_id: Some(id.to_owned()),
            boot_id: Some(boot_id.to_owned()),
            ..InitRequest::default()
        };
        assert_eq!(
            changes(&request).unwrap(),
            [
                Change::Entropy(vec![7; 32]),
                Change::Clock(TimeSpec::new(5, 6)),
                Change::BootId(boot_id),
                Change::Hostname("spring"),
                Change::MachineId(id),
            ]
        );
        assert_eq!(changes(&InitRequest::default()).unwrap(), []);
    }

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
                timestamp: Some(time(-1, 0)),
                ..InitRequest::default()
            },
            InitRequest {
                timestamp: Some(time(1, NANOS_PER_SECOND)),
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
                boot_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
                ..InitRequest::default()
            },
            InitRequest {
                boot_id: Some("01234567-89AB-cdef-0123-456789abcdef".to_owned()),
                ..InitRequest::default()
            },
            InitRequest {
                boot_id: Some("01234567-89ab-cdef-0123-456789abcdef-".to_owned()),
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
            boot_id: Some("01234567-89ab-cdef-0123-456789abcdef".to_owned()),
            hostname: Some("sb-1.example".to_owned()),
            ..InitRequest::default()
        };
        Machine::Shared.apply(&right).unwrap();
    }
}
