use super::StoreError;
use super::rows::micros;
use sqlx::SqliteConnection;
use time::OffsetDateTime;
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

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    event: &AuditEvent<'_>,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    // A change publishes the next generation at its end.
    const INSERT: &str = "INSERT INTO audit (at, token_id, role, action, object, before, after, request_id, generation)
        SELECT ?, ?, ?, ?, ?, ?, ?, ?, generation + 1 FROM directory_state";
    sqlx::query(INSERT)
        .bind(micros(at))
        .bind(event.token_id.to_string())
        .bind(event.role)
        .bind(event.action)
        .bind(event.object)
        .bind(event.before.as_ref().map(ToString::to_string))
        .bind(event.after.as_ref().map(ToString::to_string))
        .bind(event.request_id)
        .execute(connection)
        .await?;
    Ok(())
}
