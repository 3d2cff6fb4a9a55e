//! Tollgate's REST API, as an operator uses it.

use crate::lab::{BASE, TEAMS_COLLEAGUE, TEAMS_NUMBER};
use crate::sbc::Setup;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

/// The API with a token.
pub struct Api {
    base: String,
    token: String,
    client: reqwest::Client,
}

impl Api {
    pub fn new(base: String, token: String) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()
            .expect("a client");
        Self {
            base,
            token,
            client,
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, None, StatusCode::OK).await
    }

    /// The same API with another token.
    pub fn with(&self, token: String) -> Self {
        Self::new(self.base.clone(), token)
    }

    /// A change of whatever version there is.
    pub async fn patch(&self, path: &str, body: Value) -> Value {
        self.ask(Method::PATCH, path, Some(body), StatusCode::OK)
            .await
    }

    /// A file.
    pub async fn download(&self, path: &str) -> Vec<u8> {
        let answer = self.send(Method::GET, path, None).await;
        assert_eq!(answer.status(), StatusCode::OK, "GET {path}");
        answer.bytes().await.expect("a body").to_vec()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, Some(body), StatusCode::CREATED)
            .await
    }

    pub async fn put(&self, path: &str, body: Value) -> Value {
        self.ask(Method::PUT, path, Some(body), StatusCode::OK)
            .await
    }

    pub async fn delete(&self, path: &str) {
        let status = self.send(Method::DELETE, path, None).await.status();
        assert_eq!(status, StatusCode::NO_CONTENT, "DELETE {path}");
    }

    /// All items of a list, part after part.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = format!("{path}?limit=500");
        loop {
            let part = self.get(&next).await;
            items.extend(part["items"].as_array().expect("items").iter().cloned());
            let Some(cursor) = part["next_cursor"].as_str() else {
                return items;
            };
            next = format!("{path}?limit=500&cursor={cursor}");
        }
    }

    /// Puts a customer's numbers in service.
    pub async fn sync(&self, customer: &str) {
        let sync = format!("{customer}/sync?wait=20");
        let task = self
            .ask(Method::POST, &sync, None, StatusCode::ACCEPTED)
            .await;
        assert_eq!(task["state"], "succeeded", "{task}");
    }

    /// One region, one active customer with its gateway and number at Teams, and its PBX; the customer's path.
    pub async fn provision(&self, setup: &Setup, pbx: &str) -> String {
        let region = json!({
            "code": "EU", "display_name": "Europe", "base_fqdn": BASE, "sip_port": 5061,
            "media_bypass": setup.bypass,
        });
        self.post("/regions", region).await;
        let customer = json!({
            "account_id": "contoso", "name": "Contoso", "tenant_name": "contoso.onmicrosoft.com", "max_channels": setup.channels, "regions": ["EU"],
            "activation_state": "active", "activation_reason": "tests",
        });
        let customer = self.post("/customers", customer).await;
        let path = format!("/customers/{}", customer["id"].as_str().expect("an id"));
        let gateway = json!({ "region": "EU", "label": "contoso", "state": "active" });
        self.post(&format!("{path}/gateways"), gateway).await;
        let numbers = json!({ "numbers": [TEAMS_NUMBER, TEAMS_COLLEAGUE] });
        self.post(&format!("{path}/numbers"), numbers).await;
        self.sync(&path).await;
        let trunk = json!({
            "name": "pbx", "role": "pbx", "transport": "udp", "host": pbx, "port": 5060, "acl": [pbx, "127.0.0.1"],
            // On loopback baresip's media comes from another address than it says, and latching is for addresses of the list.
            "profile": { "latch": true, "refer": true },
        });
        self.post(&format!("{path}/trunks"), trunk).await;
        path
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        expected: StatusCode,
    ) -> Value {
        let what = format!("{method} {path}");
        let response = self.send(method, path, body).await;
        let status = response.status();
        let text = response.text().await.expect("a body");
        assert_eq!(status, expected, "{what}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error}: {text}"))
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let mut request = self
            .client
            .request(method, format!("{}/api/v1{path}", self.base))
            .bearer_auth(&self.token)
            .header("If-Match", "*");
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.expect("an answer")
    }
}
