//! Which models of the catalogue a customer has.

use super::super::StoreError;
use super::super::error::Faults;
use super::super::rows::{micros, now};
use crate::provisioning::device::DeviceModel;
use sqlx::SqliteConnection;
use uuid::Uuid;

/// Puts a model on a customer's list; it may be there.
pub async fn add(
    connection: &mut SqliteConnection,
    customer: Uuid,
    model: &str,
) -> Result<&'static DeviceModel, StoreError> {
    let known = DeviceModel::of(model);
    let mut faults = Faults::default();
    let what = "must be a model of the catalogue";
    faults.demand(known.is_some(), "model", "unknown_model", what);
    let Some(known) = faults.or(known)? else {
        return Err(sqlx::Error::RowNotFound.into());
    };
    const INSERT: &str =
        "INSERT INTO customer_device_models (customer_id, model, created_at) VALUES (?, ?, ?)
        ON CONFLICT DO NOTHING";
    sqlx::query(INSERT)
        .bind(customer.to_string())
        .bind(model)
        .bind(micros(now()))
        .execute(connection)
        .await?;
    Ok(known)
}

/// Takes a model off a customer's list; [`StoreError::Reference`] while a telephone of it is somebody's.
pub async fn remove(
    connection: &mut SqliteConnection,
    customer: Uuid,
    model: &str,
) -> Result<(), StoreError> {
    const USED: &str = "SELECT 1 FROM devices WHERE customer_id = ? AND model = ? AND state <> 'deactivated' LIMIT 1";
    let used = sqlx::query(USED)
        .bind(customer.to_string())
        .bind(model)
        .fetch_optional(&mut *connection)
        .await?;
    if used.is_some() {
        return Err(StoreError::Reference);
    }
    sqlx::query("DELETE FROM customer_device_models WHERE customer_id = ? AND model = ?")
        .bind(customer.to_string())
        .bind(model)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether a customer has a model.
pub async fn has(
    connection: &mut SqliteConnection,
    customer: Uuid,
    model: &str,
) -> Result<bool, StoreError> {
    let query =
        sqlx::query("SELECT 1 FROM customer_device_models WHERE customer_id = ? AND model = ?");
    let row = query
        .bind(customer.to_string())
        .bind(model)
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// A customer's list, by code. It is as short as the catalogue.
pub async fn list(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Vec<&'static DeviceModel>, StoreError> {
    const SELECT: &str =
        "SELECT model FROM customer_device_models WHERE customer_id = ? ORDER BY model";
    let codes: Vec<String> = sqlx::query_scalar(SELECT)
        .bind(customer.to_string())
        .fetch_all(connection)
        .await?;
    Ok(codes
        .iter()
        .filter_map(|code| DeviceModel::of(code))
        .collect())
}
