//! RTP (RFC 3550), RTCP, SRTP (RFC 3711), STUN (RFC 8489), telephone events (RFC 4733) and G.711.
//!
//! Everything works in place on byte slices that the caller owns and allocates nothing for a packet.

pub mod g711;
pub mod packet;
pub mod rtcp;
pub mod sequence;
pub mod srtp;
pub mod stats;
pub mod stun;
pub mod telephone_event;
