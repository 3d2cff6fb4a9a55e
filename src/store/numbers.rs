//! Telephone numbers.

use super::rows::{id, micros, now, of, optional_time, parsed, time};
use super::{Listed, Page, StoreError};
use crate::directory::{Number, PhoneNumber};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// What can be changed of a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberSettings {
    /// Whether calls to it and from it pass.
    pub in_service: bool,
}

/// A stored number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PhoneNumber)]
pub struct NumberRecord {
    /// In E.164 form, with `+`; unique over all customers.
    #[schema(example = "+14255550100")]
    pub number: String,
    /// Whose.
    pub customer_id: Uuid,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: NumberSettings,
    /// When it was last put in service.
    #[serde(with = "time::serde::rfc3339::option")]
    pub in_service_since: Option<OffsetDateTime>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

fn record(row: &SqliteRow) -> Result<NumberRecord, sqlx::Error> {
    Ok(NumberRecord {
        number: row.try_get("number")?,
        customer_id: id(row, "customer_id")?,
        settings: NumberSettings {
            in_service: row.try_get("in_service")?,
        },
        in_service_since: optional_time(row, "in_service_since")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

/// Adds one to a customer, in service. [`StoreError::Taken`] if any customer has it.
pub async fn insert(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &Number,
) -> Result<(), StoreError> {
    let at = micros(now());
    sqlx::query(
        "INSERT INTO numbers (number, customer_id, in_service, in_service_since, created_at, updated_at, version)
         VALUES (?, ?, TRUE, ?, ?, ?, 1)",
    )
    .bind(number.as_str())
    .bind(customer.to_string())
    .bind(at)
    .bind(at)
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts it in service or takes it out.
pub async fn update(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &Number,
    settings: &NumberSettings,
) -> Result<NumberRecord, StoreError> {
    let at = micros(now());
    sqlx::query(
        "UPDATE numbers SET in_service_since = CASE WHEN in_service = ?1 THEN in_service_since WHEN ?1 THEN ?2 END,
         in_service = ?1, updated_at = ?2, version = version + 1 WHERE customer_id = ?3 AND number = ?4",
    )
    .bind(settings.in_service)
    .bind(at)
    .bind(customer.to_string())
    .bind(number.as_str())
    .execute(&mut *connection)
    .await?;
    Ok(find(connection, customer, number)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

/// Removes one.
pub async fn delete(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &Number,
) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM numbers WHERE customer_id = ? AND number = ?");
    query
        .bind(customer.to_string())
        .bind(number.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// The customer's.
pub async fn find(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &Number,
) -> Result<Option<NumberRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM numbers WHERE customer_id = ? AND number = ?");
    let row = query
        .bind(customer.to_string())
        .bind(number.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// Whose a number is, whoever asks.
pub async fn owner(
    connection: &mut SqliteConnection,
    number: &Number,
) -> Result<Option<Uuid>, StoreError> {
    let query =
        sqlx::query("SELECT customer_id FROM numbers WHERE number = ?").bind(number.as_str());
    let row = query.fetch_optional(connection).await?;
    Ok(row.map(|row| id(&row, "customer_id")).transpose()?)
}

/// A customer's, in the order of creation.
pub async fn list(
    connection: &mut SqliteConnection,
    customer: Uuid,
    page: Page,
) -> Result<Listed<NumberRecord>, StoreError> {
    let query =
        sqlx::query("SELECT * FROM numbers WHERE customer_id = ? AND seq > ? ORDER BY seq LIMIT ?");
    let query = query
        .bind(customer.to_string())
        .bind(page.after.unwrap_or(0))
        .bind(page.fetch());
    Ok(page.cut(&query.fetch_all(connection).await?, record)?)
}

/// All, or a customer's.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    customer: Option<Uuid>,
) -> Result<Vec<PhoneNumber>, StoreError> {
    const SELECT: &str = "SELECT number, customer_id, in_service FROM numbers";
    let phone_number = |row: &SqliteRow| {
        Ok(PhoneNumber {
            number: parsed("number", row.try_get::<String, _>("number")?.parse())?,
            customer: id(row, "customer_id")?,
            in_service: row.try_get("in_service")?,
        })
    };
    let rows = of(SELECT, "customer_id", customer)
        .build()
        .fetch_all(connection)
        .await?;
    rows.iter().map(phone_number).collect()
}

#[cfg(test)]
mod tests {
    use super::super::CustomerSettings;
    use super::super::customers::{self, tests::acme};
    use super::super::open::tests::fresh;
    use super::*;

    #[tokio::test]
    async fn a_number_belongs_to_one_customer_and_knows_since_when_it_serves() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let ours = customers::insert(&mut change, &acme()).await.unwrap().id;
        let theirs = customers::insert(
            &mut change,
            &CustomerSettings {
                account_id: "b".into(),
                ..acme()
            },
        )
        .await
        .unwrap()
        .id;
        let number: Number = "+14255550100".parse().unwrap();
        insert(&mut change, ours, &number).await.unwrap();
        assert!(matches!(
            insert(&mut change, theirs, &number).await,
            Err(StoreError::Taken(_))
        ));
        assert_eq!(find(&mut change, theirs, &number).await.unwrap(), None);
        assert_eq!(owner(&mut change, &number).await.unwrap(), Some(ours));

        let first = find(&mut change, ours, &number).await.unwrap().unwrap();
        assert_eq!(first.in_service_since, Some(first.created_at));
        let set = async |change: &mut _, in_service| {
            update(change, ours, &number, &NumberSettings { in_service })
                .await
                .unwrap()
        };
        let same = set(&mut change, true).await;
        assert_eq!(
            (same.in_service_since, same.version),
            (first.in_service_since, 2)
        );
        assert_eq!(set(&mut change, false).await.in_service_since, None);
        let again = set(&mut change, true).await;
        assert!(again.in_service_since > first.in_service_since);

        change.publish().await.unwrap();
        assert!(store.directory().load().number(&number).unwrap().in_service);
    }
}
