//! Who is let in, whom we believe, and how certificates are exchanged.

use std::sync::Arc;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client};
use tollgate::net::{ClientCertificates, HandshakeFailure, TlsMaterial};
use tollgate::sip::{Realm, SendTo, Transport};

use super::lab::{BOTH, CODE, Lab, SERVER, TEAMS_NAME, hear, is_closed, options, say, until};

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

/// New files count from the next handshake on, on both sides, and renew our connections; bad ones change nothing.
#[tokio::test]
async fn certificates_are_exchanged_while_running() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.reload_poll = Duration::from_millis(50);
    });
    let server = lab.teams_server().await;
    let target = server.target(Realm::Teams, TEAMS_NAME);
    sbc.send(1, SendTo::Target(target.clone()), options("old"));
    let mut old = server.accept().await;
    assert_eq!(hear(&mut old).await, "old");

    // A key that is not the certificate's.
    let stranger = lab.teams.issue(&["sbc.test"], BOTH);
    lab.write("sbc.key", &stranger.key);
    until("refused", || {
        sbc.network.counters().reloads_refused.get() > 0
    })
    .await;
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
    // What was asked on the old connection can still be answered there.
    say(&mut old, "late").await;
    assert_eq!(sbc.received().await.0, "late");
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
