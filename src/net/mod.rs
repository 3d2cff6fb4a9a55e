//! Sockets, TLS, DNS and relay threads.
//!
//! [`start`] opens the sockets and returns a [`Network`] to send by and one queue on which everything arrives.
//! Nothing here understands a SIP message beyond where it ends.
//!
//! - A UDP socket has one task that reads it; sending goes straight to the system.
//! - A TCP or TLS connection has one task, which reads, writes and watches its clock. Writers put messages into its
//!   bounded queue; several waiting messages go out in one write.
//! - A request leaves only on a connection that we opened to its target, a response only on the flow that its request
//!   came on (TDR-140, TDR-141). Connections of ours are renewed at least hourly, and when certificates change
//!   (TDR-131, TDR-145).
//! - When the shard does not keep up, connections are not read and datagrams are dropped. When a peer does not keep
//!   up, what it should read is refused and its connection closed.

mod accept;
mod config;
mod connection;
mod counters;
mod dial;
mod dns;
mod hub;
mod inbox;
mod link;
mod tls;
mod udp;
mod verify;

pub mod clock;
pub mod dev_certificates;
pub mod https;
pub mod probe;
pub mod relay;
pub mod zone;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use socket2::Socket;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::sip::{Flow, Hop, Realm, ResolveId, SendId, SendTo, Source, Target, Transport};
use dns::Dns;
use hub::Hub;
use link::Outgoing;
use udp::Udp;

pub use config::{Config, DnsConfig};
pub use counters::{Counter, Counters, HandshakeFailure};
pub use tls::{
    CertificateFacts, ChainEnd, ClientCertificates, Identity, Key, KnownRoots, TlsConfig, TlsError,
    TlsErrors, TlsMaterial,
};

/// What the network tells the shard.
#[derive(Debug)]
pub enum Event {
    /// A datagram, or one whole message of a stream.
    Received {
        /// As it came.
        bytes: Bytes,
        /// Where it came from.
        source: Source,
    },
    /// A message was not sent, or its connection ended before the peer had said anything on it.
    SendFailed {
        /// Which message.
        id: SendId,
        /// A sentence for the log.
        reason: String,
    },
    /// Answers [`Network::resolve`].
    Resolved {
        /// Which question.
        id: ResolveId,
        /// At least one target in the order of trial, or a sentence for the log.
        targets: Result<Vec<Target>, String>,
    },
}

/// Why the network could not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// An address cannot be listened on.
    #[error("cannot listen on {transport} {address}: {error}")]
    Listen {
        /// What was to be listened for.
        transport: Transport,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A TLS listener without a certificate.
    #[error("a TLS listener needs a certificate")]
    NoCertificate,
    /// A limit that must not be 0.
    #[error("`{0}` must not be 0")]
    Zero(&'static str),
}

/// What is really listened on, in the order of the configuration; port 0 has become the one that the system chose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    /// UDP sockets.
    pub udp: Vec<SocketAddr>,
    /// TCP listeners.
    pub tcp: Vec<SocketAddr>,
    /// TLS listeners.
    pub tls: Vec<SocketAddr>,
}

/// Marks what leaves a socket to or at this address with a differentiated services code point.
fn mark(socket: &Socket, address: SocketAddr, dscp: u8) -> io::Result<()> {
    let traffic_class = u32::from(dscp) << 2;
    match address {
        SocketAddr::V4(_) => socket.set_tos_v4(traffic_class),
        SocketAddr::V6(_) => socket.set_tclass_v6(traffic_class),
    }
}

/// The way out, and the switch. Clones are the same network; it runs until [`Network::close`].
#[derive(Clone)]
pub struct Network {
    hub: Arc<Hub>,
    dns: Arc<Dns>,
    addresses: Addresses,
}

/// Opens all sockets and begins to read them. Must be called on a tokio runtime, which then runs it all.
///
/// `tls` may be missing where no TLS is listened for; TLS targets then fail.
pub fn start(
    config: Config,
    tls: Option<Arc<TlsMaterial>>,
) -> Result<(Network, mpsc::Receiver<Event>), NetError> {
    check(&config, tls.is_some())?;
    let (mut udp, mut streams, mut addresses) = (Vec::new(), Vec::new(), Addresses::default());
    for (address, flow) in config.udp.iter().zip(1..) {
        let bound = Udp::bind(*address, config.dscp, Flow(flow));
        udp.push(bound.map_err(cannot_listen(Transport::Udp, *address))?);
    }
    addresses.udp = udp.iter().map(|udp| udp.local).collect();
    for (transport, wanted, got) in [
        (Transport::Tcp, &config.tcp, &mut addresses.tcp),
        (Transport::Tls, &config.tls, &mut addresses.tls),
    ] {
        for address in wanted {
            let bound = accept::bind(*address, config.dscp)
                .and_then(|bound| Ok((bound.local_addr()?, bound)));
            let (local, listener) = bound.map_err(cannot_listen(transport, *address))?;
            got.push(local);
            streams.push((transport, local, listener));
        }
    }
    let (events, arrivals) = mpsc::channel(config.queue);
    let dns = Arc::new(Dns::new(config.dns.clone()));
    let runtime = Handle::current();
    let locals = streams
        .iter()
        .map(|(transport, local, _)| (*transport, *local))
        .collect();
    let hub = Arc::new(Hub::new(
        config,
        tls.clone(),
        udp,
        locals,
        events,
        runtime.clone(),
    ));
    for udp in &hub.udp {
        let reader = udp
            .reader()
            .map_err(cannot_listen(Transport::Udp, udp.local))?;
        runtime.spawn(udp::receive(hub.clone(), reader, udp.flow, udp.local));
    }
    for (transport, _, listener) in streams {
        let tls = tls.clone().filter(|_| transport == Transport::Tls);
        runtime.spawn(accept::accept(hub.clone(), listener, tls));
    }
    let network = Network {
        hub,
        dns,
        addresses,
    };
    if let Some(tls) = tls {
        runtime.spawn(watch(network.clone(), tls));
    }
    Ok((network, arrivals))
}

impl Network {
    /// Sends a message; never waits. That it failed is told by [`Event::SendFailed`]; that it arrived nobody can tell.
    pub fn send(&self, to: SendTo, bytes: Bytes, id: SendId) {
        self.hub.send(
            to,
            Outgoing::Message {
                id,
                bytes,
                again: false,
            },
        );
    }

    /// Finds the targets of a hop; the answer is an [`Event::Resolved`].
    pub fn resolve(&self, id: ResolveId, hop: Hop) {
        let (hub, dns) = (self.hub.clone(), self.dns.clone());
        if let Some(target) = crate::sip::locate::literal(&hop) {
            return self.hub.report(Event::Resolved {
                id,
                targets: Ok(vec![target]),
            });
        }
        self.hub.runtime.spawn(async move {
            let targets = dns.resolve(hop).await;
            match &targets {
                Ok(_) => hub.counters.resolved.add(),
                Err(_) => hub.counters.unresolved.add(),
            }
            hub.report(Event::Resolved { id, targets });
        });
    }

    /// Gives new requests of this realm new connections. The old ones, those that peers opened too, stay until nothing
    /// is expected on them any more; then they are closed.
    pub fn renew(&self, realm: Realm) {
        self.hub.renew(realm);
    }

    /// Reads certificates, keys and roots again, and renews all connections over TLS (TDR-131). If anything is wrong with the
    /// files, what was in use stays.
    pub fn reload(&self) -> Result<(), TlsErrors> {
        let Some(tls) = &self.hub.tls else {
            return Ok(());
        };
        tls.reload()
            .inspect_err(|_| self.hub.counters.reloads_refused.add())?;
        self.hub.counters.reloads.add();
        self.renew(Realm::Teams);
        self.renew(Realm::Trunk);
        Ok(())
    }

    /// What is listened on.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What has been done and refused.
    pub fn counters(&self) -> &Counters {
        &self.hub.counters
    }

    /// Open and half-open connections of both directions.
    pub fn connections(&self) -> usize {
        self.hub.connections()
    }

    /// How many arrivals wait for the shard.
    pub fn waiting(&self) -> usize {
        self.hub.inbox.waiting()
    }

    /// The certificates in use.
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        self.hub
            .tls
            .as_ref()
            .map(|tls| tls.certificates())
            .unwrap_or_default()
    }

    /// Stops listening, writes what is queued, closes every connection; returns when all of it is done, which takes
    /// a few seconds at most.
    pub async fn close(&self) {
        self.hub.stop().await;
    }
}

fn check(config: &Config, has_certificate: bool) -> Result<(), NetError> {
    let limits = [
        ("queue", config.queue),
        ("max_connections", config.max_connections),
        (
            "max_connections_per_source",
            config.max_connections_per_source,
        ),
        ("max_handshakes", config.max_handshakes),
        ("write_queue", config.write_queue),
        ("write_queue_bytes", config.write_queue_bytes),
        ("dns.concurrent", config.dns.concurrent),
        ("dns.waiting", config.dns.waiting),
    ];
    if let Some((name, _)) = limits.into_iter().find(|(_, limit)| *limit == 0) {
        return Err(NetError::Zero(name));
    }
    if !config.tls.is_empty() && !has_certificate {
        return Err(NetError::NoCertificate);
    }
    Ok(())
}

fn cannot_listen(transport: Transport, address: SocketAddr) -> impl FnOnce(io::Error) -> NetError {
    move |error| NetError::Listen {
        transport,
        address,
        error,
    }
}

/// Takes changed certificates, keys and roots into use until the network stops (TDR-131).
async fn watch(network: Network, tls: Arc<TlsMaterial>) {
    let mut stopping = network.hub.stopping();
    loop {
        tokio::select! {
            () = tokio::time::sleep(network.hub.config.reload_poll) => (),
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        if !tls.is_stale() {
            continue;
        }
        match network.reload() {
            Ok(()) => tracing::info!("new certificates are in use"),
            Err(errors) => {
                tracing::error!(%errors, "changed certificates were refused, the old ones stay")
            }
        }
    }
}
