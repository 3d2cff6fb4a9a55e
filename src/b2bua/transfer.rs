//! REFER, obeyed by us (RFC 3515, TDR section 7): the referrer's partner is joined to whom the Refer-To names, which is
//! a Microsoft URI, a number that this customer may call, or a party of another call (RFC 3891 Replaces).
//!
//! A REFER never crosses to the other leg, and its target is never anything but these: a stranger's URI would make us
//! an open relay.

use std::time::Instant;

use bytes::Bytes;
use tracing::info;

use super::bridge::{REFERRER_LEAVES_WITHIN, share_voice};
use super::call::{Attempt, Call, CallKey, Reaching, Stage};
use super::core::Core;
use super::leg::{Leg, Peer, Purpose, Reinvite, ReinviteReason, State};
use super::refusal::Refusal;
use super::teardown::Ended;
use super::{Calls, setup};
use crate::directory::{Attempt as Request, Origin, Route};
use crate::media::LegId;
use crate::sdp::Direction;
use crate::sip::{Hop, Message, Method, Name, NameAddr, Realm, ServerKey, Transport, Uri};

/// A REFER that is being obeyed.
#[derive(Debug)]
pub(super) struct Transfer {
    /// Whose REFER it is; it hears of the progress by NOTIFY.
    pub referrer: LegId,
    /// Who is handed on.
    pub stays: LegId,
    /// The number or the party's name, for the CDR.
    pub called: String,
    /// Microsoft's own URI, to be used byte for byte (TDR-706).
    pub uri: Option<String>,
    pub referred_by: Option<Bytes>,
    pub phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The target is being called, at most until then.
    Reaching {
        reaching: Reaching,
        gives_up: Instant,
    },
    /// It answered; the referrer has until then to leave by itself (TDR-708).
    Reached { leave_by: Instant },
}

impl Transfer {
    pub fn reaching(&mut self) -> Option<&mut Reaching> {
        match &mut self.phase {
            Phase::Reaching { reaching, .. } => Some(reaching),
            Phase::Reached { .. } => None,
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Reaching { gives_up, .. } => Some(gives_up),
            Phase::Reached { leave_by } => Some(leave_by),
        }
    }
}

/// Where a Refer-To leads.
enum Target {
    /// Another INVITE, and what its Request-URI is if not made from the number.
    Call {
        called: String,
        uri: Option<String>,
        attempts: Vec<Attempt>,
    },
    /// The party at the far end of this dialog of ours: Call-ID and our tag.
    Party { call_id: String, local_tag: String },
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
                return core.answer(key, message, status, teams);
            }
        };
        let Some(leg) = self.leg_mut(id) else { return };
        let mut accepted = core.response(message, 202, teams);
        accepted.header(Name::Contact, &leg.contact);
        core.endpoint.respond(key, accepted, core.now);
        leg.notify(core, "SIP/2.0 100 Trying\r\n", false);
        match target {
            Target::Call {
                called,
                uri,
                attempts,
            } => {
                info!(call = %self.id, "transfer begins");
                let referred_by = message
                    .header(Name::ReferredBy)
                    .map(|v| Bytes::copy_from_slice(v.bytes()));
                let reaching = Reaching {
                    attempts: attempts.into(),
                    leg: None,
                    failed: None,
                };
                if let Stage::Up { transfer, .. } = &mut self.stage {
                    *transfer = Some(Transfer {
                        referrer: id,
                        stays,
                        called,
                        uri,
                        referred_by,
                        phase: Phase::Reaching {
                            reaching,
                            gives_up: core.now + core.config.ring_timeout,
                        },
                    });
                }
                self.reach(core);
            }
            Target::Party { call_id, local_tag } => core.joins.push(Join {
                referrer: id,
                stays,
                call_id,
                local_tag,
            }),
        }
    }

    /// Decides where a Refer-To leads, or with what status it is refused.
    fn target(&self, core: &Core, leg: &Leg, message: &Message) -> Result<Target, u16> {
        let value = message.header(Name::ReferTo).ok_or(400u16)?;
        let refer_to = NameAddr::parse(value.bytes()).map_err(|_| 400u16)?;
        let uri = Uri::parse(refer_to.uri).map_err(|_| 400u16)?;
        if let Some(replaces) = uri.headers.and_then(replaces) {
            return Ok(replaces);
        }
        if leg.peer.is_teams() && is_microsoft(core, uri.host) {
            let Peer::Teams(gateway, _) = &leg.peer else {
                return Err(403);
            };
            let hop = Hop {
                host: uri.host.to_owned(),
                port: uri.port.or(Some(5061)),
                transport: Some(Transport::Tls),
                realm: Realm::Teams,
            };
            let whole = refer_to
                .uri
                .split('?')
                .next()
                .unwrap_or(refer_to.uri)
                .to_owned();
            let called = uri.user.unwrap_or("teams").to_owned();
            return Ok(Target::Call {
                called,
                uri: Some(whole),
                attempts: vec![Attempt {
                    route: Route::Teams(gateway.clone()),
                    hop,
                }],
            });
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
        };
        if !own {
            return Err(403);
        }
        let request = Request {
            origin: &origin,
            request_host: uri.host,
            called,
            caller: &leg.party,
            random: 0,
        };
        let routes = match core.directory.admit(&request) {
            Ok(admission) if admission.customer.id == self.customer.id => admission.routes,
            Ok(_) => return Err(403),
            // A PBX hands a call on to one of its own extensions: back to where it came from.
            Err(_) => match &leg.peer {
                Peer::Trunk(trunk) if trunk.customer == Some(self.customer.id) => {
                    vec![Route::Trunk(trunk.clone())]
                }
                _ => return Err(404),
            },
        };
        Ok(Target::Call {
            called: called.to_owned(),
            uri: None,
            attempts: setup::attempts(core, &routes).into(),
        })
    }

    /// The target rings, or says something else that is not final.
    pub(super) fn transfer_progress(&mut self, core: &mut Core, status: u16) {
        let Stage::Up {
            transfer: Some(transfer),
            ..
        } = &self.stage
        else {
            return;
        };
        let referrer = transfer.referrer;
        if status == 180
            && let Some(leg) = self.leg_mut(referrer)
        {
            leg.notify(core, "SIP/2.0 180 Ringing\r\n", false);
        }
    }

    /// The target answered: it takes the referrer's place.
    pub(super) fn transfer_answered(&mut self, core: &mut Core, target: LegId) {
        let now = core.now;
        let Stage::Up {
            a,
            b,
            transfer: Some(transfer),
            ..
        } = &mut self.stage
        else {
            return;
        };
        transfer.phase = Phase::Reached {
            leave_by: now + REFERRER_LEAVES_WITHIN,
        };
        let (referrer, stays, called) =
            (transfer.referrer, transfer.stays, transfer.called.clone());
        if *a == referrer {
            *a = target;
        } else {
            *b = target;
        }
        info!(call = %self.id, "transfer done");
        self.record.transferred(&called);
        self.hand_over(core, referrer, stays, target);
    }

    /// Tells the referrer, silences it, and lets the other two talk.
    fn hand_over(&mut self, core: &mut Core, referrer: LegId, stays: LegId, target: LegId) {
        if let Some(leg) = self.leg_mut(referrer) {
            if leg.is_alive() {
                leg.notify(core, "SIP/2.0 200 OK\r\n", true);
            }
            leg.close_media(core);
        }
        // Whoever was held to make the transfer is so no more.
        self.join(core, stays, target);
        let Some((stays, target)) = self.pair_mut(stays, target) else {
            return;
        };
        if !share_voice(stays.codecs(), target.codecs()) {
            let (id, codecs) = (stays.id, Some(target.codecs().to_vec()));
            self.reinvite(
                core,
                id,
                Reinvite {
                    why: ReinviteReason::Codecs,
                    codecs,
                    direction: Direction::SendRecv,
                    glares: 0,
                },
            );
        }
    }

    /// The target could not be reached: the referrer hears why and has its call back (TDR-709).
    pub(super) fn transfer_failed(&mut self, core: &mut Core, refusal: &Refusal) {
        let Stage::Up { transfer, .. } = &mut self.stage else {
            return;
        };
        let Some(Transfer { referrer, .. }) = transfer.take() else {
            return;
        };
        info!(call = %self.id, %refusal, "transfer failed");
        let Some(leg) = self.leg_mut(referrer) else {
            return;
        };
        if !leg.is_alive() {
            return self.hang_up(core, Ended::Bye(referrer));
        }
        let answer = refusal.answer(leg.peer.towards());
        let body = sipfrag(answer.status);
        leg.notify(core, body, true);
    }

    /// The referrer's BYE is in while the target still is being called: its partner waits for the target.
    pub(super) fn transfer_outlives(&self, id: LegId) -> bool {
        matches!(&self.stage, Stage::Up { transfer: Some(Transfer { referrer, phase: Phase::Reaching { .. }, .. }), .. } if *referrer == id)
    }

    /// The referrer of a transfer that is done is gone.
    pub(super) fn referrer_left(&mut self, id: LegId) {
        if let Stage::Up { transfer, .. } = &mut self.stage
            && transfer
                .as_ref()
                .is_some_and(|t| t.referrer == id && matches!(t.phase, Phase::Reached { .. }))
        {
            *transfer = None;
        }
    }

    /// The target had its time to answer, or the referrer to leave.
    pub(super) fn on_transfer_time(&mut self, core: &mut Core) {
        let Stage::Up {
            transfer: Some(transfer),
            ..
        } = &self.stage
        else {
            return;
        };
        let referrer = transfer.referrer;
        match transfer.phase {
            Phase::Reaching { gives_up, .. } if gives_up <= core.now => {
                self.cancel_attempt(core, None);
                self.transfer_failed(core, &Refusal::NoAnswer);
            }
            Phase::Reached { leave_by } if leave_by <= core.now => {
                self.referrer_left(referrer);
                self.leave(core, referrer, None);
            }
            _ => {}
        }
    }
}

/// Two calls that a REFER with Replaces makes one; carried out by [`Calls`], which owns both.
#[derive(Debug)]
pub(super) struct Join {
    pub referrer: LegId,
    pub stays: LegId,
    pub call_id: String,
    pub local_tag: String,
}

impl Calls {
    /// Gives the far party of the other call to the call whose REFER named it. The other call ends: its channel is
    /// free, its CDR says that it was transferred.
    pub(super) fn join_calls(&mut self, join: &Join) {
        let failed = |calls: &mut Self, body| {
            if let Some(leg) = calls
                .home(join.referrer)
                .and_then(|k| calls.calls.get_mut(&k))
                .and_then(|c| c.leg_mut(join.referrer))
            {
                leg.notify(&mut calls.core, body, true);
            }
        };
        let Some(home) = self.home(join.referrer) else {
            return;
        };
        let Some((other_home, party)) = self.replaced(join, home) else {
            info!("a REFER names a call that does not exist");
            return failed(self, "SIP/2.0 481 Call/Transaction Does Not Exist\r\n");
        };
        let Some(other) = self.calls.get_mut(&other_home) else {
            return;
        };
        let Some(at) = other.legs.iter().position(|leg| leg.id == party) else {
            return;
        };
        let taken = other.legs.remove(at);
        other.hang_up(&mut self.core, Ended::Transferred);
        self.settle(other_home);
        self.core.homes.insert(party, home);
        let Some(call) = self.calls.get_mut(&home) else {
            return;
        };
        let called = taken.party.clone();
        call.legs.push(taken);
        let leave_by = self.core.now + REFERRER_LEAVES_WITHIN;
        if let Stage::Up { transfer, .. } = &mut call.stage {
            *transfer = Some(Transfer {
                referrer: join.referrer,
                stays: join.stays,
                called,
                uri: None,
                referred_by: None,
                phase: Phase::Reached { leave_by },
            });
        }
        call.transfer_answered(&mut self.core, party);
        self.settle(home);
    }

    /// The other call, and the partner of its leg that is named: of the same customer and up.
    fn replaced(&self, join: &Join, home: CallKey) -> Option<(CallKey, LegId)> {
        let replaced = *self.core.dialogs.get(&join.local_tag)?;
        let other_home = self.home(replaced).filter(|other| *other != home)?;
        let other = self.calls.get(&other_home)?;
        if other.customer.id != self.calls.get(&home)?.customer.id {
            return None;
        }
        let leg = other.leg(replaced)?;
        if !leg.is_confirmed() || leg.dialog.as_ref()?.id().call_id != join.call_id {
            return None;
        }
        let party = other.partner(replaced)?;
        let ready = matches!(other.leg(party)?.state, State::Confirmed)
            && matches!(other.stage, Stage::Up { .. });
        ready.then_some((other_home, party))
    }
}

impl Leg {
    /// A NOTIFY of the REFER's implicit subscription (RFC 3515 §2.4.4, TDR-702).
    pub(super) fn notify(&mut self, core: &mut Core, body: &'static str, last: bool) {
        let Some(mut draft) = self.request(core, Method::Notify) else {
            return;
        };
        draft.header(Name::Event, "refer").header(
            Name::SubscriptionState,
            if last {
                "terminated;reason=noresource"
            } else {
                "active;expires=60"
            },
        );
        draft.body("message/sipfrag;version=2.0", body);
        self.send(core, draft, Purpose::Notify { body, last });
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
fn replaces(headers: &str) -> Option<Target> {
    let value = headers.split('&').find_map(|header| {
        let (name, value) = header.split_once('=')?;
        name.eq_ignore_ascii_case("Replaces").then_some(value)
    })?;
    let value = unescape(value)?;
    let mut parts = value.split(';').map(str::trim);
    let call_id = parts.next()?.to_owned();
    // Our tag is the peer's to-tag.
    let local_tag = parts
        .find_map(|part| part.strip_prefix("to-tag="))?
        .to_owned();
    Some(Target::Party { call_id, local_tag })
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

/// The failures that a referrer can hear of, as sipfrag.
fn sipfrag(status: u16) -> &'static str {
    match status {
        403 => "SIP/2.0 403 Forbidden\r\n",
        404 => "SIP/2.0 404 Not Found\r\n",
        486 => "SIP/2.0 486 Busy Here\r\n",
        487 => "SIP/2.0 487 Request Terminated\r\n",
        488 => "SIP/2.0 488 Not Acceptable Here\r\n",
        480 => "SIP/2.0 480 Temporarily Unavailable\r\n",
        603 => "SIP/2.0 603 Decline\r\n",
        _ => "SIP/2.0 503 Service Unavailable\r\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Refer-To with an escaped Replaces names the other dialog by our own tag.
    #[test]
    fn replaces_names_our_dialog() {
        let headers = "Replaces=abc%40host%3Bto-tag%3Dours%3Bfrom-tag%3Dtheirs";
        let Some(Target::Party { call_id, local_tag }) = replaces(headers) else {
            panic!("no Replaces")
        };
        assert_eq!((call_id.as_str(), local_tag.as_str()), ("abc@host", "ours"));
        assert!(replaces("Subject=hello").is_none());
        assert!(unescape("%4").is_none());
    }
}
