//! The REST API over HTTP, from conventions that hold everywhere to what each resource does.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

mod alarms;
mod conventions;
mod customers;
mod docs;
pub mod events;
mod media;
mod music;
mod portable;
mod records;
mod roles;
mod session;
mod tables;
mod trunks;

use self::media::live_media;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use time::macros::datetime;
use tollgate::admin::{
    Activations, Admin, CallRequest, Calls, Devices, Ladders, Letters, Listeners, LiveCall,
    LiveLeg, LiveState, People, SignIns, router,
};
use tollgate::b2bua::{CallWhy, Counting, Direction, Fact, Found, Step, Trace, Troubles};
use tollgate::backend::SeatBackend;
use tollgate::directory::{self, Ledger};
use tollgate::net::Addresses;
use tollgate::net::clock::Clock;
use tollgate::onboarding::Onboarding;
use tollgate::store::{AccessRole, Spool, Store};
use tollgate::sync::Syncs;
use tollgate::telemetry::health::Health;
use tollgate::telemetry::ladder::recorder::{Limits, Recorder};
use uuid::Uuid;

/// The API on a port of loopback, over a store in a folder that goes with it.
pub struct Api {
    base: String,
    client: reqwest::Client,
    pub store: Store,
    ledger: Ledger,
    health: Health,
    spool: Arc<Spool>,
    recorder: Recorder,
    /// What the call engine says is wrong.
    troubles: Arc<Mutex<Troubles>>,
    tokens: Mutex<HashMap<String, String>>,
    _folder: TempDir,
}

impl Api {
    pub async fn start() -> Self {
        Self::with(None).await
    }

    /// With this system of seats behind it.
    pub async fn with(backend: Option<Arc<dyn SeatBackend>>) -> Self {
        Self::made(backend, Devices::default(), Listeners::default()).await
    }

    /// With these who know desk telephones.
    pub async fn with_devices(devices: Devices) -> Self {
        Self::made(None, devices, Listeners::default()).await
    }

    /// With these who listen for events.
    async fn with_listeners(listeners: Listeners) -> Self {
        Self::made(None, Devices::default(), listeners).await
    }

    async fn made(
        backend: Option<Arc<dyn SeatBackend>>,
        devices: Devices,
        listeners: Listeners,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(
            &folder.path().join("tollgate.db"),
            directory::Config::default(),
        )
        .await
        .unwrap();
        let (calls, mut questions) = Calls::new(16);
        let troubles = Arc::new(Mutex::new(Troubles::default()));
        let wrong = troubles.clone();
        // A call engine with three calls.
        tokio::spawn(async move {
            let mut live: Vec<LiveCall> = (1..=3).map(live_call).collect();
            let mut counting = false;
            while let Some(question) = questions.recv().await {
                match question {
                    CallRequest::List {
                        customer,
                        after,
                        limit,
                        answer,
                    } => {
                        let fits = |c: &&LiveCall| {
                            customer.is_none_or(|id| c.customer_id == id) && Some(c.id) > after
                        };
                        let _ =
                            answer.send(live.iter().filter(fits).take(limit).cloned().collect());
                    }
                    CallRequest::Show { id, answer } => {
                        let _ = answer.send(live.iter().find(|call| call.id == id).cloned());
                    }
                    CallRequest::Why { call, answer } => {
                        let _ = answer.send(live.iter().find_map(|live| why(live, &call)));
                    }
                    CallRequest::CountMedia { id, answer } => {
                        counting = true;
                        let _ = answer.send(live.iter().any(|call| call.id == id));
                    }
                    // The first time the relay has not answered yet.
                    CallRequest::Media { answer, .. } => {
                        let _ = answer.send(Some(if std::mem::take(&mut counting) {
                            Counting::Pending
                        } else {
                            Counting::Done(vec![live_media(true), live_media(false)])
                        }));
                    }
                    CallRequest::Registrations { answer, .. } => {
                        let _ = answer.send(Vec::new());
                    }
                    CallRequest::Troubles { answer, .. } => {
                        let _ = answer.send(wrong.lock().unwrap().clone());
                    }
                    CallRequest::RestartRegistration { answer, .. } => {
                        let _ = answer.send(false);
                    }
                    CallRequest::HangUp { id, answer } => {
                        let before = live.len();
                        live.retain(|call| call.id != id);
                        let _ = answer.send(live.len() < before);
                    }
                }
            }
        });
        let (ledger, health) = (Ledger::default(), Health::default());
        let spool = Arc::new(Spool::open(&folder.path().join("cdr")).unwrap());
        let recorder = Recorder::new(Limits {
            messages: 100,
            bytes: 100_000,
            total: 1 << 20,
            keep: Duration::from_secs(60),
            call_messages: 50,
            call_bytes: 50_000,
        });
        let syncs = Syncs::new(store.clone(), backend, Duration::from_secs(5), None);
        let admin = Admin {
            store: store.clone(),
            syncs,
            ledger: ledger.clone(),
            calls,
            health: health.clone(),
            spool: spool.clone(),
            redact_for: vec![AccessRole::Noc],
            ladders: Ladders {
                recorder: recorder.clone(),
                listening: Addresses::default(),
            },
            doctor: None,
            activations: Activations::default(),
            devices,
            letters: Letters::default(),
            onboarding: Onboarding::new(store.clone(), None, Clock::default()),
            sign_ins: SignIns::default(),
            people: People::default(),
            listeners,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router(admin)).await });
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()
            .unwrap();
        Self {
            base,
            client,
            store,
            ledger,
            health,
            spool,
            recorder,
            troubles,
            tokens: Mutex::default(),
            _folder: folder,
        }
    }

    /// A token of this role, the same each time.
    pub async fn token(&self, role: AccessRole, scope: Option<Uuid>) -> String {
        let name = format!("{role:?} {scope:?}");
        if let Some(text) = self.tokens.lock().unwrap().get(&name) {
            return text.clone();
        }
        let created = self
            .store
            .tokens()
            .create(&name, role, scope, None)
            .await
            .unwrap();
        let text = created.text.expose().to_owned();
        self.tokens.lock().unwrap().insert(name, text.clone());
        text
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(
            method.parse::<Method>().unwrap(),
            format!("{}{path}", self.base),
        )
    }

    /// A request of the carrier's administrator.
    pub async fn carrier(&self, method: &str, path: &str) -> RequestBuilder {
        self.request(method, path)
            .bearer_auth(self.token(AccessRole::CarrierAdmin, None).await)
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = self.carrier("GET", path).await.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let response = self
            .carrier("POST", path)
            .await
            .json(&body)
            .send()
            .await
            .unwrap();
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        assert_eq!(status, 201, "{path}: {answer}");
        answer
    }

    pub async fn patch(&self, path: &str, body: Value) -> Response {
        self.carrier("PATCH", path)
            .await
            .header("If-Match", "*")
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    pub async fn delete(&self, path: &str) -> StatusCode {
        self.carrier("DELETE", path)
            .await
            .header("If-Match", "*")
            .send()
            .await
            .unwrap()
            .status()
    }

    /// A region, a customer in it, and the customer's path.
    pub async fn customer(&self, account: &str) -> (Uuid, String) {
        if self.get("/api/v1/regions").await["items"]
            .as_array()
            .unwrap()
            .is_empty()
        {
            self.post(
                "/api/v1/regions",
                json!({ "code": "EU", "display_name": "Europe", "base_fqdn": "eu.example.net" }),
            )
            .await;
        }
        let body = json!({
            "account_id": account, "name": account, "tenant_name": format!("{account}.onmicrosoft.com"),
            "max_channels": 2, "regions": ["EU"],
        });
        let id: Uuid = self.post("/api/v1/customers", body).await["id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        (id, format!("/api/v1/customers/{id}"))
    }
}

impl Api {
    /// Has a customer's numbers put in service, as `path/sync` does: what came of it.
    pub async fn sync(&self, path: &str) -> Value {
        let request = self.carrier("POST", &format!("{path}/sync?wait=20")).await;
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 202, "{path}");
        let task: Value = response.json().await.unwrap();
        assert!(
            !["queued", "running"].contains(&task["state"].as_str().unwrap()),
            "{task}"
        );
        task["result"].clone()
    }

    /// Marks a number of a customer for removal, and its inventory's row, too.
    pub async fn remove_number(&self, path: &str, number: &str) -> StatusCode {
        self.delete(&format!(
            "{path}/numbers/{number}?confirm=true&disposition=delete"
        ))
        .await
    }

    /// An active partner that sells everything, and its token.
    pub async fn partner(&self, name: &str) -> (Uuid, String) {
        let body = json!({
            "name": name, "email": format!("{name}@partner.example"), "offerings": ["pbx", "trunk"], "state": "active",
        });
        let id = self.post("/api/v1/partners", body).await["id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        (id, self.token(AccessRole::PartnerAdmin, Some(id)).await)
    }

    /// What becomes of a request with this token: the status, and the body, null if there is none.
    pub async fn send(&self, token: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.request(method, path).bearer_auth(token);
        let request = request.header("If-Match", "*");
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

/// What a customer must be told to be.
pub fn new_customer(account: &str) -> Value {
    json!({
        "account_id": account, "name": account, "tenant_name": format!("{account}.onmicrosoft.com"), "max_channels": 1,
    })
}

/// Why a live call goes as it does, if this names it.
fn why(live: &LiveCall, call: &str) -> Option<CallWhy> {
    let call_ids = vec![live.a_leg.call_id.clone()];
    (live.id.to_string() == call || call_ids[0] == call).then(|| CallWhy {
        id: live.id,
        customer: live.customer_id,
        call_ids,
        trace: trace(&live.from),
    })
}

/// A trace of one step, which names a called number.
fn trace(number: &str) -> Trace {
    let fact = Fact::Number {
        dialled: number.into(),
        number: number.into(),
        found: Found::Outside,
    };
    let steps = vec![Step { ms: 0, fact }];
    Trace { steps, left_out: 0 }
}

fn live_call(n: u128) -> LiveCall {
    let leg = |peer: &str| LiveLeg {
        peer: peer.into(),
        call_id: format!("{n}@{peer}"),
        state: LiveState::Answered,
    };
    LiveCall {
        id: Uuid::from_u128(n),
        customer_id: Uuid::from_u128(100 + n),
        direction: Direction::FromTeams,
        state: LiveState::Answered,
        a_leg: leg("teams"),
        b_leg: Some(leg("pbx")),
        from: "+14255550100".into(),
        to: "112".into(),
        started_at: datetime!(2026-01-02 03:04:05 UTC),
        answered_at: None,
        held_by: None,
        hints: None,
    }
}

pub async fn problem(response: Response) -> (u16, String, Vec<String>) {
    let status = response.status().as_u16();
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json",
        "{status}"
    );
    let id = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        (body["status"].as_u64(), body["request_id"].as_str()),
        (Some(status.into()), Some(id.as_str()))
    );
    for member in ["type", "title", "detail", "code"] {
        assert!(
            body[member].as_str().is_some_and(|text| !text.is_empty()),
            "{member} of {body}"
        );
    }
    let fields = body["errors"].as_array().unwrap().iter();
    (
        status,
        body["code"].as_str().unwrap().into(),
        fields
            .map(|e| e["field"].as_str().unwrap().into())
            .collect(),
    )
}
