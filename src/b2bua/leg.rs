//! One leg of a call: a dialog of ours with its media.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ipnet::IpNet;

use super::Report;
use super::body::{self, Location};
use super::core::Core;
use super::header_policy;
use super::moh::Referral;
use super::refusal::{Refusal, Towards};
use super::registrar::Reach;
use super::session_timer::SessionTimer;
use crate::audio::{Clip, Law, tones};
use crate::directory::{
    ChannelPermit, Dtmf, Gateway, Phone, Profile, Role, Srtp, SrtpSuite, Trunk, UdpToTcp,
};
use crate::media::{
    self, Anchor, Command, LegConfig, LegId, LegReport, MediaPolicy, MediaSource, Play, PortPair,
    Sound, SrtpPolicy, Suite,
};
use crate::sdp::{Codec, Direction};
use crate::sip::auth::{Credentials, Prover};
use crate::sip::{
    Builder, ClientKey, Dialog, Hop, Message, NextHop, Realm, ServerKey, Source, Transport,
};

/// Who is at the other end of a leg.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    /// Microsoft, for the customer that owns this gateway.
    Teams(Arc<Gateway>, Arc<Profile>),
    /// A PBX or carrier.
    Trunk(Arc<Trunk>),
    /// A desk telephone, and where it is.
    Phone(Arc<Phone>, Arc<Profile>, Reach),
}

impl Peer {
    pub fn realm(&self) -> Realm {
        match self {
            Self::Teams(..) => Realm::Teams,
            Self::Trunk(_) | Self::Phone(..) => Realm::Trunk,
        }
    }

    pub fn towards(&self) -> Towards {
        match self {
            Self::Teams(..) => Towards::Teams,
            Self::Trunk(trunk) if trunk.role == Role::Carrier => Towards::Carrier,
            Self::Trunk(_) | Self::Phone(..) => Towards::Pbx,
        }
    }

    pub fn profile(&self) -> &Profile {
        match self {
            Self::Teams(_, profile) | Self::Phone(_, profile, _) => profile,
            Self::Trunk(trunk) => &trunk.profile,
        }
    }

    /// In which form it has keys; Teams has telephone events only (TDR-813).
    pub fn dtmf(&self) -> Dtmf {
        match self {
            Self::Teams(..) => Dtmf::Rfc4733,
            Self::Trunk(_) | Self::Phone(..) => self.profile().dtmf,
        }
    }

    /// As records and traces name it.
    pub fn name(&self) -> &str {
        match self {
            Self::Teams(gateway, _) => &gateway.fqdn,
            Self::Trunk(trunk) => &trunk.name,
            Self::Phone(phone, ..) => &phone.auth_user,
        }
    }

    /// As metrics name it: there are too many telephones for a series each.
    pub fn label(&self) -> String {
        match self {
            Self::Phone(..) => PHONES.to_owned(),
            Self::Teams(..) | Self::Trunk(_) => self.name().to_owned(),
        }
    }

    /// Who we are to it, if it asks.
    pub fn credentials(&self) -> Option<Credentials> {
        let (username, password) = match self {
            Self::Teams(..) => return None,
            Self::Trunk(trunk) => (trunk.username.as_deref()?, trunk.password.as_ref()?),
            Self::Phone(phone, ..) => (&*phone.auth_user, &phone.password),
        };
        Some(Credentials {
            username: username.to_owned(),
            password: password.expose().to_owned(),
        })
    }

    /// Whether whom it puts on hold by `sendonly` hears music of its own (TDR-602).
    pub fn brings_music(&self) -> bool {
        matches!(self, Self::Trunk(_))
    }

    /// Whether it is the telephone that registers by this name.
    pub fn is_phone(&self, name: &str) -> bool {
        matches!(self, Self::Phone(phone, ..) if *phone.auth_user == *name)
    }

    /// Its requests come from elsewhere now.
    pub fn follow(&mut self, source: &Source) {
        if let Self::Phone(.., reach) = self {
            reach.follow(source);
        }
    }

    pub fn is_teams(&self) -> bool {
        matches!(self, Self::Teams(..))
    }

    /// Whether media goes past Microsoft's media processors (TDR-801): ICE on our side, and no session timer (TDR-512).
    pub fn bypasses_media(&self) -> bool {
        matches!(self, Self::Teams(gateway, _) if gateway.media_bypass)
    }

    /// How a request reaches it by this hop.
    pub fn next_hop(&self, hop: Hop) -> NextHop {
        match (self, self.profile().udp_to_tcp) {
            (Self::Phone(.., reach), _) => reach.next_hop(),
            (_, UdpToTcp::WhenLarge) => NextHop::BySize(hop),
            (_, UdpToTcp::Never) => NextHop::Hop(hop),
        }
    }

    /// Why a call fails that it does not answer: a registered telephone that is silent is switched off.
    pub fn unanswered(&self, why: Refusal) -> Refusal {
        match self {
            Self::Phone(..) => Refusal::PhoneOffline,
            Self::Teams(..) | Self::Trunk(_) => why,
        }
    }

    /// How an ACK reaches it.
    pub fn way(&self, hop: Hop) -> NextHop {
        match self {
            Self::Phone(.., reach) => reach.next_hop(),
            Self::Teams(..) | Self::Trunk(_) => NextHop::Hop(hop),
        }
    }

    /// Tells of a request to it that a datagram should not carry and will.
    pub fn tell_large(&self, core: &mut Core, hop: &Hop, draft: &Builder) {
        let stays = self.profile().udp_to_tcp == UdpToTcp::Never;
        let by_udp = !matches!(hop.transport, Some(Transport::Tcp | Transport::Tls));
        if stays && by_udp && core.endpoint.is_large(draft) {
            let trunk = self.label();
            core.report(Report::LargeDatagram { trunk });
        }
    }

    pub fn trunk(&self) -> Option<&Arc<Trunk>> {
        match self {
            Self::Teams(..) | Self::Phone(..) => None,
            Self::Trunk(trunk) => Some(trunk),
        }
    }
}

/// All telephones in metrics.
pub(super) const PHONES: &str = "phones";

/// Whose place a leg has in its call: who takes over a leg's conversation takes its side too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The caller's.
    A,
    /// The called party's.
    B,
}

/// Where a leg stands. A state is not an event: what arrives and changes nothing here is not a state.
#[derive(Debug)]
pub(super) enum State {
    /// The peer's INVITE waits for our final response.
    Incoming { invite: ServerKey },
    /// Our 2xx is out, the ACK is not in. RFC 3261 §15: no BYE of ours before it is, so one may be owed.
    Accepted { owes_bye: Option<ByeReason> },
    /// Our INVITE is out.
    Calling { invite: ClientKey, rang: bool },
    /// Our INVITE is cancelled; a 2xx that comes all the same is acknowledged and ended with BYE.
    Cancelling,
    /// Both sides agree that there is a call.
    Confirmed,
    /// Our BYE is out.
    Leaving,
    /// Nothing more is to come.
    Ended,
}

/// What a BYE or CANCEL of ours says in its Reason header.
pub(super) type ByeReason = Option<Bytes>;

/// The offer/answer exchange that runs on a confirmed dialog; at most one (RFC 3264 §4).
#[derive(Debug, Default)]
pub(super) enum Exchange {
    #[default]
    Idle,
    /// The peer's re-INVITE or UPDATE waits until the other leg has agreed to the codecs.
    TheirsWaits {
        request: ServerKey,
        message: Box<Message>,
    },
    /// We offered in a 2xx; the answer comes in the ACK.
    AnswerDueInAck,
    /// Our re-INVITE is out.
    Ours,
    /// Our re-INVITE met theirs (491); it goes out again at `again` (RFC 3261 §14.1).
    Glare { again: Instant, reinvite: Reinvite },
}

/// Why we send a re-INVITE.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reinvite {
    pub why: ReinviteReason,
    /// Other codecs than those agreed on.
    pub codecs: Option<Vec<Codec>>,
    pub direction: Direction,
    /// How often it met a 491.
    pub glares: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReinviteReason {
    /// The session timer, with an unchanged description.
    Refresh,
    /// The other leg's peer holds or resumes, and this peer is to know (`pbx_moh`).
    Hold,
    /// The other leg's peer wants codecs that this leg has not agreed on.
    Codecs,
}

/// A request of ours whose answer is awaited.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    Invite,
    Reinvite(Reinvite),
    Bye(ByeReason),
    /// To the peer's own music.
    Refer,
    Notify {
        body: Bytes,
        last: bool,
    },
    /// A key, in this body.
    Info(Bytes),
    /// In the early dialog of this tag.
    Prack {
        tag: String,
        rack: String,
    },
}

/// An INVITE of ours, kept whole so that it can be sent again with credentials or another session interval.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub uri: String,
    pub from: Vec<u8>,
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
    pub max_forwards: u8,
    pub hop: Hop,
    pub sdp: Bytes,
    /// The message as sent last, with what a dialog is made from and no more.
    pub sent: Option<Box<Message>>,
    /// What we ask for (RFC 4028).
    pub session_expires: Option<u32>,
    /// What else crosses from the other leg's INVITE, by the header policy.
    pub crossing: header_policy::Crossing,
    /// Where the caller is, towards a peer that takes that.
    pub location: Option<Location>,
    pub referred_by: Option<Bytes>,
    /// The dialog at a PBX that this call is to replace there; never at Teams (TDR-412).
    pub replaces: Option<String>,
}

#[derive(Debug)]
pub(super) struct Leg {
    pub id: LegId,
    pub peer: Peer,
    pub side: Side,
    pub state: State,
    /// Our tag in every dialog of this leg.
    pub local_tag: String,
    pub dialog: Option<Dialog>,
    /// Dialogs that provisional responses opened (RFC 3261 §12.1.2), until a 2xx chooses.
    pub early: Vec<Dialog>,
    /// By the tags of early dialogs, the RSeq that was acknowledged last.
    pub rseqs: Vec<(String, u32)>,
    /// Our provisional responses to the peer's INVITE are reliable.
    pub reliable: bool,
    /// Boxed: a caller's leg has none.
    pub outgoing: Option<Box<Outgoing>>,
    /// The value of Contact in all that we send on this leg.
    pub contact: String,
    pub anchor: Anchor,
    pub ports: PortPair,
    /// What the peer does with media, by its last description.
    pub direction: Direction,
    /// What we last told the peer of its partner: on hold, or not.
    pub told: Direction,
    pub session: SessionTimer,
    pub exchange: Exchange,
    /// Keys that the peer is to be told of by INFO, and for how long each was pressed.
    pub keys: VecDeque<(char, Duration)>,
    /// Our requests that are not done with; an INVITE of ours stays, for its forks.
    pub pending: Vec<(ClientKey, Purpose)>,
    /// INVITEs of the peer that may yet be cancelled or lack an ACK.
    pub invites: Vec<ServerKey>,
    /// The digest challenges that this peer sent last; credentials go into all later requests.
    pub prover: Prover,
    /// The address that the dialog's requests come from, besides what the directory says of the peer.
    pub remote: Option<IpAddr>,
    /// Where the peer's first message came from, a response too.
    pub heard_from: Option<IpAddr>,
    /// Who is at this end, as the other end's caller identity.
    pub party: String,
    /// The Event of our NOTIFYs about the peer's last REFER; none if it sent none, or wants none (RFC 4488).
    pub event: Option<String>,
    /// Whether the peer sent a REFER: NOTIFYs about further ones say which they are about (RFC 3515 §2.4.6).
    pub referred: bool,
    /// Its partner was handed on as it asked for; if it has not left by then, we say BYE (TDR-708).
    pub leave_by: Option<Instant>,
    /// The trunk's channel, if the peer is one.
    pub permit: Option<ChannelPermit>,
    /// The peer's INVITE, while it is unanswered: each response is made from it.
    pub incoming: Option<Box<Message>>,
    /// The peer's INVITE had no offer: ours is in the 2xx, and the answer in the ACK.
    pub late_offer: bool,
    /// Session-Expires of the next 2xx.
    pub session_expires: Option<String>,
    /// How far the peer was brought to play its own music by REFER.
    pub referral: Referral,
    /// Until the relay has reported on this leg.
    pub media_open: bool,
    /// The relay was told to close it.
    pub media_closing: bool,
    pub report: Option<Box<LegReport>>,
    /// What went through it before it moved here from another call.
    pub counted: Option<Box<LegReport>>,
    /// What went through it when somebody last asked.
    pub latest: Option<Box<LegReport>>,
}

/// Dialogs that forks of one INVITE may open.
const MAX_EARLY_DIALOGS: usize = 16;

impl Leg {
    /// A leg with ports and an anchor; nothing is open yet.
    pub fn new(
        core: &mut Core,
        peer: Peer,
        local_tag: String,
        user: &str,
        transport: Transport,
    ) -> Result<Self, Refusal> {
        let ports = core
            .ports
            .take(core.now)
            .ok_or(Refusal::Overloaded("media ports"))?;
        let profile = peer.profile();
        let policy = MediaPolicy {
            srtp: match profile.srtp {
                Srtp::Required => SrtpPolicy::Required,
                Srtp::Optional => SrtpPolicy::Optional,
                Srtp::Never => SrtpPolicy::Never,
            },
            suites: profile.srtp_suites.iter().copied().map(suite).collect(),
            rtcp_mux: profile.rtcp_mux,
            codecs: profile.codecs.clone(),
            latch: profile.latch,
            ice: peer.bypasses_media(),
            dtmf: match peer.dtmf() {
                Dtmf::Rfc4733 => media::Dtmf::Events,
                Dtmf::Info => media::Dtmf::Info,
                Dtmf::Inband => media::Dtmf::Inband,
            },
            lifetime: profile.srtp_lifetime,
        };
        let anchor = Anchor::new(
            core.config.advertised_address,
            ports.rtp(),
            policy,
            &mut core.random,
        );
        Ok(Self {
            id: core.new_leg_id(),
            side: Side::B,
            contact: core.contact(&peer, user, transport),
            state: State::Ended,
            local_tag,
            dialog: None,
            early: Vec::new(),
            rseqs: Vec::new(),
            reliable: false,
            outgoing: None,
            incoming: None,
            anchor,
            ports,
            direction: Direction::SendRecv,
            told: Direction::SendRecv,
            session: SessionTimer::default(),
            session_expires: None,
            exchange: Default::default(),
            late_offer: false,
            keys: VecDeque::new(),
            pending: Vec::new(),
            invites: Vec::new(),
            prover: Prover::default(),
            remote: None,
            heard_from: None,
            party: String::new(),
            event: None,
            referred: false,
            leave_by: None,
            permit: None,
            referral: Referral::default(),
            media_open: false,
            media_closing: false,
            report: None,
            counted: None,
            latest: None,
            peer,
        })
    }

    /// A leg for a peer's INVITE outside a dialog, with its offer judged; nothing is open or answered yet.
    pub fn incoming(
        core: &mut Core,
        peer: Peer,
        key: ServerKey,
        message: &Message,
        source: &Source,
        local_tag: &str,
        user: &str,
    ) -> Result<Self, Refusal> {
        let mut leg = Self::new(core, peer, local_tag.to_owned(), user, source.transport)?;
        leg.remote = Some(source.remote.ip());
        leg.heard_from = leg.remote;
        leg.state = State::Incoming { invite: key };
        leg.incoming = Some(Box::new(message.clone()));
        let dialog = Dialog::uas(message, local_tag);
        leg.dialog = Some(dialog.map_err(|e| Refusal::Malformed(e.to_string()))?);
        leg.reliable = leg.peer.wants_reliable(message);
        if let Some(offer) = body::offer(message)? {
            let offer = leg.anchor.accept_offer(&offer);
            let offer = offer.map_err(Refusal::Media)?;
            leg.direction = offer.effective_direction();
        } else {
            leg.late_offer = true;
        }
        let least = leg.peer.profile().min_se_s;
        let expires = leg.session.answer(message, least, core.now);
        leg.session_expires = expires.map_err(|()| Refusal::IntervalTooSmall)?;
        Ok(leg)
    }

    /// Has the relay bind this leg's ports.
    pub fn open_media(&mut self, core: &mut Core) {
        self.media_open = true;
        core.media(Command::Open {
            leg: self.id,
            address: core.config.media_address,
            port: self.ports.rtp(),
        });
        self.announce_ice(core);
    }

    /// Has the relay answer the peer's connectivity checks, under the credentials that our descriptions now hold.
    pub fn announce_ice(&self, core: &mut Core) {
        if let Some(config) = self.anchor.ice() {
            core.media(Command::Ice {
                leg: self.id,
                config: Box::new(config),
            });
        }
    }

    /// Whether the peer takes part in the call, or still may.
    pub fn is_alive(&self) -> bool {
        !matches!(
            self.state,
            State::Leaving | State::Ended | State::Cancelling
        )
    }

    pub fn is_confirmed(&self) -> bool {
        matches!(
            self.state,
            State::Accepted { owes_bye: None, .. } | State::Confirmed
        )
    }

    /// Whether a request from `source` may belong to this leg's dialogs: tags can be overheard, so the peer must be
    /// the leg's peer too (TDR-140: any connection of Teams will do).
    pub fn may_come_from(&self, source: &Source) -> bool {
        match &self.peer {
            Peer::Teams(..) => source
                .certificate
                .as_ref()
                .is_some_and(|c| c.realm == Realm::Teams),
            Peer::Phone(..) => self.heard_from == Some(source.remote.ip()),
            Peer::Trunk(trunk) => {
                self.remote == Some(source.remote.ip())
                    || trunk
                        .acl
                        .iter()
                        .any(|net| net.contains(&source.remote.ip().to_canonical()))
            }
        }
    }

    /// What the relay must know of this leg by itself.
    pub fn media_config(&self) -> Option<LegConfig> {
        let mut config = self.anchor.negotiated()?;
        if let MediaSource::Latch(networks) = &mut config.source {
            *networks = self.networks();
        }
        Some(config)
    }

    /// Where a peer behind NAT may send media from: from where its signalling comes.
    fn networks(&self) -> Vec<IpNet> {
        let acl = self.peer.trunk().map_or(&[][..], |trunk| &trunk.acl);
        let heard = self.heard_from.map(|ip| IpNet::from(ip.to_canonical()));
        heard.into_iter().chain(acl.iter().copied()).collect()
    }

    /// Remembers the dialog that a provisional response opens or continues.
    pub fn early_dialog(&mut self, response: &Message) {
        let (Some(outgoing), Some(tag)) = (&self.outgoing, response.to_tag()) else {
            return;
        };
        let Some(sent) = &outgoing.sent else { return };
        if self
            .early
            .iter()
            .any(|d| d.id().remote_tag.as_deref() == Some(tag))
            || self.early.len() == MAX_EARLY_DIALOGS
        {
            return;
        }
        if let Ok(dialog) = Dialog::uac(sent, response) {
            self.early.push(dialog);
        }
    }

    pub fn purpose(&self, key: ClientKey) -> Option<&Purpose> {
        self.pending.iter().find(|(k, _)| *k == key).map(|(_, p)| p)
    }

    /// A request of ours has its final response, or gets none.
    pub fn done(&mut self, core: &mut Core, key: ClientKey) {
        core.clients.remove(&key);
        self.pending.retain(|(k, _)| *k != key);
    }

    /// When this leg wants to hear of the time.
    pub fn deadline(&self) -> Option<Instant> {
        let glare = match self.exchange {
            Exchange::Glare { again, .. } => Some(again),
            _ => None,
        };
        let session = self
            .is_confirmed()
            .then(|| self.session.deadline())
            .flatten();
        let leave = self.leave_by.filter(|_| self.is_confirmed());
        [glare, session, leave].into_iter().flatten().min()
    }

    /// What can be sent to this leg's peer: agreed on, or else what it offered.
    pub fn codecs(&self) -> &[Codec] {
        if self.anchor.remote().is_some() {
            self.anchor.sending()
        } else {
            self.anchor.offered()
        }
    }

    /// The same as its partner may be offered it.
    pub fn spoken(&self) -> Vec<Codec> {
        self.anchor.spoken(self.codecs())
    }

    /// What this leg's peer said last that it takes, of which less may have been agreed on.
    pub fn takes(&self) -> &[Codec] {
        self.anchor
            .remote()
            .map_or(self.anchor.offered(), |audio| &audio.codecs)
    }

    /// The name of the voice that was agreed on.
    pub fn voice(&self) -> Option<String> {
        let sending = self.anchor.sending();
        let both = |codec: &&Codec| codec.is_voice() && codec.find_in(sending).is_some();
        let voice = self.anchor.receiving().iter().find(both);
        voice.map(|codec| codec.name.to_string())
    }

    /// The SRTP suite that was agreed on (RFC 4568 §6.2), if any.
    pub fn srtp(&self) -> Option<&'static str> {
        let config = self.anchor.negotiated()?;
        config.crypto.map(|crypto| crypto.suite.name())
    }

    /// The session interval that we ask for. On media bypass Teams has none (TDR-512).
    pub fn session_expires_s(&self) -> Option<u32> {
        let profile = self.peer.profile();
        profile
            .session_expires_s
            .filter(|_| !self.peer.bypasses_media())
    }

    /// How a sound is played to this leg's peer, if it takes a codec in which we have sounds.
    pub fn playing(&self, sound: Sound, clip: Arc<Clip>) -> Option<Play> {
        let (law, payload_type) = self.codecs().iter().find_map(|codec| {
            match (codec.name.to_ascii_uppercase().as_str(), codec.clock) {
                ("PCMA", 8000) => Some((Law::A, codec.payload_type)),
                ("PCMU", 8000) => Some((Law::Mu, codec.payload_type)),
                _ => None,
            }
        })?;
        Some(Play {
            sound,
            clip,
            law,
            payload_type,
        })
    }

    /// How ringback is played to this leg's peer, on the same condition.
    pub fn ringback(&self) -> Option<Play> {
        let country = self.peer.profile().tone_country.as_deref();
        self.playing(Sound::Ringback, tones::ringback(country))
    }
}

fn suite(named: SrtpSuite) -> Suite {
    match named {
        SrtpSuite::AesCm128HmacSha1_80 => Suite::AesCm128HmacSha1_80,
        SrtpSuite::AesCm128HmacSha1_32 => Suite::AesCm128HmacSha1_32,
        SrtpSuite::AesCm256HmacSha1_80 => Suite::AesCm256HmacSha1_80,
        SrtpSuite::AeadAes128Gcm => Suite::AeadAes128Gcm,
        SrtpSuite::AeadAes256Gcm => Suite::AeadAes256Gcm,
    }
}

/// RFC 3261 §14.1: how long to wait after a 491, by who made the Call-ID. `random` is any number.
pub(super) fn glare_delay(owner: bool, random: u32) -> Duration {
    let (from, span) = if owner { (2100, 1900) } else { (0, 2000) };
    Duration::from_millis(from + u64::from(random) % (span / 10 + 1) * 10)
}
