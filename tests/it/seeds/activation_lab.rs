//! A running SBC with an emulated Microsoft, an emulated Teams, an emulated carrier and a name server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::app::Sbc;
use tollgate::config;
use tollgate::directory::Number;
use tollgate::emulate::microsoft::{Microsoft, MicrosoftConfig, Tenant};
use tollgate::emulate::{
    Authority, EmuCall, Gateway, KeyKind, Pbx, PbxCall, PbxConfig, Teams, TeamsCall, TeamsConfig,
    Usage,
};
use tollgate::store::{self, AccessRole};
use uuid::Uuid;

use super::nameserver::{KEY_NAME, NameServer, key};
use crate::calls::lab::media_ports;

pub const TEAMS_NUMBER: &str = "+14255550100";
pub const CARRIER_NUMBER: &str = "+14255550200";
pub const TENANT: Uuid = Uuid::from_u128(0x7e4a);
pub const TENANT_NAME: &str = "contoso.onmicrosoft.com";
const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
const SECRET: &str = "the application's secret";

/// What one test needs.
pub struct Lab {
    pub microsoft: Microsoft,
    pub names: NameServer,
    pub teams: Teams,
    pub carrier: Pbx,
    pub sbc: Sbc,
    pub customer: Uuid,
    pub client: reqwest::Client,
    token: String,
    directory: tempfile::TempDir,
}

/// Regions of the customer.
pub struct Setup {
    pub regions: usize,
    /// Whether something runs PowerShell for us.
    pub teams_bridge: bool,
}

impl Lab {
    pub async fn start(setup: Setup) -> Self {
        Self::start_with(setup, "").await
    }

    /// With more sections of the configuration.
    pub async fn start_with(setup: Setup, sections: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let (theirs, public) = (
            Authority::new("Microsoft").unwrap(),
            Authority::new("Public").unwrap(),
        );
        let names = [
            "sbc1.tollgate.test",
            "*.sbc1.tollgate.test",
            "*.sbc2.tollgate.test",
        ];
        let certificate = public.issue(&names, Usage::Both, KeyKind::Ec).unwrap();
        certificate
            .write(&file("sbc.pem"), &file("sbc.key"))
            .unwrap();
        std::fs::write(file("roots.pem"), theirs.pem()).unwrap();
        let identity = theirs
            .issue(&["sip.pstnhub.microsoft.com"], Usage::Server, KeyKind::Ec)
            .unwrap();
        let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let mut settings = TeamsConfig::new(any, identity.clone(), identity, public.pem());
        (settings.listen, settings.media) = (any, any.ip());
        settings.patience = Duration::from_secs(60);
        let numbers = vec![TEAMS_NUMBER.to_owned()];
        settings.gateways = (1..=setup.regions)
            .map(|n| Gateway {
                fqdn: fqdn(n),
                numbers: numbers.clone(),
            })
            .collect();
        let teams = Teams::start(settings).await.unwrap();

        let names = NameServer::start("sbc1.tollgate.test").await;
        let callback = "http://localhost/oauth/callback".to_owned();
        let microsoft = Microsoft::start(MicrosoftConfig {
            listen: any,
            client_id: CLIENT.to_owned(),
            client_secret: SECRET.to_owned(),
            redirect_uris: vec![
                callback.clone(),
                "http://localhost/oidc/callback".to_owned(),
            ],
            nameserver: Some(names.address),
            tenants: vec![
                Tenant::new(TENANT, TENANT_NAME),
                Tenant::new(Uuid::from_u128(0xbad), "other.onmicrosoft.com"),
            ],
            script: Vec::new(),
        })
        .await
        .unwrap();

        let bridge = if setup.teams_bridge {
            microsoft.teams_base()
        } else {
            String::new()
        };
        let text = configuration(&directory, teams.address)
            + &format!(
                "[microsoft]\nlogin_base = {0:?}\ngraph_base = {1:?}\nteams_base = {bridge:?}\nclient_id = {CLIENT:?}\n\
                 client_secret = {SECRET:?}\nredirect_uri = {callback:?}\nplain_http = true\nroots = \"built-in\"\n\
                 portal = \"http://localhost/portal\"\n\
                 [sign_in]\nissuer = \"{0}/organizations/v2.0\"\nclient_id = {CLIENT:?}\nclient_secret = {SECRET:?}\n\
                 plain_http = true\nroots = \"built-in\"\n\
                 [publish]\nprimary = \"{2}\"\nkey_name = {KEY_NAME:?}\nkey = {3:?}\n",
                microsoft.login_base(),
                microsoft.graph_base(),
                names.address,
                key(),
            )
            + sections;
        std::fs::write(file("tollgate.toml"), text).unwrap();
        let config = config::load(Some(&file("tollgate.toml")), []).unwrap();
        let sbc = Sbc::start(&config).await.unwrap();
        let sip = sbc.listening().sip;
        teams.aim(sip.tls[0]);
        let mut settings = PbxConfig::new(sip.udp[0]);
        (settings.listen, settings.media) = (any, any.ip());
        settings.patience = Duration::from_secs(60);
        let carrier = Pbx::start(settings).await.unwrap();
        let customer = provision(sbc.store(), &setup, sip.tls[0].port(), carrier.address).await;
        let created = sbc
            .store()
            .tokens()
            .create("test", AccessRole::CustomerAdmin, Some(customer), None)
            .await;
        let token = created.unwrap().text.expose().to_owned();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none());
        Self {
            microsoft,
            names,
            teams,
            carrier,
            sbc,
            customer,
            client: client.build().unwrap(),
            token,
            directory,
        }
    }

    /// One region, PowerShell at hand.
    pub async fn plain() -> Self {
        Self::start(Setup {
            regions: 1,
            teams_bridge: true,
        })
        .await
    }

    /// A request of the customer's administrator: status and body.
    pub async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.send_as(&self.token, method, path, body).await
    }

    pub async fn send_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        let url = format!("http://{}{path}", self.sbc.listening().admin);
        let mut request = self
            .client
            .request(method.parse().unwrap(), url)
            .bearer_auth(token);
        if !body.is_null() {
            request = request.json(&body);
        }
        if matches!(method, "PATCH" | "DELETE") {
            request = request.header("if-match", "*");
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    /// The same for the activation itself.
    pub async fn activation(&self, method: &str, body: Value) -> (u16, Value) {
        let path = format!("/api/v1/customers/{}/activation", self.customer);
        self.send(method, &path, body).await
    }

    /// How it stands.
    pub async fn now(&self) -> Value {
        self.activation("GET", Value::Null).await.1
    }

    /// Gateways as the API lists them.
    pub async fn gateways(&self) -> Vec<Value> {
        let path = format!("/api/v1/customers/{}/gateways", self.customer);
        self.send("GET", &path, Value::Null).await.1["items"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// Gives the nth gateway, from 0, its code.
    pub async fn give_code(&self, n: usize, code: &str) -> (u16, Value) {
        let gateway = self.gateways().await[n]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/customers/{}/gateways/{gateway}", self.customer);
        self.send("PATCH", &path, json!({ "verification_code": code }))
            .await
    }

    /// Waits until the activation is as it should be.
    pub async fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..600 {
            last = self.now().await;
            if is(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never {what}: {last:#}\n{:#?}", self.microsoft.log());
    }

    pub async fn until_state(&self, state: &str) -> Value {
        self.until(state, |now| now["state"] == state).await
    }

    /// An administrator goes to Microsoft's page, decides and is sent back: where to, and what the SBC says.
    pub async fn consent(&self, url: &str, form: &[(&str, &str)]) -> (u16, String) {
        let page = self.client.get(url).send().await.unwrap();
        assert_eq!(page.status(), 200);
        let page = page.text().await.unwrap();
        let action = page
            .split("action=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .replace("&amp;", "&");
        let form: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let url = format!("{}{action}", self.microsoft.login_base());
        let back = self
            .client
            .post(url)
            .body(form.join("&"))
            .send()
            .await
            .unwrap();
        assert_eq!(back.status(), 302);
        let location = back.headers()["location"].to_str().unwrap().to_owned();
        self.come_back(&location).await
    }

    /// Follows Microsoft's redirection, which leads to the public name of the API.
    pub async fn come_back(&self, location: &str) -> (u16, String) {
        let (_, rest) = location.split_once("localhost").unwrap();
        let url = format!("http://{}{rest}", self.sbc.listening().admin);
        let answer = self.client.get(url).send().await.unwrap();
        let to = answer
            .headers()
            .get("location")
            .map(|to| to.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        (status, to.unwrap_or_default())
    }

    /// Starts the automatic way and consents for the whole organisation.
    pub async fn activate(&self) {
        let (status, body) = self.activation("POST", Value::Null).await;
        assert_eq!(status, 200, "{body}");
        let url = body["consent_url"].as_str().unwrap();
        let (status, to) = self.consent(url, &ACCEPTED).await;
        assert_eq!(status, 302);
        assert!(
            to.starts_with("http://localhost/portal?customer=")
                && to.ends_with("activation=activating"),
            "{to}"
        );
    }

    /// What was asked of Microsoft, in order: method and path.
    pub fn asked(&self) -> Vec<String> {
        self.microsoft
            .log()
            .iter()
            .map(|one| format!("{} {}", one.method, one.path))
            .collect()
    }

    pub async fn call_from_teams(&self) -> EmuCall {
        let call = TeamsCall {
            to: CARRIER_NUMBER.into(),
            from: TEAMS_NUMBER.into(),
            gateway: fqdn(1),
            headers: Vec::new(),
        };
        self.teams.call(call).await.unwrap()
    }

    pub async fn call_from_carrier(&self) -> EmuCall {
        let call = PbxCall {
            to: TEAMS_NUMBER.into(),
            from: CARRIER_NUMBER.into(),
            ..PbxCall::default()
        };
        self.carrier.call(call).await.unwrap()
    }

    /// The SBC ends in the middle of something, and starts again on what it had stored.
    pub async fn restarted(self) -> Self {
        self.sbc.shut_down().await;
        let config = self.directory.path().join("tollgate.toml");
        let config = config::load(Some(&config), []).unwrap();
        let sbc = Sbc::start(&config).await.unwrap();
        Self { sbc, ..self }
    }

    pub async fn close(self) {
        self.sbc.shut_down().await;
        drop(self.directory);
    }
}

pub const ACCEPTED: [(&str, &str); 2] = [("decision", "accept"), ("organisation", "on")];

/// The customer's name in the nth region, from 1.
pub fn fqdn(n: usize) -> String {
    format!("contoso.sbc{n}.tollgate.test")
}

fn configuration(directory: &tempfile::TempDir, teams: SocketAddr) -> String {
    let file = |name: &str| directory.path().join(name).display().to_string();
    let hosts: Vec<_> = Teams::NAMES
        .iter()
        .map(|name| format!("\"{name}\" = [\"127.0.0.1\"]"))
        .collect();
    let port_min = media_ports(1);
    format!(
        "data_dir = {:?}\n[sip]\nudp = [\"127.0.0.1:0\"]\ntcp = [\"127.0.0.1:0\"]\ntls = [\"127.0.0.1:0\"]\n\
         [tls]\ncertificate = {:?}\nprivate_key = {:?}\nteams_roots = {:?}\n\
         [teams]\nproxies = [\"sip.pstnhub.microsoft.com:{}\"]\naddress_ranges = [\"127.0.0.0/8\"]\n\
         [media]\naddress = \"127.0.0.1\"\nport_min = {port_min}\nport_max = {}\n[dns]\nhosts = {{ {} }}\n\
         [calls]\nmax_calls = 8\ndrain_timeout_s = 0\n[admin]\nlisten = \"127.0.0.1:0\"\npublic_url = \"http://localhost\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n",
        file("data"),
        file("sbc.pem"),
        file("sbc.key"),
        file("roots.pem"),
        teams.port(),
        port_min + 63,
        hosts.join(", "),
    )
}

async fn provision(
    store: &store::Store,
    setup: &Setup,
    tls_port: u16,
    carrier: SocketAddr,
) -> Uuid {
    let mut change = store.change().await.unwrap();
    let codes: Vec<String> = (1..=setup.regions).map(|n| format!("LAB{n}")).collect();
    for (n, code) in (1..).zip(&codes) {
        let region = json!({ "code": code, "display_name": code, "base_fqdn": format!("sbc{n}.tollgate.test"), "sip_port": tls_port });
        store::regions::insert(&mut change, &serde_json::from_value(region).unwrap())
            .await
            .unwrap();
    }
    let customer = json!({ "account_id": "contoso", "name": "Contoso", "tenant_name": TENANT_NAME, "max_channels": 4,
        "regions": codes, "caller_screening": false });
    let customer =
        store::customers::insert(&mut change, &serde_json::from_value(customer).unwrap())
            .await
            .unwrap()
            .id;
    for code in &codes {
        let gateway = json!({ "region": code, "label": "contoso" });
        store::gateways::insert(
            &mut change,
            customer,
            &serde_json::from_value(gateway).unwrap(),
        )
        .await
        .unwrap();
    }
    let number: Number = TEAMS_NUMBER.parse().unwrap();
    store::numbers::insert(&mut change, customer, &number.into())
        .await
        .unwrap();
    store::numbers::put_in_service(&mut change, customer, &number)
        .await
        .unwrap();
    let trunk = json!({ "name": "carrier", "role": "carrier", "transport": "udp", "host": carrier.ip(), "port": carrier.port(),
        "acl": [carrier.ip()] });
    store::trunks::insert(&mut change, None, &serde_json::from_value(trunk).unwrap())
        .await
        .unwrap();
    change.publish().await.unwrap();
    customer
}
