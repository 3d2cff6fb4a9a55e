//! How a call ends: BYE from either side or both at once, an operator, silence, time.

use bytes::Bytes;
use tracing::info;

use super::call::{Call, Stage};
use super::core::Core;
use super::header_policy;
use super::leg::{ByeReason, Exchange, Leg, Purpose, Side, State};
use super::refusal::{Refusal, q850_text};
use crate::media::LegId;
use crate::sdp::Direction;
use crate::sip::{ClientKey, Failure, Message, Method, Name, ServerKey};

/// Why a call that was up ended, as its CDR says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ended {
    /// This leg's peer said BYE.
    #[error("one side hung up")]
    Bye(LegId),
    /// An operator, through the API.
    #[error("an operator ended it")]
    Operator,
    /// The process goes down.
    #[error("the SBC was shut down")]
    Shutdown,
    /// A 2xx of ours stayed without ACK (RFC 3261 §13.3.1.4).
    #[error("an answer was not acknowledged")]
    NoAck(LegId),
    /// The session timer of this leg ran out (RFC 4028 §10).
    #[error("the session timer ran out")]
    SessionExpired(LegId),
    /// This leg's peer answered 408 or 481 inside the dialog, or nothing.
    #[error("one side no longer knows the call")]
    DialogGone(LegId),
    /// No media came from this leg's peer for too long.
    #[error("one side sent no media for too long")]
    MediaTimeout(LegId),
    /// This leg's peer no longer consents to our packets (RFC 7675).
    #[error("one side ceased to consent to media")]
    ConsentLost(LegId),
    /// The relay could not serve the leg, or the peer's answer was not usable.
    #[error("media failed on one side")]
    BadMedia(LegId),
    /// The longest time that a call may last.
    #[error("the longest time that a call may last was over")]
    MaxDuration,
    /// A transfer gave this call's other party to another call.
    #[error("the other party was transferred to another call")]
    Transferred,
}

impl Ended {
    /// For metrics and the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::Bye(_) => "bye",
            Self::Operator => "operator",
            Self::Shutdown => "shutdown",
            Self::NoAck(_) => "no_ack",
            Self::SessionExpired(_) => "session_expired",
            Self::DialogGone(_) => "dialog_gone",
            Self::MediaTimeout(_) => "media_timeout",
            Self::ConsentLost(_) => "consent_lost",
            Self::BadMedia(_) => "media_failed",
            Self::MaxDuration => "max_duration",
            Self::Transferred => "transferred",
        }
    }

    fn leg(self) -> Option<LegId> {
        match self {
            Self::Bye(id)
            | Self::NoAck(id)
            | Self::SessionExpired(id)
            | Self::DialogGone(id)
            | Self::MediaTimeout(id)
            | Self::ConsentLost(id)
            | Self::BadMedia(id) => Some(id),
            Self::Operator | Self::Shutdown | Self::MaxDuration | Self::Transferred => None,
        }
    }

    /// ITU-T Q.850 for the Reason header of our BYE.
    pub fn cause(self) -> u8 {
        match self {
            Self::Bye(_) | Self::Transferred | Self::Operator => 16,
            Self::NoAck(_) | Self::SessionExpired(_) | Self::MaxDuration => 102,
            Self::DialogGone(_)
            | Self::MediaTimeout(_)
            | Self::ConsentLost(_)
            | Self::BadMedia(_)
            | Self::Shutdown => 41,
        }
    }
}

impl Call {
    /// A BYE: answered at once; the other side hears of it. It is also right when our own BYE is on its way.
    pub(super) fn on_bye(&mut self, core: &mut Core, id: LegId, key: ServerKey, message: &Message) {
        let is_partner = self.partner(id).is_some();
        let Some(leg) = self.leg_mut(id) else { return };
        core.answer(key, message, 200, leg.peer.is_teams());
        leg.refuse_open_requests(core);
        if matches!(leg.state, State::Incoming { .. }) {
            // RFC 3261 §15: a caller may end an early dialog so, too; its INVITE still wants an answer.
            self.cancel_attempt(core, None);
            return self.refuse(core, Refusal::Cancelled);
        }
        let was_alive = leg.is_alive();
        let reason = header_policy::reason(message);
        if !was_alive {
            return;
        }
        self.leg_ended(core, id);
        // A referrer leaves once its transfer is done; one that was replaced may say so, too.
        if !is_partner {
            return;
        }
        if self.transfer_outlives(id) {
            return;
        }
        self.end(core, Ended::Bye(id), reason);
    }

    /// A peer on the path that it nominated is gone. While it rings, and on hold, nobody needs the path: a caller hears of
    /// its failure by other means, and a resume brings checks again.
    pub(super) fn on_consent_lost(&mut self, core: &mut Core, id: LegId, reason: &str) {
        info!(call = %self.id, leg = %id.0, reason, "consent to media lost");
        let held = |leg: &Leg| leg.direction != Direction::SendRecv;
        let talking = !self.legs.iter().any(|leg| leg.is_alive() && held(leg));
        if talking && matches!(self.stage, Stage::Up { .. }) {
            self.lose(core, id, Ended::ConsentLost(id));
        }
    }

    /// Ends the call on both sides.
    pub(super) fn hang_up(&mut self, core: &mut Core, why: Ended) {
        let reason = format!(
            "Q.850;cause={};text=\"{}\"",
            why.cause(),
            q850_text(why.cause())
        );
        self.end(core, why, Some(Bytes::from(reason)));
    }

    /// A leg failed, and the call with it, unless the two who talk do not need that leg: it was replaced, it has handed
    /// its partner on, or it is the target of a transfer.
    pub(super) fn lose(&mut self, core: &mut Core, id: LegId, why: Ended) {
        if !matches!(self.stage, Stage::Up { .. }) || self.partner(id).is_some() {
            return self.hang_up(core, why);
        }
        info!(call = %self.id, leg = id.0, why = why.label(), "a leg ended that nobody talks with");
        if self.reaching().is_some_and(|r| r.leg == Some(id)) {
            self.cancel_attempt(core, None);
            return self.transfer_failed(core, &Refusal::Overloaded("media ports"));
        }
        self.leave(core, id, None);
    }

    fn end(&mut self, core: &mut Core, why: Ended, reason: ByeReason) {
        match self.stage {
            Stage::Over { .. } => return,
            Stage::Setup { .. } => {
                self.cancel_attempt(core, None);
                let refusal = match why {
                    Ended::Operator => Refusal::HungUp,
                    Ended::Shutdown => Refusal::Draining,
                    Ended::BadMedia(_) => Refusal::Overloaded("media ports"),
                    _ => Refusal::Cancelled,
                };
                return self.refuse(core, refusal);
            }
            Stage::Up { .. } => {}
        }
        self.cancel_attempt(core, None);
        info!(call = %self.id, why = why.label(), leg = why.leg().map(|l| l.0), "call ended");
        let ended_by = why.leg().and_then(|id| self.leg(id));
        let by_caller = ended_by.is_some_and(|leg| leg.side == Side::A);
        let by = ended_by.map(|leg| leg.peer.name().to_owned());
        self.record.ended_because(core.now, why, by_caller, by);
        let ids: Vec<LegId> = self.legs.iter().map(|leg| leg.id).collect();
        for id in ids {
            self.leave(core, id, reason.clone());
        }
        self.finish(core);
    }

    /// Ends one leg from our side, as its state asks for.
    pub(super) fn leave(&mut self, core: &mut Core, id: LegId, reason: ByeReason) {
        let Some(leg) = self.leg_mut(id) else { return };
        leg.refuse_open_requests(core);
        match &mut leg.state {
            State::Accepted { owes_bye, .. } => *owes_bye = Some(reason),
            State::Confirmed => {
                leg.state = State::Leaving;
                leg.close_media(core);
                leg.permit = None;
                leg.send_bye(core, reason);
            }
            State::Incoming { .. }
            | State::Calling { .. }
            | State::Cancelling
            | State::Leaving
            | State::Ended => {}
        }
    }

    /// Nothing more will come of this leg.
    pub(super) fn leg_ended(&mut self, core: &mut Core, id: LegId) {
        if let Some(leg) = self.leg_mut(id) {
            leg.state = State::Ended;
            leg.close_media(core);
            leg.permit = None;
        }
    }

    /// A final response of ours stayed without ACK.
    pub(super) fn on_no_ack(&mut self, core: &mut Core, id: LegId) {
        let Some(leg) = self.leg_mut(id) else { return };
        if let State::Accepted { owes_bye, .. } = &mut leg.state {
            let owed = owes_bye.take();
            (leg.state, leg.incoming) = (State::Confirmed, None);
            if let Some(reason) = owed {
                return self.leave(core, id, reason);
            }
        }
        if leg.is_alive() {
            self.lose(core, id, Ended::NoAck(id));
        }
    }

    /// A request of ours inside a dialog got no answer.
    pub(super) fn on_request_failed(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: ClientKey,
        failure: &Failure,
    ) {
        let Some(leg) = self.leg_mut(id) else { return };
        let Some(purpose) = leg.purpose(key).cloned() else {
            return;
        };
        leg.done(core, key);
        match purpose {
            Purpose::Invite => self.on_invite_failed(core, id, failure),
            Purpose::Bye(_) => self.leg_ended(core, id),
            Purpose::Reinvite(_) => {
                leg.exchange = Exchange::Idle;
                self.lose(core, id, Ended::DialogGone(id));
            }
            Purpose::Info(_) => self.lose(core, id, Ended::DialogGone(id)),
            Purpose::Refer => self.on_refer_answered(core, id, 408),
            Purpose::Notify { .. } | Purpose::Prack { .. } => {}
        }
    }
}

impl Leg {
    /// A BYE of ours; the leg is over when it is answered, or when nobody does.
    pub(super) fn send_bye(&mut self, core: &mut Core, reason: ByeReason) {
        let Some(mut draft) = self.request(core, Method::Bye) else {
            self.state = State::Ended;
            return;
        };
        if let Some(reason) = &reason {
            draft.header(Name::Reason, reason);
        }
        self.send(core, draft, Purpose::Bye(reason));
    }

    /// RFC 3261 §15.1.2: what the peer still waits for is answered 487.
    fn refuse_open_requests(&mut self, core: &mut Core) {
        self.refuse_waiting_request(core, 487);
        self.exchange = Exchange::Idle;
    }

    /// The peer's re-INVITE or UPDATE, if it waits for the other leg, gets this status.
    pub(super) fn refuse_waiting_request(&mut self, core: &mut Core, status: u16) {
        match std::mem::take(&mut self.exchange) {
            Exchange::TheirsWaits { request, message } => {
                self.anchor.withdraw();
                self.settled(core, request);
                core.answer(request, &message, status, self.peer.is_teams());
            }
            other => self.exchange = other,
        }
    }
}
