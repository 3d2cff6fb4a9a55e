//! What all sockets share: which connections there are, which of them are ours to send requests on, how many there
//! may be, and the one queue of arrivals.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::inbox::Inbox;
use super::link::{Link, Outgoing, Unsent};
use super::tls::TlsMaterial;
use super::udp::Udp;
use super::{Config, Counters, Event, dial};
use crate::sip::{Flow, Realm, SendTo, Target, Transport};

pub(super) struct Hub {
    pub config: Config,
    pub counters: Counters,
    pub inbox: Inbox,
    pub tls: Option<Arc<TlsMaterial>>,
    pub handshakes: Semaphore,
    pub runtime: Handle,
    pub udp: Vec<Udp>,
    /// Where streams are listened on, by transport: connections of ours leave from there.
    pub listeners: Vec<(Transport, SocketAddr)>,
    stop: watch::Sender<bool>,
    flows: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    flows: HashMap<Flow, Arc<Link>>,
    /// Requests go to a target only on the connection that is here (TDR-140).
    own: HashMap<Target, Own>,
    /// Connections that we opened or are opening.
    ours: usize,
    /// Connections that peers opened.
    theirs: usize,
    sources: HashMap<IpAddr, usize>,
}

enum Own {
    /// Open or being opened.
    Link(Arc<Link>),
    /// Not tried again before a moment, after so many failures in a row; the text is the last one.
    Resting(Instant, u32, String),
}

/// One connection's place among those allowed; given back by being dropped.
pub(super) struct Place {
    hub: Arc<Hub>,
    source: Option<IpAddr>,
}

impl Place {
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.table().leave(self.source);
    }
}

impl Table {
    /// Drops what is remembered of targets that were left in peace long enough.
    fn forget_rested(&mut self, after: Duration) {
        let now = Instant::now();
        self.own
            .retain(|_, own| !matches!(own, Own::Resting(until, ..) if *until + after < now));
    }

    fn leave(&mut self, source: Option<IpAddr>) {
        let Some(source) = source else {
            self.ours -= 1;
            return;
        };
        self.theirs -= 1;
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }
}

impl Hub {
    pub fn new(
        config: Config,
        tls: Option<Arc<TlsMaterial>>,
        udp: Vec<Udp>,
        listeners: Vec<(Transport, SocketAddr)>,
        events: mpsc::Sender<Event>,
        runtime: Handle,
    ) -> Self {
        Self {
            handshakes: Semaphore::new(config.max_handshakes),
            counters: Counters::default(),
            inbox: Inbox::new(events),
            tls,
            runtime,
            listeners,
            stop: watch::Sender::new(false),
            flows: AtomicU64::new(udp.len() as u64 + 1),
            udp,
            table: Mutex::default(),
            config,
        }
    }

    /// Sends what must go to a flow or a target; never waits.
    pub fn send(self: &Arc<Self>, to: SendTo, outgoing: Outgoing) {
        match to {
            SendTo::Flow(flow, address) => match self.udp.iter().find(|udp| udp.flow == flow) {
                Some(udp) => self.send_datagram(udp, address, outgoing),
                None => self.send_back(flow, outgoing),
            },
            SendTo::Target(target) if target.transport == Transport::Udp => {
                match self
                    .udp
                    .iter()
                    .find(|udp| reaches(udp.local, target.address))
                {
                    Some(udp) => self.send_datagram(udp, target.address, outgoing),
                    None => self.fail(
                        outgoing,
                        format!("no UDP socket of ours reaches {}", target.address),
                    ),
                }
            }
            SendTo::Target(target) => self.send_out(&target, outgoing),
        }
    }

    fn send_datagram(self: &Arc<Self>, udp: &Udp, to: SocketAddr, outgoing: Outgoing) {
        match udp.send(outgoing.bytes(), to) {
            Ok(()) => self.counters.datagrams_sent.add(),
            // A full buffer loses a datagram like any other router on the way; SIP repeats it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.counters.datagrams_unsent.add()
            }
            Err(error) => {
                self.counters.datagrams_unsent.add();
                self.fail(outgoing, format!("UDP to {to}: {error}"));
            }
        }
    }

    /// On the connection that the request came on, and on no other.
    fn send_back(self: &Arc<Self>, flow: Flow, outgoing: Outgoing) {
        let link = self.table().flows.get(&flow).cloned();
        let pushed = match link {
            Some(link) => link.push(outgoing),
            None => Err(Unsent::Closed(outgoing)),
        };
        match pushed {
            Ok(()) => (),
            Err(Unsent::Full(outgoing)) => self.overfull(outgoing),
            Err(Unsent::Closed(outgoing)) => {
                self.fail(outgoing, "the connection is gone".to_owned())
            }
        }
    }

    /// On the connection of ours to this target, opened now if there is none.
    pub fn send_out(self: &Arc<Self>, target: &Target, outgoing: Outgoing) {
        let (mut outgoing, mut last) = (outgoing, false);
        loop {
            let link = match self.link_to(target) {
                Ok(link) => link,
                Err(reason) => return self.fail(outgoing, reason),
            };
            outgoing = match link.push(outgoing) {
                Ok(()) => return,
                Err(Unsent::Full(outgoing)) => return self.overfull(outgoing),
                Err(Unsent::Closed(outgoing)) if last => {
                    return self.fail(outgoing, "the connection is gone".to_owned());
                }
                Err(Unsent::Closed(outgoing)) => outgoing,
            };
            // It ended this very moment; its task has not come to say so yet.
            self.release(target, link.flow);
            last = true;
        }
    }

    fn link_to(self: &Arc<Self>, target: &Target) -> Result<Arc<Link>, String> {
        let mut table = self.table();
        let failures = match table.own.get(target) {
            Some(Own::Link(link)) => return Ok(link.clone()),
            Some(Own::Resting(until, _, reason)) if *until > Instant::now() => {
                self.counters.resting.add();
                return Err(format!("failed a moment ago: {reason}"));
            }
            Some(Own::Resting(_, failures, _)) => *failures,
            None => 0,
        };
        let limit = self.config.max_connections;
        if table.own.len() >= 2 * limit {
            table.forget_rested(self.config.back_off_limit);
        }
        if table.ours >= limit || table.own.len() >= 2 * limit {
            self.counters.refused_total.add();
            return Err("as many connections as allowed are open".to_owned());
        }
        let (link, queue) = self.new_link(Some(target.realm));
        table.ours += 1;
        table.own.insert(target.clone(), Own::Link(link.clone()));
        table.flows.insert(link.flow, link.clone());
        drop(table); // a runtime that is shutting down drops the task at once, and its place looks into the table
        let place = Place {
            hub: self.clone(),
            source: None,
        };
        self.runtime.spawn(dial::run(
            place,
            target.clone(),
            link.clone(),
            queue,
            failures,
        ));
        Ok(link)
    }

    /// A connection that a peer has opened, if there may be another.
    pub fn admit(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let mut table = self.table();
        if table.theirs >= self.config.max_connections {
            self.counters.refused_total.add();
            return None;
        }
        let count = table.sources.entry(source).or_default();
        if *count >= self.config.max_connections_per_source {
            self.counters.refused_source.add();
            return None;
        }
        *count += 1;
        table.theirs += 1;
        Some(Place {
            hub: self.clone(),
            source: Some(source),
        })
    }

    /// A link under a new flow number; responses find it once it is added.
    pub fn new_link(&self, realm: Option<Realm>) -> (Arc<Link>, mpsc::Receiver<Outgoing>) {
        let flow = Flow(self.flows.fetch_add(1, Ordering::Relaxed));
        let config = &self.config;
        let (link, queue) = Link::new(flow, realm, config.write_queue, config.write_queue_bytes);
        (Arc::new(link), queue)
    }

    pub fn add(&self, link: &Arc<Link>) {
        self.table().flows.insert(link.flow, link.clone());
    }

    pub fn remove(&self, flow: Flow) {
        self.table().flows.remove(&flow);
    }

    /// New requests to this target go elsewhere than on this connection.
    pub fn release(&self, target: &Target, flow: Flow) {
        let mut table = self.table();
        if matches!(table.own.get(target), Some(Own::Link(link)) if link.flow == flow) {
            table.own.remove(target);
        }
    }

    /// The target could not be reached; it is left in peace for a while.
    pub fn rest(&self, target: &Target, flow: Flow, failures: u32, reason: &str) {
        let doubled = self.config.back_off.saturating_mul(1 << failures.min(16));
        let until = Instant::now() + doubled.min(self.config.back_off_limit);
        let mut table = self.table();
        if matches!(table.own.get(target), Some(Own::Link(link)) if link.flow == flow) {
            table.own.insert(
                target.clone(),
                Own::Resting(until, failures + 1, reason.to_owned()),
            );
        }
    }

    /// New requests of this realm get new connections; the old ones, peers' too, end when nothing is expected on them
    /// any more.
    pub fn renew(&self, realm: Realm) {
        let mut table = self.table();
        for link in table.flows.values() {
            if link.realm == Some(realm) && !link.is_retired() {
                self.counters.renewed.add();
                link.retire();
            }
        }
        table.own.retain(|target, own| match own {
            Own::Link(_) if target.realm == realm => false,
            // What kept us from reaching it may have gone.
            Own::Resting(..) => target.realm != realm,
            Own::Link(..) => true,
        });
    }

    /// Open and half-open connections of both directions.
    pub fn connections(&self) -> usize {
        let table = self.table();
        table.ours + table.theirs
    }

    pub fn fail(self: &Arc<Self>, outgoing: Outgoing, reason: String) {
        if let Outgoing::Message { id, .. } = outgoing {
            self.report(Event::SendFailed { id, reason });
        }
    }

    fn overfull(self: &Arc<Self>, outgoing: Outgoing) {
        self.counters.queue_full.add();
        self.fail(outgoing, "the connection's queue is full".to_owned());
    }

    /// Tells the shard, which may be the very one that asks.
    pub fn report(&self, event: Event) {
        if !self.inbox.report(event, &self.runtime) {
            self.counters.reports_lost.add();
        }
    }

    /// Tells when the network stops; whoever holds it is waited for.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Stops everything and waits until it has stopped.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        self.stop.closed().await;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a socket bound to `local` can reach `remote`.
pub(super) fn reaches(local: SocketAddr, remote: SocketAddr) -> bool {
    let unspecific = local.ip().is_unspecified();
    local.is_ipv4() == remote.is_ipv4()
        && (unspecific || local.ip().is_loopback() == remote.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loopback socket does not reach the world, nor IPv4 IPv6.
    #[test]
    fn sockets_reach_their_own_kind() {
        let case =
            |local: &str, remote: &str| reaches(local.parse().unwrap(), remote.parse().unwrap());
        assert!(
            case("127.0.0.10:5060", "127.0.0.20:5060")
                && case("192.0.2.1:5060", "198.51.100.1:5060")
        );
        assert!(case("0.0.0.0:5060", "127.0.0.1:5060") && case("0.0.0.0:5060", "192.0.2.1:5060"));
        assert!(!case("127.0.0.1:5060", "192.0.2.1:5060") && !case("0.0.0.0:5060", "[::1]:5060"));
    }
}
