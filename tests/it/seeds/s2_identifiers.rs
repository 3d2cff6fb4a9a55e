//! What enterprises of a reseller do to calls: a running SBC, an emulated Teams, and an emulated PBX for each.

use super::code;
use crate::calls::lab::{GATEWAY, Lab, PBX_NUMBER, Setup, TEAMS_NUMBER, both_hear};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use tollgate::emulate::{Gateway, Pbx, PbxCall, PbxConfig};

const OTHER: &str = "fabrikam.sbc1.tollgate.test";
const IDENTIFIER: &str = "+11000";
/// Where the other customer's PBX is: its address tells whose calls its are.
const OTHER_PBX: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What the API makes, or what it did instead.
async fn made(lab: &Lab, path: &str, body: Value) -> Value {
    let (status, body) = lab.api("POST", path, body).await;
    assert_eq!(status, 201, "{path}: {body}");
    body
}

/// A second customer beside the laboratory's own: its path.
async fn another_customer(lab: &Lab, pbx: &Pbx) -> String {
    let customer = json!({
        "account_id": "fabrikam", "name": "Fabrikam", "tenant_name": "fabrikam.onmicrosoft.com", "max_channels": 4,
        "regions": ["LAB"], "activation_state": "active", "activation_reason": "test",
    });
    let customer = made(lab, "/api/v1/customers", customer).await;
    let path = format!("/api/v1/customers/{}", customer["id"].as_str().unwrap());
    let gateway = json!({ "region": "LAB", "label": "fabrikam", "state": "active" });
    made(lab, &format!("{path}/gateways"), gateway).await;
    let trunk = json!({
        "name": "pbx", "role": "pbx", "transport": "udp", "host": OTHER_PBX, "port": pbx.address.port(), "acl": [OTHER_PBX],
    });
    made(lab, &format!("{path}/trunks"), trunk).await;
    path
}

/// A call of this PBX to the identifier: the Contact by which Teams knows the tenant.
async fn tenant_called(lab: &Lab, pbx: &Pbx) -> String {
    let call = PbxCall {
        to: IDENTIFIER.into(),
        from: PBX_NUMBER.into(),
        ..PbxCall::default()
    };
    let caller = pbx.call(call).await.unwrap();
    caller.answered().await.unwrap();
    let teams = lab.teams.incoming().await.unwrap();
    both_hear(&teams, &caller).await;
    let contact = teams
        .invite()
        .lines()
        .find(|line| line.starts_with("Contact:"))
        .unwrap_or_default()
        .to_owned();
    caller.bye().await;
    teams.ended().await.unwrap();
    contact
}

/// T-33: an identifier that is no number of the world may be two customers'; the call of each reaches its own tenant. A
/// number of the world is one customer's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_33_an_identifier_is_each_customers_own() {
    let lab = Lab::start(Setup {
        teams: |teams| {
            teams.gateways[0].numbers.push(IDENTIFIER.into());
            teams.gateways.push(Gateway {
                fqdn: OTHER.into(),
                numbers: vec![IDENTIFIER.into()],
            });
        },
        ..Setup::default()
    })
    .await;
    let mut settings = PbxConfig::new(lab.pbx_side());
    settings.listen = (OTHER_PBX, 0).into();
    settings.media = OTHER_PBX.into();
    let other_pbx = Pbx::start(settings).await.unwrap();
    let ours = lab.customer();
    let theirs = another_customer(&lab, &other_pbx).await;
    for path in [&ours, &theirs] {
        let numbers = json!({ "numbers": [IDENTIFIER], "kind": "extension" });
        let added = made(&lab, &format!("{path}/numbers"), numbers).await;
        assert_eq!(added["created"], 1);
        let sync = format!("{path}/sync?wait=20");
        let (status, task) = lab.api("POST", &sync, json!(null)).await;
        assert_eq!(
            (status, &task["result"]["counts"]["added"]),
            (202, &json!(1))
        );
    }
    let contact = tenant_called(&lab, &lab.pbx).await;
    assert!(contact.contains(GATEWAY), "{contact}");
    let contact = tenant_called(&lab, &other_pbx).await;
    assert!(contact.contains(OTHER), "{contact}");

    let numbers = json!({ "numbers": [TEAMS_NUMBER] });
    let (status, body) = lab.api("POST", &format!("{theirs}/numbers"), numbers).await;
    assert_eq!(status, 409, "{body}");
    assert_eq!(code(&body["results"][0]), "number_in_use");
    assert_eq!(other_pbx.notes(), Vec::<String>::new());
    lab.close().await;
}
