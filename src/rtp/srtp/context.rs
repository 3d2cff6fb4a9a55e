use super::keys::SessionKeys;
use super::sources::Sources;
use super::{MasterKey, RTCP_INDEX, RTCP_TAG, SrtpError, Tag};
use crate::rtp::packet::Header;
use subtle::ConstantTimeEq;

/// A key has 2^48 indices for RTP and 2^31 for RTCP (RFC 3711 §9.2).
const RTP_INDICES: u64 = 1 << 48;
const RTCP_INDICES: u64 = 1 << 31;
/// Set in the index of an SRTCP packet that is encrypted (RFC 3711 §3.4).
const ENCRYPTED: u32 = 1 << 31;

/// Protects what we send under one master key.
#[derive(Clone)]
pub struct Sender {
    tag: usize,
    rtp: SessionKeys,
    rtcp: SessionKeys,
    mki: Vec<u8>,
    sources: Sources,
}

/// Checks and decrypts what comes under one master key.
#[derive(Clone)]
pub struct Receiver {
    tag: usize,
    rtp: SessionKeys,
    rtcp: SessionKeys,
    mki: usize,
    sources: Sources,
}

impl Sender {
    /// A context that has not sent anything. `mki` is put in front of each tag; usually it is empty.
    pub fn new(tag: Tag, master: &MasterKey, mki: &[u8]) -> Self {
        Self {
            tag: tag.length(),
            rtp: SessionKeys::rtp(master),
            rtcp: SessionKeys::rtcp(master),
            mki: mki.to_vec(),
            sources: Sources::default(),
        }
    }

    /// How many bytes a protected packet is longer than the plain one, at most.
    pub fn overhead(&self) -> usize {
        RTCP_INDEX + self.mki.len() + RTCP_TAG
    }

    /// Protects the RTP packet in the first `length` bytes of the buffer; the answer is the protected length.
    ///
    /// An index is never used twice: a repeated packet is refused, since with another payload it would give away both.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let packet = buffer.get_mut(..length).ok_or(SrtpError::Malformed)?;
        let header = Header::parse(packet).map_err(|_| SrtpError::Malformed)?;
        let index = match self.sources.get(header.ssrc).and_then(|source| source.rtp) {
            None => u64::from(header.sequence),
            Some(window) => {
                let index = window.guess(header.sequence);
                window.check(index)?;
                index
            }
        };
        if index >= RTP_INDICES {
            return Err(SrtpError::Exhausted);
        }
        let protected = length + self.mki.len() + self.tag;
        if buffer.len() < protected {
            return Err(SrtpError::Malformed);
        }
        self.sources.accept_rtp(header.ssrc, index)?;
        let (packet, behind) = buffer.split_at_mut(length);
        self.rtp
            .cipher
            .apply(header.ssrc, index, &mut packet[header.payload_at..]);
        let code = self.rtp.code.code(packet, rollover(index));
        self.append(behind, &code[..self.tag]);
        Ok(protected)
    }

    /// Protects the compound RTCP packet in the first `length` bytes of the buffer; the answer is the protected length.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(buffer.get(..length).ok_or(SrtpError::Malformed)?)?;
        let index = match self.sources.get(ssrc).and_then(|source| source.rtcp) {
            None => 0,
            Some(window) => window.highest() + 1,
        };
        if index >= RTCP_INDICES {
            return Err(SrtpError::Exhausted);
        }
        let protected = length + self.overhead();
        if buffer.len() < protected {
            return Err(SrtpError::Malformed);
        }
        self.sources.accept_rtcp(ssrc, index)?;
        self.rtcp.cipher.apply(ssrc, index, &mut buffer[8..length]);
        let (packet, behind) = buffer.split_at_mut(length);
        let suffix = (index as u32 | ENCRYPTED).to_be_bytes();
        let code = self.rtcp.code.code(packet, suffix);
        behind[..RTCP_INDEX].copy_from_slice(&suffix);
        self.append(&mut behind[RTCP_INDEX..], &code[..RTCP_TAG]);
        Ok(protected)
    }

    fn append(&self, behind: &mut [u8], tag: &[u8]) {
        let (mki, rest) = behind.split_at_mut(self.mki.len());
        mki.copy_from_slice(&self.mki);
        rest[..tag.len()].copy_from_slice(tag);
    }
}

impl Receiver {
    /// A context that has not heard anything. The peer puts `mki` bytes in front of each tag; usually none.
    pub fn new(tag: Tag, master: &MasterKey, mki: u8) -> Self {
        Self {
            tag: tag.length(),
            rtp: SessionKeys::rtp(master),
            rtcp: SessionKeys::rtcp(master),
            mki: mki.into(),
            sources: Sources::default(),
        }
    }

    /// Turns a protected RTP packet into the plain one; the answer is its header and its length.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<(Header, usize), SrtpError> {
        let header = Header::parse(packet).map_err(|_| SrtpError::Malformed)?;
        let tag_at = packet
            .len()
            .checked_sub(self.tag)
            .ok_or(SrtpError::Malformed)?;
        let length = tag_at
            .checked_sub(self.mki)
            .filter(|&end| end >= header.payload_at);
        let length = length.ok_or(SrtpError::Malformed)?;
        let (message, tag) = (&packet[..length], &packet[tag_at..]);
        let authentic = |index: u64| {
            self.rtp.code.code(message, rollover(index))[..tag.len()]
                .ct_eq(tag)
                .into()
        };
        let index = match self.sources.get(header.ssrc).and_then(|source| source.rtp) {
            Some(window) => {
                let index = window.guess(header.sequence);
                window.check(index)?;
                Some(index).filter(|&index| authentic(index))
            }
            // The counter starts at 0; but a stream may have begun just before a wrap with packets that were lost.
            None => {
                let first = u64::from(header.sequence);
                let wrapped = Some(first + (1 << 16)).filter(|_| header.sequence < 128);
                Some(first)
                    .into_iter()
                    .chain(wrapped)
                    .find(|&index| authentic(index))
            }
        };
        let index = index
            .filter(|&index| index < RTP_INDICES)
            .ok_or(SrtpError::Authentication)?;
        self.sources.accept_rtp(header.ssrc, index)?;
        self.rtp
            .cipher
            .apply(header.ssrc, index, &mut packet[header.payload_at..length]);
        Ok((header, length))
    }

    /// Turns a protected RTCP packet into the plain one; the answer is its length.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(packet)?;
        let length = packet
            .len()
            .checked_sub(RTCP_INDEX + self.mki + RTCP_TAG)
            .filter(|&end| end >= 8);
        let length = length.ok_or(SrtpError::Malformed)?;
        let (message, trailer) = packet.split_at(length);
        let (suffix, tag) = (
            trailer.first_chunk::<RTCP_INDEX>(),
            &trailer[RTCP_INDEX + self.mki..],
        );
        let suffix = *suffix.ok_or(SrtpError::Malformed)?;
        let number = u32::from_be_bytes(suffix);
        let index = u64::from(number & !ENCRYPTED);
        if let Some(window) = self.sources.get(ssrc).and_then(|source| source.rtcp) {
            window.check(index)?;
        }
        if !bool::from(self.rtcp.code.code(message, suffix)[..RTCP_TAG].ct_eq(tag)) {
            return Err(SrtpError::Authentication);
        }
        // Both suites encrypt RTCP; nobody negotiates otherwise (TDR-835).
        if number & ENCRYPTED == 0 {
            return Err(SrtpError::Malformed);
        }
        self.sources.accept_rtcp(ssrc, index)?;
        self.rtcp.cipher.apply(ssrc, index, &mut packet[8..length]);
        Ok(length)
    }
}

/// The rollover counter as it is authenticated behind a packet.
fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    match packet {
        [first, _, _, _, a, b, c, d, ..] if first >> 6 == 2 => {
            Ok(u32::from_be_bytes([*a, *b, *c, *d]))
        }
        _ => Err(SrtpError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::packet::{HEADER, write_header};

    const KEY: MasterKey = [7; 30];

    fn pair(tag: Tag, mki: &[u8]) -> (Sender, Receiver) {
        (
            Sender::new(tag, &KEY, mki),
            Receiver::new(tag, &KEY, mki.len() as u8),
        )
    }

    fn voice(sequence: u16, ssrc: u32) -> Vec<u8> {
        let mut packet = vec![0x55; HEADER + 160];
        let header = Header::new(8, false, sequence, u32::from(sequence) * 160, ssrc);
        write_header(&header, packet.first_chunk_mut().unwrap());
        packet
    }

    fn protect(sender: &mut Sender, plain: &[u8]) -> Vec<u8> {
        let mut buffer = plain.to_vec();
        buffer.resize(plain.len() + sender.overhead(), 0);
        let length = sender.protect_rtp(&mut buffer, plain.len()).unwrap();
        buffer.truncate(length);
        buffer
    }

    fn unprotect(receiver: &mut Receiver, protected: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let mut packet = protected.to_vec();
        let (_, length) = receiver.unprotect_rtp(&mut packet)?;
        packet.truncate(length);
        Ok(packet)
    }

    /// Packets of more than 22 minutes, twice over a wrap and with every 50th lost, arrive whole in both suites and with an MKI.
    #[test]
    fn a_long_stream_survives_its_wraps() {
        for (tag, mki) in [
            (Tag::Bits80, &[][..]),
            (Tag::Bits32, &[]),
            (Tag::Bits80, &[1]),
        ] {
            let (mut sender, mut receiver) = pair(tag, mki);
            for n in 65_000u32..132_000 {
                let plain = &voice(n as u16, 9)[..20];
                let protected = protect(&mut sender, plain);
                assert_eq!(protected.len(), 20 + mki.len() + tag.length());
                if n % 50 != 0 {
                    assert_eq!(
                        unprotect(&mut receiver, &protected).as_deref(),
                        Ok(plain),
                        "packet {n}"
                    );
                }
            }
        }
    }

    /// A stream whose first packets before the wrap never came is understood all the same.
    #[test]
    fn the_first_packets_may_be_lost_before_a_wrap() {
        let (mut sender, mut receiver) = pair(Tag::Bits80, &[]);
        protect(&mut sender, &voice(65_535, 9));
        for sequence in 0..3 {
            let plain = voice(sequence, 9);
            assert_eq!(
                unprotect(&mut receiver, &protect(&mut sender, &plain)),
                Ok(plain)
            );
        }
    }

    /// A forged packet changes nothing: no source is remembered, no window moves.
    #[test]
    fn forgeries_leave_no_trace() {
        let (mut sender, mut receiver) = pair(Tag::Bits80, &[]);
        let first = protect(&mut sender, &voice(10, 9));
        assert!(unprotect(&mut receiver, &first).is_ok());
        for ssrc in 0..2000 {
            let mut forged = voice(60_000, ssrc);
            forged.extend_from_slice(&[0; 10]);
            assert_eq!(
                unprotect(&mut receiver, &forged),
                Err(SrtpError::Authentication)
            );
        }
        let second = protect(&mut sender, &voice(11, 9));
        assert!(unprotect(&mut receiver, &second).is_ok());
        assert_eq!(unprotect(&mut receiver, &second), Err(SrtpError::Replayed));
        assert!(receiver.sources.get(5).is_none());
    }

    /// The same index is never encrypted twice.
    #[test]
    fn a_sender_refuses_to_repeat_an_index() {
        let (mut sender, _) = pair(Tag::Bits80, &[]);
        let mut packet = voice(10, 9);
        let length = packet.len();
        packet.resize(length + sender.overhead(), 0);
        assert!(sender.protect_rtp(&mut packet.clone(), length).is_ok());
        packet[20] ^= 1;
        assert_eq!(
            sender.protect_rtp(&mut packet, length),
            Err(SrtpError::Replayed)
        );
    }

    /// RTCP counts up from index 0, is taken once, and is refused unencrypted.
    #[test]
    fn rtcp_travels_and_is_not_replayed() {
        let (mut sender, mut receiver) = pair(Tag::Bits32, &[]);
        let plain = [0x80, 201, 0, 1, 0, 0, 0, 9];
        for index in 0..3u8 {
            let mut buffer = [0; 64];
            buffer[..8].copy_from_slice(&plain);
            let length = sender.protect_rtcp(&mut buffer, 8).unwrap();
            assert_eq!((length, &buffer[8..12]), (22, &[0x80, 0, 0, index][..]));
            let mut again = buffer;
            assert_eq!(receiver.unprotect_rtcp(&mut buffer[..length]), Ok(8));
            assert_eq!(buffer[..8], plain);
            assert_eq!(
                receiver.unprotect_rtcp(&mut again[..length]),
                Err(SrtpError::Replayed)
            );
        }
    }

    /// Whatever length arrives, the answer is an error and not a panic.
    #[test]
    fn short_packets_are_refused() {
        let (mut sender, mut receiver) = pair(Tag::Bits80, &[1, 2]);
        for length in 0..40 {
            let mut packet = vec![0x80; length];
            assert!(receiver.unprotect_rtp(&mut packet.clone()).is_err());
            assert!(receiver.unprotect_rtcp(&mut packet.clone()).is_err());
            assert!(sender.protect_rtp(&mut packet, length + 1).is_err());
            assert!(sender.protect_rtcp(&mut packet, length).is_err());
        }
    }
}
