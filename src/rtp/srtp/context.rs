use super::keys::{Code, ENCRYPTED, SessionKeys};
use super::sources::Sources;
use super::{MasterKey, RTCP_INDEX, SrtpError, Suite};
use crate::rtp::packet::Header;

/// A key has 2^48 indices for RTP and 2^31 for RTCP (RFC 3711 §9.2).
const RTP_INDICES: u64 = 1 << 48;
const RTCP_INDICES: u64 = 1 << 31;

/// Protects what we send under one master key.
#[derive(Clone)]
pub struct Sender {
    suite: Suite,
    /// What the keys of RTCP are derived from whenever one of its few packets passes: they would take more memory than all
    /// else here.
    master: MasterKey,
    rtp: SessionKeys,
    mki: Vec<u8>,
    sources: Sources,
}

/// Checks and decrypts what comes under one master key.
#[derive(Clone)]
pub struct Receiver {
    suite: Suite,
    /// As of a [`Sender`].
    master: MasterKey,
    rtp: SessionKeys,
    mki: usize,
    sources: Sources,
}

impl Sender {
    /// A context that has not sent anything. `mki` is put behind each packet; usually it is empty.
    pub fn new(suite: Suite, master: &MasterKey, mki: &[u8]) -> Self {
        Self {
            suite,
            master: *master,
            rtp: SessionKeys::rtp(suite, master),
            mki: mki.to_vec(),
            sources: Sources::default(),
        }
    }

    /// How many bytes a protected packet is longer than the plain one, at most.
    pub fn overhead(&self) -> usize {
        RTCP_INDEX + self.mki.len() + self.suite.rtcp_tag()
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
        let protected = length + self.mki.len() + self.suite.rtp_tag();
        if buffer.len() < protected {
            return Err(SrtpError::Malformed);
        }
        self.sources.accept_rtp(header.ssrc, index)?;
        let (packet, behind) = buffer.split_at_mut(length);
        let code = self
            .rtp
            .seal_rtp(header.ssrc, index, packet, header.payload_at)
            .ok_or(SrtpError::Malformed)?;
        self.append(behind, &code, self.suite.rtp_tag(), &[]);
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
        let (packet, behind) = buffer.split_at_mut(length);
        let code = SessionKeys::rtcp(self.suite, &self.master)
            .seal_rtcp(ssrc, index, packet)
            .ok_or(SrtpError::Malformed)?;
        let suffix = (index as u32 | ENCRYPTED).to_be_bytes();
        self.append(behind, &code, self.suite.rtcp_tag(), &suffix);
        Ok(protected)
    }

    /// The index, the MKI and the tag, in the order of the suite.
    fn append(&self, behind: &mut [u8], code: &Code, tag: usize, index: &[u8]) {
        let tag = &code[..tag];
        let parts = if self.rtp.tag_comes_first() {
            [tag, index, &self.mki]
        } else {
            [index, &self.mki, tag]
        };
        let mut rest = behind;
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
    }
}

impl Receiver {
    /// A context that has not heard anything. The peer puts `mki` bytes behind each packet; usually none.
    pub fn new(suite: Suite, master: &MasterKey, mki: u8) -> Self {
        Self {
            suite,
            master: *master,
            rtp: SessionKeys::rtp(suite, master),
            mki: mki.into(),
            sources: Sources::default(),
        }
    }

    /// Turns a protected RTP packet into the plain one; the answer is its header and its length.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<(Header, usize), SrtpError> {
        let header = Header::parse(packet).map_err(|_| SrtpError::Malformed)?;
        let tag = self.suite.rtp_tag();
        let length = packet
            .len()
            .checked_sub(tag + self.mki)
            .filter(|&end| end >= header.payload_at)
            .ok_or(SrtpError::Malformed)?;
        let (packet, behind) = packet.split_at_mut(length);
        let tag = if self.rtp.tag_comes_first() {
            &behind[..tag]
        } else {
            &behind[self.mki..]
        };
        let keys = &self.rtp;
        let mut opens =
            |index: &u64| keys.open_rtp(header.ssrc, *index, packet, header.payload_at, tag);
        let index = match self.sources.get(header.ssrc).and_then(|source| source.rtp) {
            Some(window) => {
                let index = window.guess(header.sequence);
                window.check(index)?;
                Some(index)
                    .filter(|index| *index < RTP_INDICES)
                    .filter(&mut opens)
            }
            // The counter starts at 0; but a stream may have begun just before a wrap with packets that were lost.
            None => {
                let first = u64::from(header.sequence);
                let wrapped = Some(first + (1 << 16)).filter(|_| header.sequence < 128);
                Some(first).into_iter().chain(wrapped).find(&mut opens)
            }
        };
        let index = index.ok_or(SrtpError::Authentication)?;
        self.sources.accept_rtp(header.ssrc, index)?;
        Ok((header, length))
    }

    /// Turns a protected RTCP packet into the plain one; the answer is its length.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(packet)?;
        let tag = self.suite.rtcp_tag();
        let length = packet
            .len()
            .checked_sub(RTCP_INDEX + self.mki + tag)
            .filter(|&end| end >= 8)
            .ok_or(SrtpError::Malformed)?;
        let (packet, behind) = packet.split_at_mut(length);
        let (suffix, tag) = if self.rtp.tag_comes_first() {
            (&behind[tag..], &behind[..tag])
        } else {
            (&*behind, &behind[RTCP_INDEX + self.mki..])
        };
        let suffix = *suffix.first_chunk().ok_or(SrtpError::Malformed)?;
        let number = u32::from_be_bytes(suffix);
        let index = u64::from(number & !ENCRYPTED);
        if let Some(window) = self.sources.get(ssrc).and_then(|source| source.rtcp) {
            window.check(index)?;
        }
        // All suites encrypt RTCP; nobody negotiates otherwise (TDR-835).
        if number & ENCRYPTED == 0 {
            return Err(SrtpError::Malformed);
        }
        let keys = SessionKeys::rtcp(self.suite, &self.master);
        if !keys.open_rtcp(ssrc, suffix, packet, tag) {
            return Err(SrtpError::Authentication);
        }
        self.sources.accept_rtcp(ssrc, index)?;
        Ok(length)
    }
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

    const KEY: MasterKey = [7; 46];

    fn pair(suite: Suite, mki: &[u8]) -> (Sender, Receiver) {
        (
            Sender::new(suite, &KEY, mki),
            Receiver::new(suite, &KEY, mki.len() as u8),
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

    /// Packets of more than 22 minutes, twice over a wrap and with every 50th lost, arrive whole in all suites, with and
    /// without an MKI.
    #[test]
    fn a_long_stream_survives_its_wraps() {
        let plain = Suite::ALL.map(|suite| (suite, &[][..]));
        let with_mki = [Suite::AesCm128HmacSha1_80, Suite::AeadAes256Gcm].map(|s| (s, &[1][..]));
        for (suite, mki) in plain.into_iter().chain(with_mki) {
            let (mut sender, mut receiver) = pair(suite, mki);
            for n in 65_000u32..132_000 {
                let plain = &voice(n as u16, 9)[..20];
                let protected = protect(&mut sender, plain);
                assert_eq!(protected.len(), 20 + mki.len() + suite.rtp_tag());
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
        let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1_80, &[]);
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
        let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1_80, &[]);
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
        let (mut sender, _) = pair(Suite::AesCm128HmacSha1_80, &[]);
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

    /// RTCP counts up from index 0, is taken once, and is refused unencrypted; in all suites.
    #[test]
    fn rtcp_travels_and_is_not_replayed() {
        let plain = [0x80, 201, 0, 1, 0, 0, 0, 9];
        for suite in Suite::ALL {
            let (mut sender, mut receiver) = pair(suite, &[]);
            for index in 0..3u8 {
                let mut buffer = [0; 64];
                buffer[..8].copy_from_slice(&plain);
                let length = sender.protect_rtcp(&mut buffer, 8).unwrap();
                assert_eq!(length, 8 + sender.overhead());
                // RFC 7714 §9.2: behind the tag; RFC 3711 §3.4: before it.
                let place = if suite.is_aead() { length - 4 } else { 8 };
                assert_eq!(buffer[place..place + 4], [0x80, 0, 0, index]);
                let (mut again, mut bare) = (buffer, buffer);
                bare[place] &= 0x7f;
                assert!(receiver.unprotect_rtcp(&mut bare[..length]).is_err());
                assert_eq!(receiver.unprotect_rtcp(&mut buffer[..length]), Ok(8));
                assert_eq!(buffer[..8], plain);
                let again = receiver.unprotect_rtcp(&mut again[..length]);
                assert_eq!(again, Err(SrtpError::Replayed));
            }
        }
    }

    /// Whatever length arrives, the answer is an error and not a panic.
    #[test]
    fn short_packets_are_refused() {
        for suite in Suite::ALL {
            let (mut sender, mut receiver) = pair(suite, &[1, 2]);
            for length in 0..40 {
                let mut packet = vec![0x80; length];
                assert!(receiver.unprotect_rtp(&mut packet.clone()).is_err());
                assert!(receiver.unprotect_rtcp(&mut packet.clone()).is_err());
                assert!(sender.protect_rtp(&mut packet, length + 1).is_err());
                assert!(sender.protect_rtcp(&mut packet, length).is_err());
            }
        }
    }
}
