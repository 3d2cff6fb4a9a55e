//! Voice that goes out in packets of another length than it came.

use super::*;
use crate::media::Fate;
use crate::sdp::Codec;
use std::sync::Arc;

/// The partner of leg A sends packets of so many milliseconds; B's peer wants others.
fn bench(comes: u16, wanted: u16) -> Bench {
    let codecs = [
        Codec::new(8, "PCMA", 8000),
        Codec::new(101, "telephone-event", 8000),
    ];
    let passage = Passage::between(&codecs, &codecs).with_packets(comes, Some(wanted), None);
    assert_eq!(passage.packet_ms, Some(wanted));
    let config = LegConfig {
        passage: Arc::new(passage),
        ..plain(B)
    };
    Bench::new(plain(A), config)
}

/// What was said since the beginning: the n-th octet tells n.
fn said(from: usize, octets: usize) -> Vec<u8> {
    (from..from + octets).map(|n| (n % 251) as u8).collect()
}

fn packet(sequence: u16, from: usize, octets: usize) -> Vec<u8> {
    let mut packet = vec![0; HEADER];
    let header = Header::new(8, false, sequence, from as u32, 77);
    write_header(&header, packet.first_chunk_mut().unwrap());
    packet.extend(said(from, octets));
    packet
}

/// Voice of this many packets, and the packets that B's peer gets of it.
fn speak(bench: &mut Bench, ms: u16, packets: u16) -> Vec<(Header, Vec<u8>)> {
    let octets = usize::from(ms) * 8;
    let mut sent = Vec::new();
    for n in 0..packets {
        let bytes = packet(n, usize::from(n) * octets, octets);
        assert_eq!(bench.packet(A, Kind::Rtp, &bytes), None, "held back");
        sent.extend(bench.pass(Duration::from_millis(ms.into())));
    }
    sent.extend(bench.pass(Duration::from_millis(60)));
    let voice = sent
        .into_iter()
        .filter(|(_, forward, bytes)| forward.leg == B && !packet_is_rtcp(bytes));
    voice
        .map(|(_, _, bytes)| (Header::parse(&bytes).unwrap(), bytes[HEADER..].to_vec()))
        .collect()
}

/// From each length to each other: every octet arrives once and in order, in packets of the right length, under one source with
/// one row of numbers and a time that goes on with them.
#[test]
fn voice_is_cut_anew() {
    for comes in [10, 20, 30, 40, 60] {
        for wanted in [10, 20, 30, 40, 60] {
            if comes == wanted {
                continue;
            }
            let mut bench = bench(comes, wanted);
            let packets = 1200 / comes;
            let heard = speak(&mut bench, comes, packets);
            let octets = usize::from(wanted) * 8;
            assert_eq!(heard.len(), 9600 / octets, "{comes} to {wanted}");
            let (first, _) = heard[0];
            assert!(first.marker && first.ssrc != 77);
            for (n, (header, voice)) in heard.iter().enumerate() {
                assert_eq!(voice[..], said(n * octets, octets), "{comes} to {wanted}");
                let so_far = (n * octets) as u32;
                assert_eq!(header.timestamp, first.timestamp.wrapping_add(so_far));
                assert_eq!(header.sequence, first.sequence.wrapping_add(n as u16));
                assert_eq!((header.ssrc, header.payload_type), (first.ssrc, 8));
                assert_eq!(header.marker, n == 0);
            }
        }
    }
}

/// A lost packet becomes silence, a late one is left out; after a pause time goes on by the clock, with a marker.
#[test]
fn gaps_keep_their_length() {
    let mut bench = bench(20, 40);
    for (sequence, from) in [(0, 0), (1, 160), (3, 480), (2, 320), (4, 640)] {
        bench.packet(A, Kind::Rtp, &packet(sequence, from, 160));
    }
    let heard = |bench: &mut Bench| {
        let sent = bench.pass(Duration::from_millis(100)).into_iter();
        let voice = sent.filter(|(_, forward, b)| forward.leg == B && !packet_is_rtcp(b));
        voice.map(|(_, _, bytes)| bytes).collect::<Vec<_>>()
    };
    let before = heard(&mut bench);
    assert_eq!(before.len(), 2);
    assert_eq!(before[1][HEADER..HEADER + 160], [g711::alaw(0); 160]);
    assert_eq!(before[1][HEADER + 160..], said(480, 160));
    bench.pass(Duration::from_secs(2));
    for (sequence, from) in [(5, 20_000), (6, 20_160)] {
        bench.packet(A, Kind::Rtp, &packet(sequence, from, 160));
    }
    let after = heard(&mut bench);
    assert_eq!(after.len(), 1);
    assert_eq!(after[0][HEADER..], said(20_000, 320));
    let [last, next] = [&before[1], &after[0]].map(|bytes| Header::parse(bytes).unwrap());
    assert!(next.marker && next.sequence == last.sequence.wrapping_add(1));
    let apart = next.timestamp.wrapping_sub(last.timestamp);
    assert!((16_000..18_000).contains(&apart), "{apart}");
}

/// Telephone events go on at once, in the same stream as the voice, and the partner's reports about another one do not.
#[test]
fn events_join_the_stream() {
    let mut bench = bench(20, 30);
    let heard = speak(&mut bench, 20, 6);
    let (last, _) = heard[heard.len() - 1];
    let mut event = packet(6, 960, 0);
    event[1] = 0x80 | 101;
    event.extend([5, 10, 0, 160]);
    let (_, bytes) = bench.packet(A, Kind::Rtp, &event).unwrap();
    let header = Header::parse(&bytes).unwrap();
    assert_eq!(
        (header.ssrc, header.payload_type, header.marker),
        (last.ssrc, 101, true)
    );
    assert_eq!(header.sequence, last.sequence.wrapping_add(1));
    assert_eq!(header.timestamp, last.timestamp.wrapping_add(240));
    assert_eq!(bytes[HEADER..], [5, 10, 0, 160]);
    assert_eq!(bench.packet(A, Kind::Rtcp, &SENDER_REPORT), None);
}

/// Nothing grows while nobody takes it, and nothing that comes breaks anything; a refresh keeps the stream.
#[test]
fn nonsense_and_refreshes_do_no_harm() {
    let mut bench = bench(20, 30);
    let mut random = Random::from_number(4);
    for n in 0..5000u32 {
        let length = random.u32() as usize % 1500;
        let from = (n as usize * 160).wrapping_add(random.u32() as usize % 3000);
        bench.packet(A, Kind::Rtp, &packet(n as u16, from, length));
        if n % 50 == 0 {
            bench.pass(FRAME);
        }
    }
    assert_eq!(bench.relay.counters().payload_type.get(), 0);
    let config = || {
        let codecs = [Codec::new(8, "PCMA", 8000)];
        let mut passage = Passage::between(&codecs, &codecs).with_packets(20, Some(30), None);
        passage.set(0, Fate::Dropped);
        LegConfig {
            passage: Arc::new(passage),
            ..plain(B)
        }
    };
    let mut bench = Bench::new(plain(A), config());
    bench.packet(A, Kind::Rtp, &packet(0, 0, 160));
    bench.configure(B, config());
    bench.packet(A, Kind::Rtp, &packet(1, 160, 80));
    let sent = bench.pass(FRAME * 2);
    let voice: Vec<_> = sent.iter().filter(|s| !packet_is_rtcp(&s.2)).collect();
    assert_eq!(voice.len(), 1);
    assert_eq!(voice[0].2[HEADER..], said(0, 240));
}
