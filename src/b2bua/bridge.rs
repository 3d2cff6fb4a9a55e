//! Requests inside the dialogs of a call that is up: re-INVITE and UPDATE (refresh, hold, resume, other codecs), glare,
//! session timers, digest challenges, and joining two legs at the relay.
//!
//! A hold is answered here and never crosses to the other leg as such (TDR-601, TDR-602, TDR-1505), unless the customer
//! wants its PBX to play the music.

use std::time::Duration;

use tracing::{debug, info};

use super::Music;
use super::body::description;
use super::call::{Call, Stage};
use super::core::{Core, SUPPORTED};
use super::leg::{Exchange, Leg, Peer, Purpose, Reinvite, ReinviteReason, State, glare_delay};
use super::refusal::{Refusal, Towards};
use super::session_timer::Due;
use super::teardown::Ended;
use crate::directory::Hold;
use crate::media::{Command, LegId};
use crate::sdp::{Codec, Direction};
use crate::sip::auth::{Challenge, Credentials, MAX_REALMS};
use crate::sip::{Builder, ClientKey, Message, Method, Name, NextHop, ServerKey};

/// How often a re-INVITE of ours that meets one of theirs is sent again.
const MAX_GLARES: u8 = 4;
/// How often one request is sent again with credentials: once, once more for a stale nonce, and as often for a proxy.
const MAX_CHALLENGES: u8 = 4;

impl Call {
    /// A request inside a dialog of this leg.
    pub(super) fn on_request(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: ServerKey,
        message: Message,
    ) {
        let Some(leg) = self.leg_mut(id) else { return };
        let teams = leg.peer.is_teams();
        let dialog = leg.dialog_of(&message);
        let Some(dialog) = dialog else {
            return core.answer(key, &message, 481, teams);
        };
        if dialog.accept(&message).is_err() {
            // RFC 3261 §12.2.2: out of order.
            return core.answer(key, &message, 500, teams);
        }
        match message.method() {
            Method::Bye => self.on_bye(core, id, key, &message),
            Method::Invite | Method::Update => self.on_modify(core, id, key, message),
            Method::Refer => self.on_refer(core, id, key, &message),
            Method::Prack => self.on_prack(core, id, key, &message),
            Method::Info | Method::Options | Method::Notify => {
                let Some(leg) = self.leg_mut(id) else { return };
                let mut draft = core.response(&message, 200, teams);
                draft
                    .header(Name::Contact, &leg.contact)
                    .header(Name::Allow, Core::allow(&leg.peer))
                    .header(Name::Supported, SUPPORTED);
                core.endpoint.respond(key, draft, core.now);
            }
            _ => {
                let Some(leg) = self.leg_mut(id) else { return };
                let mut draft = core.response(&message, 405, teams);
                draft.header(Name::Allow, Core::allow(&leg.peer));
                core.endpoint.respond(key, draft, core.now);
            }
        }
    }

    /// A re-INVITE or UPDATE. One of ours that met a 491 waits no less for its next try because theirs is faster.
    fn on_modify(&mut self, core: &mut Core, id: LegId, key: ServerKey, message: Message) {
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
            return core.refuse(key, &message, &kind, Some(&leg.peer.clone()), "");
        }
        match leg
            .session
            .answer(&message, leg.peer.profile().min_se_s, core.now)
        {
            Ok(expires) => leg.session_expires = expires,
            Err(()) => {
                return core.refuse(
                    key,
                    &message,
                    &Refusal::IntervalTooSmall,
                    Some(&leg.peer.clone()),
                    "",
                );
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
                    return core.refuse(
                        key,
                        &message,
                        &Refusal::Media(error),
                        Some(&leg.peer.clone()),
                        "",
                    );
                }
            };
            leg.exchange = Exchange::AnswerDueInAck;
            leg.expect_ack(core, key);
            return leg.accept_modify(core, key, &message, Some(offer));
        }
        let audio = match leg.anchor.accept_offer(&offer.unwrap_or_default()) {
            Ok(audio) => audio,
            Err(error) => {
                return core.refuse(
                    key,
                    &message,
                    &Refusal::Media(error),
                    Some(&leg.peer.clone()),
                    "",
                );
            }
        };
        let codecs = partner
            .and_then(|p| self.leg(p))
            .map_or_else(|| audio.codecs.clone(), |p| p.codecs().to_vec());
        let Some(leg) = self.leg_mut(id) else { return };
        if share_voice(&audio.codecs, &codecs) {
            let answer = match leg.anchor.answer(&codecs, told) {
                Ok(answer) => answer,
                Err(error) => {
                    return core.refuse(
                        key,
                        &message,
                        &Refusal::Media(error),
                        Some(&leg.peer.clone()),
                        "",
                    );
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
        if !update {
            leg.expect_ack(core, key);
        }
        leg.exchange = Exchange::TheirsWaits {
            request: key,
            message,
        };
        if let Some(other) = partner {
            self.ask_for_codecs(core, other, audio.codecs);
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
                leg.state = State::Confirmed;
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

    /// A peer holds, resumes, or just changed an address: the relay learns it, and the partner hears music or voice.
    pub(super) fn on_direction(&mut self, core: &mut Core, id: LegId) {
        let Some(other) = self.partner(id) else {
            return;
        };
        if !matches!(self.stage, Stage::Up { .. }) {
            return;
        }
        if let Some(holder) = self.leg(id) {
            let pbx = match holder.peer {
                Peer::Teams(..) => self.tells(other) != Direction::SendRecv,
                Peer::Trunk(_) => holder.direction == Direction::SendOnly,
            };
            let holds = holder.direction != Direction::SendRecv;
            let music = if pbx { Music::Pbx } else { Music::BuiltIn };
            let by = holder.peer.name().to_owned();
            self.record.direction(core.now, by, holds.then_some(music));
        }
        self.join(core, id, other);
        self.tell(core, other);
    }

    /// What this leg's peer is to know of its partner: a hold, where Teams holds and the customer wants its PBX to play
    /// the music.
    fn tells(&self, id: LegId) -> Direction {
        let held = self
            .partner(id)
            .and_then(|partner| self.leg(partner))
            .is_some_and(|p| p.peer.is_teams() && p.direction != Direction::SendRecv);
        match self.leg(id) {
            Some(leg) if held && self.pbx_plays(leg) => match leg.peer.profile().hold {
                Hold::SendOnly => Direction::SendOnly,
                Hold::Inactive => Direction::Inactive,
            },
            _ => Direction::SendRecv,
        }
    }

    /// Whether music for this leg's peer is its own business: it is a PBX, and its customer wants it so. A carrier plays
    /// none.
    fn pbx_plays(&self, leg: &Leg) -> bool {
        self.customer.pbx_moh && leg.peer.towards() == Towards::Pbx
    }

    /// Tells this leg's peer what it does not know yet. While another exchange runs that waits; its end comes here.
    fn tell(&mut self, core: &mut Core, id: LegId) {
        let direction = self.tells(id);
        let waits = |leg: &Leg| {
            leg.told != direction
                && matches!(leg.state, State::Confirmed)
                && matches!(leg.exchange, Exchange::Idle)
        };
        if matches!(self.stage, Stage::Up { .. }) && self.leg(id).is_some_and(waits) {
            let hold = Reinvite {
                why: ReinviteReason::Hold,
                codecs: None,
                direction,
                glares: 0,
            };
            self.reinvite(core, id, hold);
        }
    }

    /// Joins two legs at the relay as their descriptions stand, with music for whom the other holds.
    pub(super) fn join(&mut self, core: &mut Core, one: LegId, other: LegId) {
        let held = self
            .legs
            .iter()
            .any(|leg| (leg.id == one || leg.id == other) && leg.direction != Direction::SendRecv);
        let inactivity = if held {
            None
        } else {
            core.config.media_inactivity
        };
        let (Some(a), Some(b)) = (self.leg(one), self.leg(other)) else {
            return;
        };
        // One that left while its transfer goes on: its partner has nobody to talk to yet.
        if !(a.has_media() && b.has_media()) {
            return;
        }
        for (leg, partner) in [(a, b), (b, a)] {
            leg.announce_ice(core);
            if let Some(mut config) = leg.anchor.negotiated() {
                config.payload_map = leg.anchor.payload_map(&partner.anchor);
                config.inactivity = inactivity;
                core.media(Command::Configure {
                    leg: leg.id,
                    config: Box::new(config),
                });
            }
        }
        core.media(Command::Connect {
            leg: one,
            with: Some(other),
        });
        self.play(core, one);
        self.play(core, other);
    }

    /// Has the relay play what this leg's peer is to hear instead of its partner: ringback while it is handed on, music
    /// while it is held, or nothing.
    pub(super) fn play(&self, core: &mut Core, id: LegId) {
        let Some(listener) = self.leg(id).filter(|leg| leg.has_media()) else {
            return;
        };
        let holder = self.partner(id).and_then(|partner| self.leg(partner));
        let play = if self.hears_ringback(id) {
            listener.ringback()
        } else if holder.is_some_and(|h| hears_music(h, self.pbx_plays(listener))) {
            listener.music()
        } else {
            None
        };
        core.media(Command::Play { leg: id, play });
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
            Some(codecs) => leg.anchor.offer(codecs, reinvite.direction, None),
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

    /// A response to a request of ours inside a dialog.
    pub(super) fn on_response(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: ClientKey,
        message: &Message,
    ) {
        let status = message.status();
        let Some(leg) = self.leg_mut(id) else { return };
        let Some(purpose) = leg.purpose(key).cloned() else {
            return;
        };
        if matches!(purpose, Purpose::Invite) {
            return self.on_invite_response(core, id, key, message);
        }
        if status < 200 {
            return;
        }
        leg.done(core, key);
        if matches!(status, 401 | 407) && leg.may_authenticate(message) {
            if matches!(purpose, Purpose::Reinvite(_)) {
                leg.exchange = Exchange::Idle;
            }
            return match purpose {
                Purpose::Invite => {}
                Purpose::Reinvite(reinvite) => self.reinvite(core, id, reinvite),
                Purpose::Bye(reason) => leg.send_bye(core, reason),
                Purpose::Notify { body, last } => leg.notify(core, &body, last),
                Purpose::Prack { tag, rack } => leg.send_prack(core, &tag, rack),
            };
        }
        leg.challenged = 0;
        match purpose {
            Purpose::Invite => {}
            Purpose::Reinvite(reinvite) => {
                self.on_reinvite_response(core, id, key, reinvite, message)
            }
            Purpose::Bye(_) => self.leg_ended(core, id),
            // RFC 6665: without the dialog there is nobody to tell. A provisional that needs no PRACK any more, neither.
            Purpose::Notify { .. } | Purpose::Prack { .. } => {}
        }
    }

    fn on_reinvite_response(
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
            let hop = NextHop::Hop(dialog.next_hop(leg.peer.realm()));
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

    /// The other leg's peer, if its request waits for this re-INVITE, hears that nothing comes of it.
    fn refuse_waiting(&mut self, core: &mut Core, id: LegId, reinvite: &Reinvite, status: u16) {
        if reinvite.why != ReinviteReason::Codecs {
            return;
        }
        if let Some(other) = self.partner(id).and_then(|p| self.leg_mut(p)) {
            other.refuse_waiting_request(core, if status == 491 { 491 } else { 488 });
        }
    }

    /// The other leg agreed to new codecs: the offer that waited for that is answered.
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
        match waiting.anchor.answer(agreed.codecs(), waiting.told) {
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
                core.refuse(request, &message, &refusal, Some(&waiting.peer), "");
            }
        }
    }

    /// What the time asks for on the legs.
    pub(super) fn on_leg_time(&mut self, core: &mut Core) {
        let ids: Vec<LegId> = self
            .legs
            .iter()
            .filter(|leg| leg.deadline().is_some_and(|at| at <= core.now))
            .map(|leg| leg.id)
            .collect();
        for id in ids {
            let Some(leg) = self.leg_mut(id) else {
                continue;
            };
            if let Exchange::Glare { again, reinvite } = &leg.exchange
                && *again <= core.now
            {
                let reinvite = reinvite.clone();
                leg.exchange = Exchange::Idle;
                let told = leg.told;
                // What is to be told may have changed meanwhile.
                let direction = match reinvite.why {
                    ReinviteReason::Hold => self.tells(id),
                    _ => reinvite.direction,
                };
                if reinvite.why != ReinviteReason::Hold || direction != told {
                    let reinvite = Reinvite {
                        direction,
                        ..reinvite
                    };
                    self.reinvite(core, id, reinvite);
                }
                continue;
            }
            if !leg.is_confirmed() {
                continue;
            }
            if leg.leave_by.is_some_and(|by| by <= core.now) {
                self.leave(core, id, None);
                continue;
            }
            match leg.session.due(core.now) {
                Some(Due::Refresh) => {
                    let direction = leg.anchor.direction().unwrap_or(Direction::SendRecv);
                    self.reinvite(
                        core,
                        id,
                        Reinvite {
                            why: ReinviteReason::Refresh,
                            codecs: None,
                            direction,
                            glares: 0,
                        },
                    );
                }
                Some(Due::Expired) => self.lose(core, id, Ended::SessionExpired(id)),
                None => {}
            }
        }
    }
}

/// Whether somebody hears our music because of what `holder` said, unless its own PBX plays some. A PBX that holds with
/// sendonly brings its own (TDR-602); Teams never does.
fn hears_music(holder: &Leg, pbx_plays: bool) -> bool {
    match (&holder.peer, holder.direction) {
        (_, Direction::SendRecv) => false,
        (Peer::Teams(..), _) => !pbx_plays,
        (Peer::Trunk(_), direction) => direction != Direction::SendOnly,
    }
}

impl Leg {
    /// An INVITE of the peer: its CANCEL, or the lack of its ACK, finds this leg.
    pub(super) fn expect_ack(&mut self, core: &mut Core, key: ServerKey) {
        core.servers.insert(key, self.id);
        self.invites.push(key);
    }

    /// That INVITE is acknowledged, or refused.
    pub(super) fn settled(&mut self, core: &mut Core, key: ServerKey) {
        core.servers.remove(&key);
        self.invites.retain(|k| *k != key);
    }

    /// The dialog that a request belongs to: the confirmed one, or one that a provisional response opened.
    fn dialog_of(&mut self, message: &Message) -> Option<&mut crate::sip::Dialog> {
        let matches = |dialog: &crate::sip::Dialog| {
            message.call_id().is_ok_and(|id| id == dialog.id().call_id)
                && message.from_tag() == dialog.id().remote_tag.as_deref()
        };
        if self.dialog.as_ref().is_some_and(matches) {
            return self.dialog.as_mut();
        }
        self.early.iter_mut().find(|dialog| matches(dialog))
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

    /// Session-Expires in a 2xx, as was agreed; Require where the peer has to refresh (RFC 4028 §9).
    pub(super) fn write_session_expires(&self, draft: &mut Builder) {
        if let Some(expires) = &self.session_expires {
            draft.header(Name::SessionExpires, expires);
            if expires.ends_with("uac") {
                draft.header(Name::Require, "timer");
            }
        }
    }

    /// A request inside this leg's dialog, with what all of ours carry.
    pub(super) fn request(&mut self, core: &mut Core, method: Method) -> Option<Builder> {
        let mut draft = self.dialog.as_mut()?.request(method);
        draft
            .header(Name::Contact, &self.contact)
            .header(Name::UserAgent, &core.config.product);
        if self.peer.is_teams() {
            draft.header(Name::Extension("X-MS-SBC"), &core.config.x_ms_sbc);
        }
        Some(draft)
    }

    /// Sends a request inside this leg's dialog, with credentials where the peer asks for them.
    pub(super) fn send(&mut self, core: &mut Core, mut draft: Builder, purpose: Purpose) {
        let Some(dialog) = &self.dialog else { return };
        let hop = NextHop::Hop(dialog.next_hop(self.peer.realm()));
        self.credentials(core, draft.method(), &mut draft);
        let key = core.endpoint.request(draft, hop, core.now);
        self.await_answer(core, key, purpose);
    }

    pub(super) fn await_answer(&mut self, core: &mut Core, key: ClientKey, purpose: Purpose) {
        core.clients.insert(key, self.id);
        self.pending.push((key, purpose));
    }

    /// Writes credentials into a request, whose body stands already, once the peer has asked for them (RFC 7616).
    pub(super) fn credentials(&mut self, core: &mut Core, method: Method, draft: &mut Builder) {
        let Some(trunk) = self.peer.trunk() else {
            return;
        };
        let (Some(username), Some(password)) = (&trunk.username, &trunk.password) else {
            return;
        };
        let credentials = Credentials {
            username: username.clone(),
            password: password.expose().to_owned(),
        };
        let (uri, body) = (draft.uri().to_owned(), draft.body_bytes().to_owned());
        for challenge in &mut self.challenges {
            let value = challenge.answer(&credentials, method, &uri, &body, &mut core.random);
            draft.header(challenge.header(), value);
        }
    }

    /// Takes a challenge, if we have credentials for it and have not tried often enough.
    pub(super) fn may_authenticate(&mut self, message: &Message) -> bool {
        let has = self
            .peer
            .trunk()
            .is_some_and(|t| t.username.is_some() && t.password.is_some());
        if !has || self.challenged >= MAX_CHALLENGES {
            return false;
        }
        let asked = Challenge::all(message);
        // What was just answered and is asked for again, not because of a stale nonce, means wrong credentials.
        let refused = |challenge: &Challenge| {
            let answered = self.challenges.iter().find(|c| c.is_for_same(challenge));
            !challenge.is_worth_answering(answered.filter(|_| self.challenged > 0))
        };
        if asked.is_empty() || asked.iter().any(refused) {
            return false;
        }
        self.challenged += 1;
        self.challenges
            .retain(|known| !asked.iter().any(|new| new.is_for_same(known)));
        self.challenges.extend(asked);
        self.challenges.truncate(MAX_REALMS);
        true
    }

    /// 422: the interval that the peer wants, once (RFC 4028 §7.3, TDR-414).
    pub(super) fn take_min_se(&mut self, message: &Message) -> bool {
        let wanted: Option<u32> = message
            .header(Name::MinSe)
            .and_then(|v| v.text()?.split(';').next()?.trim().parse().ok());
        let (Some(wanted), Some(outgoing)) = (wanted, self.outgoing.as_mut()) else {
            return false;
        };
        if outgoing.session_expires.is_none_or(|mine| mine >= wanted) || wanted > 86_400 {
            return false;
        }
        outgoing.session_expires = Some(wanted);
        outgoing.cseq += 1;
        true
    }
}

/// How long a referrer may take to hang up once its REFER was obeyed (TDR-708).
pub(super) const REFERRER_LEAVES_WITHIN: Duration = Duration::from_secs(5);

/// Kept beside the re-INVITE code because both need it: the codecs two legs can talk in.
pub(super) fn share_voice(one: &[Codec], other: &[Codec]) -> bool {
    one.iter()
        .any(|codec| codec.is_voice() && codec.find_in(other).is_some())
}
