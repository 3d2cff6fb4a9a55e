//! Connections that we open.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Event;
use super::accept::{count, tune};
use super::connection::{self, Ending, Left};
use super::counters::HandshakeFailure;
use super::hub::{Hub, Place, reaches};
use super::link::{Link, Outgoing};
use super::mark;
use super::verify::dns_names;
use crate::sip::{PeerCertificate, Source, Target, Transport};

/// A connection that ends sooner, without a word from the peer, was no connection.
const TOO_YOUNG: Duration = Duration::from_secs(5);

/// Opens a connection to `target`, carries what is in its queue, and sees to what is left when it ends.
pub(super) async fn run(
    place: Place,
    target: Target,
    link: Arc<Link>,
    mut queue: mpsc::Receiver<Outgoing>,
    failures: u32,
) {
    let hub = place.hub();
    let left = carry(hub, &target, &link, &mut queue).await;
    hub.remove(link.flow);
    let (reason, left) = match left {
        Err(error) => {
            hub.counters.open_failures.add();
            (error.to_string(), drain(&mut queue))
        }
        Ok(left) => {
            count(hub, &left.ending);
            (left.ending.to_string(), left)
        }
    };
    let reason = format!("{} to {}: {reason}", target.transport, target.address);
    let refused = matches!(left.ending, Ending::Closed | Ending::Broken(_)) && !link.has_heard();
    if refused && link.age() < TOO_YOUNG {
        tracing::warn!(name = target.name, %reason, "no connection");
        hub.rest(&target, link.flow, failures, &reason);
    } else {
        tracing::debug!(name = target.name, %reason, "connection of ours ended");
        hub.release(&target, link.flow);
    }
    if refused {
        left.unheard.into_iter().for_each(|id| {
            hub.report(Event::SendFailed {
                id,
                reason: reason.clone(),
            })
        });
    }
    let stopping = matches!(left.ending, Ending::Stopping);
    for outgoing in left.unwritten {
        match outgoing {
            // The peer closed just when we had something to say: once more, on a new connection.
            Outgoing::Message {
                id,
                bytes,
                again: false,
            } if !refused && !stopping => {
                hub.send_out(
                    &target,
                    Outgoing::Message {
                        id,
                        bytes,
                        again: true,
                    },
                );
            }
            outgoing => hub.fail(outgoing, reason.clone()),
        }
    }
}

/// What is left when there never was a connection.
fn drain(queue: &mut mpsc::Receiver<Outgoing>) -> Left {
    queue.close();
    let unwritten = std::iter::from_fn(|| queue.try_recv().ok()).collect();
    Left {
        ending: Ending::Closed,
        unwritten,
        unheard: Vec::new(),
    }
}

async fn carry(
    hub: &Arc<Hub>,
    target: &Target,
    link: &Link,
    queue: &mut mpsc::Receiver<Outgoing>,
) -> io::Result<Left> {
    let mut stopping = hub.stopping();
    let (stream, local) = tokio::select! {
        stream = connect(hub, target) => stream?,
        _ = stopping.wait_for(|stop| *stop) => return Err(io::ErrorKind::Interrupted.into()),
    };
    let source = |certificate| Source {
        transport: target.transport,
        flow: link.flow,
        remote: target.address,
        local,
        certificate,
    };
    if target.transport != Transport::Tls {
        hub.counters.opened.add();
        return Ok(connection::run(stream, &source(None), Some(target), link, queue, hub).await);
    }
    let (stream, certificate) = handshake(hub, target, stream).await.inspect_err(|error| {
        hub.counters.opening(HandshakeFailure::of(error)).add();
    })?;
    hub.counters.opened.add();
    let source = source(Some(Arc::new(certificate)));
    Ok(connection::run(stream, &source, Some(target), link, queue, hub).await)
}

/// From the address that peers know us by, where a listener has one that can reach the target.
async fn connect(hub: &Hub, target: &Target) -> io::Result<(TcpStream, SocketAddr)> {
    let socket = match target.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    mark(&SockRef::from(&socket), target.address, hub.config.dscp)?;
    let specific = hub.listeners.iter().find(|(transport, local)| {
        *transport == target.transport
            && !local.ip().is_unspecified()
            && reaches(*local, target.address)
    });
    if let Some((_, local)) = specific {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    let stream = in_time(hub, socket.connect(target.address)).await?;
    tune(&stream)?;
    let local = stream.local_addr()?;
    Ok((stream, local))
}

async fn handshake(
    hub: &Hub,
    target: &Target,
    stream: TcpStream,
) -> io::Result<(TlsStream<TcpStream>, PeerCertificate)> {
    let tls = hub
        .tls
        .as_ref()
        .ok_or_else(|| io::Error::other("TLS is not configured"))?;
    let name = ServerName::try_from(target.name.clone()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(tls.current().client(target.realm));
    let stream = in_time(hub, connector.connect(name, stream)).await?;
    let leaf = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first());
    let names = leaf.map(dns_names).unwrap_or_default();
    Ok((
        stream,
        PeerCertificate {
            realm: target.realm,
            names,
        },
    ))
}

async fn in_time<T>(hub: &Hub, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(hub.config.connect_timeout, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
