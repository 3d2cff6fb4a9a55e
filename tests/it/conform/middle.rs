//! A man in the middle of Teams and the SBC, with certificates of both, who makes a right SBC a wrong one.
//!
//! He listens at an address of his own on the ports of whom he stands for, passes every message on, from the address
//! it came from, and does to each what he is told.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tollgate::emulate::Identity;

/// Where he is.
pub const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 77));

/// Whom a connection leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Teams,
    Sbc,
}

/// What becomes of a message on its way: nothing, itself, something else, or several.
pub type Twist = Arc<dyn Fn(To, &str) -> Vec<String> + Send + Sync>;

/// What is wrong with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    Nothing,
    /// The SBC shows a certificate for another name when it is dialled.
    WrongNameIn,
    /// The same when it dials.
    WrongNameOut,
    /// Keep-alives go no further.
    NoKeepAlives,
    /// Connections from this address are closed.
    Refuses(IpAddr),
}

/// What he shows and whom he trusts.
pub struct Papers {
    /// The SBC's certificate, one of the same authority for another name, and Teams'.
    pub sbc: Identity,
    pub wrong: Identity,
    pub teams: Identity,
    /// PEM of both authorities.
    pub sbc_roots: String,
    pub teams_roots: String,
    /// Names that the other sides prove to be.
    pub sbc_name: String,
    pub teams_name: String,
}

/// The man. What he does can be changed while he does it.
#[derive(Clone)]
pub struct Middle {
    now: Arc<Mutex<(Flaw, Twist)>>,
    /// Counts what ends every connection.
    ends: watch::Sender<u64>,
    tls: Arc<Tls>,
}

struct Tls {
    as_sbc: Arc<ServerConfig>,
    as_wrong: Arc<ServerConfig>,
    as_teams: Arc<ServerConfig>,
    to_teams: Arc<ClientConfig>,
    to_teams_wrong: Arc<ClientConfig>,
    to_sbc: Arc<ClientConfig>,
    names: (String, String),
}

impl Middle {
    pub fn new(papers: &Papers, directory: &Path) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let names = (papers.teams_name.clone(), papers.sbc_name.clone());
        let tls = Tls {
            as_sbc: server(&papers.sbc, directory),
            as_wrong: server(&papers.wrong, directory),
            as_teams: server(&papers.teams, directory),
            to_teams: client(&papers.sbc, &papers.teams_roots, directory),
            to_teams_wrong: client(&papers.wrong, &papers.teams_roots, directory),
            to_sbc: client(&papers.teams, &papers.sbc_roots, directory),
            names,
        };
        Self {
            now: Arc::new(Mutex::new((Flaw::Nothing, honest()))),
            ends: watch::channel(0).0,
            tls: Arc::new(tls),
        }
    }

    /// What he does from now on. Connections end that were made with another flaw.
    pub fn turn(&self, flaw: Flaw, twist: Twist) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = now.0 != flaw;
        *now = (flaw, twist);
        if changed {
            self.ends.send_modify(|count| *count += 1);
        }
    }

    fn flaw(&self) -> Flaw {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn twisted(&self, to: To, text: &str) -> Vec<String> {
        let twist = self
            .now
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .clone();
        twist(to, text)
    }

    /// Stands for whoever listens at `target`: at his own address, on the same port.
    pub async fn stand_for(&self, target: SocketAddr, to: To) -> SocketAddr {
        let here = SocketAddr::new(ADDRESS, target.port());
        let listener = TcpListener::bind(here).await.unwrap();
        let middle = self.clone();
        tokio::spawn(async move {
            while let Ok((tcp, peer)) = listener.accept().await {
                let middle = middle.clone();
                // A connection that cannot be made is closed: that is all that its opener learns.
                tokio::spawn(async move { middle.pass(tcp, peer, target, to).await });
            }
        });
        here
    }

    async fn pass(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        target: SocketAddr,
        to: To,
    ) -> std::io::Result<()> {
        let mut ends = self.ends.subscribe();
        let flaw = self.flaw();
        if flaw == Flaw::Refuses(peer.ip()) {
            return Ok(());
        }
        let tls = &self.tls;
        let (server, client, name, back) = match (to, flaw) {
            (To::Sbc, Flaw::WrongNameIn) => (&tls.as_wrong, &tls.to_sbc, &tls.names.1, To::Teams),
            (To::Sbc, _) => (&tls.as_sbc, &tls.to_sbc, &tls.names.1, To::Teams),
            (To::Teams, Flaw::WrongNameOut) => {
                (&tls.as_teams, &tls.to_teams_wrong, &tls.names.0, To::Sbc)
            }
            (To::Teams, _) => (&tls.as_teams, &tls.to_teams, &tls.names.0, To::Sbc),
        };
        let opener = TlsAcceptor::from(server.clone()).accept(tcp).await?;
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(peer.ip(), 0))?;
        let tcp = socket.connect(target).await?;
        let name = ServerName::try_from(name.clone()).map_err(std::io::Error::other)?;
        let other = TlsConnector::from(client.clone())
            .connect(name, tcp)
            .await?;
        let (from_opener, to_opener) = tokio::io::split(opener);
        let (from_other, to_other) = tokio::io::split(other);
        // When one direction ends, so does the other.
        tokio::select! {
            ended = self.carry(from_opener, to_other, to) => ended,
            ended = self.carry(from_other, to_opener, back) => ended,
            _ = ends.changed() => Ok(()),
        }
    }

    async fn carry(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut into: impl AsyncWrite + Unpin,
        to: To,
    ) -> std::io::Result<()> {
        let (mut held, mut buffer) = (Vec::new(), vec![0; 16_384]);
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return into.shutdown().await;
            }
            held.extend_from_slice(&buffer[..length]);
            while held.starts_with(b"\r\n") {
                held.drain(..2);
                if self.flaw() != Flaw::NoKeepAlives {
                    into.write_all(b"\r\n").await?;
                }
            }
            while let Some(length) = message_length(&held) {
                let message: Vec<u8> = held.drain(..length).collect();
                for text in self.twisted(to, &String::from_utf8_lossy(&message)) {
                    into.write_all(measured(&text).as_bytes()).await?;
                }
            }
            into.flush().await?;
        }
    }
}

/// Passes everything on as it is.
pub fn honest() -> Twist {
    Arc::new(|_, text| vec![text.to_owned()])
}

/// The length of the first message, once it is whole.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let mut lengths = text.lines().filter_map(|line| {
        let value = line
            .strip_prefix("content-length:")
            .or(line.strip_prefix("l:"))?;
        value.trim().parse::<usize>().ok()
    });
    let whole = head + lengths.next().unwrap_or(0);
    (bytes.len() >= whole).then_some(whole)
}

/// The message with the Content-Length that it has now.
fn measured(text: &str) -> String {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let lines = head.split("\r\n").map(|line| match line.split_once(':') {
        Some((name, _)) if name.eq_ignore_ascii_case("Content-Length") || name == "l" => {
            format!("{name}: {}", body.len())
        }
        _ => line.to_owned(),
    });
    format!("{}\r\n\r\n{body}", lines.collect::<Vec<_>>().join("\r\n"))
}

fn parts(
    identity: &Identity,
    directory: &Path,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let (chain, key) = (directory.join("middle.pem"), directory.join("middle.key"));
    identity.write(&chain, &key).unwrap();
    let chain = CertificateDer::pem_file_iter(&chain).unwrap();
    (
        chain.collect::<Result<_, _>>().unwrap(),
        PrivateKeyDer::from_pem_file(&key).unwrap(),
    )
}

/// Asks nobody for a certificate, which is one of the faults.
fn server(identity: &Identity, directory: &Path) -> Arc<ServerConfig> {
    let (chain, key) = parts(identity, directory);
    let config = ServerConfig::builder().with_no_client_auth();
    Arc::new(config.with_single_cert(chain, key).unwrap())
}

fn client(identity: &Identity, roots: &str, directory: &Path) -> Arc<ClientConfig> {
    let (chain, key) = parts(identity, directory);
    let mut trusted = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        trusted.add(root.unwrap()).unwrap();
    }
    let config = ClientConfig::builder().with_root_certificates(trusted);
    Arc::new(config.with_client_auth_cert(chain, key).unwrap())
}
