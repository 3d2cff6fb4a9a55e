use crate::sdp::{AudioError, SdpError};

/// Why a description is not acceptable, or ours cannot be made. In a 488 the text may go into a Warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// The peer's body is no session description.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// The peer's body has no audio stream that we can carry.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// Plain RTP from a peer that must use SRTP (TDR-830).
    #[error("SRTP is required here, RTP is offered or answered without it")]
    SrtpRequired,
    /// SRTP from a peer that is to use plain RTP, or in answer to an offer of plain RTP.
    #[error("plain RTP is required here, SRTP is offered or answered")]
    SrtpNotAllowed,
    /// RFC 4568 §5.1.2: none of the suites and parameters is ours.
    #[error("no crypto line has a suite that is allowed here (RFC 4568 §5.1.2)")]
    NoUsableCrypto,
    /// Two senders under one key would lay both open (RFC 3711 §9.1).
    #[error("the crypto line holds the key that we sent (RFC 3711 §9.1)")]
    OurOwnKey,
    /// TDR-841: media bypass needs connectivity checks, and these need candidates.
    #[error("the offer has no ICE candidates for audio, which media bypass needs (RFC 8839 §4.2)")]
    NoCandidates,
    /// TDR-840, TDR-1114: a candidate of ours is always IPv4.
    #[error("media bypass needs an IPv4 address of ours")]
    IceOverIpv6,
    /// IPv6 where we are on IPv4, or the other way.
    #[error("the audio stream's address is of another IP version than ours")]
    AddressFamily,
    /// RFC 3264 §6: nothing to speak in.
    #[error(
        "no audio codec is both known to the two sides and allowed here, nor one of PCMA, PCMU and G722 on each, which can be converted (RFC 3264 §6)"
    )]
    NoCodec,
    /// There is no offer of the peer's to answer.
    #[error("there is no offer to answer (RFC 3264 §4)")]
    NothingToAnswer,
    /// The peer answers, but we have no offer out.
    #[error("an answer came that nobody asked for (RFC 3264 §4)")]
    NothingOffered,
    /// Hold, resume and refresh repeat what was agreed, and nothing was.
    #[error("nothing has been agreed yet that could be offered again")]
    NothingAgreed,
}
