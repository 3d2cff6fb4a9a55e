//! How fast: a bucket for all registrations together, and the pauses of one that fails.

use std::time::{Duration, Instant};

use crate::base::Random;

/// A token bucket that knows when it is full again.
#[derive(Debug)]
pub(super) struct Bucket {
    interval: Duration,
    /// How far ahead of the time it may be drawn: so many tokens at once, less one.
    slack: Duration,
    full_at: Instant,
}

impl Bucket {
    /// So many a second, and a tenth of that at once.
    pub fn new(per_second: u32, now: Instant) -> Self {
        let per_second = per_second.max(1);
        let interval = Duration::from_secs(1) / per_second;
        Self {
            interval,
            slack: interval * (per_second / 10).saturating_sub(1),
            full_at: now,
        }
    }

    /// Whether there is one now; then it is gone.
    pub fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now);
        if full_at - now > self.slack {
            return false;
        }
        self.full_at = full_at + self.interval;
        true
    }

    /// When there is one.
    pub fn next(&self) -> Instant {
        self.full_at.checked_sub(self.slack).unwrap_or(self.full_at)
    }

    /// So many times as fast from now on.
    pub fn hurry(&mut self, times: u32) {
        self.interval /= times.max(1);
    }
}

/// Seconds after the first failure in a row, the second and so on.
const PAUSES: [u64; 7] = [5, 15, 60, 120, 240, 480, 900];
/// The same where the exchange has said that it does not want us, as with a wrong password: whoever goes on trying is
/// locked out.
const REFUSED: [u64; 5] = [60, 300, 900, 1800, 3600];
/// A Retry-After beyond this is not believed.
const MOST: u64 = 3600;

/// How long to wait after so many failures in a row. From the third on it is never less than a minute. The pause is
/// stretched by up to a quarter, so that those who failed together do not come back together.
pub(super) fn pause(
    failures: u32,
    refused: bool,
    retry_after: Option<u64>,
    random: &mut Random,
) -> Duration {
    let steps: &[u64] = if refused { &REFUSED } else { &PAUSES };
    let nth = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let own = steps[nth.min(steps.len() - 1)];
    let seconds = own.max(retry_after.unwrap_or(0).min(MOST));
    Duration::from_millis(seconds * 1000 + u64::from(random.u32()) % (seconds * 250 + 1))
}

/// When a registration that lasts so long is renewed: between 60 and 80 percent of that, so that those that began
/// together drift apart, and one that fails has time to try again.
pub(super) fn renewal(lasts: Duration, random: &mut Random) -> Duration {
    let share = 600 + random.u32() % 201;
    (lasts / 1000 * share).max(LEAST)
}

/// However short a registration lasts, it is not renewed sooner.
const LEAST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// 200 a second, 20 at once: of 1,000 that want to go at once the last goes after 4.9 s.
    #[test]
    fn the_bucket_spreads_a_storm() {
        let start = Instant::now();
        let (mut bucket, mut now) = (Bucket::new(200, start), start);
        let mut at_once = 0;
        for _ in 0..1000 {
            while !bucket.take(now) {
                assert!(bucket.next() > now);
                now = bucket.next();
            }
            at_once += u32::from(now == start);
        }
        assert_eq!(at_once, 20);
        assert_eq!((now - start).as_millis(), 4900);
        bucket.hurry(10);
        let late = now + Duration::from_secs(1);
        for _ in 0..20 {
            assert!(bucket.take(late));
        }
    }

    /// Even one a second goes.
    #[test]
    fn a_slow_bucket_gives_one_at_a_time() {
        let now = Instant::now();
        let mut bucket = Bucket::new(1, now);
        assert!(bucket.take(now) && !bucket.take(now));
        assert_eq!(bucket.next() - now, Duration::from_secs(1));
    }

    /// Pauses grow, and after the third failure there are never two tries within a minute, whatever the exchange says.
    #[test]
    fn pauses_grow() {
        let mut random = Random::from_number(1);
        for refused in [false, true] {
            let mut last = Duration::ZERO;
            for failures in 1..40 {
                let pause = pause(failures, refused, Some(0), &mut random);
                assert!(failures < 3 || pause >= Duration::from_secs(60));
                assert!(failures > 5 || pause > last, "{failures}");
                assert!(pause <= Duration::from_secs(4500));
                last = pause;
            }
        }
        let told = pause(1, false, Some(600), &mut random);
        assert!(told >= Duration::from_secs(600));
        let unbelievable = pause(1, false, Some(u64::MAX), &mut random);
        assert!(unbelievable <= Duration::from_secs(4500));
    }

    /// Renewals of an hour lie between 36 and 48 minutes, and no two of ten are the same.
    #[test]
    fn renewals_drift_apart() {
        let mut random = Random::from_number(1);
        let hour = Duration::from_secs(3600);
        let mut drawn: Vec<_> = (0..10).map(|_| renewal(hour, &mut random)).collect();
        assert!(drawn.iter().all(|d| (2160..=2880).contains(&d.as_secs())));
        drawn.sort();
        drawn.dedup();
        assert!(drawn.len() > 5);
        assert_eq!(renewal(Duration::from_secs(1), &mut random), LEAST);
    }
}
