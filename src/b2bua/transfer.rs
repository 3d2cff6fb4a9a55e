//! REFER, obeyed by us (RFC 3515, TDR section 7): the referrer's partner is joined to whom the Refer-To names, which is
//! a Microsoft URI, a number that this customer may call, or a party of another call (RFC 3891 Replaces).
//!
//! A REFER never crosses to the other leg, and its target is never anything but these: a stranger's URI would make us
//! an open relay. `refer_to` decides where it leads, `join` makes two calls one.

mod join;
mod refer_to;

use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::info;

pub(super) use self::join::Join;
use self::refer_to::{Target, Wanted};
use super::body::description;
use super::call::{Call, Reaching, Stage};
use super::core::Core;
use super::leg::{Leg, Purpose, Side};
use super::refusal::Refusal;
use super::teardown::Ended;
use super::why::Fact;
use crate::media::{LegId, can_talk, share_voice};
use crate::sip::message::phrase;
use crate::sip::{Message, Method, Name, ServerKey};

/// How long a referrer may take to hang up once its REFER was obeyed (TDR-708).
const REFERRER_LEAVES_WITHIN: Duration = Duration::from_secs(5);

/// A REFER that is being obeyed: the target is being called.
#[derive(Debug)]
pub(super) struct Transfer {
    /// Whose REFER it is; it hears of the progress by NOTIFY.
    pub referrer: LegId,
    /// Who is handed on.
    pub stays: LegId,
    /// The number or the party's name, for the CDR.
    pub called: String,
    /// Who will be at the target's end, if a number or user part tells; else it stays who it was.
    pub party: Option<String>,
    /// Microsoft's own URI, to be used byte for byte (TDR-706).
    pub uri: Option<String>,
    pub referred_by: Option<Bytes>,
    /// The dialog that the target is to give up for this call.
    pub replaces: Option<String>,
    pub reaching: Reaching,
    pub gives_up: Instant,
    pub ringback: Ringback,
}

/// Whether who is handed on hears the target ring (TDR-605, TDR-710).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ringback {
    /// Nothing rings, or it is not to be heard.
    Silent,
    /// From then on.
    Due(Instant),
    Sounds,
    /// None of ours: the target itself sends sound before it answers.
    Theirs,
}

impl Transfer {
    pub fn deadline(&self) -> Instant {
        match self.ringback {
            Ringback::Due(at) => at.min(self.gives_up),
            Ringback::Silent | Ringback::Sounds | Ringback::Theirs => self.gives_up,
        }
    }
}

impl Call {
    /// A REFER inside a dialog.
    pub(super) fn on_refer(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: ServerKey,
        message: &Message,
    ) {
        let Some(stays) = self.partner(id) else {
            return core.answer(
                key,
                message,
                481,
                self.leg(id).is_some_and(|l| l.peer.is_teams()),
            );
        };
        let Some(leg) = self.leg(id) else { return };
        let teams = leg.peer.is_teams();
        if !leg.peer.profile().refer {
            return core.answer(key, message, 405, teams);
        }
        let Stage::Up { transfer: None, .. } = &self.stage else {
            // RFC 5589 §6.1: one at a time.
            return core.answer(key, message, 491, teams);
        };
        let target = match self.target(core, leg, message) {
            Ok(target) => target,
            Err(status) => {
                info!(call = %self.id, status, "transfer refused");
                let by = leg.peer.name().to_owned();
                let refused = Some(status);
                self.record.note(core.now, Fact::Refer { by, refused });
                return core.answer(key, message, status, teams);
            }
        };
        let Some(leg) = self.leg_mut(id) else { return };
        let mut accepted = core.response(message, 202, teams);
        accepted.header(Name::Contact, &leg.contact);
        let by = leg.peer.name().to_owned();
        if leg.subscribes(message) {
            core.endpoint.respond(key, accepted, core.now);
            leg.notify(core, &sipfrag(100), false);
        } else {
            accepted.header(Name::ReferSub, "false");
            core.endpoint.respond(key, accepted, core.now);
        }
        self.record
            .note(core.now, Fact::Refer { by, refused: None });
        match target {
            Target::Call(wanted) => self.begin_transfer(core, id, stays, message, wanted),
            Target::Party(replaces) => core.joins.push(Join {
                referrer: id,
                replaces,
            }),
        }
    }

    fn begin_transfer(
        &mut self,
        core: &mut Core,
        referrer: LegId,
        stays: LegId,
        refer: &Message,
        wanted: Wanted,
    ) {
        info!(call = %self.id, "transfer begins");
        if let Stage::Up { transfer, .. } = &mut self.stage {
            *transfer = Some(Box::new(Transfer {
                referrer,
                stays,
                called: wanted.called,
                party: wanted.party,
                uri: wanted.uri,
                referred_by: refer
                    .header(Name::ReferredBy)
                    .map(|v| Bytes::copy_from_slice(v.bytes())),
                replaces: wanted.replaces,
                reaching: Reaching {
                    attempts: wanted.attempts.into(),
                    leg: None,
                    failed: None,
                },
                gives_up: core.now + core.config.ring_timeout,
                ringback: Ringback::Silent,
            }));
        }
        self.reach(core);
    }

    /// Whether the party being reached may be asked at one place only: a Microsoft URI that was processed once must not
    /// be sent again (TDR-709).
    pub(super) fn asks_once(&self) -> bool {
        matches!(&self.stage, Stage::Up { transfer: Some(transfer), .. } if transfer.uri.is_some())
    }

    /// The target rings, sends sound, or says something else that is not final.
    pub(super) fn transfer_progress(&mut self, core: &mut Core, target: LegId, message: &Message) {
        let Stage::Up {
            transfer: Some(transfer),
            ..
        } = &self.stage
        else {
            return;
        };
        let (referrer, stays) = (transfer.referrer, transfer.stays);
        let sounds = self.takes_early_media(stays, target, message);
        let Some(leg) = self.leg_mut(referrer) else {
            return;
        };
        if message.status() == 180 && leg.is_alive() {
            leg.notify(core, &sipfrag(180), false);
        }
        let after = leg.peer.profile().transfer_ringback_s;
        let Stage::Up {
            transfer: Some(transfer),
            ..
        } = &mut self.stage
        else {
            return;
        };
        if sounds {
            transfer.ringback = Ringback::Theirs;
            self.join(core, stays, target);
        } else if transfer.ringback == Ringback::Silent && after > 0 {
            transfer.ringback = Ringback::Due(core.now + Duration::from_secs(after.into()));
        }
    }

    /// Whether the target sends sound before it answers that who is handed on can hear; Teams' own is silence (TDR-505).
    fn takes_early_media(&mut self, stays: LegId, target: LegId, message: &Message) -> bool {
        let Some((stays, target)) = self.pair_mut(stays, target) else {
            return false;
        };
        let sdp = description(message).filter(|_| target.peer.profile().early_media);
        sdp.is_some_and(|sdp| target.anchor.accept_answer(&sdp).is_ok())
            && can_talk(stays.codecs(), target.codecs())
    }

    /// Whether this leg's peer hears the party ring that it is handed on to.
    pub(super) fn hears_ringback(&self, id: LegId) -> bool {
        matches!(&self.stage, Stage::Up { transfer: Some(transfer), .. }
            if transfer.stays == id && transfer.ringback == Ringback::Sounds)
    }

    /// Whom this leg's peer hears instead of its partner: the target, before it answers.
    pub(super) fn hears_instead(&self, id: LegId) -> Option<LegId> {
        match &self.stage {
            Stage::Up {
                transfer: Some(transfer),
                ..
            } if transfer.stays == id && transfer.ringback == Ringback::Theirs => {
                transfer.reaching.leg
            }
            _ => None,
        }
    }

    /// The target answered: it takes the referrer's place.
    pub(super) fn transfer_answered(&mut self, core: &mut Core, target: LegId) {
        let Stage::Up { transfer, .. } = &mut self.stage else {
            return;
        };
        let Some(Transfer {
            referrer, called, ..
        }) = transfer.take().map(|transfer| *transfer)
        else {
            return;
        };
        info!(call = %self.id, "transfer done");
        self.record.transferred(core.now, &called);
        self.hand_over(core, referrer, target);
    }

    /// Tells the referrer, silences it, and lets the other two talk. The referrer has some time to leave by itself.
    fn hand_over(&mut self, core: &mut Core, referrer: LegId, target: LegId) {
        if let Some(leg) = self.leg_mut(referrer) {
            if leg.is_alive() {
                leg.notify(core, &sipfrag(200), true);
            }
            leg.close_media(core);
            leg.leave_by = Some(core.now + REFERRER_LEAVES_WITHIN);
        }
        self.take_place(core, referrer, target);
        let Some(stays) = self.partner(target) else {
            return;
        };
        let Some((stays, target)) = self.pair_mut(stays, target) else {
            return;
        };
        if !share_voice(stays.codecs(), target.codecs()) {
            let (id, codecs) = (stays.id, target.spoken());
            self.ask_for_codecs(core, id, codecs);
        }
    }

    /// A leg is replaced while a transfer runs: who is handed on may be somebody else now; without the referrer there
    /// is nothing to hand on.
    pub(super) fn transfer_without(&mut self, core: &mut Core, old: LegId, new: LegId) {
        let Stage::Up {
            transfer: Some(transfer),
            ..
        } = &mut self.stage
        else {
            return;
        };
        if transfer.stays == old {
            transfer.stays = new;
        }
        if transfer.referrer == old {
            self.cancel_attempt(core, None);
            if let Stage::Up { transfer, .. } = &mut self.stage {
                *transfer = None;
            }
        }
    }

    /// One leg takes over the conversation of another, and whoever held it is gone: the partner hears the new one.
    pub(super) fn take_place(&mut self, core: &mut Core, of: LegId, new: LegId) {
        let side = self.leg(of).map_or(Side::B, |leg| leg.side);
        if let Stage::Up { a, b, .. } = &mut self.stage {
            let place = if *a == of { a } else { b };
            *place = new;
        }
        if let Some(leg) = self.leg_mut(new) {
            leg.side = side;
        }
        let partner = self.partner(new).and_then(|id| self.leg_mut(id));
        if let Some(partner) = partner {
            // Its request waited for the codecs of somebody who is gone; it may come again.
            partner.refuse_waiting_request(core, 491);
        }
        self.on_direction(core, new);
    }

    /// The target could not be reached: the referrer hears why and has its call back (TDR-709).
    pub(super) fn transfer_failed(&mut self, core: &mut Core, refusal: &Refusal) {
        let Stage::Up { transfer, .. } = &mut self.stage else {
            return;
        };
        let Some(Transfer {
            referrer,
            stays,
            ringback,
            ..
        }) = transfer.take().map(|transfer| *transfer)
        else {
            return;
        };
        info!(call = %self.id, %refusal, "transfer failed");
        let Some(leg) = self.leg_mut(referrer) else {
            return;
        };
        if !leg.is_alive() {
            return self.hang_up(core, Ended::Bye(referrer));
        }
        let status = refusal.answer(leg.peer.towards()).status;
        leg.notify(core, &sipfrag(status), true);
        let why = refusal.to_string();
        self.record
            .note(core.now, Fact::TransferFailed { status, why });
        if ringback == Ringback::Theirs {
            return self.join(core, referrer, stays);
        }
        self.play(core, stays);
    }

    /// The referrer's BYE is in while the target still is being called: its partner waits for the target.
    pub(super) fn transfer_outlives(&self, id: LegId) -> bool {
        matches!(&self.stage, Stage::Up { transfer: Some(transfer), .. } if transfer.referrer == id)
    }

    /// The target had its time to answer, or rings for long enough to be heard.
    pub(super) fn on_transfer_time(&mut self, core: &mut Core) {
        let Stage::Up {
            transfer: Some(transfer),
            ..
        } = &mut self.stage
        else {
            return;
        };
        if transfer.gives_up <= core.now {
            self.cancel_attempt(core, None);
            return self.transfer_failed(core, &Refusal::NoAnswer);
        }
        if matches!(transfer.ringback, Ringback::Due(at) if at <= core.now) {
            transfer.ringback = Ringback::Sounds;
            let stays = transfer.stays;
            self.play(core, stays);
        }
    }
}

impl Leg {
    /// Takes note of how the peer wants to hear of its REFER; `false` if it does not (RFC 4488).
    fn subscribes(&mut self, refer: &Message) -> bool {
        let silent = refer
            .header(Name::ReferSub)
            .and_then(|v| v.text()?.split(';').next().map(str::trim))
            .is_some_and(|v| v.eq_ignore_ascii_case("false"));
        self.event = match (silent, self.referred, refer.cseq()) {
            (true, ..) => None,
            (false, true, Ok(cseq)) => Some(format!("refer;id={}", cseq.number)),
            _ => Some("refer".to_owned()),
        };
        self.referred = true;
        !silent
    }

    /// A NOTIFY of the REFER's implicit subscription (RFC 3515 §2.4.4, TDR-702).
    pub(super) fn notify(&mut self, core: &mut Core, body: &Bytes, last: bool) {
        let Some(event) = self.event.clone() else {
            return;
        };
        let Some(mut draft) = self.request(core, Method::Notify) else {
            return;
        };
        draft.header(Name::Event, event).header(
            Name::SubscriptionState,
            if last {
                "terminated;reason=noresource"
            } else {
                "active;expires=60"
            },
        );
        draft.body("message/sipfrag;version=2.0", body);
        let body = body.clone();
        self.send(core, draft, Purpose::Notify { body, last });
    }
}

/// The start line of a response, as a referrer hears of it (RFC 3420).
fn sipfrag(status: u16) -> Bytes {
    format!("SIP/2.0 {status} {}\r\n", phrase(status)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sipfrag_is_a_start_line() {
        assert_eq!(sipfrag(486), "SIP/2.0 486 Busy Here\r\n");
    }
}
