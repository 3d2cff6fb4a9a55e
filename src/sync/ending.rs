//! How a Sync ends.

use super::report::Report;
use crate::provisioning::SyncState;
use crate::store::{Change, CustomerRecord, StoreError, TaskState, customers, events, tasks};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

/// Keeps how a Sync of a customer, as that was when it began, has ended.
pub(super) async fn close(
    change: &mut Change,
    customer: &CustomerRecord,
    task: Uuid,
    report: &Report,
) -> Result<(), StoreError> {
    let state = match (&report.error, report.is_partial()) {
        (Some(_), _) => SyncState::Failed,
        (None, true) => SyncState::Partial,
        (None, false) => SyncState::Clean,
    };
    customers::end_sync(change, customer.id, state, customer.sync_version).await?;
    customers::set_teams_push(change, customer.id, report.teams_push.outcome).await?;
    finish(change, customer.id, task, state, report).await
}

/// Keeps what came of a Sync's task, and tells of it.
pub(super) async fn finish(
    change: &mut Change,
    customer: Uuid,
    task: Uuid,
    state: SyncState,
    report: &Report,
) -> Result<(), StoreError> {
    let result = json!({
        "started_by": report.started_by, "generation": report.generation, "sync_state": state, "counts": report.counts,
        "error": report.error, "teams_push": report.teams_push, "left_out": report.left_out,
    });
    let items: Vec<_> = report.items.iter().map(|item| json!(item)).collect();
    let over = match state {
        SyncState::Failed => TaskState::Failed,
        _ => TaskState::Succeeded,
    };
    tasks::finish(change, task, over, Some(&result), &items).await?;
    let detail = json!({ "task_id": task, "sync_state": state, "counts": report.counts, "generation": report.generation });
    let now = OffsetDateTime::now_utc();
    events::insert(change, now, "sync.finished", customer, &detail).await
}
