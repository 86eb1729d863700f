//! What Firecracker counts: a JSON object a minute through a pipe. Only what should never happen is told on.

use std::io;
use std::path::Path;

use serde_json::Value;
use wrenn_model::VmId;

use crate::pipe::Pipe;

/// The longest object, in bytes. Some 5 KiB were seen.
const LONGEST: usize = 64 << 10;
/// What should stay 0, by group and name.
const FAILURES: [(&str, &str); 6] = [
    ("seccomp", "num_faults"),
    ("vcpu", "failures"),
    ("block", "event_fails"),
    ("net", "tap_read_fails"),
    ("net", "tap_write_fails"),
    ("signals", "sigbus"),
];

/// The reading end.
#[derive(Debug)]
pub(super) struct Metrics {
    vm: VmId,
    pipe: Pipe,
    /// The beginning of an object that has not come whole.
    begun: Vec<u8>,
}

impl Metrics {
    /// Takes up a pipe that is there.
    pub(super) fn open(vm: &VmId, path: &Path) -> io::Result<Self> {
        Ok(Self {
            vm: vm.clone(),
            pipe: Pipe::open(path)?,
            begun: Vec::new(),
        })
    }

    /// Reads what there is.
    pub(super) fn drain(&mut self) {
        self.begun.extend(self.pipe.drain().unwrap_or_default());
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            let told = failures(&line);
            if !told.is_empty() {
                tracing::warn!(vm = %self.vm, failures = told, "the VMM counts failures");
            }
        }
        if self.begun.len() > LONGEST {
            self.begun.clear();
        }
    }
}

/// What is not 0 of what should be: `seccomp.num_faults 1, …`.
fn failures(line: &[u8]) -> String {
    let counted: Value = serde_json::from_slice(line).unwrap_or_default();
    let failed = FAILURES.iter().filter_map(|(group, name)| {
        let count = counted.get(group)?.get(name)?.as_u64()?;
        (count > 0).then(|| format!("{group}.{name} {count}"))
    });
    failed.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_are_told() {
        let line = br#"{"seccomp":{"num_faults":2},"block":{"event_fails":0},"net":7,"vcpu":{"failures":1}}"#;
        assert_eq!(failures(line), "seccomp.num_faults 2, vcpu.failures 1");
        assert_eq!(failures(b"{}"), "");
        assert_eq!(failures(b"nonsense"), "");
    }

    #[test]
    fn an_object_may_come_in_pieces_and_an_endless_one_is_dropped() {
        use std::io::Write;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics");
        Pipe::create(&path).unwrap();
        let mut writer = crate::pipe::open(&path).unwrap();
        let mut metrics = Metrics::open(&VmId::random(), &path).unwrap();
        writer.write_all(br#"{"seccomp":"#).unwrap();
        metrics.drain();
        assert!(!metrics.begun.is_empty());
        writer.write_all(b"{}}\n").unwrap();
        metrics.drain();
        assert!(metrics.begun.is_empty());
        for _ in 0..3 {
            writer.write_all(&[b'x'; 40 << 10]).unwrap();
            metrics.drain();
        }
        assert!(metrics.begun.len() <= LONGEST);
    }
}
