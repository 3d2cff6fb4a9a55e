//! What the relay's rules cost for a packet of 20 ms of G.711, besides system calls. `cargo bench --bench relay`.
//!
//! Fails if a packet, or a connectivity check on a path that is known, allocates.

use std::net::SocketAddr;
use std::time::Instant;
use tollgate::base::Random;
use tollgate::media::relay::{BUFFER, Kind, Limits};
use tollgate::media::{
    Command, Crypto, IceConfig, IceCredentials, LegConfig, LegId, MediaSource, Relay, Suite,
};
use tollgate::rtp::packet::{HEADER, Header, write_header};
use tollgate::rtp::srtp::{self, Sender};
use tollgate::rtp::stun::{BINDING, Class, Key, Writer, kind};

/// A batch is short enough to fit between two other tasks of a busy machine.
const BATCH: usize = 250;
const PACKETS: usize = 200 * BATCH;
const KEY: [u8; 30] = [3; 30];
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
    for (name, a, b, ice) in [
        ("RTP → RTP", false, false, false),
        ("SRTP → RTP", true, false, false),
        ("RTP → SRTP", false, true, false),
        ("SRTP → SRTP", true, true, false),
        ("RTP → ICE", false, true, true),
        ("ICE → ICE", true, true, true),
    ] {
        let packets = packets(a);
        let mut relay = relay(a, b);
        if ice {
            nominate(&mut relay);
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
}

/// One more row: a check on a path that is known, and its answer.
fn check() {
    let mut relay = relay(true, true);
    nominate(&mut relay);
    let bytes = request();
    let start = Instant::now();
    // A full second passes before each batch, so that none is refused.
    let mut batch = 0;
    let mut checks = |relay: &mut Relay| {
        batch += 1;
        let now = start + std::time::Duration::from_secs(batch);
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
    ([192, 0, 2, leg.0 as u8], 4000).into()
}

fn relay(a: bool, b: bool) -> Relay {
    let now = Instant::now();
    let mut relay = Relay::new(
        Limits {
            legs: 2000,
            events: 10,
        },
        Random::from_number(1),
        now,
        0,
    );
    // Others are there, too, as in real life.
    for leg in (100..1100).map(LegId).chain([A, B]) {
        relay.command(
            Command::Open {
                leg,
                address: [127, 0, 0, 1].into(),
                port: 4000,
            },
            now,
        );
    }
    for (leg, secure) in [(A, a), (B, b)] {
        let crypto = Crypto {
            suite: Suite::AesCm128HmacSha1_80,
            receive: KEY.into(),
            receive_mki_length: 0,
            send: KEY.into(),
            send_mki: Vec::new(),
        };
        let config = LegConfig {
            remote_rtp: remote(leg),
            remote_rtcp: remote(leg),
            rtcp_mux: true,
            crypto: secure.then_some(crypto),
            source: MediaSource::Strict,
            payload_map: Box::new(std::array::from_fn(|n| n as u8)),
            inactivity: None,
            receive: true,
            send: true,
        };
        relay.command(
            Command::Configure {
                leg,
                config: Box::new(config),
            },
            now,
        );
    }
    relay.command(
        Command::Connect {
            leg: A,
            with: Some(B),
        },
        now,
    );
    relay
}

fn packets(secure: bool) -> Vec<Vec<u8>> {
    let mut sender = Sender::new(srtp::Suite::AesCm128HmacSha1_80, &padded(), &[]);
    let packet = |n: usize| {
        let mut packet = vec![0xd5; HEADER + 160];
        let header = Header::new(8, false, n as u16, n as u32 * 160, 77);
        write_header(
            &header,
            packet
                .first_chunk_mut()
                .expect("it is longer than a header"),
        );
        if secure {
            let length = packet.len();
            packet.resize(length + sender.overhead(), 0);
            let protected = sender
                .protect_rtp(&mut packet, length)
                .expect("each number is new");
            packet.truncate(protected);
        }
        packet
    };
    (0..PACKETS).map(packet).collect()
}

/// As many bytes as the suite needs, and zeros.
fn padded() -> srtp::MasterKey {
    std::array::from_fn(|n| KEY.get(n).copied().unwrap_or(0))
}
