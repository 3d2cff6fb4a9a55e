use super::super::error::ApiError;
use crate::store::Fault;
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use utoipa::ToSchema;

/// What an import has done, or would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct ImportReport {
    /// Whether nothing was really done.
    pub dry_run: bool,
    /// Things that were not there.
    pub created: usize,
    /// Things that were otherwise.
    pub changed: usize,
    /// Things that are gone.
    pub deleted: usize,
    /// Things that the file describes as they were.
    pub unchanged: usize,
    /// Of the directory by which calls obey it; null if there was nothing to do.
    pub generation: Option<u64>,
    /// In the order in which it was done.
    pub changes: Vec<Difference>,
}

/// What becomes of one thing.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Difference {
    /// Its place in the file.
    #[schema(example = "customers.acme.trunks.pbx")]
    pub path: String,
    /// What becomes of it.
    pub action: ImportAction,
    /// What changes about it; empty if it is new or goes.
    pub fields: Vec<FieldDifference>,
}

/// What becomes of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportAction {
    /// It was not there.
    Create,
    /// It was otherwise.
    Change,
    /// It goes.
    Delete,
}

/// What changes about a thing.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FieldDifference {
    /// Which field, with dots and indexes.
    pub field: String,
    /// As it was; null if it was not said, or is a secret.
    pub before: Value,
    /// As it is then; null if it is not said, or is a secret.
    pub after: Value,
}

impl ImportReport {
    pub(super) fn note(&mut self, difference: Difference) {
        match difference.action {
            ImportAction::Create => self.created += 1,
            ImportAction::Change => self.changed += 1,
            ImportAction::Delete => self.deleted += 1,
        }
        self.changes.push(difference);
    }
}

/// For people: a line for each change, and one that counts them.
impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            let sign = match change.action {
                ImportAction::Create => '+',
                ImportAction::Change => '~',
                ImportAction::Delete => '-',
            };
            writeln!(f, "{sign} {}", change.path)?;
            for field in &change.fields {
                let FieldDifference {
                    field,
                    before,
                    after,
                } = field;
                match (before, after) {
                    (Value::Null, Value::Null) => writeln!(f, "    {field}: another secret")?,
                    _ => writeln!(f, "    {field}: {before} -> {after}")?,
                }
            }
        }
        let is = if self.dry_run { "would be " } else { "" };
        write!(
            f,
            "{} {is}created, {} {is}changed, {} {is}deleted, {} as before",
            self.created, self.changed, self.deleted, self.unchanged
        )
    }
}

/// Why a file was not brought in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ImportRefused {
    detail: String,
    faults: Vec<Fault>,
}

impl fmt::Display for ImportRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.faults.is_empty() {
            return f.write_str(&self.detail);
        }
        f.write_str("nothing was changed:")?;
        for Fault { field, message, .. } in &self.faults {
            write!(f, "\n  {field}: {message}")?;
        }
        Ok(())
    }
}

impl From<ApiError> for ImportRefused {
    fn from(error: ApiError) -> Self {
        Self {
            detail: error.detail().to_owned(),
            faults: error.faults().to_vec(),
        }
    }
}
