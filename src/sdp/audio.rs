use super::{Codec, CryptoLine, Direction, Ice, MediaLine, Section, SessionDescription};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What the description of one audio stream says of its writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audio {
    /// Which `m=` line, counted from 0.
    pub media_index: usize,
    /// Third word of the `m=` line.
    pub profile: Profile,
    /// Where it wants RTP. The address is unspecified if `held_by_address`.
    pub rtp: SocketAddr,
    /// Where it wants RTCP unless both sides multiplex: `a=rtcp` (RFC 3605), else the next port (RFC 3550 §11).
    pub rtcp: SocketAddr,
    /// Whether it can multiplex RTCP with RTP (RFC 5761 §5.1.1).
    pub rtcp_mux: bool,
    /// In order of preference.
    pub codecs: Vec<Codec>,
    /// As written at the medium, else for the session, else `sendrecv`.
    pub direction: Direction,
    /// The lines that can be used, in order; what others want of us is passed over.
    pub crypto: Vec<CryptoLine>,
    /// Of its writer, with or without ICE on our side (TDR-819).
    pub ice: Option<Ice>,
    /// Milliseconds in a packet that it would like to get.
    pub ptime: Option<u16>,
    /// The most milliseconds in a packet that it can take.
    pub max_ptime: Option<u16>,
    /// `c=0.0.0.0` or `::`: on hold in the way of RFC 2543; nothing may be sent (RFC 3264 §8.4).
    pub held_by_address: bool,
    /// From the `o=` line; 0 if it is no number.
    pub origin_version: u64,
}

/// RTP profiles that go with a telephone call (RFC 3551, 3711, 4585, 5124).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `RTP/AVP`.
    Avp,
    /// `RTP/AVPF`: RTCP may answer at once.
    Avpf,
    /// `RTP/SAVP`: SRTP.
    Savp,
    /// `RTP/SAVPF`.
    Savpf,
}

impl Profile {
    const ALL: [Self; 4] = [Self::Avp, Self::Avpf, Self::Savp, Self::Savpf];

    /// Whether packets are protected.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Savp | Self::Savpf)
    }

    /// As in an `m=` line.
    pub fn text(self) -> &'static str {
        match self {
            Self::Avp => "RTP/AVP",
            Self::Avpf => "RTP/AVPF",
            Self::Savp => "RTP/SAVP",
            Self::Savpf => "RTP/SAVPF",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Why an `m=` line is no audio stream that we can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// Another medium, or none.
    #[error("the session description has no audio")]
    NotAudio,
    /// RFC 3264 §6: port 0.
    #[error("the audio stream is refused or no longer wanted: its port is 0 (RFC 3264 §6)")]
    PortZero,
    /// DTLS, ICE over TCP and the like.
    #[error(
        "the audio stream's transport profile is none of RTP/AVP, RTP/AVPF, RTP/SAVP, RTP/SAVPF"
    )]
    Profile,
    /// RFC 8866 §5.7.
    #[error("the audio stream has no readable c= line (RFC 8866 §5.7)")]
    NoAddress,
    /// Nothing below us may ask the DNS in the middle of an offer.
    #[error("the c= line holds a host name, not an address")]
    HostName,
    /// A telephone call has one peer.
    #[error("the c= line holds a multicast or broadcast address")]
    ManyReceivers,
}

impl Audio {
    /// Reads the `m=` line at this place, counted from 0.
    pub fn read(description: &SessionDescription, index: usize) -> Result<Self, AudioError> {
        let (media, section) = description.media(index).ok_or(AudioError::NotAudio)?;
        if !media.media.eq_ignore_ascii_case("audio") {
            return Err(AudioError::NotAudio);
        }
        if media.port == 0 {
            return Err(AudioError::PortZero);
        }
        let profile = profile(&media)?;
        let session = description.session();
        let ip = section
            .line(b'c')
            .or_else(|| session.line(b'c'))
            .ok_or(AudioError::NoAddress)
            .and_then(address)?;
        let rtp = SocketAddr::new(ip, media.port);
        let rtcp_mux = section.has("rtcp-mux");
        let mut codecs = Codec::read(media.formats, section);
        // RFC 5761 §4: on a shared port these numbers are RTCP's.
        codecs.retain(|codec| !(rtcp_mux && (64..=95).contains(&codec.payload_type)));
        Ok(Self {
            media_index: index,
            profile,
            rtp,
            rtcp: rtcp(section, rtp),
            rtcp_mux,
            codecs,
            direction: direction(section)
                .or_else(|| direction(session))
                .unwrap_or_default(),
            crypto: section
                .values("crypto")
                .filter_map(|value| CryptoLine::parse(value).ok())
                .collect(),
            ice: Ice::read(description, section),
            ptime: milliseconds(section, "ptime"),
            max_ptime: milliseconds(section, "maxptime"),
            held_by_address: ip.is_unspecified(),
            origin_version: description.origin_version(),
        })
    }

    /// Whether its packets are protected.
    pub fn is_secure(&self) -> bool {
        self.profile.is_secure()
    }

    /// Whether it wants to hear us, by direction and by address.
    pub fn wants_packets(&self) -> bool {
        self.direction.receives() && !self.held_by_address
    }

    /// Whether it holds us: by `sendonly`, `inactive` or an unspecified address (TDR-601).
    pub fn holds(&self) -> bool {
        !self.wants_packets()
    }

    /// The direction with the hold by address written out. Told to the other leg's peer as it stands, it makes us
    /// speak there as this peer does here.
    pub fn effective_direction(&self) -> Direction {
        Direction::new(self.direction.sends(), self.wants_packets())
    }

    /// Whether another description of the same peer says the same of its audio, whatever its version: a refresh.
    pub fn is_same(&self, other: &Self) -> bool {
        Self {
            origin_version: other.origin_version,
            ..self.clone()
        } == *other
    }
}

fn profile(media: &MediaLine<'_>) -> Result<Profile, AudioError> {
    let named = Profile::ALL
        .into_iter()
        .find(|profile| profile.text().eq_ignore_ascii_case(media.profile));
    named.ok_or(AudioError::Profile)
}

/// `IN IP4 192.0.2.1`, perhaps with a TTL behind a slash.
fn address(connection: &[u8]) -> Result<IpAddr, AudioError> {
    let text = std::str::from_utf8(connection).map_err(|_| AudioError::NoAddress)?;
    let mut words = text.split_ascii_whitespace();
    let (Some(_), Some(family), Some(address)) = (words.next(), words.next(), words.next()) else {
        return Err(AudioError::NoAddress);
    };
    if !family.eq_ignore_ascii_case("IP4") && !family.eq_ignore_ascii_case("IP6") {
        return Err(AudioError::NoAddress);
    }
    let literal = address.split('/').next().unwrap_or(address);
    let ip = literal
        .parse::<IpAddr>()
        .map_err(|_| AudioError::HostName)?
        .to_canonical();
    if ip.is_multicast() || ip == IpAddr::from([255; 4]) {
        return Err(AudioError::ManyReceivers);
    }
    Ok(ip)
}

/// RFC 3605. A placeholder address, as browsers write it, counts as none.
fn rtcp(section: Section<'_>, rtp: SocketAddr) -> SocketAddr {
    let written = section.values("rtcp").find_map(|value| {
        let (port, connection) = value.split_once(' ').unwrap_or((value, ""));
        let ip = if connection.is_empty() {
            rtp.ip()
        } else {
            address(connection.as_bytes()).ok()?
        };
        let port = port.parse::<u16>().ok().filter(|&port| port != 0)?;
        (connection.is_empty() || !ip.is_unspecified()).then_some(SocketAddr::new(ip, port))
    });
    // Offerers that would multiplex write the RTP port; it is no place for RTCP if the answer is no (RFC 8035 §3).
    let next = || SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
    written.filter(|&rtcp| rtcp != rtp).unwrap_or_else(next)
}

fn milliseconds(section: Section<'_>, name: &'static str) -> Option<u16> {
    let mut values = section.values(name);
    let found = values.find_map(|value| value.parse().ok());
    found.filter(|&ms| ms > 0)
}

fn direction(section: Section<'_>) -> Option<Direction> {
    section
        .attributes()
        .find_map(|(name, _)| Direction::from_attribute(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Audio, AudioError> {
        let text = format!("v=0\r\no=- 1 5 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n{body}");
        Audio::read(&SessionDescription::parse(text).unwrap(), 0)
    }

    fn audio(attributes: &str) -> Audio {
        read(&format!(
            "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n{attributes}"
        ))
        .unwrap()
    }

    #[test]
    fn rtcp_goes_to_the_next_port_unless_another_is_named() {
        assert_eq!(audio("").rtcp, "192.0.2.1:4001".parse().unwrap());
        assert_eq!(
            audio("a=rtcp:5000\r\n").rtcp,
            "192.0.2.1:5000".parse().unwrap()
        );
        assert_eq!(
            audio("a=rtcp:5000 IN IP4 192.0.2.7\r\n").rtcp,
            "192.0.2.7:5000".parse().unwrap()
        );
        for useless in [
            "9 IN IP4 0.0.0.0",
            "4000",
            "0",
            "x",
            "5000 IN IP4 host.example.com",
        ] {
            assert_eq!(
                audio(&format!("a=rtcp:{useless}\r\n")).rtcp.port(),
                4001,
                "{useless}"
            );
        }
        let muxed = audio("a=rtcp:4000\r\na=rtcp-mux\r\n");
        assert!(muxed.rtcp_mux);
        assert_eq!(muxed.rtcp.port(), 4001);
        let last = read("c=IN IP4 192.0.2.1\r\nm=audio 65535 RTP/AVP 0\r\n").unwrap();
        assert_eq!(last.rtcp.port(), 65535);
    }

    #[test]
    fn the_mediums_own_direction_and_address_win() {
        let both = read(
            "c=IN IP4 192.0.2.1\r\na=inactive\r\nm=audio 4000 RTP/SAVP 0\r\nc=IN IP6 2001:db8::1\r\na=sendonly\r\n",
        );
        let both = both.unwrap();
        assert_eq!(
            (both.direction, both.rtp),
            (Direction::SendOnly, "[2001:db8::1]:4000".parse().unwrap())
        );
        assert!(both.is_secure() && both.holds());
        let session =
            read("c=IN IP4 192.0.2.1\r\na=recvonly\r\nm=audio 4000 RTP/AVP 0\r\n").unwrap();
        assert_eq!(session.direction, Direction::RecvOnly);
        assert_eq!(audio("").direction, Direction::SendRecv);
    }

    /// RFC 3264 §8.4: the peer still sends, but is not to be sent to.
    #[test]
    fn an_unspecified_address_is_a_hold() {
        for c in ["IN IP4 0.0.0.0", "IN IP6 ::"] {
            let held = read(&format!("c={c}\r\nm=audio 4000 RTP/AVP 0\r\n")).unwrap();
            assert!(held.held_by_address && held.holds());
            assert_eq!(
                (held.direction, held.effective_direction()),
                (Direction::SendRecv, Direction::SendOnly)
            );
        }
        assert!(!audio("").holds());
    }

    #[test]
    fn what_is_no_usable_audio_says_why() {
        use AudioError::*;
        for (body, error) in [
            ("", NotAudio),
            (
                "c=IN IP4 192.0.2.1\r\nm=video 4000 RTP/AVP 31\r\n",
                NotAudio,
            ),
            ("c=IN IP4 192.0.2.1\r\nm=audio 0 RTP/AVP 0\r\n", PortZero),
            (
                "c=IN IP4 192.0.2.1\r\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n",
                Profile,
            ),
            ("m=audio 4000 RTP/AVP 0\r\n", NoAddress),
            ("c=IN IP4\r\nm=audio 4000 RTP/AVP 0\r\n", NoAddress),
            (
                "c=TN RFC2543 +1-201\r\nm=audio 4000 RTP/AVP 0\r\n",
                NoAddress,
            ),
            (
                "c=IN IP4 host.example.com\r\nm=audio 4000 RTP/AVP 0\r\n",
                HostName,
            ),
            (
                "c=IN IP4 224.2.1.1/127\r\nm=audio 4000 RTP/AVP 0\r\n",
                ManyReceivers,
            ),
            (
                "c=IN IP4 255.255.255.255\r\nm=audio 4000 RTP/AVP 0\r\n",
                ManyReceivers,
            ),
        ] {
            assert_eq!(read(body), Err(error), "{body}");
        }
    }

    /// TDR-835: a line with a parameter that we do not keep is not there for us.
    #[test]
    fn unusable_crypto_lines_are_passed_over() {
        let key = "inline:sLtQviXZbjPA91DrzKDICqLjIDZF2tPeCpL3Siza";
        let lines = format!(
            "a=crypto:1 AES_192_CM_HMAC_SHA1_80 {key}\r\na=crypto:2 AES_CM_128_HMAC_SHA1_80 {key} KDR=1\r\n\
             a=crypto:3 AES_CM_128_HMAC_SHA1_80 {key}\r\n"
        );
        assert_eq!(
            audio(&lines)
                .crypto
                .iter()
                .map(|line| line.tag)
                .collect::<Vec<_>>(),
            [3]
        );
    }

    #[test]
    fn payload_types_that_look_like_rtcp_are_left_out_when_muxed() {
        let codecs = |mux: &str| {
            let text = format!(
                "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 72 0\r\na=rtpmap:72 a/8000\r\n{mux}"
            );
            read(&text).unwrap().codecs.len()
        };
        assert_eq!((codecs(""), codecs("a=rtcp-mux\r\n")), (2, 1));
    }

    #[test]
    fn a_new_version_alone_is_a_refresh() {
        let first = audio("");
        let again = Audio {
            origin_version: 6,
            ..first.clone()
        };
        assert!(first.is_same(&again) && first != again);
        assert!(!first.is_same(&audio("a=inactive\r\n")));
        assert_eq!(audio("a=ptime:30\r\n").ptime, Some(30));
        assert_eq!(audio("a=ptime:0\r\n").ptime, None);
        assert_eq!(audio("a=maxptime:60\r\n").max_ptime, Some(60));
    }
}
