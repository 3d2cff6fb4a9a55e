//! How often a thread looks at its sockets.

use std::time::{Duration, Instant};

/// Load is measured over so long.
const WINDOW: Duration = Duration::from_millis(20);
/// Packets in that time from which on a thread is under load: twenty calls.
const BUSY: usize = 40;

/// A wake-up costs more than a packet. A thread that gets few packets wakes for each, and none of them is late; one under
/// load rests between two looks, and finds several at each.
#[derive(Debug)]
pub(super) struct Pace {
    collect: Duration,
    window: Instant,
    packets: usize,
    busy: bool,
    /// When the last rest ended.
    rested: Instant,
}

impl Pace {
    pub(super) fn new(collect: Duration, now: Instant) -> Self {
        Self {
            collect,
            window: now,
            packets: 0,
            busy: false,
            rested: now,
        }
    }

    /// How long to rest after a look that found so many packets; what has passed since the last rest counts. Who is
    /// behind, because others want the processor too, does not give it away.
    pub(super) fn rest(&mut self, packets: usize, behind: bool, now: Instant) -> Option<Duration> {
        self.packets += packets;
        let measured = now.saturating_duration_since(self.window);
        if measured >= WINDOW {
            // More than `BUSY` in each `WINDOW` of the time that was measured.
            self.busy =
                self.packets as u128 * WINDOW.as_micros() >= BUSY as u128 * measured.as_micros();
            (self.window, self.packets) = (now, 0);
        }
        if !self.busy || behind || packets == 0 {
            return None;
        }
        let passed = now.saturating_duration_since(self.rested);
        let rest = self.collect.checked_sub(passed).filter(|r| !r.is_zero());
        self.rested = now + rest.unwrap_or_default();
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Rests in two seconds of so many packets a second that come one by one, and the longest.
    fn rests(rate: u32) -> (usize, Duration) {
        let start = Instant::now();
        let mut pace = Pace::new(MS, start);
        let (mut now, mut rests, mut longest) = (start, 0, Duration::ZERO);
        for packet in 1..2 * rate {
            let comes = start + Duration::from_secs(1) * packet / rate;
            // It came while the thread rested, which finds it with the next.
            if comes < now {
                continue;
            }
            now = comes;
            if let Some(rest) = pace.rest(((rate / 1000) as usize).max(1), false, now) {
                (rests, longest) = (rests + 1, longest.max(rest));
                now += rest;
            }
        }
        (rests, longest)
    }

    /// Ten calls wake the thread packet by packet; at a hundred calls it looks about a thousand times a second, and no
    /// packet waits for longer than it was told.
    #[test]
    fn a_thread_rests_under_load_only() {
        assert_eq!(rests(1000).0, 0);
        let (number, longest) = rests(10_000);
        assert!((1500..=2000).contains(&number), "{number}");
        assert!(longest <= MS);
    }

    /// Who needs longer for its packets than it would rest does not rest, nor who is behind; load that ends is forgotten.
    #[test]
    fn no_rest_is_made_up_for() {
        let mut now = Instant::now();
        let mut pace = Pace::new(MS, now);
        for _ in 0..100 {
            now += 2 * MS;
            assert_eq!(pace.rest(100, false, now), None);
        }
        assert_eq!(pace.rest(100, true, now + MS / 2), None);
        assert_eq!(pace.rest(100, false, now + MS / 2), Some(MS / 2));
        now += Duration::from_secs(1);
        pace.rest(1, false, now);
        assert_eq!(pace.rest(1, false, now + MS / 2), None);
    }
}
