use super::{Customer, Directory, Trunk};
use dashmap::DashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use uuid::Uuid;

/// Counts the calls of customers and trunks against their limits. One for the whole system: every clone counts the
/// same calls, and it outlasts every snapshot. The limit is that of the snapshot in hand, so that a changed one holds
/// from the next call on; nobody is cut off by a lowered one.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    customers: Arc<DashMap<Uuid, Arc<Count>>>,
    trunks: Arc<DashMap<Uuid, Arc<Count>>>,
}

/// One call that a limit allows. It is taken when an INVITE is admitted, so that a ringing call counts, and comes back
/// by being dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the channel back"]
pub struct ChannelPermit(Arc<Count>);

/// What a limit has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls now, emergency calls too.
    pub in_use: u32,
    /// The most at once since the day began, see [`Ledger::begin_day`].
    pub peak: u32,
    /// Calls refused since the day began.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Count {
    in_use: AtomicU32,
    peak: AtomicU32,
    refused: AtomicU64,
}

impl Ledger {
    /// A channel of the customer, or none if all are busy, which is counted.
    pub fn take(&self, customer: &Customer) -> Option<ChannelPermit> {
        take(&self.customers, customer.id, customer.max_channels)
    }

    /// A channel of the trunk, by its own limit.
    pub fn take_trunk(&self, trunk: &Trunk) -> Option<ChannelPermit> {
        take(
            &self.trunks,
            trunk.id,
            trunk.cac_max_sessions.unwrap_or(u32::MAX),
        )
    }

    /// A channel for an emergency call: never refused (TDR-1007), but it counts against those that follow.
    pub fn exempt(&self, customer: &Customer) -> ChannelPermit {
        exempt(&self.customers, customer.id)
    }

    /// A trunk's channel for an emergency call.
    pub fn exempt_trunk(&self, trunk: &Trunk) -> ChannelPermit {
        exempt(&self.trunks, trunk.id)
    }

    /// What a customer uses.
    pub fn usage(&self, customer: Uuid) -> Usage {
        self.customers
            .get(&customer)
            .map_or(Usage::default(), |count| count.usage())
    }

    /// Customers that have had a call, or a refused one, in no order.
    pub fn customers(&self) -> Vec<Uuid> {
        self.customers.iter().map(|entry| *entry.key()).collect()
    }

    /// What a trunk carries.
    pub fn trunk_usage(&self, trunk: Uuid) -> Usage {
        self.trunks
            .get(&trunk)
            .map_or(Usage::default(), |count| count.usage())
    }

    /// Starts peaks and refusals anew; calls in progress go on counting.
    pub fn begin_day(&self) {
        for count in self.customers.iter().chain(self.trunks.iter()) {
            count.refused.store(0, Ordering::Relaxed);
            count
                .peak
                .store(count.in_use.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Forgets customers and trunks that are in the directory no more and have no calls left.
    pub fn forget_strangers(&self, directory: &Directory) {
        self.customers
            .retain(|id, count| directory.customer(*id).is_some() || count.is_held());
        self.trunks
            .retain(|id, count| directory.trunk(*id).is_some() || count.is_held());
    }
}

fn count(counts: &DashMap<Uuid, Arc<Count>>, id: Uuid) -> Arc<Count> {
    if let Some(count) = counts.get(&id) {
        return count.clone();
    }
    counts.entry(id).or_default().clone()
}

fn take(counts: &DashMap<Uuid, Arc<Count>>, id: Uuid, limit: u32) -> Option<ChannelPermit> {
    let count = count(counts, id);
    // Compare and swap: two takers of the last channel cannot both have it.
    let taken = count
        .in_use
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
            (n < limit).then(|| n.saturating_add(1))
        });
    match taken {
        Ok(before) => Some(permit(count, before)),
        Err(_) => {
            count.refused.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

fn exempt(counts: &DashMap<Uuid, Arc<Count>>, id: Uuid) -> ChannelPermit {
    let count = count(counts, id);
    let before = count.in_use.fetch_add(1, Ordering::AcqRel);
    permit(count, before)
}

fn permit(count: Arc<Count>, before: u32) -> ChannelPermit {
    count
        .peak
        .fetch_max(before.saturating_add(1), Ordering::Relaxed);
    ChannelPermit(count)
}

impl Count {
    fn usage(&self) -> Usage {
        Usage {
            in_use: self.in_use.load(Ordering::Acquire),
            peak: self.peak.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Whether a permit, or somebody about to take one, holds it besides the table.
    fn is_held(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }
}

impl Drop for ChannelPermit {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{self, customer, trunk};
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn limited(max_channels: u32) -> Customer {
        Customer {
            max_channels,
            ..customer("acme")
        }
    }

    #[test]
    fn the_limit_holds_and_a_dropped_permit_frees_a_channel() {
        let (ledger, acme) = (Ledger::default(), limited(2));
        let first = ledger.take(&acme).unwrap();
        let second = ledger.take(&acme).unwrap();
        assert!(ledger.take(&acme).is_none());
        drop(first);
        let third = ledger.take(&acme);
        assert!(third.is_some());
        assert_eq!(
            ledger.usage(acme.id),
            Usage {
                in_use: 2,
                peak: 2,
                refused: 1
            }
        );
        drop((second, third));
        assert_eq!(
            ledger.usage(acme.id),
            Usage {
                in_use: 0,
                peak: 2,
                refused: 1
            }
        );
    }

    /// A raised limit admits at once; a lowered one cuts nobody off and refuses until there are fewer.
    #[test]
    fn a_changed_limit_holds_from_the_next_call_on() {
        let ledger = Ledger::default();
        let mut acme = limited(1);
        let mut calls = vec![ledger.take(&acme).unwrap()];
        assert!(ledger.take(&acme).is_none());
        acme.max_channels = 3;
        calls.extend([ledger.take(&acme).unwrap(), ledger.take(&acme).unwrap()]);
        acme.max_channels = 1;
        assert!(ledger.take(&acme).is_none());
        assert_eq!(ledger.usage(acme.id).in_use, 3);
        calls.truncate(1);
        assert!(ledger.take(&acme).is_none());
        calls.clear();
        assert!(ledger.take(&acme).is_some());
    }

    /// TDR-1007: an emergency call passes a full limit, of 0 even, and counts.
    #[test]
    fn an_emergency_call_is_never_refused_but_counts() {
        let (ledger, none, one) = (Ledger::default(), limited(0), limited(1));
        assert!(ledger.take(&none).is_none());
        let emergency = ledger.exempt(&none);
        assert_eq!(ledger.usage(none.id).in_use, 1);
        assert!(
            ledger.take(&one).is_none(),
            "the same customer, with one channel by now"
        );
        drop(emergency);
        assert!(ledger.take(&one).is_some());
    }

    #[test]
    fn a_trunk_counts_for_itself() {
        let ledger = Ledger::default();
        let narrow = Trunk {
            cac_max_sessions: Some(1),
            ..trunk("narrow", None)
        };
        let open = Trunk {
            cac_max_sessions: None,
            ..trunk("open", None)
        };
        let call = ledger.take_trunk(&narrow).unwrap();
        assert!(ledger.take_trunk(&narrow).is_none());
        let many: Vec<_> = (0..1000)
            .map(|_| ledger.take_trunk(&open).unwrap())
            .collect();
        assert_eq!(
            (
                ledger.trunk_usage(narrow.id).in_use,
                ledger.trunk_usage(open.id).in_use
            ),
            (1, 1000)
        );
        drop((call, many));
        assert_eq!(
            ledger.trunk_usage(open.id),
            Usage {
                in_use: 0,
                peak: 1000,
                refused: 0
            }
        );
    }

    /// Eight threads fight for three channels, 80,000 times: never more than three are out, none is lost.
    #[test]
    fn the_limit_is_exact_under_contention() {
        let (ledger, acme) = (Ledger::default(), limited(3));
        let (out, exceeded) = (AtomicU32::new(0), AtomicBool::new(false));
        let refused: u64 = std::thread::scope(|scope| {
            let work = || {
                let mut refused = 0;
                for _ in 0..10_000 {
                    let Some(permit) = ledger.take(&acme) else {
                        refused += 1;
                        continue;
                    };
                    if out.fetch_add(1, Ordering::SeqCst) >= 3 {
                        exceeded.store(true, Ordering::SeqCst);
                    }
                    std::hint::spin_loop();
                    out.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
                refused
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert!(!exceeded.into_inner());
        let usage = ledger.usage(acme.id);
        assert_eq!((usage.in_use, usage.refused), (0, refused));
        assert!((1..=3).contains(&usage.peak));
    }

    #[test]
    fn a_new_day_forgets_the_peak_but_no_call() {
        let (ledger, acme) = (Ledger::default(), limited(2));
        let call = ledger.take(&acme).unwrap();
        drop(ledger.take(&acme));
        ledger.begin_day();
        assert_eq!(
            ledger.usage(acme.id),
            Usage {
                in_use: 1,
                peak: 1,
                refused: 0
            }
        );
        drop(call);
    }

    #[test]
    fn strangers_are_forgotten_when_their_last_call_ends() {
        let (ledger, acme) = (Ledger::default(), limited(2));
        let call = ledger.take(&acme).unwrap();
        let nobody = Directory::default();
        ledger.forget_strangers(&nobody);
        assert_eq!(ledger.usage(acme.id).in_use, 1);
        drop(call);
        ledger.forget_strangers(&nobody);
        assert_eq!(ledger.usage(acme.id), Usage::default());

        let known = examples::directory(Vec::new());
        let known_customer = known.customers().next().unwrap();
        drop(ledger.take(known_customer));
        ledger.forget_strangers(&known);
        assert_eq!(ledger.usage(known_customer.id).peak, 1);
    }
}
