use super::MediaError;
use crate::sdp::{Codec, Profile};

/// How one kind of peer wants its media, as data from its profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPolicy {
    /// SRTP or not.
    pub srtp: SrtpPolicy,
    /// Whether RTCP may share the RTP port (TDR-816).
    pub rtcp_mux: bool,
    /// Names of voice codecs that may be used, in the order in which we offer them; empty: all, in the order given.
    /// Comfort noise and telephone events are always allowed.
    pub codecs: Vec<String>,
    /// Whether packets may come from elsewhere than the description says.
    pub latch: bool,
    /// Whether our keys carry the lifetime `|2^31` (TDR-832).
    pub lifetime: bool,
}

/// Whether a peer's packets are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SrtpPolicy {
    /// Always: plain RTP is refused.
    Required,
    /// As the peer offers; what we offer first is plain.
    Optional,
    /// Never: SRTP is refused.
    Never,
}

impl SrtpPolicy {
    /// Judges a peer's profile.
    pub(super) fn admit(self, profile: Profile) -> Result<(), MediaError> {
        match (self, profile.is_secure()) {
            (Self::Required, false) => Err(MediaError::SrtpRequired),
            (Self::Never, true) => Err(MediaError::SrtpNotAllowed),
            _ => Ok(()),
        }
    }

    /// The profile of our first offer.
    pub(super) fn profile(self) -> Profile {
        match self {
            Self::Required => Profile::Savp,
            Self::Optional | Self::Never => Profile::Avp,
        }
    }
}

impl MediaPolicy {
    fn allows(&self, codec: &Codec) -> bool {
        !codec.is_voice() || self.codecs.is_empty() || self.rank(codec).is_some()
    }

    fn rank(&self, codec: &Codec) -> Option<usize> {
        self.codecs
            .iter()
            .position(|name| name.eq_ignore_ascii_case(&codec.name))
    }

    /// What is allowed of these, in their own order.
    pub(super) fn allowed(&self, codecs: &[Codec]) -> Vec<Codec> {
        codecs
            .iter()
            .filter(|codec| self.allows(codec))
            .cloned()
            .collect()
    }

    /// What is allowed of these, in the policy's order; comfort noise and events last.
    pub(super) fn preferred(&self, codecs: &[Codec]) -> Vec<Codec> {
        let mut preferred = self.allowed(codecs);
        preferred.sort_by_key(|codec| (!codec.is_voice(), self.rank(codec)));
        preferred
    }
}
