//! What columns hold.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use time::OffsetDateTime;
use uuid::Uuid;

type Read<T> = Result<T, sqlx::Error>;

pub(super) fn id(row: &SqliteRow, column: &str) -> Read<Uuid> {
    parsed(column, row.try_get::<String, _>(column)?.parse())
}

pub(super) fn optional_id(row: &SqliteRow, column: &str) -> Read<Option<Uuid>> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| parsed(column, text.parse())).transpose()
}

pub(super) fn time(row: &SqliteRow, column: &str) -> Read<OffsetDateTime> {
    from_micros(column, row.try_get(column)?)
}

pub(super) fn optional_time(row: &SqliteRow, column: &str) -> Read<Option<OffsetDateTime>> {
    let micros: Option<i64> = row.try_get(column)?;
    micros.map(|micros| from_micros(column, micros)).transpose()
}

/// A value kept as JSON text.
pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Read<T> {
    parsed(
        column,
        serde_json::from_str(&row.try_get::<String, _>(column)?),
    )
}

/// A unit variant kept under its name.
pub(super) fn named<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Read<T> {
    parsed(
        column,
        serde_json::from_value(row.try_get::<String, _>(column)?.into()),
    )
}

pub(super) fn optional_named<T: DeserializeOwned>(
    row: &SqliteRow,
    column: &str,
) -> Read<Option<T>> {
    let name: Option<String> = row.try_get(column)?;
    name.map(|name| parsed(column, serde_json::from_value(name.into())))
        .transpose()
}

/// An integer of whatever width.
pub(super) fn int<T: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Read<T>
where
    T::Error: std::error::Error + Send + Sync + 'static,
{
    parsed(column, T::try_from(row.try_get::<i64, _>(column)?))
}

pub(super) fn optional_int<T: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Read<Option<T>>
where
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let value: Option<i64> = row.try_get(column)?;
    value
        .map(|value| parsed(column, T::try_from(value)))
        .transpose()
}

pub(super) fn parsed<T, E>(column: &str, result: Result<T, E>) -> Read<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    result.map_err(|source| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(source),
    })
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("lists and plain structs have a JSON form")
}

pub(super) fn micros(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}

fn from_micros(column: &str, micros: i64) -> Read<OffsetDateTime> {
    parsed(
        column,
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000),
    )
}

/// Now, as exactly as the database keeps it.
pub(super) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.microsecond() * 1000)
        .unwrap_or(now)
}

/// `select`, or only where the condition, which lacks an id at its end, holds for this one.
pub(super) fn of(
    select: &'static str,
    condition: &'static str,
    only: Option<Uuid>,
) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(select);
    if let Some(only) = only {
        query.push(condition).push_bind(only.to_string());
    }
    query
}

/// A new id, from the operating system's randomness.
pub(super) fn new_id() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

/// A part of a list: at most `limit` rows, after the row where the last part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// [`Listed::next`] of the part before.
    pub after: Option<i64>,
    /// At least 1.
    pub limit: u32,
}

/// The whole list, for callers who know that it is short.
impl Default for Page {
    fn default() -> Self {
        Self {
            after: None,
            limit: 500,
        }
    }
}

/// What is on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; none after the last.
    pub next: Option<i64>,
}

impl Page {
    /// One more than asked for tells whether there is a next page.
    pub(super) fn fetch(self) -> i64 {
        i64::from(self.limit) + 1
    }

    pub(super) fn cut<T>(
        self,
        rows: &[SqliteRow],
        read: impl Fn(&SqliteRow) -> Read<T>,
    ) -> Read<Listed<T>> {
        let limit = self.limit as usize;
        let items = rows
            .iter()
            .take(limit)
            .map(read)
            .collect::<Read<Vec<_>>>()?;
        let last = if rows.len() > limit {
            rows.get(limit.saturating_sub(1))
        } else {
            None
        };
        Ok(Listed {
            items,
            next: last.map(|row| row.try_get("seq")).transpose()?,
        })
    }
}
