//! Kamailio, as the edge of Teams and as a hosted PBX.

use crate::lab::Lab;
use crate::process::Running;
use std::process::Command;

/// What the proxies call themselves in Record-Route, without the domain.
pub const EDGES: [&str; 3] = ["sip-du-a-eu", "sip-du-a-us", "sip-du-a-as"];

/// Teams' edge: TLS with certificates both ways towards Tollgate, UDP towards sipp.
pub async fn edge(lab: &Lab) -> Running {
    edge_of(lab, 0).await
}

/// The same for the nth proxy.
pub async fn edge_of(lab: &Lab, n: usize) -> Running {
    lab.fill_in("edge-tls.cfg", include_str!("kamailio/edge-tls.cfg"));
    let template = include_str!("kamailio/edge.cfg")
        .replace("@TEAMS@", &lab.proxies()[n].to_string())
        .replace("@NAME@", EDGES[n]);
    start(lab, &format!("edge-{n}"), &template).await
}

/// A hosted PBX with a registrar.
pub async fn exchange(lab: &Lab) -> Running {
    start(lab, "exchange", include_str!("kamailio/exchange.cfg")).await
}

/// A hosted PBX that has the SBC as users.
pub async fn registrar(lab: &Lab) -> Running {
    start(lab, "registrar", include_str!("kamailio/registrar.cfg")).await
}

async fn start(lab: &Lab, name: &str, configuration: &str) -> Running {
    let file = lab.fill_in(&format!("{name}.cfg"), configuration);
    // In the foreground, into the log, with little memory; its own files lie in the lab.
    let mut command = Command::new("/usr/sbin/kamailio");
    command.args(["-DD", "-E", "-m", "64", "-M", "8", "-Y"]);
    command.arg(lab.directory()).arg("-f").arg(file);
    let mut running = Running::start(name, lab.directory(), &mut command);
    // The last that is said by a worker when all of them are there.
    assert!(
        running.prints("ready to serve").await,
        "{}",
        running.printed()
    );
    running
}
