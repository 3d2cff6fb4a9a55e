use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How one kind of peer differs from another, as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(default)]
pub struct Profile {
    /// Whether media to and from the peer is encrypted.
    pub srtp: Srtp,
    /// How encrypted media is protected, best first: what we offer, and what we choose from. At least one.
    pub srtp_suites: Vec<SrtpSuite>,
    /// Whether RTP and RTCP may share a port (RFC 5761).
    pub rtcp_mux: bool,
    /// Whether our key carries the lifetime `|2^31` (TDR-832).
    pub srtp_lifetime: bool,
    /// Whether the peer may sit behind NAT, so that its media may come from elsewhere than it says: with SRTP from wherever
    /// it proves itself, without from where its signalling comes and from its access list.
    pub latch: bool,
    /// Names of the codecs that may be used, best first; none means all. PCMA, PCMU and G722 are converted where the other
    /// side of a call has none of them in common.
    pub codecs: Vec<String>,
    /// How the peer gives and takes the keys that people press. Teams always does by telephone events (TDR-813).
    pub dtmf: Dtmf,
    /// Session-Expires that we ask for (RFC 4028), in seconds; none runs no session timer of ours.
    pub session_expires_s: Option<u32>,
    /// The smallest Session-Expires that we agree to, in seconds; at least 90 (RFC 4028 §5).
    pub min_se_s: u32,
    /// How we put this peer on hold.
    pub hold: Hold,
    /// Whether the peer may send REFER; it decides what our Allow says (TDR-501).
    pub refer: bool,
    /// What the peer learns of callers besides From, and whether it is trusted with callers who hide (RFC 3325).
    pub asserted_identity: AssertedIdentity,
    /// Whether the peer puts the true caller into P-Asserted-Identity and something else into From (TDR-409).
    pub caller_from_asserted_identity: bool,
    /// How the peer is told by whom a call was diverted (TDR-307).
    pub call_history: CallHistory,
    /// Whether the peer takes the caller's place with emergency calls: the PIDF-LO part of the body, Geolocation and
    /// Geolocation-Routing (RFC 6442, TDR-1003). Never Teams (TDR-411).
    pub pidf_lo: bool,
    /// Whether provisional responses are acknowledged (RFC 3262), both ways. Never with Teams (TDR-510).
    pub reliable_provisionals: ReliableProvisionals,
    /// Whether a 183 with a session description from this peer goes on as early media; if not it goes on as 180
    /// (TDR-505).
    pub early_media: bool,
    /// Whether a customer's exchange may call out through the customer's carriers, in the name of the customer's numbers.
    pub calls_out: bool,
    /// Whose numbers the peer may present as callers of Teams (TDR-1212).
    pub callers: Callers,
    /// Whether a request to a peer on UDP that is too large for a datagram may go by TCP to the same place (RFC 3261
    /// §18.1.1).
    pub udp_to_tcp: UdpToTcp,
    /// How long the peer may ring, in seconds.
    pub ring_timeout_s: u32,
    /// After how many seconds of ringing whom the peer hands on hears ringback; 0 for never. A few keep it from those
    /// who are put on hold by a REFER to music (TDR-605, TDR-710).
    pub transfer_ringback_s: u32,
    /// What a caller hears whose call is refused because the customer is not active, the number is not in service or all
    /// channels are in use.
    pub announcements: Announcements,
    /// How the exchange of a customer with `pbx_moh` is told to play its music.
    pub moh_method: MohMethod,
    /// With `moh_method` `refer`: the user part of the exchange's own music.
    pub moh_target: Option<String>,
    /// With `auth` `register`: the user part of the address-of-record, such as the main number; none for `username`.
    pub main_line: Option<String>,
    /// With `auth` `register`: what stands behind the `@` of the address-of-record; none for `host`.
    pub sip_domain: Option<String>,
    /// With `auth` `register`: how long a registration is to last, in seconds.
    pub register_expires_s: u32,
    /// ISO 3166 code of the country whose ringback the peer's people know (ITU-T E.180 Supplement 2); none for what the
    /// ITU recommends.
    pub tone_country: Option<String>,
}

impl Profile {
    /// Microsoft Teams.
    pub fn teams() -> Self {
        Self {
            srtp: Srtp::Required,                               // TDR-830
            srtp_suites: vec![SrtpSuite::AesCm128HmacSha1_80],  // TDR-831
            rtcp_mux: true,                                     // TDR-816
            srtp_lifetime: true,                                // TDR-832
            latch: true, // the media processor's address is what SRTP proves, not what SDP says
            session_expires_s: Some(1800), // TDR-414
            hold: Hold::Inactive, // TDR-601
            asserted_identity: AssertedIdentity::Pass, // TDR-410
            call_history: CallHistory::HistoryInfo, // TDR-419
            early_media: false, // TDR-505
            refer: true, // TDR-701
            transfer_ringback_s: 5, // TDR-605: music answers within 4
            reliable_provisionals: ReliableProvisionals::Never, // TDR-413
            ..Self::trunk()
        }
    }

    /// A PBX or carrier of which nothing else is known.
    pub fn trunk() -> Self {
        Self {
            srtp: Srtp::Never,
            srtp_suites: vec![
                SrtpSuite::AesCm128HmacSha1_80,
                SrtpSuite::AesCm128HmacSha1_32,
            ],
            rtcp_mux: false,
            srtp_lifetime: false,
            latch: false,
            codecs: ["PCMA", "PCMU", "telephone-event", "CN"]
                .map(str::to_owned)
                .to_vec(),
            dtmf: Dtmf::Rfc4733,
            session_expires_s: Some(1800),
            min_se_s: 90,
            hold: Hold::SendOnly,
            refer: false,
            asserted_identity: AssertedIdentity::Drop,
            caller_from_asserted_identity: false,
            call_history: CallHistory::Drop,
            pidf_lo: false,
            reliable_provisionals: ReliableProvisionals::Supported,
            early_media: true,
            calls_out: false,
            callers: Callers::Any,
            udp_to_tcp: UdpToTcp::Never,
            ring_timeout_s: 180,
            transfer_ringback_s: 1,
            announcements: Announcements::Off,
            moh_method: MohMethod::Reinvite,
            moh_target: None,
            main_line: None,
            sip_domain: None,
            register_expires_s: 3600,
            tone_country: None,
        }
    }
}

/// A trunk's.
impl Default for Profile {
    fn default() -> Self {
        Self::trunk()
    }
}

/// Whether media is encrypted (SDES, RFC 4568).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Srtp {
    /// Always; a plain offer is refused.
    Required,
    /// If the peer offers it; we offer it.
    Optional,
    /// Never.
    Never,
}

/// How encrypted media is protected, by the names of RFC 4568 §6.2, RFC 6188 §4 and RFC 7714 §14.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum SrtpSuite {
    /// The one that everybody has, and the only one towards Teams.
    #[serde(rename = "AES_CM_128_HMAC_SHA1_80")]
    AesCm128HmacSha1_80,
    /// The same with a shorter tag.
    #[serde(rename = "AES_CM_128_HMAC_SHA1_32")]
    AesCm128HmacSha1_32,
    /// A longer key.
    #[serde(rename = "AES_256_CM_HMAC_SHA1_80")]
    AesCm256HmacSha1_80,
    /// Encryption and authentication at once.
    #[serde(rename = "AEAD_AES_128_GCM")]
    AeadAes128Gcm,
    /// The same with a longer key.
    #[serde(rename = "AEAD_AES_256_GCM")]
    AeadAes256Gcm,
}

/// How a peer gives and takes keys. What the other side of a call has in another form is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dtmf {
    /// By telephone events in its media (RFC 4733).
    Rfc4733,
    /// By SIP INFO with `application/dtmf-relay`, one for each key; telephone events are not spoken of.
    Info,
    /// By tones in its voice, which then should be PCMA or PCMU; telephone events are not spoken of.
    Inband,
}

/// The direction of the offer that puts a peer on hold (RFC 3264 §8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// `a=inactive`, the only form that Teams understands (TDR-601).
    Inactive,
    /// `a=sendonly`.
    SendOnly,
}

/// How a refused caller hears why, before it hears the status. Emergency calls never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Announcements {
    /// Not at all.
    Off,
    /// As early media: a 183 with a session description, then the refusal.
    Early,
    /// With a 200, then a BYE: the caller may be charged for it by its carrier. For us the call was not answered.
    Answered,
}

/// How an exchange is told that Teams holds, so that it plays its music.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MohMethod {
    /// By a re-INVITE with the direction of `hold`.
    Reinvite,
    /// By a REFER to its music; by a re-INVITE after all if it refuses that.
    Refer,
}

/// P-Asserted-Identity towards a peer (RFC 3325). One that gets none is not trusted: what Privacy asks for is done before
/// a call goes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssertedIdentity {
    /// None.
    Drop,
    /// As it came.
    Pass,
    /// One of ours, that names the caller's number as this peer writes numbers.
    Rewrite,
}

/// The form in which a peer is told of diversions, whichever form they came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallHistory {
    /// None.
    Drop,
    /// RFC 7044.
    HistoryInfo,
    /// RFC 5806.
    Diversion,
}

/// Whose numbers a peer may present as callers of Teams. What no number at all names, such as an extension, it always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Callers {
    /// Anybody's: it passes on calls from the public network, where other customers' users call as well.
    Any,
    /// Anybody's but another customer's, unless a number of the called customer vouches for the call, as one that it
    /// diverted does.
    NotOthers,
    /// Those of the called customer that are in service, and whom such a number vouches for; the same as `not_others` for
    /// a customer without `caller_screening`.
    Own,
}

/// What becomes of a request that is too large for a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UdpToTcp {
    /// It goes by UDP, in pieces if need be: many an exchange on UDP listens to nothing else.
    Never,
    /// It goes by TCP, and by UDP after all where TCP is refused.
    WhenLarge,
}

/// What a peer hears of `100rel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReliableProvisionals {
    /// Nothing; an INVITE that requires it is refused.
    Never,
    /// That it may send them; whoever requires them gets them.
    Supported,
    /// That it must send them; whoever supports them gets them.
    Required,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TDR-830, 601, 505, 501: what sets Teams apart; no other peer may be sent these by default.
    #[test]
    fn teams_differs_from_a_trunk_where_microsoft_says_so() {
        let (teams, trunk) = (Profile::teams(), Profile::default());
        assert_eq!((teams.srtp, trunk.srtp), (Srtp::Required, Srtp::Never));
        assert_eq!(
            teams.srtp_suites,
            [SrtpSuite::AesCm128HmacSha1_80],
            "TDR-831"
        );
        assert_eq!((teams.hold, trunk.hold), (Hold::Inactive, Hold::SendOnly));
        assert_eq!((teams.early_media, trunk.early_media), (false, true));
        assert!(teams.session_expires_s >= Some(1800));
    }
}
