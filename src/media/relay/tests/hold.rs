//! What a peer hears that is held: music or nothing, and reports all the time.

use super::*;

/// A peer that may not send is counted but not forwarded; one that wants nothing gets RTCP only.
#[test]
fn hold_stops_voice_and_not_rtcp() {
    let mut bench = Bench::new(
        LegConfig {
            receive: false,
            send: false,
            ..plain(A)
        },
        plain(B),
    );
    assert_eq!(bench.packet(A, Kind::Rtp, &voice(1)), None);
    assert_eq!(bench.packet(B, Kind::Rtp, &voice(1)), None);
    assert!(bench.packet(A, Kind::Rtcp, &SENDER_REPORT).is_some());
    assert!(bench.packet(B, Kind::Rtcp, &SENDER_REPORT).is_some());
    assert_eq!(
        (bench.relay.counters().held.get(), bench.close(A).received),
        (2, 1)
    );
}

/// Music takes the partner's place: a packet every 20 ms, protected, in one stream, and the melody is heard. Afterwards
/// the partner is heard again.
#[test]
fn music_is_heard_in_place_of_the_partner() {
    let mut bench = Bench::new(secure(A, 1, 2), plain(B));
    let (_, mut receiver) = peer(1, 2);
    let start = bench.now;
    bench.command(Command::Play {
        leg: A,
        play: Some(Play::music(Law::A, 8)),
    });
    let mut sent = bench.pass(Duration::from_millis(7999));
    assert_eq!(bench.packet(B, Kind::Rtp, &voice(1)), None);
    sent.retain(|(_, forward, bytes)| forward.leg == A && !packet_is_rtcp(bytes));
    assert_eq!(sent.len(), 400);

    let mut samples = Vec::new();
    let mut first = None;
    for (n, (at, forward, bytes)) in (0..).zip(&sent) {
        let plain = unprotect(&mut receiver, bytes, Kind::Rtp);
        let header = Header::parse(&plain).unwrap();
        let first = first.get_or_insert(header);
        assert_eq!(
            (*at, forward.to),
            (start + FRAME * n, address("192.0.2.1:4000"))
        );
        assert_eq!(header.sequence, first.sequence.wrapping_add(n as u16));
        assert_eq!(header.timestamp, first.timestamp.wrapping_add(160 * n));
        assert_eq!(
            (header.ssrc, header.marker, header.payload_type),
            (first.ssrc, n == 0, 8)
        );
        samples.extend(
            plain[HEADER..]
                .iter()
                .map(|octet| g711::ALAW[usize::from(*octet)]),
        );
    }
    for (note, pitch) in samples.chunks(4000).zip(music::MELODY) {
        assert_eq!(recognise::note(note), Some(pitch));
    }
    bench.command(Command::Play { leg: A, play: None });
    let (_, bytes) = bench.packet(B, Kind::Rtp, &voice(2)).unwrap();
    assert_eq!(unprotect(&mut receiver, &bytes, Kind::Rtp), voice(2));
    assert_eq!(bench.close(A).sent, 401);
}

/// A peer's report tells how long packets travel and how many of those that it should have got it did not get; reports
/// about somebody else's packets tell nothing.
#[test]
fn a_peer_reports_on_what_it_gets() {
    let mut bench = Bench::new(plain(A), plain(B));
    bench.packet(B, Kind::Rtp, &voice(1)).unwrap();
    bench.packet(B, Kind::Rtcp, &SENDER_REPORT).unwrap();
    bench.now += Duration::from_millis(700);
    let mut report = [0; 200];
    let mut told = |bench: &mut Bench, ssrc, last_sender_report, lost| {
        let block = ReportBlock {
            ssrc,
            cumulative_lost: lost,
            last_sender_report,
            delay_since: 0x8000,
            ..ReportBlock::default()
        };
        let length = rtcp::write_report(&mut report, 99, None, Some(&block), "peer").unwrap();
        bench.packet(A, Kind::Rtcp, &report[..length]).unwrap();
    };
    told(&mut bench, 77, 0x0001_8000, 7);
    told(&mut bench, 78, 0x0001_8001, 5);
    let report = bench.close(A);
    assert_eq!((report.reports, report.lost_there), (2, 7));
    assert_eq!(report.round_trip, Some(Duration::from_millis(200)));
    assert_eq!(bench.close(B).round_trip, None);
}

/// After a second without time, five packets are made up for and the rest of the music is left out.
#[test]
fn a_delay_does_not_end_in_a_burst() {
    let mut bench = Bench::new(plain(A), plain(B));
    bench.command(Command::Play {
        leg: A,
        play: Some(Play::music(Law::Mu, 0)),
    });
    let first = bench.pass(Duration::ZERO);
    bench.now += Duration::from_secs(1);
    let burst: Vec<_> = bench
        .pass(Duration::ZERO)
        .into_iter()
        .filter(|(_, _, bytes)| bytes.len() == 172)
        .collect();
    assert_eq!((first.len(), burst.len()), (1, 6));
    let header = |packet: &(Instant, Forward, Vec<u8>)| Header::parse(&packet.2).unwrap();
    let elapsed = header(&burst[5])
        .timestamp
        .wrapping_sub(header(&first[0]).timestamp);
    assert_eq!(
        (
            elapsed,
            header(&burst[5])
                .sequence
                .wrapping_sub(header(&first[0]).sequence)
        ),
        (8000, 6)
    );
}

/// On hold, with music or in silence, the peer hears RTCP of ours every 2.5 to 7.5 s; with music they are sender
/// reports. What the partner writes makes ours needless.
#[test]
fn rtcp_is_always_heard() {
    let mut bench = Bench::new(
        plain(A),
        LegConfig {
            send: false,
            ..plain(B)
        },
    );
    bench.packet(A, Kind::Rtp, &voice(1));
    bench.command(Command::Play {
        leg: A,
        play: Some(Play::music(Law::A, 8)),
    });
    let sent = bench.pass(Duration::from_secs(60));
    for (leg, sender, heard) in [(A, true, Some(77)), (B, false, None)] {
        let reports: Vec<_> = sent
            .iter()
            .filter(|(_, f, _)| (f.leg, f.kind) == (leg, Kind::Rtcp))
            .collect();
        assert!((8..=24).contains(&reports.len()), "{}", reports.len());
        assert!(
            reports
                .windows(2)
                .all(|two| two[1].0 - two[0].0 <= Duration::from_millis(7750))
        );
        for (_, forward, bytes) in reports {
            assert_eq!(forward.to.port(), 4001);
            let packets: Vec<_> = rtcp::packets(bytes).collect::<Result<_, _>>().unwrap();
            let (blocks, is_sender) = match packets[0] {
                Packet::SenderReport(_, blocks) => (blocks, true),
                Packet::ReceiverReport(_, blocks) => (blocks, false),
                other => panic!("{other:?}"),
            };
            assert!(matches!(packets[1], Packet::SourceDescription(_)));
            assert_eq!(
                (is_sender, blocks.iter().map(|block| block.ssrc).next()),
                (sender, heard)
            );
        }
    }
    bench.command(Command::Play { leg: A, play: None });
    let mut ours = 0;
    for _ in 0..20 {
        bench.packet(B, Kind::Rtcp, &SENDER_REPORT).unwrap();
        ours += bench
            .pass(Duration::from_secs(5))
            .iter()
            .filter(|(_, forward, _)| forward.leg == A)
            .count();
    }
    assert_eq!(ours, 0);
}

/// A sender report says how many packets of music there were, and when, on both clocks.
#[test]
fn a_sender_report_counts_the_music() {
    let mut bench = Bench::new(plain(A), plain(B));
    bench.command(Command::Play {
        leg: A,
        play: Some(Play::music(Law::A, 8)),
    });
    let (mut packets, mut last) = (0, None);
    for (at, forward, bytes) in bench.pass(Duration::from_secs(30)) {
        match (forward.leg, forward.kind) {
            (A, Kind::Rtp) => {
                (packets, last) = (packets + 1, Some((at, Header::parse(&bytes).unwrap())))
            }
            (A, Kind::Rtcp) => {
                let Some(Ok(Packet::SenderReport(sent, _))) = rtcp::packets(&bytes).next() else {
                    panic!()
                };
                let (then, header) = last.unwrap();
                let ticks = (at - then).as_micros() as u32 * 8 / 1000;
                assert_eq!(
                    (sent.packets, sent.octets, sent.ssrc),
                    (packets, packets * 160, header.ssrc)
                );
                assert_eq!(sent.timestamp, header.timestamp.wrapping_add(ticks));
            }
            _ => {}
        }
    }
    assert!(packets == 1501, "{packets}");
}
