//! Offer and answer of an emulated party (RFC 3264): descriptions in the manner of Teams or of a plain PBX.

mod keys;

pub use keys::{Key, Keys, Suite};

use std::net::{IpAddr, SocketAddr};

use super::g711::Law;
use super::ice::{Credentials, Pair};
use super::sdp::{Crypto, Direction, Sdp};
use keys::{IDENTIFIER, identifier};

/// How a party describes itself and what it accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As TDR section 8e shows: SRTP only, many codecs, traits that confuse careless readers.
    Teams,
    /// The same on a trunk with media bypass: a client with full ICE (TDR-840).
    TeamsBypass,
    /// RTP, PCMA, PCMU and telephone-event.
    Pbx,
    /// The same over SRTP with one crypto line.
    SecurePbx,
}

impl Manner {
    /// Whether media is SRTP, with RTCP on the same port.
    pub fn is_secure(self) -> bool {
        self != Self::Pbx
    }

    /// Whether it is Microsoft's side.
    pub fn is_teams(self) -> bool {
        matches!(self, Self::Teams | Self::TeamsBypass)
    }
}

/// What is special in a party's own offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    /// Nothing: Teams' is the worst one of TDR section 8e.
    #[default]
    Ordinary,
    /// RTP without a profile for security (TDR-830).
    Plain,
    /// The second crypto line has a master key identifier, `|2^31|1:1`, and so have the packets (TDR-832).
    KeyIdentifier,
    /// No `a=rtcp-mux`: RTCP has a port of its own (TDR-816).
    NoMux,
}

/// What offer and answer came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// Where RTP goes and must come from.
    pub rtp: SocketAddr,
    /// The same for RTCP.
    pub rtcp: SocketAddr,
    /// What we send.
    pub law: Law,
    /// The one law that we understand; none: both.
    pub only: Option<Law>,
    /// The payload type of telephone-event.
    pub events: Option<u8>,
    /// Whether we may send; RTCP goes on in any case.
    pub send: bool,
    /// SRTP, or none.
    pub keys: Option<Keys>,
    /// What has to be checked before media may flow.
    pub ice: Option<Pair>,
}

/// What a party refuses, with the status that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// The body is no session description.
    #[error("the session description cannot be read")]
    Unreadable,
    /// TDR-830.
    #[error("plain RTP")]
    PlainRtp,
    /// TDR-831.
    #[error("no crypto line with AES_CM_128_HMAC_SHA1_80")]
    NoSuite,
    /// A crypto line whose tag was not offered, whose suite differs from the offer's or whose key is no key.
    #[error("the answered crypto line does not fit the offer")]
    WrongCrypto,
    /// More than one crypto line in an answer.
    #[error("an answer with {0} crypto lines")]
    ManyCryptos(usize),
    /// TDR-601.
    #[error("an all-zero address")]
    ZeroAddress,
    /// No G.711, or a port of 0.
    #[error("no common codec")]
    NoCodec,
    /// An attribute that a Teams trunk without media bypass must not see (TDR-819, TDR-820).
    #[error("an ICE attribute")]
    Ice,
    /// TDR-840, TDR-841.
    #[error("no a=ice-lite, no credentials, or not exactly one IPv4 candidate where RTP goes")]
    NoIce,
    /// TDR-843: other credentials or another candidate than before, without a restart of ours.
    #[error("the ICE credentials or the candidate changed without a restart")]
    IceChanged,
    /// TDR-844.
    #[error("the restart of ICE was answered with an old ufrag or password, or another candidate")]
    NotRestarted,
}

impl Objection {
    /// The rule that a peer of Teams breaks by it.
    pub fn item(self) -> &'static str {
        match self {
            Self::Unreadable => "TDR-415",
            Self::PlainRtp => "TDR-830",
            Self::NoSuite | Self::WrongCrypto | Self::ManyCryptos(_) => "TDR-831",
            Self::ZeroAddress => "TDR-601",
            Self::NoCodec => "TDR-810",
            Self::Ice => "TDR-819",
            Self::NoIce => "TDR-841",
            Self::IceChanged => "TDR-843",
            Self::NotRestarted => "TDR-844",
        }
    }

    /// TDR-830, TDR-601, RC-410 for what cannot be parsed.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Self::Unreadable => (410, "Gone"),
            _ => (488, "Not Acceptable Here"),
        }
    }
}

/// One party's side of all offers and answers of a call.
#[derive(Debug)]
pub struct Negotiation {
    manner: Manner,
    shape: Shape,
    only: Option<Law>,
    address: IpAddr,
    ports: (u16, u16),
    session: u64,
    version: u64,
    key: Key,
    short_key: Key,
    /// All lines after `o=`, as last sent.
    last: Vec<String>,
    first_remote: Option<(SocketAddr, SocketAddr)>,
    ice: Option<Ice>,
}

/// Both sides of ICE.
#[derive(Debug)]
struct Ice {
    ours: Credentials,
    theirs: Option<(Credentials, SocketAddr)>,
    restarting: bool,
}

impl Negotiation {
    /// With offers that have nothing special.
    #[cfg(test)]
    pub fn new(manner: Manner, address: IpAddr, ports: (u16, u16)) -> Self {
        Self::shaped(manner, Shape::Ordinary, address, ports)
    }

    /// For media at these ports (RTP, RTCP; equal on rtcp-mux).
    pub fn shaped(manner: Manner, shape: Shape, address: IpAddr, ports: (u16, u16)) -> Self {
        let session = u64::from(rand::random::<u32>());
        Self {
            manner,
            shape,
            only: None,
            address,
            ports,
            session,
            version: 0,
            key: Key::random(),
            short_key: Key::random(),
            last: Vec::new(),
            first_remote: None,
            ice: (manner == Manner::TeamsBypass).then(|| Ice {
                ours: Credentials::random(),
                theirs: None,
                restarting: false,
            }),
        }
    }

    /// Of G.711 it speaks this law only.
    pub fn speaking(self, only: Option<Law>) -> Self {
        Self { only, ..self }
    }

    /// The first law of a description that this party speaks.
    fn law(&self, remote: &Sdp) -> Option<Law> {
        let mut laws = remote.formats.iter().filter_map(|&format| Law::of(format));
        laws.find(|law| self.only.is_none_or(|only| only == *law))
    }

    /// An offer that moves the call to another endpoint, at this port: its credentials and keys are new (TDR-844).
    pub fn restart(&mut self, port: u16) -> String {
        (self.ports, self.key) = ((port, port), Key::random());
        if let Some(ice) = &mut self.ice {
            (ice.ours, ice.restarting) = (Credentials::random(), true);
        }
        let lines = self.first_offer(Direction::SendRecv);
        self.print(lines)
    }

    /// A first offer, or one that says the same as our last description but for the direction. A description that
    /// does not change keeps its version: a session refresh.
    pub fn offer(&mut self, direction: Direction) -> String {
        let lines = if self.last.is_empty() {
            self.first_offer(direction)
        } else {
            redirected(&self.last, direction)
        };
        self.print(lines)
    }

    /// An offer that holds in the old way, with an all-zero address (RFC 2543).
    pub fn zero_offer(&mut self) -> String {
        let lines = redirected(&self.last, Direction::SendRecv);
        let zero = |line: String| {
            if line.starts_with("c=") {
                "c=IN IP4 0.0.0.0".to_owned()
            } else {
                line
            }
        };
        let real = std::mem::take(&mut self.last);
        let text = self.print(lines.into_iter().map(zero).collect());
        // The next offer must name the real address again.
        self.last = real;
        text
    }

    /// An offer with new keys and nothing else that is new (TDR-834).
    pub fn rekeyed_offer(&mut self) -> String {
        (self.key, self.short_key) = (Key::random(), Key::random());
        let renewed = |line: &String| match line.split_once(" inline:") {
            Some((start, _)) if start.ends_with(Suite::Sha1Tag32.text()) => {
                format!("{start} {}", self.short_key.inline())
            }
            Some((start, _)) => format!("{start} {}", self.long_inline()),
            None => line.clone(),
        };
        let lines = self.last.iter().map(renewed).collect();
        self.print(lines)
    }

    /// What was last sent, word for word.
    pub fn again(&mut self) -> String {
        let lines = self.last.clone();
        self.print(lines)
    }

    /// Judges an offer and answers it.
    pub fn answer(&mut self, body: &[u8], held: bool) -> Result<(String, Agreed), Objection> {
        let offer = Sdp::parse(body).map_err(|_| Objection::Unreadable)?;
        let law = self
            .law(&offer)
            .filter(|_| offer.rtp.port() != 0)
            .ok_or(Objection::NoCodec)?;
        let crypto = self.acceptable_crypto(&offer)?;
        let direction = match (held || offer.held_by_address(), offer.direction.mirrored()) {
            (true, Direction::SendRecv | Direction::RecvOnly) if offer.held_by_address() => {
                Direction::RecvOnly
            }
            (true, _) => Direction::Inactive,
            (false, direction) => direction,
        };
        let keys = match crypto {
            Some(crypto) => Some(Keys {
                suite: Suite::Sha1Tag80,
                ours: self.key,
                theirs: Key::read(crypto).ok_or(Objection::WrongCrypto)?,
                identifier: (None, identifier(&crypto.inline)),
            }),
            None => None,
        };
        let ice = self.judge_ice(&offer)?;
        let lines = self.answer_lines(&offer, law, crypto, direction);
        let text = self.print(lines);
        let agreed = self.agreed(&offer, law, direction, keys, ice);
        Ok((text, agreed))
    }

    /// Judges the answer to our last offer.
    pub fn accept(&mut self, body: &[u8]) -> Result<Agreed, Objection> {
        let answer = Sdp::parse(body).map_err(|_| Objection::Unreadable)?;
        let law = self
            .law(&answer)
            .filter(|_| answer.rtp.port() != 0)
            .ok_or(Objection::NoCodec)?;
        let keys = if self.is_secure() {
            Some(self.answered_keys(&answer)?)
        } else {
            None
        };
        let ice = self.judge_ice(&answer)?;
        Ok(self.agreed(&answer, law, answer.direction.mirrored(), keys, ice))
    }

    /// What the SBC says of ICE, against what it said before.
    fn judge_ice(&mut self, remote: &Sdp) -> Result<Option<Pair>, Objection> {
        let Some(ice) = &mut self.ice else {
            return Ok(None);
        };
        let said = remote
            .ice
            .as_ref()
            .filter(|said| said.lite)
            .ok_or(Objection::NoIce)?;
        let to = match said.candidates[..] {
            [(1, to)] if to == remote.rtp && to.is_ipv4() => to,
            _ => return Err(Objection::NoIce),
        };
        let theirs = said.credentials.clone();
        let is_old = |(old, at): &(Credentials, SocketAddr)| {
            old.ufrag == theirs.ufrag || old.pwd == theirs.pwd || *at != to
        };
        match &ice.theirs {
            Some(before) if ice.restarting && is_old(before) => {
                return Err(Objection::NotRestarted);
            }
            Some(before) if !ice.restarting && *before != (theirs.clone(), to) => {
                return Err(Objection::IceChanged);
            }
            _ => {}
        }
        ice.restarting = false;
        ice.theirs = Some((theirs.clone(), to));
        Ok(Some(Pair {
            ours: ice.ours.clone(),
            theirs,
            to,
        }))
    }

    /// The address that media goes to may never move (TDR-804): Teams keeps to the first. Whether this one moved.
    pub fn moved(&self, body: &[u8]) -> bool {
        let now = Sdp::parse(body).map(|sdp| (sdp.rtp, sdp.rtcp)).ok();
        self.first_remote.is_some() && now.is_some() && self.first_remote != now
    }

    fn is_secure(&self) -> bool {
        self.manner.is_secure() && self.shape != Shape::Plain
    }

    fn identifier(&self) -> Option<u8> {
        (self.shape == Shape::KeyIdentifier).then_some(IDENTIFIER)
    }

    fn long_inline(&self) -> String {
        match self.identifier() {
            Some(_) => self.key.inline_with_identifier(),
            None => self.key.inline(),
        }
    }

    fn acceptable_crypto<'a>(&self, offer: &'a Sdp) -> Result<Option<&'a Crypto>, Objection> {
        if !self.manner.is_secure() {
            return if offer.profile == "RTP/AVP" {
                Ok(None)
            } else {
                Err(Objection::NoCodec)
            };
        }
        if offer.profile != "RTP/SAVP" {
            return Err(Objection::PlainRtp);
        }
        if self.manner.is_teams() && offer.held_by_address() {
            return Err(Objection::ZeroAddress);
        }
        if self.manner == Manner::Teams
            && offer
                .attributes
                .iter()
                .any(|a| a.starts_with("ice-") || a == "candidate")
        {
            return Err(Objection::Ice);
        }
        offer
            .cryptos
            .iter()
            .find(|c| c.suite == Suite::Sha1Tag80.text())
            .map(Some)
            .ok_or(Objection::NoSuite)
    }

    /// The one crypto line of an answer, joined with the line of our last description that it chose.
    fn answered_keys(&self, answer: &Sdp) -> Result<Keys, Objection> {
        if answer.profile != "RTP/SAVP" {
            return Err(Objection::PlainRtp);
        }
        let [crypto] = answer.cryptos.as_slice() else {
            return Err(Objection::ManyCryptos(answer.cryptos.len()));
        };
        let offered = format!("a=crypto:{} {} ", crypto.tag, crypto.suite);
        let suite = Suite::ALL
            .into_iter()
            .find(|s| s.text() == crypto.suite)
            .ok_or(Objection::NoSuite)?;
        if !self.last.iter().any(|line| line.starts_with(&offered)) {
            return Err(Objection::WrongCrypto);
        }
        let ours = if suite == Suite::Sha1Tag80 {
            self.key
        } else {
            self.short_key
        };
        Ok(Keys {
            suite,
            ours,
            theirs: Key::read(crypto).ok_or(Objection::WrongCrypto)?,
            identifier: (self.identifier(), identifier(&crypto.inline)),
        })
    }

    fn agreed(
        &mut self,
        remote: &Sdp,
        law: Law,
        direction: Direction,
        keys: Option<Keys>,
        ice: Option<Pair>,
    ) -> Agreed {
        let muxed = remote.mux && self.is_secure() && self.shape != Shape::NoMux;
        let now = (remote.rtp, if muxed { remote.rtp } else { remote.rtcp });
        // A zero address says where not to send; where the call's packets come from has not changed.
        let kept = self.manner.is_teams() || remote.held_by_address();
        let (rtp, rtcp) = self.first_remote.filter(|_| kept).unwrap_or(now);
        if !remote.held_by_address() {
            self.first_remote.get_or_insert(now);
        }
        let send = direction.sends() && !remote.held_by_address();
        Agreed {
            rtp,
            rtcp,
            law,
            only: self.only,
            events: remote.events,
            send,
            keys,
            ice,
        }
    }

    fn first_offer(&self, direction: Direction) -> Vec<String> {
        let port = self.ports.0;
        let mut lines = self.session_lines();
        match self.manner {
            Manner::Teams | Manner::TeamsBypass => {
                let profile = if self.is_secure() {
                    "RTP/SAVP"
                } else {
                    "RTP/AVP"
                };
                lines.push(format!(
                    "m=audio {port} {profile} 104 103 9 18 0 8 97 13 118 101"
                ));
                lines.push(format!("a=rtcp:{}", self.ports.1));
                if self.shape != Shape::NoMux {
                    lines.push("a=rtcp-mux".to_owned());
                }
                lines.extend(self.ice_lines(&Credentials {
                    ufrag: "Xy12".to_owned(),
                    pwd: "0123456789abcdefABCDEF01".to_owned(),
                }));
                if self.is_secure() {
                    lines.push(format!(
                        "a=crypto:0 {} {}",
                        Suite::Sha1Tag32.text(),
                        self.short_key.inline()
                    ));
                    lines.push(format!(
                        "a=crypto:1 {} {}",
                        Suite::Sha1Tag80.text(),
                        self.long_inline()
                    ));
                }
                let codecs = [
                    "104 SILK/16000",
                    "103 SILK/8000",
                    "9 G722/8000",
                    "18 G729/8000",
                    "0 PCMU/8000",
                    "8 PCMA/8000",
                    "97 RED/8000",
                ];
                lines.extend(
                    codecs
                        .iter()
                        .chain(&["13 CN/8000", "118 CN/16000", "101 telephone-event/8000"])
                        .map(|c| format!("a=rtpmap:{c}")),
                );
                lines.extend(
                    [
                        "a=fmtp:18 annexb=no",
                        "a=fmtp:101 0-16",
                        "a=ptime:20",
                        "a=maxptime:200",
                    ]
                    .map(str::to_owned),
                );
            }
            Manner::Pbx | Manner::SecurePbx => {
                let secure = self.manner.is_secure();
                lines.push(format!(
                    "m=audio {port} RTP/{} 8 0 101",
                    if secure { "SAVP" } else { "AVP" }
                ));
                if secure {
                    lines.extend([format!("a=rtcp:{port}"), "a=rtcp-mux".to_owned()]);
                    lines.push(format!(
                        "a=crypto:1 {} {}",
                        Suite::Sha1Tag80.text(),
                        self.key.inline()
                    ));
                }
                lines.extend(
                    [
                        "a=rtpmap:8 PCMA/8000",
                        "a=rtpmap:0 PCMU/8000",
                        "a=rtpmap:101 telephone-event/8000",
                        "a=fmtp:101 0-16",
                        "a=ptime:20",
                    ]
                    .map(str::to_owned),
                );
            }
        }
        lines.push(format!("a={}", direction.text()));
        match self.only {
            Some(Law::A) => lines.into_iter().filter_map(without(Law::Mu)).collect(),
            Some(Law::Mu) => lines.into_iter().filter_map(without(Law::A)).collect(),
            None => lines,
        }
    }

    fn answer_lines(
        &self,
        offer: &Sdp,
        law: Law,
        crypto: Option<&Crypto>,
        direction: Direction,
    ) -> Vec<String> {
        let port = self.ports.0;
        let (format, name) = (law.payload_type(), law.name());
        let secure = self.manner.is_secure();
        let noise = self.manner.is_teams() && offer.formats.contains(&13);
        let mut lines = self.session_lines();
        let profile = if secure { "RTP/SAVP" } else { "RTP/AVP" };
        let events = offer.events.map(|e| format!(" {e}")).unwrap_or_default();
        lines.push(format!(
            "m=audio {port} {profile} {format}{}{events}",
            if noise { " 13" } else { "" }
        ));
        if secure {
            // The description in TDR section 8e names the address once more for the stream.
            lines.push(connection(self.address));
            lines.push(format!("a=rtcp:{}", self.ports.1));
            if offer.mux {
                lines.push("a=rtcp-mux".to_owned());
            }
        }
        if let Some(crypto) = crypto {
            lines.push(format!(
                "a=crypto:{} {} {}",
                crypto.tag,
                crypto.suite,
                self.key.inline()
            ));
        }
        lines.push(format!("a=rtpmap:{format} {name}/8000"));
        if noise {
            lines.push("a=rtpmap:13 CN/8000".to_owned());
        }
        if let Some(events) = offer.events {
            lines.extend([
                format!("a=rtpmap:{events} telephone-event/8000"),
                format!("a=fmtp:{events} 0-16"),
            ]);
        }
        if let Some(ice) = &self.ice {
            lines.extend(self.ice_lines(&ice.ours));
        }
        lines.push("a=ptime:20".to_owned());
        lines.push(format!("a={}", direction.text()));
        lines
    }

    /// Our credentials and our candidate. Without media bypass, where nothing comes of them, others may be said (TDR-819).
    fn ice_lines(&self, others: &Credentials) -> [String; 3] {
        let (port, address) = (self.ports.0, self.address);
        let Credentials { ufrag, pwd } = self.ice.as_ref().map_or(others, |ice| &ice.ours);
        [
            format!("a=ice-ufrag:{ufrag}"),
            format!("a=ice-pwd:{pwd}"),
            format!("a=candidate:1 1 UDP 2130706431 {address} {port} typ host"),
        ]
    }

    fn session_lines(&self) -> Vec<String> {
        let mut lines = vec![
            "s=session".to_owned(),
            connection(self.address),
            "t=0 0".to_owned(),
        ];
        if self.manner.is_teams() {
            lines.insert(2, "b=CT:10000000".to_owned());
        }
        lines
    }

    /// RFC 3264 §8: the version grows when anything changes. The address in `o=` is not where media goes.
    fn print(&mut self, lines: Vec<String>) -> String {
        if !self.last.is_empty() && self.last != lines {
            self.version += 1;
        }
        self.last = lines;
        let origin = format!("o=- {} {} IN IP4 127.0.0.1", self.session, self.version);
        format!("v=0\r\n{origin}\r\n{}\r\n", self.last.join("\r\n"))
    }
}

fn connection(address: IpAddr) -> String {
    format!(
        "c=IN {} {address}",
        if address.is_ipv4() { "IP4" } else { "IP6" }
    )
}

/// The same lines with another direction.
fn redirected(lines: &[String], direction: Direction) -> Vec<String> {
    let is_direction = |line: &String| {
        ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"].contains(&line.as_str())
    };
    let others = lines.iter().filter(|line| !is_direction(line)).cloned();
    others.chain([format!("a={}", direction.text())]).collect()
}

/// A line as it is without this law, if anything is left of it.
fn without(law: Law) -> impl Fn(String) -> Option<String> {
    let format = law.payload_type().to_string();
    move |line| {
        if line.starts_with(&format!("a=rtpmap:{format} ")) {
            return None;
        }
        if !line.starts_with("m=audio ") {
            return Some(line);
        }
        let words = line.split(' ').enumerate();
        let kept = words.filter(|(at, word)| *at < 3 || *word != format);
        Some(kept.map(|(_, word)| word).collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests;
