//! Live calls as they are seen from outside.

use time::OffsetDateTime;
use uuid::Uuid;

use super::call::{Call, Stage};
use super::leg::{Leg, State};
use super::{Calls, Direction, Hints, Trace};

/// A call as an operator sees it.
#[derive(Debug, Clone)]
pub struct CallView {
    /// Its id, also in its CDR and in logs.
    pub id: Uuid,
    /// Whose.
    pub customer: Uuid,
    /// Which way it went.
    pub direction: Direction,
    /// How far it is.
    pub state: CallState,
    /// Who called.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// When the INVITE came in.
    pub started_at: OffsetDateTime,
    /// When it was answered.
    pub answered_at: Option<OffsetDateTime>,
    /// The legs, A first.
    pub legs: Vec<LegView>,
    /// The leg whose peer holds.
    pub held_by: Option<usize>,
    /// What Teams told of its user.
    pub hints: Option<Hints>,
}

/// Why a call goes as it does, so far.
#[derive(Debug, Clone)]
pub struct CallWhy {
    /// The call's id.
    pub id: Uuid,
    /// Whose.
    pub customer: Uuid,
    /// Call-IDs of its legs.
    pub call_ids: Vec<String>,
    /// The decisions.
    pub trace: Trace,
}

/// A leg as an operator sees it.
#[derive(Debug, Clone)]
pub struct LegView {
    /// A trunk's name, or a gateway's FQDN.
    pub peer: String,
    /// Of its dialog.
    pub call_id: String,
    /// How far it is.
    pub state: LegState,
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// Not answered yet.
    Ringing,
    /// Both sides talk.
    Up,
    /// One side holds.
    Held,
    /// Nobody talks any more.
    Over,
}

/// How far a leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegState {
    /// Not answered, and nothing rings.
    Trying,
    /// The called side rings.
    Ringing,
    /// Answered.
    Confirmed,
    /// Over, or about to be.
    Ended,
}

impl Calls {
    /// All calls that are not over.
    pub fn list(&self) -> Vec<CallView> {
        let mut views: Vec<_> = self
            .calls
            .values()
            .filter(|c| !matches!(c.stage, Stage::Over { .. }))
            .map(|call| call.view())
            .collect();
        views.sort_by_key(|view| (view.started_at, view.id));
        views
    }

    /// Why a call goes as it does, by its id or the Call-ID of one of its legs; of one that is not forgotten yet.
    pub fn why(&self, id: &str) -> Option<CallWhy> {
        let uuid = Uuid::try_parse(id).ok();
        let call = self.calls.values().find(|call| {
            Some(call.id) == uuid || call.legs.iter().any(|leg| leg.call_id() == Some(id))
        })?;
        Some(CallWhy {
            id: call.id,
            customer: call.customer.id,
            call_ids: call
                .legs
                .iter()
                .filter_map(|leg| leg.call_id().map(str::to_owned))
                .collect(),
            trace: call.record.trace().clone(),
        })
    }
}

impl Call {
    fn view(&self) -> CallView {
        let held = |leg: &&Leg| leg.direction != crate::sdp::Direction::SendRecv;
        let held_by = match self.stage {
            Stage::Up { a, b, .. } => self
                .legs
                .iter()
                .position(|leg| (leg.id == a || leg.id == b) && held(&leg)),
            _ => None,
        };
        CallView {
            id: self.id,
            customer: self.customer.id,
            direction: Direction::of(&self.admission),
            state: match self.stage {
                Stage::Setup { .. } => CallState::Ringing,
                Stage::Up { .. } if held_by.is_some() => CallState::Held,
                Stage::Up { .. } => CallState::Up,
                Stage::Over { .. } => CallState::Over,
            },
            from: self.admission.caller.clone(),
            to: self.admission.called.clone(),
            started_at: self.record.start(),
            answered_at: self.record.answer(),
            legs: self.legs.iter().map(Leg::view).collect(),
            held_by,
            hints: self
                .legs
                .first()
                .and_then(|a| Hints::of(&self.invite, &a.peer)),
        }
    }
}

impl Leg {
    pub(super) fn call_id(&self) -> Option<&str> {
        let dialog = self
            .dialog
            .as_ref()
            .map(|dialog| dialog.id().call_id.as_str());
        dialog.or_else(|| Some(&self.outgoing.as_ref()?.call_id))
    }

    fn view(&self) -> LegView {
        let call_id = self.call_id().unwrap_or_default().to_owned();
        let state = match self.state {
            State::Incoming { .. } | State::Calling { rang: false, .. } => LegState::Trying,
            State::Calling { rang: true, .. } => LegState::Ringing,
            State::Accepted { .. } | State::Confirmed => LegState::Confirmed,
            State::Cancelling | State::Leaving | State::Ended => LegState::Ended,
        };
        LegView {
            peer: self.peer.name().to_owned(),
            call_id,
            state,
        }
    }
}
