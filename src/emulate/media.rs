//! The media of one emulated party: a tone out every 20 ms, what is heard in, RTCP every second; SRTP by `webrtc-srtp`.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ::rtp::header::Header;
use ::rtp::packet::Packet;
use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use webrtc_srtp::context::Context;
use webrtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use webrtc_srtp::protection_profile::ProtectionProfile;
use webrtc_util::marshal::{Marshal, Unmarshal};

use super::g711::Law;
use super::ice::Checks;
use super::negotiation::{Agreed, Key, Keys, Suite};
use super::tone::{Heard, Sine, WINDOW, Window};

/// Windows kept: ten minutes.
const KEPT_WINDOWS: usize = 30_000;
/// `webrtc-srtp` makes a state for each SSRC before it authenticates one; a peer has no use for more than these.
const MAX_SOURCES: usize = 16;
/// Digits kept, sent or received.
const MAX_DIGITS: usize = 256;
/// RFC 4733: an event is repeated for this many packets, the last three with the end bit.
const EVENT_PACKETS: u16 = 8;

/// What the media of one party did so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// RTP packets sent.
    pub sent: u64,
    /// RTP packets that were received, were authentic and could be read.
    pub received: u64,
    /// RTCP packets sent.
    pub rtcp_sent: u64,
    /// RTCP packets received that were authentic.
    pub rtcp_received: u64,
    /// Packets that SRTP refused: a wrong key, a replay, plain RTP.
    pub refused: u64,
    /// Packets from another address than the description said.
    pub strangers: u64,
    /// The sources (SSRC) heard, in their order.
    pub sources: Vec<u32>,
    /// Connectivity checks sent, and those that were answered as they must be.
    pub checks: (u64, u64),
    /// Whether the SBC's candidate is nominated, so that media may flow.
    pub nominated: bool,
    /// What was wrong with the last response to a check that was none.
    pub check_fault: Option<&'static str>,
    /// Digits received by telephone-event (RFC 4733).
    pub digits: String,
}

/// The media of one call. Dropping it ends it.
pub struct Media {
    shared: Arc<Mutex<State>>,
    /// Our ports: RTP, RTCP.
    pub ports: (u16, u16),
    moves: mpsc::Sender<UdpSocket>,
    task: AbortHandle,
}

impl Drop for Media {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct State {
    agreed: Option<Agreed>,
    checks: Option<Checks>,
    outbound: Option<Context>,
    inbound: Option<Context>,
    sine: Sine,
    heard: VecDeque<Window>,
    report: Report,
    sources: HashSet<u32>,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    octets: u32,
    reception: Option<Reception>,
    dialling: VecDeque<u8>,
    event: Option<SendingEvent>,
    last_event: Option<u32>,
}

struct SendingEvent {
    code: u8,
    timestamp: u32,
    packet: u16,
}

/// RFC 3550 §6.4.1, for our report blocks.
struct Reception {
    ssrc: u32,
    first: u32,
    highest: u32,
    received: u32,
}

impl Media {
    /// Binds `address`: one port when `mux`, else an even one and the next.
    pub async fn start(address: IpAddr, mux: bool) -> io::Result<Self> {
        let (rtp, rtcp) = if mux {
            (UdpSocket::bind((address, 0)).await?, None)
        } else {
            pair(address).await?
        };
        let port = rtp.local_addr()?.port();
        let ports = (
            port,
            rtcp.as_ref()
                .map_or(Ok(port), |s| s.local_addr().map(|a| a.port()))?,
        );
        let shared = Arc::new(Mutex::new(State::new()));
        let (moves, moved) = mpsc::channel(1);
        let task = tokio::spawn(run(rtp, rtcp, moved, shared.clone())).abort_handle();
        Ok(Self {
            shared,
            ports,
            moves,
            task,
        })
    }

    /// Goes on at another port, as if the call had moved to another endpoint; the new port. Only where RTCP is
    /// multiplexed.
    pub async fn move_on(&self, address: IpAddr) -> io::Result<u16> {
        let socket = UdpSocket::bind((address, 0)).await?;
        let port = socket.local_addr()?.port();
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.moves.send(socket).await.map_err(gone)?;
        Ok(port)
    }

    /// Begins with this sequence number, so that a roll-over (RFC 3711 §3.3.1) need not be waited for.
    pub fn start_at(&self, sequence: u16) {
        self.lock().sequence = sequence;
    }

    /// Takes what offer and answer came to. Contexts of SRTP live on as long as their keys do (TDR-834).
    pub fn configure(&self, agreed: Agreed) {
        let mut state = self.lock();
        let before = state.agreed.as_ref().and_then(|a| a.keys);
        if before != agreed.keys {
            let changed = |part: fn(&Keys) -> (Suite, Key)| {
                before.as_ref().map(part) != agreed.keys.as_ref().map(part)
            };
            if changed(|k| (k.suite, k.ours)) {
                state.outbound = agreed.keys.and_then(|k| context(k.suite, &k.ours));
            }
            if changed(|k| (k.suite, k.theirs)) {
                state.inbound = agreed.keys.and_then(|k| context(k.suite, &k.theirs));
                state.sources.clear();
            }
        }
        if state.checks.as_ref().map(|checks| &checks.pair) != agreed.ice.as_ref() {
            state.checks = agreed.ice.clone().map(Checks::new);
            state.report.nominated = false;
        }
        state.agreed = Some(agreed);
    }

    /// Ends sending and receiving; what was heard stays.
    pub fn stop(&self) {
        self.task.abort();
    }

    /// Plays a tone of `frequency` Hz from the next packet on; 0 is silence.
    pub fn play(&self, frequency: f64) {
        self.lock().sine = Sine::new(frequency);
    }

    /// Sends digits (`0`–`9`, `*`, `#`, `A`–`D`) by telephone-event. What does not fit is left out.
    pub fn dial(&self, digits: &str) {
        let mut state = self.lock();
        let codes = digits
            .chars()
            .filter_map(|d| DIGITS.find(d))
            .map(|code| code as u8);
        let room = MAX_DIGITS.saturating_sub(state.dialling.len());
        state.dialling.extend(codes.take(room));
    }

    /// What was heard so far, up to the last ten minutes.
    pub fn heard(&self) -> Heard {
        Heard {
            windows: self.lock().heard.iter().copied().collect(),
        }
    }

    /// Counts so far.
    pub fn report(&self) -> Report {
        self.lock().report.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// RFC 4733 §3.2, table 3: an event's code is its place here.
const DIGITS: &str = "0123456789*#ABCD";

async fn pair(address: IpAddr) -> io::Result<(UdpSocket, Option<UdpSocket>)> {
    for _ in 0..50 {
        let rtp = UdpSocket::bind((address, 0)).await?;
        let port = rtp.local_addr()?.port();
        if port % 2 == 0
            && let Ok(rtcp) = UdpSocket::bind((address, port + 1)).await
        {
            return Ok((rtp, Some(rtcp)));
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "no free pair of ports",
    ))
}

fn context(suite: Suite, key: &Key) -> Option<Context> {
    let profile = match suite {
        Suite::Sha1Tag80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::Sha1Tag32 => ProtectionProfile::Aes128CmHmacSha1_32,
    };
    let (master, salt) = key.0.split_at(16);
    Context::new(
        master,
        salt,
        profile,
        Some(srtp_replay_protection(64)),
        Some(srtcp_replay_protection(64)),
    )
    .ok()
}

/// A protected packet with the master key identifier before its tag, which does not cover it (RFC 3711 §3.1).
fn identified(packet: Bytes, suite: Suite, identifier: Option<u8>) -> Bytes {
    let Some(identifier) = identifier else {
        return packet;
    };
    let tag = packet.len().saturating_sub(suite.tag());
    [&packet[..tag], &[identifier], &packet[tag..]]
        .concat()
        .into()
}

/// The same backwards; nothing if the identifier is not the agreed one.
fn unidentified(packet: &[u8], suite: Suite, identifier: Option<u8>) -> Option<Bytes> {
    let Some(identifier) = identifier else {
        return Some(Bytes::copy_from_slice(packet));
    };
    let tag = packet.len().checked_sub(suite.tag())?;
    let (last, rest) = packet[..tag].split_last()?;
    (*last == identifier).then(|| [rest, &packet[tag..]].concat().into())
}

async fn run(
    mut rtp: UdpSocket,
    rtcp: Option<UdpSocket>,
    mut moves: mpsc::Receiver<UdpSocket>,
    shared: Arc<Mutex<State>>,
) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let (mut buffer, mut control) = (vec![0; 2048], vec![0; 2048]);
    let mut count = 0u64;
    let state = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    let receive_control = async |buffer: &mut [u8]| match &rtcp {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    };
    loop {
        tokio::select! {
            Some(socket) = moves.recv() => rtp = socket,
            _ = tick.tick() => {
                count += 1;
                let check = state().next_check();
                if let Some((bytes, to)) = check {
                    let _ = rtp.try_send_to(&bytes, to);
                }
                let packet = state().next_packet();
                if let Some((bytes, to)) = packet {
                    let _ = rtp.try_send_to(&bytes, to);
                }
                // A guard in a condition would live as long as its branch.
                let report = if count.is_multiple_of(50) { state().next_report() } else { None };
                if let Some((bytes, to)) = report {
                    let _ = rtcp.as_ref().unwrap_or(&rtp).try_send_to(&bytes, to);
                }
            }
            Ok((length, from)) = rtp.recv_from(&mut buffer) => {
                let packet = &buffer[..length];
                // RFC 7983: the first byte tells STUN from media.
                if packet.first().is_some_and(|first| *first < 4) {
                    if let Ok(local) = rtp.local_addr() {
                        state().check_answered(packet, from, local);
                    }
                    continue;
                }
                // RFC 5761 §4: packet types of RTCP are 192 to 223.
                if rtcp.is_none() && packet.get(1).is_some_and(|b| (192..=223).contains(b)) {
                    state().control(packet, from);
                } else {
                    state().packet(packet, from);
                }
            }
            Ok((length, from)) = receive_control(&mut control) => state().control(&control[..length], from),
        }
    }
}

impl State {
    fn new() -> Self {
        Self {
            agreed: None,
            checks: None,
            outbound: None,
            inbound: None,
            sine: Sine::new(0.0),
            heard: VecDeque::new(),
            report: Report::default(),
            sources: HashSet::new(),
            ssrc: rand::random(),
            sequence: rand::random(),
            timestamp: rand::random(),
            octets: 0,
            reception: None,
            dialling: VecDeque::new(),
            event: None,
            last_event: None,
        }
    }

    /// The connectivity check for this 20 ms and where it goes.
    fn next_check(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let checks = self.checks.as_mut()?;
        let check = checks.next()?;
        self.report.checks.0 += 1;
        Some((check, checks.pair.to))
    }

    fn check_answered(&mut self, bytes: &[u8], from: SocketAddr, local: SocketAddr) {
        let Some(checks) = &mut self.checks else {
            return;
        };
        match checks.response(bytes, from, local) {
            Ok(answered) => self.report.checks.1 += u64::from(answered),
            Err(fault) => self.report.check_fault = Some(fault),
        }
        self.report.nominated = checks.is_nominated();
    }

    /// RFC 8445 §12: nothing is sent before there is a path.
    fn may_send(&self) -> bool {
        self.checks.as_ref().is_none_or(Checks::is_nominated)
    }

    /// The packet for this 20 ms and where it goes.
    fn next_packet(&mut self) -> Option<(Bytes, SocketAddr)> {
        let agreed = self
            .agreed
            .clone()
            .filter(|a| a.send && a.rtp.port() != 0 && self.may_send())?;
        self.timestamp = self.timestamp.wrapping_add(WINDOW as u32);
        let samples = self.sine.next();
        let (payload_type, marker, timestamp, payload) = match (agreed.events, self.next_event()) {
            (Some(events), Some((marker, timestamp, payload))) => {
                (events, marker, timestamp, payload)
            }
            _ => {
                let sound: Vec<u8> = samples.iter().map(|&s| agreed.law.encode(s)).collect();
                (
                    agreed.law.payload_type(),
                    false,
                    self.timestamp,
                    Bytes::from(sound),
                )
            }
        };
        self.sequence = self.sequence.wrapping_add(1);
        let header = Header {
            version: 2,
            marker,
            payload_type,
            sequence_number: self.sequence,
            timestamp,
            ssrc: self.ssrc,
            ..Header::default()
        };
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        let plain = Packet { header, payload }.marshal().ok()?;
        let bytes = match (&mut self.outbound, agreed.keys) {
            (Some(context), Some(keys)) => identified(
                context.encrypt_rtp(&plain).ok()?,
                keys.suite,
                keys.identifier.0,
            ),
            (None, None) => plain,
            // Keys were agreed and no context could be made: nothing may leave in the clear.
            _ => return None,
        };
        self.report.sent += 1;
        Some((bytes, agreed.rtp))
    }

    /// RFC 4733 §2.5.1: marker, timestamp and payload of the event under way, or of the next one waiting.
    fn next_event(&mut self) -> Option<(bool, u32, Bytes)> {
        if self.event.is_none() {
            let code = self.dialling.pop_front()?;
            self.event = Some(SendingEvent {
                code,
                timestamp: self.timestamp,
                packet: 0,
            });
        }
        let event = self.event.as_mut()?;
        event.packet += 1;
        let end = event.packet > EVENT_PACKETS - 3;
        let duration = event.packet.min(EVENT_PACKETS - 2) * WINDOW as u16;
        let [high, low] = duration.to_be_bytes();
        let packet = (
            event.packet == 1,
            event.timestamp,
            Bytes::copy_from_slice(&[event.code, if end { 0x8a } else { 0x0a }, high, low]),
        );
        if event.packet >= EVENT_PACKETS {
            self.event = None;
        }
        Some(packet)
    }

    fn packet(&mut self, bytes: &[u8], from: SocketAddr) {
        let Some(agreed) = self.agreed.clone() else {
            return;
        };
        if from != agreed.rtp {
            self.report.strangers += 1;
            return;
        }
        let Some(packet) = self.opened(bytes, agreed.keys) else {
            self.report.refused += 1;
            return;
        };
        self.report.received += 1;
        self.note(&packet.header);
        if Some(packet.header.payload_type) == agreed.events {
            self.digit(&packet);
        } else if let Some(law) = Law::of(packet.header.payload_type)
            .filter(|law| agreed.only.is_none_or(|only| only == *law))
        {
            let samples: Vec<i16> = packet
                .payload
                .iter()
                .take(4 * WINDOW)
                .map(|&octet| law.decode(octet))
                .collect();
            if self.heard.len() >= KEPT_WINDOWS {
                self.heard.pop_front();
            }
            self.heard.push_back(Window::of(&samples, Instant::now()));
        }
    }

    /// Authenticates and reads a packet.
    fn opened(&mut self, bytes: &[u8], keys: Option<Keys>) -> Option<Packet> {
        let header = Header::unmarshal(&mut &bytes[..])
            .ok()
            .filter(|h| h.version == 2)?;
        if !self.sources.contains(&header.ssrc) && self.sources.len() >= MAX_SOURCES {
            return None;
        }
        self.sources.insert(header.ssrc);
        let plain = match (&mut self.inbound, keys) {
            (Some(context), Some(keys)) => {
                let bytes = unidentified(bytes, keys.suite, keys.identifier.1)?;
                context.decrypt_rtp(&bytes).ok()?
            }
            (_, Some(_)) => return None,
            (_, None) => Bytes::copy_from_slice(bytes),
        };
        Packet::unmarshal(&mut plain.clone()).ok()
    }

    fn note(&mut self, header: &Header) {
        if self.report.sources.last() != Some(&header.ssrc)
            && self.report.sources.len() < 2 * MAX_SOURCES
        {
            self.report.sources.push(header.ssrc);
        }
        let sequence = u32::from(header.sequence_number);
        match &mut self.reception {
            Some(reception) if reception.ssrc == header.ssrc => {
                let ahead = header
                    .sequence_number
                    .wrapping_sub(reception.highest as u16);
                if ahead < 0x8000 {
                    reception.highest = reception.highest.wrapping_add(u32::from(ahead));
                }
                reception.received = reception.received.wrapping_add(1);
            }
            other => {
                *other = Some(Reception {
                    ssrc: header.ssrc,
                    first: sequence,
                    highest: sequence,
                    received: 1,
                })
            }
        }
    }

    fn digit(&mut self, packet: &Packet) {
        let [code, flags, ..] = packet.payload[..] else {
            return;
        };
        let ended = flags & 0x80 != 0;
        if ended
            && self.last_event.replace(packet.header.timestamp) != Some(packet.header.timestamp)
            && self.report.digits.len() < MAX_DIGITS
        {
            self.report
                .digits
                .extend(DIGITS.chars().nth(usize::from(code)));
        }
    }

    fn control(&mut self, bytes: &[u8], from: SocketAddr) {
        let Some(agreed) = &self.agreed else { return };
        if from != agreed.rtcp {
            self.report.strangers += 1;
            return;
        }
        let authentic = match (&mut self.inbound, agreed.keys) {
            _ if bytes.len() < 8 => false,
            // RTCP has the long tag in both suites (RFC 4568 §6.2.2).
            (Some(context), Some(keys)) => unidentified(bytes, Suite::Sha1Tag80, keys.identifier.1)
                .is_some_and(|bytes| context.decrypt_rtcp(&bytes).is_ok()),
            (_, Some(_)) => false,
            (_, None) => matches!(bytes, [first, 200 | 201, ..] if first >> 6 == 2),
        };
        if authentic {
            self.report.rtcp_received += 1;
        } else {
            self.report.refused += 1;
        }
    }

    /// RFC 3550 §6.4.1 and §6.5: a sender report with what we heard, and our name.
    fn next_report(&mut self) -> Option<(Bytes, SocketAddr)> {
        let agreed = self
            .agreed
            .clone()
            .filter(|a| !a.rtcp.ip().is_unspecified() && a.rtcp.port() != 0 && self.may_send())?;
        let plain = self.sender_report();
        let bytes = match (&mut self.outbound, agreed.keys) {
            (Some(context), Some(keys)) => identified(
                context.encrypt_rtcp(&plain).ok()?,
                Suite::Sha1Tag80,
                keys.identifier.0,
            ),
            (None, None) => Bytes::from(plain),
            _ => return None,
        };
        self.report.rtcp_sent += 1;
        Some((bytes, agreed.rtcp))
    }

    fn sender_report(&self) -> Vec<u8> {
        let blocks = u8::from(self.reception.is_some());
        let since_1970 = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let fraction = ((u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000) as u32;
        let seconds = since_1970.as_secs().wrapping_add(2_208_988_800) as u32;
        let mut words = vec![
            self.ssrc,
            seconds,
            fraction,
            self.timestamp,
            self.report.sent as u32,
            self.octets,
        ];
        if let Some(reception) = &self.reception {
            let expected = reception
                .highest
                .wrapping_sub(reception.first)
                .wrapping_add(1);
            let lost = expected.saturating_sub(reception.received).min(0x7f_ffff);
            words.extend([reception.ssrc, lost, reception.highest, 0, 0, 0]);
        }
        let mut bytes = vec![0x80 | blocks, 200, 0, words.len() as u8];
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes.extend([0x81, 202, 0, 3]);
        bytes.extend(self.ssrc.to_be_bytes());
        bytes.extend(*b"\x01\x05emu\x40t\x00");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulate::negotiation::{Manner, Negotiation};
    use crate::emulate::sdp::Direction;

    /// Two parties with each other's descriptions.
    async fn joined(manner: Manner) -> (Media, Media, Negotiation, Negotiation) {
        let address = IpAddr::from([127, 0, 0, 1]);
        let (a, b) = (
            Media::start(address, manner.is_secure()).await.unwrap(),
            Media::start(address, manner.is_secure()).await.unwrap(),
        );
        let (mut na, mut nb) = (
            Negotiation::new(manner, address, a.ports),
            Negotiation::new(manner, address, b.ports),
        );
        let offer = na.offer(Direction::SendRecv);
        let (answer, agreed) = nb.answer(offer.as_bytes(), false).unwrap();
        b.configure(agreed);
        a.configure(na.accept(answer.as_bytes()).unwrap());
        (a, b, na, nb)
    }

    /// Waits until `done`, for at most ten seconds.
    async fn until(mut done: impl FnMut() -> bool) {
        for _ in 0..500 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it never happened");
    }

    /// Over SRTP and over RTP each hears the other's tone and digits, and RTCP passes.
    #[tokio::test]
    async fn both_hear_each_other() {
        for manner in [Manner::SecurePbx, Manner::Pbx] {
            let (a, b, ..) = joined(manner).await;
            a.play(440.0);
            b.play(600.0);
            until(|| a.heard().windows.len() > 20 && b.heard().windows.len() > 20).await;
            let now = Instant::now();
            a.dial("19#");
            until(|| {
                b.report().digits == "19#"
                    && a.report().rtcp_received > 0
                    && b.report().rtcp_received > 0
            })
            .await;
            assert!(
                a.heard().since(now).tone(600.0) > 0.9 && b.heard().since(now).tone(440.0) > 0.9
            );
            assert_eq!(
                (a.report().refused, b.report().refused, a.report().strangers),
                (0, 0, 0)
            );
        }
    }

    /// What is protected by another key is refused, not heard.
    #[tokio::test]
    async fn a_wrong_key_is_not_heard() {
        let (a, b, ..) = joined(Manner::SecurePbx).await;
        let mut agreed = a.lock().agreed.clone().unwrap();
        agreed.keys.as_mut().unwrap().ours = Key([7; 30]);
        a.configure(agreed);
        a.play(440.0);
        until(|| b.report().refused > 10).await;
        assert_eq!(b.heard().tone(440.0), 0.0);
    }

    /// On hold nothing is heard, RTCP goes on, and sound comes back.
    #[tokio::test]
    async fn hold_stops_sound_but_not_reports() {
        let (a, b, mut na, mut nb) = joined(Manner::Pbx).await;
        a.play(440.0);
        until(|| b.heard().tone(440.0) > 0.0).await;
        let mut redirect = |direction| {
            let (answer, agreed) = nb.answer(na.offer(direction).as_bytes(), false).unwrap();
            b.configure(agreed);
            a.configure(na.accept(answer.as_bytes()).unwrap());
        };
        redirect(Direction::Inactive);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (held, reports) = (Instant::now(), b.report().rtcp_received);
        until(|| b.report().rtcp_received > reports).await;
        assert!(b.heard().since(held).windows.is_empty());
        redirect(Direction::SendRecv);
        until(|| b.heard().since(held).tone(440.0) > 0.0).await;
    }
}
