//! The partner's portal: customers, their numbers, Sync.

use super::code;
use crate::api::{Api, new_customer};
use serde_json::{Value, json};
use tollgate::store::AccessRole;

/// Each of the four values is demanded by name.
#[tokio::test]
async fn p_02_what_is_missing_is_named() {
    let api = Api::start().await;
    let (_, partner) = api.partner("sales").await;
    for field in ["account_id", "tenant_name", "max_channels", "name"] {
        let mut body = new_customer("a");
        body.as_object_mut().unwrap().remove(field);
        let (status, problem) = api.send(&partner, "POST", "/api/v1/customers", body).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!(field))
        );
        assert_eq!(problem["errors"][0]["code"], "required");
    }
}

/// Account, tenant and address are taken once, each with its own code; the tenant in whatever case.
#[tokio::test]
async fn p_01_what_identifies_a_customer_is_taken_once() {
    let api = Api::start().await;
    let carrier = api.token(AccessRole::CarrierAdmin, None).await;
    let mut first = new_customer("a");
    first["admin_email"] = json!("admin@a.example");
    let post = async |body: Value| api.send(&carrier, "POST", "/api/v1/customers", body).await;
    let (status, created) = post(first.clone()).await;
    assert_eq!(status, 201);
    for (field, value) in first.as_object().unwrap() {
        assert_eq!(&created[field], value);
    }
    assert_eq!(
        (&created["can_manage"], &created["sync_state"]),
        (&json!(false), &json!("dirty"))
    );
    assert_eq!(created["tenant_id"], json!(null));
    for (field, value, expected) in [
        ("account_id", json!("a"), "account_id_in_use"),
        ("tenant_name", json!("A.OnMicrosoft.com"), "tenant_in_use"),
        ("admin_email", json!("ADMIN@a.example"), "email_in_use"),
    ] {
        let mut body = new_customer("b");
        body[field] = value;
        let (status, problem) = post(body).await;
        assert_eq!((status, code(&problem)), (409, expected));
    }
    let (status, _) = post(new_customer("b")).await;
    assert_eq!(status, 201);
    for read_only in ["tenant_id", "sync_state", "can_manage", "co_management"] {
        let mut body = new_customer("c");
        body[read_only] = json!("x");
        assert_eq!(post(body).await.0, 422, "{read_only}");
    }
}

#[tokio::test]
async fn p_06_channels_are_suggested_and_not_forced() {
    let api = Api::start().await;
    let mut body = new_customer("a");
    body["seat_type"] = json!("bundled");
    body["max_channels"] = json!(7);
    let customer = api.post("/api/v1/customers", body).await;
    assert_eq!(customer["max_channels"], 7);
    let path = format!(
        "/api/v1/customers/{}/channel-suggestion",
        customer["id"].as_str().unwrap()
    );
    for (query, channels) in [
        ("seat_type=unbundled&seats=100", 10),
        ("seat_type=unbundled&seats=25", 3),
        ("seat_type=bundled&seats=25", 25),
        ("seats=25", 25),
        ("seat_type=unbundled&seats=0", 1),
    ] {
        let suggestion = api.get(&format!("{path}?{query}")).await;
        assert_eq!(suggestion, json!({ "max_channels": channels }), "{query}");
    }
}

/// The search bar, the columns that can be sorted, and the states, each in whatever scope the caller has.
#[tokio::test]
async fn p_the_table_of_customers_is_searched_filtered_and_sorted() {
    let api = Api::start().await;
    let (_, partner) = api.partner("sales").await;
    for (account, name) in [("a1", "Zebra Ltd"), ("a2", "antelope"), ("a3", "Zebra Inc")] {
        let mut body = new_customer(account);
        body["name"] = json!(name);
        assert_eq!(
            api.send(&partner, "POST", "/api/v1/customers", body)
                .await
                .0,
            201
        );
    }
    api.post("/api/v1/customers", new_customer("zebra-of-the-carrier"))
        .await;
    let list = async |query: &str| -> String {
        let path = format!("/api/v1/customers?{query}");
        let (status, body) = api.send(&partner, "GET", &path, json!(null)).await;
        assert_eq!(status, 200, "{query}: {body}");
        let items = body["items"].as_array().unwrap().iter();
        let accounts: Vec<_> = items.map(|c| c["account_id"].as_str().unwrap()).collect();
        accounts.join(" ")
    };
    assert_eq!(list("").await, "a1 a2 a3");
    assert_eq!(list("q=zEBra").await, "a1 a3");
    assert_eq!(list("q=zebra%20i").await, "a3");
    assert_eq!(list("q=A2.onmicrosoft").await, "a2");
    assert_eq!(list("q=a3").await, "a3");
    assert_eq!(list("sort=name").await, "a2 a3 a1");
    assert_eq!(list("sort=-account_id").await, "a3 a2 a1");
    assert_eq!(list("sort=-created_at&q=zebra").await, "a3 a1");
    assert_eq!(list("state=dirty").await, "a1 a2 a3");
    assert_eq!(list("state=clean").await, "");
    let first = list("limit=1&q=a1").await;
    assert_eq!(first, "a1");
    let all = api.get("/api/v1/customers?q=a1").await;
    let id = all["items"][0]["id"].as_str().unwrap();
    let off = format!("/api/v1/customers/{id}:disable");
    let (status, body) = api.send(&partner, "POST", &off, json!(null)).await;
    assert_eq!((status, &body["admin_state"]), (200, &json!("disabled")));
    assert_eq!(list("state=disabled").await, "a1");
    let on = format!("/api/v1/customers/{id}:enable");
    assert_eq!(api.send(&partner, "POST", &on, json!(null)).await.0, 200);
    assert_eq!(list("state=disabled").await, "");
    for bad in ["state=odd", "sort=colour", "colour=red"] {
        let path = format!("/api/v1/customers?{bad}");
        assert_eq!(
            api.send(&partner, "GET", &path, json!(null)).await.0,
            400,
            "{bad}"
        );
    }
}
