use super::Passage;
use crate::audio::music::music;
use crate::audio::{Clip, Law};
use crate::sdp::{IceCredentials, MasterKey, Suite};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// One leg's media at the relay. Drawn by the control plane, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

/// What the control plane tells the relay. Commands take effect in order.
#[derive(Debug, Clone)]
pub enum Command {
    /// Bind `port` for RTP and `port + 1` for RTCP at this address of ours. Nothing is accepted or sent yet.
    Open {
        /// The new leg.
        leg: LegId,
        /// Our address.
        address: IpAddr,
        /// An even port; the next one is the RTCP port.
        port: u16,
    },
    /// Set or replace what was negotiated with the leg's peer.
    Configure {
        /// An open leg.
        leg: LegId,
        /// All of it; what is equal to before keeps its state (rollover counter, locked source: TDR-834).
        config: Box<LegConfig>,
    },
    /// Set or replace our side of ICE: from now on connectivity checks are answered, whether or not anything was
    /// negotiated yet.
    Ice {
        /// An open leg.
        leg: LegId,
        /// Equal to before it changes nothing; new credentials of ours begin anew (RFC 8445 §9).
        config: Box<IceConfig>,
    },
    /// What arrives on either leg goes out on the other. Each leg has at most one such partner; connecting takes both
    /// away from earlier partners. `None` takes the leg's partner away.
    Connect {
        /// An open leg.
        leg: LegId,
        /// Another open leg.
        with: Option<LegId>,
    },
    /// Send a sound to this leg's peer in place of the partner's packets; `None` ends it.
    Play {
        /// An open leg.
        leg: LegId,
        /// What.
        play: Option<Play>,
    },
    /// Send a key to this leg's peer, after those that wait: in telephone events (RFC 4733), or in tones, as the leg's
    /// [`LegConfig::passage`] has it.
    Dial {
        /// An open leg.
        leg: LegId,
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        key: char,
        /// For how long it is pressed.
        duration: Duration,
    },
    /// Hear which keys the leg's own peer presses, as this passage has them; each is told by [`Event::Key`] of the same leg.
    /// It needs no partner.
    Listen {
        /// An open leg.
        leg: LegId,
        /// From the peer to us.
        passage: Arc<Passage>,
    },
    /// Tell what went through the leg so far; the answer is [`Event::Counted`].
    Count {
        /// An open leg.
        leg: LegId,
    },
    /// Close the leg's sockets; the answer is [`Event::Closed`].
    Close {
        /// An open leg.
        leg: LegId,
    },
}

impl Command {
    /// Whom it is about.
    pub fn leg(&self) -> LegId {
        match self {
            Self::Open { leg, .. }
            | Self::Configure { leg, .. }
            | Self::Ice { leg, .. }
            | Self::Connect { leg, .. }
            | Self::Play { leg, .. }
            | Self::Dial { leg, .. }
            | Self::Listen { leg, .. }
            | Self::Count { leg }
            | Self::Close { leg } => *leg,
        }
    }
}

/// Sound for one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Play {
    /// What it is.
    pub sound: Sound,
    /// How it sounds; all who listen share it.
    pub clip: Arc<Clip>,
    /// In which law it is sent.
    pub law: Law,
    /// The payload type that means this law (usually 8 for A, 0 for µ).
    pub payload_type: u8,
}

/// What a sound means to who hears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// Music on hold, over and over.
    Music,
    /// The tone that tells of ringing, over and over.
    Ringback,
    /// Why a call is refused.
    Announcement,
}

impl Play {
    /// The built-in music.
    pub fn music(law: Law, payload_type: u8) -> Self {
        Self {
            sound: Sound::Music,
            clip: music(),
            law,
            payload_type,
        }
    }

    /// Whether this is the same piece, in whatever law.
    pub fn continues(&self, other: &Self) -> bool {
        self.sound == other.sound && Arc::ptr_eq(&self.clip, &other.clip)
    }
}

/// What was negotiated with the peer of one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegConfig {
    /// Where the peer wants RTP, by its session description.
    pub remote_rtp: SocketAddr,
    /// Where the peer wants RTCP; equal to `remote_rtp` if multiplexed.
    pub remote_rtcp: SocketAddr,
    /// RFC 5761, as negotiated: RTCP travels on the RTP port, both ways.
    pub rtcp_mux: bool,
    /// SDES, or none for plain RTP.
    pub crypto: Option<Crypto>,
    /// Whether packets may come from elsewhere than `remote_rtp` says.
    pub source: Source,
    /// What becomes of the partner's packets on their way to this peer.
    pub passage: Arc<Passage>,
    /// Report [`Event::Inactive`] once after so long without a valid packet, unless the last one was comfort noise; `None`
    /// never does (held, or disabled).
    pub inactivity: Option<Duration>,
    /// Whether the peer may send now; when false its packets are received and counted but not forwarded.
    pub receive: bool,
    /// Whether the peer wants packets now; when false nothing but RTCP is sent.
    pub send: bool,
}

/// Our side of ICE on one leg, as a lite agent (RFC 8445 §2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceConfig {
    /// Checks must know these.
    pub ours: IceCredentials,
    /// Of the fork that was chosen, or of the only peer: packets go to where its checks came from. `None` while nothing
    /// is agreed: every fork's checks are answered and remembered (TDR-842).
    pub remote_ufrag: Option<String>,
}

/// Rule for the source of a leg's packets. Without SRTP a source moves once for each time that the leg is configured, and
/// always back to where the peer signalled; with SRTP whenever another one authenticates. It never moves before the one
/// before was silent for two seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Plain RTP: only from the signalled IP address, and from one port at a time; on SRTP, from the first source that
    /// authenticates. Packets go where the peer signalled.
    Strict,
    /// The peer may be behind NAT: the first packet that authenticates decides. Plain RTP proves nothing: it may come from
    /// these networks, from which the peer's signalling is known to come, and from the signalled IP address, which wins
    /// over any other. Packets go to where the peer was heard.
    Latch(Vec<IpNet>),
}

/// Both directions of SRTP on one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// Suite of both directions.
    pub suite: Suite,
    /// The peer's key: packets from it are checked with this.
    pub receive: MasterKey,
    /// Bytes of MKI that the peer appends before the tag, to be stripped (0: none).
    pub receive_mki_length: u8,
    /// Our key: packets to the peer are made with this.
    pub send: MasterKey,
    /// MKI appended to what we send, if the peer's line had one and we chose it.
    pub send_mki: Vec<u8>,
}

/// What the relay tells the control plane.
#[derive(Debug, Clone)]
pub enum Event {
    /// The leg could not be opened; its ports should be left alone for a while.
    Failed {
        /// Which.
        leg: LegId,
        /// The operating system's words.
        reason: String,
    },
    /// The first valid RTP packet from the peer arrived.
    Flowing {
        /// Which.
        leg: LegId,
    },
    /// No valid packet, RTP or RTCP, for the configured time. Told again only after the peer was heard again.
    Inactive {
        /// Which.
        leg: LegId,
    },
    /// The partner pressed a key, of which this leg's peer is to be told by other means than its media.
    Key {
        /// Whose peer is to be told.
        leg: LegId,
        /// As in [`Command::Dial`].
        key: char,
        /// For how long it was pressed.
        duration: Duration,
    },
    /// What went through a leg so far, on [`Command::Count`].
    Counted {
        /// Which.
        leg: LegId,
        /// Not the last word.
        report: Box<LegReport>,
    },
    /// The peer stopped consenting to our packets (RFC 7675): the path that it nominated is dead.
    ConsentLost {
        /// Which.
        leg: LegId,
        /// What was missing, where and for how long.
        reason: String,
    },
    /// The last word on a leg.
    Closed {
        /// Which.
        leg: LegId,
        /// What went through it.
        report: Box<LegReport>,
    },
}

/// What went through a leg, for the CDR and metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LegReport {
    /// Valid RTP packets from the peer.
    pub received: u64,
    /// RTP packets sent to the peer.
    pub sent: u64,
    /// Packets from the peer that never came, by sequence numbers (RFC 3550 A.3).
    pub lost: u64,
    /// RFC 3550 A.8, in units of the RTP clock.
    pub jitter: u32,
    /// Packets with a wrong SRTP or SRTCP tag.
    pub authentication_failures: u64,
    /// SRTP or SRTCP packets seen before.
    pub replayed: u64,
    /// Packets from an address that may not send on this leg.
    pub wrong_source: u64,
    /// Packets that were neither RTP nor RTCP, too short or too long.
    pub malformed: u64,
    /// Most packets from the peer that were missing in a row.
    pub longest_gap: u64,
    /// Valid compound RTCP packets from the peer.
    pub reports: u64,
    /// Packets that the peer says never reached it.
    pub lost_there: u64,
    /// From us to the peer and back, by its last report (RFC 3550 §6.4.1).
    pub round_trip: Option<Duration>,
    /// Packets with a wrong tag since the last valid one.
    pub failing: u64,
    /// Whether the peer ceased to consent to our packets (RFC 7675).
    pub consent_lost: bool,
}
