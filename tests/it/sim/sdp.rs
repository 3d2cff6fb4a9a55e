//! Session descriptions of agents.

use std::net::IpAddr;

use bytes::Bytes;

/// One side's media, as it describes it.
#[derive(Debug, Clone)]
pub struct Media {
    pub address: IpAddr,
    pub port: u16,
    /// The key of its `a=crypto` line; none is plain RTP.
    pub key: Option<String>,
    /// ICE user name fragment and password, with media bypass.
    pub ice: Option<(String, String)>,
    /// Payload types of [`name`].
    pub codecs: Vec<u8>,
    /// Of the `o=` line; counts on whenever something is described anew.
    pub version: u64,
}

impl Media {
    /// A description of this direction, such as `sendrecv`.
    pub fn describe(&mut self, direction: &str) -> String {
        self.version += 1;
        self.again(direction)
    }

    /// The same without a new version.
    pub fn again(&self, direction: &str) -> String {
        let (address, port) = (self.address, self.port);
        let profile = if self.key.is_some() {
            "RTP/SAVP"
        } else {
            "RTP/AVP"
        };
        let formats: String = self
            .codecs
            .iter()
            .map(|codec| format!(" {codec}"))
            .collect();
        let mut text = format!(
            "v=0\r\no=- {port} {} IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
             m=audio {port} {profile}{formats}\r\n",
            self.version
        );
        for codec in &self.codecs {
            text.push_str(&format!("a=rtpmap:{codec} {}\r\n", name(*codec)));
        }
        if self.codecs.contains(&101) {
            text.push_str("a=fmtp:101 0-16\r\n");
        }
        if let Some(key) = &self.key {
            text.push_str(&format!(
                "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^31\r\na=rtcp-mux\r\n"
            ));
        }
        if let Some((ufrag, pwd)) = &self.ice {
            text.push_str(&format!(
                "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
                 a=candidate:1 1 UDP 2130706431 {address} {port} typ host\r\n"
            ));
        }
        text.push_str(&format!("a={direction}\r\n"));
        text
    }
}

fn name(codec: u8) -> &'static str {
    match codec {
        0 => "PCMU/8000",
        8 => "PCMA/8000",
        9 => "G722/8000",
        13 => "CN/8000",
        18 => "G729/8000",
        101 => "telephone-event/8000",
        other => panic!("no codec {other} in these tests"),
    }
}

/// The first line that begins so, without that.
pub fn line<'a>(sdp: &'a str, start: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.strip_prefix(start))
}

/// The direction that a description has, `sendrecv` where it says nothing.
pub fn direction(sdp: &Bytes) -> String {
    let text = std::str::from_utf8(sdp).expect("text");
    let known = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let found = known
        .iter()
        .find(|d| line(text, &format!("a={d}")).is_some());
    (*found.unwrap_or(&"sendrecv")).to_owned()
}

/// The port of the first `m=audio` line.
pub fn port(sdp: &Bytes) -> Option<u16> {
    let text = std::str::from_utf8(sdp).ok()?;
    line(text, "m=audio ")?.split(' ').next()?.parse().ok()
}

/// Payload types of the first `m=audio` line, in order.
pub fn formats(sdp: &Bytes) -> Vec<u8> {
    let text = std::str::from_utf8(sdp).expect("text");
    let line = line(text, "m=audio ").expect("audio");
    line.split(' ')
        .skip(2)
        .map(|n| n.parse().expect("a number"))
        .collect()
}
