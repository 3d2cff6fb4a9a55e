//! What came of the scenes.

use serde::Serialize;
use std::fmt;

/// One scene and how it went.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: &'static str,
    ok: bool,
    /// What was seen, or what was not as it should be.
    detail: String,
}

impl Row {
    pub fn new(name: &'static str, outcome: anyhow::Result<String>) -> Self {
        let ok = outcome.is_ok();
        let detail = outcome.unwrap_or_else(|error| format!("{error:#}"));
        Self { name, ok, detail }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.ok { "ok" } else { "FAILED" };
        write!(f, "{mark:<7}{}: {}", self.name, self.detail)
    }
}

/// All rows. It holds only if there are some and every one does.
#[derive(Debug, Default)]
pub(super) struct Verdict(Vec<Row>);

impl Verdict {
    pub fn push(&mut self, row: Row) {
        self.0.push(row);
    }

    pub fn failed(&self) -> usize {
        self.0.iter().filter(|row| !row.ok).count()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "rows": self.0, "ok": self.holds() })
    }

    fn holds(&self) -> bool {
        !self.0.is_empty() && self.failed() == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.0 {
            writeln!(f, "{row}")?;
        }
        let (failed, all) = (self.failed(), self.0.len());
        if self.holds() {
            write!(f, "All {all} rows hold.")
        } else {
            write!(f, "{failed} of {all} rows do not hold.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    /// One row that fails makes the whole fail, and so does having shown nothing.
    #[test]
    fn it_holds_only_if_every_row_does() {
        let mut verdict = Verdict::default();
        assert_eq!(verdict.json()["ok"], false);
        verdict.push(Row::new("a", Ok("fine".into())));
        assert_eq!(
            (verdict.json()["ok"].clone(), verdict.failed()),
            (true.into(), 0)
        );
        verdict.push(Row::new("b", Err(anyhow!("silent").context("audio"))));
        assert_eq!(
            verdict.json()["rows"][1],
            serde_json::json!({ "name": "b", "ok": false, "detail": "audio: silent" })
        );
        assert_eq!(
            (verdict.json()["ok"].clone(), verdict.failed()),
            (false.into(), 1)
        );
    }
}
