use super::KeyError;
use crate::directory::CompileError;
use crate::provisioning::Offering;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::ToSchema;

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be used.
    #[error("the database {} cannot be opened: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The operating system's or SQLite's words.
        reason: String,
    },
    /// The file was written by a later version of this program, which knows migrations that we do not.
    #[error("the database {} is from a newer version of this program (migration {migration})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The first migration that we do not know.
        migration: i64,
    },
    /// What only one row may have is taken; `table.column` of the constraint.
    #[error("{0} is taken")]
    Taken(String),
    /// Another row still needs this one, or this one needs what is not there.
    #[error("a row is still referred to, or refers to nothing")]
    Reference,
    /// The row where a page of a sorted list ended is gone.
    #[error("the row where the page ended is gone")]
    LostPlace,
    /// Values break rules of their own.
    #[error("{} values break rules, the first being {}", .0.len(), .0.first().map_or("none", |fault| &fault.field))]
    Faults(Vec<Fault>),
    /// Rows do not fit together.
    #[error("the rows make no directory: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Contradiction(Vec<CompileError>),
    /// Too many letters wait.
    #[error("too many letters wait for the mail server")]
    MailQueueFull,
    /// A secret cannot be sealed or opened.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The file takes no writes, for now.
    #[error("the database takes no writes: {0}")]
    Unwritable(Unwritable),
    /// Anything else that SQLite says.
    #[error("the database failed: {0}")]
    Database(#[source] sqlx::Error),
}

/// Why a file takes no writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// There is no room for more.
    #[error("it is full, or its disk is")]
    Full,
    /// It may only be read.
    #[error("it is read-only")]
    ReadOnly,
    /// The disk fails.
    #[error("its disk fails")]
    Disk,
}

impl Unwritable {
    /// After SQLite's result code; the kinds of one error have its number in their last byte.
    fn of(code: &str) -> Option<Self> {
        match code.parse::<i32>().ok()? & 0xff {
            8 => Some(Self::ReadOnly),
            // SQLITE_IOERR and SQLITE_CANTOPEN.
            10 | 14 => Some(Self::Disk),
            13 => Some(Self::Full),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        let Some(database) = error.as_database_error() else {
            return Self::Database(error);
        };
        match database.kind() {
            ErrorKind::UniqueViolation => {
                let message = database.message();
                let constraint = message
                    .rsplit_once(": ")
                    .map_or(message, |(_, constraint)| constraint);
                Self::Taken(constraint.to_owned())
            }
            ErrorKind::ForeignKeyViolation => Self::Reference,
            _ => match database.code().and_then(|code| Unwritable::of(&code)) {
                Some(why) => Self::Unwritable(why),
                None => Self::Database(error),
            },
        }
    }
}

/// A value that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// Where in the body, with dots and indexes: `profile.min_se_s`, `acl[2]`.
    pub field: String,
    /// For programs; stable.
    pub code: String,
    /// For people.
    pub message: String,
}

/// Collects faults.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    /// Adds one unless `holds`.
    pub(super) fn demand(
        &mut self,
        holds: bool,
        field: impl Into<String>,
        code: &str,
        message: impl Into<String>,
    ) {
        if !holds {
            self.0.push(Fault {
                field: field.into(),
                code: code.to_owned(),
                message: message.into(),
            });
        }
    }

    /// Adds one that was found elsewhere.
    pub(super) fn push(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// At least one thing sold, none twice.
    pub(super) fn offerings(&mut self, offerings: &[Offering]) {
        self.demand(
            !offerings.is_empty(),
            "offerings",
            "required",
            "must be at least one",
        );
        for (index, offering) in offerings.iter().enumerate() {
            self.demand(
                !offerings[..index].contains(offering),
                format!("offerings[{index}]"),
                "twice",
                "is named twice",
            );
        }
    }

    /// A length in characters.
    pub(super) fn length(&mut self, field: &str, text: &str, least: usize, most: usize) {
        let fits =
            (least..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        self.demand(
            fits,
            field,
            "length",
            format!("must have {least} to {most} printable characters"),
        );
    }

    /// Emergency numbers as dialled (TDR-1001).
    pub(super) fn emergency_numbers(&mut self, numbers: &[String]) {
        self.demand(
            numbers.len() <= 32,
            "emergency_numbers",
            "too_many",
            "must be at most 32",
        );
        for (index, number) in numbers.iter().enumerate() {
            let fits =
                (2..=15).contains(&number.len()) && number.bytes().all(|c| c.is_ascii_digit());
            self.demand(
                fits,
                format!("emergency_numbers[{index}]"),
                "digits",
                "must be 2 to 15 digits",
            );
        }
    }

    /// All of them, or the value.
    pub(super) fn or<T>(self, value: T) -> Result<T, StoreError> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(StoreError::Faults(self.0))
        }
    }
}

/// Free words that billing gets.
pub(super) fn billing_references(faults: &mut Faults, references: &[String]) {
    faults.demand(
        references.len() <= 16,
        "billing_references",
        "too_many",
        "must be at most 16",
    );
    for (index, reference) in references.iter().enumerate() {
        faults.length(&format!("billing_references[{index}]"), reference, 1, 128);
    }
}

/// RFC 1123 §2.1: labels of letters, digits and inner hyphens.
pub(super) fn is_domain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

pub(super) fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}
