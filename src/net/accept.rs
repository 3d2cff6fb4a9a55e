//! Connections that peers open to us.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{self, Ending};
use super::counters::HandshakeFailure;
use super::hub::{Hub, Place};
use super::mark;
use super::tls::TlsMaterial;
use crate::sip::{PeerCertificate, Source, Transport};

/// Connections that the system may hold until we come to accept them.
const BACKLOG: i32 = 1024;
/// After an error of `accept`, such as too many open files, which would else be repeated at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that it accepts are marked as it is.
pub(super) fn bind(address: SocketAddr, dscp: u8) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    mark(&socket, address, dscp)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What both ends of a connection want of the system: no waiting for more bytes, and word of peers that vanished.
pub(super) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10));
    SockRef::from(stream).set_tcp_keepalive(&probes.with_retries(3))
}

/// Accepts until the network stops.
pub(super) async fn accept(hub: Arc<Hub>, listener: TcpListener, tls: Option<Arc<TlsMaterial>>) {
    let mut stopping = hub.stopping();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                // Beyond the limits the connection is closed unheard.
                if let Some(place) = hub.admit(remote.ip()) {
                    hub.runtime
                        .spawn(serve(hub.clone(), place, stream, remote, tls.clone()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(
    hub: Arc<Hub>,
    _place: Place,
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<Arc<TlsMaterial>>,
) {
    let Ok(local) = stream
        .local_addr()
        .and_then(|local| tune(&stream).map(|()| local))
    else {
        return;
    };
    let Some(tls) = tls else {
        return carry(&hub, stream, Transport::Tcp, remote, local, None).await;
    };
    let mut stopping = hub.stopping();
    let shaken = tokio::select! {
        shaken = handshake(&hub, &tls, stream) => shaken,
        _ = stopping.wait_for(|stop| *stop) => return,
    };
    match shaken {
        Ok((stream, certificate)) => {
            carry(
                &hub,
                stream,
                Transport::Tls,
                remote,
                local,
                certificate.map(Arc::new),
            )
            .await;
        }
        Err(error) => {
            let why = HandshakeFailure::of(&error);
            hub.counters.accepting(why).add();
            match why {
                // The noise of any open port.
                HandshakeFailure::Protocol | HandshakeFailure::Timeout | HandshakeFailure::Io => {
                    tracing::debug!(%remote, reason = why.label(), %error, "TLS handshake failed");
                }
                _ => {
                    tracing::info!(%remote, reason = why.label(), %error, "TLS certificate refused")
                }
            }
        }
    }
}

/// All of it, and the wait for its turn, within the time that a handshake may take. A peer that says nothing takes
/// no turn from others.
async fn handshake(
    hub: &Hub,
    tls: &TlsMaterial,
    stream: TcpStream,
) -> io::Result<(TlsStream<TcpStream>, Option<PeerCertificate>)> {
    let shaking = async {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let _turn = hub.handshakes.acquire().await.map_err(io::Error::other)?;
        let material = tls.current();
        let stream = hello.into_stream(material.server.clone()).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let peer = chain
            .map(|chain| material.peer(chain))
            .transpose()
            .map_err(io::Error::other)?;
        Ok((stream, peer))
    };
    let shaken = timeout(hub.config.handshake_timeout, shaking).await;
    shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn carry<S: AsyncRead + AsyncWrite>(
    hub: &Arc<Hub>,
    stream: S,
    transport: Transport,
    remote: SocketAddr,
    local: SocketAddr,
    certificate: Option<Arc<PeerCertificate>>,
) {
    let (link, mut queue) = hub.new_link(certificate.as_ref().map(|c| c.realm));
    let source = Source {
        transport,
        flow: link.flow,
        remote,
        local,
        certificate,
    };
    hub.add(&link);
    hub.counters.accepted.add();
    let left = connection::run(stream, &source, None, &link, &mut queue, hub).await;
    hub.remove(link.flow);
    count(hub, &left.ending);
    tracing::debug!(%remote, %transport, ending = %left.ending, "connection of a peer ended");
    let reason = left.ending.to_string();
    left.unwritten
        .into_iter()
        .for_each(|outgoing| hub.fail(outgoing, reason.clone()));
}

pub(super) fn count(hub: &Hub, ending: &Ending) {
    match ending {
        Ending::Framing(_) => hub.counters.framing_errors.add(),
        Ending::Stalled => hub.counters.stalled.add(),
        Ending::Idle => hub.counters.idle.add(),
        Ending::Closed | Ending::Broken(_) | Ending::Replaced | Ending::Stopping => (),
    }
}
