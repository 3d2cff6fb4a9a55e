#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::auth::Caller;
use super::body::Search;
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use crate::provisioning::SyncState;
use crate::store::{AccessRole, Listed, TaskKind, TaskRecord, numbers, tasks};
use crate::sync::{Report, SyncRefusal};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// How a Sync is done.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Manner {
    /// Seconds to wait for its end, at most 20; also for one that is under way.
    #[serde(default)]
    #[param(maximum = 20)]
    wait: u64,
    /// Only tells what it would do.
    #[serde(default)]
    dry_run: bool,
}

/// How long a request may wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Patience {
    /// Seconds to wait for the task's end, at most 20.
    #[serde(default)]
    #[param(maximum = 20)]
    wait: u64,
}

/// Whether calls obey what is stored of a customer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SyncView {
    /// Whether something waits.
    sync_state: SyncState,
    /// Numbers that wait for the next one: those with the status `needs_sync` or `pending_remove`.
    dirty: u32,
    /// The newest Sync, under way or over; none if there was none.
    last: Option<TaskRecord>,
}

/// The longest wait that leaves time for an answer.
fn patience(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(20))
}

/// Whether calls obey what is stored of a customer
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/sync", tag = "sync", operation_id = "show_sync", params(("id" = Uuid, Path)),
    responses((status = 200, body = SyncView), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<SyncView>, ApiError> {
    let mut connection = admin.store.read().await?;
    let customer = caller.customer(&mut connection, id).await?;
    let page = Paging {
        limit: Some(1),
        cursor: None,
    };
    let listed = tasks::list(&mut connection, TaskKind::Sync, id, page.page()?).await?;
    Ok(Json(SyncView {
        sync_state: customer.sync_state,
        dirty: numbers::waiting(&mut connection, id).await?,
        last: listed.items.into_iter().next(),
    }))
}

/// Make calls obey what is stored of a customer
///
/// Asks the carrier's system for seats and numbers, makes users of seats, gives each number its status, puts numbers in
/// service and takes them out. Calls see all of it at once or nothing. Then users get their numbers at Microsoft, if the
/// customer is active there and somebody signed in for it: whenever the customer's own administrator asks; for carrier and
/// partner with co-management, once that has been done before.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/sync", tag = "sync", operation_id = "sync_customer",
    params(("id" = Uuid, Path), Manner),
    responses((status = 202, body = TaskRecord), (status = 200, body = Report), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn begin(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(manner): Search<Manner>,
) -> Result<Response, ApiError> {
    caller.customer(&mut *admin.store.read().await?, id).await?;
    if manner.dry_run {
        let report = admin.syncs.dry_run(id, caller.asker()).await?;
        return Ok(Json(report).into_response());
    }
    let task = match admin.syncs.begin(id, caller.asker()).await {
        Ok(task) => task,
        // Whoever waits wants the numbers to serve, not to be first.
        Err(SyncRefusal::Running) if manner.wait > 0 => {
            let page = Paging::default().page()?;
            let mut connection = admin.store.read().await?;
            let listed = tasks::list(&mut connection, TaskKind::Sync, id, page).await?;
            let running = listed.items.into_iter().find(|task| !task.state.is_over());
            running.ok_or_else(|| refused(SyncRefusal::Running))?
        }
        Err(error) => return Err(refused(error)),
    };
    caller
        .note(&admin, "sync", &format!("/api/v1/customers/{id}/sync"))
        .await?;
    let task = match manner.wait {
        0 => task,
        seconds => {
            let waited = admin.syncs.wait(task.id, patience(seconds)).await?;
            waited.unwrap_or(task)
        }
    };
    let location = [(header::LOCATION, format!("/api/v1/tasks/{}", task.id))];
    Ok((StatusCode::ACCEPTED, location, Json(task)).into_response())
}

pub(super) fn refused(refusal: SyncRefusal) -> ApiError {
    match refusal {
        SyncRefusal::Running => {
            ApiError::conflict("sync_running", "a Sync of the customer is under way")
        }
        SyncRefusal::Busy => ApiError::unavailable("busy", "too many Syncs wait for their turn"),
        SyncRefusal::Store(error) => error.into(),
    }
}

/// Syncs of a customer, newest first
///
/// The last twenty are kept; they are listed without their items.
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/sync-jobs", tag = "sync", operation_id = "list_sync_jobs",
    params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<TaskRecord>), (status = 404, body = Problem))
)]
pub(super) async fn list_jobs(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(paging): Search<Paging>,
) -> Result<Json<List<TaskRecord>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    caller.customer(&mut connection, id).await?;
    let Listed { mut items, next } = tasks::list(&mut connection, TaskKind::Sync, id, page).await?;
    for job in &mut items {
        job.details.clear();
    }
    Ok(Json(Listed { items, next }.into()))
}

/// A Sync of a customer, with what became of each number and seat
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/sync-jobs/{job}", tag = "sync", operation_id = "show_sync_job",
    params(("id" = Uuid, Path), ("job" = Uuid, Path)),
    responses((status = 200, body = TaskRecord), (status = 404, body = Problem))
)]
pub(super) async fn show_job(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, job)): Path<(Uuid, Uuid)>,
) -> Result<Json<TaskRecord>, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.customer(&mut connection, id).await?;
    let found = tasks::find(&mut connection, job).await?;
    found
        .filter(|task| task.customer_id == Some(id) && task.kind == TaskKind::Sync)
        .map(Json)
        .ok_or_else(ApiError::not_found)
}

/// Work that goes on after its request was answered
#[utoipa::path(
    get, path = "/api/v1/tasks/{task}", tag = "sync", operation_id = "show_task", params(("task" = Uuid, Path), Patience),
    responses((status = 200, body = TaskRecord), (status = 404, body = Problem))
)]
pub(super) async fn show_task(
    State(admin): State<Admin>,
    caller: Caller,
    Path(task): Path<Uuid>,
    Search(query): Search<Patience>,
) -> Result<Json<TaskRecord>, ApiError> {
    let found = own_task(&admin, &caller, task).await?;
    if query.wait == 0 || found.state.is_over() {
        return Ok(Json(found));
    }
    let waited = admin.syncs.wait(task, patience(query.wait)).await?;
    waited.map(Json).ok_or_else(ApiError::not_found)
}

/// Take back work that has not begun
#[utoipa::path(
    delete, path = "/api/v1/tasks/{task}", tag = "sync", operation_id = "cancel_task", params(("task" = Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn cancel_task(
    State(admin): State<Admin>,
    caller: Caller,
    Path(task): Path<Uuid>,
) -> Result<StatusCode, ApiError> {
    own_task(&admin, &caller, task).await?;
    let mut change = admin.store.rows().await?;
    if !tasks::cancel(&mut change, task).await? {
        return Err(ApiError::conflict("task_begun", "the work has begun"));
    }
    caller
        .audit(&mut change, "delete", None, None::<&()>, None::<&()>)
        .await?;
    change.keep().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A task of a customer that the caller sees.
async fn own_task(admin: &Admin, caller: &Caller, task: Uuid) -> Result<TaskRecord, ApiError> {
    let mut connection = admin.store.read().await?;
    let found = tasks::find(&mut connection, task)
        .await?
        .ok_or_else(ApiError::not_found)?;
    match found.customer_id {
        Some(customer) => {
            caller.customer(&mut connection, customer).await?;
        }
        None if caller.role() == AccessRole::CarrierAdmin => {}
        None => return Err(ApiError::not_found()),
    }
    Ok(found)
}
