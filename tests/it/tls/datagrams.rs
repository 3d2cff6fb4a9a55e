//! UDP, names and ports.

use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tollgate::net::{self, ClientCertificates, Config, Event};
use tollgate::sip::{Hop, Realm, ResolveId, SendTo, Target, Transport};

use super::lab::{LOOPBACK, Lab, TEAMS_NAME, call_id, options};

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
