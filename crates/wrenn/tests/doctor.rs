//! `wrenn doctor --production` on this machine, whatever it is like.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The exit code, and the lines of the checklist.
#[expect(
    clippy::disallowed_methods,
    reason = "programs are run as a user runs them"
)]
fn checked(dir: &Path, accepted: &[String]) -> (Option<i32>, Vec<Value>) {
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_wrenn"));
    doctor.args(["doctor", "--production", "--json", "--dir"]);
    let accept = accepted.iter().flat_map(|line| ["--accept", line]);
    let output = doctor
        .arg(dir)
        .args(accept)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["question"], "production", "{report:#}");
    let lines = report["areas"][0]["findings"].as_array().unwrap().clone();
    (output.status.code(), lines)
}

#[test]
fn a_line_that_is_not_met_fails_unless_somebody_answers_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (code, lines) = checked(dir.path(), &[]);
    let unmet: Vec<_> = lines
        .iter()
        .filter(|line| line["verdict"] != "ok")
        .collect();
    assert_eq!(code, Some(i32::from(!unmet.is_empty())), "{lines:#?}");
    let silent = unmet.iter().find(|line| !line["remedy"].is_string());
    assert_eq!(silent, None, "it does not say what to do");
    let names = unmet.iter().map(|line| line["check"].as_str().unwrap());
    let names: Vec<_> = names.map(str::to_owned).collect();
    let (code, lines) = checked(dir.path(), &names);
    assert_eq!(code, Some(0), "{lines:#?}");
    for line in lines {
        let accepted = names.iter().any(|name| line["check"] == name.as_str());
        let expected = if accepted { "warning" } else { "ok" };
        assert_eq!(line["verdict"], expected, "{line:#}");
    }
}
