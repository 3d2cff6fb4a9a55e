//! What holds for all seeds: events, things to do.

use crate::api::events::Heard;
use crate::api::{Api, new_customer};
use serde_json::json;
use std::sync::Arc;
use tollgate::store::AccessRole;

/// Everybody sees what concerns them, from where they left off, as a list and as server-sent events.
#[tokio::test]
async fn events_are_told_to_whom_they_concern() {
    let api = Api::start().await;
    let (_, partner) = api.partner("sales").await;
    let (_, stranger) = api.partner("other").await;
    let (_, ours) = api
        .send(&partner, "POST", "/api/v1/customers", new_customer("ours"))
        .await;
    let id = ours["id"].as_str().unwrap();
    let path = format!("/api/v1/customers/{id}");
    api.sync(&path).await;
    let customer = api
        .token(AccessRole::CustomerAdmin, Some(id.parse().unwrap()))
        .await;
    let seen = async |token: &str, since: u32| {
        let path = format!("/api/v1/events?since={since}");
        let (_, list) = api.send(token, "GET", &path, json!(null)).await;
        let items = list["items"].as_array().unwrap().iter();
        let kinds: Vec<_> = items.map(|event| event["kind"].as_str().unwrap()).collect();
        kinds.join(" ")
    };
    for token in [&partner, &customer] {
        assert_eq!(seen(token, 0).await, "customer.created sync.finished");
        assert_eq!(seen(token, 1).await, "sync.finished");
        assert_eq!(seen(token, 2).await, "");
    }
    assert_eq!(seen(&stranger, 0).await, "");
    let stream = api.request("GET", "/api/v1/events").bearer_auth(&partner);
    let stream = stream.header("Accept", "text/event-stream");
    let mut heard = Heard::of(stream.header("Last-Event-ID", "1")).await;
    heard.until("id: 2\nevent: sync.finished\n").await;
    assert!(!heard.text.contains("id: 1\n"), "{}", heard.text);
}

/// How many numbers wait for a Sync, to serve or to go, is told beside the last one.
#[tokio::test]
async fn numbers_that_wait_for_a_sync_are_counted() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    let dirty = async || api.get(&format!("{path}/sync")).await["dirty"].clone();
    assert_eq!(dirty().await, 0);
    let numbers = json!({ "numbers": ["+14255550100", "+14255550101"] });
    api.post(&format!("{path}/numbers"), numbers).await;
    assert_eq!(dirty().await, 2);
    api.sync(&path).await;
    assert_eq!(dirty().await, 0);
    assert_eq!(api.remove_number(&path, "+14255550100").await, 202);
    assert_eq!(dirty().await, 1);
    api.sync(&path).await;
    assert_eq!(dirty().await, 0);
}

/// The customer's list of things to do grows with what is asked of it, and shrinks with what it does.
#[tokio::test]
async fn action_items_vanish_when_they_are_done() {
    let api = Api::start().await;
    let mut body = new_customer("ours");
    body["request_co_management"] = json!(true);
    let ours = api.post("/api/v1/customers", body).await;
    assert_eq!(ours["co_management"]["state"], "pending");
    let id = ours["id"].as_str().unwrap();
    let path = format!("/api/v1/customers/{id}");
    let customer = api
        .token(AccessRole::CustomerAdmin, Some(id.parse().unwrap()))
        .await;
    let items = async || {
        let (_, list) = api
            .send(
                &customer,
                "GET",
                &format!("{path}/action-items"),
                json!(null),
            )
            .await;
        let codes = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["code"].as_str().unwrap().to_owned());
        codes.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(items().await, "grant_consent activate sync");
    let granted = json!({ "state": "granted" });
    api.send(&customer, "PUT", &format!("{path}/co-management"), granted)
        .await;
    api.sync(&path).await;
    assert_eq!(items().await, "activate");
    let active = json!({ "activation_state": "active", "activation_reason": "test" });
    assert_eq!(api.patch(&path, active).await.status(), 200);
    assert_eq!(items().await, "");
    let user = json!({ "upn": "jo@ours.example", "display_name": "Jo" });
    assert_eq!(
        api.send(&customer, "POST", &format!("{path}/users"), user.clone())
            .await
            .0,
        201
    );
    let mut other = user;
    other["upn"] = json!("kim@ours.example");
    assert_eq!(
        api.send(&customer, "POST", &format!("{path}/users"), other)
            .await
            .0,
        201
    );
    assert_eq!(
        api.patch(&path, json!({ "user_limit": 1 })).await.status(),
        200
    );
    assert_eq!(items().await, "sync free_licenses");
}

/// What changes for one customer is compiled for that one: of all others calls go on by the very same objects, however many
/// there are.
#[tokio::test]
async fn a_change_of_one_customer_compiles_no_other() {
    let api = Api::start().await;
    let (acme, path) = api.customer("acme").await;
    let (rival, _) = api.customer("rival").await;
    let now = |id| api.store.directory().load().customer(id).unwrap().clone();
    let (before, others) = (now(acme), now(rival));
    let numbers = json!({ "numbers": ["+14255550100"] });
    api.post(&format!("{path}/numbers"), numbers).await;
    assert_eq!(api.sync(&path).await["counts"]["added"], 1);
    assert!(Arc::ptr_eq(&others, &now(rival)), "after a Sync");

    let gateway = json!({ "region": "EU", "label": "acme" });
    let gateway = api.post(&format!("{path}/gateways"), gateway).await;
    let gateway = format!("{path}/gateways/{}", gateway["id"].as_str().unwrap());
    let activation = format!("{path}/activation");
    let send = async |method, path: &str, body| {
        let request = api.carrier(method, path).await.header("If-Match", "*");
        request.json(&body).send().await.unwrap().status().as_u16()
    };
    let manual = json!({ "method": "manual" });
    assert_eq!(send("PUT", &activation, manual).await, 200);
    let code = json!({ "verification_code": "MS=ms12345678" });
    assert_eq!(send("PATCH", &gateway, code).await, 200);
    assert_eq!(send("POST", &activation, json!(null)).await, 202);
    assert_eq!(send("DELETE", &activation, json!(null)).await, 202);
    assert!(Arc::ptr_eq(&others, &now(rival)), "after an activation");
    assert!(!Arc::ptr_eq(&before, &now(acme)), "its own is another");
}
