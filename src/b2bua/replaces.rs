//! INVITE with Replaces (RFC 3891, TDR-711): a peer goes on with a call of its own by another dialog. Teams does so when
//! an agent takes a queued call, in consultative transfers, and when a user comes back from music on hold (TDR-605).
//!
//! It may come by another connection, from another address of the peer's and with another Contact (TDR-140), but only
//! the leg's own peer may: Teams for the customer whose gateway it names, a trunk for its own dialogs. Whoever else
//! names a dialog learns nothing, not even that there is one.

use tracing::info;

use super::call::{Call, CallKey, Stage};
use super::core::{Core, SUPPORTED};
use super::identity::Caller;
use super::leg::{ByeReason, Leg, Peer, State};
use super::refusal::Refusal;
use super::setup::first_voice;
use super::why::Fact;
use super::{Calls, Report};
use crate::directory::{Denied, Origin};
use crate::media::LegId;
use crate::sdp::Direction;
use crate::sip::{Message, Name, ServerKey, Source};

/// A Replaces header (RFC 3891 §6.1), seen from us: the to-tag is ours.
#[derive(Debug, PartialEq)]
pub(super) struct Replaces<'a> {
    pub call_id: &'a str,
    pub local_tag: &'a str,
    pub remote_tag: &'a str,
    pub early_only: bool,
}

impl<'a> Replaces<'a> {
    /// Reads a header's value; `None` if it is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let call_id = parts.next().filter(|id| !id.is_empty())?;
        let (mut local, mut remote, mut early_only) = (None, None, false);
        for part in parts {
            match part
                .split_once('=')
                .map_or((part, ""), |(name, tag)| (name.trim(), tag.trim()))
            {
                (name, tag) if name.eq_ignore_ascii_case("to-tag") => local = Some(tag),
                (name, tag) if name.eq_ignore_ascii_case("from-tag") => remote = Some(tag),
                (name, _) => early_only |= name.eq_ignore_ascii_case("early-only"),
            }
        }
        Some(Self {
            call_id,
            local_tag: local.filter(|tag| !tag.is_empty())?,
            remote_tag: remote.filter(|tag| !tag.is_empty())?,
            early_only,
        })
    }

    /// The only one of an INVITE (RFC 3891 §3).
    fn of(message: &'a Message) -> Result<Self, Refusal> {
        let malformed = || Refusal::Malformed("Replaces cannot be read".to_owned());
        let mut values = message.headers(Name::Replaces);
        match (values.next(), values.next()) {
            (Some(value), None) => value.text().and_then(Self::parse).ok_or_else(malformed),
            _ => Err(malformed()),
        }
    }

    /// A peer of RFC 2543 has no tag, which is written as 0.
    fn names(&self, call_id: &str, remote_tag: Option<&str>) -> bool {
        self.call_id == call_id && self.remote_tag == remote_tag.unwrap_or("0")
    }
}

impl Calls {
    /// Answers an INVITE with Replaces, or tells why not. `peer` is who sent it, as far as that is known.
    pub(super) fn replace(
        &mut self,
        key: ServerKey,
        message: &Message,
        source: &Source,
        local_tag: &str,
        peer: Option<&Peer>,
    ) -> Result<(), Refusal> {
        let peer = peer.ok_or(Denied::UnknownGateway)?;
        let replaces = Replaces::of(message)?;
        let (home, old) = self
            .replaceable(&replaces, source, peer)
            .ok_or(Refusal::NoDialog)?;
        let call = self.calls.get_mut(&home).ok_or(Refusal::NoDialog)?;
        let place = call.place_of(old, &replaces)?;
        let new = call.newcomer(
            &mut self.core,
            key,
            message,
            source,
            local_tag,
            peer,
            &place,
        );
        call.replace(&mut self.core, new?, &place);
        self.settle(home);
        Ok(())
    }

    /// The leg whose dialog this names, if it is the sender's to replace.
    fn replaceable(
        &self,
        replaces: &Replaces,
        source: &Source,
        peer: &Peer,
    ) -> Option<(CallKey, LegId)> {
        let id = *self.core.dialogs.get(replaces.local_tag)?;
        let home = self.home(id)?;
        let call = self.calls.get(&home)?;
        let leg = call.leg(id)?;
        let own = match (&leg.peer, peer) {
            (Peer::Teams(..), Peer::Teams(gateway, _)) => {
                gateway.customer == call.customer.id && gateway.state.takes_calls()
            }
            // Who calls the Contact of a registration has been found to be its exchange.
            (Peer::Trunk(trunk), Peer::Trunk(by)) if trunk.line.is_some() => {
                by.line.is_some() && trunk.id == by.id
            }
            // Several trunks may share an address.
            (Peer::Trunk(trunk), Peer::Trunk(_)) => {
                let origin: Option<Origin> = self.core.directory.origin(source).ok();
                origin.is_some_and(|o| o.trunks().iter().any(|of| of.id == trunk.id))
            }
            (Peer::Phone(phone, ..), Peer::Phone(sender, ..)) => phone.device == sender.device,
            _ => false,
        };
        (own && leg.is_named_by(replaces)).then_some((home, id))
    }
}

/// What an INVITE with Replaces takes over.
pub(super) struct Place {
    /// Whose dialog is replaced.
    old: LegId,
    /// Who talks with the new one.
    partner: LegId,
    /// The old dialog is one that our INVITE opened, and that rings.
    rings: bool,
}

impl Call {
    /// RFC 3891 §3: what of the dialog's states may be replaced.
    fn place_of(&self, old: LegId, replaces: &Replaces) -> Result<Place, Refusal> {
        let leg = self.leg(old).ok_or(Refusal::NoDialog)?;
        let place = |partner: Option<LegId>, rings| {
            let partner = partner.ok_or(Refusal::NoDialog)?;
            Ok(Place {
                old,
                partner,
                rings,
            })
        };
        match &leg.state {
            State::Confirmed | State::Accepted { owes_bye: None } => {
                let partner = self.partner(old).ok_or(Refusal::NoDialog)?;
                if replaces.early_only {
                    return Err(Refusal::DialogAnswered);
                }
                place(Some(partner), false)
            }
            // An early dialog only of our own making: who called us cannot be taken away from us unanswered.
            State::Calling { .. } => place(self.waits_for(old), true),
            State::Accepted { .. } | State::Leaving | State::Ended => Err(Refusal::DialogOver),
            State::Incoming { .. } | State::Cancelling => Err(Refusal::NoDialog),
        }
    }

    /// Who is to talk with the party that this leg is calling.
    fn waits_for(&self, calling: LegId) -> Option<LegId> {
        match &self.stage {
            Stage::Up {
                transfer: Some(transfer),
                ..
            } => (transfer.reaching.leg == Some(calling)).then_some(transfer.stays),
            _ => self.partner(calling),
        }
    }

    /// The leg of the INVITE, answered in a way that its new partner understands; nothing is sent yet.
    #[allow(clippy::too_many_arguments, reason = "all that an INVITE brings")]
    fn newcomer(
        &mut self,
        core: &mut Core,
        key: ServerKey,
        message: &Message,
        source: &Source,
        local_tag: &str,
        peer: &Peer,
        place: &Place,
    ) -> Result<Newcomer, Refusal> {
        if !self.make_room(core) {
            return Err(Refusal::Overloaded("legs"));
        }
        let (old, partner) = (self.leg(place.old), self.leg(place.partner));
        let (Some(old), Some(partner)) = (old, partner) else {
            return Err(Refusal::NoDialog);
        };
        // A trunk stays what it was when the call was admitted.
        let peer = match &old.peer {
            Peer::Trunk(_) => old.peer.clone(),
            Peer::Teams(..) | Peer::Phone(..) => peer.clone(),
        };
        let codecs = partner.spoken();
        let mut leg = Leg::incoming(core, peer, key, message, source, local_tag, &partner.party)?;
        let caller = Caller::of(message, Some(leg.peer.profile())).map_err(Refusal::Malformed)?;
        leg.party = match caller.number.starts_with('+') {
            true => caller.number,
            false => old.party.clone(),
        };
        leg.side = old.side;
        let body = if leg.late_offer {
            leg.anchor
                .offer_for(&first_voice(&codecs), Direction::SendRecv, None)
        } else {
            leg.anchor.answer_for(&codecs, Direction::SendRecv)
        };
        let body = body.map_err(Refusal::Media)?;
        let mut accepted = core.response(message, 200, leg.peer.is_teams());
        accepted.copy(message, Name::RecordRoute);
        accepted
            .to_tag(local_tag)
            .header(Name::Contact, &leg.contact)
            .header(Name::Allow, Core::allow(&leg.peer))
            .header(Name::Supported, SUPPORTED);
        leg.write_session_expires(&mut accepted);
        accepted.body("application/sdp", body);
        leg.state = State::Accepted { owes_bye: None };
        Ok(Newcomer { leg, key, accepted })
    }

    /// The new dialog is accepted, the old one ended; no channel changes hands, but a trunk's goes along.
    fn replace(&mut self, core: &mut Core, newcomer: Newcomer, place: &Place) {
        let Newcomer {
            mut leg,
            key,
            accepted,
        } = newcomer;
        info!(call = %self.id, rings = place.rings, "a leg is replaced");
        let id = leg.id;
        leg.open_media(core);
        leg.expect_ack(core, key);
        if let Some(home) = core.homes.get(&place.old).copied() {
            core.homes.insert(id, home);
        }
        core.dialogs.insert(leg.local_tag.clone(), id);
        core.report(Report::Response {
            peer: leg.peer.label(),
            outgoing: true,
            status: 200,
        });
        core.endpoint.respond(key, accepted, core.now);
        leg.permit = self.leg_mut(place.old).and_then(|old| old.permit.take());
        self.record.taken_over(leg.side, &leg.party);
        let taken = Fact::Replaced {
            by: leg.peer.name().to_owned(),
            call_id: leg.call_id().unwrap_or_default().to_owned(),
        };
        self.record.note(core.now, taken);
        self.add_leg(leg);
        if place.rings {
            // TDR-416: whose phones rang has not missed a call.
            self.cancel_attempt(core, elsewhere());
            match self.stage {
                Stage::Setup { .. } => self.answer_caller(core, id),
                _ => self.transfer_answered(core, id),
            }
        } else {
            self.transfer_without(core, place.old, id);
            self.take_place(core, place.old, id);
            self.leave(core, place.old, None);
        }
    }
}

/// A leg that is about to join a call.
struct Newcomer {
    leg: Leg,
    key: ServerKey,
    /// Our 200.
    accepted: crate::sip::Builder,
}

impl Leg {
    /// Whether this names the leg's dialog, or one of those that its INVITE opened.
    pub(super) fn is_named_by(&self, replaces: &Replaces) -> bool {
        let mut dialogs = self
            .dialog
            .iter()
            .chain(&self.early)
            .map(|dialog| dialog.id());
        dialogs.any(|id| replaces.names(&id.call_id, id.remote_tag.as_deref()))
    }
}

fn elsewhere() -> ByeReason {
    Some("SIP;cause=200;text=\"Call completed elsewhere\"".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3891 §6.1: tags in any order and case of names, early-only, parameters that nobody knows.
    #[test]
    fn a_header_names_a_dialog() {
        let text = "98732@sip.example.com ; from-tag=r33th4x0r;to-tag=ff87ff;early-only;x=y";
        let expected = Replaces {
            call_id: "98732@sip.example.com",
            local_tag: "ff87ff",
            remote_tag: "r33th4x0r",
            early_only: true,
        };
        assert_eq!(Replaces::parse(text), Some(expected));
        let plain = Replaces::parse("a;To-Tag=1;From-Tag=0").unwrap();
        assert!(!plain.early_only);
        assert!(plain.names("a", None) && plain.names("a", Some("0")));
        assert!(!plain.names("a", Some("1")) && !plain.names("b", None));
    }

    #[test]
    fn what_names_no_dialog() {
        for text in [
            "",
            ";to-tag=1;from-tag=2",
            "a;to-tag=1",
            "a;from-tag=1",
            "a;to-tag=;from-tag=2",
            "a",
        ] {
            assert_eq!(Replaces::parse(text), None, "{text}");
        }
    }
}
