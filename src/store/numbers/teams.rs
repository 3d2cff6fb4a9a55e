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

/// Numbers that nobody should have at Microsoft any more: those that have just left, and those of before that are kept until
/// they are settled. One that is the customer's again is none of them.
pub async fn gone(
    connection: &mut SqliteConnection,
    customer: Uuid,
    left: Vec<String>,
) -> Result<Vec<String>, StoreError> {
    const BACK: &str = "DELETE FROM leftover_numbers AS l WHERE l.customer_id = ?1 AND EXISTS (SELECT 1 FROM numbers n
        WHERE n.customer_id = ?1 AND n.in_service AND n.number || ifnull(';ext=' || n.extension, '') = l.number)";
    // Who was never given a number by us has none to lose.
    const KEEP: &str = "INSERT OR IGNORE INTO leftover_numbers (customer_id, number)
        SELECT id, ?2 FROM customers WHERE id = ?1 AND teams_pushed_at IS NOT NULL";
    const KEPT: &str = "SELECT number FROM leftover_numbers WHERE customer_id = ? ORDER BY number";
    let id = customer.to_string();
    sqlx::query(BACK)
        .bind(&id)
        .execute(&mut *connection)
        .await?;
    for number in &left {
        let keep = sqlx::query(KEEP).bind(&id).bind(number);
        keep.execute(&mut *connection).await?;
    }
    let kept: Vec<String> = sqlx::query_scalar(KEPT)
        .bind(&id)
        .fetch_all(connection)
        .await?;
    match kept.is_empty() {
        true => Ok(left),
        false => Ok(kept),
    }
}

/// Nobody has this number at Microsoft any more.
pub async fn settled(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &str,
) -> Result<(), StoreError> {
    const DELETE: &str = "DELETE FROM leftover_numbers WHERE customer_id = ? AND number = ?";
    let query = sqlx::query(DELETE).bind(customer.to_string()).bind(number);
    query.execute(connection).await?;
    Ok(())
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
