mod stream;

pub use stream::Listeners;

use super::Admin;
use super::auth::Caller;
use super::body::Search;
use super::error::{ApiError, Problem};
use crate::store::events::{self, EventScope};
use crate::store::{EventRecord, Page};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which events.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Since {
    /// Those after this one; without it, from the oldest that is kept.
    since: Option<i64>,
    /// At most so many.
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// A part of what happened.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Events {
    /// Oldest first.
    items: Vec<EventRecord>,
    /// For the next question: the last that was told.
    since: i64,
}

/// What happened to customers, oldest first
///
/// With `Accept: text/event-stream` as server-sent events: what there is, and then what comes, as it comes. Such a stream ends
/// after a minute; whoever reads comes back with `Last-Event-ID`, as browsers do by themselves. 64 listen at once.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", operation_id = "list_events", params(Since),
    responses((status = 200, body = Events), (status = 400, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Search(query): Search<Since>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(ApiError::bad_request("limit", "limit must be 1 to 500"));
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let last = text("last-event-id").and_then(|id| id.trim().parse().ok());
    let after = last.or(query.since);
    let scope = match (caller.partner(), caller.customer_scope()) {
        (Some(partner), _) => EventScope::Partner(partner),
        (None, Some(customer)) => EventScope::Customer(customer),
        (None, None) => EventScope::All,
    };
    if text(header::ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/event-stream")) {
        return stream::begin(&admin, scope, after.unwrap_or(0), limit).await;
    }
    let listed = events::list(
        &mut *admin.store.read().await?,
        scope,
        Page { after, limit },
    )
    .await?;
    let since = listed
        .items
        .last()
        .map_or(after.unwrap_or(0), |event| event.id);
    Ok(Json(Events {
        items: listed.items,
        since,
    })
    .into_response())
}
