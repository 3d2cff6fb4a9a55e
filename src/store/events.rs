//! What happened to customers, for portals and whoever waits for something.

use super::rows::{id, json, micros, time};
use super::{Listed, Page, StoreError};
use serde::Serialize;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventRecord {
    /// Grows with every event.
    pub id: i64,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What: `customer.activated` and others.
    pub kind: String,
    /// To whom.
    pub customer_id: Uuid,
    /// More about it.
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// Whose events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventScope {
    /// Everybody's.
    All,
    /// Those of the customers of a partner, and of the partners below it.
    Partner(Uuid),
    /// A customer's.
    Customer(Uuid),
}

fn record(row: &SqliteRow) -> Result<EventRecord, sqlx::Error> {
    Ok(EventRecord {
        id: row.try_get("seq")?,
        at: time(row, "at")?,
        kind: row.try_get("kind")?,
        customer_id: id(row, "customer_id")?,
        detail: json(row, "detail")?,
    })
}

/// Notes one.
pub async fn insert(
    connection: &mut SqliteConnection,
    at: OffsetDateTime,
    kind: &str,
    customer: Uuid,
    detail: &Value,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO events (at, kind, customer_id, detail) VALUES (?, ?, ?, ?)")
        .bind(micros(at))
        .bind(kind)
        .bind(customer.to_string())
        .bind(detail.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The newest of all; 0 if there is none.
pub async fn newest(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar("SELECT ifnull(max(seq), 0) FROM events");
    Ok(query.fetch_one(connection).await?)
}

/// Those after the one that a page begins after, oldest first.
pub async fn list(
    connection: &mut SqliteConnection,
    scope: EventScope,
    page: Page,
) -> Result<Listed<EventRecord>, StoreError> {
    let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("SELECT * FROM events WHERE seq > ");
    query.push_bind(page.after.unwrap_or(0));
    match scope {
        EventScope::All => {}
        EventScope::Partner(partner) => {
            query
                .push(" AND customer_id IN (SELECT id FROM customers WHERE partner_id = ")
                .push_bind(partner.to_string())
                .push(" OR partner_id IN (SELECT id FROM partners WHERE parent_id = ")
                .push_bind(partner.to_string())
                .push("))");
        }
        EventScope::Customer(customer) => {
            query
                .push(" AND customer_id = ")
                .push_bind(customer.to_string());
        }
    }
    query.push(" ORDER BY seq LIMIT ").push_bind(page.fetch());
    let rows = query.build().fetch_all(connection).await?;
    Ok(page.cut(&rows, record)?)
}

/// A customer's newest of an activation, since then, oldest first.
pub async fn of_activation(
    connection: &mut SqliteConnection,
    customer: Uuid,
    since: OffsetDateTime,
) -> Result<Vec<EventRecord>, StoreError> {
    const NEWEST: &str =
        "SELECT * FROM events WHERE customer_id = ? AND at >= ? ORDER BY seq DESC LIMIT 50";
    let query = sqlx::query(NEWEST)
        .bind(customer.to_string())
        .bind(micros(since));
    let rows = query.fetch_all(connection).await?;
    Ok(rows.iter().rev().map(record).collect::<Result<_, _>>()?)
}
