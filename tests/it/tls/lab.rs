//! Peers, certificate authorities and the network under test.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tollgate::net::{
    self, ClientCertificates, Config, Counter, Event, HandshakeFailure, Identity, Network,
    TlsConfig, TlsMaterial,
};
use tollgate::sip::{Realm, SendId, SendTo, Source, Target, Transport};

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const LOOPBACK: &str = "127.0.0.1:0";

/// Waits for what must come; a test that hangs says where.
macro_rules! soon {
    ($future:expr) => {
        tokio::time::timeout($crate::tls::lab::PATIENCE, $future)
            .await
            .expect(concat!("in time: ", stringify!($future)))
    };
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

/// A certificate authority.
pub struct Ca {
    pub params: CertificateParams,
    pub key: KeyPair,
    pub pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

pub const BOTH: &[ExtendedKeyUsagePurpose] = &[
    ExtendedKeyUsagePurpose::ServerAuth,
    ExtendedKeyUsagePurpose::ClientAuth,
];
pub const SERVER: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth];
pub const CODE: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::CodeSigning];

impl Ca {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, key.public_key_pem());
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    pub fn issue(&self, names: &[&str], usage: &[ExtendedKeyUsagePurpose]) -> Issued {
        self.issue_until(names, usage, 2090)
    }

    pub fn issue_until(
        &self,
        names: &[&str],
        usage: &[ExtendedKeyUsagePurpose],
        year: i32,
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = usage.to_vec();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = params
            .signed_by(&key, &Issuer::from_params(&self.params, &self.key))
            .unwrap();
        Issued {
            certificate: leaf.pem(),
            key: key.serialize_pem(),
        }
    }

    pub fn store(&self) -> Arc<RootCertStore> {
        let mut store = RootCertStore::empty();
        store
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        Arc::new(store)
    }
}

impl Issued {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()]
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// Microsoft's CA and the carriers', a CA nobody trusts, and the SBC's files.
pub struct Lab {
    pub directory: tempfile::TempDir,
    pub teams: Ca,
    pub trunk: Ca,
    pub nobody: Ca,
}

pub const TEAMS_NAME: &str = "sip.pstnhub.test";

impl Lab {
    pub fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let lab = Self {
            directory: tempfile::tempdir().unwrap(),
            teams: Ca::new(),
            trunk: Ca::new(),
            nobody: Ca::new(),
        };
        lab.write("teams.crt", &lab.teams.pem);
        lab.write("trunk.crt", &lab.trunk.pem);
        lab.install(&lab.teams.issue(&["sbc.test", "*.sbc.test"], BOTH));
        lab
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn install(&self, issued: &Issued) {
        self.write("sbc.crt", &issued.certificate);
        self.write("sbc.key", &issued.key);
    }

    pub fn tls(&self, client_certificates: ClientCertificates) -> TlsConfig {
        TlsConfig {
            listener: Identity {
                certificate: self.file("sbc.crt"),
                private_key: self.file("sbc.key"),
            },
            dialler: None,
            teams_roots: Some(self.file("teams.crt")),
            trunk_roots: Some(self.file("trunk.crt")),
            teams_names: vec![TEAMS_NAME.to_owned()],
            client_certificates,
        }
    }

    pub fn start(&self) -> Sbc {
        self.start_with(ClientCertificates::Required, |_| ())
    }

    pub fn start_with(&self, clients: ClientCertificates, change: impl FnOnce(&mut Config)) -> Sbc {
        let address = vec![LOOPBACK.parse().unwrap()];
        let mut config = Config {
            udp: address.clone(),
            tcp: address.clone(),
            tls: address,
            ..Config::default()
        };
        config.back_off = Duration::from_secs(60);
        config.back_off_limit = Duration::from_secs(60);
        change(&mut config);
        let tls = Arc::new(TlsMaterial::load(self.tls(clients)).unwrap());
        let (network, arrivals) = net::start(config, Some(tls)).unwrap();
        Sbc { network, arrivals }
    }

    /// A peer of ours connects, with this certificate or none.
    pub async fn connect(
        &self,
        sbc: &Sbc,
        certificate: Option<&Issued>,
    ) -> std::io::Result<client::TlsStream<TcpStream>> {
        let config = ClientConfig::builder().with_root_certificates(self.teams.store());
        let config = match certificate {
            Some(issued) => config
                .with_client_auth_cert(issued.chain(), issued.key())
                .unwrap(),
            None => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(sbc.network.addresses().tls[0]).await?;
        TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("a.sbc.test").unwrap(), stream)
            .await
    }

    pub async fn teams_client(&self, sbc: &Sbc) -> client::TlsStream<TcpStream> {
        self.connect(sbc, Some(&self.teams.issue(&[TEAMS_NAME], BOTH)))
            .await
            .unwrap()
    }

    /// A stand-in for Teams that demands the SBC's certificate.
    pub async fn server(&self, certificate: &Issued, clients: &Ca) -> Server {
        let verifier = WebPkiClientVerifier::builder(clients.store())
            .build()
            .unwrap();
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificate.chain(), certificate.key())
            .unwrap();
        Server {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            listener: TcpListener::bind(LOOPBACK).await.unwrap(),
        }
    }

    pub async fn teams_server(&self) -> Server {
        self.server(&self.teams.issue(&[TEAMS_NAME], SERVER), &self.teams)
            .await
    }
}

pub struct Server {
    pub acceptor: TlsAcceptor,
    pub listener: TcpListener,
}

impl Server {
    pub async fn accept(&self) -> server::TlsStream<TcpStream> {
        let (stream, _) = soon!(self.listener.accept()).unwrap();
        self.acceptor.accept(stream).await.unwrap()
    }

    pub fn target(&self, realm: Realm, name: &str) -> Target {
        let address = self.listener.local_addr().unwrap();
        Target {
            transport: Transport::Tls,
            address,
            name: name.to_owned(),
            realm,
        }
    }
}

pub struct Sbc {
    pub network: Network,
    pub arrivals: mpsc::Receiver<Event>,
}

impl Sbc {
    pub async fn received(&mut self) -> (String, Source) {
        match soon!(self.arrivals.recv()).unwrap() {
            Event::Received { bytes, source } => (call_id(&bytes), source),
            other => panic!("{other:?}"),
        }
    }

    pub async fn failed(&mut self) -> (u64, String) {
        match soon!(self.arrivals.recv()).unwrap() {
            Event::SendFailed { id, reason } => (id.0, reason),
            other => panic!("{other:?}"),
        }
    }

    pub fn send(&self, id: u64, to: SendTo, bytes: impl Into<Bytes>) {
        self.network.send(to, bytes.into(), SendId(id));
    }

    pub fn accepting(&self, why: HandshakeFailure) -> u64 {
        self.network.counters().accepting(why).get()
    }

    pub async fn counts(
        &self,
        what: &str,
        counter: impl Fn(&net::Counters) -> &Counter,
        number: u64,
    ) {
        until(what, || counter(self.network.counters()).get() >= number).await;
        assert_eq!(counter(self.network.counters()).get(), number, "{what}");
    }
}

/// A message as far as this floor looks at it.
pub fn options(call_id: &str) -> String {
    format!(
        "OPTIONS sip:sbc.test SIP/2.0\r\nVia: SIP/2.0/TLS x;branch=z9hG4bK{call_id}\r\nCall-ID: {call_id}\r\nContent-Length: 0\r\n\r\n"
    )
}

pub fn call_id(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("Call-ID: "))
        .expect("a Call-ID");
    value.to_owned()
}

/// Reads one message, whose end is an empty line, and says its Call-ID.
pub async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut message = Vec::new();
    while !message.ends_with(b"\r\n\r\n") || message.len() <= 4 {
        message.push(soon!(stream.read_u8()).unwrap());
    }
    call_id(&message)
}

pub async fn say(stream: &mut (impl AsyncWrite + Unpin), call_id: &str) {
    stream.write_all(options(call_id).as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Whether the other end has hung up, with or without ceremony.
pub async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut byte = [0];
    matches!(soon!(stream.read(&mut byte)), Ok(0) | Err(_))
}
