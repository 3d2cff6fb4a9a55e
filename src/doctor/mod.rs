//! What keeps calls away, found before a call is lost: certificates, names, connections, OPTIONS, number plan.
//!
//! The judgements are plain functions over values, one file for each subject, so that every fault is a unit test;
//! [`Doctor`] fetches the values by [`net::probe`](crate::net::probe) and puts the verdicts in order. It changes
//! nothing, and what it sends are OPTIONS at most.

pub mod certificate;
mod examine;
pub mod name;
pub mod numbers;
pub mod options;
pub mod reason;
pub mod script;

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

pub use examine::{Config, Doctor, DoctorError, MOST_GATEWAYS, Wanted};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DiagnosisCheck)]
pub struct Check {
    /// What, in a few words; the same in every report.
    pub name: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was seen.
    pub evidence: String,
    /// What to do about it; empty where nothing is to be done.
    pub remedy: String,
}

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DiagnosisVerdict)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    NotChecked,
    /// Calls pass, but perhaps not for long, or not all.
    Warning,
    /// Calls do not pass.
    Fault,
}

/// Everything that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Diagnosis {
    /// Whom it is about.
    pub subject: String,
    /// In the order in which they were made.
    pub checks: Vec<Check>,
    /// PowerShell for the tenant, ready to copy; none where Teams has no part in it.
    pub script: Option<String>,
}

impl Check {
    /// As it should be.
    pub fn ok(name: &'static str, evidence: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, evidence, "")
    }

    /// It could not be looked at.
    pub fn not_checked(name: &'static str, evidence: impl Into<String>) -> Self {
        Self::new(name, Verdict::NotChecked, evidence, "")
    }

    /// It will not do for long, or not for all.
    pub fn warning(
        name: &'static str,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(name, Verdict::Warning, evidence, remedy)
    }

    /// It keeps calls away.
    pub fn fault(
        name: &'static str,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(name, Verdict::Fault, evidence, remedy)
    }

    fn new(
        name: &'static str,
        verdict: Verdict,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            name,
            verdict,
            evidence: evidence.into(),
            remedy: remedy.into(),
        }
    }
}

impl Diagnosis {
    /// The gravest verdict.
    pub fn verdict(&self) -> Verdict {
        let verdicts = self.checks.iter().map(|check| check.verdict);
        verdicts.max().unwrap_or(Verdict::NotChecked)
    }
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "FAULT",
            Self::NotChecked => "not checked",
        }
    }
}

/// As an operator reads it.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.subject)?;
        for check in &self.checks {
            writeln!(
                f,
                "  {:<12} {}: {}",
                check.verdict.words(),
                check.name,
                check.evidence
            )?;
            if !check.remedy.is_empty() {
                writeln!(f, "  {:<12} -> {}", "", check.remedy)?;
            }
        }
        match &self.script {
            Some(script) => writeln!(f, "\n{script}"),
            None => Ok(()),
        }
    }
}
