//! What came of the scenarios: for people, as JSON, and as JUnit's XML for whatever runs tests.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::{Finding, Findings, Scenario};

/// One scenario and how it went.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The scenario's.
    pub name: &'static str,
    /// The items that it tries.
    pub items: &'static [&'static str],
    /// Whether nothing was found.
    pub ok: bool,
    /// What was found, with its evidence; or how much was looked at.
    pub detail: String,
    #[serde(skip)]
    meaning: &'static str,
    #[serde(skip)]
    findings: Vec<Finding>,
    #[serde(skip)]
    took: Duration,
}

impl Row {
    pub(super) fn new(scenario: &Scenario, findings: Findings, took: Duration) -> Self {
        let (findings, checks) = findings.into_parts();
        let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
        let ok = findings.is_empty();
        Self {
            name: scenario.name,
            items: scenario.items,
            ok,
            detail: if ok {
                format!("{} ({checks} checks)", scenario.meaning)
            } else {
                told.join("; ")
            },
            meaning: scenario.meaning,
            findings,
            took,
        }
    }

    /// What was found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The items that were tried and those that were broken, each once: `true` for those that hold.
    fn verdicts(&self) -> Vec<(&'static str, bool)> {
        let mut all: Vec<(&'static str, bool)> = Vec::new();
        let broken = self.findings.iter().map(|finding| finding.item);
        for item in self.items.iter().copied().chain(broken) {
            if !all.iter().any(|(known, _)| *known == item) {
                let holds = !self.findings.iter().any(|finding| finding.item == item);
                all.push((item, holds));
            }
        }
        all
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.ok { "ok" } else { "FAILED" };
        write!(f, "{mark:<7}{:<18} {}", self.name, self.meaning)?;
        let items = self
            .verdicts()
            .into_iter()
            .map(|(item, holds)| match holds {
                // A scenario that could not go on shows nothing about the rest of its items.
                true if self.ok => format!("{item} pass"),
                true => format!("{item} -"),
                false => format!("{item} FAIL"),
            });
        write!(f, "\n       {}", items.collect::<Vec<_>>().join(", "))?;
        for finding in &self.findings {
            write!(
                f,
                "\n       {}: {}\n           {}",
                finding.item, finding.rule, finding.evidence
            )?;
        }
        Ok(())
    }
}

/// All rows. It holds only if there are some and every one does.
#[derive(Debug, Default)]
pub struct Report(Vec<Row>);

impl Report {
    /// Adds one.
    pub fn push(&mut self, row: Row) {
        self.0.push(row);
    }

    /// In their order.
    pub fn rows(&self) -> &[Row] {
        &self.0
    }

    /// How many do not hold.
    pub fn failed(&self) -> usize {
        self.0.iter().filter(|row| !row.ok).count()
    }

    /// Whether all hold.
    pub fn holds(&self) -> bool {
        !self.0.is_empty() && self.failed() == 0
    }

    /// As `{"rows": [{"name", "items", "ok", "detail"}], "ok"}`.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "rows": self.0, "ok": self.holds() })
    }

    /// As JUnit's XML: a test case for each scenario.
    pub fn junit(&self) -> String {
        let seconds: f64 = self.0.iter().map(|row| row.took.as_secs_f64()).sum();
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"teams-direct-routing\" tests=\"{}\" failures=\"{}\" errors=\"0\" time=\"{seconds:.3}\">\n",
            self.0.len(),
            self.failed(),
        );
        for row in &self.0 {
            let _ = write!(
                xml,
                "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
                escaped(&row.items.join(" ")),
                row.name,
                row.took.as_secs_f64()
            );
            if row.ok {
                xml += "/>\n";
                continue;
            }
            xml += ">\n";
            let broken: Vec<_> = row.findings.iter().map(|f| f.item).collect();
            let told: Vec<_> = row.findings.iter().map(ToString::to_string).collect();
            let _ = writeln!(
                xml,
                "    <failure message=\"{}\">{}</failure>\n  </testcase>",
                escaped(&broken.join(" ")),
                escaped(&told.join("\n"))
            );
        }
        xml + "</testsuite>\n"
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, all) = (self.failed(), self.0.len());
        if self.holds() {
            return write!(f, "All {all} scenarios pass.");
        }
        write!(f, "{failed} of {all} scenarios fail:")?;
        for row in self.0.iter().filter(|row| !row.ok) {
            let mut items: Vec<_> = row.findings.iter().map(|finding| finding.item).collect();
            items.dedup();
            write!(f, "\n  {} ({})", row.name, items.join(", "))?;
        }
        Ok(())
    }
}

/// XML 1.0 §2.2, §2.4: what the text would be taken for markup by, and what may not be there at all.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\n' | '\t' => safe.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(evidence: Option<&str>) -> Row {
        let mut findings = Findings::default();
        findings.check(
            "TDR-403",
            evidence.is_none(),
            "the Contact is a name",
            || evidence.unwrap_or_default().to_owned(),
        );
        Row::new(&super::super::ALL[0], findings, Duration::from_millis(1500))
    }

    /// One row that fails makes the whole fail, and so does having tried nothing; the item and the bytes are told.
    #[test]
    fn it_holds_only_if_every_row_does() {
        let mut report = Report::default();
        assert!(!report.holds() && report.json()["ok"] == false);
        report.push(row(None));
        assert!(report.holds() && report.json()["rows"][0]["items"][0] == "TDR-126");
        report.push(row(Some("\"Contact: <sip:1.2.3.4>\"")));
        assert!(!report.holds() && report.failed() == 1);
        let failed = report.json()["rows"][1].clone();
        assert_eq!(failed["ok"], false);
        let detail = failed["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("TDR-403: ") && detail.contains("<sip:1.2.3.4>"),
            "{detail}"
        );
        assert!(report.to_string().contains("1 of 2"));
        assert!(report.rows()[1].to_string().contains("TDR-403 FAIL"));
    }

    /// What a peer sent cannot break out of the XML.
    #[test]
    fn evidence_is_escaped() {
        let mut report = Report::default();
        report.push(row(Some("\"Contact: <sip:a&b>\"\u{1}")));
        let xml = report.junit();
        assert!(
            xml.contains("&quot;Contact: &lt;sip:a&amp;b&gt;&quot;\u{fffd}"),
            "{xml}"
        );
        assert!(xml.contains("tests=\"1\" failures=\"1\""));
    }
}
