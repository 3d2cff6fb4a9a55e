//! The way to whoever knows the live calls: what is asked there, and what is answered.

use super::error::ApiError;
use crate::b2bua::{CallWhy, Counting, Direction, Hints, RegistrationView, Troubles};
use serde::Serialize;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use utoipa::ToSchema;
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
