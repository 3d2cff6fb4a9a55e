use super::ice::host_candidate;
use super::{Codec, CryptoLine, Direction, IceCredentials, Profile};
use bytes::Bytes;
use std::fmt::Write;
use std::net::IpAddr;

/// A description of ours, to be written: an address, and media in order.
///
/// Only attributes that somebody needs are written: Teams is said to be strict about others (TDR-820).
#[derive(Debug, Clone)]
pub struct Outline<'a> {
    /// The `o=` line's session id, the same for a whole dialog.
    pub session: u32,
    /// The `o=` line's version: one more for each change (RFC 3264 §8).
    pub version: u64,
    /// Where we are, never unspecified (TDR-601).
    pub address: IpAddr,
    /// One entry an `m=` line.
    pub media: Vec<MediaOutline<'a>>,
}

/// One `m=` line of ours.
#[derive(Debug, Clone)]
pub enum MediaOutline<'a> {
    /// The call's audio.
    Audio(AudioOutline<'a>),
    /// A stream that we do not want: the peer's words with port 0 (RFC 3264 §6).
    Refused {
        /// `audio`, `video`, …
        media: &'a str,
        /// As the peer wrote it.
        profile: &'a str,
        /// As the peer wrote them.
        formats: &'a str,
    },
}

/// The audio stream of ours.
#[derive(Debug, Clone)]
pub struct AudioOutline<'a> {
    /// Our RTP port.
    pub port: u16,
    /// The `m=` line's third word.
    pub profile: Profile,
    /// At least one.
    pub codecs: &'a [Codec],
    /// Milliseconds.
    pub ptime: u16,
    /// Whether RTCP shares the RTP port; else it has the next.
    pub rtcp_mux: bool,
    /// Our side of ICE, as a lite agent; each component has one candidate at the outline's address (TDR-840).
    pub ice: Option<IceCredentials>,
    /// Our keys, on a secure profile: what we offer, or the one line that answers.
    pub crypto: Vec<CryptoLine>,
    /// What we do.
    pub direction: Direction,
}

impl Outline<'_> {
    /// The text. It holds our key: not for logs.
    pub fn write(&self) -> Bytes {
        let mut text = String::with_capacity(512);
        self.print(&mut text)
            .expect("a String takes whatever is written");
        // It is kept for as long as the call.
        text.shrink_to_fit();
        text.into()
    }

    fn print(&self, text: &mut String) -> std::fmt::Result {
        let family = if self.address.is_ipv4() { "IP4" } else { "IP6" };
        let (session, version, address) = (self.session, self.version, self.address);
        write!(
            text,
            "v=0\r\no=- {session} {version} IN {family} {address}\r\ns=-\r\n"
        )?;
        write!(text, "c=IN {family} {address}\r\nt=0 0\r\n")?;
        if self.has_ice() {
            // RFC 8839 §5.3: it stands nowhere else.
            text.push_str("a=ice-lite\r\n");
        }
        for media in &self.media {
            match media {
                MediaOutline::Audio(audio) => audio.print(address, text)?,
                MediaOutline::Refused {
                    media,
                    profile,
                    formats,
                } => {
                    let line = format!("m={media} 0 {profile} {formats}");
                    write!(text, "{}\r\n", line.trim_ascii_end())?;
                }
            }
        }
        Ok(())
    }

    fn has_ice(&self) -> bool {
        self.media
            .iter()
            .any(|media| matches!(media, MediaOutline::Audio(audio) if audio.ice.is_some()))
    }
}

impl AudioOutline<'_> {
    fn print(&self, address: IpAddr, text: &mut String) -> std::fmt::Result {
        write!(text, "m=audio {} {}", self.port, self.profile)?;
        for codec in self.codecs {
            write!(text, " {}", codec.payload_type)?;
        }
        text.push_str("\r\n");
        for codec in self.codecs {
            write!(text, "a=rtpmap:{} {codec}\r\n", codec.payload_type)?;
            if let Some(fmtp) = codec.fmtp.as_deref() {
                write!(text, "a=fmtp:{} {fmtp}\r\n", codec.payload_type)?;
            }
        }
        let rtcp = if self.rtcp_mux {
            self.port
        } else {
            self.port.saturating_add(1)
        };
        write!(text, "a=ptime:{}\r\na=rtcp:{rtcp}\r\n", self.ptime)?;
        if self.rtcp_mux {
            text.push_str("a=rtcp-mux\r\n");
        }
        if let Some(IceCredentials { ufrag, pwd }) = &self.ice {
            write!(text, "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n")?;
            let candidate = host_candidate(1, address, self.port);
            write!(text, "a=candidate:{candidate}\r\n")?;
            if !self.rtcp_mux {
                let candidate = host_candidate(2, address, rtcp);
                write!(text, "a=candidate:{candidate}\r\n")?;
            }
        }
        for crypto in &self.crypto {
            write!(text, "a=crypto:{crypto}\r\n")?;
        }
        write!(text, "a={}\r\n", self.direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::{Audio, SessionDescription};

    /// What is written is read back as the same.
    #[test]
    fn a_written_description_can_be_read() {
        let codecs = Codec::basic();
        let crypto = CryptoLine::parse(
            "1 AES_CM_128_HMAC_SHA1_80 inline:sLtQviXZbjPA91DrzKDICqLjIDZF2tPeCpL3Siza|2^31",
        );
        let outline = Outline {
            session: 7,
            version: 2,
            address: "2001:db8::1".parse().unwrap(),
            media: vec![
                MediaOutline::Refused {
                    media: "image",
                    profile: "udptl",
                    formats: "t38",
                },
                MediaOutline::Audio(AudioOutline {
                    port: 30000,
                    profile: Profile::Savp,
                    codecs: &codecs,
                    ptime: 20,
                    rtcp_mux: false,
                    ice: None,
                    crypto: crypto.into_iter().collect(),
                    direction: Direction::Inactive,
                }),
                MediaOutline::Refused {
                    media: "video",
                    profile: "RTP/AVP",
                    formats: "",
                },
            ],
        };
        let text = outline.write();
        let description = SessionDescription::parse(text.clone()).unwrap();
        assert_eq!(
            (description.origin_version(), description.media_count()),
            (2, 3)
        );
        assert!(text.ends_with(b"m=video 0 RTP/AVP\r\n"));
        let audio = Audio::read(&description, 1).unwrap();
        assert_eq!(audio.codecs, codecs);
        assert_eq!((audio.rtp.port(), audio.rtcp.port()), (30000, 30001));
        assert_eq!(
            (audio.direction, audio.crypto[0].lifetime),
            (Direction::Inactive, Some(1 << 31))
        );
    }

    /// TDR-840: one IPv4 candidate for RTP, one more for RTCP only where that has a port of its own.
    #[test]
    fn a_lite_agent_has_one_candidate_for_each_port() {
        let codecs = Codec::basic();
        let credentials = IceCredentials {
            ufrag: "abcdefgh".into(),
            pwd: "abcdefghijklmnopqrstuvwxyz".into(),
        };
        let text = |rtcp_mux| {
            let audio = AudioOutline {
                port: 30000,
                profile: Profile::Savp,
                codecs: &codecs,
                ptime: 20,
                rtcp_mux,
                ice: Some(credentials.clone()),
                crypto: Vec::new(),
                direction: Direction::SendRecv,
            };
            let outline = Outline {
                session: 7,
                version: 2,
                address: "203.0.113.10".parse().unwrap(),
                media: vec![MediaOutline::Audio(audio)],
            };
            String::from_utf8(outline.write().to_vec()).unwrap()
        };
        let muxed = text(true);
        let candidates = |text: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|l| l.strip_prefix("a=candidate:"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(
            candidates(&muxed),
            ["1 1 UDP 2130706431 203.0.113.10 30000 typ host"]
        );
        assert_eq!(
            candidates(&text(false))[1..],
            ["1 2 UDP 2130706430 203.0.113.10 30001 typ host"]
        );
        let (session, audio) = muxed.split_once("m=audio").unwrap();
        assert!(session.contains("a=ice-lite\r\n") && !audio.contains("ice-lite"));
        let description = SessionDescription::parse(muxed.clone()).unwrap();
        let ice = Audio::read(&description, 0).unwrap().ice.unwrap();
        assert!(ice.lite && ice.has_candidates && ice.credentials == credentials);
    }
}
