//! A customer's Global Administrator activates its account, or does it by hand: what the account and its gateways then say,
//! and which calls pass.

mod by_hand;
mod consent;

use serde_json::{Value, json};
use time::Duration;
use tollgate::emulate::microsoft::{Domain, Rule};
use tollgate::emulate::{CallError, EmuCall};

use super::activation_lab::{Lab, Setup, TENANT, fqdn};

async fn refused(call: &EmuCall) -> u16 {
    match call.answered().await {
        Err(CallError::Ended(ended)) => ended.status,
        other => panic!("{other:?}"),
    }
}

fn code(problem: &Value) -> &str {
    problem["code"].as_str().unwrap_or_default()
}

async fn two_regions() -> Lab {
    Lab::start(Setup {
        regions: 2,
        teams_bridge: true,
    })
    .await
}

/// Every step at Microsoft in its order, the text in DNS before Microsoft is asked to look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_07_the_automatic_way_takes_every_step_in_order() {
    let lab = Lab::plain().await;
    lab.activate().await;
    let now = lab.until_state("active").await;
    let asked = lab.asked();
    let name = fqdn(1);
    let steps = [
        "POST /graph/v1.0/domains".to_owned(),
        format!("GET /graph/v1.0/domains/{name}/verificationDnsRecords"),
        format!("POST /graph/v1.0/domains/{name}/verify"),
        "POST /graph/v1.0/users".to_owned(),
        "/assignLicense".to_owned(),
        "POST /teams/voiceRoutes".to_owned(),
        format!("GET /{name}/v2.0/.well-known/openid-configuration"),
    ];
    let places: Vec<_> = steps
        .iter()
        .map(|step| {
            asked
                .iter()
                .position(|one| one == step || one.ends_with(step) && step.starts_with('/'))
        })
        .collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{places:?} {asked:#?}"
    );
    let text = lab.microsoft.change(|world| {
        world.tenant(&TENANT.to_string()).unwrap().domains[&name]
            .text
            .clone()
    });
    assert_eq!(lab.names.texts(&name), [text]);
    assert_eq!(
        lab.names.addresses(&name),
        1,
        "the wildcard no longer speaks for it (TDR-108)"
    );
    assert!(now["finished_at"].is_string() && now["can_activate"] == false);
    let kinds: Vec<_> = now["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        (kinds.first(), kinds.last()),
        (Some(&"activation.started"), Some(&"customer.activated"))
    );
    lab.close().await;
}

/// What was begun goes on after a restart where it was, and nothing that was done is done again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_07_it_goes_on_after_a_restart() {
    let lab = Lab::plain().await;
    lab.microsoft.plant(Rule {
        method: "POST".to_owned(),
        path: "/assignLicense".to_owned(),
        times: 1,
        status: Some(503),
        headers: Default::default(),
        body: Value::Null,
        delay_ms: 0,
    });
    lab.activate().await;
    lab.until("waits", |now| {
        now["step"] == "license_assigned" && now["attempt"] == 1
    })
    .await;
    let before = lab.asked().len();
    let lab = lab.restarted().await;
    assert_eq!(lab.now().await["step"], "license_assigned");
    lab.sbc.clock().advance(Duration::minutes(1));
    lab.until_state("active").await;
    let again = &lab.asked()[before..];
    assert!(
        again.iter().all(|asked| !asked.contains("/domains")),
        "{again:?}"
    );
    lab.close().await;
}

/// While it runs it says which step it is at and since when, there is nothing to press, and no gateway is active. Microsoft
/// asks for two minutes of rest, and gets them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_09_while_it_runs_it_tells_where_it_is() {
    let lab = Lab::plain().await;
    lab.microsoft.plant(Rule {
        method: "POST".to_owned(),
        path: "/verify".to_owned(),
        times: 1,
        status: Some(429),
        headers: [("retry-after".to_owned(), "600".to_owned())].into(),
        body: Value::Null,
        delay_ms: 0,
    });
    lab.activate().await;
    let now = lab
        .until("waits", |now| {
            now["step"] == "verifying" && now["attempt"] == 1
        })
        .await;
    assert_eq!(
        (&now["state"], &now["can_activate"], &now["error"]["code"]),
        (&json!("activating"), &json!(false), &json!("throttled"))
    );
    assert!(now["started_at"].is_string());
    assert_eq!(now["gateways"][0]["state"], "dns_published");
    let verifies = || {
        lab.asked()
            .iter()
            .filter(|asked| asked.ends_with("/verify"))
            .count()
    };
    lab.sbc.clock().advance(Duration::minutes(8));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(
        verifies(),
        1,
        "not before the ten minutes that Microsoft asked for"
    );
    lab.sbc.clock().advance(Duration::minutes(3));
    lab.until_state("active").await;
    assert_eq!(verifies(), 2);
    lab.close().await;
}

/// After it every gateway is active, in each region; two regions take two licences.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_11_every_gateway_is_active_afterwards() {
    let lab = two_regions().await;
    lab.activate().await;
    lab.until_state("active").await;
    let states: Vec<_> = lab
        .gateways()
        .await
        .iter()
        .map(|gateway| gateway["state"].clone())
        .collect();
    assert_eq!(states, ["active", "active"]);
    let users = lab
        .microsoft
        .change(|world| world.tenant(&TENANT.to_string()).unwrap().users.clone());
    let licensed: Vec<_> = users
        .iter()
        .filter(|user| !user.licenses.is_empty())
        .map(|user| user.upn.clone())
        .collect();
    assert_eq!(
        licensed,
        [
            format!("activation@{}", fqdn(1)),
            format!("activation@{}", fqdn(2))
        ]
    );
    lab.close().await;
}

/// A call from Teams to the gateway's name is refused before, and reaches the carrier afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_12_calls_from_teams_pass_when_active() {
    let lab = Lab::plain().await;
    assert_eq!(refused(&lab.call_from_teams().await).await, 403);
    lab.activate().await;
    lab.until_state("active").await;
    let call = lab.call_from_teams().await;
    call.answered().await.unwrap();
    let far = lab.carrier.incoming().await.unwrap();
    call.bye().await;
    far.ended().await.unwrap();
    lab.close().await;
}

/// A carrier's call to the customer's number hears 480 before; afterwards it arrives at Teams in the gateway's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_13_calls_of_a_carrier_pass_when_active() {
    let lab = Lab::plain().await;
    assert_eq!(refused(&lab.call_from_carrier().await).await, 480);
    lab.activate().await;
    lab.until_state("active").await;
    let call = lab.call_from_carrier().await;
    call.answered().await.unwrap();
    let far = lab.teams.incoming().await.unwrap();
    let contact = far
        .invite()
        .lines()
        .find(|line| line.starts_with("Contact:"))
        .unwrap_or_default()
        .to_owned();
    assert!(contact.contains(&fqdn(1)), "{contact}");
    call.bye().await;
    far.ended().await.unwrap();
    lab.close().await;
}

/// Without a free licence it fails and says which were looked at; with one, a start goes on at that step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_29_without_a_licence_it_fails_and_resumes() {
    let lab = Lab::plain().await;
    let units = |units| {
        lab.microsoft
            .change(|world| world.tenant(&TENANT.to_string()).unwrap().skus[0].units = units);
    };
    units(0);
    lab.activate().await;
    let now = lab.until_state("failed").await;
    assert_eq!(
        (&now["step"], &now["error"]["code"]),
        (&json!("license_assigned"), &json!("no_license_available"))
    );
    assert!(
        now["error"]["detail"]
            .as_str()
            .unwrap()
            .contains("SPE_E5 (0 free)")
    );
    assert_eq!(now["can_activate"], true);
    let before = lab.asked().len();
    units(1);
    let (status, body) = lab.activation("POST", Value::Null).await;
    assert_eq!(
        (status, &body["activation"]["step"]),
        (202, &json!("license_assigned"))
    );
    lab.until_state("active").await;
    let again = &lab.asked()[before..];
    assert!(
        again
            .iter()
            .all(|asked| !asked.contains("/domains") && asked != "POST /graph/v1.0/users"),
        "{again:?}"
    );
    lab.close().await;
}

/// A name that another organisation has is nobody else's: it fails for good, and the gateway says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_29_a_domain_of_another_tenant_fails_for_good() {
    let lab = Lab::plain().await;
    lab.microsoft.change(|world| {
        let other = world.tenant("other.onmicrosoft.com").unwrap();
        let domain = Domain {
            text: String::new(),
            verified: true,
        };
        other.domains.insert(fqdn(1), domain);
    });
    lab.activate().await;
    let now = lab.until_state("failed").await;
    assert_eq!(now["error"]["code"], "domain_in_other_tenant");
    assert_eq!(
        (&now["gateways"][0]["state"], &now["gateways"][0]["error"]),
        (&json!("error"), &json!("domain_in_other_tenant"))
    );
    lab.close().await;
}

/// Where nothing runs PowerShell for us, the administrator sets the route by the script, and the first call ends the wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_07_without_powershell_the_first_call_ends_it() {
    let lab = Lab::start(Setup {
        regions: 1,
        teams_bridge: false,
    })
    .await;
    lab.activate().await;
    let now = lab
        .until("waits", |now| {
            now["step"] == "awaiting_admin_center" && now["attempt"] == 1
        })
        .await;
    assert_eq!(
        (&now["state"], &now["gateways"][0]["state"]),
        (&json!("activating"), &json!("verified"))
    );
    let call = lab.call_from_teams().await;
    call.answered().await.unwrap();
    lab.until_state("active").await;
    call.bye().await;
    lab.close().await;
}

/// A domain that leaves the tenant is noticed within a day: calls go on, the account says so, and recovers with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_11_a_lost_domain_degrades_the_account() {
    let lab = Lab::plain().await;
    lab.activate().await;
    lab.until_state("active").await;
    let verified = |verified| {
        lab.microsoft.change(|world| {
            let home = world.tenant(&TENANT.to_string()).unwrap();
            home.domains.get_mut(&fqdn(1)).unwrap().verified = verified;
        });
    };
    verified(false);
    lab.sbc.clock().advance(Duration::hours(25));
    let now = lab.until_state("degraded").await;
    assert_eq!(now["error"]["code"], "domain_lost");
    let call = lab.call_from_teams().await;
    call.answered().await.unwrap();
    call.bye().await;
    verified(true);
    lab.sbc.clock().advance(Duration::hours(2));
    lab.until_state("active").await;
    lab.close().await;
}
