//! Customers, and their gateways, numbers and channels.

use super::{Api, problem};
use serde_json::{Value, json};
use std::sync::Arc;
use tollgate::directory::Customer;
use uuid::Uuid;

#[tokio::test]
async fn a_customer_goes_when_nothing_of_it_is_in_use() {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    for (patch, field) in [
        (json!({ "account_id": "b" }), "account_id"),
        (json!({ "partner_id": Uuid::nil() }), "partner_id"),
    ] {
        assert_eq!(
            problem(api.patch(&path, patch).await).await,
            (422, "invalid".into(), vec![field.into()])
        );
    }
    api.post(
        &format!("{path}/numbers"),
        json!({ "numbers": ["+14255550100"] }),
    )
    .await;
    api.sync(&path).await;
    assert_eq!(api.delete(&path).await, 409);
    assert_eq!(
        api.patch(&path, json!({ "admin_state": "disabled" }))
            .await
            .status(),
        200
    );
    assert_eq!(api.delete(&path).await, 409, "a number is in service");
    assert_eq!(api.remove_number(&path, "+14255550100").await, 202);
    assert_eq!(api.delete(&path).await, 409, "until the next Sync");
    api.sync(&path).await;
    assert_eq!(api.delete(&path).await, 204);
    assert_eq!(
        api.delete(&path).await,
        204,
        "what is absent is as good as deleted"
    );
    let directory = api.store.directory().load_full();
    assert!(
        directory.customer(id).is_none()
            && directory.number(&"+14255550100".parse().unwrap()).is_none()
    );
}

#[tokio::test]
async fn gateways_are_named_by_region_and_change_their_state_only() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    let gateways = format!("{path}/gateways");
    let gateway = api
        .post(&gateways, json!({ "region": "EU", "label": "acme" }))
        .await;
    assert_eq!(
        (&gateway["fqdn"], &gateway["state"]),
        (&json!("acme.eu.example.net"), &json!("pending"))
    );
    let gateway_path = format!("{gateways}/{}", gateway["id"].as_str().unwrap());
    assert_eq!(api.get(&gateway_path).await, gateway);
    assert_eq!(
        problem(api.patch(&gateway_path, json!({ "label": "x" })).await)
            .await
            .2,
        ["label"]
    );
    assert_eq!(
        api.patch(&gateway_path, json!({ "state": "active" }))
            .await
            .status(),
        200
    );
    assert!(
        api.store
            .directory()
            .load()
            .gateway("ACME.eu.example.net")
            .unwrap()
            .state
            .takes_calls()
    );

    let (_, other) = api.customer("other").await;
    let again = api
        .carrier("POST", &format!("{other}/gateways"))
        .await
        .json(&json!({ "region": "EU", "label": "Acme" }));
    assert_eq!(problem(again.send().await.unwrap()).await.1, "fqdn_in_use");
    let through_other = format!("{other}/gateways/{}", gateway["id"].as_str().unwrap());
    assert_eq!(
        problem(api.patch(&through_other, json!({})).await).await.0,
        404
    );
    assert_eq!(api.delete(&through_other).await, 204, "absent there");
    assert_eq!(
        api.get(&gateway_path).await["state"],
        "active",
        "and still here"
    );
    assert_eq!(api.delete("/api/v1/regions/EU").await, 409);
    assert_eq!(api.delete(&gateway_path).await, 204);
    assert_eq!(
        api.delete("/api/v1/regions/EU").await,
        409,
        "customers name it"
    );
}

/// P-12: as text, one a line, or as JSON; each line has its own result.
#[tokio::test]
async fn numbers_are_added_line_by_line() {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    let (_, other) = api.customer("other").await;
    let text = async |path: &str, body: &'static str| {
        let request = api
            .carrier("POST", &format!("{path}/numbers"))
            .await
            .header("content-type", "text/plain");
        let response = request.body(body).send().await.unwrap();
        (
            response.status().as_u16(),
            response.json::<Value>().await.unwrap(),
        )
    };
    let (status, all) = text(&path, "+14255550100\r\n\n +1 (425) 555-0101\n+4930123456").await;
    assert_eq!(
        (status, &all["created"], &all["results"][1]["line"]),
        (201, &json!(3), &json!(3))
    );
    assert_eq!(all["results"][1]["number"], "+14255550101");

    let (status, some) = text(
        &path,
        "+14255550102\n+14255550100\n4255550103\n+14255550102",
    )
    .await;
    let codes: Vec<_> = some["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["code"].as_str().unwrap_or("-"))
        .collect();
    assert_eq!(
        (status, codes),
        (200, vec!["-", "number_exists", "format", "number_exists"])
    );

    assert_eq!(
        text(&other, "+14255550100").await.0,
        409,
        "a number has one customer"
    );
    assert_eq!(text(&other, "12").await.0, 422);
    assert_eq!(text(&other, "\n\n").await.0, 422);
    let listed = api.get(&format!("{path}/numbers")).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 4);
    api.sync(&path).await;
    let directory = api.store.directory().load_full();
    assert_eq!(
        directory
            .number(&"+4930123456".parse().unwrap())
            .unwrap()
            .customer,
        id
    );

    assert_eq!(
        api.delete(&format!("{other}/numbers/+4930123456")).await,
        204,
        "absent there"
    );
    assert!(
        api.store
            .directory()
            .load()
            .number(&"+4930123456".parse().unwrap())
            .is_some()
    );
    assert_eq!(api.remove_number(&path, "%2B4930123456").await, 202);
    api.sync(&path).await;
    assert!(
        api.store
            .directory()
            .load()
            .number(&"+4930123456".parse().unwrap())
            .is_none()
    );
}

/// P-31: a new limit holds from the next call on, without a restart.
#[tokio::test]
async fn channels_are_shown_as_they_are_taken() {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    let customer =
        || -> Arc<Customer> { api.store.directory().load().customer(id).unwrap().clone() };
    let calls = [api.ledger.take(&customer()), api.ledger.take(&customer())];
    assert!(api.ledger.take(&customer()).is_none());
    let channels = async || api.get(&format!("{path}/channels")).await;
    assert_eq!(
        channels().await,
        json!({ "limit": 2, "in_use": 2, "peak_today": 2, "refused_today": 1 })
    );
    assert_eq!(
        api.patch(&path, json!({ "max_channels": 3 }))
            .await
            .status(),
        200
    );
    assert!(api.ledger.take(&customer()).is_some());
    drop(calls);
    assert_eq!(
        channels().await,
        json!({ "limit": 3, "in_use": 0, "peak_today": 3, "refused_today": 1 })
    );
}
