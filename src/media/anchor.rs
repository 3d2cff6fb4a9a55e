//! One leg's side of offer and answer (RFC 3264, RFC 4568): what we describe, what the peer described, what came of it.
//!
//! An [`Anchor`] lives as long as its dialog. Descriptions of the peer go in, ours come out, and
//! [`Anchor::negotiated`] and [`Anchor::ice`] are what the relay must know. Three things never change in its life: our
//! address and ports (TDR-804), our keys (TDR-834) and the meaning of a payload type.

mod description;
mod error;
mod lite;
mod numbers;
mod policy;
mod security;

pub use error::MediaError;
pub use policy::{MediaPolicy, SrtpPolicy};

use super::{Crypto, Dtmf, IceConfig, LegConfig, MediaSource, Passage, passage};
use crate::base::Random;
use crate::sdp::{
    Audio, AudioError, Codec, CryptoLine, Direction, Ice, IceCredentials, SessionDescription,
    intersect,
};
use bytes::Bytes;
use description::{Description, Ours, Slot};
use lite::Lite;
use numbers::Numbers;
use security::Keys;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Milliseconds in a packet where nobody asks for anything else (TDR-812).
const PTIME: u16 = 20;

/// One leg's side of offer and answer.
///
/// Repeating is harmless: an answer may be given again (183, then 200), and the peer's answer taken again (from
/// another fork, or from the 200 after a 183). Whoever refuses an offer, or whose offer was refused, says
/// [`Anchor::withdraw`]; what was agreed before then still stands.
pub struct Anchor {
    policy: MediaPolicy,
    keys: Keys,
    /// Where the policy wants ICE.
    lite: Option<Box<Lite>>,
    description: Description,
    numbers: Numbers,
    exchange: Exchange,
    agreed: Option<Agreed>,
    /// The peer's last RTP and RTCP addresses that were none to hold by.
    reachable: Option<(SocketAddr, SocketAddr)>,
}

/// RFC 3264 §4, from our side.
enum Exchange {
    /// Nobody has offered, or the offer was withdrawn.
    Idle,
    /// Our offer is with the peer, answered or not.
    Offering(Arc<Ours>),
    /// The peer's offer is with us, answered or not.
    Answering {
        theirs: Arc<Audio>,
        slots: Vec<Slot>,
    },
}

/// What both said, and what follows from it.
struct Agreed {
    ours: Arc<Ours>,
    theirs: Arc<Audio>,
    /// Of the peer's codecs those that stand in both descriptions.
    sending: Vec<Codec>,
    rtcp_mux: bool,
    secured: Option<Box<Secured>>,
}

/// How packets are protected.
struct Secured {
    /// Of the lines that we said, the one that counts.
    line: CryptoLine,
    crypto: Crypto,
}

impl Anchor {
    /// The side of a new dialog whose media we receive at `address` and `port`, RTCP at the next port. Draws the keys.
    pub fn new(address: IpAddr, port: u16, policy: MediaPolicy, random: &mut Random) -> Self {
        let (first, others) = policy.suites.split_at(policy.suites.len().min(1));
        let (mut keys, session) = (Keys::draw(first, random), random.u32());
        keys.extend(Keys::draw(others, random));
        Self {
            lite: policy.ice.then(|| Box::new(Lite::new(random))),
            policy,
            keys,
            description: Description::new(address, port, session),
            numbers: Numbers::default(),
            exchange: Exchange::Idle,
            agreed: None,
            reachable: None,
        }
    }

    /// An offer of ours with what the policy allows of these codecs. Equal to what was sent last, it keeps its
    /// version; otherwise it counts one more (RFC 3264 §8). `ptime` in milliseconds, 20 if `None`.
    pub fn offer(
        &mut self,
        codecs: &[Codec],
        direction: Direction,
        ptime: Option<u16>,
    ) -> Result<Bytes, MediaError> {
        let codecs = self.numbers.assign(&self.policy.preferred(codecs));
        self.propose(codecs, direction, ptime.unwrap_or(PTIME))
    }

    /// An offer in a call whose other side speaks these: what the policy allows of them, and after that what we convert to
    /// and from them.
    pub fn offer_for(
        &mut self,
        partner: &[Codec],
        direction: Direction,
        ptime: Option<u16>,
    ) -> Result<Bytes, MediaError> {
        let mut codecs = self.policy.preferred(partner);
        let voices = codecs.iter().rposition(Codec::is_voice);
        let further = self.policy.preferred(&passage::further(partner));
        let end = voices.map_or(0, |last| last + 1);
        codecs.splice(end..end, further);
        let codecs = self.numbers.assign(&codecs);
        self.propose(codecs, direction, ptime.unwrap_or(PTIME))
    }

    /// Our last agreed description again as an offer: hold and resume differ in the direction only, a refresh in
    /// nothing (TDR-603, TDR-834).
    pub fn offer_again(&mut self, direction: Direction) -> Result<Bytes, MediaError> {
        let ours = self
            .agreed
            .as_ref()
            .map(|agreed| &agreed.ours)
            .ok_or(MediaError::NothingAgreed)?;
        self.propose(ours.codecs.clone(), direction, ours.ptime)
    }

    /// Reads and judges an offer of the peer's. Its codecs are left with what the policy allows. An error changes
    /// nothing: the offer is to be refused with 488, and what was agreed before still stands.
    pub fn accept_offer(&mut self, sdp: &[u8]) -> Result<Arc<Audio>, MediaError> {
        let description = SessionDescription::parse(Bytes::copy_from_slice(sdp))?;
        let mut refusal = None;
        for index in 0..description.media_count() {
            match self.judge(&description, index) {
                Ok(theirs) => {
                    let theirs = Arc::new(theirs);
                    let slots = description::slots(&description, index);
                    self.exchange = Exchange::Answering {
                        theirs: theirs.clone(),
                        slots,
                    };
                    return Ok(theirs);
                }
                // Other media are no reason, unless there is nothing else.
                Err(MediaError::Audio(AudioError::NotAudio)) => {}
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or(AudioError::NotAudio.into()))
    }

    /// Our answer to the last accepted offer: of these codecs those that were offered, in this order and under the
    /// offer's payload types; of this direction what the offer leaves (RFC 3264 §6.1). The same again is the same.
    pub fn answer(&mut self, codecs: &[Codec], direction: Direction) -> Result<Bytes, MediaError> {
        let Exchange::Answering { theirs, slots } = &self.exchange else {
            return Err(MediaError::NothingToAnswer);
        };
        let (theirs, slots) = (theirs.clone(), slots.clone());
        let codecs = intersect(codecs, &theirs.codecs);
        require_voice(&codecs)?;
        let lines = if theirs.is_secure() {
            let line = self.keys.choose(&theirs.crypto)?;
            Some((self.keys.answer(&self.policy, &line)?, line))
        } else {
            None
        };
        if let (Some(lite), Some(ice)) = (&mut self.lite, &theirs.ice) {
            lite.answering(&ice.credentials);
        }
        let ours = Arc::new(Ours {
            codecs,
            direction: direction.answering(theirs.direction),
            ptime: theirs.ptime.unwrap_or(PTIME),
            profile: theirs.profile,
            rtcp_mux: self.policy.rtcp_mux && theirs.rtcp_mux,
            ice: self.credentials(),
            crypto: lines.iter().map(|(ours, _)| ours.clone()).collect(),
        });
        self.description.set_slots(slots);
        let body = self.say(&ours);
        self.agree(ours, theirs, lines);
        Ok(body)
    }

    /// Our answer in a call whose other side speaks these: in a codec of theirs, or in one that we convert.
    pub fn answer_for(
        &mut self,
        partner: &[Codec],
        direction: Direction,
    ) -> Result<Bytes, MediaError> {
        let offered = match &self.exchange {
            Exchange::Answering { theirs, .. } => self.policy.preferred(&theirs.codecs),
            _ => Vec::new(),
        };
        self.answer(&passage::answerable(partner, &offered), direction)
    }

    /// Reads and judges an answer to our last offer. Its codecs are left with those that we offered. An error changes
    /// nothing.
    pub fn accept_answer(&mut self, sdp: &[u8]) -> Result<Arc<Audio>, MediaError> {
        let Exchange::Offering(ours) = &self.exchange else {
            return Err(MediaError::NothingOffered);
        };
        let ours = ours.clone();
        let description = SessionDescription::parse(Bytes::copy_from_slice(sdp))?;
        let mut theirs = Audio::read(&description, self.description.audio_index())?;
        match (ours.profile.is_secure(), theirs.is_secure()) {
            (true, false) => return Err(MediaError::SrtpRequired),
            (false, true) => return Err(MediaError::SrtpNotAllowed),
            _ => {}
        }
        self.require_family(&theirs)?;
        theirs
            .codecs
            .retain(|codec| codec.find_in(&ours.codecs).is_some());
        require_voice(&theirs.codecs)?;
        let lines = if ours.profile.is_secure() {
            Some(self.keys.accept(&theirs.crypto, &ours.crypto)?)
        } else {
            None
        };
        let theirs = Arc::new(theirs);
        self.agree(ours, theirs.clone(), lines);
        Ok(theirs)
    }

    /// Forgets an offer that one side refused (RFC 3261 §14.1): what was agreed before still stands.
    pub fn withdraw(&mut self) {
        self.exchange = Exchange::Idle;
    }

    /// What the relay must know of this leg, once something is agreed. The passage changes nothing, inactivity is not
    /// watched, and nobody is behind NAT anywhere: these need the other leg, the call's state, or the signalling.
    pub fn negotiated(&self) -> Option<LegConfig> {
        let Agreed {
            ours,
            theirs,
            rtcp_mux,
            secured,
            ..
        } = self.agreed.as_ref()?;
        // While the peer holds by address, RTCP still goes to where the peer was (RFC 3264 §8.4, TDR-815).
        let (remote_rtp, rtcp) = self.reachable.unwrap_or((theirs.rtp, theirs.rtcp));
        Some(LegConfig {
            remote_rtp,
            remote_rtcp: if *rtcp_mux { remote_rtp } else { rtcp },
            rtcp_mux: *rtcp_mux,
            crypto: secured.as_ref().map(|secured| secured.crypto.clone()),
            source: if self.policy.latch && !self.both_are_lite(theirs) {
                MediaSource::Latch(Vec::new())
            } else {
                MediaSource::Strict
            },
            passage: Arc::new(Passage::unchanged()),
            inactivity: None,
            receive: ours.direction.receives() && theirs.direction.sends(),
            send: ours.direction.sends() && theirs.wants_packets(),
        })
    }

    /// Our side of ICE, where the policy wants it: to be known to the relay as soon as a description of ours may be with
    /// the peer, and anew when something is agreed.
    pub fn ice(&self) -> Option<IceConfig> {
        self.lite.as_deref().map(Lite::config)
    }

    /// What the peer's offer has and the policy allows, answered or not; nothing if the last offer was ours.
    pub fn offered(&self) -> &[Codec] {
        match &self.exchange {
            Exchange::Answering { theirs, .. } => &theirs.codecs,
            Exchange::Idle | Exchange::Offering(_) => &[],
        }
    }

    /// What the peer last agreed to say of itself.
    pub fn remote(&self) -> Option<&Audio> {
        self.agreed.as_ref().map(|agreed| &*agreed.theirs)
    }

    /// Our agreed direction.
    pub fn direction(&self) -> Option<Direction> {
        self.agreed.as_ref().map(|agreed| agreed.ours.direction)
    }

    /// Agreed codecs under the numbers of packets that come from the peer: those of our description.
    pub fn receiving(&self) -> &[Codec] {
        self.agreed
            .as_ref()
            .map_or(&[], |agreed| &agreed.ours.codecs)
    }

    /// Agreed codecs under the numbers of packets that go to the peer: those of its description (RFC 3264 §6.1).
    pub fn sending(&self) -> &[Codec] {
        self.agreed.as_ref().map_or(&[], |agreed| &agreed.sending)
    }

    /// What becomes of packets that come from the other leg and go out to this one's peer.
    pub fn passage(&self, from: &Anchor) -> Passage {
        let (theirs, forms) = (from.receiving(), (from.policy.dtmf, self.policy.dtmf));
        let passage = Passage::between(theirs, self.sending()).with_keys(theirs, forms.0, forms.1);
        match (&self.agreed, &from.agreed) {
            (Some(peer), Some(partner)) => {
                let peer = &peer.theirs;
                passage.with_packets(partner.ours.ptime, peer.ptime, peer.max_ptime)
            }
            _ => passage,
        }
    }

    /// How keys of the peer are heard where it has no partner: telephone events if it agreed to them, else tones.
    pub fn ear(&self) -> Passage {
        let theirs = self.receiving();
        let partner = match self.has_events() {
            true => Dtmf::Events,
            false => Dtmf::Inband,
        };
        Passage::between(theirs, theirs).with_keys(theirs, partner, Dtmf::Info)
    }

    /// What a partner can be offered of a peer that takes these: telephone events, too, if we make them of its keys.
    pub fn spoken(&self, codecs: &[Codec]) -> Vec<Codec> {
        match self.policy.dtmf {
            Dtmf::Events => codecs.to_vec(),
            Dtmf::Info | Dtmf::Inband => passage::with_events(codecs),
        }
    }

    /// Whether telephone events were agreed on.
    pub fn has_events(&self) -> bool {
        let mut sending = self.sending().iter();
        sending.any(|codec| codec.name.eq_ignore_ascii_case("telephone-event"))
    }

    /// The last description that we sent; it holds our key.
    pub fn sent(&self) -> Option<&Bytes> {
        self.description.sent()
    }

    /// Where we receive.
    pub fn address(&self) -> IpAddr {
        self.description.address()
    }

    /// Where we receive RTP; RTCP is at the next port.
    pub fn port(&self) -> u16 {
        self.description.port()
    }

    fn propose(
        &mut self,
        codecs: Vec<Codec>,
        direction: Direction,
        ptime: u16,
    ) -> Result<Bytes, MediaError> {
        require_voice(&codecs)?;
        self.require_ice_address()?;
        let agreed = self.agreed.as_ref();
        let profile = agreed.map_or(self.policy.srtp.profile(), |agreed| agreed.ours.profile);
        let line = agreed.and_then(|agreed| agreed.secured.as_ref());
        let line = line.map(|secured| &secured.line);
        let ours = Arc::new(Ours {
            codecs,
            direction,
            ptime,
            profile,
            rtcp_mux: self.policy.rtcp_mux,
            ice: self.credentials(),
            crypto: if profile.is_secure() {
                self.keys.offer(&self.policy, line)
            } else {
                Vec::new()
            },
        });
        let body = self.say(&ours);
        self.exchange = Exchange::Offering(ours);
        Ok(body)
    }

    fn judge(&self, description: &SessionDescription, index: usize) -> Result<Audio, MediaError> {
        let mut theirs = Audio::read(description, index)?;
        self.policy.srtp.admit(theirs.profile)?;
        self.require_family(&theirs)?;
        if self.lite.is_some() {
            self.require_ice_address()?;
            require_candidates(theirs.ice.as_ref())?;
        }
        if theirs.is_secure() {
            self.keys.choose(&theirs.crypto)?;
        }
        theirs.codecs = self.policy.allowed(&theirs.codecs);
        require_voice(&theirs.codecs)?;
        Ok(theirs)
    }

    fn require_family(&self, theirs: &Audio) -> Result<(), MediaError> {
        let same = |theirs: SocketAddr| theirs.is_ipv4() == self.address().is_ipv4();
        let fits = theirs.held_by_address || (same(theirs.rtp) && same(theirs.rtcp));
        if fits {
            Ok(())
        } else {
            Err(MediaError::AddressFamily)
        }
    }

    fn say(&mut self, ours: &Ours) -> Bytes {
        self.numbers.remember(&ours.codecs);
        self.description.of(ours)
    }

    fn require_ice_address(&self) -> Result<(), MediaError> {
        if self.lite.is_some() && !self.address().is_ipv4() {
            return Err(MediaError::IceOverIpv6);
        }
        Ok(())
    }

    fn credentials(&self) -> Option<IceCredentials> {
        self.lite.as_ref().map(|lite| lite.ours().clone())
    }

    /// RFC 8445 §6.1.1: then nobody checks, and packets go to where the descriptions say (TDR-845).
    fn both_are_lite(&self, theirs: &Audio) -> bool {
        self.lite.is_some() && theirs.ice.as_ref().is_some_and(|ice| ice.lite)
    }

    /// The lines of `crypto` are ours and the peer's.
    fn agree(
        &mut self,
        ours: Arc<Ours>,
        theirs: Arc<Audio>,
        crypto: Option<(CryptoLine, CryptoLine)>,
    ) {
        if !theirs.held_by_address {
            self.reachable = Some((theirs.rtp, theirs.rtcp));
        }
        if let Some(lite) = &mut self.lite {
            lite.agreed(theirs.ice.as_ref());
        }
        let rtcp_mux = ours.rtcp_mux && theirs.rtcp_mux;
        let both = |codec: &&Codec| codec.find_in(&ours.codecs).is_some();
        self.agreed = Some(Agreed {
            sending: theirs.codecs.iter().filter(both).cloned().collect(),
            ours,
            theirs,
            rtcp_mux,
            secured: crypto.map(|(ours, theirs)| {
                let crypto = security::both(&ours, &theirs);
                Box::new(Secured { line: ours, crypto })
            }),
        });
    }
}

/// Shows neither keys nor descriptions.
impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anchor")
            .field("address", &self.address())
            .field("port", &self.port())
            .field("policy", &self.policy)
            .field("direction", &self.direction())
            .field("remote", &self.remote())
            .finish_non_exhaustive()
    }
}

/// A lite agent is found at its `c=` and `m=` lines (TDR-845).
fn require_candidates(theirs: Option<&Ice>) -> Result<(), MediaError> {
    if theirs.is_some_and(|ice| ice.has_candidates || ice.lite) {
        Ok(())
    } else {
        Err(MediaError::NoCandidates)
    }
}

fn require_voice(codecs: &[Codec]) -> Result<(), MediaError> {
    if codecs.iter().any(Codec::is_voice) {
        Ok(())
    } else {
        Err(MediaError::NoCodec)
    }
}

#[cfg(test)]
mod tests;
