use super::counters::Dropped;
use crate::media::LegReport;
use crate::rtp::packet::Header;
use crate::rtp::rtcp::{self, Packet, ReportBlock};
use crate::rtp::stats::Reception;
use std::time::Instant;

/// Ticks a second of every payload that has one of RFC 3551's telephony types, telephone events included. The relay is
/// not told the clock of dynamic types; their jitter is in the same unit.
const CLOCK: u32 = 8000;

/// What went through a leg, for its report and for our RTCP.
#[derive(Default)]
pub(super) struct Quality {
    report: LegReport,
    reception: Option<Reception>,
}

impl Quality {
    /// A valid RTP packet from the peer.
    pub(super) fn received(&mut self, header: &Header, now: Instant) {
        self.report.received += 1;
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
        let Some(reception) = &mut self.reception else {
            return;
        };
        for packet in rtcp::packets(compound).flatten() {
            if let Packet::SenderReport(sent, _) = packet
                && sent.ssrc == reception.ssrc()
            {
                reception.sender_report((sent.ntp >> 16) as u32, now);
            }
        }
    }

    /// An RTP packet went out to the peer.
    pub(super) fn sent(&mut self) {
        self.report.sent += 1;
    }

    /// A packet that claimed to be the peer's was not taken.
    pub(super) fn refused(&mut self, why: Dropped) {
        match why {
            Dropped::Authentication => self.report.authentication_failures += 1,
            Dropped::Replayed => self.report.replayed += 1,
            Dropped::WrongSource => self.report.wrong_source += 1,
            Dropped::Malformed => self.report.malformed += 1,
            // These say nothing about what came, only about what we did with it.
            Dropped::NotConnected
            | Dropped::Held
            | Dropped::PayloadType
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
        }
        report
    }
}
