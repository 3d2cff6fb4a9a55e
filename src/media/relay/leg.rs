use super::convert::Converter;
use super::counters::{Counters, Dropped};
use super::ice::{Agent, Ignored};
use super::keypad::{Keypad, Pressed};
use super::player::Player;
use super::quality::Quality;
use super::repack::Repacker;
use super::source::{Lock, Rule};
use super::streams::Streams;
use super::{Forward, Kind};
use crate::base::Random;
use crate::media::{
    Crypto, Fate, IceConfig, LegConfig, LegId, LegReport, MediaSource, Passage, Play, Suite,
};
use crate::rtp::packet::{self, HEADER, Header};
use crate::rtp::rtcp::{self, SenderReport};
use crate::rtp::srtp::{self, Receiver, Sender, SrtpError};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A peer hears RTCP about this often, from the other leg or from us (RFC 3550 §6.2, TDR-815).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// The payload type of comfort noise (RFC 3551 table 4).
const COMFORT_NOISE: u8 = 13;

/// A valid packet, plain now: its kind and length.
pub(super) struct Arrived {
    pub(super) kind: Kind,
    pub(super) length: usize,
    /// The first RTP packet of the leg.
    pub(super) first: bool,
    /// The peer sends from elsewhere than before.
    pub(super) moved: bool,
}

/// Where a peer's own keys are heard, which no partner is told of.
struct Ear {
    passage: Passage,
    keypad: Keypad,
}

/// One leg's media.
pub(super) struct Leg {
    id: LegId,
    pub(super) partner: Option<LegId>,
    config: Option<LegConfig>,
    /// Where the partner's voice is not what the peer takes.
    converter: Option<Box<Converter>>,
    /// Where keys reach the peer in another form than the partner gives them.
    keypad: Option<Box<Keypad>>,
    /// Where the peer's own keys are heard.
    ear: Option<Box<Ear>>,
    /// Where the peer wants its voice in other packets.
    repacker: Option<Box<Repacker>>,
    /// Boxed, as all that not every leg has.
    receiver: Option<Box<Receiver>>,
    sender: Option<Box<Sender>>,
    ice: Option<Box<Agent>>,
    rtp_lock: Lock,
    rtcp_lock: Lock,
    streams: Streams,
    player: Player,
    quality: Quality,
    flowing: bool,
    /// When the peer was last heard, or began to be expected.
    alive: Instant,
    inactive: bool,
    /// What the peer sent last was comfort noise: it says that it will be silent (RFC 3389 §4).
    suppresses: bool,
    /// When our next RTCP is due, and when the partner's last went out.
    report_due: Instant,
    partner_report: Option<Instant>,
    /// Our canonical name towards this peer (RFC 7022 §4.2).
    name: String,
}

impl Leg {
    pub(super) fn new(id: LegId, random: &mut Random, now: Instant) -> Self {
        Self {
            id,
            partner: None,
            config: None,
            converter: None,
            keypad: None,
            ear: None,
            repacker: None,
            receiver: None,
            sender: None,
            ice: None,
            rtp_lock: Lock::default(),
            rtcp_lock: Lock::default(),
            streams: Streams::default(),
            player: Player::new(random),
            quality: Quality::default(),
            flowing: false,
            alive: now,
            inactive: false,
            suppresses: false,
            report_due: now + REPORT_INTERVAL / 2,
            partner_report: None,
            name: random.token(20),
        }
    }

    pub(super) fn id(&self) -> LegId {
        self.id
    }

    /// Takes what was negotiated; what equals the configuration before keeps its state (TDR-834).
    pub(super) fn configure(&mut self, config: LegConfig, now: Instant) {
        let old = self.config.as_ref();
        let receives = |crypto: &Crypto| {
            (
                crypto.suite,
                crypto.receive.clone(),
                crypto.receive_mki_length,
            )
        };
        let sends = |crypto: &Crypto| (crypto.suite, crypto.send.clone(), crypto.send_mki.clone());
        let (before, after) = (
            old.and_then(|old| old.crypto.as_ref()),
            config.crypto.as_ref(),
        );

        let same_receiver = before.map(receives) == after.map(receives);
        if !same_receiver {
            let receiver =
                |c: &Crypto| Receiver::new(suite(c), c.receive.padded(), c.receive_mki_length);
            self.receiver = after.map(receiver).map(Box::new);
        }
        if before.map(sends) != after.map(sends) {
            let sender = |c: &Crypto| Sender::new(suite(c), c.send.padded(), &c.send_mki);
            self.sender = after.map(sender).map(Box::new);
        }
        let place = |c: &LegConfig| (c.remote_rtp, c.remote_rtcp, c.rtcp_mux, c.source.clone());
        if !same_receiver || old.map(place) != Some(place(&config)) {
            (self.rtp_lock, self.rtcp_lock) = (Lock::default(), Lock::default());
        }
        self.rtp_lock.renew();
        self.rtcp_lock.renew();
        self.streams.clear();
        if old.map(|old| old.inactivity) != Some(config.inactivity) {
            (self.alive, self.inactive) = (now, false);
        }
        if old.map(|old| &old.passage) != Some(&config.passage) {
            self.converter = Converter::of(&config.passage);
            self.repacker = Repacker::of(&config.passage);
            let mut before = self.keypad.take();
            let dials = before.as_ref().is_some_and(|before| before.is_dialling());
            if dials || config.passage.changes_keys() {
                let keypad = Keypad::of(&config.passage, before.as_deref_mut());
                self.keypad = Some(Box::new(keypad));
            }
        }
        self.config = Some(config);
    }

    /// Takes our side of ICE; whether that makes it begin anew.
    pub(super) fn configure_ice(&mut self, config: IceConfig, now: Instant) -> bool {
        match &mut self.ice {
            Some(agent) => agent.configure(config),
            None => {
                self.ice = Some(Box::new(Agent::new(config, now)));
                false
            }
        }
    }

    pub(super) fn has_ice(&self) -> bool {
        self.ice.is_some()
    }

    /// A STUN message from the network: the response goes back to where it came from, by the same port (RFC 8445
    /// §7.3).
    pub(super) fn check(
        &mut self,
        port: Kind,
        from: SocketAddr,
        buffer: &mut [u8],
        length: usize,
        counters: &Counters,
        now: Instant,
    ) -> Result<Forward, Dropped> {
        let agent = self.ice.as_mut().ok_or(Dropped::NotConnected)?;
        let length = agent.answer(port, from, buffer, length, counters, now)?;
        Ok(Forward {
            leg: self.id,
            kind: port,
            to: from,
            length,
        })
    }

    /// The path on which the peer has just ceased to consent to our packets.
    pub(super) fn lost_consent(&mut self, now: Instant) -> Option<SocketAddr> {
        let path = self.ice.as_mut()?.lost_consent(now)?;
        self.quality.consent_lost();
        Some(path)
    }

    /// A packet from the network: whether it is the peer's and sound. It is plain afterwards.
    pub(super) fn arrive(
        &mut self,
        port: Kind,
        from: SocketAddr,
        datagram: &mut [u8],
        now: Instant,
    ) -> Result<Arrived, Dropped> {
        let arrived = self.examine(port, from, datagram, now);
        match arrived {
            Ok(_) => (self.alive, self.inactive) = (now, false),
            Err(why) => self.quality.refused(why),
        }
        arrived
    }

    fn examine(
        &mut self,
        port: Kind,
        from: SocketAddr,
        datagram: &mut [u8],
        now: Instant,
    ) -> Result<Arrived, Dropped> {
        let config = self.config.as_ref().ok_or(Dropped::NotConnected)?;
        let nominated = |agent: &Agent| agent.is_nominated(port, from);
        let rule = self.rule(port, config);
        if !self.lock(port).admits(from, rule, now) && !self.ice.as_deref().is_some_and(nominated) {
            return Err(Dropped::WrongSource);
        }
        // RFC 5761 §4: both kinds come on the RTP port only if that was agreed; on the other port RTP has no place.
        let kind = if packet::is_rtcp(datagram) {
            Kind::Rtcp
        } else {
            Kind::Rtp
        };
        match (port, kind) {
            (Kind::Rtp, Kind::Rtp) | (Kind::Rtcp, Kind::Rtcp) => {}
            (Kind::Rtp, Kind::Rtcp) if config.rtcp_mux => {}
            _ => return Err(Dropped::Malformed),
        }
        let authentic = self.receiver.is_some();
        let (length, first) = match kind {
            Kind::Rtp => {
                let (header, length) = match &mut self.receiver {
                    Some(receiver) => receiver.unprotect_rtp(datagram)?,
                    None => (
                        Header::parse(datagram).map_err(|_| Dropped::Malformed)?,
                        datagram.len(),
                    ),
                };
                header
                    .payload(&datagram[..length])
                    .map_err(|_| Dropped::Malformed)?;
                if !authentic {
                    self.streams.admit(header.ssrc)?;
                }
                self.suppresses = header.payload_type == COMFORT_NOISE;
                self.quality.received(&header, now);
                (length, !std::mem::replace(&mut self.flowing, true))
            }
            Kind::Rtcp => {
                let length = match &mut self.receiver {
                    Some(receiver) => receiver.unprotect_rtcp(datagram)?,
                    None => datagram.len(),
                };
                rtcp::check(&datagram[..length]).map_err(|_| Dropped::Malformed)?;
                if !authentic {
                    self.streams.admit(rtcp::source(&datagram[..length]))?;
                }
                self.quality.received_rtcp(&datagram[..length], now);
                (length, false)
            }
        };
        let mut lock = *self.lock(port);
        let moved = lock.heard(from, rule, now);
        match port {
            Kind::Rtp => self.rtp_lock = lock,
            Kind::Rtcp => self.rtcp_lock = lock,
        }
        if let Some(agent) = &mut self.ice {
            agent.heard(port, from, now);
        }
        Ok(Arrived {
            kind,
            length,
            first,
            moved,
        })
    }

    fn lock(&self, port: Kind) -> &Lock {
        match port {
            Kind::Rtp => &self.rtp_lock,
            Kind::Rtcp => &self.rtcp_lock,
        }
    }

    fn rule<'a>(&self, port: Kind, config: &'a LegConfig) -> Rule<'a> {
        let authenticated = config.crypto.is_some();
        let elsewhere = match &config.source {
            MediaSource::Strict => None,
            MediaSource::Latch(networks) => Some(networks.as_slice()),
        };
        let rule = |signalled, elsewhere| Rule {
            signalled,
            authenticated,
            elsewhere,
        };
        match (port, self.rtp_lock.source()) {
            (Kind::Rtp, _) => rule(config.remote_rtp, elsewhere),
            // Plain RTCP of a peer behind NAT comes from where its RTP comes from.
            (Kind::Rtcp, Some(rtp)) if elsewhere.is_some() && !authenticated => {
                let port = config.remote_rtcp.port();
                rule(SocketAddr::new(rtp.ip(), port), None)
            }
            (Kind::Rtcp, _) => rule(config.remote_rtcp, elsewhere),
        }
    }

    /// Whether what the peer sends may go on to the other side.
    pub(super) fn may_send(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.receive)
    }

    /// A partner's packet on its way to this peer.
    pub(super) fn forward(
        &mut self,
        arrived: &Arrived,
        buffer: &mut [u8],
        now: Instant,
    ) -> Result<Forward, Dropped> {
        let config = self.config.as_ref().ok_or(Dropped::NotConnected)?;
        // While music plays, reports about a stream that the peer does not hear would only confuse it: ours go instead.
        if self.player.is_playing() || (arrived.kind == Kind::Rtp && !config.send) {
            return Err(Dropped::Held);
        }
        // The same of a stream that goes out as one of ours.
        if arrived.kind == Kind::Rtcp && self.repacker.is_some() {
            return Err(Dropped::Held);
        }
        let mut length = arrived.length;
        if arrived.kind == Kind::Rtp {
            let payload_type = buffer.get(1).copied().unwrap_or_default();
            match config.passage.of(payload_type) {
                Fate::As(number) if self.keypad.is_none() && self.repacker.is_none() => {
                    packet::set_payload_type(buffer, number);
                }
                fate => {
                    length = self.rewrite(fate, buffer, length, now)?;
                    self.repack(buffer, length, now)?;
                }
            }
        }
        let forward = self.protect(arrived.kind, buffer, length, now)?;
        if arrived.kind == Kind::Rtcp {
            self.partner_report = Some(now);
        }
        Ok(forward)
    }

    /// Makes a partner's packet what the peer takes, or lets a key take its place; how long it is then.
    fn rewrite(
        &mut self,
        fate: Fate,
        buffer: &mut [u8],
        length: usize,
        now: Instant,
    ) -> Result<usize, Dropped> {
        if let Some(keypad) = &mut self.keypad {
            match fate {
                Fate::Key => return keypad.event(buffer, length, now),
                fate if fate == Fate::Dropped || keypad.passes(fate) => {}
                fate => {
                    if let Some(length) = keypad.voice(fate, buffer, length, now)? {
                        return Ok(length);
                    }
                }
            }
        }
        match (fate, &mut self.converter) {
            (Fate::As(number), _) => {
                packet::set_payload_type(buffer, number);
                Ok(length)
            }
            (fate, Some(converter)) => converter.convert(fate, buffer, length),
            (_, None) => Err(Dropped::PayloadType),
        }
    }

    /// Keeps the peer's voice until there is a packet of it; what is none goes on in the same stream.
    fn repack(&mut self, buffer: &mut [u8], length: usize, now: Instant) -> Result<(), Dropped> {
        let Some(repacker) = &mut self.repacker else {
            return Ok(());
        };
        let packet = &buffer[..length];
        let header = Header::parse(packet).map_err(|_| Dropped::Malformed)?;
        let payload = header.payload(packet).map_err(|_| Dropped::Malformed)?;
        let octets = payload.len();
        if repacker.take(&header, &packet[payload]) {
            return Err(Dropped::Repacked);
        }
        let mut own = self.player.header(now);
        own.timestamp = repacker.moment(header.timestamp).unwrap_or(own.timestamp);
        packet::join_stream(buffer, &own);
        self.player.sent(now, octets);
        Ok(())
    }

    /// Takes a key to send to this peer; `false` if that cannot be.
    pub(super) fn dial(&mut self, event: u8, duration: Duration, now: Instant) -> bool {
        let Some(config) = &self.config else {
            return false;
        };
        // After a hold nobody waits for a key any more.
        if self.player.is_playing() || !config.send {
            return false;
        }
        let keypad = self
            .keypad
            .get_or_insert_with(|| Box::new(Keypad::of(&config.passage, None)));
        keypad.dial(event, duration, now)
    }

    /// A key that this peer is to be told of by other means than its media.
    pub(super) fn told(&mut self) -> Option<Pressed> {
        self.keypad.as_mut()?.told()
    }

    /// The same, of a key whose end never came.
    pub(super) fn lost_key(&mut self, now: Instant) -> Option<Pressed> {
        let ear = self.ear.as_mut().and_then(|ear| ear.keypad.lost(now));
        ear.or_else(|| self.keypad.as_mut()?.lost(now))
    }

    /// From now on keys are heard that come by this passage.
    pub(super) fn listen(&mut self, passage: &Passage) {
        self.ear = Some(Box::new(Ear {
            keypad: Keypad::of(passage, None),
            passage: passage.clone(),
        }));
    }

    /// A key that this peer has pressed, if this packet of its ends one.
    pub(super) fn hear(
        &mut self,
        arrived: &Arrived,
        buffer: &mut [u8],
        now: Instant,
    ) -> Option<Pressed> {
        let ear = self.ear.as_mut().filter(|_| arrived.kind == Kind::Rtp)?;
        let (length, keypad) = (arrived.length, &mut ear.keypad);
        // What a partner would get in its place goes nowhere.
        match ear.passage.of(*buffer.get(1)?) {
            Fate::Key => keypad.event(buffer, length, now).ok(),
            Fate::Dropped => None,
            fate => keypad.voice(fate, buffer, length, now).ok().flatten(),
        };
        keypad.told()
    }

    /// Encrypts where needed and says where to send it.
    fn protect(
        &mut self,
        kind: Kind,
        buffer: &mut [u8],
        length: usize,
        now: Instant,
    ) -> Result<Forward, Dropped> {
        let config = self.config.as_ref().ok_or(Dropped::NotConnected)?;
        let port = if config.rtcp_mux { Kind::Rtp } else { kind };
        let to = self
            .destination(port, config)
            .ok_or(Dropped::NotConnected)?;
        if kind == Kind::Rtcp {
            self.quality.sending_rtcp(&buffer[..length], now);
        }
        let length = match (&mut self.sender, kind) {
            (None, _) => length,
            (Some(sender), Kind::Rtp) => sender
                .protect_rtp(buffer, length)
                .map_err(|_| Dropped::Unprotectable)?,
            (Some(sender), Kind::Rtcp) => sender
                .protect_rtcp(buffer, length)
                .map_err(|_| Dropped::Unprotectable)?,
        };
        if kind == Kind::Rtp {
            self.quality.sent(packet::ssrc(buffer));
        }
        Ok(Forward {
            leg: self.id,
            kind: port,
            to,
            length,
        })
    }

    /// Where the peer listens: where its checks came from, or as it signalled, or where it was heard if it may be behind
    /// NAT.
    fn destination(&self, port: Kind, config: &LegConfig) -> Option<SocketAddr> {
        let signalled = match port {
            Kind::Rtp => config.remote_rtp,
            Kind::Rtcp => config.remote_rtcp,
        };
        let checked = self.ice.as_ref().and_then(|agent| agent.destination(port));
        let to = checked.unwrap_or_else(|| match &config.source {
            MediaSource::Strict => signalled,
            MediaSource::Latch(_) => self.lock(port).source().unwrap_or(signalled),
        });
        // 0.0.0.0 is how old peers hold (RFC 3264 §8.4); a group would make us an amplifier.
        Some(to).filter(|to| !to.ip().is_unspecified() && !to.ip().is_multicast() && to.port() != 0)
    }

    pub(super) fn play(&mut self, play: Option<Play>) {
        self.player.play(play);
    }

    pub(super) fn skip_sound(&mut self, frames: usize) {
        self.player.skip(frames);
    }

    /// Whether something is to be sent to the peer every 20 ms: a sound, or keys that no voice may carry.
    pub(super) fn wants_frames(&self) -> bool {
        let dials = |keypad: &Keypad| keypad.is_dialling();
        self.player.is_playing()
            || self.repacker.is_some()
            || self.keypad.as_deref().is_some_and(dials)
    }

    /// How many packets of that are due at once.
    pub(super) fn frames_due(&self) -> usize {
        match &self.repacker {
            Some(repacker) if !self.player.is_playing() => repacker.due().max(1),
            _ => 1,
        }
    }

    /// The packet of sound that is due, if the peer wants any.
    pub(super) fn sound(&mut self, due: Instant, buffer: &mut [u8]) -> Option<Forward> {
        if !self.config.as_ref()?.send {
            self.player.skip(1);
            return None;
        }
        let length = match self.player.is_playing() {
            true => self.player.packet(due, buffer)?,
            false => self.own(due, buffer)?,
        };
        self.protect(Kind::Rtp, buffer, length, due).ok()
    }

    /// The packet of keys, or of the partner's voice, that is due in our own stream.
    fn own(&mut self, due: Instant, buffer: &mut [u8]) -> Option<usize> {
        let mut header = self.player.header(due);
        let keypad = self.keypad.as_mut();
        let keys = keypad.and_then(|keypad| keypad.without_voice(due, &header, buffer));
        let length = match (keys, &mut self.repacker) {
            (Some(length), _) => length,
            (None, Some(repacker)) => {
                let length = repacker.write(&mut header, buffer)?;
                packet::write_header(&header, buffer.first_chunk_mut()?);
                length
            }
            (None, None) => return None,
        };
        self.player.sent(due, length - HEADER);
        Some(length)
    }

    /// Our own RTCP, if it is due. `ntp` is the time now; `random` spreads the reports of many legs.
    pub(super) fn report_to_peer(
        &mut self,
        now: Instant,
        ntp: u64,
        random: u32,
        buffer: &mut [u8],
    ) -> Option<Forward> {
        if now < self.report_due || self.config.is_none() {
            return None;
        }
        // RFC 3550 §6.2: between half and one and a half times the interval.
        self.report_due =
            now + REPORT_INTERVAL / 2 + REPORT_INTERVAL.mul_f32(random as f32 / u32::MAX as f32);
        let partner_reports = self
            .partner_report
            .is_some_and(|at| now.saturating_duration_since(at) < REPORT_INTERVAL * 3 / 2);
        if partner_reports && !self.player.is_playing() {
            return None;
        }
        let ssrc = self.player.ssrc();
        let timestamp = self.player.timestamp_at(now);
        let sent = self.player.sent_since_report();
        let sent = sent.map(|(packets, octets)| SenderReport {
            ssrc,
            ntp,
            timestamp,
            packets,
            octets,
        });
        let block = self.quality.report_block(now);
        let length = rtcp::write_report(buffer, ssrc, sent.as_ref(), block.as_ref(), &self.name)?;
        self.protect(Kind::Rtcp, buffer, length, now).ok()
    }

    /// Whether the peer has just been silent for too long without having said that it would be; true once until it is heard
    /// again.
    pub(super) fn fell_silent(&mut self, now: Instant) -> bool {
        let limit = self.config.as_ref().and_then(|config| config.inactivity);
        let silent = limit.is_some_and(|limit| now.saturating_duration_since(self.alive) >= limit);
        silent && !self.suppresses && !std::mem::replace(&mut self.inactive, true)
    }

    pub(super) fn report(&self) -> LegReport {
        self.quality.report()
    }
}

fn suite(crypto: &Crypto) -> srtp::Suite {
    match crypto.suite {
        Suite::AesCm128HmacSha1_80 => srtp::Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32 => srtp::Suite::AesCm128HmacSha1_32,
        Suite::AesCm256HmacSha1_80 => srtp::Suite::AesCm256HmacSha1_80,
        Suite::AeadAes128Gcm => srtp::Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm => srtp::Suite::AeadAes256Gcm,
    }
}

impl From<Ignored> for Dropped {
    fn from(why: Ignored) -> Self {
        match why {
            Ignored::Malformed => Self::CheckMalformed,
            Ignored::NoCheck => Self::NoCheck,
            Ignored::Stranger => Self::CheckOfStranger,
            Ignored::TooMany => Self::TooManyChecks,
        }
    }
}

impl From<SrtpError> for Dropped {
    fn from(error: SrtpError) -> Self {
        match error {
            SrtpError::Authentication => Self::Authentication,
            SrtpError::Replayed => Self::Replayed,
            SrtpError::TooManySources => Self::UnknownStream,
            SrtpError::Malformed | SrtpError::Exhausted => Self::Malformed,
        }
    }
}
