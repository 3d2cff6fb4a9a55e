#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::answer::absent;
use super::auth::Caller;
use super::body::Search;
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use super::sight;
use crate::b2bua::{CallWhy, Counting, Direction, Hints, RegistrationView, Troubles};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// How long whoever knows the calls may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A call in progress.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LiveCall {
    /// Also that of its call detail record.
    pub id: Uuid,
    /// Whose channel it has.
    pub customer_id: Uuid,
    /// Which way it goes.
    pub direction: Direction,
    /// How far it is.
    pub state: LiveState,
    /// Where the INVITE came in.
    pub a_leg: LiveLeg,
    /// Where it went out; none before a route is tried.
    pub b_leg: Option<LiveLeg>,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// When the INVITE came in.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When the called side answered.
    #[serde(with = "time::serde::rfc3339::option")]
    pub answered_at: Option<OffsetDateTime>,
    /// Who put the other on hold.
    pub held_by: Option<Side>,
    /// What Teams told of its user, if it called and did.
    pub hints: Option<Hints>,
}

/// One side of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LiveLeg {
    /// `teams`, or the trunk's name.
    pub peer: String,
    /// Call-ID of its dialog.
    pub call_id: String,
    /// How far it is.
    pub state: LiveState,
}

/// How far a call or leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LiveState {
    /// No answer and no ringing yet.
    Trying,
    /// The called side rings.
    Ringing,
    /// Answered.
    Answered,
    /// Being taken down.
    Ending,
}

/// A side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The caller's.
    ALeg,
    /// The called one's.
    BLeg,
}

/// A question about live calls, or an order.
#[derive(Debug)]
pub enum CallRequest {
    /// Calls in the order of their ids.
    List {
        /// Of this customer only.
        customer: Option<Uuid>,
        /// With greater ids only.
        after: Option<Uuid>,
        /// At most so many.
        limit: usize,
        /// Where the answer goes.
        answer: oneshot::Sender<Vec<LiveCall>>,
    },
    /// One call.
    Show {
        /// Which.
        id: Uuid,
        /// Where the answer goes.
        answer: oneshot::Sender<Option<LiveCall>>,
    },
    /// Why a call goes as it does.
    Why {
        /// Its id, or the Call-ID of one of its legs.
        call: String,
        /// Where the answer goes.
        answer: oneshot::Sender<Option<CallWhy>>,
    },
    /// Have what goes through a call's media counted.
    CountMedia {
        /// Which.
        id: Uuid,
        /// Where the answer goes: whether there is such a call.
        answer: oneshot::Sender<bool>,
    },
    /// What was counted.
    Media {
        /// Which.
        id: Uuid,
        /// Where the answer goes.
        answer: oneshot::Sender<Option<Counting>>,
    },
    /// End a call.
    HangUp {
        /// Which.
        id: Uuid,
        /// Where the answer goes: whether there was one to end.
        answer: oneshot::Sender<bool>,
    },
    /// How registrations at exchanges stand.
    Registrations {
        /// Which.
        ids: Vec<Uuid>,
        /// Where the answer goes: nothing of those that nobody wants.
        answer: oneshot::Sender<Vec<RegistrationView>>,
    },
    /// What is wrong with those that calls go to and come from.
    Troubles {
        /// Of each kind at most so many.
        most: usize,
        /// Where the answer goes.
        answer: oneshot::Sender<Troubles>,
    },
    /// Ask an exchange now.
    RestartRegistration {
        /// For which registration.
        id: Uuid,
        /// Where the answer goes: whether there is one.
        answer: oneshot::Sender<bool>,
    },
}

/// The way to whoever knows the live calls and answers [`CallRequest`]s.
#[derive(Debug, Clone)]
pub struct Calls(mpsc::Sender<CallRequest>);

impl Calls {
    /// The way, and its other end. At most so many questions wait; one more is told to come back.
    pub fn new(waiting: usize) -> (Self, mpsc::Receiver<CallRequest>) {
        let (sender, receiver) = mpsc::channel(waiting);
        (Self(sender), receiver)
    }

    pub(super) async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> CallRequest,
    ) -> Result<T, ApiError> {
        let (answer, reply) = oneshot::channel();
        let busy = || ApiError::unavailable("calls_busy", "the call engine does not answer");
        self.0.try_send(question(answer)).map_err(|_| busy())?;
        timeout(PATIENCE, reply)
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(busy)
    }
}

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
