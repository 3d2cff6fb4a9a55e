//! SRTP and SRTCP (RFC 3711) with the two suites of SDES that use AES-128 in counter mode and HMAC-SHA1.
//!
//! A [`Sender`] and a [`Receiver`] each hold one master key, which never changes: a new key is a new context, so its
//! rollover counters start at 0 as the peer expects (TDR-834). Both work in place: the plain packet becomes the
//! protected one in the caller's buffer, which has [`Sender::overhead`] bytes of room behind it, and back.
//!
//! There is state only for synchronisation sources whose packets were authentic, and for at most [`SOURCES`] of them.

mod cipher;
mod context;
mod hmac;
mod keys;
mod sources;

pub use context::{Receiver, Sender};
pub use sources::SOURCES;

/// The tag behind an RTP packet, by which the two suites differ (RFC 4568 §6.2). RTCP has ten bytes in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tag {
    /// AES_CM_128_HMAC_SHA1_80: ten bytes.
    Bits80,
    /// AES_CM_128_HMAC_SHA1_32: four bytes.
    Bits32,
}

impl Tag {
    /// In bytes.
    pub fn length(self) -> usize {
        match self {
            Self::Bits80 => 10,
            Self::Bits32 => 4,
        }
    }
}

/// A master key of 16 bytes and a master salt of 14, as in an `inline:` parameter.
pub type MasterKey = [u8; 30];

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

/// Bytes of the tag behind an RTCP packet, in both suites.
const RTCP_TAG: usize = 10;
/// Bytes of the index in front of that tag.
const RTCP_INDEX: usize = 4;
