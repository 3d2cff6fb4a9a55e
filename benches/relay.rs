//! What the relay's rules cost for a packet of 20 ms of G.711, besides system calls, in every suite of SRTP, and what a leg takes
//! of memory, and what a held call costs beside one that is relayed. `cargo bench --bench relay`.
//!
//! Fails if a packet, or a connectivity check on a path that is known, allocates.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tollgate::audio::Law;
use tollgate::base::Random;
use tollgate::media::relay::{BUFFER, Kind, Limits};
use tollgate::media::{
    Command, Crypto, IceConfig, IceCredentials, LegConfig, LegId, MasterKey, MediaSource, Passage,
    Play, Relay, Suite,
};
use tollgate::rtp::packet::{HEADER, Header, write_header};
use tollgate::rtp::srtp::{self, Sender};
use tollgate::rtp::stun::{BINDING, Class, Key, Writer, kind};
use tollgate::sdp::Codec;

/// A batch is short enough to fit between two other tasks of a busy machine.
const BATCH: usize = 250;
const PACKETS: usize = 200 * BATCH;
const KEY: [u8; MasterKey::LONGEST] = [3; MasterKey::LONGEST];
/// Checks that a leg answers in a second are limited; so many come at once.
const CHECKS: usize = 100;
const UFRAG: &str = "abcdefgh";
const PWD: &str = "abcdefghijklmnopqrstuvwxyz";
const A: LegId = LegId(1);
const B: LegId = LegId(2);

fn main() {
    println!(
        "{:<14}{:>12}{:>12}{:>16}",
        "ns/packet", "best", "median", "allocations"
    );
    let usual = Some(Suite::AesCm128HmacSha1_80);
    for (name, a, b, ice, voice) in [
        ("RTP → RTP", None, None, false, None),
        ("SRTP → RTP", usual, None, false, None),
        ("RTP → SRTP", None, usual, false, None),
        ("SRTP → SRTP", usual, usual, false, None),
        ("RTP → ICE", None, usual, true, None),
        ("ICE → ICE", usual, usual, true, None),
        (
            "CM256 → RTP",
            Some(Suite::AesCm256HmacSha1_80),
            None,
            false,
            None,
        ),
        (
            "RTP → CM256",
            None,
            Some(Suite::AesCm256HmacSha1_80),
            false,
            None,
        ),
        (
            "GCM128 → RTP",
            Some(Suite::AeadAes128Gcm),
            None,
            false,
            None,
        ),
        (
            "RTP → GCM128",
            None,
            Some(Suite::AeadAes128Gcm),
            false,
            None,
        ),
        (
            "GCM256 → RTP",
            Some(Suite::AeadAes256Gcm),
            None,
            false,
            None,
        ),
        (
            "RTP → GCM256",
            None,
            Some(Suite::AeadAes256Gcm),
            false,
            None,
        ),
        ("A → µ", None, None, false, Some((0, "PCMU"))),
        ("A → G.722", None, None, false, Some((9, "G722"))),
    ] {
        let packets = packets(a);
        let mut relay = relay(a, b);
        if ice {
            nominate(&mut relay);
        }
        if let Some((payload_type, name)) = voice {
            convert(&mut relay, &Codec::new(payload_type, name, 8000));
        }
        // The first packet of a source makes room for what is known of it.
        relayed(&mut relay, &packets[..BATCH]);
        let allocated =
            allocation_counter::measure(|| relayed(&mut relay, &packets[BATCH..2 * BATCH]));
        let time = |batch: &[Vec<u8>]| {
            let start = Instant::now();
            relayed(&mut relay, batch);
            start.elapsed().as_nanos() as usize / BATCH
        };
        let mut times: Vec<usize> = packets[2 * BATCH..].chunks(BATCH).map(time).collect();
        times.sort();
        let (best, median, allocations) = (times[0], times[times.len() / 2], allocated.count_total);
        println!("{name:<14}{best:>12}{median:>12}{allocations:>16}");
        assert_eq!(allocations, 0, "a packet allocates");
    }
    check();
    memory();
    held();
}

/// 20 ms of calls between Teams (SRTP) and PBXs (RTP): all of them talk; or Teams holds all of them, the PBXs hear music and
/// go on sending. All who listen share one encoded piece.
fn held() {
    const CALLS: u64 = 5000;
    const ROUNDS: usize = 50;
    let secure = Some(Suite::AesCm128HmacSha1_80);
    let (from_teams, from_pbx) = (packets(secure), packets(None));
    let start = Instant::now();
    let legs = (1..=CALLS).map(|n| (LegId(2 * n), LegId(2 * n + 1)));
    let calls: Vec<(LegId, LegId)> = legs.collect();
    let round = |hold: bool| {
        let limits = Limits {
            legs: 2 * CALLS as usize,
            events: 10,
        };
        let mut relay = Relay::new(limits, Random::from_number(1), start, 0);
        for &(teams, pbx) in &calls {
            open(&mut relay, teams, secure, start);
            open(&mut relay, pbx, None, start);
            let (leg, with) = (teams, Some(pbx));
            relay.command(Command::Connect { leg, with }, start);
            let play = hold.then(|| Play::music(Law::A, 8));
            relay.command(Command::Play { leg: pbx, play }, start);
        }
        let (mut buffer, mut sent) = ([0; BUFFER], 0);
        let mut times: Vec<_> = (0..ROUNDS)
            .map(|n| {
                let now = start + Duration::from_millis(20) * n as u32;
                let began = Instant::now();
                relay.tick(now, &mut buffer, |_, _| sent += 1);
                for &(teams, pbx) in &calls {
                    let talks = [(teams, &from_teams[n]), (pbx, &from_pbx[n])];
                    for (leg, packet) in talks.into_iter().skip(usize::from(hold)) {
                        buffer[..packet.len()].copy_from_slice(packet);
                        let length = packet.len();
                        let forward =
                            relay.packet(leg, Kind::Rtp, remote(leg), &mut buffer, length, now);
                        sent += usize::from(forward.is_some());
                    }
                }
                began.elapsed()
            })
            .collect();
        times.sort();
        (times[ROUNDS / 2], sent / ROUNDS)
    };
    let ((talk, relayed), (music, played)) = (round(false), round(true));
    for (name, time, packets) in [("relayed", talk, relayed), ("held", music, played)] {
        let each = time.as_nanos() as usize / packets.max(1);
        println!(
            "{CALLS} calls {name}: {time:?} for 20 ms, {packets} packets sent, {each} ns each"
        );
    }
    let (call, packet) = (
        music.as_secs_f64() / talk.as_secs_f64(),
        (music.as_secs_f64() / played as f64) / (talk.as_secs_f64() / relayed as f64),
    );
    println!(
        "a held call costs {call:.2} of a relayed one; a packet of music {packet:.2} of a relayed one"
    );
}

/// What the table keeps of a leg with SRTP both ways, once packets have come; its sockets are the system's.
fn memory() {
    const LEGS: u64 = 1000;
    let now = Instant::now();
    let limits = Limits {
        legs: 2 * LEGS as usize,
        events: 10,
    };
    let random = Random::from_number(1);
    let mut relay = Relay::new(limits, random, now, 0);
    let packets = packets(Some(Suite::AesCm128HmacSha1_80));
    let kept = allocation_counter::measure(|| {
        for leg in (1..=LEGS).map(LegId) {
            open(&mut relay, leg, Some(Suite::AesCm128HmacSha1_80), now);
            if leg.0 % 2 == 0 {
                let with = Some(LegId(leg.0 - 1));
                relay.command(Command::Connect { leg, with }, now);
            }
        }
        for leg in (1..=LEGS).map(LegId) {
            for packet in &packets[..3] {
                let mut buffer = [0; BUFFER];
                buffer[..packet.len()].copy_from_slice(packet);
                relay.packet(leg, Kind::Rtp, remote(leg), &mut buffer, packet.len(), now);
            }
        }
    });
    println!("bytes/leg {}", kept.bytes_current / LEGS as i64);
}

/// One more row: a check on a path that is known, and its answer.
fn check() {
    let mut relay = relay(
        Some(Suite::AesCm128HmacSha1_80),
        Some(Suite::AesCm128HmacSha1_80),
    );
    nominate(&mut relay);
    let bytes = request();
    let start = Instant::now();
    // A full second passes before each batch, so that none is refused.
    let mut batch = 0;
    let mut checks = |relay: &mut Relay| {
        batch += 1;
        let now = start + Duration::from_secs(batch);
        let mut buffer = [0; BUFFER];
        for _ in 0..CHECKS {
            buffer[..bytes.len()].copy_from_slice(&bytes);
            let answer = relay.packet(A, Kind::Rtp, remote(A), &mut buffer, bytes.len(), now);
            assert!(answer.is_some_and(|answer| answer.leg == A));
        }
    };
    let allocated = allocation_counter::measure(|| checks(&mut relay));
    let mut times: Vec<usize> = (0..200)
        .map(|_| {
            let start = Instant::now();
            checks(&mut relay);
            start.elapsed().as_nanos() as usize / CHECKS
        })
        .collect();
    times.sort();
    let (best, median, allocations) = (times[0], times[times.len() / 2], allocated.count_total);
    println!("{:<14}{best:>12}{median:>12}{allocations:>16}", "check");
    assert_eq!(allocations, 0, "a check allocates");
}

/// The peer of the second leg takes this codec only.
fn convert(relay: &mut Relay, codec: &Codec) {
    let spoken = Codec::new(8, "PCMA", 8000);
    let passage = Passage::between(&[spoken], std::slice::from_ref(codec));
    let config = Box::new(LegConfig {
        passage: Arc::new(passage),
        ..plain(B, None)
    });
    relay.command(Command::Configure { leg: B, config }, Instant::now());
}

/// Both peers have ICE, and have nominated where they are.
fn nominate(relay: &mut Relay) {
    let bytes = request();
    for leg in [A, B] {
        let config = IceConfig {
            ours: IceCredentials {
                ufrag: UFRAG.into(),
                pwd: PWD.into(),
            },
            remote_ufrag: Some("peer".into()),
        };
        let now = Instant::now();
        let config = Box::new(config);
        relay.command(Command::Ice { leg, config }, now);
        let mut buffer = [0; BUFFER];
        buffer[..bytes.len()].copy_from_slice(&bytes);
        let answer = relay.packet(leg, Kind::Rtp, remote(leg), &mut buffer, bytes.len(), now);
        assert!(answer.is_some());
    }
}

fn request() -> Vec<u8> {
    let mut buffer = [0; 200];
    let length = Writer::new(&mut buffer, Class::Request, BINDING, &[7; 12])
        .attribute(kind::USERNAME, format!("{UFRAG}:peer").as_bytes())
        .attribute(kind::PRIORITY, &[0x6e, 0, 1, 0xff])
        .attribute(kind::ICE_CONTROLLING, &[9; 8])
        .attribute(kind::USE_CANDIDATE, &[])
        .integrity(&Key::new(PWD.as_bytes()))
        .fingerprint()
        .finish();
    buffer[..length.expect("there is room")].to_vec()
}

fn relayed(relay: &mut Relay, packets: &[Vec<u8>]) {
    let (mut buffer, now) = ([0; BUFFER], Instant::now());
    for packet in packets {
        buffer[..packet.len()].copy_from_slice(packet);
        let forward = relay.packet(A, Kind::Rtp, remote(A), &mut buffer, packet.len(), now);
        assert!(forward.is_some_and(|forward| forward.leg == B));
    }
}

fn remote(leg: LegId) -> SocketAddr {
    let address = Ipv4Addr::from(0x0a00_0000 + leg.0 as u32);
    (address, 4000).into()
}

fn relay(a: Option<Suite>, b: Option<Suite>) -> Relay {
    let now = Instant::now();
    let limits = Limits {
        legs: 2000,
        events: 10,
    };
    let mut relay = Relay::new(limits, Random::from_number(1), now, 0);
    // Others are there, too, as in real life.
    for leg in (100..1100).map(LegId) {
        open(&mut relay, leg, None, now);
    }
    for (leg, suite) in [(A, a), (B, b)] {
        open(&mut relay, leg, suite, now);
    }
    let (leg, with) = (A, Some(B));
    relay.command(Command::Connect { leg, with }, now);
    relay
}

fn open(relay: &mut Relay, leg: LegId, suite: Option<Suite>, now: Instant) {
    let (address, port) = ([127, 0, 0, 1].into(), 4000);
    relay.command(Command::Open { leg, address, port }, now);
    let config = Box::new(plain(leg, suite));
    relay.command(Command::Configure { leg, config }, now);
}

fn plain(leg: LegId, suite: Option<Suite>) -> LegConfig {
    let crypto = |suite: Suite| {
        let key = MasterKey::new(&KEY[..suite.key_length()]).expect("short enough");
        Crypto {
            suite,
            receive: key.clone(),
            receive_mki_length: 0,
            send: key,
            send_mki: Vec::new(),
        }
    };
    LegConfig {
        remote_rtp: remote(leg),
        remote_rtcp: remote(leg),
        rtcp_mux: true,
        crypto: suite.map(crypto),
        source: MediaSource::Strict,
        passage: Arc::new(Passage::unchanged()),
        inactivity: None,
        receive: true,
        send: true,
    }
}

fn packets(suite: Option<Suite>) -> Vec<Vec<u8>> {
    let mut sender = suite.map(|suite| {
        let key = std::array::from_fn(|n| if n < suite.key_length() { KEY[n] } else { 0 });
        Sender::new(named(suite), &key, &[])
    });
    let mut packet = |n: usize| {
        let mut packet = vec![0xd5; HEADER + 160];
        let header = Header::new(8, false, n as u16, n as u32 * 160, 77);
        write_header(
            &header,
            packet
                .first_chunk_mut()
                .expect("it is longer than a header"),
        );
        if let Some(sender) = &mut sender {
            let length = packet.len();
            packet.resize(length + sender.overhead(), 0);
            let protected = sender
                .protect_rtp(&mut packet, length)
                .expect("each number is new");
            packet.truncate(protected);
        }
        packet
    };
    (0..PACKETS).map(&mut packet).collect()
}

/// The same in the words of SRTP.
fn named(suite: Suite) -> srtp::Suite {
    match suite {
        Suite::AesCm128HmacSha1_80 => srtp::Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32 => srtp::Suite::AesCm128HmacSha1_32,
        Suite::AesCm256HmacSha1_80 => srtp::Suite::AesCm256HmacSha1_80,
        Suite::AeadAes128Gcm => srtp::Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm => srtp::Suite::AeadAes256Gcm,
    }
}
