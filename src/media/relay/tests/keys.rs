//! Keys that change their form on the way: events, INFO (orders and news) and tones.

use super::*;
use crate::audio::dtmf::{self, Detector};
use crate::audio::transcode::expand;
use crate::media::Dtmf;
use crate::rtp::telephone_event::TelephoneEvent;
use crate::sdp::Codec;
use std::sync::Arc;

fn a_law() -> Codec {
    Codec::new(8, "PCMA", 8000)
}

fn events() -> Codec {
    Codec::new(101, "telephone-event", 8000)
}

/// The partner's packets come from leg A, and go out to B's peer in these forms.
fn bench(partner: Dtmf, peer: Dtmf) -> Bench {
    let codecs = |form| match form {
        Dtmf::Events => vec![a_law(), events()],
        Dtmf::Info | Dtmf::Inband => vec![a_law()],
    };
    let from = [a_law(), events()];
    let passage = Passage::between(&from, &codecs(peer)).with_keys(&from, partner, peer);
    let config = LegConfig {
        passage: Arc::new(passage),
        ..plain(B)
    };
    Bench::new(plain(A), config)
}

/// 20 ms of these samples, the `n`th of the partner's packets.
fn spoken(n: u32, samples: &[i16]) -> Vec<u8> {
    let mut packet = voice(n as u16);
    packet.truncate(HEADER);
    packet.extend(samples.iter().map(|sample| g711::alaw(*sample)));
    packet
}

fn silence(n: u32) -> Vec<u8> {
    spoken(n, &[0; 160])
}

/// The `n`th packet of a key that began with packet `start`.
fn event_packet(n: u32, start: u32, event: u8, end: bool, duration: u16) -> Vec<u8> {
    let mut packet = vec![0; HEADER];
    let header = Header::new(101, n == start, n as u16, start * 160, 77);
    write_header(&header, packet.first_chunk_mut().unwrap());
    let event = TelephoneEvent {
        event,
        end,
        volume: 10,
        duration,
    };
    packet.extend(event.write());
    packet
}

/// A packet's header and its event.
fn event(packet: &[u8]) -> Option<(Header, TelephoneEvent)> {
    let header = Header::parse(packet).unwrap();
    let event = (header.payload_type == 101).then(|| TelephoneEvent::parse(&packet[HEADER..]))?;
    Some((header, event.unwrap()))
}

fn keys_told(bench: &mut Bench) -> Vec<(LegId, char, u64)> {
    let events = std::iter::from_fn(|| bench.relay.poll_event());
    let told = events.filter_map(|event| match event {
        Event::Key { leg, key, duration } => Some((leg, key, duration.as_millis() as u64)),
        _ => None,
    });
    told.collect()
}

fn dial(bench: &mut Bench, keys: &str, ms: u64) {
    for key in keys.chars() {
        bench.command(Command::Dial {
            leg: B,
            key,
            duration: Duration::from_millis(ms),
        });
    }
}

/// TDR-813: events towards a peer that gets INFO are taken out of the media, each is told once when it is over, with its
/// length; one whose end was lost as well, by the next key or by the time. Voice passes meanwhile.
#[test]
fn events_are_taken_out_and_told() {
    let mut bench = bench(Dtmf::Events, Dtmf::Info);
    for n in 1..=5 {
        let packet = event_packet(n, 1, 5, false, n as u16 * 160);
        assert_eq!(bench.packet(A, Kind::Rtp, &packet), None);
    }
    assert_eq!(keys_told(&mut bench), []);
    for n in 6..=8 {
        let packet = event_packet(n, 1, 5, true, 960);
        assert_eq!(bench.packet(A, Kind::Rtp, &packet), None);
    }
    assert_eq!(keys_told(&mut bench), [(B, '5', 120)]);
    assert!(bench.packet(A, Kind::Rtp, &silence(9)).is_some());
    bench.packet(A, Kind::Rtp, &event_packet(10, 10, 11, false, 400));
    bench.packet(A, Kind::Rtp, &event_packet(12, 12, 5, false, 160));
    assert_eq!(keys_told(&mut bench), [(B, '#', 50)]);
    bench.pass(Duration::from_secs(1));
    assert_eq!(keys_told(&mut bench), [(B, '5', 20)]);
    bench.packet(A, Kind::Rtp, &event_packet(12, 12, 5, true, 400));
    bench.packet(A, Kind::Rtp, &event_packet(13, 13, 16, true, 400));
    assert_eq!(keys_told(&mut bench), [], "late, and no key");
    assert!(bench.relay.counters().keys.get() >= 11);
}

/// RFC 4733 §2.5.1: a key from INFO takes the place of voice, in the same source and row of numbers: the first packet has the
/// marker, all have the timestamp of the beginning, the length grows, and the end comes three times; then there is voice
/// again, and the next key waits its turn.
#[test]
fn orders_become_events_in_place_of_voice() {
    let mut bench = bench(Dtmf::Info, Dtmf::Events);
    dial(&mut bench, "1#", 100);
    let mut heard: Vec<(bool, u32, TelephoneEvent)> = Vec::new();
    for n in 1..=40u32 {
        bench.pass(FRAME);
        let (_, bytes) = bench.packet(A, Kind::Rtp, &silence(n)).unwrap();
        let header = Header::parse(&bytes).unwrap();
        assert_eq!((header.ssrc, header.sequence), (77, n as u16));
        match event(&bytes) {
            Some((header, event)) => heard.push((header.marker, header.timestamp, event)),
            None => assert_eq!((header.timestamp, bytes.len()), (n * 160, HEADER + 160)),
        }
    }
    let marked: Vec<_> = heard
        .iter()
        .filter(|h| h.0)
        .map(|h| (h.1, h.2.event))
        .collect();
    assert_eq!(marked, [(160, 1), (160 * 8, 11)]);
    let (first, second) = heard.split_at(7);
    for (key, part) in [(1, first), (11, second)] {
        let lengths: Vec<_> = part.iter().map(|h| (h.2.duration, h.2.end)).collect();
        let wanted = [
            (160, false),
            (320, false),
            (480, false),
            (640, false),
            (800, true),
            (800, true),
            (800, true),
        ];
        assert_eq!(lengths, wanted);
        assert!(part.iter().all(|h| h.2.event == key && h.1 == part[0].1));
    }
}

/// Without voice of the partner's to ride on, keys go in our own stream, paced by the clock.
#[test]
fn orders_need_no_voice() {
    let mut bench = bench(Dtmf::Info, Dtmf::Events);
    dial(&mut bench, "90", 60);
    let sent = bench.pass(Duration::from_secs(1));
    let packets: Vec<_> = sent
        .iter()
        .filter(|(_, forward, bytes)| forward.leg == B && !packet_is_rtcp(bytes))
        .map(|(at, _, bytes)| (*at, event(bytes).expect("events only")))
        .collect();
    let ends = |key| {
        let of = packets.iter().filter(|(_, (_, e))| e.event == key && e.end);
        of.map(|(_, (_, e))| e.duration).collect::<Vec<_>>()
    };
    assert_eq!((ends(9), ends(0)), (vec![480; 3], vec![480; 3]));
    assert!(packets.windows(2).all(|two| {
        let (one, other) = (&two[0], &two[1]);
        other.0 - one.0 == FRAME && other.1.0.sequence == one.1.0.sequence.wrapping_add(1)
    }));
    assert_eq!(
        bench
            .pass(Duration::from_secs(1))
            .iter()
            .filter(|s| !packet_is_rtcp(&s.2))
            .count(),
        0
    );
}

/// The queue is bounded; what finds no room, or no way to go, is counted, as is what comes amid a hold.
#[test]
fn keys_beyond_the_queue_are_counted() {
    let mut full = bench(Dtmf::Info, Dtmf::Events);
    dial(&mut full, &"1".repeat(40), 100);
    dial(&mut full, "x", 100);
    assert_eq!(full.relay.counters().keys_lost.get(), 9);
    let mut nowhere = Bench::new(plain(A), plain(B));
    dial(&mut nowhere, "1", 100);
    assert_eq!(nowhere.relay.counters().keys_lost.get(), 1);
    let mut held = bench(Dtmf::Info, Dtmf::Events);
    let play = Some(Play::music(Law::A, 8));
    held.command(Command::Play { leg: B, play });
    dial(&mut held, "1", 100);
    assert_eq!(held.relay.counters().keys_lost.get(), 1);
}

/// Tones in the partner's voice become events, and but for their first moment are not heard themselves; speech before and
/// after passes.
#[test]
fn tones_become_events() {
    let mut bench = bench(Dtmf::Inband, Dtmf::Events);
    let mut samples = vec![0i16; 160 * 60];
    for (at, key) in [(10, 5u8), (30, 0)] {
        dtmf::write(key, 0, &mut samples[at * 160 + 40..][..160 * 5]);
    }
    let (mut keys, mut audible) = (Vec::new(), 0);
    for (n, packet) in (0u32..).zip(samples.chunks(160)) {
        let (_, bytes) = bench.packet(A, Kind::Rtp, &spoken(n, packet)).unwrap();
        match event(&bytes) {
            Some((header, event)) => {
                assert_eq!(header.sequence, n as u16);
                keys.push((header.marker, event));
            }
            None => audible += usize::from(bytes[HEADER..].iter().any(|o| *o & 0x7f != 0x55)),
        }
    }
    let begun: Vec<_> = keys.iter().filter(|k| k.0).map(|k| k.1.event).collect();
    assert_eq!(begun, [5, 0]);
    for key in [5, 0] {
        let ends: Vec<_> = keys
            .iter()
            .map(|k| k.1)
            .filter(|e| e.event == key && e.end)
            .collect();
        assert_eq!(ends.len(), 3);
        assert!((400..1200).contains(&ends[0].duration), "{ends:?}");
    }
    assert!(audible <= 4, "{audible} packets of tone were heard");
}

/// Tones towards a peer that gets INFO are told once each, and silenced.
#[test]
fn tones_are_told() {
    let mut bench = bench(Dtmf::Inband, Dtmf::Info);
    let mut samples = vec![0i16; 160 * 40];
    dtmf::write(12, 0, &mut samples[160 * 10..][..160 * 6]);
    for (n, packet) in (0u32..).zip(samples.chunks(160)) {
        let (_, bytes) = bench.packet(A, Kind::Rtp, &spoken(n, packet)).unwrap();
        assert_eq!((bytes[1], bytes.len()), (8, HEADER + 160));
    }
    let told = keys_told(&mut bench);
    let [(B, 'A', ms)] = told[..] else {
        panic!("{told:?}");
    };
    assert!((60..180).contains(&ms), "{ms}");
}

/// What a peer hears of keys as tones, in packets in the order of their timestamps.
fn recognised(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut detector = Detector::default();
    let (mut keys, mut last, mut at) = (Vec::new(), None, 0);
    for packet in packets {
        let header = Header::parse(packet).unwrap();
        assert_eq!(header.payload_type, 8);
        assert!(header.timestamp >= at, "time goes on");
        at = header.timestamp;
        let mut samples = vec![0; packet.len() - HEADER];
        expand(Law::A, &packet[HEADER..], &mut samples);
        let now = detector.hear(&samples);
        if now != last {
            keys.extend(now);
        }
        last = now;
    }
    keys
}

/// Events towards a peer that gets tones: it hears them in its voice, each once and with pauses between.
#[test]
fn events_become_tones() {
    let mut bench = bench(Dtmf::Events, Dtmf::Inband);
    let (mut n, mut heard) = (0, Vec::new());
    for key in [4u8, 4, 11] {
        let start = n;
        for part in 1..=7u16 {
            let (end, length) = (part > 4, part.min(5) * 160);
            let packet = event_packet(n, start, key, end, length);
            heard.extend(bench.packet(A, Kind::Rtp, &packet).map(|(_, bytes)| bytes));
            n += 1;
        }
        for _ in 0..5 {
            heard.extend(
                bench
                    .packet(A, Kind::Rtp, &silence(n))
                    .map(|(_, bytes)| bytes),
            );
            n += 1;
        }
    }
    assert_eq!(recognised(&heard), [4, 4, 11]);
}

/// So do orders.
#[test]
fn orders_become_tones() {
    let mut bench = bench(Dtmf::Info, Dtmf::Inband);
    dial(&mut bench, "72D", 80);
    let heard: Vec<_> = (0..40)
        .map(|n| bench.packet(A, Kind::Rtp, &silence(n)).unwrap().1)
        .collect();
    assert_eq!(recognised(&heard), [7, 2, 15]);
}

/// Random events, voice and orders of all kinds do no harm.
#[test]
fn nonsense_does_no_harm() {
    let mut random = Random::from_number(9);
    for partner in [Dtmf::Events, Dtmf::Info, Dtmf::Inband] {
        for peer in [Dtmf::Events, Dtmf::Info, Dtmf::Inband] {
            let mut bench = bench(partner, peer);
            for _ in 0..3000 {
                let mut packet = voice(random.u32() as u16);
                packet[4..8].copy_from_slice(&(random.u32() % 5000).to_be_bytes());
                if random.u32().is_multiple_of(2) {
                    packet[1] = 101;
                    let bytes = random.bytes::<4>();
                    packet.splice(HEADER.., bytes);
                    packet[HEADER] %= 18;
                }
                packet.truncate(HEADER + random.u32() as usize % 170);
                bench.packet(A, Kind::Rtp, &packet);
                if random.u32().is_multiple_of(20) {
                    dial(&mut bench, "5", u64::from(random.u32()));
                }
                if random.u32().is_multiple_of(10) {
                    bench.pass(FRAME);
                }
                bench.events();
            }
        }
    }
}

/// A leg without a partner hears the keys of its own peer, while something is played to it: telephone events where those
/// were agreed on, else tones, each told once when it is over.
#[test]
fn a_leg_hears_its_own_peer() {
    let heard = |partner: Dtmf, packets: &dyn Fn(u32) -> Vec<u8>, until: u32| {
        let mut bench = bench(Dtmf::Events, Dtmf::Events);
        let codecs = [a_law(), events()];
        let passage = Passage::between(&codecs, &codecs);
        let passage = Arc::new(passage.with_keys(&codecs, partner, Dtmf::Info));
        bench.command(Command::Connect { leg: A, with: None });
        bench.command(Command::Listen { leg: A, passage });
        for n in 1..=until {
            assert_eq!(bench.packet(A, Kind::Rtp, &packets(n)), None);
        }
        keys_told(&mut bench)
    };
    let by_events = |n: u32| match n {
        1..=5 => event_packet(n, 1, 5, false, n as u16 * 160),
        6..=8 => event_packet(n, 1, 5, true, 960),
        n => silence(n),
    };
    assert_eq!(heard(Dtmf::Events, &by_events, 12), [(A, '5', 120)]);
    let by_tones = |n: u32| {
        let mut samples = [0; 160];
        if (1..=6).contains(&n) {
            dtmf::write(5, (n - 1) * 160, &mut samples);
        }
        spoken(n, &samples)
    };
    let told = heard(Dtmf::Inband, &by_tones, 12);
    let keys: Vec<_> = told.iter().map(|(leg, key, _)| (*leg, *key)).collect();
    assert_eq!(keys, [(A, '5')]);
    assert_eq!(heard(Dtmf::Inband, &silence, 12), []);
}
