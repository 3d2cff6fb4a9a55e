//! From an admitted INVITE to an answer: attempts one after the other, and what the caller hears meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{debug, info};

use super::Report;
use super::body::description;
use super::call::{Attempt, Call, Progress, Reaching, Stage};
use super::core::{Core, SUPPORTED};
use super::explain;
use super::header_policy;
use super::leg::State;
use super::refusal::{Refusal, Towards};
use super::registrar::Reach;
use super::reliable;
use super::watch::{Down, retry_after};
use super::why::{Fact, Failing};
use crate::directory::{Phone, Route, Trunk};
use crate::media::{LegId, MediaError};
use crate::sdp::{Codec, Direction};
use crate::sip::{Dialog, Failure, Hop, Message, Method, Name, Realm};

/// Every try that the routes allow, in order; peers known to be down come last, not never: what we know may be old.
pub(super) fn attempts(core: &Core, routes: &[Route]) -> VecDeque<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    for route in routes {
        match route {
            Route::Trunk(trunk) => attempts.push(Attempt {
                route: Route::Trunk(standing(core, trunk)),
                hop: trunk.hop(),
                reach: None,
            }),
            Route::Phone(phone) => attempts.extend(at_phone(core, phone)),
            Route::Teams(_) => {
                attempts.extend(core.config.teams_proxies.iter().map(|hop| Attempt {
                    route: route.clone(),
                    hop: hop.clone(),
                    reach: None,
                }))
            }
        }
    }
    attempts.sort_by_key(|attempt| !is_up(core, attempt));
    attempts.truncate(MAX_ATTEMPTS);
    attempts.into()
}

/// A peer as our registration there lets us know it: its dialogs' requests come from where that stands.
fn standing(core: &Core, trunk: &Arc<Trunk>) -> Arc<Trunk> {
    match &trunk.line {
        Some(line) => trunk.standing_at(core.standing.at(line.id)).into(),
        None => Arc::clone(trunk),
    }
}

/// One try for each contact of a telephone; one that has none is tried in vain, so that it is told why.
fn at_phone(core: &Core, phone: &Arc<Phone>) -> Vec<Attempt> {
    let attempt = |reach: Option<Reach>| Attempt {
        route: Route::Phone(phone.clone()),
        hop: reach.as_ref().map_or_else(|| nowhere(phone), Reach::hop),
        reach,
    };
    let reaches = core.registrar.reaches(phone);
    match reaches.is_empty() {
        true => vec![attempt(None)],
        false => reaches.into_iter().map(|r| attempt(Some(r))).collect(),
    }
}

/// As records tell of it.
fn nowhere(phone: &Phone) -> Hop {
    Hop {
        host: phone.auth_user.to_string(),
        port: None,
        transport: None,
        realm: Realm::Trunk,
    }
}

/// Whether an attempt is made before others: its peer can take calls, at Teams in the name of the gateway's region.
pub(super) fn is_up(core: &Core, attempt: &Attempt) -> bool {
    let region = match &attempt.route {
        Route::Teams(gateway) => core.directory.region(&gateway.region),
        Route::Trunk(trunk) => {
            let line = trunk.line.as_ref();
            if line.is_some_and(|line| core.standing.at(line.id).is_none()) {
                return false;
            }
            None
        }
        Route::Phone(_) => None,
    };
    let own = region.map(|region| region.base_fqdn.as_str());
    core.watch.is_up(&attempt.hop, own, core.now)
}

/// Tries to reach one called party.
const MAX_ATTEMPTS: usize = 12;

impl Call {
    /// The party that this call, or a transfer inside it, is trying to reach.
    pub(super) fn reaching(&mut self) -> Option<&mut Reaching> {
        match &mut self.stage {
            Stage::Setup { reaching, .. } => Some(reaching),
            Stage::Up {
                transfer: Some(transfer),
                ..
            } => Some(&mut transfer.reaching),
            _ => None,
        }
    }

    /// Starts the next attempt; without one left, tells whoever waits.
    pub(super) fn reach(&mut self, core: &mut Core) {
        loop {
            let Some(reaching) = self.reaching() else {
                return;
            };
            let Some(attempt) = reaching.attempts.pop_front() else {
                let refusal = reaching
                    .failed
                    .take()
                    .unwrap_or(Refusal::Denied(crate::directory::Denied::NoRoute));
                return self.on_unreached(core, refusal);
            };
            match self.start_attempt(core, &attempt) {
                Ok(leg) => {
                    if let Some(reaching) = self.reaching() {
                        reaching.leg = Some(leg);
                    }
                    return;
                }
                Err(refusal) => {
                    debug!(call = %self.id, %refusal, "attempt not started");
                    self.record.note(
                        core.now,
                        Fact::Failed {
                            peer: attempt.route.name().to_owned(),
                            failure: explain::failing(&refusal, None),
                            next: true,
                        },
                    );
                    if let Some(reaching) = self.reaching() {
                        reaching.failed = Some(refusal);
                    }
                }
            }
        }
    }

    fn on_unreached(&mut self, core: &mut Core, refusal: Refusal) {
        match self.stage {
            Stage::Setup { .. } => self.refuse(core, refusal),
            _ => self.transfer_failed(core, &refusal),
        }
    }

    /// Refuses A and ends the call.
    pub(super) fn refuse(&mut self, core: &mut Core, refusal: Refusal) {
        info!(call = %self.id, %refusal, "call refused");
        if let Some(leg) = self.legs.first_mut()
            && let (State::Incoming { invite }, Some(message)) = (&leg.state, &leg.incoming)
        {
            let invite = *invite;
            core.refuse(invite, message, &refusal, Some(&leg.peer), &leg.local_tag);
            leg.settled(core, invite);
            leg.state = State::Ended;
        }
        core.report(Report::Refused {
            customer: Some(self.customer.id),
            reason: refusal.label(),
        });
        self.record.refused_with(
            core.now,
            &refusal,
            self.legs
                .first()
                .map_or(Towards::Pbx, |leg| leg.peer.towards()),
        );
        self.finish(core);
    }

    /// A response to an INVITE of ours that opened, or is to open, a leg.
    pub(super) fn on_invite_response(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: crate::sip::ClientKey,
        message: &Message,
    ) {
        let status = message.status();
        let Some(leg) = self.leg_mut(id) else { return };
        if status >= 200 && !matches!(status, 401 | 407) {
            leg.prover.settle();
            core.report(Report::Response {
                peer: leg.peer.label(),
                outgoing: false,
                status,
            });
        }
        match &mut leg.state {
            State::Calling { invite, rang } if *invite == key => match status {
                100 => {}
                // RFC 6228: one fork less, and nothing else.
                199 => {}
                101..=198 => {
                    *rang = true;
                    if leg.take_provisional(core, message) {
                        self.on_progress(core, id, message);
                    }
                }
                200..=299 => self.on_answer(core, id, key, message),
                401 | 407 if leg.may_authenticate(message) => {
                    leg.done(core, key);
                    if let Some(outgoing) = leg.outgoing.as_mut() {
                        outgoing.cseq += 1;
                    }
                    self.send_invite(core, id);
                }
                422 if leg.take_min_se(message) => {
                    leg.done(core, key);
                    self.send_invite(core, id);
                }
                _ => {
                    let reason = String::from_utf8_lossy(message.reason()).into_owned();
                    let after = retry_after(message);
                    // Teams maps by another table than ours, and to no good (TDR-516).
                    let cause = header_policy::q850(message).filter(|_| !leg.peer.is_teams());
                    let down = (status == 503).then(|| Down::answered(message));
                    let refusal = Refusal::FarEnd {
                        status,
                        reason,
                        cause,
                    };
                    let failing = explain::failing(&refusal, Some(message));
                    self.on_attempt_failed(core, id, refusal, failing, after, down);
                }
            },
            State::Cancelling => match status {
                200..=299 => self.end_stray(core, id, key, message),
                300.. => self.leg_ended(core, id),
                _ => {}
            },
            // A further 2xx of another fork: nobody waits for it any more (RFC 3261 §13.2.2.4).
            _ if (200..300).contains(&status) => {
                let known = leg
                    .dialog
                    .as_ref()
                    .is_some_and(|d| d.id().remote_tag.as_deref() == message.to_tag());
                if !known {
                    self.end_stray(core, id, key, message);
                }
            }
            _ => {}
        }
    }

    /// Our INVITE got no response at all, or its connection failed.
    pub(super) fn on_invite_failed(&mut self, core: &mut Core, id: LegId, failure: &Failure) {
        let Some(leg) = self.leg_mut(id) else { return };
        match leg.state {
            State::Calling { .. } => {
                let unreachable = Refusal::Unreachable(failure.to_string());
                self.on_attempt_failed(
                    core,
                    id,
                    unreachable,
                    failure.into(),
                    None,
                    Some(failure.into()),
                );
            }
            State::Cancelling => self.leg_ended(core, id),
            _ => {}
        }
    }

    /// Another trunk or proxy may take the call only if this one did not: nothing rang, and the failure is its own
    /// (408, 5xx, no answer at all: TDR-211, TDR-213). What a user decided is final.
    fn on_attempt_failed(
        &mut self,
        core: &mut Core,
        id: LegId,
        refusal: Refusal,
        failure: Failing,
        retry_after: Option<u64>,
        health: Option<Down>,
    ) {
        let once = self.asks_once();
        let Some(leg) = self.leg_mut(id) else { return };
        let rang = matches!(leg.state, State::Calling { rang: true, .. });
        let next = !rang
            && match &refusal {
                Refusal::Unreachable(_) => true,
                Refusal::FarEnd { .. } if once => false,
                Refusal::FarEnd { status, .. } => matches!(status, 401 | 407 | 408 | 500..=599),
                _ => false,
            };
        info!(leg = %id.0, peer = leg.peer.name(), %refusal, "attempt failed");
        let hop = leg.outgoing.as_ref().map(|o| o.hop.clone());
        let peer = leg.peer.name().to_owned();
        let called = leg.peer.clone();
        self.record.note(
            core.now,
            Fact::Failed {
                peer,
                failure,
                next,
            },
        );
        if let (Some(hop), Some(down)) = (hop, health) {
            for report in core.watch.failed(&hop, &down, retry_after, core.now) {
                core.report(report);
            }
        }
        self.leg_ended(core, id);
        let Some(reaching) = self.reaching() else {
            return;
        };
        reaching.leg = None;
        reaching.failed = Some(match refusal {
            unanswered @ Refusal::Unreachable(_) => called.unanswered(unanswered),
            Refusal::FarEnd {
                status: status @ (408 | 500..=599),
                reason,
                ..
            } if next => Refusal::Unreachable(format!("{status} {reason}")),
            other => other,
        });
        if !next {
            reaching.attempts.clear();
        }
        self.reach(core);
    }

    /// 18x of the called party: at most once each to the caller, as one early dialog (TDR-506).
    fn on_progress(&mut self, core: &mut Core, id: LegId, message: &Message) {
        if !matches!(self.stage, Stage::Setup { .. }) {
            return self.transfer_progress(core, id, message);
        }
        let a = self.legs[0].id;
        let Some((caller, called)) = self.pair_mut(a, id) else {
            return;
        };
        // Teams' 183 usually carries no ringing: the caller's own side makes ringback instead (TDR-505).
        let media = called.peer.profile().early_media && !caller.late_offer;
        let heard_sdp = match description(message).filter(|_| media) {
            Some(sdp) => called.anchor.accept_answer(&sdp).and_then(|_| {
                caller
                    .anchor
                    .answer_for(&called.spoken(), Direction::SendRecv)
            }),
            None => Err(MediaError::NothingAgreed),
        };
        let (heard, status) = match message.status() {
            _ if heard_sdp.is_ok() => (Progress::EarlyMedia, 183),
            // TDR-507: somebody else is being looked for, and nothing rings yet.
            status @ (181 | 182) => (Progress::Forwarded, status),
            _ => (Progress::Ringing, 180),
        };
        let Stage::Setup { progress, .. } = &mut self.stage else {
            return;
        };
        if heard <= *progress {
            return;
        }
        *progress = heard;
        self.record.note(
            core.now,
            Fact::Progress {
                status: message.status(),
            },
        );
        if heard > Progress::Forwarded {
            self.record.rang(core.wall());
        }
        if heard == Progress::EarlyMedia {
            self.join(core, a, id);
        }
        let Some(caller) = self.leg_mut(a) else {
            return;
        };
        let (State::Incoming { invite }, Some(request)) = (&caller.state, &caller.incoming) else {
            return;
        };
        let mut draft = core.response(request, status, caller.peer.is_teams());
        draft.copy(request, Name::RecordRoute);
        draft
            .to_tag(&caller.local_tag)
            .header(Name::Contact, &caller.contact)
            .header(Name::Allow, Core::allow(&caller.peer));
        let invite = *invite;
        if caller.reliable {
            // RFC 3262 §5 wants our offer in the first of them, which we do not have yet.
            if caller.late_offer {
                return;
            }
            draft.header(Name::Require, reliable::EXTENSION);
        }
        if let Ok(sdp) = heard_sdp {
            draft.body("application/sdp", sdp);
        }
        core.endpoint.respond(invite, draft, core.now);
    }

    /// The called party answered: it is acknowledged at once; the caller gets its 200.
    fn on_answer(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: crate::sip::ClientKey,
        message: &Message,
    ) {
        if let Err(refusal) = self.confirm(core, id, key, message) {
            if let Some(leg) = self.leg(id) {
                let (peer, failure) = (
                    leg.peer.name().to_owned(),
                    explain::failing(&refusal, Some(message)),
                );
                self.record.note(
                    core.now,
                    Fact::Failed {
                        peer,
                        failure,
                        next: false,
                    },
                );
            }
            match self.leg(id).map(|leg| &leg.state) {
                Some(State::Confirmed) => self.leave(core, id, None),
                // Without a dialog there is nobody to send an ACK or a BYE to.
                _ => self.leg_ended(core, id),
            }
            if let Some(reaching) = self.reaching() {
                reaching.leg = None;
                reaching.attempts.clear();
                reaching.failed = Some(refusal);
            }
            return self.reach(core);
        }
        if !matches!(self.stage, Stage::Setup { .. }) {
            return self.transfer_answered(core, id);
        }
        self.answer_caller(core, id);
    }

    /// The call has its two parties: the caller gets its 200.
    pub(super) fn answer_caller(&mut self, core: &mut Core, id: LegId) {
        let a = self.legs[0].id;
        let Some((caller, called)) = self.pair_mut(a, id) else {
            return;
        };
        let (State::Incoming { invite }, Some(request)) = (&caller.state, &caller.incoming) else {
            return;
        };
        let invite = *invite;
        let mut draft = core.response(request, 200, caller.peer.is_teams());
        // RFC 3261 §12.1.1: the route set is the caller's proxies', which only our response tells them.
        draft.copy(request, Name::RecordRoute);
        draft
            .to_tag(&caller.local_tag)
            .header(Name::Contact, &caller.contact)
            .header(Name::Allow, Core::allow(&caller.peer))
            .header(Name::Supported, SUPPORTED);
        caller.write_session_expires(&mut draft);
        let body = if caller.late_offer {
            // One voice codec, and those that we convert: the answer in the ACK cannot then differ from what the called
            // party understands.
            caller
                .anchor
                .offer_for(&first_voice(&called.spoken()), Direction::SendRecv, None)
        } else {
            caller
                .anchor
                .answer_for(&called.spoken(), Direction::SendRecv)
        };
        let body = match body {
            Ok(body) => body,
            Err(error) => {
                self.leave(core, id, None);
                return self.refuse(core, Refusal::Media(error));
            }
        };
        let Some(caller) = self.leg_mut(a) else {
            return;
        };
        draft.body("application/sdp", body);
        caller.state = State::Accepted { owes_bye: None };
        core.report(Report::Response {
            peer: caller.peer.label(),
            outgoing: true,
            status: 200,
        });
        core.endpoint.respond(invite, draft, core.now);
        self.stage = Stage::Up {
            a,
            b: id,
            transfer: None,
            ends: core.config.max_duration.map(|d| core.now + d),
        };
        self.record.answered(core.wall());
        if let Some(peer) = self.leg(id).map(|leg| leg.peer.name().to_owned()) {
            self.record.note(core.now, Fact::Answered { peer });
        }
        core.report(Report::Answered {
            customer: self.customer.id,
            after: self.record.setup_time(),
        });
        info!(call = %self.id, "call answered");
        self.join(core, a, id);
    }

    /// Makes a dialog of a 2xx and acknowledges it.
    fn confirm(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: crate::sip::ClientKey,
        message: &Message,
    ) -> Result<(), Refusal> {
        let Some(leg) = self.leg_mut(id) else {
            return Ok(());
        };
        let bad = |e: &dyn std::fmt::Display| Refusal::BadAnswer(e.to_string());
        let sent = leg
            .outgoing
            .as_ref()
            .and_then(|o| o.sent.as_ref())
            .ok_or_else(|| bad(&"no INVITE"))?;
        // The numbers of a dialog that had requests before it was confirmed go on.
        let early = leg
            .early
            .iter()
            .find(|dialog| dialog.id().remote_tag.as_deref() == message.to_tag());
        let dialog = match early.cloned() {
            Some(mut early) => early.confirm(sent, message).map(|()| early),
            None => Dialog::uac(sent, message),
        };
        let dialog = dialog.map_err(|e| bad(&e))?;
        let cseq = message.cseq().map_err(|e| bad(&e))?.number;
        let ack = dialog.ack(cseq);
        let hop = leg.peer.way(dialog.next_hop(leg.peer.realm()));
        leg.dialog = Some(dialog);
        leg.early = Vec::new();
        leg.state = State::Confirmed;
        leg.session.answered(message, core.now);
        core.endpoint.acknowledge(key, ack, hop, core.now);
        if let Some(sdp) = description(message) {
            let audio = leg.anchor.accept_answer(&sdp).map_err(Refusal::Media)?;
            leg.direction = audio.effective_direction();
        } else if leg.anchor.remote().is_none() {
            return Err(bad(&"no session description"));
        }
        Ok(())
    }

    /// A 2xx that nobody waits for: acknowledged, then ended with BYE, in a dialog of its own.
    fn end_stray(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: crate::sip::ClientKey,
        message: &Message,
    ) {
        let Some(leg) = self.leg_mut(id) else { return };
        let Some(sent) = leg.outgoing.as_ref().and_then(|o| o.sent.as_ref()) else {
            return;
        };
        let (Ok(mut dialog), Ok(cseq)) = (Dialog::uac(sent, message), message.cseq()) else {
            return;
        };
        let hop = leg.peer.way(dialog.next_hop(leg.peer.realm()));
        core.endpoint
            .acknowledge(key, dialog.ack(cseq.number), hop.clone(), core.now);
        let bye = dialog.request(Method::Bye);
        core.endpoint.request(bye, hop, core.now);
        if matches!(leg.state, State::Cancelling) {
            self.leg_ended(core, id);
        }
    }

    /// Nobody answered in time.
    pub(super) fn on_ring_timeout(&mut self, core: &mut Core) {
        self.cancel_attempt(core, None);
        self.refuse(core, Refusal::NoAnswer);
    }

    /// The caller's CANCEL. The channel is free at once; a 2xx that crosses it is ended by itself.
    pub(super) fn on_cancel(&mut self, core: &mut Core, message: &Message) {
        if matches!(self.stage, Stage::Setup { .. }) {
            self.cancel_attempt(core, header_policy::reason(message));
            self.refuse(core, Refusal::Cancelled);
        }
    }

    /// Cancels the attempt that is under way, if any.
    pub(super) fn cancel_attempt(&mut self, core: &mut Core, reason: Option<Bytes>) {
        let Some(reaching) = self.reaching() else {
            return;
        };
        reaching.attempts.clear();
        let Some(id) = reaching.leg.take() else {
            return;
        };
        let Some(leg) = self.leg_mut(id) else { return };
        if let State::Calling { invite, .. } = leg.state {
            leg.state = State::Cancelling;
            let reason = reason.as_deref().and_then(|r| std::str::from_utf8(r).ok());
            core.endpoint.cancel(invite, reason, core.now);
        }
    }
}

/// The first voice codec and what only accompanies it.
pub(super) fn first_voice(codecs: &[Codec]) -> Vec<Codec> {
    let first = codecs.iter().find(|codec| codec.is_voice());
    codecs
        .iter()
        .filter(|codec| !codec.is_voice() || Some(*codec) == first)
        .cloned()
        .collect()
}
