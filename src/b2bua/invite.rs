//! The INVITE by which an attempt calls its party: whom it asks for, in whose name, and how it is written.

use std::time::Duration;

use bytes::Bytes;

use super::Report;
use super::body::Location;
use super::call::{Attempt, Call, Stage};
use super::core::{Core, escape};
use super::explain;
use super::header_policy::{Crossing, Passage};
use super::history;
use super::identity::ANONYMOUS;
use super::leg::{Leg, Outgoing, Peer, Purpose, State};
use super::refusal::Refusal;
use super::why::LimitOutcome;
use crate::directory::{CallHistory, NumberFormat, Route, bracketed};
use crate::media::LegId;
use crate::sdp::{Codec, Direction};
use crate::sip::{Hop, Message, Method, Name, Transport, Uri};

impl Call {
    /// Takes what a leg needs and sends its INVITE.
    pub(super) fn start_attempt(
        &mut self,
        core: &mut Core,
        attempt: &Attempt,
    ) -> Result<LegId, Refusal> {
        if !self.make_room(core) {
            return Err(Refusal::Overloaded("legs"));
        }
        let peer = match &attempt.route {
            Route::Trunk(trunk) => Peer::Trunk(trunk.clone()),
            Route::Teams(gateway) => {
                Peer::Teams(gateway.clone(), core.config.teams_profile.clone())
            }
            Route::Phone(phone) => {
                let reach = attempt.reach.clone().ok_or(Refusal::PhoneOffline)?;
                Peer::Phone(phone.clone(), core.config.phone_profile.clone(), reach)
            }
        };
        let permit = match peer.trunk() {
            Some(trunk) if !self.admission.emergency => {
                let permit = core.ledger.take_trunk(trunk);
                let outcome = LimitOutcome::of(permit.is_some(), false);
                self.record
                    .note(core.now, explain::trunk_limit(core, trunk, outcome));
                Some(permit.ok_or(Refusal::TrunkBusy)?)
            }
            _ => None,
        };
        let wanted = self.wanted(&peer);
        let local_tag = core.random.token(12);
        let transport = attempt.hop.transport.unwrap_or(Transport::Udp);
        let mut leg = Leg::new(core, peer, local_tag, &wanted.caller, transport)?;
        leg.permit = permit;
        leg.party = wanted.party;
        let sdp = leg
            .anchor
            .offer_for(&wanted.codecs, Direction::SendRecv, wanted.ptime)
            .map_err(Refusal::Media)?;
        let (uri, to) = wanted.uri.map_or_else(
            || request_uri(&leg.peer, &attempt.hop, &wanted.called, &wanted.extras),
            |uri| (uri.clone(), uri),
        );
        let call_id = core.random.token(26);
        leg.outgoing = Some(Box::new(Outgoing {
            from: from(
                core,
                &leg.peer,
                transport,
                &wanted.caller,
                wanted.display.as_deref(),
            ),
            to,
            uri,
            call_id: call_id.clone(),
            cseq: 1,
            max_forwards: self
                .invite
                .max_forwards()
                .ok()
                .flatten()
                .unwrap_or(70)
                .saturating_sub(1),
            hop: attempt.hop.clone(),
            sdp,
            session_expires: leg.session_expires_s(),
            sent: None,
            crossing: if wanted.speaks_for_caller {
                self.crossing(core, &leg.peer, transport)
            } else {
                Crossing::default()
            },
            location: wanted
                .original
                .then(|| Location::of(&self.invite))
                .flatten()
                .filter(|_| leg.peer.profile().pidf_lo),
            referred_by: wanted
                .referred_by
                .filter(|_| wanted.referred_by_teams == leg.peer.is_teams()),
            replaces: wanted.replaces,
        }));
        leg.open_media(core);
        let id = leg.id;
        if let Some(home) = core.homes.get(&self.legs[0].id).copied() {
            core.homes.insert(id, home);
            core.call_ids.insert(call_id, home);
        }
        core.dialogs.insert(leg.local_tag.clone(), id);
        core.report(Report::Invite {
            peer: leg.peer.label(),
            outgoing: true,
        });
        self.record.attempted(core.now, &leg);
        let rings = Duration::from_secs(leg.peer.profile().ring_timeout_s.into())
            .min(core.config.ring_timeout);
        self.add_leg(leg);
        if let Stage::Setup { gives_up, .. } = &mut self.stage {
            *gives_up = core.now + rings;
        }
        self.send_invite(core, id);
        Ok(id)
    }

    /// What of the caller's INVITE goes on to this peer.
    fn crossing(&self, core: &Core, peer: &Peer, transport: Transport) -> Crossing {
        Crossing::of(&Passage {
            invite: &self.invite,
            peer,
            origin: &self.legs[0].peer,
            caller: &self.caller,
            number: &self.admission.caller,
            called: &self.admission.called,
            emergency: self.admission.emergency,
            host: &own_host(core, peer, transport),
        })
    }

    /// Sends, or sends again with what was learnt, this leg's INVITE.
    pub(super) fn send_invite(&mut self, core: &mut Core, id: LegId) {
        let Some(leg) = self.leg_mut(id) else { return };
        let Some(outgoing) = leg.outgoing.as_mut() else {
            return;
        };
        let mut draft = crate::sip::Builder::request(Method::Invite, &outgoing.uri);
        let mut from = outgoing.from.clone();
        from.extend_from_slice(b";tag=");
        from.extend_from_slice(leg.local_tag.as_bytes());
        draft
            .header_fmt(Name::MaxForwards, format_args!("{}", outgoing.max_forwards))
            .header(Name::From, &from)
            .header_fmt(Name::To, format_args!("<{}>", outgoing.to))
            .header(Name::CallId, &outgoing.call_id)
            .header_fmt(Name::CSeq, format_args!("{} INVITE", outgoing.cseq));
        // So much a dialog is made from.
        outgoing.sent = Some(Box::new(draft.finish(None)));
        draft
            .header(Name::Contact, &leg.contact)
            .header(Name::Allow, Core::allow(&leg.peer))
            .header(Name::UserAgent, &core.config.product);
        leg.peer.write_reliable(&mut draft);
        if let Some(seconds) = outgoing.session_expires {
            let least = leg.peer.profile().min_se_s;
            draft
                .header_fmt(Name::SessionExpires, format_args!("{seconds}"))
                .header_fmt(Name::MinSe, format_args!("{least}"));
        }
        if leg.peer.is_teams() {
            draft.header(Name::Extension("X-MS-SBC"), &core.config.x_ms_sbc);
        }
        if let Some(referred_by) = &outgoing.referred_by {
            draft.header(Name::ReferredBy, referred_by);
        }
        if let Some(replaces) = &outgoing.replaces {
            draft
                .header(Name::Replaces, replaces)
                .header(Name::Require, "replaces");
        }
        outgoing.crossing.write(&mut draft);
        match &outgoing.location {
            Some(location) => location.write(&mut draft, &outgoing.sdp, &core.random.token(30)),
            None => {
                draft.body("application/sdp", &outgoing.sdp);
            }
        }
        leg.credentials(core, Method::Invite, &mut draft);
        let Some(outgoing) = leg.outgoing.as_mut() else {
            return;
        };
        let hop = outgoing.hop.clone();
        leg.peer.tell_large(core, &hop, &draft);
        let next = leg.peer.next_hop(hop);
        let key = core.endpoint.request(draft, next, core.now);
        leg.state = State::Calling {
            invite: key,
            rang: false,
        };
        leg.await_answer(core, key, Purpose::Invite);
    }

    /// What the next attempt asks for: in a set-up, what A wants; in a transfer, what the REFER wants.
    fn wanted(&self, peer: &Peer) -> Wanted {
        let seen = |seen: bool, number: &str| if seen { number } else { ANONYMOUS }.to_owned();
        match &self.stage {
            Stage::Up {
                transfer: Some(transfer),
                ..
            } => {
                let stays = self.leg(transfer.stays);
                let referrer = self.leg(transfer.referrer);
                Wanted {
                    called: transfer.called.clone(),
                    party: transfer
                        .party
                        .clone()
                        .or_else(|| referrer.map(|leg| leg.party.clone()))
                        .unwrap_or_default(),
                    uri: transfer.uri.clone(),
                    caller: stays
                        .map(|leg| {
                            let is_a = self.legs.first().is_some_and(|a| a.id == leg.id);
                            seen(!is_a || self.caller.is_seen_by_all(), &leg.party)
                        })
                        .unwrap_or_default(),
                    display: None,
                    codecs: stays
                        .map(|leg| leg.anchor.spoken(leg.takes()))
                        .unwrap_or_default(),
                    ptime: None,
                    referred_by: transfer.referred_by.clone(),
                    referred_by_teams: referrer.is_some_and(|leg| leg.peer.is_teams()),
                    speaks_for_caller: transfer.stays == self.legs[0].id,
                    replaces: transfer.replaces.clone(),
                    original: false,
                    extras: Extras::default(),
                }
            }
            _ => {
                let a = &self.legs[0];
                let is_seen = self
                    .caller
                    .is_seen_by(peer.profile(), self.admission.emergency);
                let forwarded = self.admission.forwarded_to.as_ref();
                let forwarded = forwarded.filter(|_| peer.is_teams());
                let called = forwarded.unwrap_or(&self.admission.called).clone();
                Wanted {
                    called: called.clone(),
                    party: called,
                    uri: None,
                    caller: seen(is_seen, &self.admission.caller),
                    display: self.caller.display.clone().filter(|_| is_seen),
                    codecs: if a.late_offer {
                        Codec::basic()
                    } else {
                        a.anchor.spoken(a.anchor.offered())
                    },
                    ptime: None,
                    referred_by: None,
                    referred_by_teams: false,
                    speaks_for_caller: true,
                    replaces: None,
                    original: true,
                    extras: Extras::of(&self.invite),
                }
            }
        }
    }
}

struct Wanted {
    called: String,
    /// Who will be at that end.
    party: String,
    uri: Option<String>,
    caller: String,
    display: Option<Bytes>,
    codecs: Vec<Codec>,
    ptime: Option<u16>,
    /// Who refers, as it wrote it: for its own side only. Names of Microsoft's tenants are nothing for a PBX.
    referred_by: Option<Bytes>,
    referred_by_teams: bool,
    /// Whether it is the caller who calls: identity and history in the caller's INVITE are nobody else's.
    speaks_for_caller: bool,
    replaces: Option<String>,
    /// Whether the caller asks for this party, and no REFER does.
    original: bool,
    extras: Extras,
}

/// What the caller's Request-URI says besides whom it asks for.
#[derive(Debug, Default)]
struct Extras {
    /// Why the call was diverted (RFC 4458, TDR-303).
    cause: Option<u32>,
    /// Teams' own: the user is not rung (TDR-408).
    voicemail: bool,
}

impl Extras {
    fn of(invite: &Message) -> Self {
        let Ok(uri) = Uri::parse(invite.request_uri()) else {
            return Self::default();
        };
        let is_voicemail = |text: &str| text.eq_ignore_ascii_case("app:voicemail");
        Self {
            cause: history::request_cause(invite),
            voicemail: uri.params.get("opaque").flatten().is_some_and(is_voicemail),
        }
    }
}

/// Request-URI and To of an INVITE to `called` (TDR-406; trunks as their number format says).
fn request_uri(peer: &Peer, hop: &Hop, called: &str, extras: &Extras) -> (String, String) {
    let host = if hop.host.contains(':') {
        format!("[{}]", hop.host)
    } else {
        hop.host.clone()
    };
    let port = hop.port.map(|p| format!(":{p}")).unwrap_or_default();
    match peer {
        Peer::Teams(..) => {
            let to = format!("sip:{}@{host}{port};user=phone", escape(called));
            let opaque = if extras.voicemail {
                ";opaque=app:voicemail"
            } else {
                ""
            };
            (format!("{to};transport=tls{opaque}"), to)
        }
        Peer::Phone(phone, _, reach) => {
            let to = format!("sip:{}@{host}{port}", phone.auth_user);
            (reach.contact.to_string(), to)
        }
        Peer::Trunk(trunk) => {
            let number = trunk.number_format.write(called);
            let phone = if number.starts_with('+') && trunk.number_format == NumberFormat::E164 {
                ";user=phone"
            } else {
                ""
            };
            // Whoever is registered calls in the domain of the registration, wherever the request is sent.
            let place = match &trunk.line {
                Some(line) => bracketed(&line.pbx.domain),
                None => format!("{host}{port}"),
            };
            let to = format!("sip:{}@{place}{phone}", escape(&number));
            let parameter = match trunk.transport {
                Transport::Udp => "",
                Transport::Tcp => ";transport=tcp",
                Transport::Tls => ";transport=tls",
            };
            let cause = extras
                .cause
                .filter(|_| trunk.profile.call_history != CallHistory::Drop)
                .map_or(String::new(), |cause| format!(";cause={cause}"));
            (format!("{to}{parameter}{cause}"), to)
        }
    }
}

/// What stands for us in URIs of ours: on Teams legs the customer's FQDN (TDR-409).
fn own_host(core: &Core, peer: &Peer, transport: Transport) -> String {
    match peer {
        Peer::Teams(gateway, _) => format!("{}:{}", gateway.fqdn, gateway.sip_port),
        Peer::Trunk(_) | Peer::Phone(..) => core.own(transport).to_string(),
    }
}

/// From without its tag. On Teams legs the host is the customer's FQDN (TDR-409).
fn from(
    core: &Core,
    peer: &Peer,
    transport: Transport,
    caller: &str,
    display: Option<&[u8]>,
) -> Vec<u8> {
    let mut value = Vec::with_capacity(96);
    if let Some(display) = display.filter(|d| !d.is_empty()) {
        value.push(b'"');
        value.extend(
            display
                .iter()
                .filter(|b| !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0)),
        );
        value.extend_from_slice(b"\" ");
    }
    let user = peer.trunk().and_then(|trunk| trunk.user());
    let uri = match (caller, peer, user) {
        // An exchange knows its user, whom it alone can hide from others.
        (_, _, Some(user)) => format!("<{}>", user.aor()),
        (ANONYMOUS, ..) => "<sip:anonymous@anonymous.invalid>".to_owned(),
        (_, Peer::Teams(..), _) => format!(
            "<sip:{}@{};user=phone>",
            escape(caller),
            own_host(core, peer, transport)
        ),
        (_, Peer::Phone(..), _) => format!(
            "<sip:{}@{}>",
            escape(caller),
            own_host(core, peer, transport)
        ),
        (_, Peer::Trunk(trunk), _) => {
            let place = match &trunk.line {
                Some(line) => bracketed(&line.pbx.domain),
                None => own_host(core, peer, transport),
            };
            let number = trunk.number_format.write(caller);
            format!("<sip:{}@{place}>", escape(&number))
        }
    };
    value.extend_from_slice(uri.as_bytes());
    value
}
