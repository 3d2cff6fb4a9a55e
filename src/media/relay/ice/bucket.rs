use std::time::{Duration, Instant};

/// So many things a second, and as many at once.
pub(super) struct Bucket {
    most: u32,
    left: u32,
    /// When the last one came back.
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(most: u32, now: Instant) -> Self {
        Self {
            most,
            left: most,
            filled: now,
        }
    }

    /// Whether there is one more.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let each = Duration::from_secs(1) / self.most;
        let back = now.saturating_duration_since(self.filled).as_nanos() / each.as_nanos();
        let back = u32::try_from(back).unwrap_or(u32::MAX);
        if back >= self.most - self.left {
            (self.left, self.filled) = (self.most, now);
        } else {
            self.left += back;
            self.filled += each * back;
        }
        let has = self.left > 0;
        self.left -= u32::from(has);
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten at once, then one each tenth of a second, and never more than ten after a rest.
    #[test]
    fn a_rate_and_a_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        let mut taken = |after: u64| {
            let now = start + Duration::from_millis(after);
            (0..20).filter(|_| bucket.take(now)).count()
        };
        assert_eq!([taken(0), taken(50), taken(100), taken(350)], [10, 0, 1, 2]);
        assert_eq!([taken(400), taken(9000), taken(9001)], [1, 10, 0]);
    }
}
