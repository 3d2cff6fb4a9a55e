//! A running SBC between an emulated Teams and an emulated PBX, with one customer, on loopback at free ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::app::Sbc;
use tollgate::config;
use tollgate::directory::Number;
use tollgate::emulate::{
    Authority, EmuCall, Gateway, KeyKind, Pbx, PbxCall, PbxConfig, Teams, TeamsCall, TeamsConfig,
    Usage,
};
use tollgate::store;

pub const GATEWAY: &str = "contoso.sbc1.tollgate.test";
pub const TEAMS_NUMBER: &str = "+14255550100";
pub const PBX_NUMBER: &str = "+14255550200";
pub const TEAMS_TONE: f64 = 440.0;
pub const PBX_TONE: f64 = 600.0;

/// The emulators, and what keeps them and the SBC alive.
pub struct Lab {
    pub teams: Teams,
    pub pbx: Pbx,
    sbc: Sbc,
    _directory: tempfile::TempDir,
}

/// What differs from one test to the next.
pub struct Setup {
    /// Changes the PBX before it starts.
    pub pbx: fn(&mut PbxConfig),
    /// The same for Teams.
    pub teams: fn(&mut TeamsConfig),
    /// Fields of the trunk besides its name, host, port and addresses.
    pub trunk: Value,
    /// Fields of the customer besides its names.
    pub customer: Value,
    /// Whether the carrier trunk at Teams has media bypass.
    pub media_bypass: bool,
    /// Where everybody is.
    pub at: IpAddr,
    /// More of the configuration, where `{dir}` is a folder of the test's own.
    pub more: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            pbx: |_| {},
            teams: |_| {},
            trunk: json!({}),
            customer: json!({}),
            media_bypass: false,
            at: Ipv4Addr::LOCALHOST.into(),
            more: "",
        }
    }
}

impl Lab {
    /// With nothing special.
    pub async fn plain() -> Self {
        Self::start(Setup::default()).await
    }

    pub async fn start(setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let (microsoft, public) = (
            Authority::new("Microsoft").unwrap(),
            Authority::new("Public").unwrap(),
        );
        let names = ["sbc1.tollgate.test", "*.sbc1.tollgate.test"];
        let certificate = public.issue(&names, Usage::Both, KeyKind::Ec).unwrap();
        certificate
            .write(&file("sbc.pem"), &file("sbc.key"))
            .unwrap();
        std::fs::write(file("roots.pem"), microsoft.pem()).unwrap();

        let theirs = microsoft
            .issue(&["sip.pstnhub.microsoft.com"], Usage::Server, KeyKind::Ec)
            .unwrap();
        let nowhere = SocketAddr::new(setup.at, 9);
        let mut settings = TeamsConfig::new(nowhere, theirs.clone(), theirs, public.pem());
        (settings.listen, settings.media) = (SocketAddr::new(setup.at, 0), setup.at);
        settings.tone = TEAMS_TONE;
        settings.patience = PATIENCE;
        settings.media_bypass = setup.media_bypass;
        settings.gateways = vec![Gateway {
            fqdn: GATEWAY.into(),
            numbers: vec![TEAMS_NUMBER.into()],
        }];
        (setup.teams)(&mut settings);
        let teams = Teams::start(settings).await.unwrap();

        std::fs::write(
            file("tollgate.toml"),
            configuration(&directory, teams.address)
                + &setup
                    .more
                    .replace("{dir}", &directory.path().display().to_string()),
        )
        .unwrap();
        let config = config::load(Some(&file("tollgate.toml")), []).unwrap();
        let sbc = Sbc::start(&config).await.unwrap();
        let sip = sbc.listening().sip;
        teams.aim(sip.tls[0]);

        let mut settings = PbxConfig::new(sip.udp[0]);
        settings.tone = PBX_TONE;
        settings.patience = PATIENCE;
        (settings.listen, settings.media) = (SocketAddr::new(setup.at, 0), setup.at);
        (setup.pbx)(&mut settings);
        if setup.trunk["transport"] == "tcp" {
            settings.sbc = sip.tcp[0];
        }
        let pbx = Pbx::start(settings).await.unwrap();
        provision(sbc.store(), &setup, sip.tls[0].port(), pbx.address).await;
        Self {
            teams,
            pbx,
            sbc,
            _directory: directory,
        }
    }

    /// What the SBC is provisioned with.
    pub fn store(&self) -> &store::Store {
        self.sbc.store()
    }

    /// Where the SBC takes calls of exchanges, over UDP.
    pub fn pbx_side(&self) -> SocketAddr {
        self.sbc.listening().sip.udp[0]
    }

    /// The first of the SBC's 64 media ports.
    pub fn first_port(&self) -> u16 {
        let text = std::fs::read_to_string(self.config()).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("port_min = "));
        line.unwrap().parse().unwrap()
    }

    /// The folder that `{dir}` in [`Setup::more`] stands for.
    pub fn folder(&self) -> &std::path::Path {
        self._directory.path()
    }

    /// The customer, as the API's path.
    pub fn customer(&self) -> String {
        let directory = self.sbc.store().directory().load_full();
        let customer = directory.customers().find(|c| c.account_id == "contoso");
        format!("/api/v1/customers/{}", customer.unwrap().id)
    }

    /// The directory that calls obey.
    pub fn generation(&self) -> u64 {
        self.sbc.store().directory().load().generation
    }

    /// What the API answers to the carrier's administrator: the status, and the body, null if there is none.
    pub async fn api(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let role = store::AccessRole::CarrierAdmin;
        self.api_as(role, None, method, path, body).await
    }

    /// What it answers to the customer's own administrator.
    pub async fn customers_api(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let id = self.customer().rsplit('/').next().unwrap().parse().unwrap();
        let role = store::AccessRole::CustomerAdmin;
        self.api_as(role, Some(id), method, path, body).await
    }

    async fn api_as(
        &self,
        role: store::AccessRole,
        scope: Option<uuid::Uuid>,
        method: &str,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        let token = self.token(role, scope).await;
        self.send(&token, method, path, body).await
    }

    /// A token of this role.
    pub async fn token(&self, role: store::AccessRole, scope: Option<uuid::Uuid>) -> String {
        let tokens = self.sbc.store().tokens();
        let token = tokens.create("test", role, scope, None).await.unwrap();
        token.text.expose().to_owned()
    }

    /// What the API answers to whoever has this token.
    pub async fn send(&self, token: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.sbc.listening().admin);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.request(method.parse().unwrap(), url);
        request = request.bearer_auth(token).header("If-Match", "*");
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// What Prometheus is told.
    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.sbc.listening().metrics);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// The SBC's configuration.
    pub fn config(&self) -> std::path::PathBuf {
        self._directory.path().join("tollgate.toml")
    }

    /// Calls from Teams, whatever comes of it.
    pub async fn dial_from_teams(&self) -> EmuCall {
        let call = TeamsCall {
            to: PBX_NUMBER.into(),
            from: TEAMS_NUMBER.into(),
            gateway: GATEWAY.into(),
            headers: Vec::new(),
        };
        self.teams.call(call).await.unwrap()
    }

    /// Calls from the PBX, whatever comes of it.
    pub async fn dial_from_pbx(&self, change: impl FnOnce(&mut PbxCall)) -> EmuCall {
        let mut call = PbxCall {
            to: TEAMS_NUMBER.into(),
            from: PBX_NUMBER.into(),
            ..PbxCall::default()
        };
        change(&mut call);
        self.pbx.call(call).await.unwrap()
    }

    /// An answered call from Teams: both ends, Teams first.
    pub async fn call_from_teams(&self) -> (EmuCall, EmuCall) {
        let teams = self.dial_from_teams().await;
        teams.answered().await.unwrap();
        (teams, self.pbx.incoming().await.unwrap())
    }

    /// An answered call from the PBX: both ends, Teams first.
    pub async fn call_from_pbx(&self) -> (EmuCall, EmuCall) {
        let pbx = self.dial_from_pbx(|_| {}).await;
        pbx.answered().await.unwrap();
        (self.teams.incoming().await.unwrap(), pbx)
    }

    /// Every channel comes back without a shutdown's help, and nobody has anything to object.
    pub async fn close(self) {
        let directory = self.sbc.store().directory().load_full();
        let in_use = || -> u32 {
            directory
                .customers()
                .map(|c| self.sbc.ledger().usage(c.id).in_use)
                .sum()
        };
        for _ in 0..1000 {
            if in_use() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(in_use(), 0, "a channel was not given back");
        self.sbc.shut_down().await;
        assert_eq!(
            (self.teams.notes(), self.pbx.notes()),
            (Vec::new(), Vec::new())
        );
    }
}

/// Both ends hear the other's tone.
pub async fn both_hear(teams: &EmuCall, pbx: &EmuCall) {
    let (at_teams, at_pbx) = tokio::join!(teams.hears_tone(PBX_TONE), pbx.hears_tone(TEAMS_TONE));
    at_teams.unwrap_or_else(|e| panic!("Teams: {e}: {:?}", teams.report()));
    at_pbx.unwrap_or_else(|e| panic!("the PBX: {e}: {:?}", pbx.report()));
}

fn configuration(directory: &tempfile::TempDir, teams: SocketAddr) -> String {
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (at, any) = (teams.ip(), SocketAddr::new(teams.ip(), 0));
    let hosts: Vec<_> = Teams::NAMES
        .iter()
        .map(|name| format!("\"{name}\" = [\"{at}\"]"))
        .collect();
    let port_min = media_ports(1);
    format!(
        "data_dir = {:?}\n[sip]\nudp = [\"{any}\"]\ntcp = [\"{any}\"]\ntls = [\"{any}\"]\n\
         [tls]\ncertificate = {:?}\nprivate_key = {:?}\nteams_roots = {:?}\n\
         [teams]\nproxies = [\"sip.pstnhub.microsoft.com:{}\"]\naddress_ranges = [\"127.0.0.0/8\", \"::1/128\"]\n\
         [media]\naddress = \"{at}\"\nport_min = {port_min}\nport_max = {}\n[dns]\nhosts = {{ {} }}\n\
         [calls]\nmax_calls = 8\ndrain_timeout_s = 0\n[admin]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n",
        file("data"),
        file("sbc.pem"),
        file("sbc.key"),
        file("roots.pem"),
        teams.port(),
        port_min + 63,
        hosts.join(", "),
    )
}

/// The first of so many times 64 ports that no other test of this process uses, below those that sockets without one of
/// their own get. Where it starts differs from one process to the next.
pub fn media_ports(blocks: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let turn = std::process::id()
        .wrapping_mul(37)
        .wrapping_add(NEXT.fetch_add(blocks.into(), Ordering::Relaxed));
    12_000 + 64 * (turn % 280) as u16
}

async fn provision(store: &store::Store, setup: &Setup, tls_port: u16, pbx: SocketAddr) {
    let loopback: IpAddr = pbx.ip();
    let region = json!({ "code": "LAB", "display_name": "Laboratory", "base_fqdn": "sbc1.tollgate.test", "sip_port": tls_port,
        "media_bypass": setup.media_bypass });
    let customer = merged(
        json!({ "account_id": "contoso", "name": "Contoso", "max_channels": 4, "regions": ["LAB"],
            "activation_state": "active", "activation_reason": "test" }),
        &setup.customer,
    );
    let gateway = json!({ "region": "LAB", "label": "contoso", "state": "active" });
    let trunk = merged(
        json!({ "name": "pbx", "role": "pbx", "transport": "udp", "host": loopback, "port": pbx.port(), "acl": [loopback] }),
        &setup.trunk,
    );
    let mut change = store.change().await.unwrap();
    store::regions::insert(&mut change, &serde_json::from_value(region).unwrap())
        .await
        .unwrap();
    let customer =
        store::customers::insert(&mut change, &serde_json::from_value(customer).unwrap())
            .await
            .unwrap()
            .id;
    store::gateways::insert(
        &mut change,
        customer,
        &serde_json::from_value(gateway).unwrap(),
    )
    .await
    .unwrap();
    let number: Number = TEAMS_NUMBER.parse().unwrap();
    store::numbers::insert(&mut change, customer, &number.into())
        .await
        .unwrap();
    store::numbers::put_in_service(&mut change, customer, &number)
        .await
        .unwrap();
    store::trunks::insert(
        &mut change,
        Some(customer),
        &serde_json::from_value(trunk).unwrap(),
    )
    .await
    .unwrap();
    change.publish().await.unwrap();
}

/// The first object with the fields of the second over it.
fn merged(mut base: Value, over: &Value) -> Value {
    for (key, value) in over.as_object().into_iter().flatten() {
        base[key] = value.clone();
    }
    base
}

/// How long a test waits for what must happen: a busy machine may take its time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time that a test gives to what must not happen.
pub const A_WHILE: Duration = Duration::from_millis(400);
