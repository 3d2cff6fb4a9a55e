#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::answer::wants_text;
use super::auth::Caller;
use super::body::Search;
use super::engine::CallRequest;
use super::error::{ApiError, Problem};
use crate::b2bua::{CallWhy, Fact, Trace};
use crate::store::{StoredTrace, traces};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Why a call went as it did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CallWhy)]
pub(super) struct Why {
    /// The call's.
    id: Uuid,
    /// Whose call it is; none if it was refused before that was known.
    customer_id: Option<Uuid>,
    /// Whether the call still goes on.
    live: bool,
    /// Call-IDs of its legs, the caller's first.
    call_ids: Vec<String>,
    #[serde(flatten)]
    trace: Trace,
}

/// In which form.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Shape {
    /// `json` or `text`; without it `Accept: text/plain` asks for text.
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TraceFormat)]
pub(super) enum Format {
    Json,
    Text,
}

/// Why a call goes, or went, as it does
///
/// Every decision about the call with the values that decided it: while it lasts, and afterwards for as long as traces
/// are kept. `id` is the call's id or the Call-ID of one of its legs. A customer's own administrator sees it if
/// `sip_data_access` is on. Numbers are shortened for the roles of `admin.redact_for`.
#[utoipa::path(
    get, path = "/api/v1/calls/{id}/why", tag = "calls", operation_id = "show_call_why",
    params(("id" = String, Path), Shape),
    responses((status = 200, description = "As JSON, or as lines of text", content((Why = "application/json"), (String = "text/plain"))),
              (status = 403, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
    Search(shape): Search<Shape>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut why = caller.call(&admin, &id).await?;
    let sight = caller.sight(&admin);
    why.trace = why.trace.redacted(|text| sight.person(text));
    let text = shape
        .format
        .map_or_else(|| wants_text(&headers), |f| f == Format::Text);
    Ok(if text {
        why.trace.to_string().into_response()
    } else {
        Json(why).into_response()
    })
}

/// The live call, or else what the store has of it. Between the two a record waits in the spool for half a second at
/// most; whoever asks then does not have to wait.
pub(super) async fn find(admin: &Admin, call: &str) -> Result<Why, ApiError> {
    let question = |answer| CallRequest::Why {
        call: call.to_owned(),
        answer,
    };
    let live = admin.calls.ask(question).await;
    if let Ok(Some(live)) = live {
        return Ok(live.into());
    }
    let mut stored = stored(admin, call).await?;
    if stored.is_none() && admin.spool.waiting() > 0 {
        admin.spool.settle(&admin.store).await.map_err(|error| {
            tracing::error!(%error, "call detail records stay in the spool");
            ApiError::unavailable("busy", "the database is busy")
        })?;
        stored = self::stored(admin, call).await?;
    }
    match (stored, live) {
        (Some(stored), _) => Ok(stored.into()),
        (None, Err(busy)) => Err(busy),
        (None, Ok(_)) => Err(ApiError::not_found()),
    }
}

async fn stored(admin: &Admin, call: &str) -> Result<Option<StoredTrace>, ApiError> {
    Ok(traces::find(&mut *admin.store.read().await?, call).await?)
}

impl Why {
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Whose call it is, if that was found out.
    pub(super) fn customer_id(&self) -> Option<Uuid> {
        self.customer_id
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// Call-ID and peer of each leg, the caller's first.
    pub(super) fn legs(&self) -> Vec<(String, String)> {
        let facts = || self.trace.steps.iter().map(|step| &step.fact);
        let caller = facts().find_map(|fact| match fact {
            Fact::Gateway { host, .. } | Fact::Trunk { trunk: host } => Some(host.clone()),
            _ => None,
        });
        let known = facts().find_map(|fact| match fact {
            Fact::Peer { peers, .. } => peers.first().cloned(),
            _ => None,
        });
        let caller = caller.or(known).unwrap_or_else(|| "caller".to_owned());
        let name = |call_id: &String| {
            facts().find_map(|fact| match fact {
                Fact::Attempt {
                    peer, call_id: of, ..
                }
                | Fact::Replaced {
                    by: peer,
                    call_id: of,
                } if of == call_id => Some(peer.clone()),
                _ => None,
            })
        };
        let named = |(at, call_id): (usize, &String)| {
            let other = || {
                if at == 0 {
                    caller.clone()
                } else {
                    "party".to_owned()
                }
            };
            (call_id.clone(), name(call_id).unwrap_or_else(other))
        };
        self.call_ids.iter().enumerate().map(named).collect()
    }
}

impl From<CallWhy> for Why {
    fn from(live: CallWhy) -> Self {
        Self {
            id: live.id,
            customer_id: Some(live.customer),
            live: true,
            call_ids: live.call_ids,
            trace: live.trace,
        }
    }
}

impl From<StoredTrace> for Why {
    fn from(stored: StoredTrace) -> Self {
        Self {
            id: stored.id,
            customer_id: stored.customer_id,
            live: false,
            call_ids: stored.call_ids(),
            trace: stored.trace,
        }
    }
}
