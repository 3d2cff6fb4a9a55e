//! Whom a leg hears, and where it answers.

use super::*;

/// Plain packets from elsewhere than the peer's IP address are neither forwarded nor answered.
#[test]
fn strangers_are_not_heard() {
    let mut bench = Bench::new(plain(A), plain(B));
    assert_eq!(
        bench.packet_from(A, Kind::Rtp, address("203.0.113.9:4000"), &voice(1)),
        None
    );
    assert_eq!(
        bench.packet_from(A, Kind::Rtcp, address("203.0.113.9:4001"), &SENDER_REPORT),
        None
    );
    let (forward, _) = bench.packet(B, Kind::Rtp, &voice(1)).unwrap();
    assert_eq!(forward.to, address("192.0.2.1:4000"));
    assert_eq!(bench.close(A).wrong_source, 2);
}

/// A peer behind NAT is answered where it was heard: RTP and RTCP each; a third party cannot take over.
#[test]
fn a_peer_behind_nat_is_answered_where_it_was_heard() {
    let mut bench = Bench::new(
        LegConfig {
            source: MediaSource::Latch(nat()),
            ..plain(A)
        },
        plain(B),
    );
    let (nat, nat_rtcp) = (address("198.51.100.1:31000"), address("198.51.100.1:31007"));
    assert_eq!(
        bench
            .packet(B, Kind::Rtp, &voice(1))
            .map(|(forward, _)| forward.to),
        Some(address("192.0.2.1:4000"))
    );
    assert!(bench.packet_from(A, Kind::Rtp, nat, &voice(1)).is_some());
    assert!(
        bench
            .packet_from(A, Kind::Rtcp, nat_rtcp, &SENDER_REPORT)
            .is_some()
    );
    let stranger = address("203.0.113.9:4000");
    assert_eq!(bench.packet_from(A, Kind::Rtp, stranger, &voice(2)), None);
    assert_eq!(
        bench.packet_from(A, Kind::Rtcp, stranger, &SENDER_REPORT),
        None
    );
    assert_eq!(
        bench
            .packet(B, Kind::Rtp, &voice(2))
            .map(|(forward, _)| forward.to),
        Some(nat)
    );
    assert_eq!(
        bench
            .packet(B, Kind::Rtcp, &SENDER_REPORT)
            .map(|(forward, _)| forward.to),
        Some(nat_rtcp)
    );
}

/// On SRTP a forgery from elsewhere does not move the leg; the first authentic packet does, even before the peer's own
/// (TDR-803).
#[test]
fn only_authentic_packets_decide_the_source() {
    let mut bench = Bench::new(
        LegConfig {
            source: MediaSource::Latch(nat()),
            ..secure(A, 1, 2)
        },
        plain(B),
    );
    let (mut sender, _) = peer(1, 2);
    let mut forged = voice(1);
    forged.extend_from_slice(&[0; 10]);
    assert_eq!(
        bench.packet_from(A, Kind::Rtp, address("203.0.113.9:1"), &forged),
        None
    );
    let real = address("198.51.100.1:31000");
    assert!(
        bench
            .packet_from(
                A,
                Kind::Rtp,
                real,
                &protect(&mut sender, &voice(1), Kind::Rtp)
            )
            .is_some()
    );
    assert_eq!(
        bench
            .packet(B, Kind::Rtp, &voice(1))
            .map(|(forward, _)| forward.to),
        Some(real)
    );
    assert_eq!(
        bench.packet_from(A, Kind::Rtp, address("203.0.113.9:1"), &forged),
        None
    );
    let report = bench.close(A);
    assert_eq!(
        (
            report.received,
            report.authentication_failures,
            report.wrong_source
        ),
        (1, 1, 1)
    );
}

/// A peer that holds by 0.0.0.0 is sent nothing at all.
#[test]
fn nothing_goes_to_no_address() {
    let nowhere = LegConfig {
        remote_rtp: address("0.0.0.0:4000"),
        remote_rtcp: address("0.0.0.0:4001"),
        ..plain(A)
    };
    let mut bench = Bench::new(nowhere, plain(B));
    assert_eq!(bench.packet(B, Kind::Rtp, &voice(1)), None);
    assert_eq!(bench.packet(B, Kind::Rtcp, &SENDER_REPORT), None);
    assert!(
        bench
            .pass(Duration::from_secs(20))
            .iter()
            .all(|(_, forward, _)| forward.leg == B)
    );
}
