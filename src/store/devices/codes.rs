//! The codes by which people at telephones say whose they are.

use super::super::rows::{id, micros, optional_time, time};
use super::super::{Change, Keys, Sealed, StoreError};
use crate::base::Random;
use crate::directory::Secret;
use crate::provisioning::device::{ActivationCode, CODE_LIFETIME};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::collections::HashMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// A code that can be typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveCode {
    /// Of which telephone-to-be.
    pub device: Uuid,
    /// What is typed.
    pub code: Secret,
    /// When it was made.
    pub issued_at: OffsetDateTime,
    /// When it no longer counts.
    pub expires_at: OffsetDateTime,
}

/// The table in which they are sealed.
const CODES: &str = "activation_codes";
/// Codes of one telephone that are remembered, with the live one.
const MOST_REMEMBERED: i64 = 20;
/// That a new code is somebody else's is as likely as one that is guessed.
const MOST_DRAWS: usize = 5;

/// Makes a new code; an older one is void.
pub async fn issue(
    change: &mut Change,
    device: Uuid,
    at: OffsetDateTime,
) -> Result<LiveCode, StoreError> {
    void(change, device, at).await?;
    forget(change, device).await?;
    sqlx::query("UPDATE devices SET updated_at = ?, version = version + 1 WHERE id = ?")
        .bind(micros(at))
        .bind(device.to_string())
        .execute(&mut **change)
        .await?;
    let mut random = Random::from_seed(rand::random());
    let mut draws = 1;
    loop {
        let code = ActivationCode::random(&mut random);
        match add(change, device, &code, at).await {
            Err(StoreError::Taken(_)) if draws < MOST_DRAWS => draws += 1,
            Err(error) => return Err(error),
            Ok(()) => {
                return Ok(LiveCode {
                    device,
                    code: Secret::new(code.digits()),
                    issued_at: at,
                    expires_at: at + CODE_LIFETIME,
                });
            }
        }
    }
}

async fn add(
    change: &mut Change,
    device: Uuid,
    code: &ActivationCode,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    let sealed = change
        .keys()
        .seal(CODES, &device.to_string(), code.digits())?;
    sqlx::query(
        "INSERT INTO activation_codes (device_id, code_hash, code, key_id, state, issued_at, expires_at)
         VALUES (?, ?, ?, ?, 'live', ?, ?)",
    )
    .bind(device.to_string())
    .bind(&code.digest()[..])
    .bind(sealed.text)
    .bind(sealed.key_id)
    .bind(micros(at))
    .bind(micros(at + CODE_LIFETIME))
    .execute(&mut **change)
    .await?;
    Ok(())
}

async fn forget(connection: &mut SqliteConnection, device: Uuid) -> Result<(), StoreError> {
    const FORGET: &str = "DELETE FROM activation_codes WHERE device_id = ?1 AND seq NOT IN
        (SELECT seq FROM activation_codes WHERE device_id = ?1 ORDER BY seq DESC LIMIT ?2)";
    sqlx::query(FORGET)
        .bind(device.to_string())
        .bind(MOST_REMEMBERED - 1)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whatever code a telephone has, it opens nothing any more.
pub async fn void(
    connection: &mut SqliteConnection,
    device: Uuid,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    end(connection, device, "void", at).await
}

/// The code was typed.
pub(super) async fn used(
    connection: &mut SqliteConnection,
    device: Uuid,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    end(connection, device, "used", at).await
}

async fn end(
    connection: &mut SqliteConnection,
    device: Uuid,
    state: &'static str,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    const END: &str =
        "UPDATE activation_codes SET state = ?, code = NULL, key_id = NULL, ended_at = ?
        WHERE device_id = ? AND state = 'live'";
    sqlx::query(END)
        .bind(state)
        .bind(micros(at))
        .bind(device.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The code that a telephone waits for, if it can still be typed.
pub async fn of_device(
    connection: &mut SqliteConnection,
    keys: &Keys,
    device: Uuid,
    at: OffsetDateTime,
) -> Result<Option<LiveCode>, StoreError> {
    const SELECT: &str =
        "SELECT * FROM activation_codes WHERE device_id = ? AND state = 'live' AND expires_at > ?";
    let query = sqlx::query(SELECT)
        .bind(device.to_string())
        .bind(micros(at));
    let row = query.fetch_optional(connection).await?;
    row.map(|row| live(&row, keys)).transpose()
}

fn live(row: &SqliteRow, keys: &Keys) -> Result<LiveCode, StoreError> {
    let device = id(row, "device_id")?;
    let sealed = Sealed {
        key_id: row.try_get("key_id")?,
        text: row.try_get("code")?,
    };
    Ok(LiveCode {
        device,
        code: keys.open(CODES, &device.to_string(), &sealed)?,
        issued_at: time(row, "issued_at")?,
        expires_at: time(row, "expires_at")?,
    })
}

/// The codes that a customer's telephones wait for, by telephone.
pub async fn of_customer(
    connection: &mut SqliteConnection,
    keys: &Keys,
    customer: Uuid,
    at: OffsetDateTime,
) -> Result<HashMap<Uuid, LiveCode>, StoreError> {
    const SELECT: &str = "SELECT activation_codes.* FROM activation_codes
        JOIN devices ON devices.id = activation_codes.device_id
        WHERE devices.customer_id = ? AND activation_codes.state = 'live' AND expires_at > ?";
    let query = sqlx::query(SELECT)
        .bind(customer.to_string())
        .bind(micros(at));
    let rows = query.fetch_all(connection).await?;
    let codes = rows
        .iter()
        .map(|row| live(row, keys).map(|code| (code.device, code)));
    codes.collect()
}

/// Which telephone-to-be has this code, if it can still be typed.
pub(super) async fn device_of(
    connection: &mut SqliteConnection,
    code: &ActivationCode,
    at: OffsetDateTime,
) -> Result<Option<Uuid>, StoreError> {
    const SELECT: &str =
        "SELECT device_id, expires_at FROM activation_codes WHERE code_hash = ? AND state = 'live'";
    let query = sqlx::query(SELECT).bind(&code.digest()[..]);
    let Some(row) = query.fetch_optional(connection).await? else {
        return Ok(None);
    };
    let is_live = optional_time(&row, "expires_at")?.is_some_and(|expires| at < expires);
    Ok(is_live.then(|| id(&row, "device_id")).transpose()?)
}
