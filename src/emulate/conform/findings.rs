//! What a scenario has to object to: the rule, and the bytes that broke it.

use crate::emulate::Note;

/// One rule that the SBC broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `TDR-` and its number.
    pub item: &'static str,
    /// What should have been.
    pub rule: String,
    /// The line, message or count that shows that it was not.
    pub evidence: String,
}

impl Finding {
    /// One that is told with its evidence.
    pub fn new(
        item: &'static str,
        rule: impl Into<String>,
        evidence: impl std::fmt::Display,
    ) -> Self {
        Self {
            item,
            rule: rule.into(),
            evidence: evidence.to_string(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; seen: {}", self.item, self.rule, self.evidence)
    }
}

/// A step of a scenario: what it yields, or why the scenario cannot go on.
pub(super) type Step<T = ()> = Result<T, Finding>;

/// What one scenario found, and how many things it looked at.
#[derive(Debug, Default)]
pub struct Findings {
    found: Vec<Finding>,
    checks: usize,
}

impl Findings {
    /// Notes a finding unless `holds`, and goes on.
    pub(super) fn check<E: std::fmt::Display>(
        &mut self,
        item: &'static str,
        holds: bool,
        rule: impl Into<String>,
        evidence: impl FnOnce() -> E,
    ) {
        self.checks += 1;
        if !holds {
            self.found.push(Finding::new(item, rule, evidence()));
        }
    }

    /// Notes a step that failed, and goes on.
    pub(super) fn step<T>(&mut self, step: Step<T>) -> Option<T> {
        self.checks += 1;
        step.map_err(|finding| self.found.push(finding)).ok()
    }

    /// What the emulated Teams noted by itself.
    pub(super) fn noted(&mut self, notes: Vec<Note>) {
        let rule = "Teams refuses or ignores this";
        let findings = notes
            .into_iter()
            .map(|note| Finding::new(note.item, rule, note.text));
        self.found.extend(findings);
    }

    /// All of them, and the number of checks.
    pub(super) fn into_parts(self) -> (Vec<Finding>, usize) {
        (self.found, self.checks)
    }
}
