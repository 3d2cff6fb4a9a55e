//! Requests inside the dialogs of a call: which method means what, what ours carry, their credentials, and what the time
//! asks for (session timers, glare, a referrer that does not leave).

use super::call::Call;
use super::core::{Core, SUPPORTED};
use super::extensions;
use super::leg::{Exchange, Leg, Purpose, Reinvite, ReinviteReason};
use super::moh::Referral;
use super::refusal::Refusal;
use super::session_timer::Due;
use super::teardown::Ended;
use crate::media::LegId;
use crate::sdp::Direction;
use crate::sip::{Builder, ClientKey, Dialog, Message, Method, Name, ServerKey};

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
        // Whoever says BYE has left already (RFC 3261 §15.1.1); an unknown method is told as such first (§8.2).
        let may_require = matches!(
            message.method(),
            Method::Invite
                | Method::Update
                | Method::Refer
                | Method::Prack
                | Method::Info
                | Method::Options
                | Method::Notify
        );
        let unsupported = extensions::unsupported(&message, Some(&leg.peer));
        if let Some(names) = unsupported.filter(|_| may_require) {
            let peer = leg.peer.clone();
            return core.refuse(key, &message, &Refusal::Extension(names), Some(&peer), "");
        }
        match message.method() {
            Method::Bye => self.on_bye(core, id, key, &message),
            Method::Invite | Method::Update => self.on_modify(core, id, key, message),
            Method::Refer => self.on_refer(core, id, key, &message),
            Method::Prack => self.on_prack(core, id, key, &message),
            Method::Info => self.on_info(core, id, key, &message),
            Method::Options | Method::Notify => {
                let Some(leg) = self.leg_mut(id) else { return };
                let mut draft = core.response(&message, 200, teams);
                draft
                    .header(Name::Contact, &leg.contact)
                    .header(Name::Allow, Core::allow(&leg.peer))
                    .header(Name::Supported, SUPPORTED);
                core.endpoint.respond(key, draft, core.now);
                if message.method() == Method::Notify {
                    self.on_refer_notified(core, id, &message);
                }
            }
            _ => {
                let Some(leg) = self.leg_mut(id) else { return };
                let mut draft = core.response(&message, 405, teams);
                draft.header(Name::Allow, Core::allow(&leg.peer));
                core.endpoint.respond(key, draft, core.now);
            }
        }
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
                Purpose::Refer => {
                    leg.referral = Referral::None;
                    self.tell(core, id);
                }
                Purpose::Notify { body, last } => leg.notify(core, &body, last),
                Purpose::Info(body) => leg.send_info(core, body),
                Purpose::Prack { tag, rack } => leg.send_prack(core, &tag, rack),
            };
        }
        leg.prover.settle();
        match purpose {
            Purpose::Invite => {}
            Purpose::Reinvite(reinvite) => {
                self.on_reinvite_response(core, id, key, reinvite, message)
            }
            Purpose::Bye(_) => self.leg_ended(core, id),
            Purpose::Refer => self.on_refer_answered(core, id, status),
            // RFC 3261 §12.2.1.2.
            Purpose::Info(_) if matches!(status, 408 | 481) => {
                self.lose(core, id, Ended::DialogGone(id));
            }
            Purpose::Info(_) => self.on_told(core, id, status),
            // RFC 6665: without the dialog there is nobody to tell. A provisional that needs no PRACK any more, neither.
            Purpose::Notify { .. } | Purpose::Prack { .. } => {}
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
    pub(super) fn dialog_of(&mut self, message: &Message) -> Option<&mut Dialog> {
        let matches = |dialog: &Dialog| {
            message.call_id().is_ok_and(|id| id == dialog.id().call_id)
                && message.from_tag() == dialog.id().remote_tag.as_deref()
        };
        if self.dialog.as_ref().is_some_and(matches) {
            return self.dialog.as_mut();
        }
        self.early.iter_mut().find(|dialog| matches(dialog))
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
        let hop = dialog.next_hop(self.peer.realm());
        self.credentials(core, draft.method(), &mut draft);
        self.peer.tell_large(core, &hop, &draft);
        let next = self.peer.next_hop(hop);
        let key = core.endpoint.request(draft, next, core.now);
        self.await_answer(core, key, purpose);
    }

    pub(super) fn await_answer(&mut self, core: &mut Core, key: ClientKey, purpose: Purpose) {
        core.clients.insert(key, self.id);
        // There is rarely a second one.
        self.pending.reserve_exact(1);
        self.pending.push((key, purpose));
    }

    /// Writes credentials into a request, whose body stands already, once the peer has asked for them (RFC 7616).
    pub(super) fn credentials(&mut self, core: &mut Core, method: Method, draft: &mut Builder) {
        let Some(credentials) = self.peer.credentials() else {
            return;
        };
        self.prover
            .write(&credentials, method, draft, &mut core.random);
    }

    /// Takes a challenge, if we have credentials for it and have not tried often enough.
    pub(super) fn may_authenticate(&mut self, message: &Message) -> bool {
        self.peer.credentials().is_some() && self.prover.take(message).is_ok()
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
