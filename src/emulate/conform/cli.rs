//! `tollgate emulate teams --conform`: the scenarios against any SBC.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{ALL, Bench, Customer, Facts, PBX_TONE, Report, Scenario, TEAMS_TONE, find};
use crate::emulate::cli::{CarrierArg, ROOTS, RunError, TeamsArgs, identities};
use crate::emulate::tls;
use crate::emulate::{Authority, Carrier, KeyKind, Pbx, PbxConfig, Teams, TeamsConfig, Usage};

/// Try an SBC instead of waiting for it.
///
/// The SBC has a gateway (--gateway, the customer's with a number, the carrier's without one, and perhaps another
/// customer's with a number, whose calls lead elsewhere), finds Microsoft's names
/// at --listen and --proxy, trusts "teams-roots.pem" in --certificates, takes this machine's addresses for Microsoft's,
/// and has a trunk to an emulated PBX (--pbx), whose number, feature code and emergency number lead there.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Conformance")]
pub struct ConformArgs {
    /// Play the scenarios against the SBC whose TLS listener is here, and end: 0 if all pass, 1 if not.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["call", "sbc"])]
    pub conform: Option<String>,
    /// List the scenarios, their items of the specification and their meaning, and end.
    #[arg(long)]
    pub list: bool,
    /// Play this one only (may be repeated).
    #[arg(long, value_name = "NAME", value_parser = scenario, requires = "conform")]
    pub scenario: Vec<&'static str>,
    /// Write the verdict as JUnit's XML too.
    #[arg(long, value_name = "FILE", requires = "conform")]
    pub junit: Option<PathBuf>,
    /// Print the verdict as JSON.
    #[arg(long, requires = "conform")]
    pub json: bool,
    /// Where the SBC finds "sip2.pstnhub.microsoft.com", and after it "sip3…"; the first is at --listen.
    #[arg(long, value_name = "ADDRESS", default_values = ["127.0.0.2:5071", "127.0.0.3:5071"])]
    pub proxy: Vec<SocketAddr>,
    /// Where the emulated PBX listens, UDP and TCP: the SBC's trunk leads there.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5080")]
    pub pbx: SocketAddr,
    /// Where the SBC takes the trunk's calls.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5060")]
    pub pbx_sbc: String,
    /// What carries the calls of the emulated PBX.
    #[arg(long, default_value = "udp")]
    pub pbx_transport: CarrierArg,
    /// A number behind the SBC that leads to the emulated PBX: it answers, rings or is busy, as a scenario wants.
    #[arg(long, default_value = "+14255550200")]
    pub number: String,
    /// A feature code that leads to the emulated PBX.
    #[arg(long, default_value = "*21#")]
    pub feature_code: String,
    /// An emergency number that leads to the emulated PBX.
    #[arg(long, default_value = "911")]
    pub emergency: String,
    /// Seconds between OPTIONS of the SBC.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub sbc_options_interval: u64,
    /// The SBC's trunk at Teams has media bypass: play what is about that, and nothing else.
    #[arg(long, requires = "conform")]
    pub media_bypass: bool,
    /// An address of this machine that no name leads to and that the SBC takes for Microsoft's.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.9")]
    pub source: IpAddr,
}

/// Between OPTIONS of Teams: nobody wants to wait for a minute.
const OPTIONS_INTERVAL: Duration = Duration::from_secs(2);

fn scenario(name: &str) -> Result<&'static str, String> {
    find(name)
        .map(|scenario| scenario.name)
        .ok_or_else(|| "no scenario has that name; --list tells all".to_owned())
}

/// One line for each scenario.
pub fn list() -> String {
    let line = |s: &Scenario| {
        format!(
            "{:<18} {}\n                   {}\n",
            s.name,
            s.meaning,
            s.items.join(" ")
        )
    };
    ALL.iter().map(line).collect()
}

/// Plays what was asked for against the SBC at `target`.
pub async fn run(args: TeamsArgs, target: &str) -> Result<Report, RunError> {
    let bench = bench(&args, target).await?;
    let mut out = std::io::stdout();
    let asked = &args.conform.scenario;
    let wanted =
        |s: &&Scenario| s.suits(&bench.facts) && (asked.is_empty() || asked.contains(&s.name));
    let mut report = Report::default();
    for scenario in ALL.iter().filter(wanted) {
        let row = scenario.run(&bench).await;
        if !args.conform.json {
            // Whoever closed the pipe still gets the exit status.
            let _ = writeln!(out, "{row}");
        }
        report.push(row);
    }
    let verdict = if args.conform.json {
        report.json().to_string()
    } else {
        report.to_string()
    };
    let _ = writeln!(out, "{verdict}");
    if let Some(file) = &args.conform.junit {
        std::fs::write(file, report.junit())?;
    }
    Ok(report)
}

async fn address(target: &str) -> Result<SocketAddr, RunError> {
    let found = tokio::net::lookup_host(target).await;
    let found = found.map_err(|error| RunError::Usage(format!("{target}: {error}")))?;
    let mut found = found.filter(SocketAddr::is_ipv4);
    found
        .next()
        .ok_or_else(|| RunError::Usage(format!("{target} has no IPv4 address")))
}

async fn bench(args: &TeamsArgs, target: &str) -> Result<Bench, RunError> {
    let sbc = address(target).await?;
    let mut customers = args.gateways.iter().filter(|g| !g.numbers.is_empty());
    let customer = customers
        .next()
        .ok_or_else(|| RunError::Usage("no --gateway has a number".to_owned()))?;
    let base = args
        .gateways
        .iter()
        .find(|gateway| gateway.numbers.is_empty());
    let roots = tls::read(&args.sbc_roots.clone().unwrap_or_default())?;
    let facts = Facts {
        base: base.unwrap_or(customer).fqdn.clone(),
        gateway: customer.fqdn.clone(),
        teams_number: customer.numbers[0].clone(),
        pbx_number: args.conform.number.clone(),
        feature_code: args.conform.feature_code.clone(),
        emergency: args.conform.emergency.clone(),
        other: customers.next().map(|other| Customer {
            gateway: other.fqdn.clone(),
            number: other.numbers[0].clone(),
        }),
        media_bypass: args.conform.media_bypass,
        options_interval: Duration::from_secs(args.conform.sbc_options_interval),
        source: args.conform.source,
        stranger: Authority::new("Nobody")?.issue(
            &["sip.pstnhub.microsoft.com"],
            Usage::Both,
            KeyKind::Ec,
        )?,
        sbc_roots: roots.clone(),
    };
    let (listener, dialler) = identities(&args.certificates)?;
    let mut config = TeamsConfig::new(sbc, listener, dialler, roots);
    config.listen = args.listen;
    config.others = args.conform.proxy.clone();
    config.media = args.media;
    config.gateways = args.gateways.clone();
    config.options_interval = OPTIONS_INTERVAL;
    config.media_bypass = args.conform.media_bypass;
    config.tone = TEAMS_TONE;
    let teams = Teams::start(config).await?;
    let mut config = PbxConfig::new(address(&args.conform.pbx_sbc).await?);
    config.listen = args.conform.pbx;
    config.carrier = match args.conform.pbx_transport {
        CarrierArg::Udp => Carrier::Udp,
        CarrierArg::Tcp => Carrier::Tcp,
    };
    config.media = args.media;
    config.tone = PBX_TONE;
    let pbx = Pbx::start(config).await?;
    if !args.conform.json {
        let _ = writeln!(
            std::io::stdout(),
            "teams listens on {:?} (TLS), the PBX on {} (UDP and TCP); the SBC has to trust {}\n\
             the SBC has to find these names there: {}",
            teams.proxies,
            pbx.address,
            args.certificates.join(ROOTS).display(),
            Teams::NAMES.join(" ")
        );
    }
    Ok(Bench { teams, pbx, facts })
}
