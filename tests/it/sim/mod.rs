//! The simulation: `b2bua::Calls` among simulated peers, links, DNS and a simulated relay, in virtual time.
//!
//! A test is a script: it tells agents what to do and waits for what they hear; the time passes as fast as it can be
//! computed. Everything random comes from one number, which is printed together with the ladder when a test fails. A
//! world ends with [`World::finish`], which lets everything run out and looks for whatever was left behind.

#![allow(
    dead_code,
    reason = "shared by tests, which need different parts of it"
)]

pub mod agent;
mod audit;
pub mod link;
pub mod phone;
pub mod registrar;
mod relay;
mod script;
pub mod sdp;
pub mod setup;
mod traffic;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use time::OffsetDateTime;
use tollgate::b2bua::{self, ActivationId, Calls, Cdr, Report, Resynced};
use tollgate::base::Random;
use tollgate::directory::{Directory, Ledger, Mac};
use tollgate::media::{self, Ports};
use tollgate::sip::{
    self, Endpoint, Flow, Identity, ResolveId, SendId, SentBy, Source, Target, Transport,
};

use agent::{Agent, SideState};
use audit::Audit;
use link::Link;
use relay::Relay;
use setup::{Setup, Who};

/// Something on its way.
enum Arrival {
    AtSbc(Bytes, Source),
    AtAgent(Who, Bytes),
    Resolved(ResolveId, Result<Vec<Target>, String>),
    SendFailed(SendId, String),
    Media(media::Event),
}

/// One SBC and everybody who speaks to it.
pub struct World {
    pub now: Instant,
    pub calls: Calls,
    pub ledger: Ledger,
    pub directory: Arc<Directory>,
    pub agents: Vec<Agent>,
    pub sides: Vec<SideState>,
    pub relay: Relay,
    pub cdrs: Vec<Cdr>,
    pub reports: Vec<Report>,
    /// Codes that telephones have been activated with, or are to be.
    pub codes: Vec<(ActivationId, Mac, String)>,
    /// Who was to look for its configuration, and what came of it.
    pub resynced: Vec<(String, Resynced)>,
    pub audit: Audit,
    pub random: Random,
    /// Names that lead to several agents, in this order.
    pub aliases: BTreeMap<String, Vec<Who>>,
    /// Real time that `calls` has taken so far.
    pub spent: Duration,
    start: Instant,
    seed: u64,
    ports: usize,
    queue: BTreeMap<(Instant, u64), Arrival>,
    arrivals: u64,
    ladder: Vec<String>,
    finished: bool,
    stuck: u32,
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(100);
/// Longer than anything may take to run out.
const LAST_TIMER: Duration = Duration::from_secs(400);
/// More happenings at one instant than any test has: time has stopped.
const STUCK: u32 = 100_000;

/// Our address on this transport.
pub fn sbc(transport: Transport) -> SocketAddr {
    let port = if transport == Transport::Tls {
        5061
    } else {
        5060
    };
    SocketAddr::from(([192, 0, 2, 1], port))
}

/// A control plane without a world around it, for benchmarks.
pub fn control_plane(
    config: b2bua::Config,
    endpoint: sip::Config,
    directory: Arc<Directory>,
    now: Instant,
) -> Calls {
    let mut random = Random::from_number(1);
    let sent_by = sent_by(None);
    let endpoint = Endpoint::new(endpoint, sent_by.clone(), random.split());
    let ports = Ports::new(20_000..=20_999, Duration::from_secs(5), &mut random);
    Calls::new(
        config,
        endpoint,
        sent_by,
        directory,
        Ledger::default(),
        ports,
        random,
        now,
        OffsetDateTime::UNIX_EPOCH,
    )
}

/// Who we are, or by what name.
fn sent_by(public: Option<&str>) -> SentBy {
    let identity = |t| Identity {
        host: public.map_or_else(|| sbc(t).ip().to_string(), str::to_owned),
        port: sbc(t).port(),
    };
    SentBy {
        udp: identity(Transport::Udp),
        tcp: identity(Transport::Tcp),
        tls: identity(Transport::Tls),
    }
}

impl World {
    /// The usual world.
    pub fn new() -> Self {
        Self::with(Setup::default(), 1)
    }

    /// A world of this setup; every random thing in it comes from `seed`.
    pub fn with(setup: Setup, seed: u64) -> Self {
        Self::as_host(setup, seed, None)
    }

    /// The same; Teams knows us by this name besides, if there is one.
    pub fn as_host(setup: Setup, seed: u64, public: Option<&str>) -> Self {
        let mut random = Random::from_number(seed);
        let now = Instant::now();
        let media_bypass = setup.rows.regions.iter().any(|region| region.media_bypass);
        let directory = Directory::compile(setup.rows).expect("rows that fit together");
        let directory = Arc::new(directory);
        let sent_by = sent_by(public);
        let endpoint = Endpoint::new(setup.endpoint, sent_by.clone(), random.split());
        let ledger = Ledger::default();
        let ports = Ports::new(20_000..=20_999, Duration::from_secs(5), &mut random);
        let free = ports.free(now);
        let calls = Calls::new(
            setup.config,
            endpoint,
            sent_by,
            Arc::clone(&directory),
            ledger.clone(),
            ports,
            random.split(),
            now,
            OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        );
        let agents = agents(&mut random);
        let mut world = Self {
            now,
            calls,
            ledger,
            directory,
            agents,
            sides: Vec::new(),
            relay: Relay::default(),
            cdrs: Vec::new(),
            reports: Vec::new(),
            resynced: Vec::new(),
            codes: Vec::new(),
            audit: Audit::new(media_bypass),
            random,
            aliases: BTreeMap::new(),
            spent: Duration::ZERO,
            start: now,
            seed,
            ports: free,
            queue: BTreeMap::new(),
            arrivals: 0,
            ladder: Vec::new(),
            finished: false,
            stuck: 0,
        };
        world.settle();
        world
    }

    /// The same link for all whose peers speak UDP.
    pub fn with_links(mut self, link: &Link) -> Self {
        for agent in self.agents.iter_mut().filter(|a| !a.is_teams()) {
            agent.link = link.clone();
        }
        self
    }

    /// Lets this much time pass.
    pub fn pass(&mut self, time: Duration) {
        // What a test has made the SBC do itself goes out now.
        self.settle();
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Lets time pass until `found` finds something.
    ///
    /// # Panics
    /// When nothing is found for too long.
    pub fn wait<T>(&mut self, what: &str, mut found: impl FnMut(&mut Self) -> Option<T>) -> T {
        let until = self.now + PATIENCE;
        loop {
            if let Some(it) = found(self) {
                return it;
            }
            assert!(self.step(until), "waited in vain for {what}");
        }
    }

    /// Everything runs out, nothing is left behind anywhere, and there are exactly `N` records.
    pub fn finish<const N: usize>(self) -> [Cdr; N] {
        let cdrs = self.finish_all();
        let count = cdrs.len();
        cdrs.try_into()
            .unwrap_or_else(|_| panic!("{count} records"))
    }

    /// Everything runs out, and nothing is left behind anywhere; the records.
    pub fn finish_all(mut self) -> Vec<Cdr> {
        self.calls.drain();
        let until = self.now + LAST_TIMER;
        while !self.is_quiet() && self.step(until) {}
        assert!(
            self.calls.is_idle(),
            "calls are left: {:?}",
            self.calls.list()
        );
        // Ports rest for a while, and transactions outlast their calls.
        self.pass(LAST_TIMER);
        for customer in self.directory.customers() {
            assert_eq!(
                self.ledger.usage(customer.id).in_use,
                0,
                "channels of {}",
                customer.name
            );
        }
        for trunk in self.directory.trunks() {
            assert_eq!(
                self.ledger.trunk_usage(trunk.id).in_use,
                0,
                "channels of {}",
                trunk.name
            );
        }
        assert!(
            self.relay.open.is_empty(),
            "the relay has legs: {:?}",
            self.relay.open
        );
        assert_eq!(self.ports_rested(), self.ports, "media ports");
        assert_eq!(self.calls.endpoint().transactions(), 0, "transactions");
        assert_eq!(self.calls.indexed(), 0, "entries in the indexes");
        assert_eq!(self.calls.deadline(), None, "a deadline");
        let mut ids: Vec<_> = self.cdrs.iter().map(|cdr| cdr.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), self.cdrs.len(), "a record was written twice");
        self.finished = true;
        std::mem::take(&mut self.cdrs)
    }

    /// Free ports after the rest of those that came back, which begins when somebody looks.
    fn ports_rested(&mut self) -> usize {
        for _ in 0..2 {
            self.pass(Duration::from_secs(10));
            self.calls
                .set_wall_clock(OffsetDateTime::UNIX_EPOCH, self.now);
            self.calls.ports_free();
        }
        self.calls.ports_free()
    }

    fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.calls.is_idle()
    }

    /// The next thing that happens until then; `false` if there is none.
    fn step(&mut self, until: Instant) -> bool {
        let agents = self.agents.iter().filter_map(|a| a.endpoint.deadline());
        let next = [
            self.queue.keys().next().map(|(at, _)| *at),
            self.calls.deadline(),
        ]
        .into_iter()
        .flatten()
        .chain(agents)
        .min();
        let Some(at) = next.filter(|at| *at <= until) else {
            self.now = until;
            return false;
        };
        self.stuck = if at > self.now { 0 } else { self.stuck + 1 };
        assert!(self.stuck < STUCK, "time stands still");
        self.now = self.now.max(at);
        if let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= at) {
            let arrival = entry.remove();
            self.arrive(arrival);
        } else if self.calls.deadline().is_some_and(|d| d <= at) {
            let begun = Instant::now();
            self.calls.expire(self.now);
            self.spent += begun.elapsed();
            let next = self.calls.deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "what was due was not done"
            );
        } else {
            let now = self.now;
            for agent in &mut self.agents {
                agent.endpoint.expire(now);
            }
        }
        self.settle();
        true
    }

    fn arrive(&mut self, arrival: Arrival) {
        let (now, begun) = (self.now, Instant::now());
        match arrival {
            Arrival::AtSbc(bytes, source) => self.calls.receive(bytes, source, now),
            Arrival::Resolved(id, targets) => self.calls.resolved(id, targets, now),
            Arrival::SendFailed(id, reason) => self.calls.send_failed(id, reason, now),
            Arrival::Media(event) => self.calls.media(event, now),
            Arrival::AtAgent(who, bytes) => {
                let agent = &mut self.agents[who];
                if agent.deaf {
                    return;
                }
                let source = Source {
                    transport: agent.transport,
                    flow: Flow(0),
                    remote: sbc(agent.transport),
                    local: agent.address,
                    certificate: None,
                };
                return agent.endpoint.receive(bytes, source, now);
            }
        }
        self.spent += begun.elapsed();
    }

    /// Carries out what the SBC and the agents want done now.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(output) = self.calls.poll() {
                quiet = false;
                self.carry_out(output);
            }
            for who in 0..self.agents.len() {
                while let Some(output) = self.agents[who].endpoint.poll() {
                    quiet = false;
                    self.carry_out_for(who, output);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn schedule(&mut self, at: Instant, arrival: Arrival) {
        self.arrivals += 1;
        self.queue.insert((at, self.arrivals), arrival);
    }

    /// Bytes on the wire, as from this agent, but of no transaction of its own.
    pub fn inject(&mut self, who: Who, bytes: impl Into<Bytes>) {
        let flow = if self.agents[who].is_teams() {
            Flow(who as u64 + 1)
        } else {
            Flow(0)
        };
        let source = self.agents[who].source(flow);
        self.schedule(self.now, Arrival::AtSbc(bytes.into(), source));
    }

    /// Somebody above has the SBC do something, which is carried out.
    pub fn order(&mut self, act: impl FnOnce(&mut Calls, Instant)) {
        act(&mut self.calls, self.now);
        self.settle();
    }

    /// The relay has something to say.
    pub fn media(&mut self, event: media::Event) {
        self.schedule(self.now, Arrival::Media(event));
        self.pass(Duration::ZERO);
    }

    /// Whether something went over the wire, or was noted, that contains this.
    pub fn ladder_has(&self, text: &str) -> bool {
        self.ladder.iter().any(|line| line.contains(text))
    }

    fn note(&mut self, line: String) {
        let seconds = (self.now - self.start).as_secs_f64();
        self.ladder.push(format!("{seconds:>9.3} {line}"));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}; the ladder:", self.seed);
            for line in &self.ladder {
                eprintln!("{line}");
            }
        } else {
            assert!(self.finished, "a world ends with finish()");
        }
    }
}

fn agents(random: &mut Random) -> Vec<Agent> {
    let mut teams = |name, host, route, address| {
        Agent::new(
            name,
            host,
            Some(route),
            address,
            Transport::Tls,
            random.split(),
        )
    };
    let mut agents = vec![
        teams(
            "teams",
            "sip.pstnhub.microsoft.com",
            "sip-du-a.pstnhub.microsoft.com",
            "52.114.1.1:5061",
        ),
        teams(
            "teams2",
            "sip2.pstnhub.microsoft.com",
            "sip-du-b.pstnhub.microsoft.com",
            "52.114.1.2:5061",
        ),
        teams(
            "teams3",
            "sip3.pstnhub.microsoft.com",
            "sip-du-c.pstnhub.microsoft.com",
            "52.114.1.3:5061",
        ),
    ];
    let others = [
        ("pbx", "192.0.2.10:5060"),
        ("backup", "192.0.2.11:5060"),
        ("carrier", "192.0.2.20:5060"),
        ("rivalpbx", "192.0.2.30:5060"),
        ("stranger", "203.0.113.66:5060"),
        ("desk", "203.0.113.5:5060"),
        ("hall", "203.0.113.6:5060"),
    ];
    agents.extend(others.map(|(name, address)| {
        Agent::new(name, name, None, address, Transport::Udp, random.split())
    }));
    agents
}
