//! Reliable provisional responses (RFC 3262) on trunk legs; Teams is never asked for them and never sends them (TDR-413,
//! TDR-510).
//!
//! Those of a called trunk are acknowledged by PRACK in the early dialog that they belong to, in the order of their RSeq.
//! Towards a caller that requires them ours are reliable; repeating them is the endpoint's part. A session description in
//! a reliable response is the answer to our offer; an offer in a PRACK is refused.

use tracing::debug;

use super::body::description;
use super::call::Call;
use super::core::{Core, SUPPORTED};
use super::leg::{Leg, Peer, Purpose, State};
use super::refusal::Refusal;
use super::teardown::Ended;
use crate::directory::ReliableProvisionals;
use crate::media::LegId;
use crate::sip::{Builder, Message, Method, Name, ServerKey};

/// The option tag.
pub(super) const EXTENSION: &str = "100rel";

impl Peer {
    /// Whether the extension may be spoken of towards this peer.
    pub fn knows_reliable(&self) -> bool {
        self.reliable() != ReliableProvisionals::Never
    }

    /// Whether our provisional responses to this INVITE are reliable.
    pub fn wants_reliable(&self, invite: &Message) -> bool {
        let asks = |name| invite.has_token(name, EXTENSION);
        match self.reliable() {
            ReliableProvisionals::Never => false,
            ReliableProvisionals::Supported => asks(Name::Require),
            ReliableProvisionals::Required => asks(Name::Require) || asks(Name::Supported),
        }
    }

    /// What our INVITE to this peer says of it.
    pub fn write_reliable(&self, draft: &mut Builder) {
        match self.reliable() {
            ReliableProvisionals::Never => draft.header(Name::Supported, SUPPORTED),
            ReliableProvisionals::Supported => {
                draft.header_fmt(Name::Supported, format_args!("{SUPPORTED}, {EXTENSION}"))
            }
            ReliableProvisionals::Required => draft
                .header(Name::Supported, SUPPORTED)
                .header(Name::Require, EXTENSION),
        };
    }

    fn reliable(&self) -> ReliableProvisionals {
        match self {
            Self::Teams(..) => ReliableProvisionals::Never,
            Self::Trunk(_) | Self::Phone(..) => self.profile().reliable_provisionals,
        }
    }
}

impl Leg {
    /// Takes a provisional response of this leg's peer, and acknowledges it if it is reliable. Says whether it is to be
    /// heeded: a copy is not, nor one that came before its turn (RFC 3262 §4).
    pub(super) fn take_provisional(&mut self, core: &mut Core, message: &Message) -> bool {
        self.early_dialog(message);
        let rseq = message.header(Name::Rseq).and_then(|value| value.number());
        let is_reliable = message.has_token(Name::Require, EXTENSION) && !self.peer.is_teams();
        let (Some(rseq), Some(tag)) = (rseq.filter(|_| is_reliable), message.to_tag()) else {
            return true;
        };
        let known = self
            .early
            .iter()
            .any(|dialog| dialog.id().remote_tag.as_deref() == Some(tag));
        let last = self.rseqs.iter_mut().find(|(of, _)| of == tag);
        match last {
            _ if !known => return false,
            Some((_, last)) if last.checked_add(1) == Some(rseq) => *last = rseq,
            Some(_) => return false,
            None => self.rseqs.push((tag.to_owned(), rseq)),
        }
        let Ok(cseq) = message.cseq() else {
            return false;
        };
        let rack = format!("{rseq} {} INVITE", cseq.number);
        self.send_prack(core, tag, rack);
        if let Some(sdp) = description(message) {
            match self.anchor.accept_answer(&sdp) {
                Ok(audio) => self.direction = audio.effective_direction(),
                Err(error) => debug!(leg = %self.id.0, %error, "no usable answer in a provisional"),
            }
        }
        true
    }

    /// A PRACK in the dialog with this tag, early or, if the answer was faster, confirmed.
    pub(super) fn send_prack(&mut self, core: &mut Core, tag: &str, rack: String) {
        let realm = self.peer.realm();
        let is_it =
            |dialog: &&mut crate::sip::Dialog| dialog.id().remote_tag.as_deref() == Some(tag);
        let dialog = self.early.iter_mut().chain(&mut self.dialog).find(is_it);
        let Some(dialog) = dialog else { return };
        let mut draft = dialog.request(Method::Prack);
        let hop = self.peer.way(dialog.next_hop(realm));
        draft
            .header(Name::Rack, &rack)
            .header(Name::UserAgent, &core.config.product);
        self.credentials(core, Method::Prack, &mut draft);
        let key = core.endpoint.request(draft, hop, core.now);
        let tag = tag.to_owned();
        self.await_answer(core, key, Purpose::Prack { tag, rack });
    }
}

impl Call {
    /// A PRACK that acknowledges a provisional of ours; the endpoint has answered all others. An offer in it is refused:
    /// the codecs are the called party's to agree to, and it has not answered yet.
    pub(super) fn on_prack(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: ServerKey,
        message: &Message,
    ) {
        let Some(leg) = self.leg(id) else { return };
        if message.body().is_empty() {
            return core.answer(key, message, 200, leg.peer.is_teams());
        }
        let refusal = Refusal::OfferInPrack;
        core.refuse(key, message, &refusal, Some(&leg.peer.clone()), "");
    }

    /// A reliable provisional of ours stayed without PRACK: its INVITE is refused, though the called party may have
    /// answered meanwhile.
    pub(super) fn on_no_prack(&mut self, core: &mut Core, id: LegId, key: ServerKey) {
        let Some(leg) = self.leg_mut(id) else { return };
        match leg.state {
            State::Incoming { .. } => {
                self.cancel_attempt(core, None);
                self.refuse(core, Refusal::NoPrack);
            }
            State::Accepted { .. } => {
                if let Some(invite) = &leg.incoming {
                    let peer = leg.peer.clone();
                    core.refuse(key, invite, &Refusal::NoPrack, Some(&peer), &leg.local_tag);
                }
                leg.settled(core, key);
                self.leg_ended(core, id);
                self.hang_up(core, Ended::NoAck(id));
            }
            _ => {}
        }
    }
}
