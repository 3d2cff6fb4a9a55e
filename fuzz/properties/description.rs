// What holds for a session description of any bytes. The fuzz target and `tests/it` try it.

use bytes::Bytes;
use std::net::IpAddr;
use tollgate::base::Random;
use tollgate::media::{Anchor, Dtmf, MediaPolicy, SrtpPolicy};
use tollgate::sdp::{Audio, Codec, CryptoLine, Direction, SessionDescription, Suite};

/// An anchor at 203.0.113.10:30000 that takes every codec, drawn from a fixed number.
pub fn anchor(srtp: SrtpPolicy, address: &str) -> Anchor {
    let policy = MediaPolicy {
        srtp,
        suites: vec![Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32],
        rtcp_mux: true,
        codecs: Vec::new(),
        latch: false,
        ice: false,
        dtmf: Dtmf::Events,
        lifetime: true,
    };
    let address: IpAddr = address.parse().expect("an address");
    Anchor::new(address, 30000, policy, &mut Random::from_number(1))
}

/// Checks that these bytes are refused, or read without loss and answered by the rules. Returns how many of our
/// policies accept them as an offer.
pub fn check(bytes: &[u8]) -> usize {
    let Ok(description) = SessionDescription::parse(Bytes::copy_from_slice(bytes)) else {
        let mut anchor = anchor(SrtpPolicy::Optional, "203.0.113.10");
        assert!(anchor.accept_offer(bytes).is_err());
        return 0;
    };
    is_faithful(&description, bytes);
    crypto_lines_print_as_they_are(&description);
    is_taken_as_an_answer_or_not(bytes);
    let policies = [
        SrtpPolicy::Required,
        SrtpPolicy::Optional,
        SrtpPolicy::Never,
    ];
    let addresses = ["203.0.113.10", "2001:db8::10"];
    let accepted = policies
        .iter()
        .flat_map(|srtp| addresses.map(|address| anchor(*srtp, address)));
    accepted
        .filter_map(|mut anchor| answer(&mut anchor, &description))
        .count()
}

/// Every line that is not blank is there, in order and byte for byte.
fn is_faithful(description: &SessionDescription, bytes: &[u8]) {
    assert_eq!(description.bytes(), bytes);
    let raw = bytes
        .split(|&b| b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let raw: Vec<_> = raw
        .filter(|line| !line.iter().all(u8::is_ascii_whitespace))
        .collect();
    let read: Vec<_> = description
        .lines()
        .map(|line| [&[line.kind, b'='], line.value].concat())
        .collect();
    assert_eq!(read, raw);
    let media: usize = (0..description.media_count())
        .map(|index| {
            description
                .media(index)
                .expect("each media line was read")
                .1
                .lines()
                .count()
        })
        .sum();
    assert_eq!(description.session().lines().count() + media, raw.len());
    assert!(description.media(description.media_count()).is_none());
}

fn crypto_lines_print_as_they_are(description: &SessionDescription) {
    for index in 0..description.media_count() {
        let (_, section) = description.media(index).expect("each media line was read");
        for line in section
            .values("crypto")
            .filter_map(|value| CryptoLine::parse(value).ok())
        {
            assert_eq!(CryptoLine::parse(&line.to_string()), Ok(line));
        }
    }
}

fn is_taken_as_an_answer_or_not(bytes: &[u8]) {
    for srtp in [SrtpPolicy::Required, SrtpPolicy::Never] {
        let mut anchor = anchor(srtp, "203.0.113.10");
        anchor
            .offer(&Codec::basic(), Direction::SendRecv, None)
            .expect("the basic codecs can be offered");
        let taken = anchor.accept_answer(bytes);
        assert_eq!(taken.is_ok(), anchor.negotiated().is_some());
        if let Ok(audio) = taken {
            assert_eq!(audio.is_secure(), srtp == SrtpPolicy::Required);
            assert_eq!(
                anchor
                    .negotiated()
                    .and_then(|config| config.crypto)
                    .is_some(),
                audio.is_secure()
            );
        }
    }
}

/// Answers the offer if the anchor accepts it, and holds the answer against RFC 3264 §6 and RFC 4568 §5.1.2.
fn answer(anchor: &mut Anchor, offer: &SessionDescription) -> Option<()> {
    let Ok(offered) = anchor.accept_offer(offer.bytes()) else {
        assert!(anchor.negotiated().is_none());
        return None;
    };
    let body = anchor
        .answer(&offered.codecs, Direction::SendRecv)
        .expect("what was accepted can be answered");
    assert_eq!(
        anchor.answer(&offered.codecs, Direction::SendRecv).as_ref(),
        Ok(&body),
        "repeated"
    );
    assert!(
        body.split(|&b| b == b'\n')
            .all(|line| line.is_empty() || line.ends_with(b"\r"))
    );
    let answer = SessionDescription::parse(body).expect("our own description");
    assert_eq!(answer.media_count(), offer.media_count());
    for index in 0..offer.media_count() {
        let (theirs, _) = offer.media(index).expect("an offered line");
        let (ours, section) = answer.media(index).expect("as many answered");
        assert!(ours.media.eq_ignore_ascii_case(theirs.media));
        assert!(ours.profile.eq_ignore_ascii_case(theirs.profile));
        if index != offered.media_index {
            assert_eq!(
                (ours.port, ours.formats, section.lines().count()),
                (0, theirs.formats, 1)
            );
        }
    }
    let answered = Audio::read(&answer, offered.media_index).expect("our own audio");
    let numbers = |audio: &Audio| {
        audio
            .codecs
            .iter()
            .map(|c| (c.payload_type, c.to_string()))
            .collect::<Vec<_>>()
    };
    let offered_numbers = numbers(&offered);
    assert!(
        numbers(&answered)
            .iter()
            .all(|codec| offered_numbers.contains(codec))
    );
    assert_eq!(answered.direction, offered.direction.reversed());
    assert!(offered.rtcp_mux || !answered.rtcp_mux);
    assert!(!answered.rtp.ip().is_unspecified(), "TDR-601");
    assert_eq!(answered.crypto.len(), usize::from(offered.is_secure()));
    for line in &answered.crypto {
        assert!(
            offered
                .crypto
                .iter()
                .any(|theirs| (theirs.tag, theirs.suite) == (line.tag, line.suite))
        );
        assert!(offered.crypto.iter().all(|theirs| theirs.key != line.key));
    }
    let config = anchor.negotiated().expect("an answer was given");
    assert_eq!(
        (config.crypto.is_some(), config.rtcp_mux),
        (offered.is_secure(), answered.rtcp_mux)
    );
    assert!(!config.send || !config.remote_rtp.ip().is_unspecified());
    // A later offer of ours keeps the lines and what the numbers mean.
    let again = anchor
        .offer_again(Direction::Inactive)
        .expect("something was agreed");
    let again = SessionDescription::parse(again).expect("our own description");
    assert_eq!(again.media_count(), offer.media_count());
    let reoffered = Audio::read(&again, offered.media_index).expect("our own audio");
    assert_eq!(reoffered.codecs, answered.codecs);
    Some(())
}
