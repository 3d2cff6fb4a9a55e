//! Fetches what the judgements need, and puts them in order.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use time::OffsetDateTime;

use super::{Check, Diagnosis, Verdict, certificate, name, numbers, options, script};
use crate::b2bua::{self, Calls, Output};
use crate::base::Random;
use crate::directory::{Auth, Directory, Gateway, Ledger, Region, Trunk, TrunkState, UdpToTcp};
use crate::media::Ports;
use crate::net::probe::{Handshake, Prober};
use crate::net::{CertificateFacts, DnsConfig, KnownRoots, TlsMaterial};
use crate::sip::{
    self, Endpoint, Flow, Hop, Message, PeerCertificate, Realm, SentBy, Source, Target, Transport,
};

/// What the doctor must know of the SBC.
#[derive(Debug, Clone)]
pub struct Config {
    /// How names are found.
    pub dns: DnsConfig,
    /// For each thing that is waited for.
    pub timeout: Duration,
    /// Files with certificates that we show, the listener's first.
    pub certificates: Vec<PathBuf>,
    /// Roots that Teams is known to trust; none: those of this machine.
    pub roots: Option<PathBuf>,
    /// Where we listen for TLS.
    pub listening: Vec<SocketAddr>,
    /// How calls behave: proxies, ranges, product.
    pub calls: b2bua::Config,
    /// For the transaction layer.
    pub endpoint: sip::Config,
    /// Our names and addresses.
    pub sent_by: SentBy,
    /// Networks that requests of Teams may come from.
    pub teams_ranges: Vec<IpNet>,
}

/// Why there is no diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DoctorError {
    /// No such gateway.
    #[error("there is no gateway {0}")]
    NoGateway(String),
    /// No such trunk, or it is disabled.
    #[error("there is no trunk {0} that is not disabled")]
    NoTrunk(String),
    /// Nothing towards Teams is provisioned.
    #[error("there is no region yet")]
    NoRegion,
}

/// Looks for what keeps calls away.
#[derive(Debug)]
pub struct Doctor {
    config: Config,
    prober: Prober,
    tls: Result<Arc<TlsMaterial>, String>,
}

/// Names of checks that have no file of their own.
pub const FILES: &str = "certificate files";
/// See [`Doctor::teams`].
pub const TLS: &str = "TLS handshake";
/// See [`Doctor::teams`].
pub const LISTENER: &str = "our listener";
/// See [`Doctor::teams`].
pub const RANGES: &str = "source ranges";
/// See [`Doctor::trunk`].
pub const ACCESS: &str = "trunk settings";
/// See [`Doctor::trunk`].
pub const LARGE: &str = "large requests";
/// See [`Doctor::teams`].
pub const LEFT_OUT: &str = "names left out";

/// Which gateways are looked at.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// This one.
    Gateway(&'a str),
    /// Those of the next names in the order of the alphabet.
    Next {
        /// At most so many.
        most: usize,
        /// Behind this one; none: from the first.
        after: Option<&'a str>,
    },
}

/// Gateways that are looked at one by one when nobody says how many.
pub const MOST_GATEWAYS: usize = 50;
/// Bytes of an OPTIONS that no datagram carries in one piece.
const LARGE_REQUEST: usize = 2000;
/// Addresses of one peer that are asked.
const MOST_TARGETS: usize = 3;
/// TDR-105.
const MICROSOFT: [&str; 2] = ["52.112.0.0/14", "52.122.0.0/15"];

impl Doctor {
    /// `tls` is what connections of ours use, or why it cannot be used.
    pub fn new(config: Config, tls: Result<Arc<TlsMaterial>, String>) -> Self {
        let prober = Prober::new(config.dns.clone(), config.timeout);
        Self {
            config,
            prober,
            tls,
        }
    }

    /// The way between us and Teams: of one gateway, or of as many as are wanted of all that is provisioned. Each has its
    /// name looked at in DNS, and its customer's numbers.
    ///
    /// # Errors
    /// There is no such gateway, or nothing at all.
    pub async fn teams(
        &self,
        directory: &Arc<Directory>,
        wanted: Wanted<'_>,
    ) -> Result<Diagnosis, DoctorError> {
        let (gateways, left_out) = chosen(directory, wanted)?;
        let fqdn = match wanted {
            Wanted::Gateway(fqdn) => Some(fqdn),
            Wanted::Next { .. } => None,
        };
        let mut regions: Vec<_> = directory
            .regions()
            .filter(|r| fqdn.is_none() || gateways.iter().any(|g| g.region == r.code))
            .cloned()
            .collect();
        regions.sort_by(|a, b| a.code.cmp(&b.code));
        if regions.is_empty() {
            return Err(DoctorError::NoRegion);
        }
        let mut checks = self.certificates(&names(&regions, &gateways));
        checks.push(self.ranges());
        for (host, port, base) in named(&regions, &gateways) {
            checks.push(name::rules(host, base));
            checks.push(name::address(&self.prober.name(host).await));
            let answer = self.own_answer(directory, host, port);
            checks.push(options::own_answer(host, port, answer.as_ref()));
        }
        for address in &self.config.listening {
            checks.push(self.listener(*address, &regions[0].base_fqdn).await);
        }
        for region in &regions {
            for hop in &self.config.calls.teams_proxies {
                let asker = self.asker(&region.base_fqdn, region.sip_port);
                self.ask(hop, &asker, &mut checks).await;
            }
        }
        let mut customers: Vec<_> = gateways.iter().map(|g| g.customer).collect();
        customers.sort();
        customers.dedup();
        let customers = customers.iter().filter_map(|id| directory.customer(*id));
        let mut scripts: Vec<String> = regions.iter().map(|r| script::carrier(r)).collect();
        for customer in customers {
            checks.push(numbers::plan(directory, customer));
            let own = gateways.iter().filter(|g| g.customer == customer.id);
            let fqdns: Vec<_> = own.map(|g| g.fqdn.clone()).collect();
            scripts.push(script::customer(&customer.account_id, &fqdns));
        }
        if let (Some(last), 1..) = (gateways.last(), left_out) {
            checks.push(Check::not_checked(
                LEFT_OUT,
                format!(
                    "{left_out} gateways; the next ones come after {}",
                    last.fqdn
                ),
            ));
        }
        Ok(Diagnosis {
            subject: match fqdn {
                Some(fqdn) => format!("gateway {fqdn}"),
                None => format!(
                    "Teams, {} regions, {} gateways",
                    regions.len(),
                    gateways.len()
                ),
            },
            checks,
            script: Some(scripts.join("\n")),
        })
    }

    /// The way to a PBX or carrier.
    ///
    /// # Errors
    /// There is no such trunk.
    pub async fn trunk(
        &self,
        directory: &Directory,
        wanted: &str,
    ) -> Result<Diagnosis, DoctorError> {
        let trunk = directory.trunks().find(|trunk| trunk.name == wanted);
        let trunk = trunk.ok_or_else(|| DoctorError::NoTrunk(wanted.to_owned()))?;
        let mut checks = Vec::new();
        let hop = trunk.hop();
        let own = self.config.sent_by.of(trunk.transport);
        let asker = self.asker(&own.host, own.port);
        let targets = self.ask(&hop, &asker, &mut checks).await;
        checks.insert(0, settings(trunk, &targets));
        let answered = checks
            .iter()
            .any(|c| c.name == options::ANSWER && c.verdict == Verdict::Ok);
        let by_udp = targets.first().filter(|t| t.transport == Transport::Udp);
        if let Some(target) = by_udp.filter(|_| answered) {
            checks.push(self.large(trunk, &asker, target).await);
        }
        if let Some(customer) = trunk.customer.and_then(|id| directory.customer(id)) {
            checks.push(numbers::plan(directory, customer));
        }
        Ok(Diagnosis {
            subject: format!("trunk {wanted}"),
            checks,
            script: None,
        })
    }

    /// A certificate in a file, which need not be in use yet; `directory` tells what names it needs.
    pub fn certificate(&self, path: &std::path::Path, directory: Option<&Directory>) -> Diagnosis {
        let names = directory.map_or_else(Vec::new, |directory| {
            let regions: Vec<_> = directory.regions().cloned().collect();
            let gateways: Vec<_> = directory.gateways().cloned().collect();
            names(&regions, &gateways)
        });
        Diagnosis {
            subject: format!("certificate {}", path.display()),
            checks: self.file(path, &names),
            script: None,
        }
    }

    /// How long the certificates in use still last; nothing where none is.
    pub fn expiry(&self, now: SystemTime) -> Vec<(CertificateFacts, Check)> {
        let in_use = self.tls.as_ref().map(|tls| tls.certificates());
        let judged = in_use.unwrap_or_default().into_iter().map(|facts| {
            let check = certificate::expiry(&facts, now);
            (facts, check)
        });
        judged.collect()
    }

    fn certificates(&self, names: &[String]) -> Vec<Check> {
        let mut checks: Vec<_> = self
            .config
            .certificates
            .iter()
            .flat_map(|path| self.file(path, names))
            .collect();
        if let Err(why) = &self.tls {
            checks.push(Check::fault(
                FILES,
                why,
                "mend the files; until then nothing is sent by TLS",
            ));
        }
        checks
    }

    fn file(&self, path: &std::path::Path, names: &[String]) -> Vec<Check> {
        let roots = KnownRoots::read(self.config.roots.as_deref());
        let facts = match CertificateFacts::read(path, roots.as_ref()) {
            Ok(facts) => facts,
            Err(error) => {
                return vec![Check::fault(
                    FILES,
                    error.to_string(),
                    "name a PEM file with the certificate and its intermediates",
                )];
            }
        };
        let mut checks = certificate::judge(&facts, names, SystemTime::now());
        for check in &mut checks {
            check.evidence = format!("{}: {}", path.display(), check.evidence);
        }
        checks
    }

    fn ranges(&self) -> Check {
        let missing: Vec<_> = MICROSOFT
            .iter()
            .filter_map(|range| range.parse::<IpNet>().ok())
            .filter(|range| {
                !self
                    .config
                    .teams_ranges
                    .iter()
                    .any(|ours| ours.contains(range))
            })
            .map(|range| range.to_string())
            .collect();
        if missing.is_empty() {
            return Check::ok(RANGES, "all of Microsoft's networks are let in");
        }
        Check::fault(
            RANGES,
            format!("teams.address_ranges lacks {}", missing.join(", ")),
            "let them in: requests come from any address of these networks, not only from those in DNS (TDR-105, TDR-1515)",
        )
    }

    /// Where the hop leads; how TLS goes there, and what OPTIONS brings.
    async fn ask(&self, hop: &Hop, asker: &options::Asker, checks: &mut Vec<Check>) -> Vec<Target> {
        let targets = match self.prober.targets(hop.clone()).await {
            Ok(targets) => targets,
            Err(why) => {
                checks.push(Check::fault(
                    name::DNS,
                    why,
                    "look at dns.nameservers, or at the peer's name",
                ));
                return Vec::new();
            }
        };
        for target in targets.iter().take(MOST_TARGETS) {
            let to = format!("{} at {}", hop.host, target.address);
            let unique = format!("{:016x}", rand::random::<u64>());
            let request = options::request(asker, hop, target.transport, &unique);
            let tls = self.tls.as_ref().ok().map(Arc::as_ref);
            let asked = self.prober.ask(target, tls, &request).await;
            if let Some(handshake) = &asked.handshake {
                checks.push(judged(&to, handshake));
            }
            checks.push(options::answer(&to, hop.realm, &asked.answer));
        }
        targets
    }

    /// Whether a request that is larger than a datagram should be arrives at a peer that answers small ones; by TCP, where
    /// that is how it goes.
    async fn large(&self, trunk: &Trunk, asker: &options::Asker, target: &Target) -> Check {
        let by_tcp = trunk.profile.udp_to_tcp == UdpToTcp::WhenLarge;
        let transport = if by_tcp {
            Transport::Tcp
        } else {
            Transport::Udp
        };
        let target = Target {
            transport,
            ..target.clone()
        };
        let unique = format!("{:016x}", rand::random::<u64>());
        let request = options::large(asker, &trunk.hop(), transport, &unique, LARGE_REQUEST);
        let asked = self.prober.ask(&target, None, &request).await;
        judged_large(trunk, target.address, asked.answer.as_ref().err())
    }

    async fn listener(&self, address: SocketAddr, base: &str) -> Check {
        let Ok(tls) = &self.tls else {
            return Check::not_checked(
                LISTENER,
                format!("{address}: without a usable certificate"),
            );
        };
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let seen = self
            .prober
            .listener((ip, address.port()).into(), base, tls)
            .await;
        shown(address, base, &seen)
    }

    /// What calls as they are configured would answer to OPTIONS of Teams; nothing is sent for that.
    fn own_answer(&self, directory: &Arc<Directory>, fqdn: &str, port: u16) -> Option<Message> {
        let (mut random, now) = (Random::from_seed(rand::random()), Instant::now());
        let sent_by = self.config.sent_by.clone();
        let endpoint = Endpoint::new(
            self.config.endpoint.clone(),
            sent_by.clone(),
            random.split(),
        );
        let ports = Ports::new(20_000..=20_003, Duration::ZERO, &mut random);
        let mut calls = Calls::new(
            self.config.calls.clone(),
            endpoint,
            sent_by,
            Arc::clone(directory),
            Ledger::default(),
            ports,
            random,
            now,
            OffsetDateTime::now_utc(),
        );
        let remote = self.config.teams_ranges.first()?.hosts().next()?;
        let source = Source {
            transport: Transport::Tls,
            flow: Flow(u64::MAX),
            remote: (remote, 5061).into(),
            local: (remote, port).into(),
            certificate: Some(Arc::new(PeerCertificate {
                realm: Realm::Teams,
                names: Vec::new(),
            })),
        };
        calls.receive(options::of_teams(fqdn, port), source, now);
        while let Some(output) = calls.poll() {
            if let Output::Send { bytes, .. } = output {
                return Message::parse(bytes).ok();
            }
        }
        None
    }

    fn asker(&self, host: &str, port: u16) -> options::Asker {
        options::Asker {
            host: host.to_owned(),
            port,
            product: self.config.calls.product.clone(),
            x_ms_sbc: self.config.calls.x_ms_sbc.clone(),
        }
    }
}

/// The gateways, and how many behind them are left out.
fn chosen(
    directory: &Directory,
    wanted: Wanted<'_>,
) -> Result<(Vec<Arc<Gateway>>, usize), DoctorError> {
    let (most, after) = match wanted {
        Wanted::Gateway(fqdn) => {
            let gateway = directory.gateway(fqdn);
            let gateway = gateway.ok_or_else(|| DoctorError::NoGateway(fqdn.to_owned()))?;
            return Ok((vec![Arc::clone(gateway)], 0));
        }
        Wanted::Next { most, after } => (most, after),
    };
    let is_behind = |g: &&Arc<Gateway>| after.is_none_or(|after| g.fqdn.as_str() > after);
    let mut all: Vec<_> = directory.gateways().filter(is_behind).cloned().collect();
    all.sort_by(|a, b| a.fqdn.cmp(&b.fqdn));
    let left_out = all.len().saturating_sub(most);
    all.truncate(most);
    Ok((all, left_out))
}

/// Every name by which Teams knows us: host, port, whether it is a region's base.
fn named<'a>(
    regions: &'a [Arc<Region>],
    gateways: &'a [Arc<Gateway>],
) -> impl Iterator<Item = (&'a str, u16, bool)> {
    let bases = regions
        .iter()
        .map(|r| (r.base_fqdn.as_str(), r.sip_port, true));
    bases.chain(
        gateways
            .iter()
            .map(|g| (g.fqdn.as_str(), g.sip_port, false)),
    )
}

fn names(regions: &[Arc<Region>], gateways: &[Arc<Gateway>]) -> Vec<String> {
    named(regions, gateways)
        .map(|(host, ..)| host.to_owned())
        .collect()
}

/// How a handshake of ours went.
pub fn judged(to: &str, handshake: &Handshake) -> Check {
    let how = format!(
        "{}, {}, their certificate is for {}",
        handshake.version.as_deref().unwrap_or("no version"),
        handshake.suite.as_deref().unwrap_or("no cipher"),
        handshake.names.join(", ")
    );
    let Some(failure) = &handshake.failure else {
        return Check::ok(TLS, format!("{to}: {how}"));
    };
    let remedy = if failure.contains("UnknownIssuer") {
        "their certificate leads to none of our roots: bring tls.teams_roots or tls.trunk_roots up to date (TDR-124)"
    } else if failure.contains("NotValidForName") || failure.contains("not valid for") {
        "their certificate is for another name: is this the right address?"
    } else if handshake.chain > 0 || failure.contains("alert") {
        "they refuse our certificate or our versions: look at its chain, names, usage and key above (TDR-122, TDR-127, TDR-128)"
    } else {
        "no TLS server answers there: look at address, port and firewall"
    };
    Check::fault(TLS, format!("{to}: {failure}"), remedy)
}

/// What our own listener shows. That it refuses our own certificate in the end is as it should be.
pub fn shown(address: SocketAddr, base: &str, seen: &Handshake) -> Check {
    if seen.chain == 0 {
        let why = seen.failure.as_deref().unwrap_or("it shows no certificate");
        return Check::not_checked(LISTENER, format!("{address}: {why}; is the SBC running?"));
    }
    let names = seen.names.join(", ");
    let evidence = format!("{address} shows {} certificates, for {names}", seen.chain);
    if !seen
        .names
        .iter()
        .any(|name| certificate::covers(name, base))
    {
        return Check::fault(
            LISTENER,
            evidence,
            format!("it does not cover {base}: reload the certificate that does (TDR-129)"),
        );
    }
    if seen.not_after.is_some_and(|end| end < SystemTime::now()) {
        return Check::fault(
            LISTENER,
            format!("{evidence}, expired"),
            "renew it (TDR-131)",
        );
    }
    Check::ok(LISTENER, evidence)
}

/// What became of a large request, to a peer that answers small ones.
pub fn judged_large(trunk: &Trunk, at: SocketAddr, failure: Option<&String>) -> Check {
    let by_tcp = trunk.profile.udp_to_tcp == UdpToTcp::WhenLarge;
    let by = if by_tcp { "TCP" } else { "UDP" };
    match failure {
        None => Check::ok(
            LARGE,
            format!("one of {LARGE_REQUEST} bytes by {by} to {at} is answered"),
        ),
        Some(why) if by_tcp => Check::warning(
            LARGE,
            format!("none gets through by TCP to {at}: {why}"),
            "have the peer listen there, or set profile.udp_to_tcp to never: each large request waits for TCP in vain",
        ),
        Some(why) => Check::warning(
            LARGE,
            format!(
                "one of {LARGE_REQUEST} bytes by UDP to {at} gets no answer, small ones do: {why}"
            ),
            "pieces of datagrams are dropped on the way, and large INVITEs with them: let them pass, or set profile.udp_to_tcp to when_large if the peer takes TCP there",
        ),
    }
}

/// What is provisioned of a trunk, against where it is.
pub fn settings(trunk: &Trunk, targets: &[Target]) -> Check {
    if trunk.acl.is_empty() && trunk.auth != Auth::Register {
        return Check::fault(
            ACCESS,
            "acl is empty: nobody is let in",
            "add the networks that the peer sends from",
        );
    }
    let is_proven = trunk.username.is_some() && trunk.password.is_some();
    if trunk.auth != Auth::IpAcl && !is_proven {
        return Check::fault(
            ACCESS,
            format!("auth is {} without username or password", trunk.auth.name()),
            "set both",
        );
    }
    if trunk.state != TrunkState::InService {
        return Check::warning(
            ACCESS,
            format!("it is {}", trunk.state.name()),
            "no calls are sent to it until it is in service",
        );
    }
    let strange: Vec<_> = targets
        .iter()
        .map(|target| target.address.ip())
        .filter(|ip| !trunk.acl.iter().any(|net| net.contains(ip)))
        .map(|ip| ip.to_string())
        .collect();
    if !strange.is_empty() {
        return Check::warning(
            ACCESS,
            format!(
                "calls go to {}, which acl would not let in",
                strange.join(", ")
            ),
            "add it, unless the peer sends from elsewhere",
        );
    }
    let networks: Vec<_> = trunk.acl.iter().map(ToString::to_string).collect();
    Check::ok(
        ACCESS,
        format!("in service, lets in {}", networks.join(", ")),
    )
}
