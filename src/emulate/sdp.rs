//! A tiny reader of session descriptions, enough to be a peer: one audio stream, its address, codecs, keys and direction.

use std::net::{IpAddr, SocketAddr};

use super::g711::Law;
use super::ice::Credentials;

/// RFC 3264 §5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// The describer only sends.
    SendOnly,
    /// The describer only receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// As in the attribute.
    pub fn text(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The same stream as the other side describes it.
    pub fn mirrored(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            same => same,
        }
    }

    /// Whether the describer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    fn of(attribute: &str) -> Option<Self> {
        [
            Self::SendRecv,
            Self::SendOnly,
            Self::RecvOnly,
            Self::Inactive,
        ]
        .into_iter()
        .find(|d| d.text() == attribute)
    }
}

/// RFC 4568 §9.1: one `a=crypto` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// Its tag, as written.
    pub tag: String,
    /// Its suite, as written.
    pub suite: String,
    /// Its key parameters, as written: `inline:…`.
    pub inline: String,
}

/// What a description says of its first audio stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sdp {
    /// The number after the session id in `o=`.
    pub version: String,
    /// The transport profile of the stream, as written: `RTP/AVP`, `RTP/SAVP` …
    pub profile: String,
    /// Where RTP goes. The address may be unspecified (`0.0.0.0`): an old form of hold.
    pub rtp: SocketAddr,
    /// Where RTCP goes (RFC 3605), and whether on the same port (RFC 5761).
    pub rtcp: SocketAddr,
    /// Whether `a=rtcp-mux` is there.
    pub mux: bool,
    /// Payload types in the order of preference.
    pub formats: Vec<u8>,
    /// The payload type of `telephone-event/8000`.
    pub events: Option<u8>,
    /// In their order.
    pub cryptos: Vec<Crypto>,
    /// `sendrecv` when nothing is said.
    pub direction: Direction,
    /// RFC 8839, if there are credentials.
    pub ice: Option<IceLines>,
    /// How many m-lines there are.
    pub streams: usize,
    /// The names of the attributes of the stream, in their order.
    pub attributes: Vec<String>,
}

/// What a description says of ICE for its first audio stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceLines {
    /// Of the describer.
    pub credentials: Credentials,
    /// Whether the describer never checks.
    pub lite: bool,
    /// Component and address of each candidate that can be read.
    pub candidates: Vec<(u8, SocketAddr)>,
}

/// Why a description is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It does not start with `v=0`, or a line is not `x=…`.
    #[error("not a session description")]
    Syntax,
    /// No audio m-line.
    #[error("no audio stream")]
    NoAudio,
    /// An m-line or c-line that cannot be read.
    #[error("the address or port of the audio stream cannot be read")]
    Address,
}

impl Sdp {
    /// Reads `body`.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        let text = String::from_utf8_lossy(body);
        let lines: Vec<(&str, &str)> = text
            .lines()
            .map(|line| {
                line.trim_end()
                    .split_once('=')
                    .filter(|(kind, _)| kind.len() == 1)
                    .ok_or(SdpError::Syntax)
            })
            .collect::<Result<_, _>>()?;
        if lines.first() != Some(&("v", "0")) {
            return Err(SdpError::Syntax);
        }
        let first_stream = lines
            .iter()
            .position(|(kind, _)| *kind == "m")
            .unwrap_or(lines.len());
        let audio = lines
            .iter()
            .position(|(kind, value)| *kind == "m" && value.starts_with("audio "))
            .ok_or(SdpError::NoAudio)?;
        let end = lines[audio + 1..]
            .iter()
            .position(|(kind, _)| *kind == "m")
            .map_or(lines.len(), |n| audio + 1 + n);
        let (session, stream) = (&lines[..first_stream], &lines[audio..end]);

        let mut words = stream[0].1.split_ascii_whitespace().skip(1);
        let port: u16 = words
            .next()
            .and_then(|p| p.parse().ok())
            .ok_or(SdpError::Address)?;
        let profile = words.next().ok_or(SdpError::Syntax)?.to_owned();
        let formats = words.filter_map(|f| f.parse().ok()).collect();
        let connection = find(stream, "c")
            .or_else(|| find(session, "c"))
            .ok_or(SdpError::Address)?;
        let address: IpAddr = connection
            .split_ascii_whitespace()
            .nth(2)
            .and_then(|a| a.parse().ok())
            .ok_or(SdpError::Address)?;
        let attribute = |name: &str| {
            attributes(stream)
                .find_map(|a| split(a).filter(|(n, _)| *n == name).map(|(_, value)| value))
        };
        let mux = attributes(stream).any(|a| a == "rtcp-mux");
        let rtcp_port = attribute("rtcp").and_then(|v| v.split(' ').next()?.parse().ok());
        let rtcp = SocketAddr::new(
            address,
            rtcp_port.unwrap_or(if mux { port } else { port.wrapping_add(1) }),
        );
        let stated = |lines| attributes(lines).find_map(Direction::of);
        Ok(Self {
            version: find(session, "o")
                .and_then(|o| o.split(' ').nth(2))
                .unwrap_or_default()
                .to_owned(),
            profile,
            rtp: SocketAddr::new(address, port),
            rtcp,
            mux,
            formats,
            events: rtpmap(stream, "telephone-event/8000"),
            cryptos: attributes(stream).filter_map(crypto).collect(),
            direction: stated(stream)
                .or_else(|| stated(session))
                .unwrap_or(Direction::SendRecv),
            ice: ice(session, stream),
            streams: lines.iter().filter(|(kind, _)| *kind == "m").count(),
            attributes: attributes(stream)
                .map(|a| a.split(':').next().unwrap_or(a).to_owned())
                .collect(),
        })
    }

    /// The first codec of the list that the emulators speak.
    pub fn law(&self) -> Option<Law> {
        self.formats.iter().find_map(|&format| Law::of(format))
    }

    /// Whether an all-zero address asks to hold (RFC 2543's way).
    pub fn held_by_address(&self) -> bool {
        self.rtp.ip().is_unspecified()
    }
}

fn ice(session: &[(&str, &str)], stream: &[(&str, &str)]) -> Option<IceLines> {
    let find = |name| {
        let mut values = attributes(stream).chain(attributes(session));
        values.find_map(|a| {
            split(a)
                .filter(|(n, _)| *n == name)
                .map(|(_, value)| value.to_owned())
        })
    };
    let candidate = |attribute: &str| {
        let words: Vec<&str> = attribute.strip_prefix("candidate:")?.split(' ').collect();
        let address = SocketAddr::new(words.get(4)?.parse().ok()?, words.get(5)?.parse().ok()?);
        Some((words.get(1)?.parse().ok()?, address))
    };
    Some(IceLines {
        credentials: Credentials {
            ufrag: find("ice-ufrag")?,
            pwd: find("ice-pwd")?,
        },
        lite: attributes(session).any(|a| a == "ice-lite"),
        candidates: attributes(stream).filter_map(candidate).collect(),
    })
}

fn find<'a>(lines: &[(&str, &'a str)], kind: &str) -> Option<&'a str> {
    lines
        .iter()
        .find(|(k, _)| *k == kind)
        .map(|(_, value)| *value)
}

fn attributes<'a>(lines: &'a [(&str, &'a str)]) -> impl Iterator<Item = &'a str> {
    lines
        .iter()
        .filter(|(kind, _)| *kind == "a")
        .map(|(_, value)| *value)
}

fn split(attribute: &str) -> Option<(&str, &str)> {
    attribute.split_once(':')
}

fn rtpmap(lines: &[(&str, &str)], codec: &str) -> Option<u8> {
    attributes(lines).find_map(|a| {
        let (number, name) = a.strip_prefix("rtpmap:")?.split_once(' ')?;
        name.trim()
            .eq_ignore_ascii_case(codec)
            .then(|| number.parse().ok())?
    })
}

fn crypto(attribute: &str) -> Option<Crypto> {
    let mut words = attribute.strip_prefix("crypto:")?.split_ascii_whitespace();
    Some(Crypto {
        tag: words.next()?.to_owned(),
        suite: words.next()?.to_owned(),
        inline: words.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 17 3 IN IP4 203.0.113.10\r\ns=-\r\nc=IN IP4 203.0.113.10\r\nt=0 0\r\n\
        m=audio 30000 RTP/SAVP 104 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:30000\r\na=rtcp-mux\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:sLtQviXZbjPA91DrzKDICqLjIDZF2tPeCpL3Siza|2^31\r\na=inactive\r\nm=video 0 RTP/AVP 99\r\na=sendonly\r\n";

    /// All that a peer needs is found, and the video stream's attributes are not taken for the audio stream's.
    #[test]
    fn an_offer_is_read() {
        let sdp = Sdp::parse(OFFER.as_bytes()).unwrap();
        assert_eq!(
            (sdp.rtp, sdp.rtcp),
            (
                "203.0.113.10:30000".parse().unwrap(),
                "203.0.113.10:30000".parse().unwrap()
            )
        );
        assert_eq!(
            (sdp.version.as_str(), sdp.direction, sdp.streams),
            ("3", Direction::Inactive, 2)
        );
        assert_eq!(
            (sdp.law(), sdp.events, sdp.mux),
            (Some(Law::A), Some(101), true)
        );
        assert_eq!(sdp.cryptos[0].tag, "1");
    }

    /// Nothing that is no description is taken for one.
    #[test]
    fn nonsense_is_refused() {
        assert_eq!(Sdp::parse(b"hello"), Err(SdpError::Syntax));
        assert_eq!(Sdp::parse(b"v=0\r\ns=-\r\n"), Err(SdpError::NoAudio));
        assert_eq!(
            Sdp::parse(b"v=0\r\nm=audio 1 RTP/AVP 8\r\n"),
            Err(SdpError::Address)
        );
        assert_eq!(
            Sdp::parse(b"v=0\r\nc=IN IP4 1.2.3.4\r\nm=audio 99999 RTP/AVP 8\r\n"),
            Err(SdpError::Address)
        );
    }
}
