use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

/// Sources that are remembered; more share what one may send.
const MOST_SOURCES: usize = 10_000;
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// How much each source may ask for: so much a minute, and as much at once.
#[derive(Debug)]
pub(super) struct Limits {
    per_minute: u32,
    sources: HashMap<IpAddr, Level>,
}

/// What a source has asked for and time has not yet forgiven.
#[derive(Debug, Clone, Copy)]
struct Level {
    used: f64,
    at: Instant,
}

impl Level {
    fn now(self, per_minute: f64, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        (self.used - seconds * per_minute / 60.0).max(0.0)
    }
}

impl Limits {
    pub(super) fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            sources: HashMap::new(),
        }
    }

    /// Whether a source may ask once more.
    pub(super) fn take(&mut self, source: IpAddr, now: Instant) -> bool {
        let used = self.used(source, now);
        let may = used + 1.0 <= f64::from(self.per_minute);
        if may {
            self.set(source, used + 1.0, now);
        }
        may
    }

    /// It asked for what it should not.
    pub(super) fn charge(&mut self, source: IpAddr, more: u32, now: Instant) {
        let used = self.used(source, now) + f64::from(more);
        self.set(source, used.min(f64::from(self.per_minute)), now);
    }

    fn used(&mut self, source: IpAddr, now: Instant) -> f64 {
        let per_minute = f64::from(self.per_minute);
        let key = self.key(source, now);
        let level = self.sources.get(&key);
        level.map_or(0.0, |level| level.now(per_minute, now))
    }

    fn set(&mut self, source: IpAddr, used: f64, now: Instant) {
        let key = self.key(source, now);
        self.sources.insert(key, Level { used, at: now });
    }

    /// Under what a source is remembered: an IPv6 host has a network of its own to choose addresses from.
    fn key(&mut self, source: IpAddr, now: Instant) -> IpAddr {
        let key = match source.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                IpAddr::V6(network.into())
            }
            v4 => v4,
        };
        if self.sources.contains_key(&key) || self.sources.len() < MOST_SOURCES {
            return key;
        }
        let per_minute = f64::from(self.per_minute);
        self.sources
            .retain(|_, level| level.now(per_minute, now) > 0.0);
        match self.sources.len() < MOST_SOURCES {
            true => key,
            false => OTHERS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    /// Sixty at once, then one a second; what is asked in vain costs more.
    #[test]
    fn a_source_has_so_much_a_minute() {
        let start = Instant::now();
        let mut limits = Limits::new(60);
        let mut taken = |source, after: u64| {
            let now = start + Duration::from_millis(after);
            (0..100).filter(|_| limits.take(source, now)).count()
        };
        assert_eq!(
            [taken(ONE, 0), taken(ONE, 3500), taken(ONE, 3600)],
            [60, 3, 0]
        );
        assert_eq!(
            taken("192.0.2.2".parse().unwrap(), 0),
            60,
            "another has its own"
        );
        let (a, b) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        );
        assert_eq!([taken(a, 0), taken(b, 0)], [60, 0], "one network");
        let mut limits = Limits::new(60);
        limits.charge(ONE, 55, start);
        let left = (0..100).filter(|_| limits.take(ONE, start)).count();
        assert_eq!(left, 5);
    }

    /// However many sources there are, so many are remembered; the others together have what one has.
    #[test]
    fn the_number_of_sources_is_bounded() {
        let start = Instant::now();
        let mut limits = Limits::new(60);
        let source = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n));
        let taken = (0..20_000)
            .filter(|n| limits.take(source(*n), start))
            .count();
        assert_eq!(taken, MOST_SOURCES + 60);
        assert!(limits.sources.len() <= MOST_SOURCES + 1);
        assert!(limits.take(source(30_000), start + Duration::from_secs(60)));
        assert!(limits.sources.len() <= 2, "who is forgiven is forgotten");
    }
}
