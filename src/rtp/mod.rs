//! RTP, RTCP and SRTP.
