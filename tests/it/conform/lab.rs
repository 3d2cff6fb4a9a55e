//! A running SBC on the bench, with the man in the middle before it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tollgate::app::Sbc;
use tollgate::config;
use tollgate::directory::Number;
use tollgate::emulate::conform::{Bench, Customer, Facts, PBX_TONE, TEAMS_TONE};
use tollgate::emulate::{
    Authority, Gateway, Identity, KeyKind, Pbx, PbxConfig, Teams, TeamsConfig, Usage,
};
use tollgate::store;

use super::middle::{self, Middle, Papers, To};
use crate::calls::lab::media_ports;

const BASE: &str = "sbc1.tollgate.test";
const GATEWAY: &str = "contoso.sbc1.tollgate.test";
const TEAMS_NUMBER: &str = "+14255550100";
const OTHER_GATEWAY: &str = "fabrikam.sbc1.tollgate.test";
const OTHER_NUMBER: &str = "+14255550300";
const TEAMS_NAME: &str = "sip.pstnhub.microsoft.com";
/// Media ports in blocks of 64: a port that was used rests for a while.
const BLOCKS: u16 = 12;
/// What does not come within this does not come. Many faults cost as much.
const PATIENCE: Duration = Duration::from_secs(7);

pub struct Lab {
    pub bench: Bench,
    pub middle: Middle,
    sbc: Sbc,
    _directory: tempfile::TempDir,
}

impl Lab {
    /// With two customers, and a trunk at Teams that has media bypass or not.
    pub async fn start(media_bypass: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let authority = |name| Authority::new(name).unwrap();
        let (microsoft, public) = (authority("Microsoft"), authority("Public"));
        let issue = |authority: &Authority, names: &[&str], usage| -> Identity {
            authority.issue(names, usage, KeyKind::Ec).unwrap()
        };
        let ours = issue(&public, &[BASE, "*.sbc1.tollgate.test"], Usage::Both);
        let theirs = issue(&microsoft, &[TEAMS_NAME], Usage::Server);
        ours.write(&file("sbc.pem"), &file("sbc.key")).unwrap();
        std::fs::write(file("roots.pem"), microsoft.pem()).unwrap();

        let nowhere = "127.0.0.1:9".parse().unwrap();
        let mut settings = TeamsConfig::new(nowhere, theirs.clone(), theirs.clone(), public.pem());
        settings.others = vec![settings.listen; 2];
        settings.options_interval = Duration::from_secs(1);
        settings.media_bypass = media_bypass;
        (settings.tone, settings.patience) = (TEAMS_TONE, PATIENCE);
        settings.gateways = vec![
            Gateway {
                fqdn: BASE.into(),
                numbers: Vec::new(),
            },
            Gateway {
                fqdn: GATEWAY.into(),
                numbers: vec![TEAMS_NUMBER.into()],
            },
            Gateway {
                fqdn: OTHER_GATEWAY.into(),
                numbers: vec![OTHER_NUMBER.into()],
            },
        ];
        let teams = Teams::start(settings).await.unwrap();
        let papers = Papers {
            sbc: ours,
            wrong: issue(&public, &["wrong.example"], Usage::Both),
            teams: theirs,
            sbc_roots: public.pem(),
            teams_roots: microsoft.pem(),
            sbc_name: BASE.into(),
            teams_name: TEAMS_NAME.into(),
        };
        let middle = Middle::new(&papers, directory.path());
        for door in &teams.listening {
            middle.stand_for(*door, To::Teams).await;
        }

        std::fs::write(file("tollgate.toml"), configuration(&directory, &teams)).unwrap();
        let config = config::load(Some(&file("tollgate.toml")), []).unwrap();
        let sbc = Sbc::start(&config).await.unwrap();
        let sip = sbc.listening().sip;
        teams.aim(middle.stand_for(sip.tls[0], To::Sbc).await);
        let mut settings = PbxConfig::new(sip.udp[0]);
        (settings.tone, settings.patience) = (PBX_TONE, PATIENCE);
        let pbx = Pbx::start(settings).await.unwrap();
        provision(sbc.store(), sip.tls[0].port(), media_bypass, &pbx).await;
        let facts = Facts {
            base: BASE.into(),
            gateway: GATEWAY.into(),
            teams_number: TEAMS_NUMBER.into(),
            pbx_number: "+14255550200".into(),
            feature_code: "*21#".into(),
            emergency: "911".into(),
            other: Some(Customer {
                gateway: OTHER_GATEWAY.into(),
                number: OTHER_NUMBER.into(),
            }),
            media_bypass,
            options_interval: Duration::from_secs(10),
            source: [127, 0, 0, 9].into(),
            stranger: issue(&authority("Nobody"), &[TEAMS_NAME], Usage::Both),
            sbc_roots: public.pem(),
        };
        Self {
            bench: Bench { teams, pbx, facts },
            middle,
            sbc,
            _directory: directory,
        }
    }

    pub async fn close(self) {
        self.sbc.shut_down().await;
    }
}

fn configuration(directory: &tempfile::TempDir, teams: &Teams) -> String {
    let file = |name: &str| directory.path().join(name).display().to_string();
    let hosts = Teams::NAMES.map(|name| format!("\"{name}\" = [\"{}\"]", middle::ADDRESS));
    let proxies = teams.proxies.iter().zip(Teams::NAMES);
    let proxies: Vec<_> = proxies
        .map(|(proxy, name)| format!("\"{name}:{}\"", proxy.port()))
        .collect();
    let port_min = media_ports(BLOCKS);
    format!(
        "data_dir = {:?}\n[sip]\nudp = [\"127.0.0.1:0\"]\ntcp = []\ntls = [\"127.0.0.1:0\"]\nt1_ms = 100\n\
         [tls]\ncertificate = {:?}\nprivate_key = {:?}\nteams_roots = {:?}\n\
         [teams]\nproxies = [{}]\naddress_ranges = [\"127.0.0.0/8\"]\noptions_interval_s = 10\n\
         [media]\nport_min = {port_min}\nport_max = {}\n[dns]\nhosts = {{ {} }}\n\
         [calls]\nmax_calls = 64\ndrain_timeout_s = 0\n[admin]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n",
        file("data"),
        file("sbc.pem"),
        file("sbc.key"),
        file("roots.pem"),
        proxies.join(", "),
        port_min + 64 * BLOCKS - 1,
        hosts.join(", "),
    )
}

async fn provision(store: &store::Store, tls_port: u16, media_bypass: bool, pbx: &Pbx) {
    let region = json!({ "code": "LAB", "display_name": "Laboratory", "base_fqdn": BASE, "sip_port": tls_port,
        "media_bypass": media_bypass });
    let mut change = store.change().await.unwrap();
    store::regions::insert(&mut change, &serde_json::from_value(region).unwrap())
        .await
        .unwrap();
    add_customer(&mut change, "contoso", TEAMS_NUMBER, pbx.address).await;
    let elsewhere = "127.0.0.88:5060".parse().unwrap();
    add_customer(&mut change, "fabrikam", OTHER_NUMBER, elsewhere).await;
    change.publish().await.unwrap();
}

async fn add_customer(change: &mut store::Change, name: &str, number: &str, pbx: SocketAddr) {
    let (host, port) = (pbx.ip(), pbx.port());
    let customer = json!({ "account_id": name, "name": name, "max_channels": 64, "regions": ["LAB"],
        "activation_state": "active", "activation_reason": "test" });
    let gateway = json!({ "region": "LAB", "label": name, "state": "active" });
    let trunk = json!({ "name": format!("{name}-pbx"), "role": "pbx", "transport": "udp", "host": host, "port": port,
        "acl": [host] });
    let customer = serde_json::from_value(customer).unwrap();
    let customer = store::customers::insert(change, &customer)
        .await
        .unwrap()
        .id;
    let gateway = serde_json::from_value(gateway).unwrap();
    store::gateways::insert(change, customer, &gateway)
        .await
        .unwrap();
    let number: Number = number.parse().unwrap();
    store::numbers::insert(change, customer, &number.into())
        .await
        .unwrap();
    store::numbers::put_in_service(change, customer, &number)
        .await
        .unwrap();
    let trunk = serde_json::from_value(trunk).unwrap();
    store::trunks::insert(change, Some(customer), &trunk)
        .await
        .unwrap();
}
