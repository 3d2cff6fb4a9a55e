//! Trunks, of customers and shared.

use super::{Api, problem};
use serde_json::{Value, json};

#[tokio::test]
async fn a_trunks_password_goes_in_and_never_comes_out() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    let body = json!({
        "name": "pbx", "role": "pbx", "transport": "tls", "host": "pbx.example.net", "auth": "digest", "username": "u",
        "password": "s3same", "acl": ["198.51.100.7"], "profile": { "srtp": "optional" },
    });
    let key = "the answer is kept too";
    let create = async || {
        let request = api
            .carrier("POST", &format!("{path}/trunks"))
            .await
            .header("Idempotency-Key", key);
        request
            .json(&body)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    };
    let created = create().await;
    assert_eq!(create().await, created);
    let trunk: Value = serde_json::from_str(&created).unwrap();
    assert_eq!(
        (&trunk["password_set"], &trunk["profile"]["srtp"]),
        (&json!(true), &json!("optional"))
    );
    let trunk_path = format!("{path}/trunks/{}", trunk["id"].as_str().unwrap());
    let changed = api
        .patch(
            &trunk_path,
            json!({ "priority": 3, "profile": { "latch": true } }),
        )
        .await
        .text()
        .await
        .unwrap();
    let listed = api.get(&format!("{path}/trunks")).await.to_string();
    for text in [
        &created,
        &changed,
        &listed,
        &api.get(&trunk_path).await.to_string(),
    ] {
        assert!(!text.contains("s3same"), "{text}");
    }
    let changed: Value = serde_json::from_str(&changed).unwrap();
    let profile = &changed["profile"];
    assert_eq!(
        (&profile["srtp"], &profile["latch"], &changed["priority"]),
        (&json!("optional"), &json!(true), &json!(3))
    );

    let id = trunk["id"].as_str().unwrap().parse().unwrap();
    let password = || {
        api.store
            .directory()
            .load()
            .trunk(id)
            .unwrap()
            .password
            .clone()
    };
    assert_eq!(password().unwrap().expose(), "s3same");
    assert_eq!(
        problem(api.patch(&trunk_path, json!({ "password": null })).await)
            .await
            .2,
        ["password"],
        "digest needs one"
    );
    assert_eq!(
        api.patch(&trunk_path, json!({ "password": null, "auth": "ip_acl" }))
            .await
            .status(),
        200
    );
    assert!(password().is_none());
}

#[tokio::test]
async fn shared_trunks_belong_to_no_customer() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    let body =
        json!({ "name": "carrier", "role": "carrier", "transport": "udp", "host": "203.0.113.9" });
    let trunk = api.post("/api/v1/trunks", body).await;
    assert_eq!(trunk["customer_id"], Value::Null);
    let id = trunk["id"].as_str().unwrap();
    assert_eq!(api.get(&format!("/api/v1/trunks/{id}")).await, trunk);
    assert_eq!(api.get("/api/v1/trunks").await["items"], json!([trunk]));
    assert_eq!(api.get(&format!("{path}/trunks")).await["items"], json!([]));
    assert_eq!(
        problem(api.patch(&format!("{path}/trunks/{id}"), json!({})).await)
            .await
            .0,
        404
    );
    assert_eq!(api.delete(&format!("/api/v1/trunks/{id}")).await, 204);
    assert_eq!(api.store.directory().load().trunks().count(), 0);
}
