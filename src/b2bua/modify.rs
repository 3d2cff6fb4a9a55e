//! Re-INVITE and UPDATE, the peers' and ours: refresh, hold, resume, other codecs, and glare (RFC 3261 §14, RFC 3311).

use tracing::{debug, info};

use super::body::description;
use super::call::Call;
use super::core::{Core, SUPPORTED};
use super::leg::{Exchange, Leg, Purpose, Reinvite, ReinviteReason, State, glare_delay};
use super::refusal::Refusal;
use super::teardown::Ended;
use crate::media::{LegId, share_voice};
use crate::sdp::{Codec, Direction};
use crate::sip::{ClientKey, Message, Method, Name, ServerKey};

/// How often a re-INVITE of ours that meets one of theirs is sent again.
const MAX_GLARES: u8 = 4;

impl Call {
    /// A re-INVITE or UPDATE. One of ours that met a 491 waits no less for its next try because theirs is faster.
    pub(super) fn on_modify(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: ServerKey,
        message: Message,
    ) {
        let Some(leg) = self.leg_mut(id) else { return };
        let glare = match std::mem::take(&mut leg.exchange) {
            Exchange::Glare { again, reinvite } => Some((again, reinvite)),
            other => {
                leg.exchange = other;
                None
            }
        };
        self.modify(core, id, key, message);
        let (Some((again, reinvite)), Some(leg)) = (glare, self.leg_mut(id)) else {
            return;
        };
        match leg.exchange {
            Exchange::Idle => leg.exchange = Exchange::Glare { again, reinvite },
            _ => self.refuse_waiting(core, id, &reinvite, 491),
        }
    }

    /// RFC 3261 §14.2, RFC 3311 §5.2.
    fn modify(&mut self, core: &mut Core, id: LegId, key: ServerKey, message: Message) {
        let partner = self.partner(id);
        let Some(leg) = self.leg_mut(id) else { return };
        // A new hold is told by an offer of ours: many a PBX looks at answers for other things only.
        let told = leg.told;
        let teams = leg.peer.is_teams();
        let update = message.method() == Method::Update;
        let offers = !message.body().is_empty();
        let confirmed = matches!(leg.state, State::Confirmed | State::Accepted { .. });
        if !confirmed || leg.late_offer {
            // RFC 3311 §5.2: the first offer is still open.
            return if update && !offers {
                leg.accept_modify(core, key, &message, None)
            } else {
                core.answer(key, &message, 491, teams)
            };
        }
        match &leg.exchange {
            Exchange::Ours if offers || !update => return core.answer(key, &message, 491, teams),
            Exchange::Idle | Exchange::Ours | Exchange::Glare { .. } => {}
            Exchange::TheirsWaits { .. } | Exchange::AnswerDueInAck => {
                let mut draft = core.response(&message, 500, teams);
                draft.header_fmt(Name::RetryAfter, format_args!("{}", core.random.u32() % 10));
                return core.endpoint.respond(key, draft, core.now);
            }
        }
        let offer = description(&message);
        if offers && offer.is_none() {
            let kind = Refusal::ContentType(message.content_type().unwrap_or_default().to_owned());
            return leg.refuse_modify(core, key, &message, &kind);
        }
        match leg
            .session
            .answer(&message, leg.peer.profile().min_se_s, core.now)
        {
            Ok(expires) => leg.session_expires = expires,
            Err(()) => {
                return leg.refuse_modify(core, key, &message, &Refusal::IntervalTooSmall);
            }
        }
        if let Some(dialog) = &mut leg.dialog {
            dialog.refresh_target(&message);
        }
        if !offers {
            if update {
                return leg.accept_modify(core, key, &message, None);
            }
            // Always a full offer: whoever resumes with an empty re-INVITE means sendrecv (TDR-607).
            let offer = match leg.anchor.offer_again(told) {
                Ok(offer) => offer,
                Err(error) => {
                    return leg.refuse_modify(core, key, &message, &Refusal::Media(error));
                }
            };
            leg.exchange = Exchange::AnswerDueInAck;
            leg.expect_ack(core, key);
            return leg.accept_modify(core, key, &message, Some(offer));
        }
        let audio = match leg.anchor.accept_offer(&offer.unwrap_or_default()) {
            Ok(audio) => audio,
            Err(error) => {
                return leg.refuse_modify(core, key, &message, &Refusal::Media(error));
            }
        };
        let codecs = partner
            .and_then(|p| self.leg(p))
            .map_or_else(|| audio.codecs.clone(), Leg::spoken);
        let Some(leg) = self.leg_mut(id) else { return };
        if share_voice(&audio.codecs, &codecs) {
            let answer = match leg.anchor.answer(&codecs, told) {
                Ok(answer) => answer,
                Err(error) => {
                    return leg.refuse_modify(core, key, &message, &Refusal::Media(error));
                }
            };
            leg.direction = audio.effective_direction();
            if !update {
                leg.expect_ack(core, key);
            }
            leg.accept_modify(core, key, &message, Some(answer));
            return self.on_direction(core, id);
        }
        // Nothing in common with what the other leg agreed to: that one must agree first.
        let codecs = leg.anchor.spoken(&audio.codecs);
        if !update {
            leg.expect_ack(core, key);
        }
        leg.exchange = Exchange::TheirsWaits {
            request: key,
            message: Box::new(message),
        };
        if let Some(other) = partner {
            self.ask_for_codecs(core, other, codecs);
        }
    }

    /// Has this leg's peer agree to codecs that its partner can use.
    pub(super) fn ask_for_codecs(&mut self, core: &mut Core, id: LegId, codecs: Vec<Codec>) {
        let reinvite = Reinvite {
            why: ReinviteReason::Codecs,
            codecs: Some(codecs),
            direction: self.leg(id).map_or(Direction::SendRecv, |leg| leg.told),
            glares: 0,
        };
        self.reinvite(core, id, reinvite);
    }

    /// The ACK of a 2xx of ours.
    pub(super) fn on_ack(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: Option<ServerKey>,
        message: &Message,
    ) {
        let Some(leg) = self.leg_mut(id) else { return };
        if let Some(key) = key {
            leg.settled(core, key);
        }
        let owes = match &mut leg.state {
            State::Accepted { owes_bye, .. } => {
                let owes = owes_bye.take();
                (leg.state, leg.incoming) = (State::Confirmed, None);
                owes
            }
            _ => None,
        };
        let late =
            std::mem::take(&mut leg.late_offer) || matches!(leg.exchange, Exchange::AnswerDueInAck);
        if matches!(leg.exchange, Exchange::AnswerDueInAck) {
            leg.exchange = Exchange::Idle;
        }
        if let Some(reason) = owes {
            return self.leave(core, id, reason);
        }
        if !late {
            return self.tell(core, id);
        }
        match leg
            .anchor
            .accept_answer(&description(message).unwrap_or_default())
        {
            Ok(audio) => {
                leg.direction = audio.effective_direction();
                self.on_direction(core, id);
                self.tell(core, id);
            }
            Err(error) => {
                info!(call = %self.id, %error, "no usable answer in the ACK");
                self.lose(core, id, Ended::BadMedia(id));
            }
        }
    }

    /// Sends a re-INVITE; one that must wait for another exchange is dropped, because that one decides anew.
    pub(super) fn reinvite(&mut self, core: &mut Core, id: LegId, reinvite: Reinvite) {
        let Some(leg) = self.leg_mut(id) else { return };
        if !matches!(leg.state, State::Confirmed)
            || !matches!(leg.exchange, Exchange::Idle | Exchange::Glare { .. })
        {
            debug!(leg = %id.0, "re-INVITE has to wait");
            return self.reinvite_failed(core, id, &reinvite, 491);
        }
        let sdp = match &reinvite.codecs {
            Some(codecs) => leg.anchor.offer_for(codecs, reinvite.direction, None),
            None => leg.anchor.offer_again(reinvite.direction),
        };
        let sdp = match sdp {
            Ok(sdp) => sdp,
            Err(error) => {
                debug!(leg = %id.0, %error, "no offer to make");
                return self.reinvite_failed(core, id, &reinvite, 488);
            }
        };
        let Some(mut draft) = leg.request(core, Method::Invite) else {
            return;
        };
        draft
            .header(Name::Supported, SUPPORTED)
            .header(Name::Allow, Core::allow(&leg.peer));
        if let Some(expires) = leg.session.header() {
            let least = leg.peer.profile().min_se_s;
            draft
                .header(Name::SessionExpires, expires)
                .header_fmt(Name::MinSe, format_args!("{least}"));
        }
        draft.body("application/sdp", sdp);
        leg.exchange = Exchange::Ours;
        leg.send(core, draft, Purpose::Reinvite(reinvite));
    }

    pub(super) fn on_reinvite_response(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: ClientKey,
        reinvite: Reinvite,
        message: &Message,
    ) {
        let status = message.status();
        let Some(leg) = self.leg_mut(id) else { return };
        // RFC 3261 §13.2.2.4: acknowledged even if a BYE has overtaken it.
        if let (200..=299, Some(dialog), Ok(cseq)) = (status, &mut leg.dialog, message.cseq()) {
            dialog.refresh_target(message);
            let hop = leg.peer.way(dialog.next_hop(leg.peer.realm()));
            let ack = dialog.ack(cseq.number);
            core.endpoint.acknowledge(key, ack, hop, core.now);
        }
        if !matches!(leg.exchange, Exchange::Ours) {
            return;
        }
        leg.exchange = Exchange::Idle;
        match status {
            200..=299 => {
                leg.session.answered(message, core.now);
                match leg
                    .anchor
                    .accept_answer(&description(message).unwrap_or_default())
                {
                    Ok(audio) => {
                        // The answer to a hold says nothing of what the peer itself would do.
                        if reinvite.direction == Direction::SendRecv {
                            leg.direction = audio.effective_direction();
                        }
                        if reinvite.why == ReinviteReason::Hold {
                            leg.told = reinvite.direction;
                        }
                    }
                    Err(error) => {
                        info!(call = %self.id, %error, "answer to a re-INVITE not usable");
                        return self.reinvite_failed(core, id, &reinvite, 488);
                    }
                }
                if reinvite.why == ReinviteReason::Codecs {
                    self.release_waiting(core, id);
                }
                if let Some(other) = self.partner(id) {
                    self.join(core, id, other);
                }
                self.tell(core, id);
            }
            491 if reinvite.glares < MAX_GLARES => {
                let owner = leg.outgoing.is_some();
                let again = core.now + glare_delay(owner, core.random.u32());
                leg.exchange = Exchange::Glare {
                    again,
                    reinvite: Reinvite {
                        glares: reinvite.glares + 1,
                        ..reinvite
                    },
                };
            }
            // RFC 3261 §12.2.1.2: the peer knows of no such call, or does not answer at all.
            408 | 481 => self.lose(core, id, Ended::DialogGone(id)),
            _ => self.reinvite_failed(core, id, &reinvite, status),
        }
    }

    /// What stood stays as it was; whoever waits for the new codecs is told.
    fn reinvite_failed(&mut self, core: &mut Core, id: LegId, reinvite: &Reinvite, status: u16) {
        info!(call = %self.id, leg = %id.0, why = ?reinvite.why, status, "re-INVITE failed");
        if let Some(leg) = self.leg_mut(id) {
            leg.anchor.withdraw();
        }
        self.refuse_waiting(core, id, reinvite, status);
    }

    /// The other leg's peer, if its request waits for this re-INVITE, hears that nothing comes of it, or we convert what it
    /// offers.
    fn refuse_waiting(&mut self, core: &mut Core, id: LegId, reinvite: &Reinvite, status: u16) {
        if reinvite.why != ReinviteReason::Codecs {
            return;
        }
        if status != 491 {
            return self.release_waiting(core, id);
        }
        if let Some(other) = self.partner(id).and_then(|p| self.leg_mut(p)) {
            other.refuse_waiting_request(core, 491);
        }
    }

    /// The other leg has agreed to new codecs, or will not: the offer that waited for that is answered.
    fn release_waiting(&mut self, core: &mut Core, id: LegId) {
        let Some(other) = self.partner(id) else {
            return;
        };
        let Some((agreed, waiting)) = self.pair_mut(id, other) else {
            return;
        };
        let (request, message) = match std::mem::take(&mut waiting.exchange) {
            Exchange::TheirsWaits { request, message } => (request, message),
            other => {
                waiting.exchange = other;
                return;
            }
        };
        match waiting.anchor.answer_for(&agreed.spoken(), waiting.told) {
            Ok(answer) => {
                if let Some(theirs) = waiting.anchor.remote() {
                    waiting.direction = theirs.effective_direction();
                }
                waiting.accept_modify(core, request, &message, Some(answer));
                self.on_direction(core, other);
                self.tell(core, other);
            }
            Err(error) => {
                waiting.settled(core, request);
                let refusal = Refusal::Media(error);
                waiting.refuse_modify(core, request, &message, &refusal);
            }
        }
    }
}

impl Leg {
    /// No to a re-INVITE or UPDATE; what was agreed before still stands.
    fn refuse_modify(&self, core: &mut Core, key: ServerKey, message: &Message, why: &Refusal) {
        core.refuse(key, message, why, Some(&self.peer), "");
    }

    /// 200 to a re-INVITE or UPDATE.
    fn accept_modify(
        &self,
        core: &mut Core,
        key: ServerKey,
        message: &Message,
        sdp: Option<bytes::Bytes>,
    ) {
        let mut draft = core.response(message, 200, self.peer.is_teams());
        draft
            .header(Name::Contact, &self.contact)
            .header(Name::Allow, Core::allow(&self.peer))
            .header(Name::Supported, SUPPORTED);
        self.write_session_expires(&mut draft);
        if let Some(sdp) = sdp {
            draft.body("application/sdp", sdp);
        }
        core.endpoint.respond(key, draft, core.now);
    }
}
