//! What the program says about itself: completions that shells take, and manual pages, of every command that `wrenn help`
//! shows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a program to its good end and gives what it printed.
#[expect(
    clippy::disallowed_methods,
    reason = "programs are run as a user runs them"
)]
fn said(program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn wrenn(args: &[&str]) -> String {
    said(env!("CARGO_BIN_EXE_wrenn"), args)
}

/// Every command that is shown, with its subcommands, as `wrenn help` names them.
fn commands() -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut next = 0;
    while let Some(command) = found.get(next).cloned() {
        let words: Vec<&str> = std::iter::once("help")
            .chain(command.iter().map(String::as_str))
            .collect();
        let help = wrenn(&words);
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        for line in listed.take_while(|line| !line.is_empty()) {
            let name = line.trim().split(' ').next().unwrap();
            if name != "help" {
                found.push([&command[..], &[name.to_owned()]].concat());
            }
        }
        next += 1;
    }
    assert!(found.len() > 30, "{found:?}");
    found
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = wrenn(&["completions", shell]);
        for command in commands().iter().flatten() {
            assert!(script.contains(command.as_str()), "{shell}: {command}");
        }
        for hidden in ["__jail", "Start a VMM inside", "confine"] {
            assert!(!script.contains(hidden), "{shell} shows {hidden}");
        }
    }
}

#[test]
fn bash_completes_with_them() {
    let binary = env!("CARGO_BIN_EXE_wrenn");
    let complete = |words: &str| {
        let last = words.split(' ').count() - 1;
        let script = format!(
            "source <({binary} completions bash); COMP_WORDS=({words}); COMP_CWORD={last}; \
             _wrenn wrenn \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let said = said("bash", &["-c", &script]);
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("wrenn sandbox ex"), ["exec"]);
    assert_eq!(complete("wrenn up --listen-p"), ["--listen-public"]);
    assert_eq!(complete("wrenn completions f"), ["fish"]);
}

#[test]
fn every_command_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    wrenn(&["man", "--write", folder.path().to_str().unwrap()]);
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let pages: BTreeSet<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = commands().into_iter().map(|command| {
        let words = std::iter::once("wrenn").chain(command.iter().map(String::as_str));
        format!("{}.1", words.collect::<Vec<_>>().join("-"))
    });
    assert_eq!(pages, expected.collect());

    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let page = wrenn(&["man", "sandbox", "exec"]);
    assert_eq!(page, read("wrenn-sandbox-exec.1"));
    assert!(page.contains(".TH wrenn-sandbox-exec 1"), "{page}");
    assert!(wrenn(&["man"]).contains("wrenn\\-sandbox(1)"));
    // Its defaults are the program's own, whatever this machine's configuration says.
    assert!(read("wrenn-server.1").contains("WRENN_ADDR"));
    assert!(!Path::new(&folder.path().join("wrenn-jail.1")).exists());
}
