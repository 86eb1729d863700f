//! What was found, as people and programs read it.

use std::fmt;

use serde::Serialize;

use crate::terminal::escaped_cell;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// Sandboxes work, but not as well or as safely as they could.
    Warning,
    /// No sandbox can run; of the checklist for production, a line is not met.
    Problem,
    /// It is not there, and something else does without it.
    Absent,
    /// It could not be seen, mostly for want of rights.
    Unknown,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    /// What to do.
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    pub(super) fn warning(
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::bad(Verdict::Warning, check, found, remedy)
    }

    pub(super) fn problem(
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::bad(Verdict::Problem, check, found, remedy)
    }

    pub(super) fn unknown(
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::bad(Verdict::Unknown, check, found, remedy)
    }

    /// What only root may see.
    pub(super) fn hidden(check: &'static str, what: &str) -> Self {
        Self::unknown(check, what, "run `sudo wrenn doctor`")
    }

    /// The same of what something else does without: what is missing is not missed.
    pub(super) fn not_needed(self) -> Self {
        let verdict = match self.verdict {
            Verdict::Problem => Verdict::Absent,
            other => other,
        };
        Self { verdict, ..self }
    }

    fn bad(
        verdict: Verdict,
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            check,
            verdict,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// What belongs together.
#[derive(Debug, Serialize)]
pub(super) struct Area {
    area: &'static str,
    findings: Vec<Finding>,
}

impl Area {
    pub(super) fn new(area: &'static str, findings: Vec<Finding>) -> Self {
        Self { area, findings }
    }
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Question {
    /// Whether sandboxes can run.
    Sandboxes,
    /// Whether each line of the checklist is met.
    Production,
}

impl Question {
    const fn answer(self, well: bool) -> &'static str {
        match (self, well) {
            (Self::Sandboxes, true) => "sandboxes can run on this machine",
            (Self::Sandboxes, false) => "no sandbox can run on this machine as it is",
            (Self::Production, true) => "this machine is as the checklist wants it",
            (Self::Production, false) => "this machine is not as the checklist wants it",
        }
    }
}

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    question: Question,
    areas: Vec<Area>,
    pub(super) problems: usize,
    pub(super) warnings: usize,
    unknown: usize,
}

impl Report {
    pub(super) fn new(question: Question, areas: Vec<Area>) -> Self {
        let count = |verdict| {
            let all = areas.iter().flat_map(|area| &area.findings);
            all.filter(|finding| finding.verdict == verdict).count()
        };
        Self {
            problems: count(Verdict::Problem),
            warnings: count(Verdict::Warning),
            unknown: count(Verdict::Unknown),
            question,
            areas,
        }
    }

    /// Whether the answer is yes. Of a checklist, a line that could not be seen is not met.
    pub(super) fn is_well(&self) -> bool {
        match self.question {
            Question::Sandboxes => self.problems == 0,
            Question::Production => self.problems + self.unknown == 0,
        }
    }

    fn conclusion(&self) -> String {
        let counted = |count: usize, word: &str| match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            count => Some(format!("{count} {word}s")),
        };
        let unseen = (self.unknown > 0).then(|| format!("{} not seen", self.unknown));
        let counts: Vec<_> = [
            counted(self.problems, "problem"),
            counted(self.warnings, "warning"),
            unseen,
        ]
        .into_iter()
        .flatten()
        .collect();
        let verdict = self.question.answer(self.is_well());
        if counts.is_empty() {
            format!("Nothing to object to: {verdict}.")
        } else {
            format!("{}: {verdict}.", counts.join(", "))
        }
    }
}

/// Where the text of a line begins, behind verdict and check.
const INDENT: usize = 28;
/// How long lines get.
const WIDTH: usize = 110;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Area { area, findings } in &self.areas {
            writeln!(f, "{area}")?;
            for finding in findings {
                let Finding {
                    check,
                    verdict,
                    found,
                    remedy,
                } = finding;
                let head = format!("  {:<8} {check}", verdict.word());
                writeln!(f, "{head:<INDENT$}{}", wrapped(found, ""))?;
                if let Some(remedy) = remedy {
                    writeln!(f, "{:INDENT$}{}", "", wrapped(remedy, "→ "))?;
                }
            }
            writeln!(f)?;
        }
        f.write_str(&self.conclusion())
    }
}

/// The text in lines that fit behind the indent.
fn wrapped(text: &str, mark: &str) -> String {
    let room = WIDTH - INDENT;
    let mut lines = vec![mark.to_owned()];
    let hang = " ".repeat(mark.chars().count());
    for word in escaped_cell(text).split(' ') {
        let last = lines.last_mut().filter(|line| {
            line.trim().is_empty() || line.chars().count() + 1 + word.chars().count() <= room
        });
        match last {
            Some(line) if *line == mark || *line == hang => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(format!("{hang}{word}")),
        }
    }
    lines.join(&format!("\n{:INDENT$}", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        Report::new(Question::Sandboxes, vec![Area::new("Area", findings)])
    }

    #[test]
    fn lines_say_what_and_what_to_do() {
        let long = "a ".repeat(60);
        let report = report(vec![
            Finding::ok("one", "as it should be"),
            Finding::warning("two", long.trim(), "do that"),
        ]);
        let text = report.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "Area");
        assert_eq!(lines[1], "  ok       one              as it should be");
        assert!(lines[2].starts_with("  warning  two              a a "));
        assert!(lines[3].starts_with("                            a a"));
        assert_eq!(lines[4], "                            → do that");
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(lines[6], "1 warning: sandboxes can run on this machine.");
    }

    #[test]
    fn the_conclusion_counts() {
        assert_eq!(
            report(vec![Finding::ok("x", "y")]).conclusion(),
            "Nothing to object to: sandboxes can run on this machine."
        );
        let bad = report(vec![
            Finding::problem("x", "y", "z"),
            Finding::problem("x", "y", "z"),
            Finding::hidden("x", "y"),
        ]);
        assert_eq!(
            bad.conclusion(),
            "2 problems, 1 not seen: no sandbox can run on this machine as it is."
        );
    }

    #[test]
    fn what_something_else_does_without_is_not_counted() {
        let absent = Finding::problem("x", "y", "z").not_needed();
        assert_eq!(
            (absent.verdict, absent.remedy.is_some()),
            (Verdict::Absent, true)
        );
        let seen = report(vec![absent, Finding::warning("x", "y", "z").not_needed()]);
        assert_eq!((seen.problems, seen.warnings, seen.is_well()), (0, 1, true));
    }

    #[test]
    fn a_line_of_the_checklist_that_nobody_saw_is_not_met() {
        let checklist =
            |finding| Report::new(Question::Production, vec![Area::new("A", vec![finding])]);
        let unseen = checklist(Finding::hidden("x", "y"));
        assert!(!unseen.is_well());
        assert_eq!(
            unseen.conclusion(),
            "1 not seen: this machine is not as the checklist wants it."
        );
        assert!(!checklist(Finding::problem("x", "y", "z")).is_well());
        assert!(checklist(Finding::warning("x", "y", "z")).is_well());
    }
}
