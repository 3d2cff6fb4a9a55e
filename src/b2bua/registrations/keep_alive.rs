//! Keeping the way from a registrar to us open on UDP (RFC 5626 §4.4.1 has two empty lines for that; streams have them
//! from whoever owns the connection). One way serves all registrations at one address.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::sip::Flow;

/// What goes out.
pub(super) const PING: &[u8] = b"\r\n\r\n";

#[derive(Debug)]
struct Way {
    flow: Flow,
    every: Duration,
    /// When the last registration on it ends.
    until: Instant,
}

/// Every way that is kept open: at most one for each address.
#[derive(Debug, Default)]
pub(super) struct KeepAlives {
    ways: HashMap<SocketAddr, Way>,
    due: BTreeSet<(Instant, SocketAddr)>,
}

impl KeepAlives {
    /// A registration stands at this address until then.
    pub fn keep(
        &mut self,
        registrar: SocketAddr,
        flow: Flow,
        every: Duration,
        until: Instant,
        now: Instant,
    ) {
        let way = self.ways.entry(registrar).or_insert_with(|| {
            self.due.insert((now + every, registrar));
            Way { flow, every, until }
        });
        way.flow = flow;
        way.every = way.every.min(every);
        way.until = way.until.max(until);
    }

    /// When one is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next one that is due.
    pub fn pop(&mut self, now: Instant) -> Option<(Flow, SocketAddr)> {
        while let Some(&(at, registrar)) = self.due.first()
            && at <= now
        {
            self.due.pop_first();
            let Some(way) = self.ways.get_mut(&registrar) else {
                continue;
            };
            if way.until <= now {
                self.ways.remove(&registrar);
                continue;
            }
            self.due.insert((now + way.every, registrar));
            return Some((way.flow, registrar));
        }
        None
    }

    /// No way is kept open any longer.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand registrations at one address cost one datagram every 25 s, for as long as one of them lasts.
    #[test]
    fn one_way_serves_all() {
        let (start, mut ways) = (Instant::now(), KeepAlives::default());
        let registrar: SocketAddr = "198.51.100.1:5060".parse().unwrap();
        let s = Duration::from_secs;
        for n in 0..1000 {
            ways.keep(registrar, Flow(0), s(25), start + s(50 + n % 51), start);
        }
        let mut sent = Vec::new();
        while let Some(at) = ways.deadline() {
            if ways.pop(at).is_some() {
                sent.push((at - start).as_secs());
            }
            assert!(ways.pop(at).is_none());
        }
        assert_eq!(sent, [25, 50, 75]);
        assert!(ways.ways.is_empty());
    }
}
