use super::csv::{CsvError, Row, Table};
use serde::{Deserialize, Serialize};

/// Seats of one account that are read; an account with more is not synchronised.
pub const MOST_SEATS: usize = 20_000;

/// What the carrier's system says of one account. As JSON this is the contract with it: the file that it drops, and its
/// answer over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// The account's seats.
    pub seats: Vec<Seat>,
    /// Numbers that sit on seats of other accounts.
    #[serde(default)]
    pub other_accounts: Vec<String>,
}

/// A seat of the carrier's system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The system's own name for it; never changes.
    pub id: String,
    /// Whether it is a seat of Teams.
    pub kind: SeatKind,
    /// Who has it, at Microsoft.
    #[serde(default)]
    pub upn: Option<String>,
    /// For people.
    #[serde(default)]
    pub display_name: Option<String>,
    /// In the customer's own plan.
    #[serde(default)]
    pub extension: Option<String>,
    /// In E.164 form.
    #[serde(default)]
    pub numbers: Vec<String>,
    /// Whether calls are allowed.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// What a seat is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeatKind {
    /// Microsoft Teams.
    Teams,
    /// Anything else: its numbers are not ours.
    Other,
}

/// Why what the carrier's system said is not to be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeatsError {
    /// The table.
    #[error("{0}")]
    Csv(#[from] CsvError),
    /// The JSON.
    #[error("{0}")]
    Json(String),
    /// A row says something that cannot be.
    #[error("line {line}: {what}")]
    Row {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Two seats have one id.
    #[error("seat {0} occurs twice")]
    Twice(String),
    /// More than [`MOST_SEATS`].
    #[error("more than {MOST_SEATS} seats")]
    TooMany,
}

impl Seats {
    /// From JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, SeatsError> {
        let seats: Self =
            serde_json::from_slice(bytes).map_err(|error| SeatsError::Json(error.to_string()))?;
        seats.checked()
    }

    /// From a table: a row a seat, columns `id`, `kind` (`teams`, `other`, or `elsewhere` for numbers of other accounts),
    /// `upn`, `display_name`, `extension`, `numbers` (separated by blanks) and `enabled` (`yes`, if nothing is said).
    pub fn from_csv(text: &str) -> Result<Self, SeatsError> {
        let table = Table::parse(text, MOST_SEATS + 1)?;
        let mut seats = Self::default();
        for (line, row) in table.rows() {
            let numbers = row.get("numbers").unwrap_or_default();
            let numbers = numbers.split_whitespace().map(str::to_owned);
            if row.get("kind") == Some("elsewhere") {
                seats.other_accounts.extend(numbers);
            } else {
                let numbers = numbers.collect();
                seats.seats.push(seat(line, row, numbers)?);
            }
        }
        seats.checked()
    }

    fn checked(self) -> Result<Self, SeatsError> {
        if self.seats.len() > MOST_SEATS {
            return Err(SeatsError::TooMany);
        }
        let mut ids = std::collections::HashSet::new();
        match self.seats.iter().find(|seat| !ids.insert(&seat.id)) {
            Some(twice) => Err(SeatsError::Twice(twice.id.clone())),
            None => Ok(self),
        }
    }
}

fn seat(line: usize, row: Row<'_>, numbers: Vec<String>) -> Result<Seat, SeatsError> {
    let wrong = |what| SeatsError::Row { line, what };
    let text = |column| row.get(column).map(str::to_owned);
    Ok(Seat {
        id: text("id").ok_or(wrong("a seat needs an id"))?,
        kind: match row.get("kind") {
            Some("teams") => SeatKind::Teams,
            Some("other") => SeatKind::Other,
            _ => return Err(wrong("kind must be teams, other or elsewhere")),
        },
        upn: text("upn"),
        display_name: text("display_name"),
        extension: text("extension"),
        numbers,
        enabled: match row.get("enabled") {
            None | Some("yes" | "true" | "1") => true,
            Some("no" | "false" | "0") => false,
            Some(_) => return Err(wrong("enabled must be yes or no")),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both forms of the contract say the same.
    #[test]
    fn seats_come_as_json_and_as_a_table() {
        let json = br#"{ "seats": [
            { "id": "7", "kind": "teams", "upn": "a@b.example", "numbers": ["+14255550100", "+14255550101"] },
            { "id": "8", "kind": "other", "numbers": ["+14255550102"], "enabled": false }
        ], "other_accounts": ["+14255550103"] }"#;
        let csv = "id,kind,upn,numbers,enabled\n7,teams,a@b.example,+14255550100 +14255550101,\n\
                   8,other,,+14255550102,no\n,elsewhere,,+14255550103,\n";
        let seats = Seats::from_json(json).unwrap();
        assert_eq!(Seats::from_csv(csv).unwrap(), seats);
        assert_eq!((seats.seats.len(), seats.seats[1].enabled), (2, false));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(matches!(Seats::from_json(b"{}"), Err(SeatsError::Json(_))));
        let twice = "id,kind\n1,teams\n1,other\n";
        assert_eq!(Seats::from_csv(twice), Err(SeatsError::Twice("1".into())));
        for bad in [
            "id,kind\n,teams\n",
            "id,kind\n1,desk\n",
            "id,kind,enabled\n1,teams,si\n",
        ] {
            let error = Seats::from_csv(bad).unwrap_err();
            assert!(matches!(error, SeatsError::Row { line: 2, .. }), "{bad}");
        }
    }
}
