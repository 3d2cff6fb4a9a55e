//! How streams become messages, and what holds back those who are too fast or too slow.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tollgate::net::ClientCertificates;
use tollgate::sip::{Realm, SendTo, Target, Transport};

use super::lab::{LOOPBACK, Lab, hear, is_closed, options, say, until};

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

/// A peer that does not read gets so much and no more; then its connection ends, and all that it did not get is
/// reported.
#[tokio::test]
async fn peers_that_do_not_read_are_dropped() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.write_timeout = Duration::from_secs(1);
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
