//! The stage: a directory that is thrown away, certificates of two little authorities, an emulated Teams, Tollgate, an
//! emulated PBX and a stranger, all on loopback at free ports.

use crate::app::Sbc;
use crate::config;
use crate::directory::Number;
use crate::emulate::{Authority, Gateway, KeyKind, Pbx, PbxConfig, Teams, TeamsConfig, Usage};
use crate::store::{self, Change, Store};
use anyhow::Context;
use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The carrier's name at Teams, and the customer's under it.
pub(super) const BASE: &str = "sbc1.tollgate.test";
pub(super) const CUSTOMER: &str = "contoso.sbc1.tollgate.test";
/// Another customer's.
pub(super) const OTHER: &str = "fabrikam.sbc1.tollgate.test";
pub(super) const OTHER_NUMBER: &str = "+14255550300";
/// Where the other customer's PBX would be; nobody is there.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 88];
/// A user at Teams, and a telephone at the PBX.
pub(super) const TEAMS_NUMBER: &str = "+14255550100";
pub(super) const PBX_NUMBER: &str = "+14255550200";
/// What people are told that leads to the API; whoever follows it here goes to where it listens.
pub(super) const PUBLIC: &str = "http://localhost";
/// Hertz that each side plays.
pub(super) const TEAMS_TONE: f64 = 440.0;
pub(super) const PBX_TONE: f64 = 600.0;
/// Calls that the customer may have at once.
pub(super) const CHANNELS: usize = 2;
/// Between OPTIONS of Tollgate to Teams.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// See [`Plan::patience`].
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What differs from one performance to the next.
pub(super) struct Plan {
    /// Calls that the customer may have at once.
    pub channels: usize,
    /// Whether there is another customer besides.
    pub other: bool,
    /// Whether the trunk at Teams has media bypass.
    pub media_bypass: bool,
    /// Proxies of Teams besides the first.
    pub others: usize,
    /// How long anything may take before it counts as not happening.
    pub patience: Duration,
    /// Ports for media.
    pub ports: u16,
    /// RFC 3261's T1: a call that is never acknowledged lasts 64 times as long.
    pub t1: Duration,
    /// Whether desk telephones find their files, and show no certificate when they connect.
    pub desk: bool,
    /// Further sections of the configuration.
    pub sections: String,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            channels: CHANNELS,
            other: false,
            media_bypass: false,
            others: 0,
            patience: PATIENCE,
            ports: 200,
            t1: Duration::from_millis(500),
            desk: false,
            sections: String::new(),
        }
    }
}

/// Everyone who plays.
pub(super) struct Stage {
    pub teams: Teams,
    pub pbx: Pbx,
    /// A PBX at an address that no trunk knows.
    pub stranger: Pbx,
    /// Whoever signed Tollgate's certificate, PEM.
    pub sbc_roots: String,
    pub sbc: Sbc,
    /// Where Tollgate takes UDP and TLS.
    pub listening: (SocketAddr, SocketAddr),
    pub directory: Scratch,
}

impl Stage {
    /// Starts all of them and provisions one customer, or two.
    pub async fn set(plan: &Plan) -> anyhow::Result<Self> {
        let stage = Self::bare(plan).await?;
        let (_, tls) = stage.listening;
        provision(stage.sbc.store(), tls.port(), stage.pbx.address, plan)
            .await
            .context("provisioning")?;
        Ok(stage)
    }

    /// Starts all of them. There are no customers.
    pub async fn bare(plan: &Plan) -> anyhow::Result<Self> {
        let directory = Scratch::new().context("a temporary directory")?;
        let (microsoft, public) = (
            Authority::new("Emulated Microsoft")?,
            Authority::new("Emulated public CA")?,
        );
        let wildcard = format!("*.{BASE}");
        let certificate = public.issue(&[BASE, &wildcard], Usage::Both, KeyKind::Rsa)?;
        certificate.write(&directory.file("sbc.pem"), &directory.file("sbc.key"))?;
        fs::write(directory.file("teams-roots.pem"), microsoft.pem())?;
        if plan.desk {
            let files = public.issue(&["127.0.0.1"], Usage::Server, KeyKind::Ec)?;
            files.write(&directory.file("files.pem"), &directory.file("files.key"))?;
        }

        // Teams shows a certificate for servers only, both ways, as it does since 2026 (TDR-126).
        let theirs = microsoft.issue(&["sip.pstnhub.microsoft.com"], Usage::Server, KeyKind::Ec)?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let mut settings = TeamsConfig::new(nowhere, theirs.clone(), theirs, public.pem());
        settings.others = vec![settings.listen; plan.others];
        settings.tone = TEAMS_TONE;
        settings.patience = plan.patience;
        settings.media_bypass = plan.media_bypass;
        settings.options_interval = Duration::from_secs(1);
        let teams = Teams::start(settings).await.context("the emulated Teams")?;

        fs::write(
            directory.file("tollgate.toml"),
            configuration(&directory, &teams.proxies, plan),
        )?;
        let config = config::load(Some(&directory.file("tollgate.toml")), [])?;
        let sbc = Sbc::start(&config).await.context("Tollgate")?;
        let sip = sbc.listening().sip;
        let udp = *sip.udp.first().context("no UDP listener")?;
        let tls = *sip.tls.first().context("no TLS listener")?;

        let pbx = emulated_pbx("127.0.0.1:0", udp, plan.patience).await?;
        let stranger = emulated_pbx("127.0.0.2:0", udp, plan.patience).await?;
        teams.aim(tls);
        teams.register(Gateway {
            fqdn: BASE.to_owned(),
            numbers: Vec::new(),
        });
        teams.register(Gateway {
            fqdn: CUSTOMER.to_owned(),
            numbers: vec![TEAMS_NUMBER.to_owned()],
        });
        if plan.other {
            teams.register(Gateway {
                fqdn: OTHER.to_owned(),
                numbers: vec![OTHER_NUMBER.to_owned()],
            });
        }
        Ok(Self {
            teams,
            pbx,
            stranger,
            sbc_roots: public.pem(),
            sbc,
            listening: (udp, tls),
            directory,
        })
    }
}

async fn emulated_pbx(listen: &str, sbc: SocketAddr, patience: Duration) -> anyhow::Result<Pbx> {
    let mut settings = PbxConfig::new(sbc);
    settings.listen = listen.parse()?;
    settings.media = settings.listen.ip();
    settings.tone = PBX_TONE;
    settings.patience = patience;
    Pbx::start(settings).await.context("an emulated PBX")
}

/// What a user's file would say, with names that lead to the emulated Teams instead of DNS.
fn configuration(directory: &Scratch, proxies: &[SocketAddr], plan: &Plan) -> String {
    let hosts: Vec<String> = Teams::NAMES
        .iter()
        .map(|name| format!("\"{name}\" = [\"{}\"]", proxies[0].ip()))
        .collect();
    let proxies: Vec<String> = proxies
        .iter()
        .zip(Teams::NAMES)
        .map(|(proxy, name)| format!("\"{name}:{}\"", proxy.port()))
        .collect();
    // Below the ports that the system gives to sockets without one of their own, such as the emulators'.
    let port_min = 30_000 + plan.ports * (rand::random::<u16>() % (2_700 / plan.ports));
    let file = |name: &str| directory.file(name).display().to_string();
    let (clients, desk) = if plan.desk {
        let desk = format!(
            "[phones]\nsrtp = \"required\"\n\
             [phone_files]\nlisten = \"127.0.0.1:0\"\ncertificate = {:?}\nprivate_key = {:?}\nsip_host = {BASE:?}\n",
            file("files.pem"),
            file("files.key"),
        );
        ("optional", desk)
    } else {
        ("required", String::new())
    };
    format!(
        "data_dir = {:?}\n\
         [sip]\nudp = [\"127.0.0.1:0\"]\ntcp = []\ntls = [\"127.0.0.1:0\"]\nt1_ms = {}\n\
         [tls]\ncertificate = {:?}\nprivate_key = {:?}\nteams_roots = {:?}\nclient_certificates = {clients:?}\n\
         [teams]\nproxies = [{}]\naddress_ranges = [\"127.0.0.0/8\"]\noptions_interval_s = {}\n\
         [media]\nport_min = {port_min}\nport_max = {}\n\
         [dns]\nhosts = {{ {} }}\n\
         [calls]\nmax_calls = 20\ndrain_timeout_s = 0\n\
         [admin]\nlisten = \"127.0.0.1:0\"\npublic_url = {PUBLIC:?}\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n{desk}{}",
        file("data"),
        plan.t1.as_millis(),
        file("sbc.pem"),
        file("sbc.key"),
        file("teams-roots.pem"),
        proxies.join(", "),
        KEEP_ALIVE.as_secs(),
        port_min + plan.ports - 1,
        hosts.join(", "),
        plan.sections,
    )
}

/// One region, one active customer with its gateway and number at Teams and its PBX, and perhaps another one.
async fn provision(
    store: &Store,
    tls_port: u16,
    pbx: SocketAddr,
    plan: &Plan,
) -> anyhow::Result<()> {
    let region = json!({ "code": "DEMO", "display_name": "Demonstration", "base_fqdn": BASE, "sip_port": tls_port,
        "media_bypass": plan.media_bypass });
    let mut change = store.change().await?;
    store::regions::insert(&mut change, &serde_json::from_value(region)?).await?;
    add_customer(&mut change, "contoso", TEAMS_NUMBER, pbx, plan.channels).await?;
    if plan.other {
        let elsewhere = SocketAddr::from((ELSEWHERE, 5060));
        add_customer(
            &mut change,
            "fabrikam",
            OTHER_NUMBER,
            elsewhere,
            plan.channels,
        )
        .await?;
    }
    change.publish().await?;
    Ok(())
}

/// A customer of this name, below the base.
async fn add_customer(
    change: &mut Change,
    name: &str,
    number: &str,
    pbx: SocketAddr,
    channels: usize,
) -> anyhow::Result<()> {
    let customer = json!({
        "account_id": name, "name": name, "max_channels": channels, "regions": ["DEMO"],
        "activation_state": "active", "activation_reason": "demonstration",
    });
    let gateway = json!({ "region": "DEMO", "label": name, "state": "active" });
    let trunk = json!({
        "name": format!("{name}-pbx"), "role": "pbx", "transport": "udp", "host": pbx.ip(), "port": pbx.port(),
        "acl": [pbx.ip()],
    });
    let customer = store::customers::insert(change, &serde_json::from_value(customer)?)
        .await?
        .id;
    store::gateways::insert(change, customer, &serde_json::from_value(gateway)?).await?;
    let number: Number = number.parse()?;
    store::numbers::insert(change, customer, &number.into()).await?;
    store::numbers::put_in_service(change, customer, &number).await?;
    store::trunks::insert(change, Some(customer), &serde_json::from_value(trunk)?).await?;
    Ok(())
}

/// A directory of the demonstration's own, gone with it.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let path =
            std::env::temp_dir().join(format!("tollgate-demo-{:016x}", rand::random::<u64>()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::join(&self.0, name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing in it is worth a complaint.
        let _ = fs::remove_dir_all(&self.0);
    }
}
