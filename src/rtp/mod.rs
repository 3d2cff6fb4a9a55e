//! RTP (RFC 3550), RTCP, SRTP (RFC 3711), STUN (RFC 8489) and telephone events (RFC 4733).
//!
//! Everything works in place on byte slices that the caller owns and allocates nothing for a packet.

pub mod mos;
pub mod packet;
pub mod rtcp;
pub mod sequence;
pub mod srtp;
pub mod stats;
pub mod stun;
pub mod telephone_event;
