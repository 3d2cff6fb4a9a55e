//! Work that goes on after its request was answered.

use super::rows::{
    id, int, json, micros, named, new_id, now, optional_id, optional_time, parsed, time, to_json,
};
use super::{Change, Listed, Page, Store, StoreError, events};
use crate::provisioning::SyncState;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// How far work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It waits for its turn.
    Queued,
    /// It is being done.
    Running,
    /// It is done, whatever became of its parts.
    Succeeded,
    /// It could not be done.
    Failed,
    /// Somebody did not want it any more before it began.
    Cancelled,
}

impl TaskState {
    fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will come of it.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// What kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// A Sync of a customer.
    Sync,
    /// Users from a table.
    UsersBulk,
    /// The upgrade of a service.
    Upgrade,
}

impl TaskKind {
    fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::UsersBulk => "users_bulk",
            Self::Upgrade => "upgrade",
        }
    }
}

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Task)]
pub struct TaskRecord {
    /// Never used again.
    pub id: Uuid,
    /// What is done.
    pub kind: TaskKind,
    /// For whom.
    pub customer_id: Option<Uuid>,
    /// How far it is.
    pub state: TaskState,
    /// The same in percent.
    pub progress: u8,
    /// What became of its parts, as far as that is not in `result`.
    #[schema(value_type = Vec<Object>)]
    pub details: Vec<serde_json::Value>,
    /// What came of it; for a Sync its job, without the items.
    #[schema(value_type = Option<Object>)]
    pub result: Option<serde_json::Value>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// Tasks of one kind that are kept of one customer.
const KEPT: i64 = 20;

fn record(row: &SqliteRow) -> Result<TaskRecord, sqlx::Error> {
    let result: Option<String> = row.try_get("result")?;
    Ok(TaskRecord {
        id: id(row, "id")?,
        kind: named(row, "kind")?,
        customer_id: optional_id(row, "customer_id")?,
        state: named(row, "state")?,
        progress: int(row, "progress")?,
        details: json(row, "details")?,
        result: result
            .map(|text| parsed("result", serde_json::from_str(&text)))
            .transpose()?,
        created_at: time(row, "created_at")?,
        started_at: optional_time(row, "started_at")?,
        finished_at: optional_time(row, "finished_at")?,
    })
}

/// Notes work to be done, and forgets what was done long ago. [`StoreError::Taken`] if it is a Sync and the customer has
/// one under way.
pub async fn insert(
    connection: &mut SqliteConnection,
    kind: TaskKind,
    customer: Uuid,
) -> Result<TaskRecord, StoreError> {
    const FORGET: &str = "DELETE FROM tasks WHERE customer_id = ?1 AND kind = ?2 AND seq <= (
        SELECT seq FROM tasks WHERE customer_id = ?1 AND kind = ?2 ORDER BY seq DESC LIMIT 1 OFFSET ?3)";
    let new = new_id();
    sqlx::query(
        "INSERT INTO tasks (id, kind, customer_id, state, progress, details, created_at) VALUES (?, ?, ?, 'queued', 0, '[]', ?)",
    )
    .bind(new.to_string())
    .bind(kind.name())
    .bind(customer.to_string())
    .bind(micros(now()))
    .execute(&mut *connection)
    .await?;
    let forget = sqlx::query(FORGET)
        .bind(customer.to_string())
        .bind(kind.name());
    forget.bind(KEPT).execute(&mut *connection).await?;
    Ok(find(connection, new)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

/// Its turn has come. False if it was cancelled.
pub async fn start(connection: &mut SqliteConnection, id: Uuid) -> Result<bool, StoreError> {
    const START: &str =
        "UPDATE tasks SET state = 'running', started_at = ? WHERE id = ? AND state = 'queued'";
    let query = sqlx::query(START).bind(micros(now())).bind(id.to_string());
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

/// It is so far, in percent.
pub async fn advance(
    connection: &mut SqliteConnection,
    id: Uuid,
    progress: u8,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE tasks SET progress = ? WHERE id = ?")
        .bind(progress)
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// It is over.
pub async fn finish(
    connection: &mut SqliteConnection,
    id: Uuid,
    state: TaskState,
    result: Option<&serde_json::Value>,
    details: &[serde_json::Value],
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE tasks SET state = ?, progress = 100, result = ?, details = ?, finished_at = ? WHERE id = ?",
    )
    .bind(state.name())
    .bind(result.map(ToString::to_string))
    .bind(to_json(&details))
    .bind(micros(now()))
    .bind(id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes back what has not begun. False if it has.
pub async fn cancel(connection: &mut SqliteConnection, id: Uuid) -> Result<bool, StoreError> {
    const CANCEL: &str =
        "UPDATE tasks SET state = 'cancelled', finished_at = ? WHERE id = ? AND state = 'queued'";
    let query = sqlx::query(CANCEL).bind(micros(now())).bind(id.to_string());
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

/// The one of this id.
pub async fn find(
    connection: &mut SqliteConnection,
    id: Uuid,
) -> Result<Option<TaskRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM tasks WHERE id = ?").bind(id.to_string());
    let row = query.fetch_optional(connection).await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// A customer's of one kind, newest first.
pub async fn list(
    connection: &mut SqliteConnection,
    kind: TaskKind,
    customer: Uuid,
    page: Page,
) -> Result<Listed<TaskRecord>, StoreError> {
    const SELECT: &str = "SELECT * FROM tasks WHERE customer_id = ? AND kind = ? AND seq < ? ORDER BY seq DESC LIMIT ?";
    let query = sqlx::query(SELECT)
        .bind(customer.to_string())
        .bind(kind.name())
        .bind(page.after.unwrap_or(i64::MAX))
        .bind(page.fetch());
    Ok(page.cut(&query.fetch_all(connection).await?, record)?)
}

impl Store {
    /// What was under way when the program ended will not go on: it failed. Only for the one program that does such work.
    pub async fn recover_tasks(&self) -> Result<(), StoreError> {
        const LOST: &str =
            "SELECT customer_id FROM tasks WHERE kind = 'sync' AND state IN ('queued', 'running')";
        let mut change: Change = self.rows().await?;
        let lost = sqlx::query(LOST).fetch_all(&mut *change).await?;
        for row in &lost {
            let Some(customer) = optional_id(row, "customer_id")? else {
                continue;
            };
            super::customers::set_sync_state(&mut change, customer, SyncState::Failed).await?;
            let detail = serde_json::json!({ "error": "interrupted" });
            events::insert(&mut change, now(), "sync.finished", customer, &detail).await?;
        }
        let end = "UPDATE tasks SET state = 'failed', finished_at = ?, result = '{\"error\":{\"code\":\"interrupted\"}}'
            WHERE state IN ('queued', 'running')";
        let end = sqlx::query(end).bind(micros(now()));
        end.execute(&mut *change).await?;
        // Nothing of an upgrade holds before all of it does.
        sqlx::query("UPDATE services SET state = 'ready_to_upgrade' WHERE state = 'upgrading'")
            .execute(&mut *change)
            .await?;
        change.keep().await
    }
}

#[cfg(test)]
mod tests {
    use super::super::customers::{self, tests::acme};
    use super::super::open::tests::fresh;
    use super::*;

    /// One Sync of a customer at a time; over, the next may begin; of many only the last twenty are kept.
    #[tokio::test]
    async fn syncs_of_a_customer_follow_each_other() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let customer = customers::insert(&mut change, &acme()).await.unwrap().id;
        for _ in 0..25 {
            let task = insert(&mut change, TaskKind::Sync, customer).await.unwrap();
            assert!(matches!(
                insert(&mut change, TaskKind::Sync, customer).await,
                Err(StoreError::Taken(_))
            ));
            insert(&mut change, TaskKind::UsersBulk, customer)
                .await
                .unwrap();
            assert!(start(&mut change, task.id).await.unwrap());
            assert!(!cancel(&mut change, task.id).await.unwrap());
            finish(&mut change, task.id, TaskState::Succeeded, None, &[])
                .await
                .unwrap();
        }
        let last = insert(&mut change, TaskKind::Sync, customer).await.unwrap();
        let listed = list(&mut change, TaskKind::Sync, customer, Page::default())
            .await
            .unwrap();
        assert_eq!((listed.items.len(), &listed.items[0]), (20, &last));
        assert!(cancel(&mut change, last.id).await.unwrap());
        assert!(!start(&mut change, last.id).await.unwrap());
    }

    /// What a crash left behind does not lock its customer.
    #[tokio::test]
    async fn what_was_interrupted_has_failed() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let customer = customers::insert(&mut change, &acme()).await.unwrap().id;
        let task = insert(&mut change, TaskKind::Sync, customer).await.unwrap();
        start(&mut change, task.id).await.unwrap();
        change.publish().await.unwrap();
        store.recover_tasks().await.unwrap();
        let mut connection = store.read().await.unwrap();
        let task = find(&mut connection, task.id).await.unwrap().unwrap();
        assert_eq!(
            (task.state, task.state.is_over()),
            (TaskState::Failed, true)
        );
        let customer = customers::find(&mut connection, customer)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(customer.sync_state, SyncState::Failed);
        assert!(
            insert(&mut connection, TaskKind::Sync, customer.id)
                .await
                .is_ok()
        );
    }
}
