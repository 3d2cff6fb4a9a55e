//! Keys of SRTP in descriptions (RFC 4568).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::emulate::sdp::Crypto;

/// RFC 4568 §6.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`.
    Sha1Tag80,
    /// `AES_CM_128_HMAC_SHA1_32`.
    Sha1Tag32,
}

impl Suite {
    pub(super) const ALL: [Self; 2] = [Self::Sha1Tag80, Self::Sha1Tag32];

    /// The length of the authentication tag in octets.
    pub fn tag(self) -> usize {
        match self {
            Self::Sha1Tag80 => 10,
            Self::Sha1Tag32 => 4,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Sha1Tag80 => "AES_CM_128_HMAC_SHA1_80",
            Self::Sha1Tag32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }
}

/// A master key of 16 and a master salt of 14 octets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; 30]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    pub(super) fn read(crypto: &Crypto) -> Option<Self> {
        let text = crypto.inline.strip_prefix("inline:")?.split('|').next()?;
        Some(Self(STANDARD.decode(text).ok()?.try_into().ok()?))
    }

    pub(super) fn inline(&self) -> String {
        format!("inline:{}|2^31", STANDARD.encode(self.0))
    }

    /// The same with the identifier that [`Keys::identifier`] tells of.
    pub(super) fn inline_with_identifier(&self) -> String {
        format!("{}|{IDENTIFIER}:1", self.inline())
    }
}

/// The keys of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// What both sides use.
    pub suite: Suite,
    /// For what we send.
    pub ours: Key,
    /// For what the peer sends.
    pub theirs: Key,
    /// The octet before the authentication tag of every packet of ours, and of the peer's (RFC 3711 §3.1).
    pub identifier: (Option<u8>, Option<u8>),
}

/// The master key identifier of [`Shape::KeyIdentifier`].
pub(super) const IDENTIFIER: u8 = 1;

/// The identifier of one octet in a crypto line, if there is one.
pub(super) fn identifier(inline: &str) -> Option<u8> {
    let (value, length) = inline.rsplit('|').next()?.split_once(':')?;
    (length == "1").then(|| value.parse().ok())?
}
