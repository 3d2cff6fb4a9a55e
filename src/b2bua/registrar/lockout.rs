//! Who guesses passwords is not listened to for a while: a count of wrong credentials for each source and each name, in
//! tables of bounded size.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// So long wrong credentials are remembered, and so long a lock holds.
const WINDOW: Duration = Duration::from_secs(300);
/// Keys that are remembered at once; one more, and the oldest is forgotten.
const MOST: usize = 10_000;

/// Wrong credentials by one kind of key.
#[derive(Debug)]
pub(super) struct Lockout<K> {
    /// So many lock the key.
    limit: u32,
    counts: HashMap<K, Count>,
    /// In the order in which they are forgotten.
    order: VecDeque<(Instant, K)>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Instant,
    wrong: u32,
}

impl<K: Hash + Eq + Clone> Lockout<K> {
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            counts: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub fn is_locked(&self, key: &K, now: Instant) -> bool {
        let count = self.counts.get(key);
        count.is_some_and(|count| count.wrong >= self.limit && now < count.since + WINDOW)
    }

    /// Counts one more; whether that locks the key, for as long as it would be remembered from now on.
    pub fn wrong(&mut self, key: &K, now: Instant) -> bool {
        self.forget(now);
        let count = self.counts.entry(key.clone()).or_insert_with(|| {
            self.order.push_back((now, key.clone()));
            Count {
                since: now,
                wrong: 0,
            }
        });
        count.wrong = count.wrong.saturating_add(1);
        let locks = count.wrong == self.limit;
        if locks {
            count.since = now;
            self.order.push_back((now, key.clone()));
        }
        locks
    }

    /// The right credentials: what was wrong before was a mistake.
    pub fn right(&mut self, key: &K) {
        self.counts.remove(key);
    }

    fn forget(&mut self, now: Instant) {
        while let Some((since, key)) = self.order.front() {
            if *since + WINDOW > now && self.order.len() < MOST {
                break;
            }
            if self.counts.get(key).is_some_and(|c| c.since == *since) {
                self.counts.remove(key);
            }
            self.order.pop_front();
        }
    }
}

/// Whose address this is, as far as locks go: of IPv6 the network that one subscriber has.
pub(super) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The third wrong try locks, for five minutes from then on; the right one before forgives.
    #[test]
    fn three_tries() {
        let (start, mut lockout) = (Instant::now(), Lockout::new(3));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!lockout.wrong(&"a", at(0)) && !lockout.wrong(&"a", at(1)));
        lockout.right(&"a");
        assert!(!lockout.wrong(&"a", at(2)) && !lockout.wrong(&"a", at(100)));
        assert!(!lockout.is_locked(&"a", at(100)));
        assert!(lockout.wrong(&"a", at(200)), "this one locks");
        assert!(!lockout.wrong(&"a", at(201)), "that is told once");
        assert!(lockout.is_locked(&"a", at(499)) && !lockout.is_locked(&"b", at(499)));
        assert!(!lockout.is_locked(&"a", at(500)));
        assert!(!lockout.wrong(&"a", at(501)), "it begins anew");
    }

    /// However many sources guess, the table stays as large as it may be.
    #[test]
    fn the_table_is_bounded() {
        let (now, mut lockout) = (Instant::now(), Lockout::new(1));
        for key in 0..MOST as u32 * 3 {
            assert!(lockout.wrong(&key, now));
        }
        assert!(lockout.counts.len() <= MOST && lockout.order.len() <= MOST + 1);
        assert!(lockout.is_locked(&(MOST as u32 * 3 - 1), now));
    }

    #[test]
    fn one_subscriber_has_a_network() {
        let one = |text: &str| subscriber(text.parse().unwrap());
        assert_eq!(one("2001:db8:1:2::1"), one("2001:db8:1:2:ff::9"));
        assert_ne!(one("2001:db8:1:2::1"), one("2001:db8:1:3::1"));
        assert_eq!(one("::ffff:192.0.2.1"), one("192.0.2.1"));
        assert_ne!(one("192.0.2.1"), one("192.0.2.2"));
    }
}
