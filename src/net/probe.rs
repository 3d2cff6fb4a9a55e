//! Looking at peers without calling them: what DNS says of a name, how a TLS handshake goes, what one request brings.
//! For `doctor`; calls never come here.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::DnsConfig;
use super::dns::Dns;
use super::tls::TlsMaterial;
use super::verify::{ServerVerifier, dns_names};
use crate::sip::framing::{Frame, StreamFramer};
use crate::sip::{Hop, Realm, Target, Transport};

/// What DNS says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameFacts {
    /// The name.
    pub name: String,
    /// Whether the configuration answered, and DNS was not asked.
    pub local: bool,
    /// What was found.
    pub found: Found,
}

/// What stands at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// At least one address.
    Addresses(Vec<IpAddr>),
    /// The name exists and has no address.
    NoAddress {
        /// It has a TXT record.
        text: bool,
    },
    /// There is no such name.
    NoSuchName,
    /// DNS did not say.
    Unknown(String),
}

/// How a TLS handshake went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// `TLSv1_3`, as far as it came.
    pub version: Option<String>,
    /// The cipher suite, as far as it came.
    pub suite: Option<String>,
    /// Names in the server's certificate, if it showed one.
    pub names: Vec<String>,
    /// Certificates that the server showed.
    pub chain: usize,
    /// When its certificate ends.
    pub not_after: Option<SystemTime>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// What one request brought.
#[derive(Debug, Clone)]
pub struct Asked {
    /// On TLS.
    pub handshake: Option<Handshake>,
    /// The first final response, or why there is none.
    pub answer: Result<Bytes, String>,
}

/// Asks DNS, or the configuration's `dns.hosts`.
#[derive(Clone)]
pub struct Prober {
    dns: Arc<Dns>,
    timeout: Duration,
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prober")
    }
}

/// Bytes that are read of an answer at most.
const MOST: usize = 65_536;

impl Prober {
    /// Nothing that it waits for may take longer than `timeout`.
    pub fn new(dns: DnsConfig, timeout: Duration) -> Self {
        Self {
            dns: Arc::new(Dns::new(dns)),
            timeout,
        }
    }

    /// What DNS says of a name.
    pub async fn name(&self, name: &str) -> NameFacts {
        let found = timeout(self.timeout, self.dns.look(name)).await;
        let silent = |_| {
            (
                false,
                Found::Unknown("DNS did not answer in time".to_owned()),
            )
        };
        let (local, found) = found.unwrap_or_else(silent);
        NameFacts {
            name: name.to_owned(),
            local,
            found,
        }
    }

    /// Where a hop leads, in the order of trial.
    pub async fn targets(&self, hop: Hop) -> Result<Vec<Target>, String> {
        match crate::sip::locate::literal(&hop) {
            Some(target) => Ok(vec![target]),
            None => self.dns.resolve(hop).await,
        }
    }

    /// Sends one request and waits for its final response.
    pub async fn ask(&self, target: &Target, tls: Option<&TlsMaterial>, request: &Bytes) -> Asked {
        match target.transport {
            Transport::Udp => Asked {
                handshake: None,
                answer: self.within(datagram(target.address, request)).await,
            },
            Transport::Tcp => Asked {
                handshake: None,
                answer: self
                    .within(async {
                        exchange(TcpStream::connect(target.address).await?, request).await
                    })
                    .await,
            },
            Transport::Tls => self.ask_by_tls(target, tls, request).await,
        }
    }

    async fn ask_by_tls(
        &self,
        target: &Target,
        tls: Option<&TlsMaterial>,
        request: &Bytes,
    ) -> Asked {
        let Some(tls) = tls else {
            let answer = Err("there is no certificate to connect with".to_owned());
            return Asked {
                handshake: None,
                answer,
            };
        };
        let (onlooker, config) = Onlooker::new(tls, target.realm, true);
        let opened = self
            .within(handshake(target.address, &target.name, config))
            .await;
        match opened {
            Ok(stream) => {
                let handshake = onlooker.tell(Some(&stream), None);
                let answer = self.within(exchange(stream, request)).await;
                Asked {
                    handshake: Some(handshake),
                    answer,
                }
            }
            Err(why) => Asked {
                handshake: Some(onlooker.tell(None, Some(why.clone()))),
                answer: Err(why),
            },
        }
    }

    /// What a listener of ours shows to whoever connects. It may refuse our own certificate in the end; what it has
    /// shown until then counts.
    pub async fn listener(&self, address: SocketAddr, name: &str, tls: &TlsMaterial) -> Handshake {
        let (onlooker, config) = Onlooker::new(tls, Realm::Teams, false);
        match self.within(handshake(address, name, config)).await {
            Ok(stream) => onlooker.tell(Some(&stream), None),
            Err(why) => onlooker.tell(None, Some(why)),
        }
    }

    async fn within<T>(&self, work: impl Future<Output = io::Result<T>>) -> Result<T, String> {
        match timeout(self.timeout, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }
}

async fn handshake(
    address: SocketAddr,
    name: &str,
    config: ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned())
        .unwrap_or_else(|_| ServerName::IpAddress(address.ip().into()));
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &Bytes,
) -> io::Result<Bytes> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let (mut framer, mut buffer, mut read) = (StreamFramer::new(), vec![0; 4096], 0);
    loop {
        let n = stream.read(&mut buffer).await?;
        read += n;
        if n == 0 || read > MOST {
            let why = "the peer closed the connection without an answer";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        framer.push(&buffer[..n]);
        while let Some(frame) = framer.next() {
            match frame.map_err(io::Error::other)? {
                Frame::Message(bytes) if is_final(&bytes) => return Ok(bytes),
                Frame::Message(_) | Frame::Ping | Frame::Pong => {}
            }
        }
    }
}

/// Once more after half a second, for datagrams get lost.
async fn datagram(address: SocketAddr, request: &Bytes) -> io::Result<Bytes> {
    let any: SocketAddr = if address.is_ipv4() {
        (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    let mut buffer = vec![0; MOST];
    let mut wait = Duration::from_millis(500);
    loop {
        socket.send(request).await?;
        let answered = timeout(wait, async {
            loop {
                let n = socket.recv(&mut buffer).await?;
                if is_final(&buffer[..n]) {
                    return io::Result::Ok(n);
                }
            }
        });
        if let Ok(n) = answered.await {
            return Ok(Bytes::copy_from_slice(&buffer[..n?]));
        }
        wait *= 2;
    }
}

fn is_final(bytes: &[u8]) -> bool {
    bytes.starts_with(b"SIP/2.0 ") && !bytes.starts_with(b"SIP/2.0 1")
}

/// Remembers what a server shows, and leaves the judgement to the verifier that connections of ours use; only our own
/// listener is looked at without it, for it need not be among the peers that we trust.
#[derive(Debug)]
struct Onlooker {
    verifier: ServerVerifier,
    judges: bool,
    seen: Mutex<Vec<CertificateDer<'static>>>,
}

impl Onlooker {
    /// Beside the verifier of this realm, or with no judgement at all.
    fn new(tls: &TlsMaterial, realm: Realm, judges: bool) -> (Arc<Self>, ClientConfig) {
        let material = tls.current();
        let onlooker = Arc::new(Self {
            verifier: material.verifier(realm),
            judges,
            seen: Mutex::default(),
        });
        let mut config = ClientConfig::clone(&material.client(realm));
        config
            .dangerous()
            .set_certificate_verifier(onlooker.clone());
        (onlooker, config)
    }

    fn tell(&self, stream: Option<&TlsStream<TcpStream>>, failure: Option<String>) -> Handshake {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = stream.map(|stream| stream.get_ref().1);
        let leaf = seen.first();
        Handshake {
            version: connection
                .and_then(|c| c.protocol_version())
                .and_then(|version| version.as_str().map(str::to_owned)),
            suite: connection
                .and_then(|c| c.negotiated_cipher_suite())
                .and_then(|suite| suite.suite().as_str().map(str::to_owned)),
            names: leaf.map(dns_names).unwrap_or_default(),
            chain: seen.len(),
            not_after: leaf.and_then(ends),
            failure,
        }
    }
}

fn ends(leaf: &CertificateDer<'static>) -> Option<SystemTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = std::iter::once(leaf).chain(intermediates);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            shown.map(|c| c.clone().into_owned()).collect();
        if !self.judges {
            return Ok(ServerCertVerified::assertion());
        }
        self.verifier
            .verify_server_cert(leaf, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
