//! Why calls went as they did, once they are over.

use super::open::unusable;
use super::rows::{id, json, micros, optional_id, to_json};
use super::{Store, StoreError};
use crate::b2bua::{Cdr, Fact, Trace};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{Connection, Row};
use std::path::Path;
use uuid::Uuid;

/// The decisions about a call that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTrace {
    /// The call's id.
    pub id: Uuid,
    /// Whose call it was; none if it was refused before that was known.
    pub customer_id: Option<Uuid>,
    /// Call-ID of the A leg.
    pub a_call_id: String,
    /// The decisions.
    pub trace: Trace,
}

impl StoredTrace {
    /// The part of a record that is kept as a trace.
    pub fn of(cdr: Cdr) -> Self {
        Self {
            id: cdr.id,
            customer_id: cdr.customer_id,
            a_call_id: cdr.a_call_id,
            trace: cdr.why,
        }
    }

    /// Call-IDs of all legs, the A leg's first.
    pub fn call_ids(&self) -> Vec<String> {
        let attempts = self.trace.steps.iter().filter_map(|step| match &step.fact {
            Fact::Attempt { call_id, .. } | Fact::Replaced { call_id, .. } => Some(call_id),
            _ => None,
        });
        std::iter::once(&self.a_call_id)
            .chain(attempts)
            .cloned()
            .collect()
    }
}

/// Within the transaction that stores the record.
pub(super) async fn insert(connection: &mut SqliteConnection, cdr: &Cdr) -> Result<(), StoreError> {
    if cdr.why.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT OR IGNORE INTO traces (id, customer_id, a_call_id, b_call_id, start, trace)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(cdr.id.to_string())
    .bind(cdr.customer_id.map(|id| id.to_string()))
    .bind(&cdr.a_call_id)
    .bind(&cdr.b_call_id)
    .bind(micros(cdr.start))
    .bind(to_json(&cdr.why))
    .execute(connection)
    .await?;
    Ok(())
}

/// By the call's id or the Call-ID of a leg; of several calls with one Call-ID the latest.
pub async fn find(
    connection: &mut SqliteConnection,
    call: &str,
) -> Result<Option<StoredTrace>, StoreError> {
    const BY_ID: &str = "SELECT * FROM traces WHERE id = ?";
    const BY_CALL_ID: &str =
        "SELECT * FROM traces WHERE a_call_id = ?1 OR b_call_id = ?1 ORDER BY start DESC LIMIT 1";
    let row = match Uuid::try_parse(call) {
        Ok(id) => {
            let by_id = sqlx::query(BY_ID).bind(id.to_string());
            by_id.fetch_optional(&mut *connection).await?
        }
        Err(_) => None,
    };
    let row = match row {
        Some(row) => Some(row),
        None => {
            let by_call_id = sqlx::query(BY_CALL_ID).bind(call);
            by_call_id.fetch_optional(&mut *connection).await?
        }
    };
    Ok(row.as_ref().map(read).transpose()?)
}

fn read(row: &SqliteRow) -> Result<StoredTrace, sqlx::Error> {
    Ok(StoredTrace {
        id: id(row, "id")?,
        customer_id: optional_id(row, "customer_id")?,
        a_call_id: row.try_get("a_call_id")?,
        trace: json(row, "trace")?,
    })
}

impl Store {
    /// The same in a file that is not opened otherwise and not changed, perhaps while an SBC runs on it.
    ///
    /// # Errors
    /// The file cannot be read, or is of an older version.
    pub async fn find_trace(path: &Path, call: &str) -> Result<Option<StoredTrace>, StoreError> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let opened = SqliteConnection::connect_with(&options).await;
        let mut connection = opened.map_err(|error| unusable(path, error))?;
        let found = find(&mut connection, call).await;
        connection.close().await?;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::cdrs::tests::cdr;
    use super::super::open::tests::fresh;
    use super::*;
    use crate::b2bua::Step;

    fn traced(number: u128, second: u8, a: &str) -> Cdr {
        let fact = Fact::Attempt {
            peer: "pbx".into(),
            host: "192.0.2.1".into(),
            call_id: "first-b".into(),
        };
        let steps = vec![Step { ms: 3, fact }];
        Cdr {
            a_call_id: a.into(),
            b_call_id: Some(format!("b-of-{a}")),
            why: Trace { steps, left_out: 0 },
            ..cdr(number, second)
        }
    }

    /// A trace is found by the call's id and by the Call-ID of either leg, the latest call first; the record in its
    /// own table does not carry it twice.
    #[tokio::test]
    async fn a_trace_is_found_by_every_name_of_its_call() {
        let (folder, store) = fresh().await;
        let cdrs = [
            traced(1, 0, "one"),
            traced(2, 5, "two"),
            traced(3, 9, "two"),
            cdr(4, 0),
        ];
        assert_eq!(store.add_cdrs(&cdrs).await.unwrap(), 4);
        let path = folder.path().join("tollgate.db");
        for (call, expected) in [
            (Uuid::from_u128(1).to_string(), Some(1)),
            ("one".into(), Some(1)),
            ("b-of-one".into(), Some(1)),
            ("two".into(), Some(3)),
            ("three".into(), None),
            (Uuid::from_u128(4).to_string(), None),
        ] {
            let mut connection = store.read().await.unwrap();
            let found = find(&mut connection, &call).await.unwrap();
            assert_eq!(found.as_ref().map(|t| t.id.as_u128()), expected, "{call}");
            assert_eq!(Store::find_trace(&path, &call).await.unwrap(), found);
            let record: Option<String> = sqlx::query_scalar("SELECT record FROM cdrs WHERE id = ?")
                .bind(found.map_or_else(String::new, |t| t.id.to_string()))
                .fetch_optional(&mut *connection)
                .await
                .unwrap();
            assert!(record.is_none_or(|text| !text.contains("first-b")));
        }
        let found = find(&mut store.read().await.unwrap(), "one").await.unwrap();
        assert_eq!(found.unwrap().call_ids(), ["one", "first-b"]);
    }
}
