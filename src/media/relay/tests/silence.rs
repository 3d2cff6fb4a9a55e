//! Who says nothing: told once, unless the silence was announced.

use super::*;

/// A silent peer is told once; after it was heard, again; on hold never.
#[test]
fn silence_is_told_once() {
    let limit = Duration::from_secs(10);
    let mut bench = Bench::new(
        LegConfig {
            inactivity: Some(limit),
            ..plain(A)
        },
        plain(B),
    );
    bench.packet(A, Kind::Rtp, &voice(1));
    bench.pass(Duration::from_secs(9));
    assert_eq!(bench.events(), ["Flowing { leg: LegId(1) }"]);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.events(), ["Inactive { leg: LegId(1) }"]);
    bench.packet(A, Kind::Rtcp, &SENDER_REPORT);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.events(), ["Inactive { leg: LegId(1) }"]);
    bench.configure(A, plain(A));
    bench.pass(Duration::from_secs(60));
    bench.configure(
        A,
        LegConfig {
            inactivity: Some(limit),
            ..plain(A)
        },
    );
    bench.pass(Duration::from_secs(9));
    assert!(
        bench.events().is_empty(),
        "counts from when it is expected again"
    );
}

/// TDR-814: comfort noise passes like voice; who then sends none, as silence suppression does, and reports by RTCP all the
/// same is not taken for dead, however long that lasts.
#[test]
fn who_suppresses_silence_is_not_dead() {
    let limit = Duration::from_secs(10);
    let config = LegConfig {
        inactivity: Some(limit),
        ..plain(A)
    };
    let mut bench = Bench::new(config, plain(B));
    let mut noise = voice(1);
    noise[1] = 13;
    noise.truncate(13);
    let (_, bytes) = bench.packet(A, Kind::Rtp, &noise).unwrap();
    assert_eq!(bytes, noise);
    for _ in 0..120 {
        bench.pass(Duration::from_secs(5));
        bench.packet(A, Kind::Rtcp, &SENDER_REPORT);
    }
    assert_eq!(bench.events(), ["Flowing { leg: LegId(1) }"]);
}

/// TDR-814: comfort noise says that silence follows: who sends nothing at all afterwards, neither voice nor RTCP, is not
/// taken for dead. After voice it is.
#[test]
fn announced_silence_is_no_inactivity() {
    let config = LegConfig {
        inactivity: Some(Duration::from_secs(10)),
        ..plain(A)
    };
    let mut bench = Bench::new(config, plain(B));
    let mut noise = voice(1);
    noise[1] = 13;
    noise.truncate(13);
    bench.packet(A, Kind::Rtp, &noise).unwrap();
    bench.pass(Duration::from_secs(1200));
    assert_eq!(bench.events(), ["Flowing { leg: LegId(1) }"]);
    bench.packet(A, Kind::Rtp, &voice(2)).unwrap();
    bench.pass(Duration::from_secs(9));
    assert!(bench.events().is_empty());
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.events(), ["Inactive { leg: LegId(1) }"]);
}
