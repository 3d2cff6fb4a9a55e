//! Which of our ports are free for media: pairs of an even port for RTP and the next one for RTCP.
//!
//! A pair that comes back rests for a while, so that late packets of the old call do not reach a new one. Pairs are
//! handed out longest-rested first. When all that are left still rest, the one that came back first is taken: that is
//! better than to refuse a call. By then its sockets have been closed, what was waiting in them is gone, and a peer that
//! has not heard of the end yet is a stranger to the new leg, unless it is the same peer without SRTP.

use crate::base::Random;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The pairs of one address of ours. Clones share them.
#[derive(Debug, Clone)]
pub struct Ports(Arc<Mutex<Pool>>);

#[derive(Debug)]
struct Pool {
    free: VecDeque<u16>,
    /// Came back at no known time; it counts from the next look at the clock.
    returned: Vec<u16>,
    /// Resting, with the end of the rest; in the order of return.
    resting: VecDeque<(Instant, u16)>,
    cool_down: Duration,
    hurried: u64,
}

/// Two ports taken; dropping it gives them back.
#[derive(Debug)]
pub struct PortPair {
    rtp: u16,
    pool: Arc<Mutex<Pool>>,
}

impl Ports {
    /// All pairs that lie whole in the range, in random order, so that nobody outside can guess the next one.
    pub fn new(range: RangeInclusive<u16>, cool_down: Duration, random: &mut Random) -> Self {
        let (first, last) = (*range.start(), *range.end());
        let mut free: Vec<u16> = (first..last)
            .filter(|port| port.is_multiple_of(2) && *port != 0)
            .collect();
        for n in (1..free.len()).rev() {
            free.swap(n, random.u32() as usize % (n + 1));
        }
        let pool = Pool {
            free: free.into(),
            returned: Vec::new(),
            resting: VecDeque::new(),
            cool_down,
            hurried: 0,
        };
        Self(Arc::new(Mutex::new(pool)))
    }

    /// A pair that nobody has, the one that has rested longest; `None` if all are taken.
    pub fn take(&self, now: Instant) -> Option<PortPair> {
        let mut pool = lock(&self.0);
        pool.settle(now);
        let rtp = match pool.free.pop_front() {
            Some(rested) => rested,
            None => {
                let (_, first) = pool.resting.pop_front()?;
                pool.hurried += 1;
                first
            }
        };
        Some(PortPair {
            rtp,
            pool: self.0.clone(),
        })
    }

    /// How many pairs could be taken now.
    pub fn free(&self, now: Instant) -> usize {
        let mut pool = lock(&self.0);
        pool.settle(now);
        pool.free.len() + pool.resting.len()
    }

    /// How many pairs were taken before they had rested.
    pub fn hurried(&self) -> u64 {
        lock(&self.0).hurried
    }
}

impl Pool {
    fn settle(&mut self, now: Instant) {
        let rested = now + self.cool_down;
        self.resting
            .extend(self.returned.drain(..).map(|port| (rested, port)));
        while let Some((_, port)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.free.push_back(port);
        }
    }
}

impl PortPair {
    /// The even port.
    pub fn rtp(&self) -> u16 {
        self.rtp
    }

    /// The next one.
    pub fn rtcp(&self) -> u16 {
        self.rtp + 1
    }
}

impl Drop for PortPair {
    fn drop(&mut self) {
        lock(&self.pool).returned.push(self.rtp);
    }
}

/// Nothing that holds the lock can panic half-way, so what a panicking thread leaves is whole.
fn lock(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(range: RangeInclusive<u16>) -> Ports {
        Ports::new(range, Duration::from_secs(5), &mut Random::from_number(3))
    }

    /// Of 10001 to 10008 three pairs fit: 10002, 10004 and 10006; a fourth call gets none.
    #[test]
    fn pairs_start_even_and_lie_in_the_range() {
        let (ports, now) = (ports(10_001..=10_008), Instant::now());
        let taken: Vec<_> = std::iter::from_fn(|| ports.take(now)).collect();
        let mut numbers: Vec<_> = taken.iter().map(|pair| (pair.rtp(), pair.rtcp())).collect();
        numbers.sort();
        assert_eq!(
            numbers,
            [(10_002, 10_003), (10_004, 10_005), (10_006, 10_007)]
        );
    }

    /// A pair comes back by being dropped, and is taken again after all that have rested longer.
    #[test]
    fn a_dropped_pair_rests() {
        let (ports, start) = (ports(10_000..=10_005), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = ports.take(start).unwrap().rtp();
        assert_eq!((ports.free(at(1)), ports.hurried()), (3, 0));
        let others = [ports.take(at(1)).unwrap(), ports.take(at(1)).unwrap()];
        assert!(others.iter().all(|pair| pair.rtp() != first));
        assert_eq!(ports.take(at(6)).unwrap().rtp(), first);
        assert_eq!(ports.hurried(), 0, "five seconds were enough");
    }

    /// Two hundred ports carry a thousand short calls in a row, of which each holds four; the first to come back is the
    /// first to be taken, also while all rest. When all are taken, there is none.
    #[test]
    fn short_calls_do_not_use_up_the_ports() {
        let (ports, start) = (ports(20_000..=20_199), Instant::now());
        let mut last_used = std::collections::HashMap::new();
        for call in 0..1000u32 {
            let now = start + Duration::from_millis(110) * call;
            for pair in [ports.take(now).unwrap(), ports.take(now).unwrap()] {
                if let Some(before) = last_used.insert(pair.rtp(), call) {
                    assert_eq!(call - before, 50, "all the others came first");
                }
            }
        }
        assert_eq!(
            ports.hurried(),
            0,
            "fifty calls take longer than five seconds"
        );
        let now = start + Duration::from_secs(110);
        let all: Vec<_> = std::iter::from_fn(|| ports.take(now)).collect();
        assert_eq!((all.len(), ports.free(now)), (100, 0));
        assert!(ports.hurried() > 0);
        drop(all);
        assert_eq!(ports.free(now), 100);
    }

    /// The highest port of all does not overflow, and an empty range has nothing.
    #[test]
    fn edges_of_the_port_space() {
        assert_eq!(
            ports(65_534..=65_535)
                .take(Instant::now())
                .map(|pair| pair.rtcp()),
            Some(65_535)
        );
        assert!(ports(0..=1).take(Instant::now()).is_none());
        assert!(ports(10_000..=10_000).take(Instant::now()).is_none());
    }
}
