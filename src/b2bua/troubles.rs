//! What is wrong now with those that calls go to and come from, for whoever watches over them.

use std::time::Instant;

use time::OffsetDateTime;
use uuid::Uuid;

use super::Calls;
use super::watch::Down;

/// What is wrong now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Trunks that do not answer, in the order of their ids.
    pub trunks: Part<DownPeer>,
    /// Proxies of Teams that do not answer, region by region.
    pub proxies: Part<DownPeer>,
    /// Trunks that are to be registered and are not, in the order of their ids.
    pub unregistered: Part<Uuid>,
    /// Customers whose users are not registered at their exchanges, in the order of their ids.
    pub registrations: Part<FailingRegistrations>,
}

/// The first of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<T> {
    /// The first.
    pub items: Vec<T>,
    /// How many there are besides.
    pub left_out: usize,
}

/// A peer that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownPeer {
    /// Whose it is.
    pub of: PeerOf,
    /// What metrics call it.
    pub name: String,
    /// Why it cannot take calls.
    pub why: String,
    /// Since when.
    pub since: OffsetDateTime,
}

/// Whose a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerOf {
    /// That of the trunk of this id.
    Trunk(Uuid),
    /// A proxy of Teams, asked in the name of a region's base FQDN.
    Region(String),
}

/// Registrations of one customer that fail, or have expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailingRegistrations {
    /// Whose.
    pub customer: Uuid,
    /// How many.
    pub count: u32,
}

/// Nothing.
impl<T> Default for Part<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            left_out: 0,
        }
    }
}

impl<T> Part<T> {
    fn of<I: Iterator>(mut all: I, most: usize, shown: impl Fn(I::Item) -> T) -> Self {
        let items = all.by_ref().take(most).map(shown).collect();
        Self {
            items,
            left_out: all.count(),
        }
    }
}

impl Calls {
    /// What is wrong now, of each kind the first `most`. It costs what is wrong, not what is there.
    pub fn troubles(&self, most: usize) -> Troubles {
        let (watch, failing) = (&self.core.watch, self.registrations.failing());
        let shown = |(of, name, why, since): (PeerOf, &str, &Down, Instant)| DownPeer {
            of,
            name: name.to_owned(),
            why: why.to_string(),
            since: self.core.wall_at(since),
        };
        let is_trunk = |of: &PeerOf| matches!(of, PeerOf::Trunk(_));
        let trunks = watch.down().filter(|(of, ..)| is_trunk(of));
        let proxies = watch.down().filter(|(of, ..)| !is_trunk(of));
        Troubles {
            trunks: Part::of(trunks, most, shown),
            proxies: Part::of(proxies, most, shown),
            unregistered: Part::of(failing.trunks(), most, |id| id),
            registrations: Part::of(failing.customers(), most, |(customer, count)| {
                FailingRegistrations { customer, count }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is cut off is counted, and nothing is if there is no more.
    #[test]
    fn the_rest_is_counted() {
        let part = Part::of(1..=5, 2, |n| n * 10);
        assert_eq!((part.items, part.left_out), (vec![10, 20], 3));
        let part = Part::of(1..=2, 2, |n| n);
        assert_eq!((part.items, part.left_out), (vec![1, 2], 0));
    }
}
