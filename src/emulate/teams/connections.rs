//! The connections of Teams: those that the SBC opens to a proxy, and those that Teams opens.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::lock;
use crate::emulate::call::CallError;
use crate::emulate::message::host_of;
use crate::emulate::tls;
use crate::emulate::wire::{About, Sink, Wire, serve_stream};

/// Connections at once, over both directions.
const MAX_CONNECTIONS: usize = 512;
/// Handshakes and connection set-ups may take this long.
const CONNECTING: Duration = Duration::from_secs(4);
/// With TLS 1.3 a client hears only after its handshake that its certificate was refused; this long is listened for it.
const REFUSING: Duration = Duration::from_secs(2);

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// Its address.
    pub peer: SocketAddr,
    /// The DNS names of its certificate, in lower case.
    pub names: Vec<String>,
}

impl Met {
    pub(super) fn on(wire: &Wire) -> Option<Self> {
        wire.about().map(|about| Self {
            peer: about.ends.1,
            names: about.names.clone(),
        })
    }
}

/// The connections that Teams opens: two to each name, used in turn, so that requests of one call come on either (TDR-142).
pub(super) struct Dialler {
    client: Arc<ClientConfig>,
    sbc: Mutex<SocketAddr>,
    source: Mutex<Option<IpAddr>>,
    idle: Duration,
    sink: Sink,
    closed: watch::Receiver<()>,
    pool: tokio::sync::Mutex<HashMap<(String, u16, u64), Wire>>,
    turn: AtomicU64,
}

impl Dialler {
    /// Nothing is dialled yet.
    pub(super) fn new(
        client: Arc<ClientConfig>,
        sbc: SocketAddr,
        idle: Duration,
        sink: Sink,
        closed: watch::Receiver<()>,
    ) -> Self {
        Self {
            client,
            sbc: Mutex::new(sbc),
            source: Mutex::default(),
            idle,
            sink,
            closed,
            pool: tokio::sync::Mutex::default(),
            turn: AtomicU64::new(0),
        }
    }

    /// Where every name leads.
    pub(super) fn sbc(&self) -> SocketAddr {
        *lock(&self.sbc)
    }

    pub(super) fn aim(&self, sbc: SocketAddr) {
        *lock(&self.sbc) = sbc;
    }

    pub(super) fn dial_from(&self, source: Option<IpAddr>) {
        *lock(&self.source) = source;
    }

    /// A way to the host of `uri`.
    pub(super) async fn connect(&self, uri: &str) -> io::Result<Wire> {
        let (host, port) = host_of(uri);
        let port = port.unwrap_or(self.sbc().port());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % 2;
        let mut pool = self.pool.lock().await;
        pool.retain(|_, wire| wire.is_open());
        if let Some(wire) = pool.get(&(host.clone(), port, turn)) {
            return Ok(wire.clone());
        }
        if pool.len() >= MAX_CONNECTIONS {
            return Err(io::Error::other("too many connections"));
        }
        let opening = tokio::time::timeout(CONNECTING, self.open(&host, port));
        let wire = opening
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        pool.insert((host, port, turn), wire.clone());
        Ok(wire)
    }

    /// Closes all of them and waits until they are.
    pub(super) async fn close(&self) {
        let wires: Vec<_> = self
            .pool
            .lock()
            .await
            .drain()
            .map(|(_, wire)| wire)
            .collect();
        for wire in &wires {
            wire.close();
        }
        for wire in wires {
            wire.ended().await;
        }
    }

    pub(super) async fn meet(&self, gateway: &str) -> io::Result<Met> {
        let wire = self.connect(&format!("sip:{gateway}")).await?;
        Met::on(&wire).ok_or_else(|| io::Error::other("no connection"))
    }

    pub(super) async fn keep_alive(
        &self,
        gateway: &str,
        patience: Duration,
    ) -> Result<(), CallError> {
        let unable = |error: io::Error| CallError::Unable(error.to_string());
        let wire = self
            .connect(&format!("sip:{gateway}"))
            .await
            .map_err(unable)?;
        let before = wire.pongs();
        wire.send(Bytes::from_static(b"\r\n\r\n"));
        let answered = async {
            while wire.pongs() == before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(patience, answered)
            .await
            .map_err(|_| CallError::Patience)
    }

    /// Dials with another identity and waits whether the SBC ends the connection; an error says that it did.
    pub(super) async fn intrude(&self, gateway: &str, client: Arc<ClientConfig>) -> io::Result<()> {
        let mut stream = self.shake(client, gateway, self.sbc().port()).await?;
        let mut octet = [0];
        match tokio::time::timeout(REFUSING, stream.read(&mut octet)).await {
            Ok(Ok(0)) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    async fn open(&self, host: &str, port: u16) -> io::Result<Wire> {
        let stream = self.shake(self.client.clone(), host, port).await?;
        let (tcp, connection) = stream.get_ref();
        let about = About {
            transport: "TLS",
            ours: true,
            names: shown(connection.peer_certificates()),
            ends: (tcp.local_addr()?, tcp.peer_addr()?),
        };
        let (sink, closed) = (self.sink.clone(), self.closed.clone());
        Ok(serve_stream(stream, about, self.idle, sink, closed))
    }

    /// The server must prove to be the name that was dialled (TDR-129).
    async fn shake(
        &self,
        client: Arc<ClientConfig>,
        host: &str,
        port: u16,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let sbc = SocketAddr::new(self.sbc().ip(), port);
        let socket = if sbc.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        let source = *lock(&self.source);
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let tcp = socket.connect(sbc).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(client).connect(name, tcp).await
    }
}

fn shown(certificates: Option<&[CertificateDer<'_>]>) -> Vec<String> {
    certificates
        .and_then(|chain| chain.first())
        .map(tls::names)
        .unwrap_or_default()
}

fn remember(visitors: &Mutex<Vec<Wire>>, wire: &Wire) {
    let mut all = lock(visitors);
    all.retain(Wire::is_open);
    all.push(wire.clone());
}

/// What all proxies' listeners have in common.
#[derive(Clone)]
pub(super) struct Doors {
    pub server: Arc<ServerConfig>,
    pub idle: Duration,
    pub sink: Sink,
    pub closed: watch::Receiver<()>,
}

/// One proxy's listener.
pub(super) struct Door {
    /// Where it is.
    pub address: SocketAddr,
    open: watch::Sender<bool>,
    visitors: Arc<Mutex<Vec<Wire>>>,
}

impl Door {
    /// A shut door has no listener and no connections: whoever knocks is refused.
    pub(super) fn set_open(&self, open: bool) {
        self.open.send_if_modified(|now| {
            let changed = *now != open;
            *now = open;
            changed
        });
        if !open {
            lock(&self.visitors).iter().for_each(Wire::close);
        }
    }

    /// The connections that are open now.
    pub(super) fn visitors(&self) -> Vec<Wire> {
        let visitors = lock(&self.visitors);
        visitors.iter().filter(|w| w.is_open()).cloned().collect()
    }
}

impl Doors {
    /// Binds and serves these addresses.
    pub(super) async fn open(
        &self,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> io::Result<Vec<Door>> {
        let mut doors = Vec::new();
        for address in addresses {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            let (open, opened) = watch::channel(true);
            let visitors = Arc::default();
            tokio::spawn(self.clone().keep(listener, opened, Arc::clone(&visitors)));
            doors.push(Door {
                address,
                open,
                visitors,
            });
        }
        Ok(doors)
    }

    /// Takes the SBC's connections while the door is open.
    async fn keep(
        mut self,
        listener: TcpListener,
        mut open: watch::Receiver<bool>,
        visitors: Arc<Mutex<Vec<Wire>>>,
    ) {
        let Ok(address) = listener.local_addr() else {
            return;
        };
        let mut listener = Some(listener);
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            if *open.borrow_and_update() {
                if listener.is_none() {
                    listener = TcpListener::bind(address).await.ok();
                }
                if listener.is_none() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            } else {
                listener = None;
            }
            let accept = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            let accepted = tokio::select! {
                accepted = accept => accepted,
                changed = open.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                _ = self.closed.changed() => return,
            };
            let Ok((tcp, _)) = accepted else {
                // Out of descriptors, most likely: trying again at once would only spin.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(place) = room.clone().try_acquire_owned() else {
                continue;
            };
            let (doors, visitors) = (self.clone(), visitors.clone());
            tokio::spawn(async move {
                if let Ok(wire) = doors.admit(tcp).await {
                    remember(&visitors, &wire);
                    wire.ended().await;
                }
                drop(place);
            });
        }
    }

    async fn admit(self, tcp: TcpStream) -> io::Result<Wire> {
        tcp.set_nodelay(true)?;
        let ends = (tcp.local_addr()?, tcp.peer_addr()?);
        let shaking = TlsAcceptor::from(self.server).accept(tcp);
        let stream = tokio::time::timeout(CONNECTING, shaking)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let about = About {
            transport: "TLS",
            ours: false,
            names: shown(stream.get_ref().1.peer_certificates()),
            ends,
        };
        Ok(serve_stream(
            stream,
            about,
            self.idle,
            self.sink,
            self.closed,
        ))
    }
}
