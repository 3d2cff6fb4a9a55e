//! SRTP, RTP, RTCP, telephone events and G.711 against known answers of others, and SRTP against another
//! implementation over random packets.

use crate::corpora;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tollgate::audio::g711;
use tollgate::base::Random;
use tollgate::media::relay::{BUFFER, Kind, Limits};
use tollgate::media::{Command, Event, Fate, LegConfig, LegId, MediaSource, Passage, Relay};
use tollgate::rtp::packet::Header;
use tollgate::rtp::srtp::{MasterKey, Receiver, Sender, SrtpError, Suite};
use tollgate::rtp::telephone_event::{Keys, TelephoneEvent};
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

/// Ours, and what another implementation calls them; where that one has them.
const SUITES: [(&str, Suite, ProtectionProfile); 5] = [
    (
        "AES_CM_128_HMAC_SHA1_80",
        Suite::AesCm128HmacSha1_80,
        ProtectionProfile::Aes128CmHmacSha1_80,
    ),
    (
        "AES_CM_128_HMAC_SHA1_32",
        Suite::AesCm128HmacSha1_32,
        ProtectionProfile::Aes128CmHmacSha1_32,
    ),
    (
        "AES_256_CM_HMAC_SHA1_80",
        Suite::AesCm256HmacSha1_80,
        ProtectionProfile::Aes256CmHmacSha1_80,
    ),
    (
        "AEAD_AES_128_GCM",
        Suite::AeadAes128Gcm,
        ProtectionProfile::AeadAes128Gcm,
    ),
    (
        "AEAD_AES_256_GCM",
        Suite::AeadAes256Gcm,
        ProtectionProfile::AeadAes256Gcm,
    ),
];

/// A key of the suite, and another implementation's context under it.
fn random_key(suite: Suite, random: &mut Random) -> MasterKey {
    let bytes: MasterKey = random.bytes();
    std::array::from_fn(|n| {
        if n < suite.master_length() {
            bytes[n]
        } else {
            0
        }
    })
}

fn other(suite: Suite, profile: ProtectionProfile, key: &MasterKey) -> Context {
    let (master, rest) = key.split_at(profile.key_len());
    let salt = &rest[..suite.master_length() - master.len()];
    Context::new(master, salt, profile, None, None).expect("a context")
}

fn vectors(file: &str) -> Option<Value> {
    let path = corpora::find("vectors")?.join(file);
    let text = std::fs::read_to_string(path).expect("a vector file can be read");
    Some(serde_json::from_str(&text).expect("a vector file is JSON"))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().expect("a list")
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal text");
    let digits = text
        .as_bytes()
        .chunks(2)
        .map(|two| std::str::from_utf8(two).expect("ASCII"));
    digits
        .map(|two| u8::from_str_radix(two, 16).expect("hexadecimal text"))
        .collect()
}

/// The suite and key of a vector; `None` for the suites that nobody offers us.
fn context(vector: &Value) -> Option<(Suite, MasterKey)> {
    let (_, suite, _) = SUITES.iter().find(|(name, ..)| vector["suite"] == *name)?;
    let mut key = [hex(&vector["master_key"]), hex(&vector["master_salt"])].concat();
    assert_eq!(key.len(), suite.master_length());
    key.resize(size_of::<MasterKey>(), 0);
    Some((*suite, key.try_into().expect("as long as it was made")))
}

fn protect(sender: &mut Sender, kind: Kind, plain: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + sender.overhead(), 0);
    let length = match kind {
        Kind::Rtp => sender.protect_rtp(&mut buffer, plain.len())?,
        Kind::Rtcp => sender.protect_rtcp(&mut buffer, plain.len())?,
    };
    buffer.truncate(length);
    Ok(buffer)
}

fn unprotect(receiver: &mut Receiver, kind: Kind, protected: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = protected.to_vec();
    let length = match kind {
        Kind::Rtp => receiver.unprotect_rtp(&mut buffer)?.1,
        Kind::Rtcp => receiver.unprotect_rtcp(&mut buffer)?,
    };
    buffer.truncate(length);
    Ok(buffer)
}

/// Published and derived packets of our suites are made and understood byte for byte, with and without an MKI.
#[test]
fn known_packets() {
    let Some(vectors) = vectors("srtp.json") else {
        return;
    };
    let mut shown = 0;
    for vector in list(&vectors, "packets") {
        let Some((suite, key)) = context(vector) else {
            continue;
        };
        let (plain, protected) = (hex(&vector["plain"]), hex(&vector["protected"]));
        let mki = vector.get("mki").map(hex).unwrap_or_default();
        let mut sender = Sender::new(suite, &key, &mki);
        let mut receiver = Receiver::new(suite, &key, mki.len() as u8);
        // What was sent before decides the index: a packet at the end of the round before, or an RTCP packet.
        let kind = match (
            vector["kind"].as_str(),
            vector["roc"].as_u64(),
            vector["index"].as_u64(),
        ) {
            (Some("rtp"), Some(0), _) => Kind::Rtp,
            (Some("rtp"), Some(1), _) => {
                let mut before = plain.clone();
                before[2..4].copy_from_slice(&[0xff, 0xff]);
                let before = protect(&mut sender, Kind::Rtp, &before).expect("the packet before");
                unprotect(&mut receiver, Kind::Rtp, &before).expect("the packet before");
                Kind::Rtp
            }
            (Some("rtcp"), _, Some(index)) => {
                for _ in 0..index {
                    protect(&mut sender, Kind::Rtcp, &plain).expect("the packets before");
                }
                Kind::Rtcp
            }
            other => panic!("a new kind of vector: {other:?}"),
        };
        assert_eq!(
            protect(&mut sender, kind, &plain).as_ref(),
            Ok(&protected),
            "{vector}"
        );
        assert_eq!(
            unprotect(&mut receiver, kind, &protected).as_ref(),
            Ok(&plain),
            "{vector}"
        );
        shown += 1;
    }
    assert!(shown >= 20, "{shown}");
}

/// Replays, reordering, wraps with and without loss, forgeries and floods end as each vector says, step by step.
#[test]
fn known_sequences() {
    let Some(vectors) = vectors("srtp.json") else {
        return;
    };
    let mut steps = 0;
    for sequence in list(&vectors, "sequences") {
        let (suite, key) = context(sequence).expect("one of our suites");
        let mut receiver = Receiver::new(suite, &key, 0);
        for step in list(sequence, "steps") {
            let accepted = unprotect(&mut receiver, Kind::Rtp, &hex(&step["packet"])).is_ok();
            // The vector has a window of 64; ours of 128 still knows that its packet, 100 behind, was never seen.
            let expected = step["expect"] == "accept" || sequence["name"] == "too-old";
            assert_eq!(accepted, expected, "{}: {}", sequence["name"], step["seq"]);
            steps += 1;
        }
    }
    assert!(steps > 150, "{steps}");
}

const A: LegId = LegId(1);
const B: LegId = LegId(2);

/// A relay between two plain peers, of which the second has agreed to these payload types only.
fn relay(payload_types: &[(u8, u8)], now: Instant) -> Relay {
    let mut relay = Relay::new(
        Limits {
            legs: 2,
            events: 10,
        },
        Random::from_number(1),
        now,
        0,
    );
    let mut passage = Passage::between(&[], &[]);
    for (from, to) in payload_types {
        passage.set(*from, Fate::As(*to));
    }
    for leg in [A, B] {
        let remote = |port| SocketAddr::new([192, 0, 2, leg.0 as u8].into(), port);
        let config = LegConfig {
            remote_rtp: remote(4000),
            remote_rtcp: remote(4001),
            rtcp_mux: false,
            crypto: None,
            source: MediaSource::Strict,
            passage: Arc::new(passage.clone()),
            inactivity: None,
            receive: true,
            send: true,
        };
        relay.command(
            Command::Open {
                leg,
                address: [127, 0, 0, 1].into(),
                port: 4000,
            },
            now,
        );
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

/// What the second peer gets for a packet of the first one.
fn through(relay: &mut Relay, port: Kind, bytes: &[u8], now: Instant) -> Option<Vec<u8>> {
    let from = ([192, 0, 2, 1], if port == Kind::Rtp { 4000 } else { 4001 }).into();
    let mut buffer = vec![0; BUFFER.max(bytes.len())];
    buffer[..bytes.len()].copy_from_slice(bytes);
    let forward = relay.packet(A, port, from, &mut buffer, bytes.len(), now)?;
    Some(buffer[..forward.length].to_vec())
}

/// Good packets pass the relay unchanged; malformed ones, other protocols and what was not agreed do not.
#[test]
fn known_packets_through_the_relay() {
    let Some(vectors) = vectors("rtp_rtcp.json") else {
        return;
    };
    let now = Instant::now();
    let mut relay = relay(&[(0, 0), (8, 8), (13, 13), (101, 101)], now);
    for (kind, port) in [("rtp", Kind::Rtp), ("rtcp", Kind::Rtcp)] {
        for vector in list(&vectors, kind) {
            let (name, bytes) = (&vector["name"], hex(&vector["hex"]));
            let port = if name == "rtcp-on-rtp-port" {
                Kind::Rtp
            } else {
                port
            };
            let passed = through(&mut relay, port, &bytes, now);
            if let Some(passed) = &passed {
                assert_eq!(*passed, bytes, "{name}");
            }
            let verdict = vector["expect"].as_str().expect("a verdict");
            match verdict.split([' ', ':', ',']).next() {
                Some("relay") if !verdict.contains("or drop") => {
                    assert!(passed.is_some(), "{name}: {verdict}")
                }
                Some("relay/consume") => assert!(passed.is_some(), "{name}: {verdict}"),
                Some("drop") if !verdict.contains(" or ") => {
                    assert!(passed.is_none(), "{name}: {verdict}")
                }
                Some("RTCP" | "with") => assert!(passed.is_none(), "{name}: {verdict}"),
                _ => {}
            }
        }
    }
    for seed in list(&vectors, "seeds") {
        let bytes = hex(&seed["hex"]);
        through(&mut relay, Kind::Rtp, &bytes, now);
        through(&mut relay, Kind::Rtcp, &bytes, now);
    }
    relay.command(Command::Close { leg: A }, now);
    let closed = std::iter::from_fn(|| relay.poll_event())
        .any(|event| matches!(event, Event::Closed { .. }));
    assert!(closed, "the call has outlived all of it");
}

/// Captured and made-up key presses are read, with packets lost, repeated and out of order.
#[test]
fn known_keys() {
    let Some(vectors) = vectors("dtmf.json") else {
        return;
    };
    let read = |packet: &[u8]| {
        let header = Header::parse(packet).expect("an RTP packet");
        let payload = header.payload(packet).expect("sound padding");
        (header, TelephoneEvent::parse(&packet[payload]))
    };
    for capture in list(&vectors, "captures") {
        let mut keys = Keys::default();
        let mut heard = String::new();
        for packet in list(capture, "packets") {
            let (header, event) = read(&hex(&packet["rtp"]));
            let event = event.expect("an event");
            assert_eq!(packet["event"], event.event);
            assert_eq!(packet["end"], u8::from(event.end));
            assert_eq!(packet["volume"], event.volume);
            assert_eq!(packet["duration"], event.duration);
            heard.extend(keys.packet(header.timestamp, event));
        }
        let expected = match capture["digit"].as_str().expect("a key") {
            "pound" => "#",
            "star" => "*",
            digit => digit,
        };
        assert_eq!(heard, expected);
    }
    for case in list(&vectors, "synthetic") {
        let mut keys = Keys::default();
        let heard: String = list(case, "packets")
            .iter()
            .filter_map(|packet| {
                let (header, event) = read(&hex(packet));
                keys.packet(header.timestamp, event?)
            })
            .collect();
        let allowed = case["allow"]
            .as_array()
            .is_some_and(|allow| allow.iter().any(|one| *one == heard.as_str()));
        assert!(
            case["expect"] == heard.as_str() || allowed,
            "{}: heard {heard}",
            case["name"]
        );
    }
}

/// Captured events pass the relay with nothing changed but their payload type, each of the repeated ends included.
#[test]
fn keys_through_the_relay() {
    let Some(vectors) = vectors("dtmf.json") else {
        return;
    };
    let now = Instant::now();
    for capture in list(&vectors, "captures") {
        let mut relay = relay(&[(101, 96)], now);
        for packet in list(capture, "packets") {
            let mut expected = hex(&packet["rtp"]);
            let passed = through(&mut relay, Kind::Rtp, &expected, now);
            expected[1] = expected[1] & 0x80 | 96;
            assert_eq!(passed, Some(expected));
        }
    }
}

/// Our G.711 tables are those of everybody else, and going from one law to the other and back keeps what it should.
#[test]
fn known_samples() {
    let Some(vectors) = vectors("g711.json") else {
        return;
    };
    for (name, table) in [("ulaw_decode", &g711::MULAW), ("alaw_decode", &g711::ALAW)] {
        let expected: Vec<i64> = list(&vectors, name)
            .iter()
            .filter_map(Value::as_i64)
            .collect();
        assert_eq!(table.map(i64::from).to_vec(), expected, "{name}");
    }
    for octet in 0..=255u8 {
        let sample = g711::MULAW[usize::from(octet)];
        let back = g711::mulaw(g711::ALAW[usize::from(g711::alaw(sample))]);
        let steps = i16::from(octet & 0x7f) - i16::from(back & 0x7f);
        assert!(
            steps.abs() <= 1 || sample.abs() <= 16,
            "{octet:#x} became {back:#x}"
        );
    }
}

/// A random RTP packet: with contributing sources, an extension and padding now and then, of every length up to 300.
fn random_rtp(random: &mut Random, sequence: u16, ssrc: u32) -> Vec<u8> {
    let shape = random.u32();
    let (sources, extended) = ((shape & 3) as u8, shape & 4 != 0);
    let mut packet = vec![
        0x80 | sources | u8::from(extended) << 4,
        (random.u32() % 64) as u8,
    ];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&random.u32().to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    for _ in 0..sources {
        packet.extend_from_slice(&random.bytes::<4>());
    }
    if extended {
        packet.extend_from_slice(&[0x12, 0x34, 0, 1]);
        packet.extend_from_slice(&random.bytes::<4>());
    }
    for _ in 0..random.u32() % 300 {
        packet.extend_from_slice(&random.bytes::<1>());
    }
    if shape & 8 != 0 {
        packet[0] |= 0x20;
        packet.extend_from_slice(&[0, 0, 3]);
    }
    packet
}

/// Over two wraps, with loss and several sources, another implementation and ours make the same bytes of the same
/// packets and understand each other, in all suites. A failure prints the seed.
#[test]
fn rtp_agrees_with_another_implementation() {
    for (name, suite, profile) in SUITES {
        let seed = 4711;
        let mut random = Random::from_number(seed);
        let key = random_key(suite, &mut random);
        let mut sender = Sender::new(suite, &key, &[]);
        let mut receiver = Receiver::new(suite, &key, 0);
        let mut other_sender = other(suite, profile, &key);
        let mut other_receiver = other(suite, profile, &key);
        // In strides, so that few packets see two wraps of each source.
        let mut sequences = [1000u32; 3];
        for n in 0..1500 {
            let source = random.u32() as usize % sequences.len();
            sequences[source] += 1 + random.u32() % 600;
            let plain = random_rtp(&mut random, sequences[source] as u16, 100 + source as u32);
            let ours = protect(&mut sender, Kind::Rtp, &plain).expect("a good packet");
            let theirs = other_sender.encrypt_rtp(&plain).expect("a good packet");
            assert_eq!(ours, theirs, "{name}, seed {seed}, packet {n}");
            assert_eq!(
                unprotect(&mut receiver, Kind::Rtp, &theirs),
                Ok(plain.clone()),
                "{name}, seed {seed}, packet {n}"
            );
            assert_eq!(
                other_receiver.decrypt_rtp(&ours).expect("a good packet"),
                plain,
                "{name}, seed {seed}, packet {n}"
            );
        }
        assert!(
            sequences.iter().all(|sequence| *sequence > 2 << 16),
            "{sequences:?}"
        );
    }
}

/// RTCP of several sources likewise.
#[test]
fn rtcp_agrees_with_another_implementation() {
    for (name, suite, profile) in SUITES {
        let seed = 4712;
        let mut random = Random::from_number(seed);
        let key = random_key(suite, &mut random);
        let mut sender = Sender::new(suite, &key, &[]);
        let mut receiver = Receiver::new(suite, &key, 0);
        let mut other_sender = other(suite, profile, &key);
        let mut other_receiver = other(suite, profile, &key);
        for ssrc in 1..4u32 {
            // It counts from index 1, we from 0 (RFC 3711 §3.4): one packet more brings us together.
            let first = [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat();
            let first = protect(&mut sender, Kind::Rtcp, &first).expect("a good packet");
            assert!(unprotect(&mut receiver, Kind::Rtcp, &first).is_ok());
            for n in 0..200 {
                let words = random.u32() % 40;
                let mut plain = vec![0x80, 204, 0, words as u8 + 1];
                plain.extend_from_slice(&ssrc.to_be_bytes());
                for _ in 0..words {
                    plain.extend_from_slice(&random.bytes::<4>());
                }
                let ours = protect(&mut sender, Kind::Rtcp, &plain).expect("a good packet");
                let theirs = other_sender.encrypt_rtcp(&plain).expect("a good packet");
                assert_eq!(
                    ours, theirs,
                    "{name}, seed {seed}, source {ssrc}, packet {n}"
                );
                assert_eq!(
                    unprotect(&mut receiver, Kind::Rtcp, &theirs),
                    Ok(plain.clone())
                );
                assert_eq!(
                    other_receiver.decrypt_rtcp(&ours).expect("a good packet"),
                    plain
                );
            }
        }
    }
}

/// A call of half an hour in SRTP both ways, over two wraps, every third packet lost from 20 minutes on and a refresh
/// after 27 minutes, in virtual time: nothing fails to authenticate and what is lost is what was lost.
#[test]
fn half_an_hour_of_srtp() {
    use tollgate::media::{Crypto, MasterKey as Key, Suite as Named};
    let start = Instant::now();
    let mut relay = relay(&[(8, 8)], start);
    let (remote, keys) = (SocketAddr::from(([192, 0, 2, 1], 4000)), [[1; 46], [2; 46]]);
    let configure = |relay: &mut Relay, now| {
        let crypto = Crypto {
            suite: Named::AesCm128HmacSha1_80,
            receive: Key::new(&keys[0][..30]).expect("short enough"),
            receive_mki_length: 0,
            send: Key::new(&keys[1][..30]).expect("short enough"),
            send_mki: Vec::new(),
        };
        let mut passage = Passage::between(&[], &[]);
        passage.set(8, Fate::As(8));
        let config = LegConfig {
            remote_rtp: remote,
            remote_rtcp: remote,
            rtcp_mux: true,
            crypto: Some(crypto),
            source: MediaSource::Strict,
            passage: Arc::new(passage),
            inactivity: Some(Duration::from_secs(30)),
            receive: true,
            send: true,
        };
        relay.command(
            Command::Configure {
                leg: A,
                config: Box::new(config),
            },
            now,
        );
    };
    configure(&mut relay, start);
    let mut peer_sender = Sender::new(Suite::AesCm128HmacSha1_80, &keys[0], &[]);
    let mut peer_receiver = Receiver::new(Suite::AesCm128HmacSha1_80, &keys[1], 0);
    let mut buffer = [0; BUFFER];
    let (mut lost, mut returned) = (0, 0);
    for n in 0..90_000u32 {
        let now = start + Duration::from_millis(20) * n;
        if n % 81_000 == 80_999 {
            configure(&mut relay, now);
        }
        let mut plain = [0x55; 32];
        plain[..2].copy_from_slice(&[0x80, 8]);
        plain[2..4].copy_from_slice(&(n as u16).wrapping_add(60_000).to_be_bytes());
        plain[4..8].copy_from_slice(&(n * 160).to_be_bytes());
        let protected = protect(&mut peer_sender, Kind::Rtp, &plain).expect("a good packet");
        if n > 60_000 && n.is_multiple_of(3) {
            lost += 1;
        } else {
            assert_eq!(
                through(&mut relay, Kind::Rtp, &protected, now).as_deref(),
                Some(&plain[..]),
                "packet {n}"
            );
        }
        buffer[..32].copy_from_slice(&plain);
        let forward = relay.packet(
            B,
            Kind::Rtp,
            ([192, 0, 2, 2], 4000).into(),
            &mut buffer,
            32,
            now,
        );
        let forward = forward.expect("it is connected");
        assert_eq!(
            unprotect(&mut peer_receiver, Kind::Rtp, &buffer[..forward.length]).as_deref(),
            Ok(&plain[..])
        );
        returned += 1;
        relay.tick(now, &mut buffer, |_, _| ());
    }
    relay.command(Command::Close { leg: A }, start + Duration::from_secs(1800));
    let report = std::iter::from_fn(|| relay.poll_event()).find_map(|event| match event {
        Event::Closed { report, .. } => Some(report),
        Event::Inactive { leg } => panic!("{leg:?} was never silent"),
        _ => None,
    });
    let report = report.expect("closing is told");
    assert_eq!(
        (report.received, report.lost, report.sent),
        (90_000 - lost, lost, returned)
    );
    assert_eq!((report.authentication_failures, report.replayed), (0, 0));
}

#[path = "../../fuzz/properties/rtcp.rs"]
mod property;

/// The committed corpus of the fuzz target passes it.
#[test]
fn the_fuzz_corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/rtcp");
    let files: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus is part of the project")
        .flatten()
        .collect();
    assert!(files.len() >= 12);
    for file in files {
        property::check(&std::fs::read(file.path()).expect("a file of the corpus can be read"));
    }
}
