//! The customer's own portal: activation, and who else may help.

use super::code;
use crate::api::{Api, new_customer};
use serde_json::json;
use tollgate::store::AccessRole;

/// The customer's switch is off until it is set, shows in the partner's list, and nobody else sets it.
#[tokio::test]
async fn o_24_the_customer_lets_others_manage_and_ends_it() {
    let api = Api::start().await;
    let (_, partner) = api.partner("sales").await;
    let (_, ours) = api
        .send(&partner, "POST", "/api/v1/customers", new_customer("ours"))
        .await;
    let path = format!(
        "/api/v1/customers/{}/co-management",
        ours["id"].as_str().unwrap()
    );
    let id = ours["id"].as_str().unwrap().parse().unwrap();
    let customer = api.token(AccessRole::CustomerAdmin, Some(id)).await;
    let shown = async || {
        let (_, list) = api
            .send(&partner, "GET", "/api/v1/customers", json!(null))
            .await;
        let item = list["items"][0].clone();
        (
            item["can_manage"].clone(),
            item["co_management"]["state"].clone(),
        )
    };
    assert_eq!(shown().await, (json!(false), json!("none")));
    let granted = json!({ "state": "granted" });
    for other in [
        partner.clone(),
        api.token(AccessRole::CarrierAdmin, None).await,
    ] {
        let (status, body) = api.send(&other, "PUT", &path, granted.clone()).await;
        assert_eq!((status, code(&body)), (403, "customer_grants"));
    }
    let (status, body) = api.send(&customer, "PUT", &path, granted).await;
    assert_eq!((status, &body["state"]), (200, &json!("granted")));
    assert!(body["changed_by"].is_string() && body["changed_at"].is_string());
    assert_eq!(shown().await, (json!(true), json!("granted")));
    let (status, _) = api
        .send(&customer, "PUT", &path, json!({ "state": "revoked" }))
        .await;
    assert_eq!(status, 200);
    assert_eq!(shown().await, (json!(false), json!("revoked")));
    let noc = api.token(AccessRole::Noc, None).await;
    let (status, _) = api
        .send(&noc, "PUT", &path, json!({ "requested": true }))
        .await;
    assert_eq!(status, 403);
}
