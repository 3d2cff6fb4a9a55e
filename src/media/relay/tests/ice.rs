use super::*;
use crate::media::{IceConfig, IceCredentials};
use crate::rtp::stun::{BINDING, Class, Key, Message, Writer, kind};

const UFRAG: &str = "ours2345";
const PWD: &str = "abcdefghijklmnopqrstuvwxyz";
/// Two clients of one user, and a third one that rings too.
const CLIENT: &str = "52.112.0.1:50000";
const OTHER: &str = "52.112.0.2:50010";
const RELAYED: &str = "52.112.0.3:3478";

fn ice(ufrag: &str, pwd: &str, remote: Option<&str>) -> Command {
    let ours = IceCredentials {
        ufrag: ufrag.into(),
        pwd: pwd.into(),
    };
    let remote_ufrag = remote.map(str::to_owned);
    Command::Ice {
        leg: A,
        config: Box::new(IceConfig { ours, remote_ufrag }),
    }
}

/// A check by the fork of this name.
#[derive(Clone, Copy)]
struct Check {
    fork: &'static str,
    priority: Option<u32>,
    nominates: bool,
    ufrag: &'static str,
    pwd: &'static str,
}

impl Check {
    fn by(fork: &'static str, priority: u32) -> Self {
        Self {
            fork,
            priority: Some(priority),
            nominates: false,
            ufrag: UFRAG,
            pwd: PWD,
        }
    }

    fn nominating(self) -> Self {
        Self {
            nominates: true,
            ..self
        }
    }

    fn bytes(self) -> Vec<u8> {
        self.with(|_| {})
    }

    fn with(self, more: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut buffer = [0; 512];
        let mut writer = Writer::new(&mut buffer, Class::Request, BINDING, &[7; 12]);
        let username = format!("{}:{}", self.ufrag, self.fork);
        writer.attribute(kind::USERNAME, username.as_bytes());
        if let Some(priority) = self.priority {
            writer.attribute(kind::PRIORITY, &priority.to_be_bytes());
        }
        if self.nominates {
            writer.attribute(kind::USE_CANDIDATE, &[]);
        }
        more(&mut writer);
        let key = Key::new(self.pwd.as_bytes());
        let length = writer.integrity(&key).fingerprint().finish().unwrap();
        buffer[..length].to_vec()
    }
}

impl Bench {
    /// Leg A to Teams with media bypass, leg B to a trunk; nothing is negotiated yet with Teams.
    fn bypass() -> Self {
        let mut bench = Self::unconfigured();
        bench.command(ice(UFRAG, PWD, None));
        bench.configure(B, plain(B));
        bench
    }

    fn unconfigured() -> Self {
        let mut bench = Self::new(plain(A), plain(B));
        for leg in [A, B] {
            bench.close(leg);
            bench.command(Command::Open {
                leg,
                address: [127, 0, 0, 1].into(),
                port: 4000,
            });
        }
        bench.command(Command::Connect {
            leg: A,
            with: Some(B),
        });
        bench
    }

    /// The 200 of this fork.
    fn answered(&mut self, fork: &str) {
        self.command(ice(UFRAG, PWD, Some(fork)));
        self.configure(A, latched());
    }

    fn check(&mut self, from: &str, check: Check) -> Option<(Forward, Vec<u8>)> {
        self.packet_from(A, Kind::Rtp, address(from), &check.bytes())
    }

    /// The status of what a check hears: 200 for success.
    fn status(&mut self, from: &str, bytes: &[u8]) -> Option<u16> {
        let (forward, response) = self.packet_from(A, Kind::Rtp, address(from), bytes)?;
        assert_eq!((forward.leg, forward.to), (A, address(from)));
        let response = Message::parse(&response).unwrap();
        Some(response.error().unwrap_or(200))
    }

    /// Where a packet of the trunk goes now.
    fn goes_to(&mut self, sequence: u16) -> String {
        let (forward, _) = self.packet(B, Kind::Rtp, &voice(sequence)).unwrap();
        assert_eq!(forward.leg, A);
        forward.to.to_string()
    }
}

/// Teams' side of an answered call: SRTP, and a client that may be behind NAT.
fn latched() -> LegConfig {
    LegConfig {
        source: MediaSource::Latch(nat()),
        ..secure(A, 1, 2)
    }
}

/// TDR-840: every valid check is answered, from several peers at once, before anything is negotiated and after, by the
/// port it came to; the answer says where it came from, under our password.
#[test]
fn every_valid_check_is_answered() {
    let mut bench = Bench::bypass();
    for round in 0..2 {
        for (from, port) in [
            (CLIENT, Kind::Rtp),
            (OTHER, Kind::Rtp),
            (RELAYED, Kind::Rtcp),
        ] {
            let request = Check::by("fork", 5).with(|writer| {
                writer
                    .attribute(kind::ICE_CONTROLLING, &[9; 8])
                    .attribute(0x8070, b"not known, and optional");
            });
            let sent = bench.packet_from(A, port, address(from), &request);
            let (forward, response) = sent.expect("an answer");
            assert_eq!((forward.kind, forward.to), (port, address(from)));
            assert!(response.len() <= request.len(), "no amplification");
            let response = Message::parse(&response).unwrap();
            assert_eq!(
                (response.class, response.transaction, response.mapped()),
                (Class::Success, [7; 12], Some(address(from)))
            );
            assert!(response.is_authentic(&Key::new(PWD.as_bytes())));
        }
        if round == 0 {
            bench.answered("fork");
        }
    }
    assert_eq!(bench.relay.counted().checks_answered.get(), 6);
}

/// Nothing changes for whoever does not know our password: 401 or 400, never longer than the request, and not often.
#[test]
fn strangers_learn_and_change_nothing() {
    let mut bench = Bench::bypass();
    bench.answered("fork");
    let wrong_password = Check {
        pwd: "not the password at all",
        ..Check::by("fork", 9).nominating()
    };
    let wrong_name = Check {
        ufrag: "ours2346",
        ..wrong_password
    };
    let short_name = Check {
        ufrag: "ours234",
        ..wrong_password
    };
    let mut anonymous = [0; 64];
    let length = Writer::new(&mut anonymous, Class::Request, BINDING, &[7; 12])
        .attribute(kind::PRIORITY, &[0; 4])
        .fingerprint()
        .finish()
        .unwrap();
    assert_eq!(bench.status(OTHER, &wrong_password.bytes()), Some(401));
    assert_eq!(bench.status(OTHER, &wrong_name.bytes()), Some(401));
    assert_eq!(bench.status(OTHER, &short_name.bytes()), Some(401));
    assert_eq!(bench.status(OTHER, &anonymous[..length]), Some(400));
    // An error of 36 bytes would be more than what was sent.
    let bare = Writer::new(&mut anonymous, Class::Request, BINDING, &[7; 12]).finish();
    assert_eq!(bench.status(OTHER, &anonymous[..bare.unwrap()]), None);
    assert_eq!(bench.goes_to(1), "192.0.2.1:4000");

    let flood = (0..1000).filter(|_| bench.status(OTHER, &wrong_name.bytes()).is_some());
    assert!(flood.count() < 20);
    let counted = bench.relay.counted();
    assert!(counted.checks_of_strangers.get() > 980);
    // None of them keeps a peer from being heard.
    assert_eq!(
        bench.status(CLIENT, &Check::by("fork", 9).bytes()),
        Some(200)
    );
}

/// TDR-840: malformed ones are dropped silently; so is what asks for no response.
#[test]
fn what_is_no_check_is_dropped_silently() {
    let mut bench = Bench::bypass();
    let check = Check::by("fork", 5).bytes();
    for length in 0..check.len() {
        assert_eq!(
            bench.packet_from(A, Kind::Rtp, address(CLIENT), &check[..length]),
            None
        );
    }
    let mut broken = check.clone();
    broken[30] ^= 1;
    assert_eq!(bench.status(CLIENT, &broken), None);
    let malformed = bench.relay.counted().checks_malformed.get();
    assert_eq!(malformed, check.len() as u64, "the empty one is no STUN");
    for class in [Class::Indication, Class::Success, Class::Error] {
        let mut buffer = [0; 64];
        let length = Writer::new(&mut buffer, class, BINDING, &[7; 12]).finish();
        assert_eq!(bench.status(CLIENT, &buffer[..length.unwrap()]), None);
    }
    assert_eq!(bench.relay.counted().no_checks.get(), 3);
    let report = bench.close(A);
    assert_eq!(report.malformed, 0, "none of them was media");
}

/// RFC 8489 §6.3.1 and RFC 8445 §7.3.1.1: an attribute that must be understood is named in a 420, and a peer that takes
/// itself for the controlled one is told that we are. Neither makes a path.
#[test]
fn errors_to_peers_are_those_of_the_rfcs() {
    let mut bench = Bench::bypass();
    bench.answered("fork");
    let unknown = Check::by("fork", 9).with(|writer| {
        writer.attribute(0x7001, b"?").attribute(0x7002, &[]);
    });
    let (_, response) = bench
        .packet_from(A, Kind::Rtp, address(CLIENT), &unknown)
        .unwrap();
    let response = Message::parse(&response).unwrap();
    let named = response
        .attributes()
        .find(|(k, _)| *k == kind::UNKNOWN_ATTRIBUTES);
    assert_eq!(
        (response.error(), named.map(|(_, types)| types)),
        (Some(420), Some(&[0x70, 1, 0x70, 2][..]))
    );
    assert!(response.is_authentic(&Key::new(PWD.as_bytes())));
    let controlled = Check::by("fork", 9).with(|writer| {
        writer.attribute(kind::ICE_CONTROLLED, &[9; 8]);
    });
    assert_eq!(bench.status(CLIENT, &controlled), Some(487));
    assert_eq!(bench.goes_to(1), "192.0.2.1:4000");
}

/// TDR-842: before a nomination packets go to the checked path of the highest priority; then to the nominated one, and
/// stay there whatever else is checked or nominated.
#[test]
fn packets_take_the_nominated_path_and_stay() {
    let mut bench = Bench::bypass();
    bench.answered("fork");
    assert_eq!(bench.goes_to(1), "192.0.2.1:4000", "as signalled");
    bench.check(CLIENT, Check::by("fork", 10));
    assert_eq!(bench.goes_to(2), CLIENT);
    bench.check(OTHER, Check::by("fork", 30));
    bench.check(RELAYED, Check::by("fork", 20));
    assert_eq!(bench.goes_to(3), OTHER);
    bench.check(RELAYED, Check::by("fork", 20).nominating());
    assert_eq!(bench.goes_to(4), RELAYED);
    bench.check(OTHER, Check::by("fork", 90).nominating());
    bench.check(CLIENT, Check::by("fork", 99));
    assert_eq!(bench.goes_to(5), RELAYED);
    assert_eq!(bench.relay.counted().nominations.get(), 2);
}

/// TDR-842, TDR-843: the checks of all forks are served by one agent; the 200 chooses whose count, and a nomination
/// from before the 200 is not forgotten, because it is not repeated.
#[test]
fn the_answer_chooses_among_the_forks() {
    for (fork, path) in [("one", CLIENT), ("two", RELAYED)] {
        let mut bench = Bench::bypass();
        bench.check(CLIENT, Check::by("one", 10).nominating());
        bench.check(OTHER, Check::by("two", 50));
        bench.check(RELAYED, Check::by("two", 20).nominating());
        bench.answered(fork);
        assert_eq!(bench.goes_to(1), path);
        bench.check(OTHER, Check::by("three", 99).nominating());
        assert_eq!(bench.goes_to(2), path);
    }
    let mut bench = Bench::bypass();
    bench.check(CLIENT, Check::by("one", 10).nominating());
    bench.answered("silent");
    assert_eq!(bench.goes_to(1), "192.0.2.1:4000", "not to another fork");
}

/// TDR-844: after a restart the old password is worth nothing, packets go on to where they went until the new checks
/// tell otherwise, and then a new nomination counts.
#[test]
fn a_restart_begins_anew_without_a_gap() {
    let mut bench = Bench::bypass();
    bench.answered("fork");
    bench.check(CLIENT, Check::by("fork", 10).nominating());
    assert_eq!(bench.goes_to(1), CLIENT);
    let new = |check: Check| Check {
        ufrag: "newone23",
        pwd: "zyxwvutsrqponmlkjihgfedcba",
        ..check
    };
    bench.command(ice("newone23", "zyxwvutsrqponmlkjihgfedcba", Some("moved")));
    assert_eq!(bench.goes_to(2), CLIENT);
    let late = Check::by("fork", 10).nominating();
    assert_eq!(bench.status(CLIENT, &late.bytes()), Some(401));
    assert_eq!(bench.goes_to(3), CLIENT);
    bench.check(OTHER, new(Check::by("moved", 5)));
    assert_eq!(bench.goes_to(4), OTHER);
    bench.check(RELAYED, new(Check::by("moved", 1)).nominating());
    assert_eq!(bench.goes_to(5), RELAYED);
    assert_eq!(bench.relay.counted().ice_restarts.get(), 1);
    // The same again is none.
    bench.command(ice("newone23", "zyxwvutsrqponmlkjihgfedcba", Some("moved")));
    assert_eq!(
        (bench.goes_to(6), bench.relay.counted().ice_restarts.get()),
        (RELAYED.into(), 1)
    );
}

/// TDR-509: before a nomination we listen to the first endpoint that sends media, digits among it, and to no other;
/// the nominated path is listened to at once.
#[test]
fn early_media_is_taken_from_the_first_that_sends() {
    let mut bench = Bench::bypass();
    bench.answered("fork");
    let mut sender = Sender::new(srtp::Suite::AesCm128HmacSha1_80, &[1; 46], &[]);
    let mut hears = |bench: &mut Bench, from: &str, sequence: u16| {
        let mut digit = voice(sequence);
        digit[1] = 101;
        let packet = protect(&mut sender, &digit, Kind::Rtp);
        let heard = bench.packet_from(A, Kind::Rtp, address(from), &packet);
        heard.map(|(_, plain)| plain[1])
    };
    bench.check(CLIENT, Check::by("fork", 10));
    bench.check(OTHER, Check::by("fork", 20));
    assert_eq!(hears(&mut bench, CLIENT, 1), Some(101));
    assert_eq!(hears(&mut bench, OTHER, 2), None);
    bench.check(OTHER, Check::by("fork", 20).nominating());
    assert_eq!(hears(&mut bench, OTHER, 3), Some(101));
    assert_eq!(hears(&mut bench, CLIENT, 4), None);
}

/// Without multiplexing RTCP has a component of its own, with paths of its own (RFC 8445 §13).
#[test]
fn each_component_has_its_own_paths() {
    let mut bench = Bench::bypass();
    bench.command(ice(UFRAG, PWD, Some("fork")));
    bench.configure(A, plain(A));
    bench.check(CLIENT, Check::by("fork", 10).nominating());
    let report = |bench: &mut Bench| {
        let (forward, _) = bench.packet(B, Kind::Rtcp, &SENDER_REPORT).unwrap();
        forward.to.to_string()
    };
    assert_eq!(
        (bench.goes_to(1), report(&mut bench)),
        (CLIENT.into(), "192.0.2.1:4001".into())
    );
    let second = Check::by("fork", 9).nominating().bytes();
    bench
        .packet_from(A, Kind::Rtcp, address(OTHER), &second)
        .unwrap();
    assert_eq!(
        (bench.goes_to(2), report(&mut bench)),
        (CLIENT.into(), OTHER.into())
    );
}

/// RFC 7675 §5.1: thirty seconds without a check or a packet on the nominated path are told once, with the reason. A
/// check without priority is enough, and so is media. Then packets go elsewhere.
#[test]
fn lost_consent_is_told() {
    let mut bench = Bench::bypass();
    bench.answered("fork");
    let lost = |bench: &mut Bench| -> Vec<String> {
        let events = bench.events().into_iter();
        events
            .filter(|event| event.contains("ConsentLost"))
            .collect()
    };
    let consent = Check {
        priority: None,
        ..Check::by("fork", 0)
    };
    bench.check(CLIENT, Check::by("fork", 10).nominating());
    bench.pass(Duration::from_secs(29));
    assert_eq!(bench.status(CLIENT, &consent.bytes()), Some(200));
    bench.pass(Duration::from_secs(29));
    let mut sender = Sender::new(srtp::Suite::AesCm128HmacSha1_80, &[1; 46], &[]);
    let packet = protect(&mut sender, &voice(1), Kind::Rtp);
    assert!(
        bench
            .packet_from(A, Kind::Rtp, address(CLIENT), &packet)
            .is_some()
    );
    // A check on another path keeps that one only.
    bench.pass(Duration::from_secs(20));
    bench.check(OTHER, Check::by("fork", 5));
    bench.pass(Duration::from_secs(9));
    assert_eq!(
        (lost(&mut bench), bench.goes_to(2)),
        (vec![], CLIENT.into())
    );
    bench.pass(Duration::from_secs(2));
    let told = lost(&mut bench);
    assert!(
        matches!(&told[..], [one] if one.contains(CLIENT) && one.contains("30 s")),
        "{told:?}"
    );
    assert_eq!(
        (bench.goes_to(3), bench.relay.counted().consents_lost.get()),
        (OTHER.into(), 1)
    );
    bench.pass(Duration::from_secs(60));
    assert_eq!(lost(&mut bench), Vec::<String>::new());
}

/// A leg remembers 32 paths; a nomination still finds its place, and every check its answer.
#[test]
fn the_number_of_paths_is_bounded() {
    let mut bench = Bench::bypass();
    bench.answered("fork");
    for n in 0..40 {
        let from = format!("52.112.1.{n}:50000");
        let check = Check::by("fork", 100 + n).bytes();
        assert_eq!(bench.status(&from, &check), Some(200), "{from}");
    }
    assert_eq!(bench.relay.counted().paths_refused.get(), 8);
    assert_eq!(bench.goes_to(1), "52.112.1.31:50000");
    bench.check(CLIENT, Check::by("fork", 1).nominating());
    assert_eq!(bench.goes_to(2), CLIENT);
}

/// A peer that checks far too often is answered as often as peers may, and again a moment later.
#[test]
fn the_rate_of_checks_is_bounded() {
    let mut bench = Bench::bypass();
    let check = Check::by("fork", 5).bytes();
    let mut answered = || {
        (0..1000)
            .filter(|_| bench.status(CLIENT, &check).is_some())
            .count()
    };
    assert_eq!((answered(), answered()), (320, 0));
    assert_eq!(bench.relay.counted().checks_limited.get(), 1680);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.status(CLIENT, &check), Some(200));
}

/// TDR-819: without media bypass a check is nothing but a malformed packet, and changes nothing.
#[test]
fn without_ice_checks_are_not_answered() {
    let mut bench = Bench::new(latched(), plain(B));
    let check = Check::by("fork", 5).nominating().bytes();
    assert_eq!(
        bench.packet_from(A, Kind::Rtp, address(CLIENT), &check),
        None
    );
    assert_eq!(bench.goes_to(1), "192.0.2.1:4000");
    assert_eq!(bench.close(A).malformed, 1);
}
