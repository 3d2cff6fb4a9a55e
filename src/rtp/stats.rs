//! What a receiver knows of a stream: loss (RFC 3550 appendix A.3) and jitter (A.8), whole and by report interval.

use super::rtcp::ReportBlock;
use super::sequence::Window;
use std::time::{Duration, Instant};

/// Jumps further than these are no loss and no reordering (RFC 3550 appendix A.1).
const MAX_DROPOUT: u64 = 3000;
const MAX_MISORDER: u64 = 100;

/// Reception of one synchronisation source.
#[derive(Debug, Clone)]
pub struct Reception {
    ssrc: u32,
    clock: u32,
    start: Instant,
    first: u64,
    window: Window,
    received: u64,
    /// Lost before the source began anew.
    lost_before: u64,
    /// Most packets that were missing in a row when the next one came.
    longest_gap: u64,
    /// The sequence number that would confirm that it does (RFC 3550 appendix A.1).
    restart: Option<u16>,
    /// Arrival minus timestamp of the packet before, in clock units, modulo 2^32.
    transit: u32,
    last_timestamp: u32,
    /// Sixteen times the jitter.
    jitter: u32,
    /// Expected and received when the last report was made.
    reported: (u64, u64),
    /// The middle of the NTP timestamp in the source's last sender report, and when that came.
    sender_report: Option<(u32, Instant)>,
}

impl Reception {
    /// Starts with the first packet of a source, whose payload clock ticks `clock` times a second.
    pub fn new(ssrc: u32, clock: u32, sequence: u16, timestamp: u32, now: Instant) -> Self {
        // The first round starts high, so that packets from just before the first one have an index, too.
        let first = (1 << 16) + u64::from(sequence);
        Self {
            ssrc,
            clock,
            start: now,
            first,
            window: Window::starting_at(first),
            received: 1,
            lost_before: 0,
            longest_gap: 0,
            restart: None,
            transit: 0u32.wrapping_sub(timestamp),
            last_timestamp: timestamp,
            jitter: 0,
            reported: (0, 0),
            sender_report: None,
        }
    }

    /// The source it is about.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// One more packet of this source.
    pub fn packet(&mut self, sequence: u16, timestamp: u32, now: Instant) {
        let index = self.window.guess(sequence);
        let highest = self.window.highest();
        if index > highest + MAX_DROPOUT || index + MAX_MISORDER < highest {
            return self.jump(sequence, timestamp, now);
        }
        self.restart = None;
        self.longest_gap = self.longest_gap.max(index.saturating_sub(highest + 1));
        self.window.accept(index);
        self.first = self.first.min(index);
        self.received += 1;
        // Packets of one instant (an event's) say nothing about how evenly they travel.
        if timestamp == self.last_timestamp {
            return;
        }
        let transit = self
            .ticks(now.saturating_duration_since(self.start))
            .wrapping_sub(timestamp);
        let difference = (transit.wrapping_sub(self.transit) as i32).unsigned_abs();
        (self.transit, self.last_timestamp) = (transit, timestamp);
        // A new timestamp base under the same source is no jitter.
        if difference < self.clock {
            self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
        }
    }

    /// Two packets in a row after a great jump are a new beginning, one is a stray.
    fn jump(&mut self, sequence: u16, timestamp: u32, now: Instant) {
        if self.restart != Some(sequence) {
            self.restart = Some(sequence.wrapping_add(1));
            return;
        }
        let anew = Self::new(self.ssrc, self.clock, sequence, timestamp, now);
        *self = Self {
            lost_before: self.lost(),
            longest_gap: self.longest_gap,
            jitter: self.jitter,
            sender_report: self.sender_report,
            ..anew
        };
    }

    /// A sender report of this source: the middle 32 bits of its NTP timestamp.
    pub fn sender_report(&mut self, middle: u32, now: Instant) {
        self.sender_report = Some((middle, now));
    }

    /// Packets that should have come since the first.
    fn expected(&self) -> u64 {
        self.window.highest() - self.first + 1
    }

    /// Packets that never came; copies of others do not make up for them below zero.
    pub fn lost(&self) -> u64 {
        self.lost_before + self.expected().saturating_sub(self.received)
    }

    /// Most packets that were missing in a row; some of them may have come later.
    pub fn longest_gap(&self) -> u64 {
        self.longest_gap
    }

    /// In units of the payload's clock.
    pub fn jitter(&self) -> u32 {
        self.jitter >> 4
    }

    /// The report block about everything since the last one (RFC 3550 §6.4.1).
    pub fn report(&mut self, now: Instant) -> ReportBlock {
        let (expected, received) = (self.expected(), self.received);
        let interval = expected - self.reported.0.min(expected);
        let lost = interval.saturating_sub(received - self.reported.1);
        self.reported = (expected, received);
        let cumulative = expected as i64 - received as i64;
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost << 8).checked_div(interval).unwrap_or(0).min(255) as u8,
            cumulative_lost: cumulative.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: (self.window.highest() - (1 << 16)) as u32,
            jitter: self.jitter(),
            last_sender_report: self.sender_report.map_or(0, |(middle, _)| middle),
            delay_since: self
                .sender_report
                .map_or(0, |(_, at)| fixed_point(now.saturating_duration_since(at))),
        }
    }

    fn ticks(&self, elapsed: Duration) -> u32 {
        let clock = u64::from(self.clock);
        (elapsed.as_secs() * clock + u64::from(elapsed.subsec_nanos()) * clock / 1_000_000_000)
            as u32
    }
}

/// A duration in units of 1/65536 second.
fn fixed_point(duration: Duration) -> u32 {
    (duration.as_micros() * 65_536 / 1_000_000)
        .try_into()
        .unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    /// 100 packets over a wrap, of which the 10th to 19th are lost and two arrive late: 10 lost, no jitter but theirs.
    #[test]
    fn loss_is_counted_across_a_wrap() {
        let start = Instant::now();
        let mut reception = Reception::new(1, 8000, 65_530, 0, start);
        let mut order: Vec<u32> = (1..10).chain(20..100).collect();
        order.swap(3, 4);
        for n in order {
            reception.packet(65_530u16.wrapping_add(n as u16), n * 160, start + FRAME * n);
        }
        assert_eq!((reception.expected(), reception.lost()), (100, 10));
        assert_eq!(reception.longest_gap(), 10);
        assert_eq!(reception.jitter(), 0);
        let report = reception.report(start + FRAME * 100);
        assert_eq!((report.cumulative_lost, report.fraction_lost), (10, 25));
        assert_eq!(report.highest_sequence, (1 << 16) + 93);
        assert_eq!(reception.report(start + FRAME * 101).fraction_lost, 0);
    }

    /// A jump of 20,000 is a new beginning after two packets, not a loss; a single stray packet is nothing.
    #[test]
    fn a_jump_is_not_loss() {
        let start = Instant::now();
        let mut reception = Reception::new(1, 8000, 100, 0, start);
        for (n, sequence) in [101, 102, 105, 60_000, 106, 20_106, 20_107, 20_108]
            .into_iter()
            .enumerate()
        {
            reception.packet(sequence, 160 * n as u32, start + FRAME * n as u32);
        }
        assert_eq!(reception.lost(), 2);
    }

    /// Arrivals that alternate by 5 ms around their time have a jitter of 5 ms, 40 ticks, after a while.
    #[test]
    fn jitter_settles_at_the_alternation() {
        let start = Instant::now();
        let mut reception = Reception::new(1, 8000, 0, 0, start);
        for n in 1..400u32 {
            let late = Duration::from_millis(if n % 2 == 1 { 5 } else { 0 });
            reception.packet(n as u16, n * 160, start + FRAME * n + late);
        }
        assert!(
            (39..=41).contains(&reception.jitter()),
            "{}",
            reception.jitter()
        );
    }

    /// A key pressed for two seconds keeps one timestamp and adds no jitter.
    #[test]
    fn a_long_event_is_no_jitter() {
        let start = Instant::now();
        let mut reception = Reception::new(1, 8000, 0, 0, start);
        for n in 1..100u32 {
            reception.packet(n as u16, 160, start + FRAME * n);
        }
        assert_eq!(reception.jitter(), 0);
    }

    /// The delay since the last sender report lets the source compute the round trip.
    #[test]
    fn a_report_names_the_last_sender_report() {
        let start = Instant::now();
        let mut reception = Reception::new(1, 8000, 0, 0, start);
        reception.sender_report(0xabcd_0001, start);
        let report = reception.report(start + Duration::from_millis(1500));
        assert_eq!(
            (report.last_sender_report, report.delay_since),
            (0xabcd_0001, 98_304)
        );
    }
}
