//! The files of desk telephones, over HTTPS from a running SBC.

use crate::calls::lab::media_ports;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tollgate::app::Sbc;
use tollgate::config;
use tollgate::emulate::{Authority, KeyKind, Usage};
use tollgate::store::AccessRole;
use uuid::Uuid;

pub(super) const MAC: &str = "001565aabbcc";

/// A running SBC, a maker of telephones, and one customer with one user.
pub(super) struct Lab {
    pub(super) sbc: Sbc,
    maker: Authority,
    roots: String,
    api: reqwest::Client,
    token: String,
    pub(super) customer: String,
    pub(super) user: String,
    directory: tempfile::TempDir,
}

impl Lab {
    pub(super) async fn start(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let (public, maker) = (
            Authority::new("Public").unwrap(),
            Authority::new("Maker").unwrap(),
        );
        let own = public
            .issue(&["127.0.0.1"], Usage::Both, KeyKind::Ec)
            .unwrap();
        own.write(&file("sbc.pem"), &file("sbc.key")).unwrap();
        std::fs::write(file("makers.pem"), maker.pem()).unwrap();
        let port_min = media_ports(1);
        let text = format!(
            "data_dir = {:?}\n[sip]\nudp = [\"127.0.0.1:0\"]\ntcp = [\"127.0.0.1:0\"]\ntls = [\"127.0.0.1:0\"]\n\
             public_host = \"sbc.example.net\"\n[tls]\ncertificate = {:?}\nprivate_key = {:?}\n\
             [media]\naddress = \"127.0.0.1\"\nport_min = {port_min}\nport_max = {}\n[calls]\nmax_calls = 8\n\
             drain_timeout_s = 0\n[admin]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
             [phone_files]\nlisten = \"127.0.0.1:0\"\nclient_roots = {:?}\n{more}\n",
            file("data"),
            file("sbc.pem"),
            file("sbc.key"),
            port_min + 63,
            file("makers.pem"),
        );
        std::fs::write(file("tollgate.toml"), text).unwrap();
        let config = config::load(Some(&file("tollgate.toml")), []).unwrap();
        let sbc = Sbc::start(&config).await.unwrap();
        let tokens = sbc.store().tokens();
        let created = tokens
            .create("t", AccessRole::CarrierAdmin, None, None)
            .await;
        let token = created.unwrap().text.expose().to_owned();
        let api = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        let mut lab = Self {
            sbc,
            maker,
            roots: public.pem(),
            api: api.build().unwrap(),
            token,
            customer: String::new(),
            user: String::new(),
            directory,
        };
        lab.provision().await;
        lab
    }

    async fn provision(&mut self) {
        let customer = json!({ "account_id": "acme", "name": "Acme", "tenant_name": "acme.onmicrosoft.com", "max_channels": 2 });
        let customer = self.made("/customers", customer).await;
        self.customer = format!("/customers/{customer}");
        let id: Uuid = customer.parse().unwrap();
        let tokens = self.sbc.store().tokens();
        let created = tokens
            .create("c", AccessRole::CustomerAdmin, Some(id), None)
            .await;
        let theirs = created.unwrap().text.expose().to_owned();
        let consent = format!("{}/co-management", self.customer);
        let granted = json!({ "state": "granted" });
        assert_eq!(self.send_as(&theirs, "PUT", &consent, granted).await.0, 200);
        let numbers = json!({ "numbers": ["+14255550100"] });
        let below = |what: &str| format!("{}/{what}", self.customer);
        assert_eq!(self.send("POST", &below("numbers"), numbers).await.0, 201);
        let user = json!({ "upn": "jo@acme.example", "display_name": "Zoë \"李\" <&>", "extension": "1001",
            "default_did": "+14255550100", "license_assigned": true });
        let user = self.made(&below("users"), user).await;
        for model in ["yealink-t46u", "poly-vvx450", "snom-d735", "generic-sip"] {
            let model = json!({ "model": model });
            assert_eq!(
                self.send("POST", &below("device-models"), model).await.0,
                201
            );
        }
        self.user = user;
    }

    pub(super) async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.send_as(&self.token, method, path, body).await
    }

    async fn send_as(&self, token: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let url = format!("http://{}/api/v1{path}", self.sbc.listening().admin);
        let request = self
            .api
            .request(method.parse().unwrap(), url)
            .bearer_auth(token);
        let request = request.header("If-Match", "*");
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub(super) async fn made(&self, path: &str, body: Value) -> String {
        let (status, made) = self.send("POST", path, body).await;
        assert_eq!(status, 201, "{path}: {made}");
        made["id"].as_str().unwrap().to_owned()
    }

    /// A telephone of the user's, as the API answers.
    pub(super) async fn assign(&self, model: &str, mac: Option<&str>) -> Value {
        let method = if mac.is_some() { "mac" } else { "code" };
        let body = json!({ "user_id": self.user, "model": model, "method": method, "mac": mac });
        let (status, made) = self
            .send("POST", &format!("{}/devices", self.customer), body)
            .await;
        assert_eq!(status, 201, "{made}");
        made
    }

    /// A telephone, with a certificate of its maker for this address if any.
    pub(super) fn phone(&self, certified: Option<&str>) -> Phone {
        let root = reqwest::Certificate::from_pem(self.roots.as_bytes()).unwrap();
        let mut client = reqwest::Client::builder().no_proxy().tls_certs_only([root]);
        if let Some(mac) = certified {
            let identity = self.maker.issue(&[mac], Usage::Both, KeyKind::Ec).unwrap();
            let file = |name: &str| self.directory.path().join(name);
            identity
                .write(&file("phone.pem"), &file("phone.key"))
                .unwrap();
            let mut pem = std::fs::read(file("phone.key")).unwrap();
            pem.extend(std::fs::read(file("phone.pem")).unwrap());
            client = client.identity(reqwest::Identity::from_pem(&pem).unwrap());
        }
        let address = self.sbc.listening().phone_files.unwrap();
        Phone {
            client: client.build().unwrap(),
            base: format!("https://{address}/prov/"),
        }
    }
}

pub(super) struct Phone {
    client: reqwest::Client,
    base: String,
}

impl Phone {
    fn request(&self, method: &str, name: &str) -> reqwest::RequestBuilder {
        let method: Method = method.parse().unwrap();
        let request = self.client.request(method, format!("{}{name}", self.base));
        request.header(
            "User-Agent",
            "Yealink SIP-T46U 108.86.0.20 00:15:65:aa:bb:cc",
        )
    }

    /// Status and text.
    pub(super) async fn get(&self, name: &str) -> (u16, String) {
        let answer = self.request("GET", name).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

pub(super) fn value<'a>(file: &'a str, key: &str) -> &'a str {
    let mut lines = file.lines().filter_map(|line| line.split_once(" = "));
    lines
        .find(|(name, _)| *name == key)
        .map_or("", |(_, value)| value)
}

/// A telephone of a known maker that is nobody's can be activated, and nothing else; of an unknown maker there is none.
#[tokio::test]
async fn d_13_a_telephone_that_is_nobodys_gets_a_bootstrap_file() {
    let lab = Lab::start("").await;
    let phone = lab.phone(None);
    let (status, file) = phone.get("001565aabbcc.cfg").await;
    assert_eq!(status, 200);
    assert_eq!(file.lines().next(), Some("#!version:1.0.0.1"));
    assert_eq!(value(&file, "account.1.user_name"), "act-001565aabbcc");
    assert_eq!(value(&file, "account.1.label"), "Activate");
    assert_eq!(value(&file, "features.hotline_number"), "activate");
    let (_, other) = phone.get("001565AABBDD.cfg").await;
    let password = value(&file, "account.1.password");
    assert_eq!(password, value(&other, "account.1.password"), "of no user");
    let kept = lab.directory.path().join("data/bootstrap-password");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), password);
    for (name, status) in [
        ("000413AABBCC.htm", 200),
        ("0004f2aabbcc.cfg", 200),
        ("0004f2aabbcc-tollgate.cfg", 200),
        ("cfg000b82aabbcc", 404),
        ("cfg000b82aabbcc.xml", 200),
        ("000e08aabbcc.xml", 200),
        ("y000000000108.cfg", 200),
        ("000000000000.cfg", 200),
        ("02aabbccddee.cfg", 404),
        ("02aabbccddee.accounts", 404),
        ("001565aabbcc.accounts", 200),
        ("001565aabbcc.xml", 404),
        ("001565aabbcc.exe", 404),
        ("..%2F001565aabbcc.cfg", 404),
        ("%00", 404),
    ] {
        assert_eq!(phone.get(name).await.0, status, "{name}");
    }
    let elsewhere = phone
        .client
        .get(phone.base.replace("/prov/", "/"))
        .send()
        .await;
    assert_eq!(elsewhere.unwrap().status(), 404);
}

/// D-14, D-20: what a telephone needs stands in its file; it is given once without a proof, then with the credentials that
/// stand in it; who fetched what is noted.
#[tokio::test]
async fn d_14_the_file_of_a_users_telephone() {
    let lab = Lab::start("").await;
    let device = lab.assign("yealink-t46u", Some(MAC)).await;
    let phone = lab.phone(None);
    let head = phone
        .request("HEAD", "001565aabbcc.cfg")
        .send()
        .await
        .unwrap();
    assert_eq!(head.status(), 200, "looking is not having");
    assert!(head.headers().contains_key("etag") && head.headers().contains_key("last-modified"));
    let (status, file) = phone.get("001565aabbcc.cfg").await;
    assert_eq!(status, 200);
    let sip = lab.sbc.listening().sip;
    let port = sip.tls[0].port().to_string();
    for (key, expected) in [
        ("account.1.label", "1001"),
        ("account.1.display_name", "Zoë \"李\" <&>"),
        (
            "account.1.user_name",
            device["sip_username"].as_str().unwrap(),
        ),
        ("account.1.sip_server.1.address", "sbc.example.net"),
        ("account.1.sip_server.1.port", &port),
        ("account.1.sip_server.1.transport_type", "2"),
    ] {
        assert_eq!(value(&file, key), expected, "{key}");
    }
    let directory = lab.sbc.store().directory().load_full();
    let known = directory
        .phone(device["sip_username"].as_str().unwrap())
        .unwrap();
    assert_eq!(value(&file, "account.1.password"), known.password.expose());
    assert_eq!(phone.get("001565aabbcc.cfg").await.0, 401, "once");
    let user = value(&file, "static.auto_provision.server.username");
    let password = value(&file, "static.auto_provision.server.password");
    let with = |password: &str| {
        let request = phone.request("GET", "001565aabbcc.cfg");
        request.basic_auth(user.to_owned(), Some(password.to_owned()))
    };
    let again = with(password).send().await.unwrap();
    assert_eq!(again.status(), 200);
    let tag = again.headers()["etag"].clone();
    assert_eq!(again.text().await.unwrap(), file, "the same for the same");
    let known = with(password)
        .header("If-None-Match", tag)
        .send()
        .await
        .unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    let wrong = with("wrong").send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    let scheme = wrong.headers()["www-authenticate"].to_str().unwrap();
    assert!(scheme.starts_with("Basic "));
    let path = format!(
        "{}/devices/{}",
        lab.customer,
        device["id"].as_str().unwrap()
    );
    let (_, seen) = lab.send("GET", &path, Value::Null).await;
    assert_eq!(
        (&seen["state"], &seen["last_ip"]),
        (&json!("provisioning"), &json!("127.0.0.1"))
    );
    assert!(
        seen["last_user_agent"]
            .as_str()
            .unwrap()
            .starts_with("Yealink")
    );
    let reboot = format!("/devices/{}/reboot", device["id"].as_str().unwrap());
    let (_, told) = lab.send("POST", &reboot, Value::Null).await;
    assert_eq!(told["reason"], "settling", "it restarts by itself");
}

/// D-20: half an hour after its activation nobody gets the file without a proof.
#[tokio::test]
async fn d_20_the_file_is_open_for_half_an_hour() {
    let lab = Lab::start("").await;
    lab.assign("yealink-t46u", Some(MAC)).await;
    lab.sbc.clock().advance(time::Duration::minutes(30));
    let (status, text) = lab.phone(None).get("001565aabbcc.cfg").await;
    assert_eq!((status, text.as_str()), (401, ""));
}

/// D-20: a maker's certificate opens the file of its telephone as often as it wants, and no other; one of somebody else's
/// making does not even connect.
#[tokio::test]
async fn d_20_a_certificate_says_which_telephone_it_is() {
    let lab = Lab::start("").await;
    lab.assign("yealink-t46u", Some(MAC)).await;
    let mine = lab.phone(Some(MAC));
    for _ in 0..2 {
        assert_eq!(mine.get("001565aabbcc.cfg").await.0, 200);
    }
    let other = lab.phone(Some("001565aabbdd"));
    assert_eq!(other.get("001565aabbcc.cfg").await.0, 403);
    assert_eq!(
        other.get("001565aabbdd.cfg").await.0,
        200,
        "its own bootstrap file"
    );
    assert_eq!(mine.get("001565aabbdd.cfg").await.0, 403);
    let forger = Lab {
        maker: Authority::new("Maker").unwrap(),
        ..lab
    };
    let forged = forger.phone(Some(MAC));
    assert!(
        forged
            .request("GET", "001565aabbcc.cfg")
            .send()
            .await
            .is_err()
    );
}

/// D-30, D-37: taken from its user, a telephone finds the bootstrap file again, whatever it shows.
#[tokio::test]
async fn d_37_a_telephone_that_was_taken_away_is_nobodys() {
    let lab = Lab::start("").await;
    let device = lab.assign("yealink-t46u", Some(MAC)).await;
    let phone = lab.phone(Some(MAC));
    let (_, own) = phone.get("001565aabbcc.cfg").await;
    let path = format!("/devices/{}/deactivate", device["id"].as_str().unwrap());
    assert_eq!(lab.send("POST", &path, Value::Null).await.0, 202);
    let (status, file) = phone.get("001565aabbcc.cfg").await;
    assert_eq!((status, value(&file, "account.1.label")), (200, "Activate"));
    assert!(!file.contains(value(&own, "account.1.password")));
}

/// D-13, D-22: a telephone is nobody's until its code was typed, and its file is its user's then.
#[tokio::test]
async fn d_22_after_the_code_the_file_is_the_users() {
    use tollgate::store::{Attempt, Binding};
    let lab = Lab::start("").await;
    let device = lab.assign("yealink-t46u", None).await;
    let phone = lab.phone(None);
    let (_, before) = phone.get("001565aabbcc.cfg").await;
    assert_eq!(value(&before, "account.1.label"), "Activate");
    let attempt = Attempt {
        mac: MAC.parse().unwrap(),
        code: device["activation_code"]["code"].as_str().unwrap(),
        source: "127.0.0.1".parse().unwrap(),
    };
    let now = lab.sbc.clock().now();
    let bound = lab.sbc.store().bind_device(&attempt, now).await.unwrap();
    assert!(matches!(bound, Binding::Bound(_)));
    let (_, after) = phone.get("001565aabbcc.cfg").await;
    assert_eq!(value(&after, "account.1.label"), "1001");
}

/// Logs are taken and kept nowhere, and are not taken from strangers nor without end.
#[tokio::test]
async fn d_logs_are_taken_in_bounds() {
    let lab = Lab::start("").await;
    let phone = lab.phone(None);
    let put = async |name: &str, bytes: usize| {
        let request = phone.request("PUT", name).body(vec![b'x'; bytes]);
        request
            .send()
            .await
            .map_or(0, |answer| answer.status().as_u16())
    };
    assert_eq!(put("0004f2aabbcc-app.log", 200_000).await, 204);
    assert_eq!(put("001565aabbcc-local.cfg", 10).await, 204);
    assert_eq!(put("02aabbccddee-app.log", 10).await, 404);
    assert_eq!(put("0004f2aabbcc.cfg", 10).await, 404);
    // The telephone may still be sending when it is refused.
    assert!([0, 413].contains(&put("0004f2aabbcc-app.log", 4_000_000).await));
    assert_eq!(phone.get("0004f2aabbcc-app.log").await.0, 404);
    let post = phone
        .request("POST", "001565aabbcc.cfg")
        .send()
        .await
        .unwrap();
    assert_eq!(post.status(), 405);
}

/// Who asks for one address after the other is soon not answered, and telephones in bounds still are when time has passed.
#[tokio::test]
async fn d_who_scans_is_slowed_down() {
    let lab = Lab::start("requests_per_minute = 100\n").await;
    let phone = lab.phone(None);
    let mut statuses = Vec::new();
    for n in 0..30 {
        statuses.push(phone.get(&format!("02aabbccdd{n:02x}.cfg")).await.0);
    }
    assert_eq!(statuses[0], 404);
    assert_eq!(statuses.last(), Some(&429));
    let limited = phone
        .request("GET", "001565aabbcc.cfg")
        .send()
        .await
        .unwrap();
    assert!(limited.headers().contains_key("retry-after"));
    let metrics = format!("http://{}/metrics", lab.sbc.listening().metrics);
    let text = lab
        .api
        .get(metrics)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        text.contains("tollgate_phone_files_limited_total"),
        "{text}"
    );
}

/// Connections from one address are bounded; when one ends, another finds its place.
#[tokio::test]
async fn d_connections_are_bounded() {
    use tokio::net::TcpStream;
    let lab = Lab::start("max_connections_per_source = 2\n").await;
    let address = lab.sbc.listening().phone_files.unwrap();
    let held = [
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
    ];
    let phone = lab.phone(None);
    let get = async || phone.request("GET", "001565aabbcc.cfg").send().await;
    let mut refused = false;
    for _ in 0..100 {
        // The two may not have been accepted yet; a phone that was served keeps its connection.
        refused |= lab.phone(None).request("GET", "x").send().await.is_err();
        if refused {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(refused);
    drop(held);
    for _ in 0..100 {
        if get().await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no place came free");
}
