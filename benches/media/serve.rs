//! The relay threads of this crate in a process of their own.

use crate::load::KEY;
use std::io::{BufRead, Read, stdin};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tollgate::base::Random;
use tollgate::media::{Command, Crypto, Event, LegConfig, LegId, MediaSource, Passage, Suite};
use tollgate::net::relay::{Config, Relay, RelayHandle};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Takes calls from the input, a line each: our two ports, the peers' two, and whether the first speaks SRTP. After `go`
/// it relays until the input ends. What the environment sets of it is for trials.
pub fn serve() {
    let set = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let config = Config {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        commands: 16 << 10,
        collect: set("COLLECT_US").map_or(Config::default().collect, Duration::from_micros),
        ..Config::default()
    };
    let (relay, mut events) =
        Relay::start(config, Random::from_number(1)).expect("the relay starts");
    let mut legs = 0;
    for line in stdin().lock().lines() {
        let line = line.expect("the input can be read");
        if line == "go" {
            break;
        }
        let numbers: Vec<u16> = line
            .split(' ')
            .map(|n| n.parse().expect("numbers"))
            .collect();
        let [ours_a, ours_b, a, b, secure] = numbers[..] else {
            panic!("five numbers are needed: {line}")
        };
        let pair = [LegId(legs + 1), LegId(legs + 2)];
        legs += 2;
        open(&relay, pair[0], ours_a, a, secure == 1);
        open(&relay, pair[1], ours_b, b, false);
        let (leg, with) = (pair[0], Some(pair[1]));
        relay.command(Command::Connect { leg, with }).expect("room");
    }
    // Commands are obeyed in order: who answers this has obeyed all.
    for leg in (1..=legs).map(LegId) {
        relay.command(Command::Count { leg }).expect("room");
        match events.blocking_recv().expect("the relay runs") {
            Event::Counted { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    println!("ready");
    let _ = stdin().read_to_end(&mut Vec::new());
}

fn open(relay: &RelayHandle, leg: LegId, port: u16, remote: u16, secure: bool) {
    let address = HOST;
    let open = Command::Open { leg, address, port };
    relay.command(open).expect("room");
    let crypto = Crypto {
        suite: Suite::AesCm128HmacSha1_80,
        receive: KEY.into(),
        receive_mki_length: 0,
        send: [4; 30].into(),
        send_mki: Vec::new(),
    };
    let remote = SocketAddr::new(HOST, remote);
    let config = Box::new(LegConfig {
        remote_rtp: remote,
        remote_rtcp: remote,
        rtcp_mux: true,
        crypto: secure.then_some(crypto),
        source: MediaSource::Strict,
        passage: Arc::new(Passage::unchanged()),
        inactivity: None,
        receive: true,
        send: true,
    });
    let configure = Command::Configure { leg, config };
    relay.command(configure).expect("room");
}
