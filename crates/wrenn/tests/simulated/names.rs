//! Ids are random; what happened is told by the order in which they were first spoken of.

use std::collections::HashMap;

/// How ids begin, how long they are, and what they are called instead.
const KINDS: [(&str, usize, &str); 2] = [("sb-", 23, "S"), ("vm-", 15, "M")];

/// The same lines with `S1` for the first sandbox and `M1` for the first machine.
pub(crate) fn numbered(lines: &[String]) -> Vec<String> {
    let mut names = HashMap::new();
    lines.iter().map(|line| number(line, &mut names)).collect()
}

fn number(line: &str, names: &mut HashMap<String, String>) -> String {
    let mut told = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        let kind = KINDS
            .iter()
            .find(|(prefix, length, _)| rest.starts_with(prefix) && rest.len() >= *length);
        if let Some((_, length, letter)) = kind {
            let (id, after) = rest.split_at(*length);
            let known = names
                .values()
                .filter(|name| name.starts_with(letter))
                .count();
            let name = names
                .entry(id.to_owned())
                .or_insert_with(|| format!("{letter}{}", known + 1));
            told.push_str(name);
            rest = after;
        } else {
            told.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    told
}
