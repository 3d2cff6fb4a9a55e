//! Customers' numbers as Microsoft should have them.

use super::super::StoreError;
use super::super::rows::{micros, now, optional_id};
use crate::provisioning::NumberStatus;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

/// A number that a user should have at Microsoft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNumber {
    /// As Teams writes it: E.164, perhaps with `;ext=`.
    pub number: String,
    /// The user's name to sign in.
    pub upn: String,
    /// The user's id there, where it is known.
    pub object_id: Option<Uuid>,
}

/// As Teams writes a number.
fn written_by_teams(row: &SqliteRow) -> Result<String, sqlx::Error> {
    let (number, extension) = (row.try_get("number")?, row.try_get("extension")?);
    Ok(match extension {
        Some::<String>(extension) => format!("{number};ext={extension}"),
        None => number,
    })
}

/// The numbers that a customer's users should have at Microsoft, one each: further numbers ring where the first one does.
pub async fn wanted(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Vec<UserNumber>, StoreError> {
    const SELECT: &str =
        "SELECT n.number, n.extension, u.upn, u.teams_object_id, min(n.seq) FROM numbers n
        JOIN users u ON u.id = n.user_id
        WHERE n.customer_id = ? AND n.in_service AND n.desired = 'present' AND n.forwards_to IS NULL
            AND u.state = 'enabled' AND u.calling_enabled
        GROUP BY u.id ORDER BY min(n.seq)";
    let number = |row: &SqliteRow| {
        Ok(UserNumber {
            number: written_by_teams(row)?,
            upn: row.try_get("upn")?,
            object_id: optional_id(row, "teams_object_id")?,
        })
    };
    let query = sqlx::query(SELECT).bind(customer.to_string());
    let rows = query.fetch_all(connection).await?;
    Ok(rows
        .iter()
        .map(number)
        .collect::<Result<_, sqlx::Error>>()?)
}

/// Numbers in service that leave a customer with its next Sync, as Teams writes them.
pub async fn leaving(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Vec<String>, StoreError> {
    const SELECT: &str = "SELECT number, extension FROM numbers
        WHERE customer_id = ? AND desired = 'absent' AND in_service ORDER BY seq";
    let query = sqlx::query(SELECT).bind(customer.to_string());
    let rows = query.fetch_all(connection).await?;
    Ok(rows
        .iter()
        .map(written_by_teams)
        .collect::<Result<_, _>>()?)
}

/// Notes that Microsoft has a number otherwise, as Teams writes it. Calls go by it all the same.
pub async fn differs(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &str,
    why: &str,
) -> Result<(), StoreError> {
    const UPDATE: &str =
        "UPDATE numbers SET status = ?, status_detail = ?, updated_at = ?, version = version + 1
        WHERE customer_id = ? AND number = ? AND in_service AND status = ?";
    let number = number.split(';').next().unwrap_or_default();
    sqlx::query(UPDATE)
        .bind(NumberStatus::TeamsMismatch.name())
        .bind(why)
        .bind(micros(now()))
        .bind(customer.to_string())
        .bind(number)
        .bind(NumberStatus::InSync.name())
        .execute(connection)
        .await?;
    Ok(())
}
