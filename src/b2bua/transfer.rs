//! REFER, obeyed by us (RFC 3515, TDR section 7): the referrer's partner is joined to whom the Refer-To names, which is
//! a Microsoft URI, a number that this customer may call, or a party of another call (RFC 3891 Replaces).
//!
//! A REFER never crosses to the other leg, and its target is never anything but these: a stranger's URI would make us
//! an open relay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::info;

use super::body::description;
use super::call::{Attempt, Call, CallKey, Given, Reaching, Stage};
use super::core::Core;
use super::leg::{Leg, Peer, Purpose, Side, State};
use super::refusal::Refusal;
use super::replaces::Replaces;
use super::teardown::Ended;
use super::why::Fact;
use super::{Calls, setup};
use crate::directory::{Attempt as Request, Gateway, Origin, Route, Trunk, TrunkState};
use crate::media::{Command, LegId, LegReport, can_talk, share_voice};
use crate::sip::message::phrase;
use crate::sip::{Hop, Message, Method, Name, NameAddr, Realm, ServerKey, Transport, Uri};

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

/// Where a Refer-To leads.
enum Target {
    /// Another INVITE.
    Call(Wanted),
    /// The party at the far end of the dialog of ours that this Replaces names.
    Party(String),
}

/// Whom a REFER wants to be called.
struct Wanted {
    called: String,
    party: Option<String>,
    /// The Request-URI, if it is not made from the number.
    uri: Option<String>,
    replaces: Option<String>,
    attempts: Vec<Attempt>,
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
            *transfer = Some(Transfer {
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
            });
        }
        self.reach(core);
    }

    /// Decides where a Refer-To leads, or with what status it is refused.
    fn target(&self, core: &Core, leg: &Leg, message: &Message) -> Result<Target, u16> {
        let mut values = message.values(Name::ReferTo);
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(400);
        };
        let refer_to = NameAddr::parse(value.bytes()).map_err(|_| 400u16)?;
        let uri = Uri::parse(refer_to.uri).map_err(|_| 400u16)?;
        if !uri.is_sip() {
            return Err(400);
        }
        if let Some(replaces) = uri.headers.and_then(replaces) {
            let named = Replaces::parse(&replaces).ok_or(400u16)?;
            let is_ours = core.dialogs.contains_key(named.local_tag);
            let Some(trunk) = self.own_trunk(leg).filter(|_| !is_ours) else {
                return Ok(Target::Party(replaces));
            };
            let called = uri.user.ok_or(404u16)?.to_owned();
            // A dialog between two parties of the PBX: the PBX itself makes one of the three.
            return Ok(Target::Call(Wanted {
                party: Some(called.clone()),
                called,
                uri: None,
                attempts: setup::attempts(core, &[Route::Trunk(trunk.clone())]).into(),
                replaces: Some(replaces),
            }));
        }
        if let (Peer::Teams(gateway, _), true) = (&leg.peer, is_microsoft(core, uri.host)) {
            return Ok(Target::Call(back_to_teams(
                core,
                gateway,
                refer_to.uri,
                &uri,
            )));
        }
        let called = uri.user.ok_or(404u16)?;
        let (origin, own) = match &leg.peer {
            // Only this customer's own names: another's would be another's trunk (TDR-1212).
            Peer::Teams(..) => (
                Origin::Teams,
                core.directory
                    .gateway(uri.host)
                    .is_some_and(|g| g.customer == self.customer.id),
            ),
            Peer::Trunk(trunk) => (Origin::Trunk(trunk.clone()), true),
            Peer::Phone(phone, ..) => (Origin::Phone(phone.clone()), true),
        };
        if !own {
            return Err(403);
        }
        // In the name of who is handed on; Microsoft's rules are about who hands on.
        let caller = self.partner(leg.id).filter(|_| !leg.peer.is_teams());
        let caller = caller.and_then(|stays| self.leg(stays)).unwrap_or(leg);
        let request = Request {
            origin: &origin,
            request_host: uri.host,
            called,
            caller: &caller.party,
            random: 0,
        };
        let routes = match core.directory.admit(&request) {
            Ok(admission) if admission.customer.id == self.customer.id => admission.routes,
            Ok(_) => return Err(403),
            // A PBX hands a call on to one of its own extensions, or to a number that another one has.
            Err(_) => self.exchanges(core, leg).ok_or(404u16)?,
        };
        Ok(Target::Call(Wanted {
            called: called.to_owned(),
            party: Some(called.to_owned()),
            uri: None,
            attempts: setup::attempts(core, &routes).into(),
            replaces: None,
        }))
    }

    /// The leg's trunk, if it is the customer's own.
    fn own_trunk<'a>(&self, leg: &'a Leg) -> Option<&'a Arc<Trunk>> {
        let trunk = leg.peer.trunk()?;
        (trunk.customer == Some(self.customer.id)).then_some(trunk)
    }

    /// The trunks of the customer, beginning with that of this leg, if it is the customer's own. No carrier: a REFER
    /// reaches nobody whom an INVITE would not.
    fn exchanges(&self, core: &Core, leg: &Leg) -> Option<Vec<Route>> {
        let own = self.own_trunk(leg)?;
        let mut others: Vec<_> = core
            .directory
            .trunks()
            .filter(|t| t.customer == own.customer && t.id != own.id)
            .filter(|t| t.state == TrunkState::InService)
            .collect();
        others.sort_by_key(|trunk| trunk.priority);
        let all = std::iter::once(own).chain(others);
        Some(all.cloned().map(Route::Trunk).collect())
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
        }) = transfer.take()
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
        }) = transfer.take()
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

/// Two calls that a REFER with Replaces makes one; carried out by [`Calls`], which owns both.
#[derive(Debug)]
pub(super) struct Join {
    pub referrer: LegId,
    /// The Replaces value of its Refer-To.
    pub replaces: String,
}

impl Calls {
    /// Gives the far party of the other call to the call whose REFER named it. The other call ends: its channel is
    /// free, its CDR says that it was transferred.
    pub(super) fn join_calls(&mut self, join: &Join) {
        let failed = |calls: &mut Self, status| {
            if let Some(leg) = calls
                .home(join.referrer)
                .and_then(|k| calls.calls.get_mut(&k))
                .and_then(|c| c.leg_mut(join.referrer))
            {
                leg.notify(&mut calls.core, &sipfrag(status), true);
            }
        };
        let Some(home) = self.home(join.referrer) else {
            return;
        };
        let Some((other_home, party)) = self.replaced(join, home) else {
            info!("a REFER names a call that does not exist");
            return failed(self, 481);
        };
        let room = self.calls.get_mut(&home);
        if !room.is_some_and(|call| call.make_room(&mut self.core)) {
            return failed(self, 503);
        }
        let Some(other) = self.calls.get_mut(&other_home) else {
            return;
        };
        let Some(at) = other.legs.iter().position(|leg| leg.id == party) else {
            return;
        };
        let mut taken = other.legs.remove(at);
        if taken.has_media() {
            self.core.media(Command::Count { leg: party });
            self.core.moved.insert(party, other_home);
            other.given = Some(Given {
                side: taken.side,
                before: taken.counted.take(),
            });
        }
        other.hang_up(&mut self.core, Ended::Transferred);
        self.settle(other_home);
        self.core.homes.insert(party, home);
        let Some(call) = self.calls.get_mut(&home) else {
            return;
        };
        info!(call = %call.id, "transfer done");
        call.record.transferred(self.core.now, &taken.party);
        call.legs.push(taken);
        call.hand_over(&mut self.core, join.referrer, party);
        self.settle(home);
    }

    /// What went through a leg so far. Of one that has just moved to another call, the record of the call that it left has
    /// it.
    pub(super) fn on_counted(&mut self, leg: LegId, report: LegReport) {
        let moved = self.core.moved.remove(&leg);
        if let Some(left) = moved {
            self.with_call(left, |call, core| call.on_counted(core, &report));
        }
        self.with_leg(leg, |call, _| {
            if let Some(leg) = call.leg_mut(leg) {
                if moved.is_some() {
                    leg.counted = Some(report.clone());
                }
                leg.latest = Some(report);
            }
        });
    }

    /// The other call, and the partner of its leg that is named: of the same customer and up.
    fn replaced(&self, join: &Join, home: CallKey) -> Option<(CallKey, LegId)> {
        let named = Replaces::parse(&join.replaces)?;
        let replaced = *self.core.dialogs.get(named.local_tag)?;
        let other_home = self.home(replaced).filter(|other| *other != home)?;
        let other = self.calls.get(&other_home)?;
        if other.customer.id != self.calls.get(&home)?.customer.id {
            return None;
        }
        let leg = other.leg(replaced)?;
        if !leg.is_confirmed() || !leg.is_named_by(&named) {
            return None;
        }
        let party = other.partner(replaced)?;
        let ready = matches!(other.leg(party)?.state, State::Confirmed)
            && matches!(other.stage, Stage::Up { .. });
        ready.then_some((other_home, party))
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

/// The INVITE that a Refer-To with a Microsoft URI asks for: to Teams and nowhere else, whoever it is for (TDR-703). Its
/// own proxy comes first; the others are asked only if that one says nothing.
fn back_to_teams(core: &Core, gateway: &Arc<Gateway>, whole: &str, uri: &Uri) -> Wanted {
    let first = Hop {
        host: uri.host.to_owned(),
        port: uri.port.or(Some(5061)),
        transport: Some(Transport::Tls),
        realm: Realm::Teams,
    };
    let others = core
        .config
        .teams_proxies
        .iter()
        .filter(|hop| !hop.host.eq_ignore_ascii_case(uri.host));
    let attempts = std::iter::once(&first).chain(others).map(|hop| Attempt {
        route: Route::Teams(gateway.clone()),
        hop: hop.clone(),
        reach: None,
    });
    let named = uri.user.or_else(|| uri.params.get("x-m").flatten());
    Wanted {
        called: named.unwrap_or("teams").to_owned(),
        party: uri.user.map(str::to_owned),
        // RFC 3261 §19.1.5: headers of a URI have no place in a Request-URI.
        uri: whole.split('?').next().map(str::to_owned),
        replaces: None,
        attempts: attempts.collect(),
    }
}

/// Whether a host is Microsoft's: one of the proxies, or below one of their domains.
fn is_microsoft(core: &Core, host: &str) -> bool {
    core.config
        .teams_proxies
        .iter()
        .any(|hop| hop.host.eq_ignore_ascii_case(host))
        || core.config.teams_domains.iter().any(|domain| {
            host.len() > domain.len()
                && host.as_bytes()[host.len() - domain.len() - 1] == b'.'
                && host[host.len() - domain.len()..].eq_ignore_ascii_case(domain)
                || host.eq_ignore_ascii_case(domain)
        })
}

/// `Replaces` among the headers of a Refer-To URI (RFC 3891 §3, RFC 5589 §7).
fn replaces(headers: &str) -> Option<String> {
    let value = headers.split('&').find_map(|header| {
        let (name, value) = header.split_once('=')?;
        name.eq_ignore_ascii_case("Replaces").then_some(value)
    })?;
    // What cannot be read names nothing, and is refused as such.
    Some(unescape(value).unwrap_or_default())
}

/// RFC 3986 §2.1.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digit = |b: Option<u8>| b.and_then(|b| (b as char).to_digit(16));
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            u8::try_from(high * 16 + low).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

/// The start line of a response, as a referrer hears of it (RFC 3420).
fn sipfrag(status: u16) -> Bytes {
    format!("SIP/2.0 {status} {}\r\n", phrase(status)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Refer-To with an escaped Replaces names the other dialog.
    #[test]
    fn replaces_names_our_dialog() {
        let headers = "Subject=a&replaces=abc%40host%3Bto-tag%3Dours%3Bfrom-tag%3Dtheirs";
        let named = replaces(headers).unwrap();
        assert_eq!(named, "abc@host;to-tag=ours;from-tag=theirs");
        assert_eq!(replaces("Subject=hello"), None);
        assert_eq!(replaces("Replaces=%4").as_deref(), Some(""));
    }

    #[test]
    fn a_sipfrag_is_a_start_line() {
        assert_eq!(sipfrag(486), "SIP/2.0 486 Busy Here\r\n");
    }
}
