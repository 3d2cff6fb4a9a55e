//! Who changed what.

use super::rows::{self, id, micros, now, optional_id, optional_int, parsed};
use super::{Listed, Page, Store, StoreError};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Who changed what.
#[derive(Debug, Clone)]
pub struct AuditEvent<'a> {
    /// The token that was shown; nil: none, but the link of a letter.
    pub token_id: Uuid,
    /// Its role.
    pub role: &'a str,
    /// `create`, `update`, `delete`, `import` or `hang_up`.
    pub action: &'a str,
    /// The path of the changed resource.
    pub object: &'a str,
    /// As it was, without secrets.
    pub before: Option<serde_json::Value>,
    /// As it is, without secrets.
    pub after: Option<serde_json::Value>,
    /// As in the answer.
    pub request_id: &'a str,
    /// The customer whose own business it is, if somebody else did it.
    pub on_behalf_of: Option<Uuid>,
}

/// What was done, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AuditRecord {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The token that was shown; nil: none, but the link of a letter.
    pub token_id: Uuid,
    /// Its role.
    pub role: String,
    /// `create`, `update`, `delete`, `import` or `hang_up`.
    pub action: String,
    /// The path of the changed resource.
    pub object: String,
    /// As it was, without secrets.
    #[schema(value_type = Option<Object>)]
    pub before: Option<serde_json::Value>,
    /// As it is, without secrets.
    #[schema(value_type = Option<Object>)]
    pub after: Option<serde_json::Value>,
    /// As in the answer to the request.
    pub request_id: String,
    /// Of the directory by which calls obey the change.
    pub generation: Option<u64>,
    /// The customer whose own business it is, if somebody else did it.
    pub on_behalf_of: Option<Uuid>,
}

/// Which events to list; what is none does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Done with this token.
    pub token_id: Option<Uuid>,
    /// On this resource, or on those below it.
    pub object: Option<String>,
    /// Done then or later.
    pub from: Option<OffsetDateTime>,
    /// Done before.
    pub until: Option<OffsetDateTime>,
}

/// Newest first.
pub async fn list(
    connection: &mut SqliteConnection,
    filter: &AuditFilter,
    page: Page,
) -> Result<Listed<AuditRecord>, StoreError> {
    let mut query = QueryBuilder::new("SELECT * FROM audit WHERE seq < ");
    query.push_bind(page.after.unwrap_or(i64::MAX));
    if let Some(token) = filter.token_id {
        query.push(" AND token_id = ").push_bind(token.to_string());
    }
    if let Some(object) = &filter.object {
        let object = object.trim_end_matches('/').to_owned();
        query.push(" AND (object = ").push_bind(object.clone());
        // What is below sorts between `object/` and `object0`, `0` being the character after `/`.
        query.push(" OR object > ").push_bind(format!("{object}/"));
        query
            .push(" AND object < ")
            .push_bind(format!("{object}0"))
            .push(")");
    }
    if let Some(from) = filter.from {
        query.push(" AND at >= ").push_bind(micros(from));
    }
    if let Some(until) = filter.until {
        query.push(" AND at < ").push_bind(micros(until));
    }
    query
        .push(" ORDER BY seq DESC LIMIT ")
        .push_bind(page.fetch());
    let rows = query.build().fetch_all(connection).await?;
    Ok(page.cut(&rows, read)?)
}

fn read(row: &SqliteRow) -> Result<AuditRecord, sqlx::Error> {
    let value = |column: &str| {
        let text: Option<String> = row.try_get(column)?;
        let value = text.map(|text| parsed(column, serde_json::from_str(&text)));
        value.transpose()
    };
    Ok(AuditRecord {
        at: rows::time(row, "at")?,
        token_id: id(row, "token_id")?,
        role: row.try_get("role")?,
        action: row.try_get("action")?,
        object: row.try_get("object")?,
        before: value("before")?,
        after: value("after")?,
        request_id: row.try_get("request_id")?,
        generation: optional_int(row, "generation")?,
        on_behalf_of: optional_id(row, "on_behalf_of")?,
    })
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
    const INSERT: &str = "INSERT INTO audit (at, token_id, role, action, object, before, after, request_id,
        on_behalf_of, generation) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, generation + ? FROM directory_state";
    sqlx::query(INSERT)
        .bind(micros(now()))
        .bind(event.token_id.to_string())
        .bind(event.role)
        .bind(event.action)
        .bind(event.object)
        .bind(event.before.as_ref().map(ToString::to_string))
        .bind(event.after.as_ref().map(ToString::to_string))
        .bind(event.request_id)
        .bind(event.on_behalf_of.map(|id| id.to_string()))
        .bind(i64::from(publishes))
        .execute(connection)
        .await?;
    Ok(())
}
