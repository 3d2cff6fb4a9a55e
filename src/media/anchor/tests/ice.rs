use super::*;
use crate::sdp::Ice;

const CREDENTIALS: &str = "a=ice-ufrag:Xy12\r\na=ice-pwd:0123456789abcdefABCDEF01\r\n";
const CANDIDATE: &str = "a=candidate:1 1 UDP 2130706431 52.112.10.21 50320 typ host\r\n";

/// A leg to Teams with media bypass.
fn bypass() -> Anchor {
    let policy = MediaPolicy {
        ice: true,
        latch: true,
        ..policy(SrtpPolicy::Required)
    };
    let address = "203.0.113.10".parse().unwrap();
    Anchor::new(address, 30000, policy, &mut Random::from_number(7))
}

fn client(more: &str) -> Vec<u8> {
    secure(&format!("{CREDENTIALS}{CANDIDATE}a=rtcp-mux\r\n{more}"))
}

fn ours(body: &Bytes) -> Ice {
    let description = SessionDescription::parse(body.clone()).unwrap();
    Audio::read(&description, 0).unwrap().ice.expect("ICE")
}

fn ice_lines(body: &Bytes) -> Vec<&str> {
    let is_ice = |line: &&str| line.starts_with("a=ice") || line.starts_with("a=candidate");
    text(body).lines().filter(is_ice).collect()
}

/// TDR-840: our offer and our answer say that we are lite, with credentials of our own and one IPv4 candidate for each
/// port; a second one for RTCP only where the peer does not multiplex.
#[test]
fn our_descriptions_are_those_of_a_lite_agent() {
    let candidate = "a=candidate:1 1 UDP 2130706431 203.0.113.10 30000 typ host";
    let mut caller = bypass();
    let offer = caller
        .offer(&Codec::basic(), Direction::SendRecv, None)
        .unwrap();
    let lines = ice_lines(&offer);
    assert_eq!(
        (lines.len(), lines[0], lines[3]),
        (4, "a=ice-lite", candidate)
    );
    let mut called = bypass();
    called.accept_offer(&client("")).unwrap();
    let answer = called.answer(&Codec::basic(), Direction::SendRecv).unwrap();
    let lines = ice_lines(&answer);
    assert_eq!((lines.len(), lines[3]), (4, candidate));
    let apart = String::from_utf8(client(""))
        .unwrap()
        .replace("a=rtcp-mux\r\n", "");
    called.accept_offer(apart.as_bytes()).unwrap();
    let answer = called.answer(&Codec::basic(), Direction::SendRecv).unwrap();
    assert_eq!(
        ice_lines(&answer)[3..],
        [
            candidate,
            "a=candidate:1 2 UDP 2130706430 203.0.113.10 30001 typ host"
        ]
    );
}

/// TDR-843, TDR-508: credentials and candidate are the same in 183 and 200, through refreshes, holds and our own
/// offers. TDR-842: a re-INVITE with the chosen candidate is no restart, and answers of several forks are none. TDR-847:
/// so are all of several re-INVITEs that follow the answer.
#[test]
fn credentials_stay_for_the_life_of_the_dialog() {
    let mut called = bypass();
    called.accept_offer(&client("")).unwrap();
    let first = called.answer(&Codec::basic(), Direction::SendRecv).unwrap();
    assert_eq!(
        called.answer(&Codec::basic(), Direction::SendRecv).unwrap(),
        first
    );
    for more in [
        "a=remote-candidates:1 203.0.113.10 30000\r\n",
        "a=inactive\r\n",
        "",
    ] {
        called.accept_offer(&client(more)).unwrap();
        let answer = called.answer(&Codec::basic(), Direction::SendRecv).unwrap();
        assert_eq!(ice_lines(&answer), ice_lines(&first), "{more}");
    }
    let again = called.offer_again(Direction::Inactive).unwrap();
    assert_eq!(ice_lines(&again), ice_lines(&first));

    let mut caller = bypass();
    let offer = caller
        .offer(&Codec::basic(), Direction::SendRecv, None)
        .unwrap();
    assert_eq!(caller.ice().unwrap().remote_ufrag, None);
    let other = String::from_utf8(client("")).unwrap();
    let other = other
        .replace("Xy12", "Zz99")
        .replace("ABCDEF01", "ABCDEF02");
    for (fork, ufrag) in [(client(""), "Xy12"), (other.into_bytes(), "Zz99")] {
        caller.accept_answer(&fork).unwrap();
        let config = caller.ice().unwrap();
        assert_eq!(config.remote_ufrag.as_deref(), Some(ufrag));
        assert_eq!(config.ours, ours(&offer).credentials);
    }
    let again = caller.offer_again(Direction::SendRecv).unwrap();
    assert_eq!(again, offer);
}

/// TDR-844: new ufrag and pwd are answered by new ones, at the same address and port, once; one of them alone is no
/// restart; a refused offer is none either.
#[test]
fn a_restart_is_answered_by_new_credentials() {
    let mut called = bypass();
    let restarted = |ufrag: &str, end: &str| {
        let offer = String::from_utf8(client("")).unwrap();
        offer.replace("Xy12", ufrag).replace("ABCDEF01", end)
    };
    let answer = |called: &mut Anchor, offer: &str| {
        called.accept_offer(offer.as_bytes()).unwrap();
        called.answer(&Codec::basic(), Direction::SendRecv).unwrap()
    };
    let first = answer(&mut called, &restarted("Xy12", "ABCDEF01"));
    for half in [restarted("Zz99", "ABCDEF01"), restarted("Zz99", "ABCDEF99")] {
        assert_eq!(ours(&answer(&mut called, &half)), ours(&first));
    }
    called
        .accept_offer(restarted("Aa00", "ABCDEF55").as_bytes())
        .unwrap();
    called.withdraw();
    assert_eq!(called.ice().unwrap().ours, ours(&first).credentials);

    let moved = restarted("Aa00", "ABCDEF55");
    let second = answer(&mut called, &moved);
    let (old, new) = (ours(&first).credentials, ours(&second).credentials);
    assert!(old.ufrag != new.ufrag && old.pwd != new.pwd);
    assert_eq!(
        ice_lines(&second)[3],
        ice_lines(&first)[3],
        "the candidate stays"
    );
    assert_eq!(called.ice().unwrap().ours, new);
    assert_eq!(called.ice().unwrap().remote_ufrag.as_deref(), Some("Aa00"));
    assert_eq!(ours(&answer(&mut called, &moved)), ours(&second), "once");
}

/// TDR-841: no candidates, or no credentials to check them with. TDR-840, TDR-1114: no candidate of ours is IPv6.
#[test]
fn offers_without_candidates_are_refused() {
    let mut called = bypass();
    for offer in [
        secure(""),
        secure(CREDENTIALS),
        secure(CANDIDATE),
        secure(&format!(
            "{CREDENTIALS}a=candidate:1 1 TCP 1 192.0.2.1 9 typ host\r\n"
        )),
    ] {
        assert_eq!(called.accept_offer(&offer), Err(MediaError::NoCandidates));
    }
    assert!(
        MediaError::NoCandidates
            .to_string()
            .contains("no ICE candidates")
    );
    let policy = MediaPolicy {
        ice: true,
        ..policy(SrtpPolicy::Required)
    };
    let address = "2001:db8::10".parse().unwrap();
    let mut six = Anchor::new(address, 30000, policy, &mut Random::from_number(7));
    let offer = six.offer(&Codec::basic(), Direction::SendRecv, None);
    assert_eq!(offer, Err(MediaError::IceOverIpv6));
}

/// TDR-845: another SBC is lite too; then packets go where its c= and m= lines say, whatever candidates it has, and not
/// to where something was heard. A peer that leaves ICE out of its answer is reached likewise.
#[test]
fn two_lite_agents_use_what_is_signalled() {
    let lite = secure(&format!("{CREDENTIALS}a=rtcp-mux\r\n"));
    let lite = String::from_utf8(lite).unwrap();
    let lite = lite.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n");
    let mut called = bypass();
    called.accept_offer(lite.as_bytes()).unwrap();
    let answer = called.answer(&Codec::basic(), Direction::SendRecv).unwrap();
    assert_eq!(ice_lines(&answer).len(), 4);
    let config = called.negotiated().unwrap();
    assert_eq!(
        (config.remote_rtp, config.source),
        ("192.0.2.9:4000".parse().unwrap(), MediaSource::Strict)
    );
    let mut caller = bypass();
    caller
        .offer(&Codec::basic(), Direction::SendRecv, None)
        .unwrap();
    caller.accept_answer(&secure("")).unwrap();
    assert_eq!(caller.ice().unwrap().remote_ufrag, None);
    let latch = MediaSource::Latch(Vec::new());
    assert_eq!(caller.negotiated().unwrap().source, latch);
}

/// TDR-819: without media bypass what Teams says of ICE is passed over, and nothing of it is said to anybody. TDR-818:
/// with it, other media are refused in their places.
#[test]
fn without_bypass_there_is_no_ice() {
    let mut called = anchor(SrtpPolicy::Required);
    called.accept_offer(&client("")).unwrap();
    let answer = called.answer(&Codec::basic(), Direction::SendRecv).unwrap();
    assert!(ice_lines(&answer).is_empty() && called.ice().is_none());
    let mut called = bypass();
    let video = "m=video 5000 RTP/SAVP 100\r\na=candidate:1 1 UDP 1 192.0.2.1 5000 typ host\r\n";
    called.accept_offer(&client(video)).unwrap();
    let answer = called.answer(&Codec::basic(), Direction::SendRecv).unwrap();
    assert!(text(&answer).ends_with("m=video 0 RTP/SAVP 100\r\n"));
}
