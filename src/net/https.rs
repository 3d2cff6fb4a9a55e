//! A listener for HTTPS that strangers may reach: handshakes run beside each other and have little time, connections are
//! few from one address and do not last, certificates are exchanged while it runs.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::accept;
use super::counters::Counter;
use super::tls::files::{Pair, roots};
use super::tls::{Identity, TlsError, TlsErrors};

/// Where it listens, as what, and how much it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsConfig {
    /// Where.
    pub listen: SocketAddr,
    /// What clients see.
    pub identity: Identity,
    /// Roots of certificates that clients may show; without them none is looked at.
    pub client_roots: Option<PathBuf>,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address.
    pub max_connections_per_source: usize,
}

/// Time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After this a connection ends, whatever it is doing: who trickles bytes gets no further than others.
const LIFETIME: Duration = Duration::from_secs(60);
/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Connections that may wait to be served.
const WAITING: usize = 16;
/// After an error of `accept`, such as too many open files, which would else be repeated at once.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of connections.
#[derive(Debug, Default)]
pub struct HttpsCounters {
    /// Served.
    pub accepted: Counter,
    /// Closed unheard, because there were too many.
    pub refused: Counter,
    /// Whose handshake failed or took too long.
    pub failed: Counter,
}

/// Who has connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// From where.
    pub address: SocketAddr,
    /// The subject of the certificate that it has proven to have, its common name first.
    pub subject: Option<String>,
}

/// The listener, for [`axum::serve()`].
#[derive(Debug)]
pub struct Https {
    local: SocketAddr,
    counters: Arc<HttpsCounters>,
    shaken: mpsc::Receiver<(Connection, Client)>,
    accepting: JoinHandle<()>,
}

impl Https {
    /// Reads the files and listens.
    ///
    /// # Errors
    /// What is wrong with the files or the address.
    pub fn bind(config: HttpsConfig) -> Result<Self, HttpsError> {
        let material = Material::load(&config)?;
        let wrong = |error| HttpsError::Listen(config.listen, error);
        let listener = accept::bind(config.listen, 0).map_err(wrong)?;
        let local = listener.local_addr().map_err(wrong)?;
        let counters = Arc::new(HttpsCounters::default());
        let (done, shaken) = mpsc::channel(WAITING);
        let door = Arc::new(Door {
            free: Arc::new(Semaphore::new(config.max_connections)),
            by_source: Arc::default(),
            material: Mutex::new(material),
            counters: counters.clone(),
            config,
        });
        let accepting = tokio::spawn(accept_all(door, listener, done));
        Ok(Self {
            local,
            counters,
            shaken,
            accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.local
    }

    /// What became of connections.
    pub fn counters(&self) -> Arc<HttpsCounters> {
        self.counters.clone()
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl axum::serve::Listener for Https {
    type Io = Connection;
    type Addr = Client;

    async fn accept(&mut self) -> (Connection, Client) {
        match self.shaken.recv().await {
            Some(shaken) => shaken,
            // Whoever accepts has been stopped, and so will be this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Client> {
        Ok(Client {
            address: self.local,
            subject: None,
        })
    }
}

impl axum::extract::connect_info::Connected<axum::serve::IncomingStream<'_, Https>> for Client {
    fn connect_info(stream: axum::serve::IncomingStream<'_, Https>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Why nobody listens.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// Certificate, key or roots.
    #[error("{0}")]
    Tls(#[from] TlsErrors),
    /// The address.
    #[error("{0}: {1}")]
    Listen(SocketAddr, io::Error),
}

/// What all connections share.
struct Door {
    config: HttpsConfig,
    free: Arc<Semaphore>,
    by_source: Arc<Mutex<HashMap<IpAddr, usize>>>,
    material: Mutex<Material>,
    counters: Arc<HttpsCounters>,
}

impl Door {
    fn admit(&self, source: IpAddr) -> Option<Place> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        let mut by_source = locked(&self.by_source);
        let mine = by_source.entry(source).or_default();
        if *mine >= self.config.max_connections_per_source {
            return None;
        }
        *mine += 1;
        Some(Place {
            source,
            by_source: self.by_source.clone(),
            _permit: permit,
        })
    }

    /// The certificate of the day: the files are looked at again from time to time, and what is wrong with them leaves
    /// the old one in use.
    fn tls(&self) -> Arc<ServerConfig> {
        let mut material = locked(&self.material);
        if material.looked.elapsed() >= LOOK_EVERY {
            material.looked = Instant::now();
            if material.stamps != stamps(&self.config) {
                match Material::load(&self.config) {
                    Ok(fresh) => *material = fresh,
                    Err(error) => {
                        material.stamps = stamps(&self.config);
                        tracing::error!(%error, "the certificate for telephones stays the old one");
                    }
                }
            }
        }
        material.server.clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection's share of what may be open; given back when it ends.
#[derive(Debug)]
struct Place {
    source: IpAddr,
    by_source: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_source = locked(&self.by_source);
        if let Some(count) = by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                by_source.remove(&self.source);
            }
        }
    }
}

async fn accept_all(
    door: Arc<Door>,
    listener: TcpListener,
    done: mpsc::Sender<(Connection, Client)>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => match door.admit(remote.ip()) {
                Some(place) => {
                    tokio::spawn(shake(door.clone(), place, stream, remote, done.clone()));
                }
                None => door.counters.refused.add(),
            },
            Err(error) => {
                tracing::warn!(%error, "no connection of a telephone could be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn shake(
    door: Arc<Door>,
    place: Place,
    stream: TcpStream,
    remote: SocketAddr,
    done: mpsc::Sender<(Connection, Client)>,
) {
    let acceptor = TlsAcceptor::from(door.tls());
    let tuned = accept::tune(&stream);
    let shaken = async {
        tuned?;
        acceptor.accept(stream).await
    };
    let stream = match timeout(HANDSHAKE, shaken).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            door.counters.failed.add();
            return tracing::debug!(%remote, %error, "TLS handshake of a telephone failed");
        }
        Err(_) => return door.counters.failed.add(),
    };
    door.counters.accepted.add();
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let client = Client {
        address: remote,
        subject: leaf.and_then(subject),
    };
    let connection = Connection {
        stream,
        ends: Box::pin(sleep(LIFETIME)),
        _place: place,
    };
    // Who serves has stopped if this fails.
    let _ = done.send((connection, client)).await;
}

/// The common names, then the whole subject.
fn subject(leaf: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let names = parsed.subject().iter_common_name();
    let mut text: Vec<_> = names
        .filter_map(|name| name.as_str().ok().map(str::to_owned))
        .collect();
    text.push(parsed.subject().to_string());
    Some(text.join(", "))
}

/// A connection that ends after its time.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    ends: Pin<Box<Sleep>>,
    _place: Place,
}

impl Connection {
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.ends.as_mut().poll(context).is_ready()
    }
}

fn over() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "the connection has lasted too long",
    )
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_over(context) {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_over(context) {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_over(context) {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_over(context) {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

type Stamp = Option<(SystemTime, u64)>;

struct Material {
    server: Arc<ServerConfig>,
    stamps: Vec<Stamp>,
    looked: Instant,
}

impl Material {
    fn load(config: &HttpsConfig) -> Result<Self, TlsErrors> {
        let stamps = stamps(config);
        let pair = Pair::read(&config.identity).map_err(TlsErrors)?;
        let one = |error: TlsError| TlsErrors(vec![error]);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS12, &TLS13])
            .map_err(|error| one(pair.mismatch(&error)))?;
        let builder = match &config.client_roots {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(path).map_err(TlsErrors)?);
                // Who shows none has to prove in another way what it is.
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .allow_unauthenticated()
                    .build();
                let unusable = |error: rustls::server::VerifierBuilderError| {
                    one(TlsError::NotPem {
                        path: path.clone(),
                        reason: error.to_string(),
                    })
                };
                builder.with_client_cert_verifier(verifier.map_err(unusable)?)
            }
        };
        let server = builder
            .with_single_cert(pair.chain.clone(), pair.key.clone_key())
            .map_err(|error| one(pair.mismatch(&error)))?;
        Ok(Self {
            server: Arc::new(server),
            stamps,
            looked: Instant::now(),
        })
    }
}

fn stamps(config: &HttpsConfig) -> Vec<Stamp> {
    let files = [&config.identity.certificate, &config.identity.private_key];
    let stamp = |path: &PathBuf| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len()))
    };
    files
        .into_iter()
        .chain(&config.client_roots)
        .map(stamp)
        .collect()
}
