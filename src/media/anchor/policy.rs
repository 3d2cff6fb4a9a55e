use super::MediaError;
use crate::media::Dtmf;
use crate::sdp::{Codec, Profile, Suite};

/// How one kind of peer wants its media, as data from its profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPolicy {
    /// SRTP or not.
    pub srtp: SrtpPolicy,
    /// How packets may be protected, in the order in which we offer and choose (RFC 4568 §5.1).
    pub suites: Vec<Suite>,
    /// Whether RTCP may share the RTP port (TDR-816).
    pub rtcp_mux: bool,
    /// Names of voice codecs that may be used, in the order in which we offer them; empty: all, in the order given.
    /// Comfort noise and, by `dtmf`, telephone events are always allowed.
    pub codecs: Vec<String>,
    /// Whether packets may come from elsewhere than the description says.
    pub latch: bool,
    /// Whether we are a lite agent of ICE (RFC 8445 §2.5), which media bypass is (TDR-840), and refuse offers without
    /// candidates (TDR-841). If not, what the peer says of ICE is passed over (TDR-819).
    pub ice: bool,
    /// In which form the peer has keys. Where it is another than telephone events, no description speaks of these.
    pub dtmf: Dtmf,
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
        if codec.name.eq_ignore_ascii_case("telephone-event") {
            return self.dtmf == Dtmf::Events;
        }
        !codec.is_voice() || self.codecs.is_empty() || self.rank(codec).is_some()
    }

    fn rank(&self, codec: &Codec) -> Option<usize> {
        self.codecs
            .iter()
            .position(|name| name.eq_ignore_ascii_case(&codec.name))
    }

    /// What is allowed of these, in their own order. Comfort noise needs voice of its clock beside it.
    pub(super) fn allowed(&self, codecs: &[Codec]) -> Vec<Codec> {
        let allowed: Vec<&Codec> = codecs.iter().filter(|codec| self.allows(codec)).collect();
        let has_voice = |clock| allowed.iter().any(|c| c.is_voice() && c.clock == clock);
        let useful = allowed
            .iter()
            .filter(|c| !c.is_noise() || has_voice(c.clock));
        useful.map(|&codec| codec.clone()).collect()
    }

    /// What is allowed of these, in the policy's order if it has one; comfort noise and events then come last.
    pub(super) fn preferred(&self, codecs: &[Codec]) -> Vec<Codec> {
        let mut preferred = self.allowed(codecs);
        if !self.codecs.is_empty() {
            preferred.sort_by_key(|codec| (!codec.is_voice(), self.rank(codec)));
        }
        preferred
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(codecs: &[&str]) -> MediaPolicy {
        MediaPolicy {
            srtp: SrtpPolicy::Optional,
            suites: vec![Suite::AesCm128HmacSha1_80],
            rtcp_mux: true,
            codecs: codecs.iter().map(|&name| name.to_owned()).collect(),
            latch: false,
            ice: false,
            dtmf: Dtmf::Events,
            lifetime: true,
        }
    }

    fn asked() -> Vec<Codec> {
        let wide = [Codec::new(104, "SILK", 16000), Codec::new(118, "CN", 16000)];
        let narrow = [
            Codec::new(101, "telephone-event", 8000),
            Codec::new(0, "PCMU", 8000),
        ];
        [
            &wide[..],
            &narrow,
            &[Codec::new(8, "PCMA", 8000), Codec::new(13, "CN", 8000)],
        ]
        .concat()
    }

    fn numbers(codecs: &[Codec]) -> Vec<u8> {
        codecs.iter().map(|c| c.payload_type).collect()
    }

    /// Offers follow the policy's order, what we read keeps the peer's; wide noise goes with wide voice.
    #[test]
    fn a_list_of_names_allows_and_orders() {
        let listed = policy(&["pcma", "PCMU"]);
        assert_eq!(numbers(&listed.preferred(&asked())), [8, 0, 101, 13]);
        assert_eq!(numbers(&listed.allowed(&asked())), [101, 0, 8, 13]);
    }

    /// Whoever has keys in another form neither hears of telephone events nor is taken at its word about them.
    #[test]
    fn events_stay_out_of_descriptions_where_keys_go_otherwise() {
        for dtmf in [Dtmf::Info, Dtmf::Inband] {
            let other = MediaPolicy {
                dtmf,
                ..policy(&["PCMA", "telephone-event"])
            };
            assert_eq!(numbers(&other.preferred(&asked())), [8, 13]);
        }
    }

    #[test]
    fn without_a_list_everything_is_allowed_as_it_is() {
        let open = policy(&[]);
        assert_eq!(open.preferred(&asked()), asked());
    }
}
