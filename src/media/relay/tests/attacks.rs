//! What was published against other relays, tried on every kind of leg.
//!
//! **RTP bleed** (2017; Asterisk AST-2017-005 and AST-2017-008, CVE-2017-14114 for another relay): a relay that learns from
//! packets where its peer is can be taught wrong. Whoever sends any packet to all media ports, from anywhere, is sent the
//! call's media from then on. **RTP inject**: the same packets go on to the other party.
//!
//! ES2025-01 (CVE-2025-53399, 2025) showed both in a relay that was set up as its makers recommended. It learnt from the
//! first packet at once, or from the first after three seconds, or for those three seconds ranked candidates by how
//! well they fit the description, again after each event of signalling; checking the source began with what had been
//! learnt. With SDES on both sides it forwarded packets whose tags it had not looked at, and with DTLS it learnt from a
//! packet before it looked at its tag. The attacker needs no place on the path, and sprays a voice packet of silence on
//! all ports, over and over.
//!
//! Nobody but the peer's own network can tell a spoofed source address: on plain RTP an attacker who can send in the name
//! of the peer's exact address is believed. That is what SRTP is for.

use super::*;
use crate::media::{IceConfig, IceCredentials};

const ATTACKER: &str = "203.0.113.66:16384";
/// Where a peer behind NAT is heard.
const BEHIND_NAT: &str = "198.51.100.1:31000";

/// A kind of leg A, whose peer says that it is at 192.0.2.1:4000.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Way {
    secure: bool,
    /// The peer's packets come from elsewhere than it says, as its profile allows.
    nat: bool,
}

const WAYS: [Way; 4] = [
    Way {
        secure: false,
        nat: false,
    },
    Way {
        secure: false,
        nat: true,
    },
    Way {
        secure: true,
        nat: false,
    },
    Way {
        secure: true,
        nat: true,
    },
];

impl Way {
    fn config(self) -> LegConfig {
        let config = if self.secure {
            secure(A, 1, 2)
        } else {
            plain(A)
        };
        let source = if self.nat {
            MediaSource::Latch(nat())
        } else {
            MediaSource::Strict
        };
        LegConfig { source, ..config }
    }

    /// Where the peer really is.
    fn place(self) -> SocketAddr {
        address(if self.nat {
            BEHIND_NAT
        } else {
            "192.0.2.1:4000"
        })
    }
}

/// When the attacker comes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// Before the peer's first packet.
    First,
    /// While the peer talks.
    Later,
    /// While the peer is silent, as on hold or with silence suppression.
    Silent,
    /// Right after a re-INVITE that changes nothing, while the peer talks.
    Reinvited,
    /// Right after one by which the peer moves, before its first packet from there.
    Moved,
}

const MOMENTS: [Moment; 5] = [
    Moment::First,
    Moment::Later,
    Moment::Silent,
    Moment::Reinvited,
    Moment::Moved,
];

/// A call with its two peers and somebody who is neither.
struct Scene {
    bench: Bench,
    way: Way,
    peer: Sender,
    sequence: u16,
    /// Packets that the attacker has sent.
    volleys: u64,
}

impl Scene {
    /// Right before the attacker's moment.
    fn at(way: Way, moment: Moment) -> Self {
        let mut scene = Self {
            bench: Bench::new(way.config(), plain(B)),
            way,
            peer: peer(1, 2).0,
            sequence: 0,
            volleys: 0,
        };
        if moment == Moment::First {
            return scene;
        }
        for _ in 0..10 {
            scene.talks();
        }
        match moment {
            Moment::Silent => drop(scene.bench.pass(Duration::from_secs(60))),
            Moment::Reinvited => scene.bench.configure(A, way.config()),
            Moment::Moved => {
                let elsewhere = address("192.0.2.1:4800");
                let config = LegConfig {
                    remote_rtp: elsewhere,
                    remote_rtcp: elsewhere,
                    rtcp_mux: true,
                    ..way.config()
                };
                scene.bench.configure(A, config);
            }
            Moment::First | Moment::Later => {}
        }
        scene
    }

    /// The peer's next packet; whether it is heard at the other end.
    fn talks(&mut self) -> bool {
        self.sequence += 1;
        self.bench.pass(FRAME);
        let mut packet = voice(self.sequence);
        if self.way.secure {
            packet = protect(&mut self.peer, &packet, Kind::Rtp);
        }
        let place = self.way.place();
        let forward = self.bench.packet_from(A, Kind::Rtp, place, &packet);
        forward.is_some_and(|(forward, bytes)| forward.leg == B && bytes == voice(self.sequence))
    }

    /// One of everything that the attacker can send, to both ports; how much of it has any effect on the wire.
    fn sprayed(&mut self) -> usize {
        let from = address(ATTACKER);
        let (mut voice, report) = (voice(0xee3c), SENDER_REPORT.to_vec());
        voice[HEADER..].fill(0);
        let tagged = |packet: &[u8], tag: usize| [packet, &vec![0x5a; tag]].concat();
        let all = [
            tagged(&voice, 10),
            tagged(&report, 14),
            voice,
            report,
            vec![
                0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
            ],
            vec![0x80; 1400],
            Vec::new(),
        ];
        let ports = [Kind::Rtp, Kind::Rtcp];
        let sends = all
            .iter()
            .flat_map(|packet| ports.map(|port| (port, packet)));
        self.volleys += 2 * all.len() as u64;
        sends
            .filter_map(|(port, packet)| self.bench.packet_from(A, port, from, packet))
            .count()
    }

    /// Where leg A's peer is sent to, for ten seconds: what the other party says, and our own reports.
    fn sent_to(&mut self) -> Vec<SocketAddr> {
        let mut places = Vec::new();
        for n in 0..10 {
            let said = self.bench.packet(B, Kind::Rtp, &voice(n + 100));
            let reported = self.bench.packet(B, Kind::Rtcp, &SENDER_REPORT);
            let ours = self.bench.pass(Duration::from_secs(1)).into_iter();
            let ours = ours.filter_map(|(_, f, _)| (f.leg == A).then_some(f.to));
            places.extend([said, reported].into_iter().flatten().map(|(f, _)| f.to));
            places.extend(ours);
        }
        places
    }
}

/// ES2025-01, "RTP bleed", on plain RTP and on SRTP, with and without NAT, before the peer's first packet, while it talks,
/// while it is silent and around re-INVITEs: whatever is sprayed, RTP or RTCP, nothing is ever sent to where it came from.
#[test]
fn rtp_bleed_nothing_is_sent_to_whom_is_not_the_peer() {
    for way in WAYS {
        for moment in MOMENTS {
            let mut scene = Scene::at(way, moment);
            for _ in 0..50 {
                scene.sprayed();
            }
            let places = scene.sent_to();
            assert!(places.len() >= 20, "{way:?} {moment:?}");
            let peers = ["192.0.2.1", "198.51.100.1"].map(|ip| ip.parse().unwrap());
            let strangers: Vec<_> = places
                .iter()
                .filter(|to| !peers.contains(&to.ip()))
                .collect();
            assert!(strangers.is_empty(), "{way:?} {moment:?}: {strangers:?}");
        }
    }
}

/// ES2025-01, "RTP inject", in the same moments: nothing of what is sprayed goes on to the other party, each packet is
/// counted, and the peer is heard as if nobody else had been there, even if the attacker was first by minutes.
#[test]
fn rtp_inject_only_the_peer_is_heard() {
    for way in WAYS {
        for moment in MOMENTS {
            let mut scene = Scene::at(way, moment);
            for _ in 0..10 {
                assert_eq!(scene.sprayed(), 0, "{way:?} {moment:?}");
                scene.bench.pass(Duration::from_secs(1));
            }
            for _ in 0..10 {
                assert!(scene.talks(), "{way:?} {moment:?}");
                assert_eq!(scene.sprayed(), 0, "{way:?} {moment:?}");
            }
            let volleys = scene.volleys;
            let report = scene.bench.close(A);
            let counted = report.wrong_source + report.authentication_failures + report.malformed;
            assert_eq!(counted, volleys, "{way:?} {moment:?}: {report:?}");
        }
    }
}

/// What the published relay learnt from in DTLS: authentic packets that are not the attacker's own. One that was heard on
/// the wire and is sent again from elsewhere, at once or when the peer is silent, moves nothing and is not heard.
#[test]
fn rtp_bleed_a_replayed_packet_teaches_nothing() {
    for nat in [false, true] {
        let way = Way { secure: true, nat };
        let mut scene = Scene::at(way, Moment::Later);
        let heard = protect(&mut scene.peer, &voice(500), Kind::Rtp);
        let report = protect(&mut scene.peer, &SENDER_REPORT, Kind::Rtcp);
        for packet in [&heard, &report] {
            let forward = scene.bench.packet_from(A, Kind::Rtp, way.place(), packet);
            assert!(forward.is_some());
        }
        for pause in [Duration::ZERO, Duration::from_secs(30)] {
            scene.bench.pass(pause);
            for packet in [&heard, &report] {
                let again = scene
                    .bench
                    .packet_from(A, Kind::Rtp, address(ATTACKER), packet);
                assert_eq!(again, None);
            }
        }
        let places = scene.sent_to();
        assert!(places.iter().all(|to| *to == way.place()), "{places:?}");
        let report = scene.bench.close(A);
        assert_eq!((report.wrong_source, report.replayed), (2, 2));
    }
}

/// The ranking of ES2025-01's "heuristic" mode: an attacker who shares the peer's address but not its port, as behind one
/// NAT, is preferred to nobody. Whoever came first from there gives way to the exact address at once, and cannot come back.
#[test]
fn rtp_inject_a_neighbour_of_the_peer_gives_way() {
    let mut bench = Bench::new(plain(A), plain(B));
    let neighbour = address("192.0.2.1:5555");
    bench.packet_from(A, Kind::Rtp, neighbour, &voice(1));
    assert!(bench.packet(A, Kind::Rtp, &voice(2)).is_some());
    for _ in 0..10 {
        bench.pass(FRAME);
        assert!(bench.packet(A, Kind::Rtp, &voice(3)).is_some());
        assert_eq!(bench.packet_from(A, Kind::Rtp, neighbour, &voice(4)), None);
    }
    let (forward, _) = bench.packet(B, Kind::Rtp, &voice(1)).unwrap();
    assert_eq!(forward.to, address("192.0.2.1:4000"));
}

/// Learning that never ends is what makes bleeding easy. A plain source moves once, after two seconds of silence, and only
/// to another port of the same address; what comes after that waits for the peer's next re-INVITE. Moves are counted.
#[test]
fn rtp_bleed_a_peer_behind_nat_moves_once() {
    let way = Way {
        secure: false,
        nat: true,
    };
    let mut scene = Scene::at(way, Moment::Later);
    let rebound = ["198.51.100.1:32000", "198.51.100.1:33000"].map(address);
    let sends = |scene: &mut Scene, from, pause| {
        scene.bench.pass(Duration::from_secs(pause));
        scene
            .bench
            .packet_from(A, Kind::Rtp, from, &voice(900))
            .is_some()
    };
    assert!(
        !sends(&mut scene, rebound[0], 1),
        "it was heard a second ago"
    );
    assert!(sends(&mut scene, rebound[0], 2));
    assert!(!sends(&mut scene, rebound[1], 5), "it has moved once");
    assert!(
        !sends(&mut scene, address("198.51.100.9:31000"), 5),
        "a neighbour"
    );
    let (forward, _) = scene.bench.packet(B, Kind::Rtp, &voice(1)).unwrap();
    assert_eq!(forward.to, rebound[0]);
    scene.bench.configure(A, way.config());
    assert!(sends(&mut scene, rebound[1], 2), "the peer has spoken");
    assert_eq!(scene.bench.relay.counters().source_moves.get(), 2);
}

/// With SRTP every move is proved, but none comes sooner than two seconds after the last packet from where the peer was:
/// two who know the key do not make a stream jump between them.
#[test]
fn rtp_bleed_even_proved_sources_move_slowly() {
    let way = Way {
        secure: true,
        nat: true,
    };
    let mut scene = Scene::at(way, Moment::Later);
    let other = address("198.51.100.77:9000");
    let mut moved = 0;
    for n in 0..200 {
        let from = if n % 2 == 0 { other } else { way.place() };
        let packet = protect(&mut scene.peer, &voice(1000 + n), Kind::Rtp);
        let heard = scene.bench.packet_from(A, Kind::Rtp, from, &packet);
        moved += u32::from(heard.is_some() && from == other);
        scene.bench.pass(FRAME);
    }
    assert_eq!(
        (moved, scene.bench.relay.counters().source_moves.get()),
        (0, 0)
    );
    for turn in 1..=3 {
        scene.bench.pass(Duration::from_secs(2));
        let from = if turn % 2 == 1 { other } else { way.place() };
        let packet = protect(&mut scene.peer, &voice(2000 + turn), Kind::Rtp);
        assert!(
            scene
                .bench
                .packet_from(A, Kind::Rtp, from, &packet)
                .is_some()
        );
        assert_eq!(
            scene.bench.relay.counters().source_moves.get(),
            u64::from(turn)
        );
    }
}

/// Plain RTCP of a peer behind NAT is taken from where its RTP comes from and from nowhere else, though it came first; and
/// it is answered there (RTP bleed by RTCP).
#[test]
fn rtp_bleed_rtcp_follows_rtp() {
    let way = Way {
        secure: false,
        nat: true,
    };
    let mut scene = Scene::at(way, Moment::First);
    let neighbour = address("198.51.100.9:7001");
    let reports = |scene: &mut Scene, from| {
        scene
            .bench
            .packet_from(A, Kind::Rtcp, from, &SENDER_REPORT)
            .is_some()
    };
    assert!(reports(&mut scene, neighbour), "nobody knows better yet");
    assert!(scene.talks());
    let own = address("198.51.100.1:31001");
    scene.bench.pass(Duration::from_secs(2));
    assert!(!reports(&mut scene, address(ATTACKER)));
    assert!(reports(&mut scene, own));
    assert!(!reports(&mut scene, neighbour));
    let (forward, _) = scene.bench.packet(B, Kind::Rtcp, &SENDER_REPORT).unwrap();
    assert_eq!(forward.to, own);
}

/// No packet of a stranger makes us send one to where it says that it comes from, on no leg without ICE; on a leg with ICE
/// a check of a stranger is answered with no more bytes than it has, and not often. So nobody is flooded through us.
#[test]
fn rtp_reflection_a_stranger_gets_no_more_than_it_sends() {
    for way in WAYS {
        for moment in MOMENTS {
            assert_eq!(Scene::at(way, moment).sprayed(), 0);
        }
    }
    let way = Way {
        secure: true,
        nat: true,
    };
    let mut scene = Scene::at(way, Moment::Later);
    let ours = IceCredentials {
        ufrag: "ours2345".into(),
        pwd: "abcdefghijklmnopqrstuvwxyz".into(),
    };
    scene.bench.command(Command::Ice {
        leg: A,
        config: Box::new(IceConfig {
            ours,
            remote_ufrag: None,
        }),
    });
    let (mut sent, mut got, mut answers) = (0, 0, 0);
    for n in 0..1000u32 {
        let mut check = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        check.extend([7; 12]);
        // Attributes of a stranger's own choice, to be as long as it likes.
        check.extend([0x80, 0x22, 0, 32]);
        check.extend([n as u8; 32]);
        check[3] = 36;
        sent += check.len();
        if let Some((forward, answer)) =
            scene
                .bench
                .packet_from(A, Kind::Rtp, address(ATTACKER), &check)
        {
            assert_eq!(forward.to, address(ATTACKER));
            assert!(answer.len() <= check.len());
            got += answer.len();
            answers += 1;
        }
    }
    assert!((1..=40).contains(&answers), "{answers}");
    assert!(got < sent / 10);
    assert!(scene.talks(), "and the peer is heard all the same");
}

/// Somebody who can send in the peer's name makes up a new synchronisation source with each packet, in RTP and RTCP. A few
/// are taken, as transfers at the far end need; the rest is counted and dropped, the peer's own stream goes on, and so does
/// that to the other party, whose SRTP context would otherwise be filled for good.
#[test]
fn rtp_flood_of_sources_is_bounded() {
    let mut bench = Bench::new(plain(A), secure(B, 3, 4));
    assert!(bench.packet(A, Kind::Rtp, &voice(1)).is_some());
    let mut taken = 0;
    for ssrc in 0..20_000u32 {
        let (mut packet, mut report) = (voice(2), SENDER_REPORT);
        packet[8..12].copy_from_slice(&ssrc.wrapping_mul(0x9e37_79b9).to_be_bytes());
        report[4..8].copy_from_slice(&(!ssrc).to_be_bytes());
        taken += usize::from(bench.packet(A, Kind::Rtp, &packet).is_some());
        taken += usize::from(bench.packet(A, Kind::Rtcp, &report).is_some());
    }
    let counters = bench.relay.counters();
    assert!(taken < 40, "{taken}");
    assert_eq!(counters.unknown_streams.get() as usize, 40_000 - taken);
    assert_eq!(counters.unprotectable.get(), 0);
    assert!(bench.packet(A, Kind::Rtp, &voice(3)).is_some());

    bench.configure(A, plain(A));
    let mut other = voice(4);
    other[8..12].copy_from_slice(&[9; 4]);
    assert!(
        bench.packet(A, Kind::Rtp, &other).is_some(),
        "of a re-INVITE"
    );
}

/// On SRTP nobody but the peer can do that; if it does, its context remembers 256 sources, and the rest is counted.
#[test]
fn rtp_flood_of_proved_sources_is_bounded() {
    let mut bench = Bench::new(secure(A, 1, 2), plain(B));
    let mut heard = 0;
    for ssrc in 0..300u32 {
        let mut packet = voice(1);
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        // A context of its own for each: the peer's has the same limit as ours.
        let sent = protect(&mut peer(1, 2).0, &packet, Kind::Rtp);
        heard += u32::from(bench.packet(A, Kind::Rtp, &sent).is_some());
    }
    assert_eq!(heard, 256);
    assert_eq!(bench.relay.counters().unknown_streams.get(), 44);
}
