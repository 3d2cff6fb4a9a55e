//! SRTP and SRTCP (RFC 3711) with the suites of SDES: AES in counter mode with HMAC-SHA1 (RFC 4568, RFC 6188), and
//! AES-GCM (RFC 7714).
//!
//! A [`Sender`] and a [`Receiver`] each hold one master key, which never changes: a new key is a new context, so its
//! rollover counters start at 0 as the peer expects (TDR-834). Both work in place: the plain packet becomes the
//! protected one in the caller's buffer, which has [`Sender::overhead`] bytes of room behind it, and back.
//!
//! There is state only for synchronisation sources whose packets were authentic, and for at most [`SOURCES`] of them.

mod cipher;
mod context;
mod gcm;
mod hmac;
mod keys;
mod sources;

pub use context::{Receiver, Sender};
pub use sources::SOURCES;

/// How packets are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// A tag of ten bytes.
    AesCm128HmacSha1_80,
    /// The same with a tag of four bytes behind RTP.
    AesCm128HmacSha1_32,
    /// A longer key (RFC 6188).
    AesCm256HmacSha1_80,
    /// Encrypted and authenticated at once (RFC 7714).
    AeadAes128Gcm,
    /// The same with a longer key.
    AeadAes256Gcm,
}

impl Suite {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
        Self::AesCm256HmacSha1_80,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// Bytes of the master key proper.
    fn key(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AeadAes128Gcm => 16,
            Self::AesCm256HmacSha1_80 | Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of the master salt behind it.
    fn salt(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    fn is_aead(self) -> bool {
        matches!(self, Self::AeadAes128Gcm | Self::AeadAes256Gcm)
    }

    /// How many bytes of a [`MasterKey`] count.
    pub fn master_length(self) -> usize {
        self.key() + self.salt()
    }

    /// Bytes by which a protected RTP packet is longer, besides an MKI.
    pub fn rtp_tag(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm256HmacSha1_80 => 10,
            Self::AesCm128HmacSha1_32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => gcm::TAG,
        }
    }

    /// The same of RTCP, besides the index. RFC 4568 §6.2: never short.
    fn rtcp_tag(self) -> usize {
        if self.is_aead() { gcm::TAG } else { 10 }
    }
}

/// A master key and, right behind it, its salt; as many bytes as the suite has ([`Suite::master_length`]), and zeros.
pub type MasterKey = [u8; 46];

/// Why a packet was not protected or not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Not an RTP or RTCP packet, or the buffer has no room for the tag.
    #[error("malformed packet")]
    Malformed,
    /// The tag is wrong: another key, another rollover counter, or somebody's forgery.
    #[error("authentication failed")]
    Authentication,
    /// The index was used before, or is too old to tell (RFC 3711 §3.3.2).
    #[error("replayed")]
    Replayed,
    /// More synchronisation sources than one leg ever has.
    #[error("too many synchronisation sources")]
    TooManySources,
    /// The key's indices are used up (RFC 3711 §9.2).
    #[error("key is used up")]
    Exhausted,
}

/// Bytes of the index behind an RTCP packet.
const RTCP_INDEX: usize = 4;
