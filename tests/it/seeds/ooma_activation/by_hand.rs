//! By hand: codes that an administrator brings, names that show them, and the first call that proves a gateway.

use serde_json::{Value, json};
use time::Duration;
use tollgate::emulate::microsoft::Domain;
use tollgate::store::AccessRole;
use uuid::Uuid;

use crate::api::events::Heard;

use super::super::activation_lab::{ACCEPTED, Lab, TENANT, fqdn};
use super::{code, refused, two_regions};

/// By hand: gateways take codes, which they do not otherwise, and a start leads nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_15_the_manual_way_takes_codes_and_no_consent() {
    let lab = Lab::plain().await;
    let (status, problem) = lab.give_code(0, "MS=ms12345678").await;
    assert_eq!((status, code(&problem)), (409, "not_manual"));
    let (status, now) = lab.activation("PUT", json!({ "method": "manual" })).await;
    assert_eq!(
        (status, &now["gateways"][0]["state"]),
        (200, &json!("code_missing"))
    );
    let (status, problem) = lab.give_code(0, "MS=mx12345678").await;
    assert_eq!(
        (status, &problem["errors"][0]["code"]),
        (422, &json!("bad_code"))
    );
    let (status, gateway) = lab.give_code(0, "MS=ms12345678").await;
    assert_eq!(
        (status, &gateway["verification_code"]),
        (200, &json!("MS=ms12345678"))
    );
    let (status, body) = lab.activation("POST", Value::Null).await;
    assert_eq!((status, &body["consent_url"]), (202, &Value::Null));
    let (status, problem) = lab.give_code(0, "MS=ms87654321").await;
    assert_eq!((status, code(&problem)), (409, "activation_started"));
    let record = format!("{}. 300 IN TXT \"MS=ms12345678\"", fqdn(1));
    assert_eq!(lab.now().await["gateways"][0]["dns_record"], record);
    let path = format!(
        "/api/v1/customers/{}/gateways/{}/powershell",
        lab.customer,
        gateway["id"].as_str().unwrap()
    );
    let (status, script) = lab.send("GET", &path, Value::Null).await;
    let script = script.as_str().unwrap();
    assert!(status == 200 && script.contains(&format!("Confirm-MgDomain -DomainId {}", fqdn(1))));
    assert!(script.contains("New-CsOnlineVoiceRoute"));
    lab.close().await;
}

/// The method is chosen before it begins: running or done, by either way, it is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_16_the_method_is_frozen_by_the_start() {
    for method in ["automatic", "manual"] {
        let lab = Lab::plain().await;
        let other = json!({ "method": if method == "manual" { "automatic" } else { "manual" } });
        let frozen = async |when: &str| {
            let (status, problem) = lab.activation("PUT", other.clone()).await;
            assert_eq!(
                (status, code(&problem)),
                (409, "activation_started"),
                "{method}, {when}"
            );
        };
        lab.activation("PUT", json!({ "method": method })).await;
        if method == "manual" {
            lab.give_code(0, "MS=ms12345678").await;
            lab.activation("POST", Value::Null).await;
            frozen("running").await;
            verified_at_microsoft(&lab, "MS=ms12345678");
            prove(&lab).await;
        } else {
            let (_, body) = lab.activation("POST", Value::Null).await;
            frozen("running").await;
            lab.consent(body["consent_url"].as_str().unwrap(), &ACCEPTED)
                .await;
        }
        lab.until_state("active").await;
        frozen("active").await;
        lab.close().await;
    }
}

/// With a code missing, a start names whose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_19_a_missing_code_is_named() {
    let lab = two_regions().await;
    lab.activation("PUT", json!({ "method": "manual" })).await;
    lab.give_code(0, "MS=ms11111111").await;
    let (status, problem) = lab.activation("POST", Value::Null).await;
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!((status, code(&problem)), (409, "codes_missing"));
    assert!(
        detail.contains(&fqdn(2)) && !detail.contains(&fqdn(1)),
        "{detail}"
    );
    lab.close().await;
}

/// Each name shows its own code and nothing else in DNS, and nothing any more when the activation is undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_20_each_name_shows_its_own_code() {
    let lab = two_regions().await;
    lab.activation("PUT", json!({ "method": "manual" })).await;
    lab.give_code(0, "MS=ms11111111").await;
    lab.give_code(1, "MS=ms22222222").await;
    lab.activation("POST", Value::Null).await;
    lab.until("published", |now| now["step"] == "awaiting_admin_center")
        .await;
    assert_eq!(lab.names.texts(&fqdn(1)), ["MS=ms11111111"]);
    assert_eq!(lab.names.texts(&fqdn(2)), ["MS=ms22222222"]);
    let states: Vec<_> = lab
        .gateways()
        .await
        .iter()
        .map(|gateway| gateway["state"].clone())
        .collect();
    assert_eq!(states, ["dns_published", "dns_published"]);
    assert_eq!(lab.activation("DELETE", Value::Null).await.0, 202);
    lab.until_state("inactive").await;
    assert!(lab.names.texts(&fqdn(1)).is_empty() && lab.names.texts(&fqdn(2)).is_empty());
    lab.close().await;
}

/// By hand nothing is asked of Microsoft that needs anybody's consent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_21_by_hand_nothing_is_done_at_microsoft() {
    let lab = Lab::plain().await;
    by_hand(&lab).await;
    verified_at_microsoft(&lab, "MS=ms12345678");
    prove(&lab).await;
    lab.until_state("active").await;
    let asked = lab.asked();
    assert!(
        !asked.is_empty()
            && asked
                .iter()
                .all(|asked| asked.ends_with("/openid-configuration")),
        "{asked:?}"
    );
    lab.close().await;
}

/// Nobody tells us: the domain becomes known at Microsoft, Teams calls, and the account is active. Polls come after five
/// minutes; a call before the domain is known is refused; the first one after it passes, and an event tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_22_by_hand_it_becomes_active_by_itself() {
    let lab = Lab::plain().await;
    by_hand(&lab).await;
    assert_eq!(refused(&lab.call_from_teams().await).await, 403);
    verified_at_microsoft(&lab, "MS=ms12345678");
    lab.sbc.clock().advance(Duration::minutes(5));
    lab.until("verified", |now| now["gateways"][0]["state"] == "verified")
        .await;
    assert_eq!(lab.now().await["state"], "activating");
    assert_eq!(
        refused(&lab.call_from_carrier().await).await,
        480,
        "calls of carriers wait for the proof"
    );
    let call = lab.call_from_teams().await;
    call.answered().await.unwrap();
    let far = lab.carrier.incoming().await.unwrap();
    let now = lab.until_state("active").await;
    assert_eq!(now["gateways"][0]["state"], "active");
    call.bye().await;
    far.ended().await.unwrap();
    let (_, events) = lab
        .send("GET", "/api/v1/events?limit=500", Value::Null)
        .await;
    let activated = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "customer.activated");
    assert_eq!(activated.count(), 1);
    let url = format!("http://{}/api/v1/events", lab.sbc.listening().admin);
    let stranger = lab
        .sbc
        .store()
        .tokens()
        .create("else", AccessRole::CustomerAdmin, Some(Uuid::nil()), None)
        .await;
    let stranger = stranger.unwrap().text.expose().to_owned();
    let stream = lab
        .client
        .get(url)
        .bearer_auth(stranger)
        .header("accept", "text/event-stream");
    let mut heard = Heard::of(stream).await;
    // What there is comes in one piece with it.
    heard.until("retry: 1000\n\n").await;
    assert_eq!(
        heard.text, "retry: 1000\n\n",
        "another customer hears nothing of it"
    );
    lab.close().await;
}

/// Two gateways by hand: the first that is proven lets calls pass, the account is whole when the other one is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_22_one_gateway_is_enough_for_calls() {
    let lab = two_regions().await;
    lab.activation("PUT", json!({ "method": "manual" })).await;
    lab.give_code(0, "MS=ms12345678").await;
    lab.give_code(1, "MS=ms22222222").await;
    lab.activation("POST", Value::Null).await;
    lab.until("published", |now| now["attempt"] == 1).await;
    verified_at_microsoft(&lab, "MS=ms12345678");
    prove(&lab).await;
    let now = lab.until_state("degraded").await;
    assert_eq!(now["error"]["code"], "gateways_unproven");
    let path = format!("/api/v1/customers/{}", lab.customer);
    assert_eq!(
        lab.send("GET", &path, Value::Null).await.1["activation_state"],
        "degraded"
    );
    let call = lab.call_from_carrier().await;
    call.answered().await.unwrap();
    call.bye().await;
    lab.close().await;
}

/// The first part of the manual way: a code, published.
async fn by_hand(lab: &Lab) {
    lab.activation("PUT", json!({ "method": "manual" })).await;
    lab.give_code(0, "MS=ms12345678").await;
    let (status, body) = lab.activation("POST", Value::Null).await;
    assert_eq!(status, 202, "{body}");
    lab.until("waits", |now| {
        now["step"] == "awaiting_admin_center" && now["attempt"] == 1
    })
    .await;
}

/// What the administrator does in Microsoft's admin center.
fn verified_at_microsoft(lab: &Lab, text: &str) {
    lab.microsoft.change(|world| {
        let domain = Domain {
            text: text.to_owned(),
            verified: true,
        };
        world
            .tenant(&TENANT.to_string())
            .unwrap()
            .domains
            .insert(fqdn(1), domain);
    });
}

/// A poll, and the first call from Teams.
async fn prove(lab: &Lab) {
    lab.until("waits", |now| {
        now["step"] == "awaiting_admin_center" && now["attempt"] != 0
    })
    .await;
    lab.sbc.clock().advance(Duration::minutes(5));
    lab.until("verified", |now| now["gateways"][0]["state"] == "verified")
        .await;
    let call = lab.call_from_teams().await;
    call.answered().await.unwrap();
    call.bye().await;
}
