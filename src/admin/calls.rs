#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::answer::absent;
use super::auth::Caller;
use super::body::Search;
use super::engine::{CallRequest, LiveCall};
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use super::sight;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

/// Which calls.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// At most so many items.
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next_cursor` of the part before.
    cursor: Option<String>,
    /// Of this customer only.
    customer_id: Option<Uuid>,
}

/// Live calls, in the order of their ids
///
/// Numbers are shortened for the roles of `admin.redact_for`.
#[utoipa::path(
    get, path = "/api/v1/calls", tag = "calls", operation_id = "list_calls", params(Filter),
    responses((status = 200, body = List<LiveCall>), (status = 503, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Search(filter): Search<Filter>,
) -> Result<Json<List<LiveCall>>, ApiError> {
    let paging = Paging {
        limit: filter.limit,
        cursor: filter.cursor,
    };
    let after = paging.cursor(Uuid::from_bytes)?;
    let limit = paging.limit()? as usize;
    let customer = filter.customer_id;
    // One more than asked for tells whether there is a next part.
    let ask = |answer| CallRequest::List {
        customer,
        after,
        limit: limit + 1,
        answer,
    };
    let mut calls = admin.calls.ask(ask).await?;
    let more = calls.len() > limit;
    calls.truncate(limit);
    let next = calls
        .last()
        .filter(|_| more)
        .map(|call| call.id.into_bytes());
    let sight = caller.sight(&admin);
    let shown = calls.into_iter().map(|call| sight::live(sight, call));
    Ok(Json(List::new(
        shown.collect(),
        next.as_ref().map(<[u8; 16]>::as_slice),
    )))
}

/// A live call
///
/// Numbers are shortened for the roles of `admin.redact_for`.
#[utoipa::path(
    get, path = "/api/v1/calls/{id}", tag = "calls", operation_id = "show_call", params(("id" = Uuid, Path)),
    responses((status = 200, body = LiveCall), (status = 404, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<LiveCall>, ApiError> {
    let found = admin
        .calls
        .ask(|answer| CallRequest::Show { id, answer })
        .await?;
    let sight = caller.sight(&admin);
    let shown = found.map(|call| Json(sight::live(sight, call)));
    shown.ok_or_else(ApiError::not_found)
}

/// Hang up a live call
///
/// A call that is over already is as good as hung up.
#[utoipa::path(
    delete, path = "/api/v1/calls/{id}", tag = "calls", operation_id = "hang_up_call", params(("id" = Uuid, Path)),
    responses((status = 204), (status = 503, body = Problem))
)]
pub(super) async fn hang_up(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    if admin
        .calls
        .ask(|answer| CallRequest::HangUp { id, answer })
        .await?
    {
        admin.store.audit(&caller.event("hang_up")).await?;
    }
    Ok(absent())
}
