mod attacks;
mod hold;
mod ice;
mod keys;
mod repack;
mod silence;
mod source;

use super::*;
use crate::audio::music::{self, recognise};
use crate::audio::{Law, g711};
use crate::media::{Crypto, Fate, LegConfig, LegReport, MediaSource, Passage, Play, Suite};
use crate::rtp::packet::{HEADER, Header, write_header};
use crate::rtp::rtcp::{self, Packet, ReportBlock};
use crate::rtp::srtp::{self, Receiver, Sender};
use crate::sdp::Codec;
use ipnet::IpNet;
use std::sync::Arc;

const A: LegId = LegId(1);
const B: LegId = LegId(2);
const FRAME: Duration = Duration::from_millis(20);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A peer of leg `id` at 192.0.2.`id`, ports 4000 and 4001, plain and without multiplexing.
fn plain(id: LegId) -> LegConfig {
    LegConfig {
        remote_rtp: SocketAddr::new([192, 0, 2, id.0 as u8].into(), 4000),
        remote_rtcp: SocketAddr::new([192, 0, 2, id.0 as u8].into(), 4001),
        rtcp_mux: false,
        crypto: None,
        source: MediaSource::Strict,
        passage: Arc::new(Passage::unchanged()),
        inactivity: None,
        receive: true,
        send: true,
    }
}

/// Where the signalling of peers behind NAT comes from.
fn nat() -> Vec<IpNet> {
    vec!["198.51.100.0/24".parse().unwrap()]
}

fn secure(id: LegId, receive: u8, send: u8) -> LegConfig {
    let config = plain(id);
    let crypto = Crypto {
        suite: Suite::AesCm128HmacSha1_80,
        receive: [receive; 30].into(),
        receive_mki_length: 0,
        send: [send; 30].into(),
        send_mki: vec![],
    };
    LegConfig {
        crypto: Some(crypto),
        rtcp_mux: true,
        remote_rtcp: config.remote_rtp,
        ..config
    }
}

fn voice(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0xd5; HEADER + 160];
    write_header(
        &Header::new(8, false, sequence, u32::from(sequence) * 160, 77),
        packet.first_chunk_mut().unwrap(),
    );
    packet
}

const SENDER_REPORT: [u8; 28] = [
    0x80, 200, 0, 6, 0, 0, 0, 77, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 160, 0, 0, 0, 1, 0, 0, 0, 160,
];

/// A relay with its own time.
struct Bench {
    relay: Relay,
    now: Instant,
}

impl Bench {
    fn new(a: LegConfig, b: LegConfig) -> Self {
        let now = Instant::now();
        let limits = Limits {
            legs: 4,
            events: 100,
        };
        let mut bench = Self {
            relay: Relay::new(limits, Random::from_number(5), now, 0),
            now,
        };
        for (leg, config) in [(A, a), (B, b)] {
            bench.command(Command::Open {
                leg,
                address: [127, 0, 0, 1].into(),
                port: 4000,
            });
            bench.configure(leg, config);
        }
        bench.command(Command::Connect {
            leg: A,
            with: Some(B),
        });
        bench
    }

    fn command(&mut self, command: Command) {
        self.relay.command(command, self.now);
    }

    fn configure(&mut self, leg: LegId, config: LegConfig) {
        self.command(Command::Configure {
            leg,
            config: Box::new(config),
        });
    }

    fn packet_from(
        &mut self,
        leg: LegId,
        port: Kind,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Option<(Forward, Vec<u8>)> {
        let mut buffer = [0; BUFFER];
        buffer[..bytes.len()].copy_from_slice(bytes);
        let forward = self
            .relay
            .packet(leg, port, from, &mut buffer, bytes.len(), self.now)?;
        Some((forward, buffer[..forward.length].to_vec()))
    }

    /// From where the leg's peer signalled.
    fn packet(&mut self, leg: LegId, port: Kind, bytes: &[u8]) -> Option<(Forward, Vec<u8>)> {
        let from = SocketAddr::new(
            [192, 0, 2, leg.0 as u8].into(),
            if port == Kind::Rtp { 4000 } else { 4001 },
        );
        self.packet_from(leg, port, from, bytes)
    }

    /// Lets time pass, ticking when the relay wants it; everything sent, with its time.
    fn pass(&mut self, time: Duration) -> Vec<(Instant, Forward, Vec<u8>)> {
        let (end, mut sent) = (self.now + time, Vec::new());
        while let Some(due) = self.relay.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let now = self.now;
            self.relay.tick(now, &mut [0; BUFFER], |forward, bytes| {
                sent.push((now, forward, bytes.to_vec()))
            });
        }
        self.now = end;
        sent
    }

    fn events(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.relay.poll_event())
            .map(|event| format!("{event:?}"))
            .collect()
    }

    fn close(&mut self, leg: LegId) -> LegReport {
        self.command(Command::Close { leg });
        loop {
            if let Event::Closed {
                leg: closed,
                report,
            } = self.relay.poll_event().expect("closing is told")
            {
                assert_eq!(closed, leg);
                return *report;
            }
        }
    }
}

fn packet_is_rtcp(bytes: &[u8]) -> bool {
    crate::rtp::packet::is_rtcp(bytes)
}

fn protect(sender: &mut Sender, plain: &[u8], kind: Kind) -> Vec<u8> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + sender.overhead(), 0);
    let length = match kind {
        Kind::Rtp => sender.protect_rtp(&mut buffer, plain.len()),
        Kind::Rtcp => sender.protect_rtcp(&mut buffer, plain.len()),
    };
    buffer.truncate(length.unwrap());
    buffer
}

fn unprotect(receiver: &mut Receiver, bytes: &[u8], kind: Kind) -> Vec<u8> {
    let mut buffer = bytes.to_vec();
    let length = match kind {
        Kind::Rtp => receiver
            .unprotect_rtp(&mut buffer)
            .map(|(_, length)| length),
        Kind::Rtcp => receiver.unprotect_rtcp(&mut buffer),
    };
    buffer.truncate(length.unwrap());
    buffer
}

/// The peer of a leg configured as `secure(_, receive, send)`: what it sends with and hears with.
fn peer(receive: u8, send: u8) -> (Sender, Receiver) {
    (
        Sender::new(srtp::Suite::AesCm128HmacSha1_80, &[receive; 46], &[]),
        Receiver::new(srtp::Suite::AesCm128HmacSha1_80, &[send; 46], 0),
    )
}

/// Voice goes from SRTP to RTP and back as it is, to where the other peer listens.
#[test]
fn srtp_to_rtp_and_back() {
    let mut bench = Bench::new(secure(A, 1, 2), plain(B));
    let (mut sender, mut receiver) = peer(1, 2);
    let (forward, bytes) = bench
        .packet(A, Kind::Rtp, &protect(&mut sender, &voice(1), Kind::Rtp))
        .unwrap();
    assert_eq!(
        (forward.leg, forward.kind, forward.to),
        (B, Kind::Rtp, address("192.0.2.2:4000"))
    );
    assert_eq!(bytes, voice(1));
    let (forward, bytes) = bench.packet(B, Kind::Rtp, &voice(9)).unwrap();
    assert_eq!(
        (forward.leg, forward.to, bytes.len()),
        (A, address("192.0.2.1:4000"), 182)
    );
    assert_eq!(unprotect(&mut receiver, &bytes, Kind::Rtp), voice(9));
}

/// Between two SRTP legs everything is decrypted and encrypted again with the other key.
#[test]
fn srtp_to_srtp() {
    let mut bench = Bench::new(secure(A, 1, 2), secure(B, 3, 4));
    let (mut sender, _) = peer(1, 2);
    let (_, mut receiver) = peer(3, 4);
    let sent = protect(&mut sender, &voice(1), Kind::Rtp);
    let (_, bytes) = bench.packet(A, Kind::Rtp, &sent).unwrap();
    assert_ne!(bytes, sent);
    assert_eq!(unprotect(&mut receiver, &bytes, Kind::Rtp), voice(1));
}

/// Only the payload type changes between plain legs, as the map says; a type without a value stays out.
#[test]
fn payload_types_are_mapped() {
    let mut config = plain(B);
    let passage = Arc::make_mut(&mut config.passage);
    passage.set(101, Fate::As(96));
    passage.set(18, Fate::Dropped);
    let mut bench = Bench::new(plain(A), config);
    let mut event = voice(1);
    event[1] = 0x80 | 101;
    let (_, bytes) = bench.packet(A, Kind::Rtp, &event).unwrap();
    assert_eq!((bytes[1], &bytes[2..]), (0x80 | 96, &event[2..]));
    event[1] = 18;
    assert_eq!(bench.packet(A, Kind::Rtp, &event), None);
    assert_eq!(bench.relay.counters().payload_type.get(), 1);
}

/// The PBX speaks µ-law only, Teams A-law only: each hears what the other says, in its own law, under the same source, numbers
/// and time; a padded packet as well. Comfort noise, which only one of them has, becomes silence at the other.
#[test]
fn voice_is_converted() {
    let [a, u, noise] = [(8, "PCMA"), (0, "PCMU"), (13, "CN")].map(|(n, c)| Codec::new(n, c, 8000));
    let (teams, pbx) = ([a, noise], [u]);
    let mut bench = Bench::new(
        LegConfig {
            passage: Arc::new(Passage::between(&pbx, &teams)),
            ..secure(A, 1, 2)
        },
        LegConfig {
            passage: Arc::new(Passage::between(&teams, &pbx)),
            ..plain(B)
        },
    );
    let (mut sender, mut receiver) = peer(1, 2);
    let spoken = [4000, -4000, 120, -7, 0, 31_000, -31_000];
    let samples = || spoken.into_iter().cycle().take(160);
    let close = |heard: &[u8], law: &[i16; 256]| {
        assert_eq!(heard.len(), 160);
        let heard = heard.iter().map(|octet| law[usize::from(*octet)]);
        for (heard, said) in heard.zip(samples()) {
            let apart = i32::from(heard) - i32::from(said);
            assert!(
                apart.abs() <= i32::from(said).abs() / 16 + 16,
                "{said}: {heard}"
            );
        }
    };
    let mut packet = voice(7);
    packet.truncate(HEADER);
    packet[1] |= 0x80;
    packet.extend(samples().map(g711::alaw));
    let sent = protect(&mut sender, &packet, Kind::Rtp);
    let (_, heard) = bench.packet(A, Kind::Rtp, &sent).unwrap();
    assert_eq!((heard[1], &heard[2..HEADER]), (0x80, &packet[2..HEADER]));
    close(&heard[HEADER..], &g711::MULAW);

    packet.truncate(HEADER);
    (packet[0], packet[1]) = (0xa0, 0);
    packet.extend(samples().map(g711::mulaw));
    packet.extend([0, 0, 0, 4]);
    let (_, heard) = bench.packet(B, Kind::Rtp, &packet).unwrap();
    let heard = unprotect(&mut receiver, &heard, Kind::Rtp);
    assert_eq!((heard[1], &heard[2..HEADER]), (8, &packet[2..HEADER]));
    assert_eq!(heard[HEADER + 160..], [0, 0, 0, 4]);
    close(&heard[HEADER..HEADER + 160], &g711::ALAW);

    let mut noise = voice(8);
    noise.truncate(HEADER + 1);
    noise[1] = 13;
    let sent = protect(&mut sender, &noise, Kind::Rtp);
    let (_, heard) = bench.packet(A, Kind::Rtp, &sent).unwrap();
    assert_eq!((heard[1], heard.len()), (0, HEADER + 160));
    assert!(heard[HEADER..].iter().all(|octet| *octet == g711::mulaw(0)));
    let mut unknown = voice(9);
    unknown[1] = 18;
    assert_eq!(bench.packet(B, Kind::Rtp, &unknown), None);
    assert_eq!(bench.relay.counters().payload_type.get(), 1);
}

/// G.722 at one end: a refresh that changes nothing does not make its predictors begin anew, so that the packets sound as they
/// do without one.
#[test]
fn a_refresh_does_not_disturb_a_conversion() {
    let [a, wide] = [(8, "PCMA"), (9, "G722")].map(|(n, c)| [Codec::new(n, c, 8000)]);
    let config = || LegConfig {
        passage: Arc::new(Passage::between(&a, &wide)),
        ..plain(B)
    };
    let heard = |refreshes: bool| {
        let mut bench = Bench::new(plain(A), config());
        let packets = (0..20u16).map(|n| {
            if refreshes {
                bench.configure(B, config());
            }
            let mut packet = voice(n);
            for (at, octet) in packet[HEADER..].iter_mut().enumerate() {
                *octet = g711::alaw((at as i16 % 16 - 8) * 1000);
            }
            let (_, bytes) = bench.packet(A, Kind::Rtp, &packet).unwrap();
            assert_eq!((bytes[1], bytes.len()), (9, packet.len()));
            bytes
        });
        packets.collect::<Vec<_>>()
    };
    assert_eq!(heard(true), heard(false));
}

/// Multiplexed SRTCP leaves on the RTCP port of the plain leg, and plain RTCP enters the RTP port of the other.
#[test]
fn rtcp_crosses_between_one_port_and_two() {
    let mut bench = Bench::new(secure(A, 1, 2), plain(B));
    let (mut sender, mut receiver) = peer(1, 2);
    let (forward, bytes) = bench
        .packet(
            A,
            Kind::Rtp,
            &protect(&mut sender, &SENDER_REPORT, Kind::Rtcp),
        )
        .unwrap();
    assert_eq!(
        (forward.kind, forward.to, &bytes[..]),
        (Kind::Rtcp, address("192.0.2.2:4001"), &SENDER_REPORT[..])
    );
    let (forward, bytes) = bench.packet(B, Kind::Rtcp, &SENDER_REPORT).unwrap();
    assert_eq!(
        (forward.kind, forward.to),
        (Kind::Rtp, address("192.0.2.1:4000"))
    );
    assert_eq!(unprotect(&mut receiver, &bytes, Kind::Rtcp), SENDER_REPORT);
    assert_eq!(
        bench.packet(B, Kind::Rtp, &SENDER_REPORT),
        None,
        "not agreed on this leg"
    );
    assert_eq!(
        bench.packet(B, Kind::Rtcp, &voice(1)),
        None,
        "no place for voice"
    );
    assert_eq!(bench.close(B).malformed, 2);
}

/// Over the wrap after 65,536 packets a refresh with the same keys changes nothing: rollover and replay window stay.
#[test]
fn a_refresh_with_the_same_keys_keeps_the_contexts() {
    let mut bench = Bench::new(secure(A, 1, 2), plain(B));
    let (mut sender, mut receiver) = peer(1, 2);
    for n in 65_500u32..65_600 {
        let sent = protect(&mut sender, &voice(n as u16), Kind::Rtp);
        assert!(bench.packet(A, Kind::Rtp, &sent).is_some());
        let (_, back) = bench.packet(B, Kind::Rtp, &voice(n as u16)).unwrap();
        assert_eq!(unprotect(&mut receiver, &back, Kind::Rtp), voice(n as u16));
        if n > 65_550 {
            bench.configure(A, secure(A, 1, 2));
            assert_eq!(bench.packet(A, Kind::Rtp, &sent), None, "still known");
        }
    }
    assert_eq!(bench.close(A).replayed, 49);
}

/// A new key of the peer starts with rollover counter 0, while our own direction with its old key goes on.
#[test]
fn a_new_key_starts_anew() {
    let mut bench = Bench::new(secure(A, 1, 2), plain(B));
    let (mut old_sender, mut receiver) = peer(1, 2);
    for n in 65_530u32..65_540 {
        let sent = protect(&mut old_sender, &voice(n as u16), Kind::Rtp);
        assert!(bench.packet(A, Kind::Rtp, &sent).is_some());
        let (_, back) = bench.packet(B, Kind::Rtp, &voice(n as u16)).unwrap();
        unprotect(&mut receiver, &back, Kind::Rtp);
    }
    bench.configure(A, secure(A, 9, 2));
    let (mut new_sender, _) = peer(9, 2);
    let sent = protect(&mut new_sender, &voice(20), Kind::Rtp);
    assert_eq!(
        bench.packet(A, Kind::Rtp, &sent).map(|(_, bytes)| bytes),
        Some(voice(20))
    );
    let stale = protect(&mut old_sender, &voice(21), Kind::Rtp);
    assert_eq!(bench.packet(A, Kind::Rtp, &stale), None);
    let (_, back) = bench.packet(B, Kind::Rtp, &voice(20)).unwrap();
    assert_eq!(unprotect(&mut receiver, &back, Kind::Rtp), voice(20));
    assert_eq!(bench.close(A).authentication_failures, 1);
}

/// The report of a leg: what came, went, got lost and how unevenly.
#[test]
fn a_closed_leg_reports() {
    let mut bench = Bench::new(plain(A), plain(B));
    for n in 0..100u16 {
        bench.pass(FRAME);
        if n % 10 != 5 {
            bench.packet(A, Kind::Rtp, &voice(n));
        }
    }
    bench.packet(A, Kind::Rtp, &[0x80, 8, 0]);
    let report = bench.close(A);
    assert_eq!(
        (
            report.received,
            report.lost,
            report.jitter,
            report.malformed
        ),
        (90, 10, 0, 1)
    );
    assert_eq!((report.sent, bench.close(B).sent), (0, 90));
    assert_eq!(bench.packet(A, Kind::Rtp, &voice(101)), None);
    assert_eq!(bench.relay.deadline(), None);
}

/// Connecting a leg to a third one takes it away from the second; closing leaves the other alone.
#[test]
fn a_leg_has_one_partner() {
    let c = LegId(3);
    let mut bench = Bench::new(plain(A), plain(B));
    bench.command(Command::Open {
        leg: c,
        address: [127, 0, 0, 1].into(),
        port: 4000,
    });
    bench.configure(c, plain(c));
    bench.command(Command::Connect {
        leg: A,
        with: Some(c),
    });
    assert_eq!(
        bench
            .packet(A, Kind::Rtp, &voice(1))
            .map(|(forward, _)| forward.leg),
        Some(c)
    );
    assert_eq!(bench.packet(B, Kind::Rtp, &voice(1)), None);
    bench.close(c);
    assert_eq!(bench.packet(A, Kind::Rtp, &voice(2)), None);
    bench.command(Command::Connect {
        leg: A,
        with: Some(LegId(99)),
    });
    bench.command(Command::Connect {
        leg: A,
        with: Some(A),
    });
    assert_eq!(bench.packet(A, Kind::Rtp, &voice(3)), None);
}

/// A leg that goes over to another relay keeps all that it had: rollover counters, counts, locked source and music.
#[test]
fn a_leg_moves_with_all_it_has() {
    let mut bench = Bench::new(secure(A, 1, 2), plain(B));
    let (mut sender, mut receiver) = peer(1, 2);
    let mut hears = |bench: &mut Bench, sequence: u16| {
        let packet = protect(&mut sender, &voice(sequence), Kind::Rtp);
        bench.packet(A, Kind::Rtp, &packet).map(|(f, _)| f.leg)
    };
    assert_eq!(hears(&mut bench, 65_535), Some(B));
    assert_eq!(hears(&mut bench, 0), Some(B), "the first round is over");
    let play = Some(Play::music(Law::A, 8));
    bench.command(Command::Play { leg: A, play });
    let voices = |sent: Vec<(Instant, Forward, Vec<u8>)>| {
        let voices = sent.into_iter().filter(|(_, _, b)| !packet_is_rtcp(b));
        voices.map(|(_, _, bytes)| bytes).collect::<Vec<_>>()
    };
    let before = voices(bench.pass(FRAME * 4));

    let limits = Limits {
        legs: 4,
        events: 100,
    };
    let other = Relay::new(limits, Random::from_number(6), bench.now, 0);
    let mut old = std::mem::replace(&mut bench.relay, other);
    for leg in [A, B] {
        bench.relay.adopt(old.release(leg).unwrap(), bench.now);
        assert!(!old.is_open(leg) && old.release(leg).is_none());
    }
    assert_eq!((old.counters().legs.get(), old.deadline()), (0, None));
    assert_eq!(bench.relay.counters().legs.get(), 2);
    assert_eq!(hears(&mut bench, 1), None, "it has no partner yet");
    let with = Some(B);
    bench.command(Command::Connect { leg: A, with });
    assert_eq!(hears(&mut bench, 2), Some(B));
    let after = voices(bench.pass(FRAME * 4));
    let mut sequences = before.iter().chain(&after).map(|bytes| {
        let plain = unprotect(&mut receiver, bytes, Kind::Rtp);
        Header::parse(&plain).unwrap().sequence
    });
    let first = sequences.next().unwrap();
    let rest: Vec<_> = sequences.map(|n| n.wrapping_sub(first)).collect();
    assert_eq!(rest, (1..=rest.len() as u16).collect::<Vec<_>>());
    assert!(rest.len() >= 8);
    assert_eq!(bench.close(A).received, 4);
}

/// Several relays count as one.
#[test]
fn counters_are_summed() {
    let (mut one, mut other) = (
        Bench::new(plain(A), plain(B)),
        Bench::new(plain(A), plain(B)),
    );
    one.packet(A, Kind::Rtp, &voice(1));
    other.packet(A, Kind::Rtp, &voice(1));
    other.packet(A, Kind::Rtp, &[0; 4]);
    let (one, other) = (one.relay.counters(), other.relay.counters());
    let sum = Counters::sum([&*one, &*other].into_iter());
    assert_eq!(
        (sum.legs.get(), sum.received.get(), sum.sent.get()),
        (4, 3, 2)
    );
    assert_eq!((sum.malformed.get(), sum.replayed.get()), (1, 0));
}

/// Legs and waiting events are bounded, and both bounds are counted.
#[test]
fn the_table_is_bounded() {
    let mut bench = Bench::new(plain(A), plain(B));
    for n in 3..300 {
        bench.command(Command::Open {
            leg: LegId(n),
            address: [127, 0, 0, 1].into(),
            port: 4000,
        });
    }
    let counters = bench.relay.counters();
    assert_eq!(
        (
            counters.legs.get(),
            counters.legs_refused.get(),
            counters.events_lost.get()
        ),
        (4, 295, 195)
    );
    assert_eq!(bench.events().len(), 100);
}

/// 50,000 random datagrams of every length, half of them shaped like RTP or RTCP, do no harm to any kind of leg.
#[test]
fn noise_does_no_harm() {
    let mut bench = Bench::new(
        LegConfig {
            source: MediaSource::Latch(nat()),
            ..secure(A, 1, 2)
        },
        plain(B),
    );
    let mut random = Random::from_number(11);
    for n in 0..50_000u32 {
        let mut bytes = random.bytes::<128>();
        if n % 2 == 0 {
            bytes[0] = 0x80 | bytes[0] & 0x3f;
            bytes[1] = if n % 4 == 0 {
                bytes[1]
            } else {
                192 + bytes[1] % 32
            };
        }
        let length = random.u32() as usize % 129;
        let (leg, port) = (
            if n % 3 == 0 { A } else { B },
            if n % 5 == 0 { Kind::Rtcp } else { Kind::Rtp },
        );
        bench.packet(leg, port, &bytes[..length]);
    }
    assert_eq!(bench.close(A).received, 0);
    assert!(
        bench
            .relay
            .packet(
                B,
                Kind::Rtp,
                address("192.0.2.2:4000"),
                &mut [0; BUFFER],
                65_507,
                bench.now
            )
            .is_none()
    );
}
