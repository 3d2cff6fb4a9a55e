//! Proxies of Teams that cannot take a call: the next one gets it (TDR-211).

use crate::kamailio;
use crate::lab::Lab;
use crate::process::Running;
use crate::sbc::{Sbc, Setup};
use crate::script::Script;
use crate::sipp::{Scenario, Sipp};
use std::net::{TcpListener, UdpSocket};

const SEVERAL: Setup = Setup {
    channels: 10,
    proxies: true,
    bypass: false,
    desk: false,
};

/// Calls Teams, talks, and hangs up.
fn caller(lab: &Lab) -> Sipp {
    let script = Script::pbx().calls("").hears_ringing().hears_answer();
    Scenario::of_pbx("caller", script.hangs_up(), lab).start(lab)
}

/// How many INVITEs an edge has passed to Teams.
fn invites(edge: &Running) -> usize {
    edge.printed().matches("is called: sip:").count()
}

/// TDR-212: 503 with Retry-After at the first proxy leads to the second at once, in the same call; the next call begins
/// there, and the third is never asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_proxy_is_followed_by_the_next() {
    let lab = Lab::open();
    let proxies = lab.proxies();
    let edges = [
        kamailio::edge_of(&lab, 0).await,
        kamailio::edge_of(&lab, 1).await,
        kamailio::edge_of(&lab, 2).await,
    ];
    let sbc = Sbc::start_with(&lab, SEVERAL).await;
    let script = Script::teams().hears_call().tries();
    let script = script.refuses("503 Service Unavailable", "Retry-After: 30\n");
    let mut busy = Scenario::of_teams_called("busy", script, &lab, proxies[0]).start(&lab);
    let script = Script::teams().hears_call().tries();
    let script = script.says("180 Ringing", "one", None).answers("one");
    let mut second = Scenario::of_teams_called("second", script.hears_bye(), &lab, proxies[1])
        .calls(2)
        .start(&lab);
    for _ in 0..2 {
        caller(&lab).succeeds().await;
    }
    busy.succeeds().await;
    second.succeeds().await;
    assert!(
        busy.tells("called")
            .await
            .contains("@sip.pstnhub.microsoft.com")
    );
    assert!(
        second
            .tells("called")
            .await
            .contains("@sip2.pstnhub.microsoft.com")
    );
    assert_eq!(edges.each_ref().map(invites), [1, 2, 0]);
    let records = sbc.is_at_rest(2).await;
    assert!(records.iter().all(|record| record["sip_code"] == 200));
    sbc.stop().await;
}

/// TDR-213: a proxy that takes the INVITE and says nothing, and one that takes the connection and says nothing, are
/// given up; one that takes its time with 100 is not, and has the call.
#[tokio::test(flavor = "multi_thread")]
async fn proxies_that_say_nothing_are_followed_by_a_slow_one() {
    let lab = Lab::open();
    let proxies = lab.proxies();
    // Behind the first edge nobody answers; the second address has no more than a listener.
    let swallows = UdpSocket::bind((proxies[0], 5062)).expect("a port");
    swallows.set_nonblocking(true).expect("no waiting");
    let silent = TcpListener::bind((proxies[1], 5061)).expect("a port");
    silent.set_nonblocking(true).expect("no waiting");
    let edges = [
        kamailio::edge_of(&lab, 0).await,
        kamailio::edge_of(&lab, 2).await,
    ];
    let sbc = Sbc::start_with(&lab, SEVERAL).await;
    let script = Script::teams().hears_call().waits(1000).tries();
    let script = script.says("180 Ringing", "one", None).answers("one");
    let mut slow =
        Scenario::of_teams_called("slow", script.hears_bye(), &lab, proxies[2]).start(&lab);
    caller(&lab).succeeds().await;
    slow.succeeds().await;

    assert_eq!(edges.each_ref().map(invites), [1, 1]);
    let mut datagram = [0; 4096];
    let length = swallows.recv(&mut datagram).expect("an INVITE");
    assert!(datagram[..length].starts_with(b"INVITE sip:"));
    silent.accept().expect("a connection");
    let records = sbc.is_at_rest(1).await;
    assert_eq!(records[0]["sip_code"], 200);
    sbc.stop().await;
}
