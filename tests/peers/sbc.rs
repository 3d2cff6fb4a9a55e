//! Tollgate as a user starts it.

use crate::api::Api;
use crate::kamailio::EDGES;
use crate::lab::Lab;
use crate::process::{PATIENCE, Running};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};
use tollgate::emulate::Teams;

/// What differs from one test to the next.
#[derive(Clone, Copy)]
pub struct Setup {
    /// Calls that the customer may have at once.
    pub channels: u32,
    /// Whether Teams has three proxies, each at an address of its own, instead of one.
    pub proxies: bool,
    /// Whether media go past Microsoft's processors.
    pub bypass: bool,
    /// Whether desk telephones find their files and register here.
    pub desk: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            channels: 10,
            proxies: false,
            bypass: false,
            desk: false,
        }
    }
}

/// `tollgate run`, provisioned through its API with one customer.
pub struct Sbc {
    running: Running,
    pub api: Api,
    /// The customer's path in the API.
    pub customer: String,
    directory: std::path::PathBuf,
    metrics: String,
}

impl Sbc {
    /// Starts it; the customer may have so many calls at once.
    pub async fn start(lab: &Lab, channels: u32) -> Self {
        let setup = Setup {
            channels,
            ..Setup::default()
        };
        Self::start_with(lab, setup).await
    }

    /// Starts it.
    pub async fn start_with(lab: &Lab, setup: Setup) -> Self {
        let desk = if setup.desk { desk(lab) } else { String::new() };
        let configuration = configuration(lab, setup.proxies) + &desk;
        lab.write("tollgate.toml", &configuration);
        let mut running = Running::start(
            "tollgate",
            lab.directory(),
            tollgate().args(["run", "--config", "tollgate.toml"]),
        );
        assert!(running.prints("\nready\n").await, "{}", running.printed());
        let token = [
            "token",
            "create",
            "--config",
            "tollgate.toml",
            "--role",
            "carrier_admin",
        ];
        let token = tollgate()
            .args(token)
            .current_dir(lab.directory())
            .output()
            .expect("the program starts");
        assert!(token.status.success(), "{token:?}");
        let token = String::from_utf8(token.stdout).expect("a token");
        let api = Api::new(
            format!("http://{}:8080", lab.sbc()),
            token.trim().to_owned(),
        );
        let customer = api.provision(&setup, &lab.pbx().to_string()).await;
        Self {
            running,
            api,
            customer,
            directory: lab.directory().to_owned(),
            metrics: format!("http://{}:9090/metrics", lab.sbc()),
        }
    }

    /// The API as the customer's own administrator uses it.
    pub async fn customers_api(&self) -> Api {
        let scope = self.customer.rsplit('/').next().unwrap_or_default();
        let token = [
            "token",
            "create",
            "--config",
            "tollgate.toml",
            "--role",
            "customer_admin",
        ];
        let token = tollgate()
            .args(token)
            .args(["--scope", scope])
            .current_dir(&self.directory)
            .output()
            .expect("the program starts");
        assert!(token.status.success(), "{token:?}");
        let token = String::from_utf8(token.stdout).expect("a token");
        self.api.with(token.trim().to_owned())
    }

    /// What the customer's limit has seen.
    pub async fn channels(&self) -> Value {
        self.api.get(&format!("{}/channels", self.customer)).await
    }

    /// Waits until the customer has so many calls.
    pub async fn comes_to(&self, calls: u64) {
        let from = Instant::now();
        loop {
            let channels = self.channels().await;
            if channels["in_use"] == calls {
                return;
            }
            assert!(
                from.elapsed() < PATIENCE,
                "{calls} calls do not come about: {channels}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A metric without labels, or the sum of all its series.
    pub async fn metric(&self, name: &str) -> f64 {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build();
        let answer = client.expect("a client").get(&self.metrics).send().await;
        let text = answer.expect("an answer").text().await.expect("a body");
        let values: Vec<f64> = text
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with([' ', '{']))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse().ok())
            .collect();
        assert!(!values.is_empty(), "no metric {name} in:\n{text}");
        values.iter().sum()
    }

    /// Waits until a metric has this value; gauges are copies of a moment before.
    pub async fn reaches(&self, name: &str, value: f64) {
        let from = Instant::now();
        loop {
            let now = self.metric(name).await;
            if now == value {
                return;
            }
            assert!(
                from.elapsed() < PATIENCE,
                "{name} stays at {now}, not {value}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until so many calls are answered.
    pub async fn answered(&self, calls: usize) {
        let from = Instant::now();
        loop {
            let live = self.api.list("/calls").await;
            let answered = live.iter().filter(|call| call["state"] == "answered");
            if answered.count() == calls {
                return;
            }
            assert!(from.elapsed() < PATIENCE, "{live:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the oldest call, as an operator does.
    pub async fn hang_up_one(&self) {
        let live = self.api.list("/calls").await;
        let id = live.first().and_then(|call| call["id"].as_str());
        self.api
            .delete(&format!("/calls/{}", id.expect("a call")))
            .await;
    }

    /// Waits until all calls are over; they must have left exactly so many records, which it returns, and nothing else.
    pub async fn is_at_rest(&self, calls: usize) -> Vec<Value> {
        self.comes_to(0).await;
        self.reaches("tollgate_calls_active", 0.0).await;
        self.reaches("tollgate_media_legs", 0.0).await;
        self.reaches("tollgate_cdr_written_total", calls as f64)
            .await;
        let from = Instant::now();
        loop {
            let records = self.api.list("/cdrs").await;
            if records.len() == calls {
                return records;
            }
            assert!(
                records.len() < calls && from.elapsed() < PATIENCE,
                "{} records of {calls} calls",
                records.len()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Ends it as a service manager does; it must agree, and have nothing to complain of.
    pub async fn stop(mut self) {
        let status = self.running.stop(Signal::SIGTERM).await;
        assert!(status.success(), "it ended with {status}");
        let printed = self.running.printed();
        let complaints: Vec<_> = printed
            .lines()
            .filter(|line| line.contains("panicked") || line.contains("ERROR"))
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

/// The program, with nothing of ours in its environment.
pub fn tollgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("TOLLGATE__") {
            command.env_remove(key);
        }
    }
    command
}

/// By which telephones register that nobody has activated.
pub const UNBOXED: &str = "of-a-box";

/// Where telephones find their files, by HTTPS.
pub const PHONE_FILES: u16 = 8443;

fn desk(lab: &Lab) -> String {
    lab.write("unboxed", UNBOXED);
    let sbc = lab.sbc();
    format!(
        "[phones]\nbootstrap_password_file = \"unboxed\"\n\
         [phone_files]\nlisten = \"{sbc}:{PHONE_FILES}\"\nsip_host = \"{sbc}\"\n"
    )
}

fn configuration(lab: &Lab, several: bool) -> String {
    let (sbc, all) = (lab.sbc(), lab.proxies());
    let used = if several { 3 } else { 1 };
    let names = &["sip", "sip2", "sip3"][..used];
    let proxies: Vec<_> = names
        .iter()
        .map(|name| format!("\"{name}.pstnhub.microsoft.com:5061\""))
        .collect();
    let hosts = Teams::NAMES.iter().map(|host| {
        let name = host.split('.').next();
        let place = |names: &[&str]| names.iter().position(|other| Some(*other) == name);
        let n = place(names).or(place(&EDGES[..used])).unwrap_or(0);
        format!("\"{host}\" = [\"{}\"]", all[n])
    });
    let hosts = hosts.chain([format!(
        "\"{}.pstnhub.microsoft.com\" = [\"{}\"]",
        EDGES[2], all[2]
    )]);
    let ranges: Vec<_> = all.iter().map(|a| format!("\"{a}/32\"")).collect();
    format!(
        r#"data_dir = "data"
[sip]
udp = ["{sbc}:5060"]
tcp = ["{sbc}:5060"]
tls = ["{sbc}:5061"]
[tls]
certificate = "sbc.pem"
private_key = "sbc.key"
client_certificates = "optional"
teams_roots = "teams-roots.pem"
[teams]
proxies = [{}]
# The emulated Teams dials from wherever loopback lets it.
address_ranges = ["127.0.0.1/32", {}]
[media]
address = "{sbc}"
port_min = 10000
port_max = 59999
[dns]
hosts = {{ {} }}
[calls]
max_calls = 1000
[admin]
listen = "{sbc}:8080"
[metrics]
listen = "{sbc}:9090"
"#,
        proxies.join(", "),
        ranges.join(", "),
        hosts.collect::<Vec<_>>().join(", ")
    )
}
