//! What Debian packages are missing, by the same list that `make run` installs from.

use std::collections::BTreeSet;

use super::finding::Finding;

/// The project's one list; its head explains the columns.
const LIST: &str = include_str!("../../../../../packages.txt");
/// Where Debian writes down what is installed.
const STATUS: &str = "/var/lib/dpkg/status";
/// Without these the first start fails: it makes a template and a volume.
const NEEDED: [&str; 3] = ["mmdebstrap", "e2fsprogs", "xfsprogs"];
/// Looked at by itself, for its version.
const ELSEWHERE: &str = "qemu-system-x86";

/// A package that a host needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Package {
    name: &'static str,
    purpose: &'static str,
}

/// What is installed; `None` where Debian's list isn't.
pub(super) fn installed() -> Option<BTreeSet<String>> {
    Some(parse_status(&std::fs::read_to_string(STATUS).ok()?))
}

/// A finding for each that is missing, or one that says that none is.
pub(super) fn judge(installed: Option<&BTreeSet<String>>) -> Vec<Finding> {
    const CHECK: &str = "packages";
    let all: Vec<_> = needed(LIST).collect();
    let names = |packages: &[Package]| {
        let names: Vec<_> = packages.iter().map(|package| package.name).collect();
        names.join(" ")
    };
    let Some(installed) = installed else {
        return vec![Finding::unknown(
            CHECK,
            "this is no Debian, where the names of packages are known",
            format!(
                "make sure that there is what these have there: {}",
                names(&all)
            ),
        )];
    };
    let missing: Vec<_> = all
        .iter()
        .filter(|package| !installed.contains(package.name))
        .copied()
        .collect();
    if missing.is_empty() {
        return vec![Finding::ok(CHECK, format!("{} are installed", names(&all)))];
    }
    let remedy = format!("apt-get install {}", names(&missing));
    let findings = missing.iter().map(|package| {
        let found = format!("{} is missing: {}", package.name, package.purpose);
        if NEEDED.contains(&package.name) {
            Finding::problem(CHECK, found, &remedy)
        } else {
            Finding::warning(CHECK, found, &remedy)
        }
    });
    findings.collect()
}

fn needed(list: &'static str) -> impl Iterator<Item = Package> {
    list.lines().filter_map(|line| {
        let (fields, purpose) = line.split_once('#')?;
        let mut fields = fields.split_whitespace();
        let (name, usage) = (fields.next()?, fields.next()?);
        let purpose = purpose.trim();
        (usage == "run" && name != ELSEWHERE).then_some(Package { name, purpose })
    })
}

fn parse_status(text: &str) -> BTreeSet<String> {
    let field = |stanza: &str, name: &str| {
        let mut lines = stanza.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
    };
    text.split("\n\n")
        .filter(|stanza| field(stanza, "Status:").is_some_and(|s| s.ends_with(" ok installed")))
        .filter_map(|stanza| field(stanza, "Package:"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn the_project_s_list_is_understood() {
        let names: Vec<_> = needed(LIST).map(|package| package.name).collect();
        assert!(NEEDED.iter().all(|name| names.contains(name)), "{names:?}");
        assert!(!names.contains(&ELSEWHERE) && LIST.contains(ELSEWHERE));
        assert!(!names.contains(&"gcc"), "{names:?}");
    }

    #[test]
    fn only_what_is_whole_counts_as_installed() {
        let status = "Package: curl\nStatus: install ok installed\nVersion: 7\n\n\
                      Package: mmdebstrap\nStatus: deinstall ok config-files\n\n\
                      Package: e2fsprogs\nStatus: hold ok installed\n";
        let found = parse_status(status);
        assert_eq!(found, ["curl", "e2fsprogs"].map(str::to_owned).into());
        let findings = judge(Some(&found));
        let of = |name: &str| {
            let found = findings
                .iter()
                .find(|finding| finding.found.starts_with(name));
            found.map(|finding| finding.verdict)
        };
        assert_eq!(of("mmdebstrap"), Some(Verdict::Problem));
        assert_eq!(of("ca-certificates"), Some(Verdict::Warning));
        assert_eq!((of("curl"), of("e2fsprogs")), (None, None));
        let remedy = findings[0].remedy.as_deref();
        assert_eq!(
            remedy,
            Some("apt-get install mmdebstrap xfsprogs ca-certificates")
        );
    }

    #[test]
    fn another_system_is_not_judged() {
        assert_eq!(judge(None)[0].verdict, Verdict::Unknown);
    }
}
