//! The network on loopback, against peers made of tokio and rustls: who is let in, which way messages go, what
//! happens when certificates change, connections end or somebody is too slow.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

use std::fs;
use std::net::SocketAddr;
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
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tollgate::net::{
    self, ClientCertificates, Config, Counter, Event, HandshakeFailure, Identity, Network,
    TlsConfig, TlsMaterial,
};
use tollgate::sip::{Hop, Realm, ResolveId, SendId, SendTo, Source, Target, Transport};

const PATIENCE: Duration = Duration::from_secs(20);
const LOOPBACK: &str = "127.0.0.1:0";

/// Waits for what must come; a test that hangs says where.
macro_rules! soon {
    ($future:expr) => {
        timeout(PATIENCE, $future)
            .await
            .expect(concat!("in time: ", stringify!($future)))
    };
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

/// A certificate authority.
struct Ca {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
struct Issued {
    certificate: String,
    key: String,
}

const BOTH: &[ExtendedKeyUsagePurpose] = &[
    ExtendedKeyUsagePurpose::ServerAuth,
    ExtendedKeyUsagePurpose::ClientAuth,
];
const SERVER: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth];
const CODE: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::CodeSigning];

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, key.public_key_pem());
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    fn issue(&self, names: &[&str], usage: &[ExtendedKeyUsagePurpose]) -> Issued {
        self.issue_until(names, usage, 2090)
    }

    fn issue_until(&self, names: &[&str], usage: &[ExtendedKeyUsagePurpose], year: i32) -> Issued {
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

    fn store(&self) -> Arc<RootCertStore> {
        let mut store = RootCertStore::empty();
        store
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        Arc::new(store)
    }
}

impl Issued {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// Microsoft's CA and the carriers', a CA nobody trusts, and the SBC's files.
struct Lab {
    directory: tempfile::TempDir,
    teams: Ca,
    trunk: Ca,
    nobody: Ca,
}

const TEAMS_NAME: &str = "sip.pstnhub.test";

impl Lab {
    fn new() -> Self {
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

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn install(&self, issued: &Issued) {
        self.write("sbc.crt", &issued.certificate);
        self.write("sbc.key", &issued.key);
    }

    fn tls(&self, client_certificates: ClientCertificates) -> TlsConfig {
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

    fn start(&self) -> Sbc {
        self.start_with(ClientCertificates::Required, |_| ())
    }

    fn start_with(&self, clients: ClientCertificates, change: impl FnOnce(&mut Config)) -> Sbc {
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
    async fn connect(
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

    async fn teams_client(&self, sbc: &Sbc) -> client::TlsStream<TcpStream> {
        self.connect(sbc, Some(&self.teams.issue(&[TEAMS_NAME], BOTH)))
            .await
            .unwrap()
    }

    /// A stand-in for Teams that demands the SBC's certificate.
    async fn server(&self, certificate: &Issued, clients: &Ca) -> Server {
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

    async fn teams_server(&self) -> Server {
        self.server(&self.teams.issue(&[TEAMS_NAME], SERVER), &self.teams)
            .await
    }
}

struct Server {
    acceptor: TlsAcceptor,
    listener: TcpListener,
}

impl Server {
    async fn accept(&self) -> server::TlsStream<TcpStream> {
        let (stream, _) = soon!(self.listener.accept()).unwrap();
        self.acceptor.accept(stream).await.unwrap()
    }

    fn target(&self, realm: Realm, name: &str) -> Target {
        let address = self.listener.local_addr().unwrap();
        Target {
            transport: Transport::Tls,
            address,
            name: name.to_owned(),
            realm,
        }
    }
}

struct Sbc {
    network: Network,
    arrivals: mpsc::Receiver<Event>,
}

impl Sbc {
    async fn received(&mut self) -> (String, Source) {
        match soon!(self.arrivals.recv()).unwrap() {
            Event::Received { bytes, source } => (call_id(&bytes), source),
            other => panic!("{other:?}"),
        }
    }

    async fn failed(&mut self) -> (u64, String) {
        match soon!(self.arrivals.recv()).unwrap() {
            Event::SendFailed { id, reason } => (id.0, reason),
            other => panic!("{other:?}"),
        }
    }

    fn send(&self, id: u64, to: SendTo, bytes: impl Into<Bytes>) {
        self.network.send(to, bytes.into(), SendId(id));
    }

    fn accepting(&self, why: HandshakeFailure) -> u64 {
        self.network.counters().accepting(why).get()
    }

    async fn counts(&self, what: &str, counter: impl Fn(&net::Counters) -> &Counter, number: u64) {
        until(what, || counter(self.network.counters()).get() >= number).await;
        assert_eq!(counter(self.network.counters()).get(), number, "{what}");
    }
}

/// A message as far as this floor looks at it.
fn options(call_id: &str) -> String {
    format!(
        "OPTIONS sip:sbc.test SIP/2.0\r\nVia: SIP/2.0/TLS x;branch=z9hG4bK{call_id}\r\nCall-ID: {call_id}\r\nContent-Length: 0\r\n\r\n"
    )
}

fn call_id(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("Call-ID: "))
        .expect("a Call-ID");
    value.to_owned()
}

/// Reads one message, whose end is an empty line, and says its Call-ID.
async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut message = Vec::new();
    while !message.ends_with(b"\r\n\r\n") || message.len() <= 4 {
        message.push(soon!(stream.read_u8()).unwrap());
    }
    call_id(&message)
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), call_id: &str) {
    stream.write_all(options(call_id).as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Whether the other end has hung up, with or without ceremony.
async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut byte = [0];
    matches!(soon!(stream.read(&mut byte)), Ok(0) | Err(_))
}

/// A Teams proxy comes in with its certificate; its request says who it is, and the answer goes back on its
/// connection.
#[tokio::test]
async fn teams_is_recognised_and_answered_on_its_connection() {
    let lab = Lab::new();
    let mut sbc = lab.start();
    let mut teams = lab.teams_client(&sbc).await;
    say(&mut teams, "one").await;
    let (id, source) = sbc.received().await;
    assert_eq!((id.as_str(), source.transport), ("one", Transport::Tls));
    assert_eq!(source.local, sbc.network.addresses().tls[0]);
    assert_eq!(source.remote, teams.get_ref().0.local_addr().unwrap());
    let certificate = source.certificate.as_ref().unwrap();
    assert_eq!(
        (certificate.realm, certificate.names.clone()),
        (Realm::Teams, vec![TEAMS_NAME.to_owned()])
    );
    sbc.send(
        1,
        SendTo::Flow(source.flow, source.remote),
        options("answer"),
    );
    assert_eq!(hear(&mut teams).await, "answer");
    assert_eq!(sbc.network.connections(), 1);
}

/// Teams may show a certificate for servers only (TDR-126), and the old TLS 1.2 serves too (TDR-120).
#[tokio::test]
async fn server_certificates_and_tls_1_2_are_accepted() {
    let lab = Lab::new();
    let mut sbc = lab.start();
    let mut teams = lab
        .connect(&sbc, Some(&lab.teams.issue(&["*.pstnhub.test"], SERVER)))
        .await
        .unwrap();
    say(&mut teams, "server only").await;
    assert_eq!(
        sbc.received().await.1.certificate.unwrap().realm,
        Realm::Teams
    );
    let issued = lab
        .teams
        .issue(&[TEAMS_NAME], &[ExtendedKeyUsagePurpose::ClientAuth]);
    let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
        .with_root_certificates(lab.teams.store())
        .with_client_auth_cert(issued.chain(), issued.key())
        .unwrap();
    let stream = TcpStream::connect(sbc.network.addresses().tls[0])
        .await
        .unwrap();
    let name = ServerName::try_from("sbc.test").unwrap();
    let mut old = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    say(&mut old, "old").await;
    assert_eq!(sbc.received().await.0, "old");
}

/// A PBX is of the other realm, whatever its name; Microsoft's name does not make it Microsoft.
#[tokio::test]
async fn trunks_are_of_their_own_realm() {
    let lab = Lab::new();
    let mut sbc = lab.start();
    for name in ["PBX.example", TEAMS_NAME] {
        let mut pbx = lab
            .connect(&sbc, Some(&lab.trunk.issue(&[name], BOTH)))
            .await
            .unwrap();
        say(&mut pbx, "x").await;
        let certificate = sbc.received().await.1.certificate.unwrap();
        assert_eq!(
            (certificate.realm, certificate.names.clone()),
            (Realm::Trunk, vec![name.to_lowercase()])
        );
    }
}

/// Every kind of bad certificate ends the handshake and is counted as what it is.
#[tokio::test]
async fn bad_certificates_are_refused_and_counted() {
    let lab = Lab::new();
    let mut sbc = lab.start();
    let cases = [
        (
            Some(lab.teams.issue(&["evil.example"], BOTH)),
            HandshakeFailure::BadName,
        ),
        (
            Some(lab.teams.issue(&["sip.pstnhub.test.evil.example"], BOTH)),
            HandshakeFailure::BadName,
        ),
        (
            Some(lab.teams.issue(&["*.test"], BOTH)),
            HandshakeFailure::BadName,
        ),
        (
            Some(lab.nobody.issue(&[TEAMS_NAME], BOTH)),
            HandshakeFailure::UnknownCa,
        ),
        (
            Some(lab.teams.issue_until(&[TEAMS_NAME], BOTH, 2002)),
            HandshakeFailure::Expired,
        ),
        (
            Some(lab.trunk.issue_until(&["pbx.example"], BOTH, 2002)),
            HandshakeFailure::Expired,
        ),
        (
            Some(lab.teams.issue(&[TEAMS_NAME], CODE)),
            HandshakeFailure::BadUsage,
        ),
        (None, HandshakeFailure::NoCertificate),
    ];
    for (n, (certificate, why)) in cases.iter().enumerate() {
        let before = sbc.accepting(*why);
        // In TLS 1.3 a client believes itself connected until it hears the alert.
        if let Ok(mut stream) = lab.connect(&sbc, certificate.as_ref()).await {
            let _ = stream.write_all(options("intruder").as_bytes()).await;
            assert!(is_closed(&mut stream).await, "case {n}");
        }
        until(&format!("case {n}: {why:?}"), || {
            sbc.accepting(*why) == before + 1
        })
        .await;
    }
    let all: u64 = HandshakeFailure::ALL
        .iter()
        .map(|why| sbc.accepting(*why))
        .sum();
    assert_eq!(all, cases.len() as u64);
    assert!(sbc.arrivals.try_recv().is_err(), "nobody got through");
    until("all gone", || sbc.network.connections() == 0).await;
}

/// Where certificates are optional a peer may be nobody, but not somebody else.
#[tokio::test]
async fn optional_certificates_are_checked_if_shown() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Optional, |_| ());
    let mut phone = lab.connect(&sbc, None).await.unwrap();
    say(&mut phone, "phone").await;
    assert_eq!(sbc.received().await.1.certificate, None);
    if let Ok(mut stream) = lab
        .connect(&sbc, Some(&lab.nobody.issue(&[TEAMS_NAME], BOTH)))
        .await
    {
        assert!(is_closed(&mut stream).await);
    }
    sbc.counts(
        "unknown CA",
        |c| c.accepting(HandshakeFailure::UnknownCa),
        1,
    )
    .await;
}

/// What is not TLS, and what says nothing, does not hold a connection for long.
#[tokio::test]
async fn handshakes_end_in_time() {
    let lab = Lab::new();
    let sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.handshake_timeout = Duration::from_millis(300);
    });
    let mut silent = TcpStream::connect(sbc.network.addresses().tls[0])
        .await
        .unwrap();
    let mut noisy = TcpStream::connect(sbc.network.addresses().tls[0])
        .await
        .unwrap();
    noisy
        .write_all(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
        .await
        .unwrap();
    assert!(is_closed(&mut silent).await);
    sbc.counts("timeout", |c| c.accepting(HandshakeFailure::Timeout), 1)
        .await;
    sbc.counts("protocol", |c| c.accepting(HandshakeFailure::Protocol), 1)
        .await;
}

/// A request of ours never uses the connection that Teams opened, and all requests share the one that we opened
/// (TDR-140). We show our certificate there (TDR-122), and the answer comes in with Teams' name.
#[tokio::test]
async fn requests_leave_on_a_connection_of_our_own() {
    let lab = Lab::new();
    let mut sbc = lab.start();
    let server = lab.teams_server().await;
    let mut inbound = lab.teams_client(&sbc).await;
    say(&mut inbound, "theirs").await;
    let theirs = sbc.received().await.1;
    let target = server.target(Realm::Teams, TEAMS_NAME);
    sbc.send(1, SendTo::Target(target.clone()), options("first"));
    sbc.send(2, SendTo::Target(target.clone()), options("second"));
    let mut ours = server.accept().await;
    assert_eq!(ours.get_ref().1.server_name(), Some(TEAMS_NAME));
    assert_eq!(ours.get_ref().1.peer_certificates().unwrap().len(), 1);
    assert_eq!(
        [hear(&mut ours).await, hear(&mut ours).await],
        ["first", "second"]
    );
    say(&mut ours, "answer").await;
    let (id, source) = sbc.received().await;
    assert_eq!(id, "answer");
    assert_ne!(source.flow, theirs.flow);
    assert_eq!(source.certificate.unwrap().names, [TEAMS_NAME]);
    assert_eq!(
        (
            sbc.network.connections(),
            sbc.network.counters().opened.get()
        ),
        (2, 1)
    );
    // A response to what came in there goes back there.
    sbc.send(
        3,
        SendTo::Flow(theirs.flow, theirs.remote),
        options("response"),
    );
    assert_eq!(hear(&mut inbound).await, "response");
    // The same address in the other realm is another connection.
    let carrier = lab
        .server(&lab.trunk.issue(&["carrier.test"], BOTH), &lab.teams)
        .await;
    sbc.send(
        4,
        SendTo::Target(carrier.target(Realm::Trunk, "carrier.test")),
        options("trunk"),
    );
    assert_eq!(hear(&mut carrier.accept().await).await, "trunk");
}

/// A server must be who was dialled; a proxy of Teams may be any of Teams (TDR-123).
#[tokio::test]
async fn servers_are_verified() {
    let lab = Lab::new();
    let mut sbc = lab.start();
    let good = lab.teams_server().await;
    let elsewhere = good.target(Realm::Teams, "sip2.pstnhub.test");
    sbc.send(1, SendTo::Target(elsewhere), options("other name"));
    let mut stream = good.accept().await;
    assert_eq!(hear(&mut stream).await, "other name");
    let by_address = lab
        .server(&lab.trunk.issue(&["127.0.0.1"], BOTH), &lab.teams)
        .await;
    sbc.send(
        2,
        SendTo::Target(by_address.target(Realm::Trunk, "127.0.0.1")),
        options("address"),
    );
    let mut other = by_address.accept().await;
    assert_eq!(hear(&mut other).await, "address");

    let cases = [
        (
            lab.trunk.issue(&["other.test"], BOTH),
            Realm::Trunk,
            HandshakeFailure::BadName,
        ),
        (
            lab.teams.issue(&["other.test"], BOTH),
            Realm::Teams,
            HandshakeFailure::BadName,
        ),
        (
            lab.teams.issue(&["pbx.test"], BOTH),
            Realm::Trunk,
            HandshakeFailure::UnknownCa,
        ),
        (
            lab.trunk.issue_until(&["pbx.test"], BOTH, 2002),
            Realm::Trunk,
            HandshakeFailure::Expired,
        ),
        (
            lab.trunk.issue(&["pbx.test"], CODE),
            Realm::Trunk,
            HandshakeFailure::BadUsage,
        ),
    ];
    for (n, (certificate, realm, why)) in cases.iter().enumerate() {
        let before = sbc.network.counters().opening(*why).get();
        let server = lab.server(certificate, &lab.teams).await;
        sbc.send(
            10,
            SendTo::Target(server.target(*realm, "pbx.test")),
            options("x"),
        );
        let (stream, _) = soon!(server.listener.accept()).unwrap();
        assert!(server.acceptor.accept(stream).await.is_err(), "case {n}");
        assert_eq!(sbc.failed().await.0, 10, "case {n}");
        assert_eq!(
            sbc.network.counters().opening(*why).get(),
            before + 1,
            "case {n}: {why:?}"
        );
    }
}

/// A server that refuses our certificate says so after the handshake; what was written meanwhile is reported, so that
/// the next server can be tried at once.
#[tokio::test]
async fn a_refusal_after_the_handshake_is_a_failure() {
    let lab = Lab::new();
    let mut sbc = lab.start();
    let server = lab
        .server(&lab.teams.issue(&[TEAMS_NAME], BOTH), &lab.nobody)
        .await;
    let target = server.target(Realm::Teams, TEAMS_NAME);
    sbc.send(1, SendTo::Target(target.clone()), options("x"));
    let (stream, _) = soon!(server.listener.accept()).unwrap();
    assert!(server.acceptor.accept(stream).await.is_err());
    let (id, reason) = sbc.failed().await;
    assert_eq!(id, 1);
    assert!(reason.contains("tls to 127.0.0.1:"), "{reason}");
    sbc.send(2, SendTo::Target(target), options("y"));
    assert!(sbc.failed().await.1.contains("a moment ago"));
}

/// A target that cannot be reached is left alone for a while; until then its messages fail at once.
#[tokio::test]
async fn unreachable_targets_rest() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.back_off = Duration::from_millis(200);
    });
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let target = Target {
        transport: Transport::Tcp,
        address,
        name: "127.0.0.1".to_owned(),
        realm: Realm::Trunk,
    };
    sbc.send(1, SendTo::Target(target.clone()), options("a"));
    assert_eq!(sbc.failed().await.0, 1);
    sbc.send(2, SendTo::Target(target.clone()), options("b"));
    assert_eq!(sbc.failed().await.0, 2);
    assert_eq!(
        (
            sbc.network.counters().open_failures.get(),
            sbc.network.counters().resting.get()
        ),
        (1, 1)
    );
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    sbc.send(3, SendTo::Target(target), options("c"));
    let (mut stream, _) = soon!(listener.accept()).unwrap();
    assert_eq!(hear(&mut stream).await, "c");
}

/// When the peer has closed our connection the next request opens another, and one that was still in its queue
/// moves over.
#[tokio::test]
async fn a_closed_connection_is_replaced() {
    let lab = Lab::new();
    let mut sbc = lab.start();
    let server = lab.teams_server().await;
    let target = server.target(Realm::Teams, TEAMS_NAME);
    for round in ["one", "two", "three"] {
        sbc.send(1, SendTo::Target(target.clone()), options(round));
        let mut stream = server.accept().await;
        assert_eq!(hear(&mut stream).await, round);
        say(&mut stream, "answer").await;
        assert_eq!(sbc.received().await.0, "answer");
        stream.shutdown().await.unwrap();
        drop(stream);
        until("closed", || sbc.network.connections() == 0).await;
    }
    assert!(sbc.arrivals.try_recv().is_err());
}

/// What a connection had not written when it broke goes out on the next one.
#[tokio::test]
async fn unwritten_requests_move_to_the_next_connection() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.write_queue_bytes = 100_000_000;
    });
    let server = lab.teams_server().await;
    let target = server.target(Realm::Teams, TEAMS_NAME);
    sbc.send(1, SendTo::Target(target.clone()), options("first"));
    let mut stream = server.accept().await;
    assert_eq!(hear(&mut stream).await, "first");
    say(&mut stream, "answer").await;
    assert_eq!(sbc.received().await.0, "answer");
    let big =
        Bytes::from(options("big").replace("Length: 0", "Length: 50000") + &"x".repeat(50_000));
    for n in 0..500 {
        sbc.send(n, SendTo::Target(target.clone()), big.clone());
    }
    sbc.send(500, SendTo::Target(target), options("last"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        sbc.network.counters().messages_sent.get() < 400,
        "25 MB do not fit into the system's buffers"
    );
    drop(stream);
    let mut stream = server.accept().await;
    let mut seen = Vec::new();
    let mut chunk = vec![0; 65_536];
    while !String::from_utf8_lossy(&seen).contains("Call-ID: last") {
        let n = soon!(stream.read(&mut chunk)).unwrap();
        assert!(n > 0);
        seen.extend_from_slice(&chunk[..n]);
        seen.drain(..seen.len().saturating_sub(2000));
    }
    assert!(sbc.arrivals.try_recv().is_err(), "nothing failed");
}

/// A response to a connection that is gone is reported, for its Via may lead elsewhere (TDR-141).
#[tokio::test]
async fn responses_to_gone_connections_fail() {
    let lab = Lab::new();
    let mut sbc = lab.start();
    let mut teams = lab.teams_client(&sbc).await;
    say(&mut teams, "x").await;
    let source = sbc.received().await.1;
    drop(teams);
    until("gone", || sbc.network.connections() == 0).await;
    sbc.send(9, SendTo::Flow(source.flow, source.remote), options("late"));
    assert_eq!(sbc.failed().await.0, 9);
}

/// New files count from the next handshake on, on both sides, and renew our connections; bad ones change nothing.
#[tokio::test]
async fn certificates_are_exchanged_while_running() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.reload_poll = Duration::from_millis(50);
        config.drain_idle = Duration::from_millis(300);
    });
    let server = lab.teams_server().await;
    let target = server.target(Realm::Teams, TEAMS_NAME);
    sbc.send(1, SendTo::Target(target.clone()), options("old"));
    let mut old = server.accept().await;
    assert_eq!(hear(&mut old).await, "old");

    // A key that is not the certificate's.
    let stranger = lab.teams.issue(&["sbc.test"], BOTH);
    lab.write("sbc.key", &stranger.key);
    sbc.counts("refused", |c| &c.reloads_refused, 1).await;
    let seen = |stream: &client::TlsStream<TcpStream>| {
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let before = seen(&lab.teams_client(&sbc).await);
    assert_eq!(
        sbc.network.certificates()[0].names,
        ["sbc.test", "*.sbc.test"]
    );

    let fresh = lab.teams.issue(&["a.sbc.test", "new.test"], BOTH);
    lab.install(&fresh);
    until("taken into use", || {
        sbc.network.certificates()[0].names == ["a.sbc.test", "new.test"]
    })
    .await;
    assert_ne!(seen(&lab.teams_client(&sbc).await), before);
    sbc.send(2, SendTo::Target(target), options("new"));
    let mut new = server.accept().await;
    assert_eq!(new.get_ref().1.peer_certificates().unwrap(), fresh.chain());
    assert_eq!(hear(&mut new).await, "new");
    // What was asked on the old connection can still be answered there, then it goes.
    say(&mut old, "late").await;
    assert_eq!(sbc.received().await.0, "late");
    assert!(is_closed(&mut old).await);
}

/// All that is wrong with a set of files is said at once.
#[tokio::test]
async fn every_fault_of_the_files_is_named() {
    let lab = Lab::new();
    lab.install(&lab.teams.issue_until(&["sbc.test"], BOTH, 2002));
    lab.write("sbc.key", "nothing");
    let mut config = lab.tls(ClientCertificates::Required);
    config.teams_roots = Some(lab.file("missing.crt"));
    config.teams_names.push("not a name".to_owned());
    let errors = TlsMaterial::load(config).unwrap_err();
    assert_eq!(errors.0.len(), 4, "{errors}");
    let text = errors.to_string();
    for part in [
        "sbc.crt: expired on",
        "sbc.key: not PEM",
        "missing.crt",
        "\"not a name\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// On renewal new requests get a new connection, and the old one closes once nothing was said on it for a while.
#[tokio::test]
async fn connections_are_renewed() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.drain_idle = Duration::from_millis(400);
    });
    let server = lab.teams_server().await;
    let target = server.target(Realm::Teams, TEAMS_NAME);
    sbc.send(1, SendTo::Target(target.clone()), options("before"));
    let mut old = server.accept().await;
    assert_eq!(hear(&mut old).await, "before");
    sbc.network.renew(Realm::Trunk);
    sbc.send(2, SendTo::Target(target.clone()), options("same"));
    assert_eq!(hear(&mut old).await, "same");
    sbc.network.renew(Realm::Teams);
    sbc.send(3, SendTo::Target(target), options("after"));
    let mut new = server.accept().await;
    assert_eq!(hear(&mut new).await, "after");
    say(&mut old, "answer").await;
    assert_eq!(sbc.received().await.0, "answer");
    assert!(is_closed(&mut old).await);
    say(&mut new, "answer").await;
    assert_eq!(sbc.received().await.0, "answer");
    assert_eq!(sbc.network.counters().renewed.get(), 1);
}

/// Age alone renews a connection, too (TDR-145).
#[tokio::test]
async fn old_connections_are_renewed_by_themselves() {
    let lab = Lab::new();
    let sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.renew_after = Duration::from_millis(300);
    });
    let server = lab.teams_server().await;
    let target = server.target(Realm::Teams, TEAMS_NAME);
    sbc.send(1, SendTo::Target(target.clone()), options("young"));
    let mut old = server.accept().await;
    assert_eq!(hear(&mut old).await, "young");
    sbc.counts("renewed", |c| &c.renewed, 1).await;
    sbc.send(2, SendTo::Target(target), options("fresh"));
    assert_eq!(hear(&mut server.accept().await).await, "fresh");
    assert_eq!(sbc.network.connections(), 2, "the old one drains");
}

/// Messages arrive whole and in order however the stream cuts them.
#[tokio::test]
async fn messages_are_framed_across_records() {
    let lab = Lab::new();
    let mut sbc = lab.start();
    let mut teams = lab.teams_client(&sbc).await;
    for byte in options("slow").bytes() {
        teams.write_all(&[byte]).await.unwrap();
        teams.flush().await.unwrap();
    }
    assert_eq!(sbc.received().await.0, "slow");
    let many: String = (0..50).map(|n| options(&format!("m{n}"))).collect();
    teams.write_all(many.as_bytes()).await.unwrap();
    for n in 0..50 {
        assert_eq!(sbc.received().await.0, format!("m{n}"));
    }
    let body = "x".repeat(40_000);
    let long = options("long").replace("Content-Length: 0", "Content-Length: 40000") + &body;
    teams.write_all(long.as_bytes()).await.unwrap();
    assert_eq!(sbc.received().await.0, "long");
}

/// What is not SIP ends the connection and is counted.
#[tokio::test]
async fn nonsense_ends_the_connection() {
    let lab = Lab::new();
    let sbc = lab.start();
    let mut stream = TcpStream::connect(sbc.network.addresses().tcp[0])
        .await
        .unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: sbc.test\r\n\r\n")
        .await
        .unwrap();
    assert!(is_closed(&mut stream).await);
    sbc.counts("framing", |c| &c.framing_errors, 1).await;
}

/// A ping is answered (RFC 5626 §3.5.1), and we ping on connections of our own (TDR-143).
#[tokio::test]
async fn keep_alives_go_both_ways() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.keep_alive = Duration::from_millis(100);
    });
    let mut teams = lab.teams_client(&sbc).await;
    teams.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    soon!(teams.read_exact(&mut pong)).unwrap();
    assert_eq!(&pong, b"\r\n");
    let server = lab.teams_server().await;
    sbc.send(
        1,
        SendTo::Target(server.target(Realm::Teams, TEAMS_NAME)),
        options("x"),
    );
    let mut ours = server.accept().await;
    assert_eq!(hear(&mut ours).await, "x");
    let mut ping = [0; 8];
    soon!(ours.read_exact(&mut ping)).unwrap();
    assert_eq!(&ping, b"\r\n\r\n\r\n\r\n");
    ours.write_all(b"\r\n").await.unwrap();
    say(&mut ours, "still here").await;
    assert_eq!(sbc.received().await.0, "still here");
}

/// Connections on which nothing happens are closed: a peer's soon, ours in spite of its pings.
#[tokio::test]
async fn idle_connections_are_closed() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.idle_timeout = Duration::from_millis(300);
        config.own_idle_timeout = Duration::from_millis(300);
        config.keep_alive = Duration::from_millis(50);
    });
    let mut teams = lab.teams_client(&sbc).await;
    say(&mut teams, "x").await;
    assert_eq!(sbc.received().await.0, "x");
    // Half a message is no sign of life.
    teams.write_all(b"OPTIONS").await.unwrap();
    assert!(is_closed(&mut teams).await);
    let server = lab.teams_server().await;
    sbc.send(
        1,
        SendTo::Target(server.target(Realm::Teams, TEAMS_NAME)),
        options("y"),
    );
    let mut ours = server.accept().await;
    assert_eq!(hear(&mut ours).await, "y");
    let mut pings = Vec::new();
    soon!(ours.read_to_end(&mut pings)).unwrap();
    assert!(pings.len() >= 4);
    sbc.counts("idle", |c| &c.idle, 2).await;
}

/// A shard that does not keep up holds its peers back; nothing is lost, nothing piles up.
#[tokio::test]
async fn a_full_queue_holds_streams_back() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| config.queue = 4);
    let mut teams = lab.teams_client(&sbc).await;
    let body = "x".repeat(30_000);
    let written = tokio::spawn(async move {
        for n in 0..500 {
            let message = options(&n.to_string())
                .replace("Content-Length: 0", "Content-Length: 30000")
                + &body;
            teams.write_all(message.as_bytes()).await.unwrap();
        }
        teams.flush().await.unwrap();
        teams
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(sbc.network.waiting(), 4);
    assert!(sbc.network.counters().messages_received.get() <= 5);
    assert!(
        !written.is_finished(),
        "15 MB do not fit into the system's buffers"
    );
    for n in 0..500 {
        assert_eq!(sbc.received().await.0, n.to_string());
    }
    soon!(written).unwrap();
}

/// Datagrams that find the queue full are dropped and counted; SIP repeats them.
#[tokio::test]
async fn a_full_queue_drops_datagrams() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| config.queue = 4);
    let peer = UdpSocket::bind(LOOPBACK).await.unwrap();
    for n in 0..10 {
        peer.send_to(
            options(&n.to_string()).as_bytes(),
            sbc.network.addresses().udp[0],
        )
        .await
        .unwrap();
    }
    sbc.counts("dropped", |c| &c.datagrams_dropped, 6).await;
    for n in 0..4 {
        assert_eq!(sbc.received().await.0, n.to_string());
    }
}

/// A peer that does not read gets so much and no more; then its connection ends, and all that it did not get is
/// reported.
#[tokio::test]
async fn peers_that_do_not_read_are_dropped() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.write_timeout = Duration::from_millis(300);
        config.write_queue_bytes = 200_000;
    });
    let mut teams = lab.teams_client(&sbc).await;
    say(&mut teams, "x").await;
    let source = sbc.received().await.1;
    let big = Bytes::from(options("big") + &"x".repeat(60_000));
    let mut sent = 0;
    while sbc.network.counters().queue_full.get() == 0 {
        sent += 1;
        sbc.send(sent, SendTo::Flow(source.flow, source.remote), big.clone());
        tokio::task::yield_now().await;
        assert!(sent < 10_000);
    }
    assert_eq!(
        sbc.failed().await,
        (sent, "the connection's queue is full".to_owned())
    );
    sbc.counts("stalled", |c| &c.stalled, 1).await;
    let (_, reason) = sbc.failed().await;
    assert!(reason.contains("stopped reading"), "{reason}");
    until("gone", || sbc.network.connections() == 0).await;
}

/// One address may have so many connections and all together so many; each that ends makes room.
#[tokio::test]
async fn connections_are_limited() {
    let lab = Lab::new();
    let sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.max_connections = 3;
        config.max_connections_per_source = 2;
    });
    let address = sbc.network.addresses().tcp[0];
    let from = |source: &'static str| async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::new(source.parse().unwrap(), 0))
            .unwrap();
        socket.connect(address).await.unwrap()
    };
    let (one, _two) = (from("127.0.0.1").await, from("127.0.0.1").await);
    assert!(is_closed(&mut from("127.0.0.1").await).await);
    assert_eq!(sbc.network.counters().refused_source.get(), 1);
    let _three = from("127.0.0.2").await;
    assert!(is_closed(&mut from("127.0.0.3").await).await);
    assert_eq!(sbc.network.counters().refused_total.get(), 1);
    // However many come in, we can still go out.
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let out = Target {
        transport: Transport::Tcp,
        address: listener.local_addr().unwrap(),
        name: "127.0.0.1".to_owned(),
        realm: Realm::Trunk,
    };
    sbc.send(1, SendTo::Target(out), options("out"));
    let (mut stream, _) = soon!(listener.accept()).unwrap();
    assert_eq!(hear(&mut stream).await, "out");
    until("accepted", || sbc.network.counters().accepted.get() == 3).await;
    drop(one);
    until("room", || sbc.network.connections() == 3).await;
    let _four = from("127.0.0.1").await;
    until("accepted again", || {
        sbc.network.counters().accepted.get() == 4
    })
    .await;
}

/// A datagram comes in, its answer and a request of ours leave from the same socket.
#[tokio::test]
async fn datagrams_use_one_socket() {
    let lab = Lab::new();
    let mut sbc = lab.start();
    let local = sbc.network.addresses().udp[0];
    let pbx = UdpSocket::bind(LOOPBACK).await.unwrap();
    for keep_alive in [&b"\r\n\r\n"[..], b"\0\0\0\0", b""] {
        pbx.send_to(keep_alive, local).await.unwrap();
    }
    pbx.send_to(options("hello").as_bytes(), local)
        .await
        .unwrap();
    let (id, source) = sbc.received().await;
    assert_eq!(
        (id.as_str(), source.transport, source.local),
        ("hello", Transport::Udp, local)
    );
    assert_eq!(source.remote, pbx.local_addr().unwrap());
    sbc.send(
        1,
        SendTo::Flow(source.flow, source.remote),
        options("answer"),
    );
    let target = Target {
        transport: Transport::Udp,
        address: source.remote,
        name: "pbx".to_owned(),
        realm: Realm::Trunk,
    };
    sbc.send(2, SendTo::Target(target.clone()), options("request"));
    let mut buffer = [0; 2000];
    for expected in ["answer", "request"] {
        let (n, from) = soon!(pbx.recv_from(&mut buffer)).unwrap();
        assert_eq!((call_id(&buffer[..n]).as_str(), from), (expected, local));
    }
    let unreachable = Target {
        address: "[::1]:5060".parse().unwrap(),
        ..target
    };
    sbc.send(3, SendTo::Target(unreachable), options("six"));
    assert_eq!(sbc.failed().await.0, 3);
}

/// An address needs no DNS, a configured name neither, and a name that nobody knows is an answer, too.
#[tokio::test]
async fn hops_are_resolved() {
    let lab = Lab::new();
    let nameserver = UdpSocket::bind(LOOPBACK).await.unwrap();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.dns.nameservers = vec![nameserver.local_addr().unwrap()];
        config.dns.hosts = [(TEAMS_NAME.to_owned(), vec!["127.0.0.30".parse().unwrap()])].into();
        config.dns.timeout = Duration::from_millis(300);
    });
    let cases = [
        (
            "192.0.2.7",
            Some(5080),
            Some(Transport::Tcp),
            Ok("192.0.2.7:5080"),
        ),
        ("SIP.pstnhub.test", Some(5061), None, Ok("127.0.0.30:5061")),
        (TEAMS_NAME, None, None, Ok("127.0.0.30:5061")),
        ("silent.test", Some(5061), None, Err(())),
    ];
    for (n, (host, port, transport, expected)) in cases.into_iter().enumerate() {
        let hop = Hop {
            host: host.to_owned(),
            port,
            transport,
            realm: Realm::Teams,
        };
        sbc.network.resolve(ResolveId(n as u64), hop);
        let Some(Event::Resolved { id, targets }) = soon!(sbc.arrivals.recv()) else {
            panic!("case {n}")
        };
        assert_eq!(id, ResolveId(n as u64));
        let address = targets
            .map(|targets| targets[0].address.to_string())
            .map_err(|_| ());
        assert_eq!(
            address.as_deref(),
            expected.as_deref().map_err(|()| &()),
            "case {n}"
        );
    }
}

/// Closing waits for what was queued, says goodbye to every peer and frees the ports.
#[tokio::test]
async fn closing_is_orderly() {
    let lab = Lab::new();
    let mut sbc = lab.start();
    let mut teams = lab.teams_client(&sbc).await;
    say(&mut teams, "x").await;
    let source = sbc.received().await.1;
    sbc.send(1, SendTo::Flow(source.flow, source.remote), options("last"));
    soon!(sbc.network.close());
    assert_eq!(hear(&mut teams).await, "last");
    assert!(is_closed(&mut teams).await);
    let addresses = sbc.network.addresses();
    assert!(TcpListener::bind(addresses.tls[0]).await.is_ok());
    assert!(TcpListener::bind(addresses.tcp[0]).await.is_ok());
}

/// What cannot be listened on is an error that names it, not a network that is deaf in one ear.
#[tokio::test]
async fn taken_ports_are_named() {
    let taken = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = taken.local_addr().unwrap();
    let config = Config {
        tcp: vec![address],
        ..Config::default()
    };
    let error = net::start(config, None).map(|_| ()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot listen on tcp {address}")),
        "{error}"
    );
    let config = Config {
        tls: vec![address],
        ..Config::default()
    };
    assert!(net::start(config, None).is_err());
}
