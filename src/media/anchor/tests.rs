mod ice;

use super::*;
use crate::media::{Dtmf, Fate};
use crate::sdp::Suite;

const THEIR_KEY: &str = "gzX7I22ZCuQ9z9shBLv7pchxcuvGvC4DF5+m4aWg";

fn policy(srtp: SrtpPolicy) -> MediaPolicy {
    let codecs = vec!["PCMA".to_owned(), "PCMU".to_owned()];
    MediaPolicy {
        srtp,
        suites: vec![Suite::AesCm128HmacSha1_80],
        rtcp_mux: true,
        codecs,
        latch: false,
        ice: false,
        dtmf: Dtmf::Events,
        lifetime: true,
    }
}

fn anchor(srtp: SrtpPolicy) -> Anchor {
    let address = "203.0.113.10".parse().unwrap();
    Anchor::new(address, 30000, policy(srtp), &mut Random::from_number(7))
}

fn text(body: &Bytes) -> &str {
    std::str::from_utf8(body).unwrap()
}

fn line<'a>(body: &'a Bytes, start: &str) -> Option<&'a str> {
    text(body).lines().find(|line| line.starts_with(start))
}

/// A peer's description: one audio line of this profile with these payload types, then whatever else.
fn peer(profile: &str, formats: &str, attributes: &str) -> Vec<u8> {
    format!(
        "v=0\r\no=- 9 9 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
         m=audio 4000 {profile} {formats}\r\n{attributes}"
    )
    .into_bytes()
}

fn secure(attributes: &str) -> Vec<u8> {
    let lines =
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}|2^31\r\n{attributes}");
    peer("RTP/SAVP", "8", &lines)
}

/// The two keys cross: what one sends with, the other checks with.
#[test]
fn two_anchors_agree() {
    let mut here = anchor(SrtpPolicy::Required);
    let mut there = Anchor::new(
        "192.0.2.9".parse().unwrap(),
        4000,
        policy(SrtpPolicy::Optional),
        &mut Random::from_number(8),
    );
    let offer = here
        .offer(&Codec::basic(), Direction::SendRecv, None)
        .unwrap();
    let offered = there.accept_offer(&offer).unwrap();
    let answer = there.answer(&offered.codecs, Direction::SendRecv).unwrap();
    here.accept_answer(&answer).unwrap();
    let (ours, theirs) = (here.negotiated().unwrap(), there.negotiated().unwrap());
    assert_eq!(ours.remote_rtp, "192.0.2.9:4000".parse().unwrap());
    assert_eq!(theirs.remote_rtp, "203.0.113.10:30000".parse().unwrap());
    assert!(ours.rtcp_mux && theirs.rtcp_mux && ours.remote_rtcp == ours.remote_rtp);
    let (ours, theirs) = (ours.crypto.unwrap(), theirs.crypto.unwrap());
    assert!(
        ours.send == theirs.receive && ours.receive == theirs.send && ours.send != ours.receive
    );
    assert_eq!(
        (here.receiving(), here.sending()),
        (there.sending(), there.receiving())
    );
}

/// RFC 3264 §8: a refresh has the same version, a change one more; key, port and codecs stay (TDR-603, TDR-834).
#[test]
fn hold_and_resume_change_the_direction_and_the_version_only() {
    let mut anchor = anchor(SrtpPolicy::Required);
    let first = anchor
        .offer(&Codec::basic(), Direction::SendRecv, None)
        .unwrap();
    assert_eq!(
        anchor.offer_again(Direction::Inactive),
        Err(MediaError::NothingAgreed)
    );
    anchor.accept_answer(&secure("")).unwrap();
    assert_eq!(anchor.offer_again(Direction::SendRecv).unwrap(), first);
    let hold = anchor.offer_again(Direction::Inactive).unwrap();
    let expected = text(&first).replace("a=sendrecv", "a=inactive");
    let version = |body: &Bytes| {
        SessionDescription::parse(body.clone())
            .unwrap()
            .origin_version()
    };
    assert_eq!((version(&first), version(&hold)), (1, 2));
    let origin = |body: &Bytes| line(body, "o=").unwrap().to_owned();
    assert_eq!(
        text(&hold),
        expected.replace(&origin(&first), &origin(&hold))
    );
    anchor.accept_answer(&secure("a=inactive\r\n")).unwrap();
    let held = anchor.negotiated().unwrap();
    assert!(!held.send && !held.receive);
    let resume = anchor.offer_again(Direction::SendRecv).unwrap();
    assert_eq!(
        text(&resume),
        text(&first).replace(&origin(&first), &origin(&resume))
    );
    assert_eq!(version(&resume), 3);
}

/// The peer refreshes; the answer is the one it had.
#[test]
fn a_refresh_is_answered_with_the_same_bytes() {
    let mut anchor = anchor(SrtpPolicy::Required);
    let first = anchor.accept_offer(&secure("")).unwrap();
    let answer = anchor.answer(&Codec::basic(), Direction::SendRecv).unwrap();
    let before = anchor.negotiated();
    assert_eq!(
        anchor.answer(&Codec::basic(), Direction::SendRecv).unwrap(),
        answer
    );
    let again = anchor.accept_offer(&secure("")).unwrap();
    assert!(again.is_same(&first));
    assert_eq!(
        anchor.answer(&Codec::basic(), Direction::SendRecv).unwrap(),
        answer
    );
    assert_eq!(anchor.negotiated(), before);
}

/// TDR-831: SHA1_32 comes first and has the lower tag, and is skipped; its tag is not ours to answer with.
#[test]
fn the_sha1_80_line_is_taken_wherever_it_stands() {
    let other = "oUDlgdFBc203ULk5F8QJjmHRozzB29Dr/yQ+eB08";
    let offer = |lines: &str| peer("RTP/SAVP", "8", lines);
    for (lines, tag, mki) in [
        (
            format!(
                "a=crypto:0 AES_CM_128_HMAC_SHA1_32 inline:{other}\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n"
            ),
            1,
            "",
        ),
        (
            format!(
                "a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{other}|2^31|1:1\r\na=crypto:5 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}|2^31\r\n"
            ),
            5,
            "",
        ),
        (
            format!("a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}|2^31|1:1\r\n"),
            7,
            "|1:1",
        ),
    ] {
        let mut anchor = anchor(SrtpPolicy::Required);
        anchor.accept_offer(&offer(&lines)).unwrap();
        let answer = anchor.answer(&Codec::basic(), Direction::SendRecv).unwrap();
        let written = line(&answer, "a=crypto:").unwrap();
        assert!(
            written.starts_with(&format!("a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:")),
            "{written}"
        );
        assert!(written.ends_with(&format!("|2^31{mki}")), "{written}");
        assert_eq!(text(&answer).matches("a=crypto").count(), 1);
        let crypto = anchor.negotiated().unwrap().crypto.unwrap();
        assert_eq!(crypto.suite, Suite::AesCm128HmacSha1_80);
        assert_eq!(
            (crypto.receive_mki_length, crypto.send_mki.len()),
            if mki.is_empty() { (0, 0) } else { (1, 1) }
        );
    }
}

/// What the peer's only line asked for is kept when we offer: the key with its MKI; the tag is ours again.
#[test]
fn a_later_offer_keeps_the_suite_and_the_mki() {
    let mut anchor = choosy(&[Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32]);
    let theirs = format!("a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:{THEIR_KEY}|2^31|1:1\r\n");
    anchor
        .accept_offer(&peer("RTP/SAVP", "8", &theirs))
        .unwrap();
    let answer = anchor.answer(&Codec::basic(), Direction::SendRecv).unwrap();
    let offer = anchor.offer_again(Direction::SendRecv).unwrap();
    let written = line(&answer, "a=crypto:")
        .unwrap()
        .replace("crypto:7", "crypto:1");
    assert_eq!(line(&offer, "a=crypto:"), Some(written.as_str()));
    let before = anchor.negotiated();
    anchor
        .accept_answer(&peer(
            "RTP/SAVP",
            "8",
            &theirs.replace("crypto:7", "crypto:1"),
        ))
        .unwrap();
    assert_eq!(anchor.negotiated(), before);
}

/// A leg to a trunk whose profile has these suites.
fn choosy(suites: &[Suite]) -> Anchor {
    let policy = MediaPolicy {
        suites: suites.to_vec(),
        ..policy(SrtpPolicy::Required)
    };
    let address = "203.0.113.10".parse().unwrap();
    Anchor::new(address, 30000, policy, &mut Random::from_number(7))
}

/// RFC 4568 §5.1: the profile's suites are offered in its order, each under a tag and a key of its own, and the peer
/// chooses; of an offer we choose the first of ours. Later offers keep to what was chosen.
#[test]
fn suites_are_offered_and_chosen_in_the_order_of_the_profile() {
    let all = [
        Suite::AeadAes256Gcm,
        Suite::AesCm256HmacSha1_80,
        Suite::AeadAes128Gcm,
        Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32,
    ];
    for chosen in all {
        let (mut caller, mut called) = (choosy(&all), choosy(&[chosen]));
        let mut other = Random::from_number(8);
        called.keys = Keys::draw(&[chosen], &mut other);
        let offer = caller
            .offer(&Codec::basic(), Direction::SendRecv, None)
            .unwrap();
        let lines: Vec<&str> = text(&offer)
            .lines()
            .filter(|l| l.starts_with("a=crypto"))
            .collect();
        for (n, suite) in all.iter().enumerate() {
            assert!(lines[n].starts_with(&format!("a=crypto:{} {} ", n + 1, suite.name())));
        }
        let offered = called.accept_offer(&offer).unwrap();
        let answer = called.answer(&offered.codecs, Direction::SendRecv).unwrap();
        assert_eq!(text(&answer).matches("a=crypto").count(), 1);
        caller.accept_answer(&answer).unwrap();
        let (at_caller, at_called) = (caller.negotiated().unwrap(), called.negotiated().unwrap());
        let (a, b) = (at_caller.crypto.unwrap(), at_called.crypto.unwrap());
        assert_eq!(
            (a.suite, &a.send, &a.receive),
            (chosen, &b.receive, &b.send)
        );
        let again = caller.offer_again(Direction::SendRecv).unwrap();
        let again = line(&again, "a=crypto").unwrap();
        assert!(again.starts_with(&format!("a=crypto:1 {} ", chosen.name())));
    }
    let (mut caller, mut called) = (choosy(&all), choosy(&[all[4], all[2]]));
    called.keys = Keys::draw(&[all[4], all[2]], &mut Random::from_number(8));
    let offer = caller
        .offer(&Codec::basic(), Direction::SendRecv, None)
        .unwrap();
    called.accept_offer(&offer).unwrap();
    let answer = called.answer(&Codec::basic(), Direction::SendRecv).unwrap();
    assert!(text(&answer).contains("a=crypto:5 AES_CM_128_HMAC_SHA1_32 "));
    let keys: std::collections::HashSet<&[u8]> = text(&offer)
        .lines()
        .filter_map(|l| Some(l.split_once("inline:")?.1.as_bytes()))
        .collect();
    assert_eq!(keys.len(), all.len(), "no two suites share a key");
}

/// TDR-831: with Teams' one suite, the others are not taken, however they stand.
#[test]
fn other_suites_are_not_for_teams() {
    let mut teams = anchor(SrtpPolicy::Required);
    let short = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{THEIR_KEY}|2^31\r\n");
    let refused = teams.accept_offer(&peer("RTP/SAVP", "8", &short));
    assert_eq!(refused, Err(MediaError::NoUsableCrypto));
}

/// TDR-832: answers with other tags and several lines are taken; an answer with another suite is not.
#[test]
fn odd_answers_are_read_as_far_as_they_make_sense() {
    let answer = |lines: &str| {
        let mut anchor = anchor(SrtpPolicy::Required);
        anchor
            .offer(&Codec::basic(), Direction::SendRecv, None)
            .unwrap();
        anchor
            .accept_answer(&peer("RTP/SAVP", "8", lines))
            .map(|_| anchor.negotiated().unwrap().crypto.unwrap())
    };
    let line = |tag: u8, suite: &str, rest: &str| {
        format!("a=crypto:{tag} {suite} inline:{THEIR_KEY}{rest}\r\n")
    };
    let (long, short) = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32");
    assert!(answer(&(line(2, long, "|2^31") + &line(3, short, ""))).is_ok());
    let with_mki = answer(&line(1, long, "|2^31|1:1")).unwrap();
    assert_eq!(
        (with_mki.receive_mki_length, with_mki.send_mki.len()),
        (1, 0)
    );
    assert_eq!(answer(&line(1, short, "")), Err(MediaError::NoUsableCrypto));
    assert_eq!(answer(""), Err(MediaError::NoUsableCrypto));
}

#[test]
fn an_echo_of_our_own_key_is_refused() {
    let mut anchor = anchor(SrtpPolicy::Required);
    let offer = anchor
        .offer(&Codec::basic(), Direction::SendRecv, None)
        .unwrap();
    assert_eq!(anchor.accept_answer(&offer), Err(MediaError::OurOwnKey));
    assert_eq!(anchor.accept_offer(&offer), Err(MediaError::OurOwnKey));
}

/// Each refusal names its rule, and none of them disturbs what stands.
#[test]
fn what_the_policy_forbids_is_refused_and_changes_nothing() {
    let secure_line = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n");
    let v6 = String::from_utf8(peer("RTP/AVP", "8", ""))
        .unwrap()
        .replace("IN IP4 192.0.2.9", "IN IP6 2001:db8::9");
    for (srtp, offer, error) in [
        (
            SrtpPolicy::Required,
            peer("RTP/AVP", "8", ""),
            MediaError::SrtpRequired,
        ),
        (
            SrtpPolicy::Required,
            peer("RTP/AVP", "8", &secure_line),
            MediaError::SrtpRequired,
        ),
        (SrtpPolicy::Never, secure(""), MediaError::SrtpNotAllowed),
        (
            SrtpPolicy::Optional,
            peer("RTP/SAVP", "8", ""),
            MediaError::NoUsableCrypto,
        ),
        (
            SrtpPolicy::Never,
            peer("RTP/AVP", "18 101", "a=rtpmap:101 telephone-event/8000\r\n"),
            MediaError::NoCodec,
        ),
        (
            SrtpPolicy::Never,
            v6.into_bytes(),
            MediaError::AddressFamily,
        ),
        (
            SrtpPolicy::Never,
            peer("RTP/XYZ", "8", ""),
            AudioError::Profile.into(),
        ),
        (
            SrtpPolicy::Never,
            b"v=0\r\nm=video 4000 RTP/AVP 31\r\n".to_vec(),
            AudioError::NotAudio.into(),
        ),
        (
            SrtpPolicy::Never,
            b"hello".to_vec(),
            crate::sdp::SdpError::NotALine(1).into(),
        ),
    ] {
        let mut anchor = anchor(srtp);
        let good = if srtp == SrtpPolicy::Required {
            secure("")
        } else {
            peer("RTP/AVP", "8", "")
        };
        anchor.accept_offer(&good).unwrap();
        let before = anchor.answer(&Codec::basic(), Direction::SendRecv).unwrap();
        assert_eq!(anchor.accept_offer(&offer), Err(error));
        anchor.withdraw();
        assert_eq!(
            anchor.answer(&Codec::basic(), Direction::SendRecv),
            Err(MediaError::NothingToAnswer)
        );
        assert_eq!(anchor.sent(), Some(&before));
        assert!(anchor.negotiated().unwrap().send);
    }
}

/// RFC 3264 §6: same number and order of m-lines, those we do not want with port 0 and the offer's words.
#[test]
fn other_media_are_answered_with_port_zero_in_their_place() {
    let mut anchor = anchor(SrtpPolicy::Never);
    let offer = "v=0\r\no=- 9 9 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
        m=video 5000/2 RTP/AVP 31 34\r\nm=audio 0 RTP/AVP 0\r\nm=audio 4000 RTP/AVP 0\r\nm=image 6000 udptl t38\r\n";
    assert_eq!(
        anchor.accept_offer(offer.as_bytes()).unwrap().media_index,
        2
    );
    let answer = anchor.answer(&Codec::basic(), Direction::SendRecv).unwrap();
    let media = |body: &Bytes| {
        text(body)
            .lines()
            .filter(|l| l.starts_with("m="))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let expected = "m=video 0 RTP/AVP 31 34\nm=audio 0 RTP/AVP 0\nm=audio 30000 RTP/AVP 0\nm=image 0 udptl t38";
    assert_eq!(media(&answer), expected);
    // RFC 3264 §8: a later offer of ours keeps them all.
    assert_eq!(
        media(&anchor.offer_again(Direction::Inactive).unwrap()),
        expected
    );
}

/// SAVP or AVP, take your pick: the policy picks.
#[test]
fn of_two_audio_streams_the_first_that_the_policy_allows_is_taken() {
    let two = format!(
        "v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/AVP 8\r\nm=audio 4002 RTP/SAVP 8\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n"
    );
    let index = |srtp| {
        anchor(srtp)
            .accept_offer(two.as_bytes())
            .unwrap()
            .media_index
    };
    assert_eq!(
        (index(SrtpPolicy::Required), index(SrtpPolicy::Never)),
        (1, 0)
    );
}

/// Payload types are what the rtpmap says, not what they usually are (TDR-811).
#[test]
fn an_answer_takes_the_offers_numbers_and_what_both_have() {
    let mut anchor = anchor(SrtpPolicy::Never);
    let attributes =
        "a=rtpmap:96 telephone-event/8000\r\na=rtpmap:97 opus/48000/2\r\na=ptime:30\r\n";
    let offered = anchor
        .accept_offer(&peer("RTP/AVP", "97 0 8 96", attributes))
        .unwrap();
    assert_eq!(
        offered
            .codecs
            .iter()
            .map(|c| c.payload_type)
            .collect::<Vec<_>>(),
        [0, 8, 96]
    );
    let answer = anchor.answer(&Codec::basic(), Direction::SendRecv).unwrap();
    assert_eq!(line(&answer, "m="), Some("m=audio 30000 RTP/AVP 8 0 96"));
    assert_eq!(line(&answer, "a=ptime"), Some("a=ptime:30"));
    // Not offered, so not answered: RFC 5761 §5.1.1.
    assert_eq!(
        (line(&answer, "a=rtcp-mux"), line(&answer, "a=rtcp:")),
        (None, Some("a=rtcp:30001"))
    );
    assert_eq!(
        anchor.answer(&[Codec::new(18, "G729", 8000)], Direction::SendRecv),
        Err(MediaError::NoCodec)
    );
    assert_eq!(
        anchor.negotiated().unwrap().remote_rtcp,
        "192.0.2.9:4001".parse().unwrap()
    );
}

/// One leg calls events 101, the other 96; the relay translates both ways.
#[test]
fn passages_lead_from_one_legs_numbers_to_the_others() {
    let mut teams = anchor(SrtpPolicy::Never);
    teams
        .accept_offer(&peer(
            "RTP/AVP",
            "8 96",
            "a=rtpmap:96 telephone-event/8000\r\n",
        ))
        .unwrap();
    teams.answer(&Codec::basic(), Direction::SendRecv).unwrap();
    let mut pbx = anchor(SrtpPolicy::Never);
    pbx.offer(&Codec::basic(), Direction::SendRecv, None)
        .unwrap();
    pbx.accept_answer(&peer(
        "RTP/AVP",
        "8 120",
        "a=rtpmap:120 telephone-event/8000\r\n",
    ))
    .unwrap();
    assert_eq!(
        (teams.passage(&pbx).of(101), pbx.passage(&teams).of(96)),
        (Fate::As(96), Fate::As(120))
    );
    assert_eq!(pbx.passage(&teams).of(8), Fate::As(8));
}

/// The three ways in which a PBX holds (TDR-601), and what the relay does about each.
#[test]
fn holds_are_seen_whatever_their_form() {
    let mut anchor = anchor(SrtpPolicy::Never);
    let mut hold = |offer: Vec<u8>| {
        let audio = anchor.accept_offer(&offer).unwrap();
        let answer = anchor.answer(&Codec::basic(), Direction::SendRecv).unwrap();
        let config = anchor.negotiated().unwrap();
        (
            audio.holds(),
            text(&answer).lines().last().unwrap().to_owned(),
            config.send,
            config.receive,
            config.remote_rtp,
        )
    };
    let there = "192.0.2.9:4000".parse().unwrap();
    let offer = |attributes: &str| peer("RTP/AVP", "8", attributes);
    assert_eq!(
        hold(offer("")),
        (false, "a=sendrecv".into(), true, true, there)
    );
    assert_eq!(
        hold(offer("a=sendonly\r\n")),
        (true, "a=recvonly".into(), false, true, there)
    );
    assert_eq!(
        hold(offer("a=inactive\r\n")),
        (true, "a=inactive".into(), false, false, there)
    );
    let zero = String::from_utf8(offer(""))
        .unwrap()
        .replace("c=IN IP4 192.0.2.9", "c=IN IP4 0.0.0.0");
    assert_eq!(
        hold(zero.into_bytes()),
        (true, "a=sendrecv".into(), false, true, there)
    );
}

/// TDR-504: a 183 from one fork, a 200 from another; the last answer counts.
#[test]
fn another_forks_answer_replaces_the_first() {
    let mut anchor = anchor(SrtpPolicy::Required);
    assert_eq!(
        anchor.accept_answer(&secure("")),
        Err(MediaError::NothingOffered)
    );
    anchor
        .offer(&Codec::basic(), Direction::SendRecv, None)
        .unwrap();
    anchor.accept_answer(&secure("")).unwrap();
    let first = anchor.negotiated().unwrap();
    let other = String::from_utf8(secure(""))
        .unwrap()
        .replace("audio 4000", "audio 4100");
    anchor.accept_answer(other.as_bytes()).unwrap();
    let second = anchor.negotiated().unwrap();
    assert_eq!(
        (first.remote_rtp.port(), second.remote_rtp.port()),
        (4000, 4100)
    );
    assert_eq!(first.crypto, second.crypto);
}

#[test]
fn debug_shows_no_key() {
    let mut anchor = anchor(SrtpPolicy::Required);
    let offer = anchor
        .offer(&Codec::basic(), Direction::SendRecv, None)
        .unwrap();
    anchor.accept_answer(&secure("")).unwrap();
    let ours = line(&offer, "a=crypto")
        .and_then(|l| l.split_once("inline:"))
        .unwrap()
        .1
        .split('|')
        .next()
        .unwrap();
    let shown = format!("{anchor:?}");
    assert!(
        !shown.contains(ours) && !shown.contains(THEIR_KEY),
        "{shown}"
    );
}
