//! A customer whose users may have desk telephones.

use crate::api::Api;
use serde_json::{Value, json};
use tollgate::store::AccessRole;
use uuid::Uuid;

/// A customer with these many users, who have all that a telephone needs: extensions from 1001 on.
pub(super) struct Office {
    pub(super) api: Api,
    pub(super) id: Uuid,
    pub(super) path: String,
    pub(super) carrier: String,
    pub(super) users: Vec<String>,
}

impl Office {
    pub(super) async fn new(users: usize) -> Self {
        Self::over(Api::start().await, users).await
    }

    pub(super) async fn over(api: Api, users: usize) -> Self {
        let (id, path) = api.customer("acme").await;
        let customer = api.token(AccessRole::CustomerAdmin, Some(id)).await;
        let consent = format!("{path}/co-management");
        let granted = json!({ "state": "granted" });
        assert_eq!(api.send(&customer, "PUT", &consent, granted).await.0, 200);
        let carrier = api.token(AccessRole::CarrierAdmin, None).await;
        let mut office = Self {
            api,
            id,
            path,
            carrier,
            users: Vec::new(),
        };
        for n in 1..=users {
            let number = format!("+1425555{:04}", 1000 + n);
            let numbers = json!({ "numbers": [number] });
            assert_eq!(office.send("POST", "/numbers", numbers).await.0, 201);
            let user = office
                .user(json!({ "default_did": number, "extension": (1000 + n).to_string(), "license_assigned": true }))
                .await;
            office.users.push(user);
        }
        for model in ["yealink-t46u", "poly-vvx450"] {
            let model = json!({ "model": model });
            assert_eq!(office.send("POST", "/device-models", model).await.0, 201);
        }
        office
    }

    /// A user with these fields.
    pub(super) async fn user(&self, fields: Value) -> String {
        let name = Uuid::from_u128(rand_id()).to_string();
        let mut user =
            json!({ "upn": format!("{name}@acme.example"), "display_name": "Jo Ångström" });
        for (field, value) in fields.as_object().unwrap() {
            user[field] = value.clone();
        }
        let (status, made) = self.send("POST", "/users", user).await;
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn send(&self, method: &str, below: &str, body: Value) -> (u16, Value) {
        let path = format!("{}{below}", self.path);
        self.api.send(&self.carrier, method, &path, body).await
    }

    pub(super) async fn assign(&self, user: &str, model: &str, mac: Option<&str>) -> (u16, Value) {
        let method = if mac.is_some() { "mac" } else { "code" };
        let body = json!({ "user_id": user, "model": model, "method": method, "mac": mac });
        self.send("POST", "/devices", body).await
    }

    /// What is done to a telephone.
    pub(super) async fn act(&self, device: &Value, verb: &str, body: Value) -> (u16, Value) {
        let path = format!("/api/v1/devices/{}:{verb}", device["id"].as_str().unwrap());
        self.api.send(&self.carrier, "POST", &path, body).await
    }

    pub(super) async fn show(&self, device: &Value) -> Value {
        let below = format!("/devices/{}", device["id"].as_str().unwrap());
        let (status, body) = self.send("GET", &below, Value::Null).await;
        assert_eq!(status, 200);
        body
    }
}

fn rand_id() -> u128 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
        .into()
}
