//! RTCP: compound packets taken apart and checked (RFC 3550 §6 and appendix A.2), reports written.

use std::ops::ControlFlow;

/// Why bytes are not a compound RTCP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// The version is not 2, or the type is not one of RTCP's.
    #[error("not RTCP version 2")]
    Version,
    /// A length or a count reaches beyond the end.
    #[error("shorter than it says")]
    Short,
    /// Padding anywhere but at the end of the last packet, or more than there is.
    #[error("padding does not fit")]
    Padding,
}

/// One packet of a compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Type 200.
    SenderReport(SenderReport, Reports<'a>),
    /// Type 201: the reporting source.
    ReceiverReport(u32, Reports<'a>),
    /// Type 202: its chunks, well-formed.
    SourceDescription(&'a [u8]),
    /// Type 203: the sources that leave.
    Bye(&'a [u8]),
    /// Anything else: type and content.
    Other(u8, &'a [u8]),
}

/// RFC 3550 §6.4.1: what a sender says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport {
    /// Who sends.
    pub ssrc: u32,
    /// NTP time stamp: seconds and their fraction.
    pub ntp: u64,
    /// The same instant on the payload's clock.
    pub timestamp: u32,
    /// RTP packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
}

/// RFC 3550 §6.4.1: what a receiver says of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: u32,
    /// 256ths of the packets since the last report.
    pub fraction_lost: u8,
    /// 24 bits with a sign.
    pub cumulative_lost: i32,
    /// With the number of rounds in the upper half.
    pub highest_sequence: u32,
    /// In units of the payload's clock.
    pub jitter: u32,
    /// The middle of the NTP time stamp in the source's last sender report, or 0.
    pub last_sender_report: u32,
    /// Since that came, in 1/65536 s.
    pub delay_since: u32,
}

/// The report blocks of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reports<'a>(&'a [[u8; BLOCK]]);

const BLOCK: usize = 24;

impl Reports<'_> {
    /// Each block.
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> {
        self.0.iter().map(|block| ReportBlock {
            ssrc: word(block, 0),
            fraction_lost: block[4],
            cumulative_lost: (word(block, 4) << 8) as i32 >> 8,
            highest_sequence: word(block, 8),
            jitter: word(block, 12),
            last_sender_report: word(block, 16),
            delay_since: word(block, 20),
        })
    }
}

/// Takes a compound packet apart. After an error nothing more comes.
pub fn packets(compound: &[u8]) -> impl Iterator<Item = Result<Packet<'_>, RtcpError>> {
    let mut rest = Some(compound);
    std::iter::from_fn(move || {
        let bytes = rest.take().filter(|bytes| !bytes.is_empty())?;
        Some(next(bytes).map(|(packet, behind)| {
            rest = Some(behind);
            packet
        }))
    })
}

/// Checks all of a compound packet.
pub fn check(compound: &[u8]) -> Result<(), RtcpError> {
    match packets(compound).try_for_each(|packet| match packet {
        Ok(_) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) if compound.is_empty() => Err(RtcpError::Short),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Whose compound packet it is; 0 if it is too short to tell.
pub fn source(compound: &[u8]) -> u32 {
    let bytes = compound.get(4..8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_be_bytes)
}

fn next(bytes: &[u8]) -> Result<(Packet<'_>, &[u8]), RtcpError> {
    let &[first, kind, high, low, ..] = bytes else {
        return Err(RtcpError::Short);
    };
    if first >> 6 != 2 || !(192..=223).contains(&kind) {
        return Err(RtcpError::Version);
    }
    let length = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
    let (packet, behind) = bytes.split_at_checked(length).ok_or(RtcpError::Short)?;
    let body = match (first & 0x20 != 0, behind) {
        (false, _) => &packet[4..],
        (true, []) => unpadded(&packet[4..])?,
        (true, _) => return Err(RtcpError::Padding),
    };
    let count = usize::from(first & 0x1f);
    let packet = match kind {
        200 => sender_report(body, count)?,
        201 => Packet::ReceiverReport(word(part(body, 0, 4)?, 0), reports(body, 4, count)?),
        202 => Packet::SourceDescription(chunks(body, count)?),
        203 => Packet::Bye(bye(body, count)?),
        // Applications and feedback name their source; feedback (RFC 4585 §6.1) the one it is about, too.
        204..=206 => Packet::Other(kind, part(body, 0, 8).map(|_| body)?),
        _ => Packet::Other(kind, body),
    };
    Ok((packet, behind))
}

fn unpadded(body: &[u8]) -> Result<&[u8], RtcpError> {
    let padding = usize::from(*body.last().ok_or(RtcpError::Padding)?);
    if padding == 0 || !padding.is_multiple_of(4) {
        return Err(RtcpError::Padding);
    }
    body.len()
        .checked_sub(padding)
        .map(|end| &body[..end])
        .ok_or(RtcpError::Padding)
}

fn sender_report(body: &[u8], count: usize) -> Result<Packet<'_>, RtcpError> {
    let fixed = part(body, 0, 24)?;
    let report = SenderReport {
        ssrc: word(fixed, 0),
        ntp: u64::from(word(fixed, 4)) << 32 | u64::from(word(fixed, 8)),
        timestamp: word(fixed, 12),
        packets: word(fixed, 16),
        octets: word(fixed, 20),
    };
    Ok(Packet::SenderReport(report, reports(body, 24, count)?))
}

fn reports(body: &[u8], at: usize, count: usize) -> Result<Reports<'_>, RtcpError> {
    Ok(Reports(part(body, at, count * BLOCK)?.as_chunks().0))
}

/// RFC 3550 §6.5: chunks of a source and its items, each ended by zeros up to the next word.
fn chunks(body: &[u8], count: usize) -> Result<&[u8], RtcpError> {
    let mut at = 0;
    for _ in 0..count {
        part(body, at, 4)?;
        at += 4;
        while *body.get(at).ok_or(RtcpError::Short)? != 0 {
            let length = *body.get(at + 1).ok_or(RtcpError::Short)?;
            at += 2 + usize::from(length);
        }
        at = (at + 4) & !3;
    }
    part(body, 0, at).map(|_| body)
}

/// RFC 3550 §6.6: sources and perhaps a reason.
fn bye(body: &[u8], count: usize) -> Result<&[u8], RtcpError> {
    let sources = part(body, 0, 4 * count)?;
    if let Some(&length) = body.get(4 * count) {
        part(body, 4 * count + 1, length.into())?;
    }
    Ok(sources)
}

fn part(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], RtcpError> {
    bytes.get(at..at + length).ok_or(RtcpError::Short)
}

/// The word at an offset that the caller has checked.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Writes a report and the writer's canonical name (RFC 3550 §6.1: what every compound holds at least): a sender report
/// if `sent` says what was sent, a receiver report otherwise. The answer is its length, or `None` without room.
pub fn write_report(
    into: &mut [u8],
    ssrc: u32,
    sent: Option<&SenderReport>,
    block: Option<&ReportBlock>,
    name: &str,
) -> Option<usize> {
    let mut out = Writer { into, at: 0 };
    let words = 1 + if sent.is_some() { 5 } else { 0 } + if block.is_some() { 6 } else { 0 };
    let kind = if sent.is_some() { 200 } else { 201 };
    out.put(&[0x80 | u8::from(block.is_some()), kind, 0, words])?;
    out.word(ssrc)?;
    if let Some(sent) = sent {
        out.put(&sent.ntp.to_be_bytes())?;
        out.word(sent.timestamp)?;
        out.word(sent.packets)?;
        out.word(sent.octets)?;
    }
    if let Some(block) = block {
        out.word(block.ssrc)?;
        out.word(u32::from(block.fraction_lost) << 24 | block.cumulative_lost as u32 & 0xff_ffff)?;
        out.word(block.highest_sequence)?;
        out.word(block.jitter)?;
        out.word(block.last_sender_report)?;
        out.word(block.delay_since)?;
    }
    let name = &name.as_bytes()[..name.len().min(255)];
    // The item and at least one zero, up to a whole word.
    let chunk = (4 + 2 + name.len() + 4) & !3;
    out.put(&[0x81, 202, 0, (chunk / 4) as u8])?;
    out.word(ssrc)?;
    out.put(&[1, name.len() as u8])?;
    out.put(name)?;
    out.put(&[0; 4][..chunk - 6 - name.len()])?;
    Some(out.at)
}

struct Writer<'a> {
    into: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.into
            .get_mut(self.at..self.at + bytes.len())?
            .copy_from_slice(bytes);
        self.at += bytes.len();
        Some(())
    }

    fn word(&mut self, word: u32) -> Option<()> {
        self.put(&word.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: SenderReport = SenderReport {
        ssrc: 7,
        ntp: 0x0102_0304_0506_0708,
        timestamp: 160,
        packets: 3,
        octets: 480,
    };
    const BLOCK_OF_9: ReportBlock = ReportBlock {
        ssrc: 9,
        fraction_lost: 200,
        cumulative_lost: -5,
        highest_sequence: 65_540,
        jitter: 12,
        last_sender_report: 77,
        delay_since: 65_536,
    };

    fn written(sent: Option<&SenderReport>, block: Option<&ReportBlock>, name: &str) -> Vec<u8> {
        let mut buffer = [0; 400];
        let length = write_report(&mut buffer, 7, sent, block, name).unwrap();
        buffer[..length].to_vec()
    }

    /// Sender and receiver reports, with and without a block and with names of every length, are read as written.
    #[test]
    fn a_report_survives() {
        for length in 0..=255 {
            let bytes = written(Some(&SENT), Some(&BLOCK_OF_9), &"n".repeat(length));
            assert!(bytes.len().is_multiple_of(4));
            let read: Vec<_> = packets(&bytes).collect::<Result<_, _>>().unwrap();
            let [
                Packet::SenderReport(sent, reports),
                Packet::SourceDescription(_),
            ] = read[..]
            else {
                panic!("{read:?}")
            };
            assert_eq!(
                (sent, reports.iter().collect::<Vec<_>>()),
                (SENT, vec![BLOCK_OF_9])
            );
        }
        let bytes = written(None, None, "a");
        let read: Vec<_> = packets(&bytes).collect::<Result<_, _>>().unwrap();
        assert!(
            matches!(read[..], [Packet::ReceiverReport(7, reports), Packet::SourceDescription(_)] if reports.0.is_empty())
        );
    }

    /// Cut anywhere, a compound is refused, unless the cut falls between its packets.
    #[test]
    fn a_cut_compound_is_refused() {
        let bytes = written(Some(&SENT), Some(&BLOCK_OF_9), "someone");
        for length in 0..bytes.len() {
            assert_eq!(check(&bytes[..length]).is_ok(), length == 52, "{length}");
        }
        let mut no_room = [0; 20];
        assert_eq!(write_report(&mut no_room, 7, Some(&SENT), None, "x"), None);
    }

    /// Counts and lengths that reach beyond the packet are refused; feedback and good-byes are read.
    #[test]
    fn inner_lengths_are_checked() {
        for (bytes, verdict) in [
            (&[0x9f, 201, 0, 1, 0, 0, 0, 9][..], Err(RtcpError::Short)),
            (&[0x81, 203, 0, 1, 0, 0, 0, 9], Ok(())),
            (
                &[0x81, 203, 0, 2, 0, 0, 0, 9, 255, 65, 65, 65],
                Err(RtcpError::Short),
            ),
            (
                &[0x81, 202, 0, 2, 0, 0, 0, 9, 1, 255, 65, 65],
                Err(RtcpError::Short),
            ),
            (&[0x80, 206, 0, 2, 0, 0, 0, 9, 0, 0, 0, 8], Ok(())),
            (&[0x80, 206, 0, 1, 0, 0, 0, 9], Err(RtcpError::Short)),
            (&[0xa0, 201, 0, 2, 0, 0, 0, 9, 0, 0, 0, 4], Ok(())),
            (
                &[0xa0, 201, 0, 2, 0, 0, 0, 9, 0, 0, 0, 16],
                Err(RtcpError::Padding),
            ),
            (
                &[
                    0xa0, 201, 0, 2, 0, 0, 0, 9, 0, 0, 0, 4, 0x80, 201, 0, 1, 0, 0, 0, 9,
                ],
                Err(RtcpError::Padding),
            ),
            (&[0x80, 100, 0, 1, 0, 0, 0, 9], Err(RtcpError::Version)),
        ] {
            assert_eq!(check(bytes), verdict, "{bytes:?}");
        }
    }
}
