//! The RTP header (RFC 3550 §5.1) and how RTP is told from RTCP on one port (RFC 5761 §4).

use std::ops::Range;

/// Length of a header without contributing sources and extension.
pub const HEADER: usize = 12;

/// Why bytes are not an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The version is not 2: STUN, DTLS, ZRTP, SIP or noise.
    #[error("not RTP version 2")]
    Version,
    /// The header, its contributing sources or its extension reach beyond the end.
    #[error("shorter than its header says")]
    Short,
    /// The padding count is zero or more than the payload.
    #[error("padding does not fit")]
    Padding,
}

/// The fixed header of a packet, read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The marker bit.
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Grows by one with each packet.
    pub sequence: u16,
    /// In units of the payload's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Offset of the payload: past contributing sources and extension.
    pub payload_at: usize,
    padded: bool,
}

impl Header {
    /// Reads the header of a plain or an encrypted packet.
    pub fn parse(packet: &[u8]) -> Result<Self, PacketError> {
        let fixed: &[u8; HEADER] = packet.first_chunk().ok_or(PacketError::Short)?;
        if fixed[0] >> 6 != 2 {
            return Err(PacketError::Version);
        }
        let mut payload_at = HEADER + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            let words = packet
                .get(payload_at + 2..payload_at + 4)
                .ok_or(PacketError::Short)?;
            payload_at += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        if payload_at > packet.len() {
            return Err(PacketError::Short);
        }
        Ok(Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            payload_at,
            padded: fixed[0] & 0x20 != 0,
        })
    }

    /// Where the payload of this plain packet lies, without its padding. Only decrypted packets can be asked.
    pub fn payload(&self, packet: &[u8]) -> Result<Range<usize>, PacketError> {
        if !self.padded {
            return Ok(self.payload_at..packet.len());
        }
        let padding = usize::from(*packet.last().ok_or(PacketError::Short)?);
        if padding == 0 || self.payload_at + padding > packet.len() {
            return Err(PacketError::Padding);
        }
        Ok(self.payload_at..packet.len() - padding)
    }
}

/// Writes a header of twelve bytes; what the header says about the payload's place is ignored.
pub fn write_header(header: &Header, into: &mut [u8; HEADER]) {
    into[0] = 0x80;
    into[1] = u8::from(header.marker) << 7 | header.payload_type & 0x7f;
    into[2..4].copy_from_slice(&header.sequence.to_be_bytes());
    into[4..8].copy_from_slice(&header.timestamp.to_be_bytes());
    into[8..12].copy_from_slice(&header.ssrc.to_be_bytes());
}

impl Header {
    /// The header of a packet of our own making.
    pub fn new(payload_type: u8, marker: bool, sequence: u16, timestamp: u32, ssrc: u32) -> Self {
        Self {
            marker,
            payload_type,
            sequence,
            timestamp,
            ssrc,
            payload_at: HEADER,
            padded: false,
        }
    }
}

/// Whose packet it is, which SRTP leaves plain; 0 if it is too short for one.
pub fn ssrc(packet: &[u8]) -> u32 {
    let bytes = packet.get(8..12).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_be_bytes)
}

/// Changes the payload type of a packet whose header has been read; the marker stays.
pub fn set_payload_type(packet: &mut [u8], payload_type: u8) {
    if let Some(second) = packet.get_mut(1) {
        *second = *second & 0x80 | payload_type & 0x7f;
    }
}

/// Changes the marker of a packet whose header has been read.
pub fn set_marker(packet: &mut [u8], marker: bool) {
    if let Some(second) = packet.get_mut(1) {
        *second = *second & 0x7f | u8::from(marker) << 7;
    }
}

/// Makes a packet whose header has been read one of another stream: its source, its number and its time are these. What it
/// holds stays.
pub fn join_stream(packet: &mut [u8], stream: &Header) {
    if let Some(bytes) = packet.get_mut(2..HEADER) {
        bytes[..2].copy_from_slice(&stream.sequence.to_be_bytes());
        bytes[2..6].copy_from_slice(&stream.timestamp.to_be_bytes());
        bytes[6..].copy_from_slice(&stream.ssrc.to_be_bytes());
    }
}

/// Changes the timestamp of a packet whose header has been read.
pub fn set_timestamp(packet: &mut [u8], timestamp: u32) {
    if let Some(bytes) = packet.get_mut(4..8) {
        bytes.copy_from_slice(&timestamp.to_be_bytes());
    }
}

/// Says of a packet whose header has been read that its payload reaches to its end.
pub fn forget_padding(packet: &mut [u8]) {
    if let Some(first) = packet.first_mut() {
        *first &= !0x20;
    }
}

/// Whether a datagram on a multiplexed port is RTCP: its second byte is one of RTCP's packet types, 192 to 223, which
/// RTP with the marker set would only show for the payload types 64 to 95 that RFC 5761 §4 takes away from it.
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram
        .get(1)
        .is_some_and(|second| (192..=223).contains(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; HEADER];
        write_header(
            &Header::new(8, true, 7, 160, 0x1234_5678),
            packet.first_chunk_mut().unwrap(),
        );
        packet[0] = first;
        packet.extend_from_slice(rest);
        packet
    }

    /// What is written is read again.
    #[test]
    fn a_header_survives() {
        let header = Header::new(101, true, 65_535, 4_000_000_000, 0xdead_beef);
        let mut bytes = [0; HEADER];
        write_header(&header, &mut bytes);
        assert_eq!(Header::parse(&bytes), Ok(header));
    }

    /// Contributing sources and an extension move the payload; beyond the end they make the packet malformed.
    #[test]
    fn sources_and_extension_are_skipped() {
        let with_both = packet(0x91, &[0, 0, 0, 9, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, 0xaa]);
        let header = Header::parse(&with_both).unwrap();
        assert_eq!(header.payload(&with_both), Ok(24..25));
        assert_eq!(
            Header::parse(&packet(0x8f, &[0; 8])),
            Err(PacketError::Short)
        );
        assert_eq!(
            Header::parse(&packet(0x90, &[0xbe, 0xde, 0x0f, 0xa0, 1])),
            Err(PacketError::Short)
        );
        assert_eq!(
            Header::parse(&packet(0x90, &[0xbe, 0xde])),
            Err(PacketError::Short)
        );
    }

    /// Padding may take all of the payload, but neither nothing nor more.
    #[test]
    fn padding_must_fit() {
        let payload = |rest: &[u8]| {
            let packet = packet(0xa0, rest);
            Header::parse(&packet).unwrap().payload(&packet)
        };
        assert_eq!(payload(&[9, 0, 2]), Ok(12..13));
        assert_eq!(payload(&[0, 0, 3]), Ok(12..12));
        assert_eq!(payload(&[0, 0, 4]), Err(PacketError::Padding));
        assert_eq!(payload(&[0, 0, 0]), Err(PacketError::Padding));
    }

    /// Sender reports are RTCP, voice with a marker is not, nor is telephone-event with one.
    #[test]
    fn rtcp_is_told_by_the_second_byte() {
        assert!(is_rtcp(&[0x80, 200]) && is_rtcp(&[0x81, 203]));
        assert!(!is_rtcp(&[0x80, 0x88]) && !is_rtcp(&[0x80, 0x80 | 101]) && !is_rtcp(&[0x80]));
    }
}
