//! One leg's side of offer and answer (RFC 3264, RFC 4568): what we describe, what the peer described, what came of it.
//!
//! An [`Anchor`] lives as long as its dialog. Descriptions of the peer go in, ours come out, and
//! [`Anchor::negotiated`] is what the relay must know. Three things never change in its life: our address and ports
//! (TDR-804), our key (TDR-834) and the meaning of a payload type.

mod error;
mod numbers;
mod policy;
mod security;

pub use error::MediaError;
pub use policy::{MediaPolicy, SrtpPolicy};

use super::{Crypto, LegConfig, MediaSource};
use crate::base::Random;
use crate::sdp::{
    Audio, AudioError, AudioOutline, Codec, CryptoLine, Direction, MasterKey, MediaOutline,
    Outline, Profile, SessionDescription, intersect, map,
};
use bytes::Bytes;
use numbers::Numbers;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Milliseconds in a packet where nobody asks for anything else (TDR-812).
const PTIME: u16 = 20;

/// One leg's side of offer and answer.
///
/// Repeating is harmless: an answer may be given again (183, then 200), and the peer's answer taken again (from
/// another fork, or from the 200 after a 183). Whoever refuses an offer, or whose offer was refused, says
/// [`Anchor::withdraw`]; what was agreed before then still stands.
pub struct Anchor {
    address: IpAddr,
    port: u16,
    policy: MediaPolicy,
    key: MasterKey,
    session: u32,
    version: u64,
    sent: Option<Bytes>,
    slots: Vec<Slot>,
    numbers: Numbers,
    exchange: Exchange,
    agreed: Option<Agreed>,
    /// The peer's last RTP and RTCP addresses that were none to hold by.
    reachable: Option<(SocketAddr, SocketAddr)>,
}

/// RFC 3264 §4, from our side.
enum Exchange {
    /// Nobody has offered, or the offer was withdrawn.
    Idle,
    /// Our offer is with the peer, answered or not.
    Offering(Ours),
    /// The peer's offer is with us, answered or not.
    Answering { theirs: Audio, slots: Vec<Slot> },
}

/// What we said.
#[derive(Clone)]
struct Ours {
    codecs: Vec<Codec>,
    direction: Direction,
    ptime: u16,
    profile: Profile,
    rtcp_mux: bool,
    crypto: Option<CryptoLine>,
}

/// What both said, and what follows from it.
struct Agreed {
    ours: Ours,
    theirs: Audio,
    rtcp_mux: bool,
    crypto: Option<Crypto>,
}

/// One `m=` line of the dialog; their number and order never change (RFC 3264 §8).
#[derive(Clone)]
enum Slot {
    Audio,
    Other {
        media: String,
        profile: String,
        formats: String,
    },
}

impl Anchor {
    /// The side of a new dialog whose media we receive at `address` and `port`, RTCP at the next port. Draws the key.
    pub fn new(address: IpAddr, port: u16, policy: MediaPolicy, random: &mut Random) -> Self {
        Self {
            address,
            port,
            policy,
            key: MasterKey(random.bytes()),
            session: random.u32(),
            version: 0,
            sent: None,
            slots: vec![Slot::Audio],
            numbers: Numbers::default(),
            exchange: Exchange::Idle,
            agreed: None,
            reachable: None,
        }
    }

    /// An offer of ours with what the policy allows of these codecs. Equal to what was sent last, it keeps its
    /// version; otherwise it counts one more (RFC 3264 §8). `ptime` in milliseconds, 20 if `None`.
    pub fn offer(
        &mut self,
        codecs: &[Codec],
        direction: Direction,
        ptime: Option<u16>,
    ) -> Result<Bytes, MediaError> {
        let codecs = self.numbers.assign(&self.policy.preferred(codecs));
        self.propose(codecs, direction, ptime.unwrap_or(PTIME))
    }

    /// Our last agreed description again as an offer: hold and resume differ in the direction only, a refresh in
    /// nothing (TDR-603, TDR-834).
    pub fn offer_again(&mut self, direction: Direction) -> Result<Bytes, MediaError> {
        let ours = self
            .agreed
            .as_ref()
            .map(|agreed| &agreed.ours)
            .ok_or(MediaError::NothingAgreed)?;
        self.propose(ours.codecs.clone(), direction, ours.ptime)
    }

    /// Reads and judges an offer of the peer's. Its codecs are left with what the policy allows. An error changes
    /// nothing: the offer is to be refused with 488, and what was agreed before still stands.
    pub fn accept_offer(&mut self, sdp: &[u8]) -> Result<Audio, MediaError> {
        let description = SessionDescription::parse(Bytes::copy_from_slice(sdp))?;
        let mut refusal = None;
        for index in 0..description.media_count() {
            match self.judge(&description, index) {
                Ok(theirs) => {
                    let slots = slots(&description, index);
                    self.exchange = Exchange::Answering {
                        theirs: theirs.clone(),
                        slots,
                    };
                    return Ok(theirs);
                }
                // Other media are no reason, unless there is nothing else.
                Err(MediaError::Audio(AudioError::NotAudio)) => {}
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or(AudioError::NotAudio.into()))
    }

    /// Our answer to the last accepted offer: of these codecs those that were offered, in this order and under the
    /// offer's payload types; of this direction what the offer leaves (RFC 3264 §6.1). The same again is the same.
    pub fn answer(&mut self, codecs: &[Codec], direction: Direction) -> Result<Bytes, MediaError> {
        let Exchange::Answering { theirs, slots } = &self.exchange else {
            return Err(MediaError::NothingToAnswer);
        };
        let (theirs, slots) = (theirs.clone(), slots.clone());
        let codecs = intersect(codecs, &theirs.codecs);
        require_voice(&codecs)?;
        let line = if theirs.is_secure() {
            Some(security::choose(&theirs.crypto, &self.key)?)
        } else {
            None
        };
        let ours = Ours {
            codecs,
            direction: direction.answering(theirs.direction),
            ptime: theirs.ptime.unwrap_or(PTIME),
            profile: theirs.profile,
            rtcp_mux: self.policy.rtcp_mux && theirs.rtcp_mux,
            crypto: line
                .as_ref()
                .map(|line| security::answer(&self.key, &self.policy, line)),
        };
        self.slots = slots;
        let body = self.send(&ours);
        self.agree(ours, theirs, line);
        Ok(body)
    }

    /// Reads and judges an answer to our last offer. Its codecs are left with those that we offered. An error changes
    /// nothing.
    pub fn accept_answer(&mut self, sdp: &[u8]) -> Result<Audio, MediaError> {
        let Exchange::Offering(ours) = &self.exchange else {
            return Err(MediaError::NothingOffered);
        };
        let ours = ours.clone();
        let description = SessionDescription::parse(Bytes::copy_from_slice(sdp))?;
        let index = self
            .slots
            .iter()
            .position(|slot| matches!(slot, Slot::Audio))
            .unwrap_or(0);
        let mut theirs = Audio::read(&description, index)?;
        match (ours.profile.is_secure(), theirs.is_secure()) {
            (true, false) => return Err(MediaError::SrtpRequired),
            (false, true) => return Err(MediaError::SrtpNotAllowed),
            _ => {}
        }
        self.require_family(&theirs)?;
        theirs
            .codecs
            .retain(|codec| codec.find_in(&ours.codecs).is_some());
        require_voice(&theirs.codecs)?;
        let accept = |offered| security::accept(&theirs.crypto, offered);
        let line = ours.crypto.as_ref().map(accept).transpose()?;
        self.agree(ours, theirs.clone(), line);
        Ok(theirs)
    }

    /// Forgets an offer that one side refused (RFC 3261 §14.1): what was agreed before still stands.
    pub fn withdraw(&mut self) {
        self.exchange = Exchange::Idle;
    }

    /// What the relay must know of this leg, once something is agreed. The payload map changes nothing and inactivity
    /// is not watched: both need the other leg, or the call's state.
    pub fn negotiated(&self) -> Option<LegConfig> {
        let Agreed {
            ours,
            theirs,
            rtcp_mux,
            crypto,
        } = self.agreed.as_ref()?;
        // While the peer holds by address, RTCP still goes to where the peer was (RFC 3264 §8.4, TDR-815).
        let (remote_rtp, rtcp) = self.reachable.unwrap_or((theirs.rtp, theirs.rtcp));
        Some(LegConfig {
            remote_rtp,
            remote_rtcp: if *rtcp_mux { remote_rtp } else { rtcp },
            rtcp_mux: *rtcp_mux,
            crypto: crypto.clone(),
            source: if self.policy.latch {
                MediaSource::Latch
            } else {
                MediaSource::Strict
            },
            payload_map: map(&[], &[]),
            inactivity: None,
            receive: ours.direction.receives() && theirs.direction.sends(),
            send: ours.direction.sends() && theirs.wants_packets(),
        })
    }

    /// What the peer last agreed to say of itself.
    pub fn remote(&self) -> Option<&Audio> {
        self.agreed.as_ref().map(|agreed| &agreed.theirs)
    }

    /// Our agreed direction.
    pub fn direction(&self) -> Option<Direction> {
        self.agreed.as_ref().map(|agreed| agreed.ours.direction)
    }

    /// Agreed codecs under the numbers of packets that come from the peer: those of our description.
    pub fn receiving(&self) -> &[Codec] {
        self.agreed
            .as_ref()
            .map_or(&[], |agreed| &agreed.ours.codecs)
    }

    /// Agreed codecs under the numbers of packets that go to the peer: those of its description.
    pub fn sending(&self) -> &[Codec] {
        self.agreed
            .as_ref()
            .map_or(&[], |agreed| &agreed.theirs.codecs)
    }

    /// Payload types of packets that come from the other leg and go out to this one's peer.
    pub fn payload_map(&self, from: &Anchor) -> Box<[u8; 128]> {
        map(from.receiving(), self.sending())
    }

    /// The last description that we sent; it holds our key.
    pub fn sent(&self) -> Option<&Bytes> {
        self.sent.as_ref()
    }

    /// Where we receive.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Where we receive RTP; RTCP is at the next port.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn propose(
        &mut self,
        codecs: Vec<Codec>,
        direction: Direction,
        ptime: u16,
    ) -> Result<Bytes, MediaError> {
        require_voice(&codecs)?;
        let agreed = self.agreed.as_ref();
        let profile = agreed.map_or(self.policy.srtp.profile(), |agreed| agreed.ours.profile);
        let line = agreed.and_then(|agreed| agreed.ours.crypto.as_ref());
        let ours = Ours {
            codecs,
            direction,
            ptime,
            profile,
            rtcp_mux: self.policy.rtcp_mux,
            crypto: profile
                .is_secure()
                .then(|| security::offer(&self.key, &self.policy, line)),
        };
        let body = self.send(&ours);
        self.exchange = Exchange::Offering(ours);
        Ok(body)
    }

    fn judge(&self, description: &SessionDescription, index: usize) -> Result<Audio, MediaError> {
        let mut theirs = Audio::read(description, index)?;
        self.policy.srtp.admit(theirs.profile)?;
        self.require_family(&theirs)?;
        if theirs.is_secure() {
            security::choose(&theirs.crypto, &self.key)?;
        }
        theirs.codecs = self.policy.allowed(&theirs.codecs);
        require_voice(&theirs.codecs)?;
        Ok(theirs)
    }

    fn require_family(&self, theirs: &Audio) -> Result<(), MediaError> {
        let same = |theirs: SocketAddr| theirs.is_ipv4() == self.address.is_ipv4();
        let fits = theirs.held_by_address || (same(theirs.rtp) && same(theirs.rtcp));
        if fits {
            Ok(())
        } else {
            Err(MediaError::AddressFamily)
        }
    }

    fn agree(&mut self, ours: Ours, theirs: Audio, line: Option<CryptoLine>) {
        if !theirs.held_by_address {
            self.reachable = Some((theirs.rtp, theirs.rtcp));
        }
        let rtcp_mux = ours.rtcp_mux && theirs.rtcp_mux;
        let crypto = ours
            .crypto
            .as_ref()
            .zip(line)
            .map(|(ours, theirs)| security::both(ours, &theirs));
        self.agreed = Some(Agreed {
            ours,
            theirs,
            rtcp_mux,
            crypto,
        });
    }

    /// The text, under the version it deserves.
    fn send(&mut self, ours: &Ours) -> Bytes {
        self.numbers.remember(&ours.codecs);
        let mut body = self.text(ours);
        if self.sent.as_ref() != Some(&body) {
            self.version += 1;
            body = self.text(ours);
            self.sent = Some(body.clone());
        }
        body
    }

    fn text(&self, ours: &Ours) -> Bytes {
        let audio = AudioOutline {
            port: self.port,
            profile: ours.profile,
            codecs: &ours.codecs,
            ptime: ours.ptime,
            rtcp_mux: ours.rtcp_mux,
            crypto: ours.crypto.clone(),
            direction: ours.direction,
        };
        let media = self.slots.iter().map(|slot| match slot {
            Slot::Audio => MediaOutline::Audio(audio.clone()),
            Slot::Other {
                media,
                profile,
                formats,
            } => MediaOutline::Refused {
                media,
                profile,
                formats,
            },
        });
        let media = media.collect();
        Outline {
            session: self.session,
            version: self.version,
            address: self.address,
            media,
        }
        .write()
    }
}

/// Shows neither keys nor descriptions.
impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anchor")
            .field("address", &self.address)
            .field("port", &self.port)
            .field("policy", &self.policy)
            .field("version", &self.version)
            .field("direction", &self.direction())
            .field("remote", &self.remote())
            .finish_non_exhaustive()
    }
}

fn require_voice(codecs: &[Codec]) -> Result<(), MediaError> {
    if codecs.iter().any(Codec::is_voice) {
        Ok(())
    } else {
        Err(MediaError::NoCodec)
    }
}

fn slots(description: &SessionDescription, audio: usize) -> Vec<Slot> {
    let lines = (0..description.media_count())
        .filter_map(|index| Some((index, description.media(index)?.0)));
    let slot = |(index, line): (usize, crate::sdp::MediaLine<'_>)| {
        if index == audio {
            return Slot::Audio;
        }
        Slot::Other {
            media: line.media.into(),
            profile: line.profile.into(),
            formats: line.formats.into(),
        }
    };
    lines.map(slot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Suite;

    const THEIR_KEY: &str = "gzX7I22ZCuQ9z9shBLv7pchxcuvGvC4DF5+m4aWg";

    fn policy(srtp: SrtpPolicy) -> MediaPolicy {
        let codecs = vec!["PCMA".to_owned(), "PCMU".to_owned()];
        MediaPolicy {
            srtp,
            rtcp_mux: true,
            codecs,
            latch: false,
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
        let mut anchor = anchor(SrtpPolicy::Required);
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
    fn payload_maps_lead_from_one_legs_numbers_to_the_others() {
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
            (teams.payload_map(&pbx)[101], pbx.payload_map(&teams)[96]),
            (96, 120)
        );
        assert_eq!(pbx.payload_map(&teams)[8], 8);
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
}
