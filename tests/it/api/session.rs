//! Signing in with a password.

use super::Api;
use serde_json::{Value, json};
use tollgate::directory::Secret;
use tollgate::store::AccessRole;

const PASSWORD: &str = "correct horse battery";

async fn sign_in(api: &Api, name: &str, password: &str) -> (u16, Value) {
    let body = json!({ "name": name, "password": password });
    let request = api.request("POST", "/api/v1/session").json(&body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Who signs in may do what the account's role may, for a time, until they sign out; the audit tells of both.
#[tokio::test]
async fn a_sign_in_counts_until_it_is_ended() {
    let api = Api::start().await;
    let (password, role) = (Secret::new(PASSWORD), AccessRole::Noc);
    api.store
        .set_account("Night", &password, role, None)
        .await
        .unwrap();
    let (status, session) = sign_in(&api, "night", PASSWORD).await;
    assert_eq!(
        (status, &session["role"], &session["name"]),
        (201, &json!("noc"), &json!("Night"))
    );
    assert!(session["expires_at"].is_string());
    let token = session["token"].as_str().unwrap();
    let me = api
        .send(token, "GET", "/api/v1/session", Value::Null)
        .await
        .1;
    assert_eq!(
        (&me["token_id"], me.get("token")),
        (&session["token_id"], None)
    );
    assert_eq!(
        api.send(token, "GET", "/api/v1/calls", Value::Null).await.0,
        200
    );
    assert_eq!(
        api.send(token, "POST", "/api/v1/customers", json!({}))
            .await
            .0,
        403
    );
    assert_eq!(
        api.send(token, "DELETE", "/api/v1/session", Value::Null)
            .await
            .0,
        204
    );
    assert_eq!(
        api.send(token, "GET", "/api/v1/session", Value::Null)
            .await
            .0,
        401
    );
    let audit = api.get("/api/v1/audit").await;
    let actions: Vec<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["action"].clone())
        .collect();
    assert!(
        actions.contains(&json!("sign_in")) && actions.contains(&json!("sign_out")),
        "{actions:?}"
    );
}

/// A wrong password and an unknown name are told apart by nothing, neither before nor after there is a pause; the right
/// password does not help during it, and others are not kept waiting.
#[tokio::test]
async fn names_cannot_be_found_out_and_passwords_not_tried() {
    let api = Api::start().await;
    for name in ["root", "other"] {
        let (password, role) = (Secret::new(PASSWORD), AccessRole::CarrierAdmin);
        api.store
            .set_account(name, &password, role, None)
            .await
            .unwrap();
    }
    let told = |(status, mut body): (u16, Value)| {
        body["request_id"] = Value::Null;
        (status, body)
    };
    for n in 0..7 {
        let known = told(sign_in(&api, "root", "wrong password").await);
        let unknown = told(sign_in(&api, "nobody", "wrong password").await);
        assert_eq!(known, unknown);
        assert_eq!(known.0, if n < 5 { 401 } else { 429 });
    }
    assert_eq!(sign_in(&api, "ROOT", PASSWORD).await.0, 429);
    assert_eq!(sign_in(&api, "other", PASSWORD).await.0, 201);
    let long = "x".repeat(100_000);
    assert_eq!(sign_in(&api, "other", &long).await.0, 401);
}
