use super::counters::Dropped;
use crate::media::LegReport;
use crate::rtp::packet::Header;
use crate::rtp::rtcp::{self, Packet, ReportBlock};
use crate::rtp::stats::Reception;
use std::time::{Duration, Instant};

/// Ticks a second of every payload that has one of RFC 3551's telephony types, telephone events included. The relay is
/// not told the clock of dynamic types; their jitter is in the same unit.
const CLOCK: u32 = 8000;

/// What went through a leg, for its report and for our RTCP.
#[derive(Default)]
pub(super) struct Quality {
    report: LegReport,
    reception: Option<Reception>,
    /// The stream that goes out to the peer, and how much of it the peer says was lost.
    sending: Option<(u32, u64)>,
    /// Sender reports that went out to the peer last: the middle of their NTP timestamps, and when that was.
    sender_reports: [Option<(u32, Instant)>; 2],
}

impl Quality {
    /// A valid RTP packet from the peer.
    pub(super) fn received(&mut self, header: &Header, now: Instant) {
        self.report.received += 1;
        self.report.failing = 0;
        match &mut self.reception {
            Some(reception) if reception.ssrc() == header.ssrc => {
                reception.packet(header.sequence, header.timestamp, now);
            }
            other => {
                self.report.lost += other.as_ref().map_or(0, Reception::lost);
                *other = Some(Reception::new(
                    header.ssrc,
                    CLOCK,
                    header.sequence,
                    header.timestamp,
                    now,
                ));
            }
        }
    }

    /// A valid compound RTCP packet from the peer.
    pub(super) fn received_rtcp(&mut self, compound: &[u8], now: Instant) {
        self.report.reports += 1;
        for packet in rtcp::packets(compound).flatten() {
            match packet {
                Packet::SenderReport(sent, blocks) => {
                    if let Some(reception) = &mut self.reception
                        && sent.ssrc == reception.ssrc()
                    {
                        reception.sender_report(middle(sent.ntp), now);
                    }
                    blocks.iter().for_each(|block| self.told(&block, now));
                }
                Packet::ReceiverReport(_, blocks) => {
                    blocks.iter().for_each(|block| self.told(&block, now));
                }
                _ => {}
            }
        }
    }

    /// What the peer says of a stream; only of that which it gets from us it can know.
    fn told(&mut self, block: &ReportBlock, now: Instant) {
        if let Some((ssrc, lost)) = &mut self.sending
            && *ssrc == block.ssrc
        {
            *lost = u64::try_from(block.cumulative_lost).unwrap_or(0);
        }
        let known = self.sender_reports.iter().flatten();
        let mut known = known.filter(|(middle, _)| *middle == block.last_sender_report);
        if let Some((_, at)) = known.next() {
            let held = Duration::from_secs_f64(f64::from(block.delay_since) / 65_536.0);
            self.report.round_trip = now.saturating_duration_since(*at).checked_sub(held);
        }
    }

    /// An RTP packet of this source went out to the peer.
    pub(super) fn sent(&mut self, ssrc: u32) {
        self.report.sent += 1;
        match self.sending {
            Some((known, _)) if known == ssrc => {}
            before => {
                self.report.lost_there += before.map_or(0, |(_, lost)| lost);
                self.sending = Some((ssrc, 0));
            }
        }
    }

    /// A compound RTCP packet, plain, is about to go out to the peer.
    pub(super) fn sending_rtcp(&mut self, compound: &[u8], now: Instant) {
        if let Some(Ok(Packet::SenderReport(sent, _))) = rtcp::packets(compound).next() {
            self.sender_reports = [Some((middle(sent.ntp), now)), self.sender_reports[0]];
        }
    }

    /// The peer ceased to consent to our packets.
    pub(super) fn consent_lost(&mut self) {
        self.report.consent_lost = true;
    }

    /// A packet that claimed to be the peer's was not taken.
    pub(super) fn refused(&mut self, why: Dropped) {
        match why {
            Dropped::Authentication => {
                self.report.authentication_failures += 1;
                self.report.failing += 1;
            }
            Dropped::Replayed => self.report.replayed += 1,
            Dropped::WrongSource => self.report.wrong_source += 1,
            Dropped::Malformed => self.report.malformed += 1,
            // These say nothing about what came, only about what we did with it.
            Dropped::NotConnected
            | Dropped::UnknownStream
            | Dropped::Held
            | Dropped::PayloadType
            | Dropped::Key
            | Dropped::Repacked
            | Dropped::Unprotectable
            | Dropped::CheckMalformed
            | Dropped::NoCheck
            | Dropped::CheckOfStranger
            | Dropped::TooManyChecks => {}
        }
    }

    /// The block for our next report to the peer.
    pub(super) fn report_block(&mut self, now: Instant) -> Option<ReportBlock> {
        self.reception
            .as_mut()
            .map(|reception| reception.report(now))
    }

    /// All of it, at the end.
    pub(super) fn report(&self) -> LegReport {
        let mut report = self.report.clone();
        if let Some(reception) = &self.reception {
            report.lost += reception.lost();
            report.jitter = reception.jitter();
            report.longest_gap = reception.longest_gap();
        }
        report.lost_there += self.sending.map_or(0, |(_, lost)| lost);
        report
    }
}

/// The middle 32 bits of an NTP timestamp.
fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}
