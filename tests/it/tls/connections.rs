//! Which connection a message takes, and when connections begin and end.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tollgate::net::ClientCertificates;
use tollgate::sip::{Realm, SendTo, Target, Transport};

use super::lab::{BOTH, LOOPBACK, Lab, TEAMS_NAME, hear, is_closed, options, say, until};

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

/// A target that cannot be reached is left alone for a while; until then its messages fail at once.
#[tokio::test]
async fn unreachable_targets_rest() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.back_off = Duration::from_secs(2);
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
    tokio::time::sleep(Duration::from_millis(2100)).await;
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

/// On renewal new requests get a new connection, and the old one closes once nothing was said on it for a while.
#[tokio::test]
async fn connections_are_renewed() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.drain_idle = Duration::from_secs(3);
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

/// A connection that Teams opened is renewed too (TDR-131, TDR-145): what comes on it is answered there, and after some
/// silence it is closed, so that Teams dials again and sees what is new.
#[tokio::test]
async fn connections_of_peers_are_renewed() {
    let lab = Lab::new();
    let mut sbc = lab.start_with(ClientCertificates::Required, |config| {
        config.drain_idle = Duration::from_secs(3);
    });
    let mut teams = lab.teams_client(&sbc).await;
    say(&mut teams, "before").await;
    let source = sbc.received().await.1;
    sbc.network.renew(Realm::Trunk);
    sbc.network.renew(Realm::Teams);
    sbc.send(
        1,
        SendTo::Flow(source.flow, source.remote),
        options("reply"),
    );
    assert_eq!(hear(&mut teams).await, "reply");
    assert!(is_closed(&mut teams).await);
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
        config.idle_timeout = Duration::from_secs(1);
        config.own_idle_timeout = Duration::from_secs(1);
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
