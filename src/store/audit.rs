use super::rows::{micros, now};
use super::{Store, StoreError};
use sqlx::SqliteConnection;
use uuid::Uuid;

/// Who changed what.
#[derive(Debug, Clone)]
pub struct AuditEvent<'a> {
    /// The token that was shown.
    pub token_id: Uuid,
    /// Its role.
    pub role: &'a str,
    /// `create`, `update`, `delete` or `hang_up`.
    pub action: &'a str,
    /// The path of the changed resource.
    pub object: &'a str,
    /// As it was, without secrets.
    pub before: Option<serde_json::Value>,
    /// As it is, without secrets.
    pub after: Option<serde_json::Value>,
    /// As in the answer.
    pub request_id: &'a str,
}

impl Store {
    /// Notes what was done that changes no row; what does is noted within its [`Change`](super::Change).
    pub async fn audit(&self, event: &AuditEvent<'_>) -> Result<(), StoreError> {
        insert(&mut *self.read().await?, event, false).await
    }
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    event: &AuditEvent<'_>,
    publishes: bool,
) -> Result<(), StoreError> {
    // A change publishes the next generation at its end.
    const INSERT: &str = "INSERT INTO audit (at, token_id, role, action, object, before, after, request_id, generation)
        SELECT ?, ?, ?, ?, ?, ?, ?, ?, generation + ? FROM directory_state";
    sqlx::query(INSERT)
        .bind(micros(now()))
        .bind(event.token_id.to_string())
        .bind(event.role)
        .bind(event.action)
        .bind(event.object)
        .bind(event.before.as_ref().map(ToString::to_string))
        .bind(event.after.as_ref().map(ToString::to_string))
        .bind(event.request_id)
        .bind(i64::from(publishes))
        .execute(connection)
        .await?;
    Ok(())
}
