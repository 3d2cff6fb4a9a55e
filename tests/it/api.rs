//! The REST API over HTTP, from conventions that hold everywhere to what each resource does.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

mod alarms;
mod docs;
pub mod events;
mod media;
mod music;
mod portable;
mod session;
mod tables;

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
    LiveLeg, LiveState, People, SignIns, openapi, router,
};
use tollgate::b2bua::{
    CallWhy, Cdr, Counting, Direction, Fact, Found, LiveMedia, MediaCounts, Step, Trace, Troubles,
};
use tollgate::backend::SeatBackend;
use tollgate::directory::{self, Customer, Ledger};
use tollgate::net::Addresses;
use tollgate::net::clock::Clock;
use tollgate::onboarding::Onboarding;
use tollgate::sip::{Flow, SendTo, Source, Transport};
use tollgate::store::{AccessRole, Spool, Store};
use tollgate::sync::Syncs;
use tollgate::telemetry::health::{Health, Part};
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

/// Regenerate with `TOLLGATE_BLESS=1 cargo test --test it api::`.
#[test]
fn the_description_is_the_golden_one() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden/openapi.json");
    let now = openapi().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        std::fs::write(golden, &now).unwrap();
    }
    assert!(
        std::fs::read_to_string(golden).unwrap() == now,
        "the API differs from {golden}"
    );
}

#[tokio::test]
async fn health_and_description_need_no_token_and_tell_no_secret() {
    let api = Api::start().await;
    let get = async |path| api.request("GET", path).send().await.unwrap();
    assert_eq!(get("/healthz").await.status(), 200);
    assert_eq!(
        get("/api/v1/openapi.json")
            .await
            .json::<Value>()
            .await
            .unwrap()["openapi"],
        "3.1.0"
    );
    assert_eq!(
        get("/readyz").await.json::<Value>().await.unwrap(),
        json!({ "ready": true, "generation": 1, "reasons": [] })
    );
    api.health.down(Part::Store, "the disk is full");
    let response = get("/readyz").await;
    assert_eq!(response.status(), 503);
    let reasons = json!([{ "part": "store", "reason": "the disk is full" }]);
    assert_eq!(response.json::<Value>().await.unwrap()["reasons"], reasons);
}

/// Every route of the description with every role, without a token, and with one that does not count: what the roles of
/// provisioning §8.2 may not do is refused before anything is looked at.
#[tokio::test]
async fn every_route_obeys_the_table_of_roles() {
    use AccessRole::{CarrierAdmin, CustomerAdmin, CustomerOperator, EndUser, Noc, PartnerAdmin};
    let api = Api::start().await;
    let (id, _) = api.customer("acme").await;
    let (partner, _) = api.partner("sales").await;
    // So that what needs its consent does not hang on it.
    let customer = api.token(CustomerAdmin, Some(id)).await;
    let consent = format!("/api/v1/customers/{id}/co-management");
    let granted = json!({ "state": "granted" });
    assert_eq!(api.send(&customer, "PUT", &consent, granted).await.0, 200);
    let document = serde_json::to_value(openapi()).unwrap();
    let mut seen = 0;
    for (template, item) in document["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
        {
            let path = template
                .replace("{id}", &id.to_string())
                .replace("{code}", "NOWHERE")
                .replace("{number}", "+14255550199")
                .replace("{gateway}", &Uuid::nil().to_string())
                .replace("{trunk}", &Uuid::nil().to_string())
                .replace("{pbx}", &Uuid::nil().to_string())
                .replace("{registration}", &Uuid::nil().to_string())
                .replace("{partner}", &partner.to_string())
                .replace("{announcement}", "limit_reached")
                .replace("{user}", &Uuid::nil().to_string())
                .replace("{service}", &Uuid::nil().to_string())
                .replace("{job}", &Uuid::nil().to_string())
                .replace("{task}", &Uuid::nil().to_string())
                .replace("{device}", &Uuid::nil().to_string())
                .replace("{model}", "yealink-t46u")
                .replace("{invitation}", &Uuid::nil().to_string());
            let open = matches!(
                template.as_str(),
                "/healthz" | "/readyz" | "/api/v1/openapi.json" | "/oauth/callback"
            );
            let session = template == "/api/v1/session";
            let link = ["/invite/", "/activate/", "/oidc/", "/api/docs"];
            let link = link.iter().any(|start| template.starts_with(start));
            let open = open || link || session && method == "POST";
            for token in [None, Some("tg_wrong"), Some("")] {
                let mut request = api.request(&method, &path);
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                let response = request.send().await.unwrap();
                assert_eq!(response.status() == 401, !open, "{method} {path} {token:?}");
                assert_eq!(response.headers().contains_key("www-authenticate"), !open);
            }
            // Signing out ends the token that the next request would carry.
            if open || session && method == "DELETE" {
                continue;
            }
            for role in AccessRole::ALL {
                let writes = method != "GET";
                let (calls, cdrs) = (
                    template.starts_with("/api/v1/calls") && !template.ends_with("/why"),
                    template == "/api/v1/cdrs",
                );
                let shared = template.starts_with("/api/v1/trunks");
                let region = template.starts_with("/api/v1/regions");
                let shared =
                    shared || template.ends_with("/diagnosis") || template == "/api/v1/alarms";
                let whole = ["/api/v1/export", "/api/v1/import"].contains(&template.as_str());
                let audit = template == "/api/v1/audit" || whole;
                let announcements = template.starts_with("/api/v1/announcements");
                let carriers_music = template == "/api/v1/music" || announcements;
                let music = template.contains("/music") || announcements;
                let partners = template.starts_with("/api/v1/partners");
                let region = region || template.starts_with("/api/v1/pbx-types");
                let consent = template.ends_with("/co-management")
                    || template.ends_with("/sync")
                    || template.contains("/users")
                    || template.contains("/pbx-registrations")
                    || template.ends_with("/activation")
                    || template.ends_with("/gateways/{gateway}") && method == "PATCH"
                    || template.starts_with("/api/v1/tasks")
                    || template.ends_with("{id}/numbers/{number}") && method == "PATCH";
                let code = template.ends_with("/activation-code");
                let inventory = template.starts_with("/api/v1/numbers");
                let shared = shared || inventory;
                let wizard = template.contains("/invitations")
                    || template.ends_with("/upgrade")
                    || template.ends_with("/m365/validate");
                let customers = template.strip_prefix("/api/v1/customers/{id}");
                let work = match (customers, writes) {
                    (Some("/numbers/{number}"), true) => method == "PATCH",
                    (Some(below), true) => below.starts_with("/users"),
                    (Some(below), false) => {
                        ["/users", "/numbers", "/services", "/extensions"]
                            .iter()
                            .any(|work| below.starts_with(work))
                            || below.is_empty()
                    }
                    (None, _) => session || template == "/api/v1/tasks/{task}" && !writes,
                };
                let may = match role {
                    CarrierAdmin => true,
                    CustomerAdmin | CustomerOperator | EndUser | Noc if wizard => false,
                    Noc => (!writes || calls) && !audit && !code,
                    PartnerAdmin => {
                        !(calls || shared || audit || (region || carriers_music) && writes)
                    }
                    CustomerOperator => work,
                    EndUser => session || code && !writes || template.ends_with("/resend-welcome"),
                    CustomerAdmin => {
                        let all = !calls && !shared && !cdrs && !audit && !music && !partners;
                        all && (!writes || consent)
                    }
                };
                let scope = match role {
                    PartnerAdmin => Some(partner),
                    CustomerAdmin | CustomerOperator => Some(id),
                    EndUser => Some(Uuid::nil()),
                    CarrierAdmin | Noc => None,
                };
                let request = api
                    .request(&method, &path)
                    .bearer_auth(api.token(role, scope).await);
                let response = request
                    .header("If-Match", "\"999\"")
                    .header("Content-Type", "text/html")
                    .send()
                    .await
                    .unwrap();
                // The body is none, so that nothing is really written; sip_data_access is off.
                let own_records = template.ends_with("/cdrs") && role == CustomerAdmin;
                assert_eq!(
                    response.status() != 403,
                    may && !own_records,
                    "{role:?} {method} {path}: {}",
                    response.status()
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 4 * 30, "{seen} combinations");
}

/// A partner sees its own customers, a customer itself; the others are as absent as those that never were.
#[tokio::test]
async fn what_is_out_of_scope_does_not_exist() {
    let api = Api::start().await;
    let (partner, as_partner) = api.partner("ours").await;
    let (other, _) = api.partner("other").await;
    let (theirs, theirs_path) = api.customer("theirs").await;
    let body = new_customer("ours");
    let created = api
        .request("POST", "/api/v1/customers")
        .bearer_auth(&as_partner)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201);
    let mut ours: Value = created.json().await.unwrap();
    assert_eq!(ours["partner_id"], json!(partner));
    ours.as_object_mut().unwrap().remove("sync_task");
    let mut foreign = new_customer("x");
    foreign["partner_id"] = json!(other);
    let refused = api
        .request("POST", "/api/v1/customers")
        .bearer_auth(&as_partner)
        .json(&foreign)
        .send()
        .await
        .unwrap();
    assert_eq!(
        problem(refused).await,
        (422, "invalid".into(), vec!["partner_id".into()])
    );

    let as_customer = api
        .token(
            AccessRole::CustomerAdmin,
            Some(ours["id"].as_str().unwrap().parse().unwrap()),
        )
        .await;
    for token in [&as_partner, &as_customer] {
        let listed = api
            .request("GET", "/api/v1/customers")
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
        let listed: Value = listed.json().await.unwrap();
        assert_eq!(listed["items"], json!([ours]));
    }
    for path in [theirs_path, format!("/api/v1/customers/{}", Uuid::nil())] {
        for (method, rest) in [
            ("GET", ""),
            ("GET", "/numbers"),
            ("GET", "/channels"),
            ("GET", "/cdrs"),
            ("PATCH", ""),
            ("DELETE", ""),
            ("POST", "/numbers"),
        ] {
            let request = api
                .request(method, &format!("{path}{rest}"))
                .bearer_auth(&as_partner)
                .header("If-Match", "*");
            let response = request
                .json(&json!({ "numbers": ["+14255550100"] }))
                .send()
                .await
                .unwrap();
            assert_eq!(
                problem(response).await,
                (404, "not_found".into(), vec![]),
                "{method} {path}{rest}"
            );
        }
    }
    assert!(api.store.directory().load().customer(theirs).is_some());
}

/// What a partner may do on its own customer ends where the carrier's business begins.
#[tokio::test]
async fn a_partner_neither_activates_nor_connects_to_carriers() {
    let api = Api::start().await;
    let (_, token) = api.partner("ours").await;
    let body = new_customer("ours");
    let send = async |method: &str, path: &str, body: &Value| {
        let request = api
            .request(method, path)
            .bearer_auth(&token)
            .header("If-Match", "*");
        request.json(body).send().await.unwrap()
    };
    let ours: Value = send("POST", "/api/v1/customers", &body)
        .await
        .json()
        .await
        .unwrap();
    let path = format!("/api/v1/customers/{}", ours["id"].as_str().unwrap());
    let activate = json!({ "activation_state": "active", "activation_reason": "because" });
    assert_eq!(
        problem(send("PATCH", &path, &activate).await).await.1,
        "activation_by_carrier"
    );
    assert_eq!(
        send("PATCH", &path, &json!({ "max_channels": 5 }))
            .await
            .status(),
        200
    );

    let trunk = |role: &str| json!({ "name": role, "role": role, "transport": "udp", "host": "p.example.net" });
    let trunks = format!("{path}/trunks");
    assert_eq!(
        problem(send("POST", &trunks, &trunk("carrier")).await)
            .await
            .1,
        "carrier_trunk"
    );
    let pbx: Value = send("POST", &trunks, &trunk("pbx"))
        .await
        .json()
        .await
        .unwrap();
    let pbx_path = format!("{trunks}/{}", pbx["id"].as_str().unwrap());
    assert_eq!(
        problem(send("PATCH", &pbx_path, &json!({ "role": "carrier" })).await)
            .await
            .1,
        "carrier_trunk"
    );
    assert_eq!(
        api.patch(&pbx_path, json!({ "role": "carrier" }))
            .await
            .status(),
        200
    );
    assert_eq!(
        problem(send("DELETE", &pbx_path, &json!({})).await).await.1,
        "carrier_trunk"
    );
}

/// P-02 and its kin: the answer names the field.
#[tokio::test]
async fn a_body_that_does_not_fit_is_told_by_its_field() {
    let api = Api::start().await;
    let good = new_customer("a");
    for field in ["account_id", "name", "tenant_name", "max_channels"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        let response = api
            .carrier("POST", "/api/v1/customers")
            .await
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(
            problem(response).await,
            (422, "invalid".into(), vec![field.into()])
        );
    }
    for (change, field) in [
        (json!({ "colour": "red" }), "colour"),
        (json!({ "max_channels": -1 }), "max_channels"),
        (json!({ "max_channels": "2" }), "max_channels"),
        (json!({ "regions": ["MOON"] }), "regions"),
        (json!({ "tenant_name": "contoso" }), "tenant_name"),
        (json!({ "admin_email": "nobody" }), "admin_email"),
        (json!({ "user_limit": 0 }), "user_limit"),
        (json!({ "offerings": [] }), "offerings"),
        (json!({ "offerings": ["trunk", "trunk"] }), "offerings[1]"),
        (
            json!({ "billing_references": [""] }),
            "billing_references[0]",
        ),
        (json!({ "partner_id": Uuid::nil() }), "partner_id"),
        (json!({ "activation_state": "active" }), "activation_reason"),
        (
            json!({ "emergency_numbers": ["112", "x"] }),
            "emergency_numbers[1]",
        ),
    ] {
        let mut body = good.clone();
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let response = api
            .carrier("POST", "/api/v1/customers")
            .await
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(
            problem(response).await,
            (422, "invalid".into(), vec![field.into()])
        );
    }
    assert_eq!(
        api.store.directory().load().generation,
        1,
        "nothing was stored"
    );
}

#[tokio::test]
async fn what_is_no_request_of_ours_is_a_problem_too() {
    let api = Api::start().await;
    let status = async |request: RequestBuilder| problem(request.send().await.unwrap()).await;
    let post = async || api.carrier("POST", "/api/v1/customers").await;
    assert_eq!(
        status(
            post()
                .await
                .header("content-type", "application/json")
                .body("{")
        )
        .await
        .0,
        400
    );
    assert_eq!(
        status(post().await.header("content-type", "text/xml").body("<a/>"))
            .await
            .0,
        415
    );
    let large = format!("\"{}\"", "a".repeat(1 << 20));
    assert_eq!(
        status(
            post()
                .await
                .header("content-type", "application/json")
                .body(large)
        )
        .await,
        (413, "body_too_large".into(), vec![])
    );
    assert_eq!(
        status(api.carrier("PUT", "/api/v1/customers").await)
            .await
            .0,
        405
    );
    assert_eq!(
        status(api.carrier("GET", "/api/v1/nothing").await).await.0,
        404
    );
    assert_eq!(
        status(api.carrier("GET", "/api/v1/customers/not-a-uuid").await)
            .await
            .0,
        400
    );
    for query in ["limit=0", "limit=501", "limit=x", "cursor=x", "colour=red"] {
        assert_eq!(
            status(
                api.carrier("GET", &format!("/api/v1/customers?{query}"))
                    .await
            )
            .await
            .0,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_change_needs_the_version_that_it_was_made_from() {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    let patch = async |tag: Option<&str>, limit: u32| {
        let mut request = api
            .carrier("PATCH", &path)
            .await
            .json(&json!({ "max_channels": limit }));
        if let Some(tag) = tag {
            request = request.header("If-Match", tag);
        }
        request.send().await.unwrap()
    };
    let first = api
        .carrier("GET", &path)
        .await
        .send()
        .await
        .unwrap()
        .headers()["etag"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(problem(patch(None, 7).await).await.0, 428);
    let changed = patch(Some(&first), 7).await;
    assert_eq!(changed.status(), 200);
    assert_ne!(changed.headers()["etag"].to_str().unwrap(), first);
    let generation: u64 = changed.headers()["tollgate-generation"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(changed.json::<Value>().await.unwrap()["max_channels"], 7);
    assert_eq!(
        problem(patch(Some(&first), 8).await).await.0,
        412,
        "somebody else was faster"
    );
    let directory = api.store.directory().load_full();
    assert_eq!(
        (
            directory.generation,
            directory.customer(id).unwrap().max_channels
        ),
        (generation, 7)
    );

    let tag = api
        .carrier("GET", &path)
        .await
        .send()
        .await
        .unwrap()
        .headers()["etag"]
        .clone();
    let again = api
        .carrier("GET", &path)
        .await
        .header("If-None-Match", tag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 304);
    let delete = api.carrier("DELETE", &path).await.send().await.unwrap();
    assert_eq!(problem(delete).await.0, 428);
    assert_eq!(patch(Some("*"), 9).await.status(), 200);
}

#[tokio::test]
async fn an_idempotency_key_makes_a_post_happen_once() {
    let api = Api::start().await;
    let body = new_customer;
    let post = async |key: &str, body: Value| {
        let request = api
            .carrier("POST", "/api/v1/customers")
            .await
            .header("Idempotency-Key", key);
        request.json(&body).send().await.unwrap()
    };
    let first = post("k1", body("a")).await;
    assert_eq!(
        (
            first.status().as_u16(),
            first.headers().contains_key("idempotent-replayed")
        ),
        (201, false)
    );
    let location = first.headers()["location"].clone();
    let first: Value = first.json().await.unwrap();
    let again = post("k1", body("a")).await;
    assert_eq!(
        (
            again.status().as_u16(),
            &again.headers()["idempotent-replayed"],
            &again.headers()["location"]
        ),
        (201, &"true".parse().unwrap(), &location)
    );
    assert_eq!(again.json::<Value>().await.unwrap(), first);
    assert_eq!(
        problem(post("k1", body("b")).await).await,
        (422, "idempotency_key_reused".into(), vec![])
    );
    assert_eq!(
        problem(post("k2", body("a")).await).await,
        (409, "account_id_in_use".into(), vec![])
    );

    let refused: Value = post("k3", json!({})).await.json().await.unwrap();
    let again = post("k3", json!({})).await;
    assert_eq!(
        (
            again.status().as_u16(),
            again.json::<Value>().await.unwrap()
        ),
        (422, refused)
    );
    assert_eq!(problem(post("", body("c")).await).await.0, 400);
    assert_eq!(
        api.get("/api/v1/customers").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

/// Ten requests at once with one key: one is done, the others hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_holds_under_contention() {
    let api = Api::start().await;
    let token = api.token(AccessRole::CarrierAdmin, None).await;
    let send = || {
        let request = api
            .request("POST", "/api/v1/customers")
            .bearer_auth(&token)
            .header("Idempotency-Key", "k");
        tokio::spawn(request.json(&new_customer("a")).send())
    };
    let tasks: Vec<_> = (0..10).map(|_| send()).collect();
    for task in tasks {
        let response = task.await.unwrap().unwrap();
        assert!(
            matches!(response.status().as_u16(), 201 | 409),
            "{}",
            response.status()
        );
    }
    assert_eq!(api.store.directory().load().generation, 2);
}

#[tokio::test]
async fn pages_are_cut_by_cursors() {
    let api = Api::start().await;
    let mut expected = Vec::new();
    for n in 0..5 {
        expected.push(api.customer(&format!("c{n}")).await.0.to_string());
    }
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = api.get(&format!("/api/v1/customers{query}")).await;
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| c["id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, expected);
}

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

#[tokio::test]
async fn live_calls_are_listed_shown_and_hung_up() {
    let api = Api::start().await;
    let ids = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let uuid = |n: u128| Uuid::from_u128(n).to_string();
    let first = api.get("/api/v1/calls?limit=2").await;
    assert_eq!(ids(&first), [uuid(1), uuid(2)]);
    let second = api
        .get(&format!(
            "/api/v1/calls?limit=2&cursor={}",
            first["next_cursor"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        (ids(&second), &second["next_cursor"]),
        (vec![uuid(3)], &Value::Null)
    );
    assert_eq!(
        ids(&api
            .get(&format!("/api/v1/calls?customer_id={}", uuid(102)))
            .await),
        [uuid(2)]
    );

    let call = format!("/api/v1/calls/{}", uuid(2));
    assert_eq!(
        api.get(&call).await,
        json!({
            "id": uuid(2), "customer_id": uuid(102), "direction": "from_teams", "state": "answered",
            "a_leg": { "peer": "teams", "call_id": "2@teams", "state": "answered" },
            "b_leg": { "peer": "pbx", "call_id": "2@pbx", "state": "answered" },
            "from": "+14255550100", "to": "112", "started_at": "2026-01-02T03:04:05Z", "answered_at": null, "held_by": null,
            "hints": null,
        })
    );
    let noc = api.token(AccessRole::Noc, None).await;
    for _ in 0..2 {
        assert_eq!(
            api.request("DELETE", &call)
                .bearer_auth(&noc)
                .send()
                .await
                .unwrap()
                .status(),
            204
        );
    }
    assert_eq!(
        problem(api.carrier("GET", &call).await.send().await.unwrap())
            .await
            .0,
        404
    );
}

fn cdr(id: u128, customer: Uuid) -> Cdr {
    Cdr {
        id: Uuid::from_u128(id),
        generation: 1,
        customer_id: Some(customer),
        trunk_id: None,
        gateway: None,
        direction: Direction::ToTeams,
        emergency: false,
        from: "+4930123456".into(),
        to: "+14255550100".into(),
        a_call_id: "a".into(),
        b_call_id: Some("b".into()),
        start: datetime!(2026-01-02 03:04:05 UTC),
        ringing: None,
        answer: Some(datetime!(2026-01-02 03:04:09.5 UTC)),
        end: datetime!(2026-01-02 03:05:09.5 UTC),
        sip_code: Some(200),
        q850: Some(16),
        reason: "the caller hung up".into(),
        refused_by: None,
        ended_by: None,
        music: None,
        transferred_to: None,
        a_media: None,
        b_media: None,
        why: Trace::default(),
    }
}

/// The customer sees its own records when the partner lets it, those from before too.
#[tokio::test]
async fn t_14_call_detail_records_are_shown_to_whom_they_concern() {
    let api = Api::start().await;
    let (acme, acme_path) = api.customer("acme").await;
    let (other, _) = api.customer("other").await;
    api.store
        .add_cdrs(&[cdr(1, acme), cdr(2, other)])
        .await
        .unwrap();
    let all = api.get("/api/v1/cdrs").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&all["items"][0]["setup_ms"], &all["items"][0]["talk_ms"]),
        (&json!(4500), &json!(60000))
    );
    for (query, found) in [
        ("from=2026-01-02T03:04:05Z&until=2026-01-02T03:04:06Z", 2),
        ("until=2026-01-02T03:04:05Z", 0),
        ("number=%2B4930123456", 2),
        ("number=112", 0),
        ("sip_code=486", 0),
        ("refused_by=limit", 0),
        ("direction=to_teams", 2),
    ] {
        assert_eq!(
            api.get(&format!("/api/v1/cdrs?{query}")).await["items"]
                .as_array()
                .unwrap()
                .len(),
            found,
            "{query}"
        );
    }

    let token = api.token(AccessRole::CustomerAdmin, Some(acme)).await;
    let own = async || {
        api.request("GET", &format!("{acme_path}/cdrs"))
            .bearer_auth(&token)
            .send()
            .await
            .unwrap()
    };
    assert_eq!(
        problem(own().await).await,
        (403, "sip_data_access_off".into(), vec![])
    );
    assert_eq!(
        api.patch(&acme_path, json!({ "sip_data_access": true }))
            .await
            .status(),
        200
    );
    let records: Value = own().await.json().await.unwrap();
    assert_eq!(records["items"].as_array().unwrap().len(), 1);
    assert_eq!(records["items"][0]["customer_id"], json!(acme));
}

/// Provisioning §8.2: the NOC sees the records and calls of all, but wherever it looks no whole number of a person; a
/// number that it was told of it may look for. An emergency number is nobody's. Whom the configuration does not name
/// sees all.
#[tokio::test]
async fn people_are_hidden_everywhere_alike() {
    let api = Api::start().await;
    let (acme, acme_path) = api.customer("acme").await;
    let transferred = Cdr {
        transferred_to: Some("+493077777".into()),
        why: trace("+14255550100"),
        ..cdr(1, acme)
    };
    let emergency = Cdr {
        emergency: true,
        to: "112".into(),
        ..cdr(2, acme)
    };
    api.store.add_cdrs(&[transferred, emergency]).await.unwrap();
    let call = Uuid::from_u128(1);
    for path in [
        "/api/v1/calls".to_owned(),
        format!("/api/v1/calls/{}", Uuid::from_u128(2)),
        "/api/v1/cdrs".to_owned(),
        "/api/v1/cdrs?number=%2B14255550100".to_owned(),
        format!("{acme_path}/cdrs?limit=5"),
        format!("/api/v1/calls/{call}/why"),
    ] {
        let seen_by = async |role| {
            let request = api.request("GET", &path);
            let request = request.bearer_auth(api.token(role, None).await);
            let text = request.send().await.unwrap().text().await.unwrap();
            assert!(text.contains("00"), "{path}: {text}");
            text
        };
        let (noc, carrier) = (
            seen_by(AccessRole::Noc).await,
            seen_by(AccessRole::CarrierAdmin).await,
        );
        for number in ["+14255550100", "+4930123456", "+493077777"] {
            assert!(!noc.contains(number), "{path}: {noc}");
        }
        assert!(carrier.contains("+14255550100"), "{path}: {carrier}");
        assert!(noc.contains("…00"), "{path}: {noc}");
        if path.ends_with("limit=5") {
            assert!(noc.contains(r#""to":"112""#), "{noc}");
        }
    }
}

/// What frames a list and what filters it are told apart; what is neither is refused.
#[tokio::test]
async fn what_a_list_does_not_know_is_refused() {
    let api = Api::start().await;
    for path in ["cdrs", "audit"] {
        for query in [
            "nmber=1",
            "limit=x",
            "from=yesterday",
            "limit=501",
            "cursor=!",
        ] {
            let asked = api.carrier("GET", &format!("/api/v1/{path}?{query}")).await;
            assert_eq!(problem(asked.send().await.unwrap()).await.0, 400, "{query}");
        }
        let asked = format!("/api/v1/{path}?limit=1&&until=2027-01-02T03:04:05%2B00:00");
        api.get(&asked).await;
    }
}

/// Why a call went as it did: live from the calls, from the spool before the record is stored, then from the store;
/// by the call's id and by its Call-ID; as text on request; shortened for the roles that the configuration names; and
/// only for those whom the call concerns.
#[tokio::test]
async fn why_a_call_went_so_is_told_to_whom_it_concerns() {
    let api = Api::start().await;
    let (acme, acme_path) = api.customer("acme").await;
    let (_, other_path) = api.customer("other").await;
    let live = api.get("/api/v1/calls/2@teams/why").await;
    assert_eq!(
        live,
        json!({
            "id": Uuid::from_u128(2), "customer_id": Uuid::from_u128(102), "live": true, "call_ids": ["2@teams"],
            "steps": [{ "ms": 0, "step": "number", "dialled": "+14255550100", "number": "+14255550100", "found": "outside" }],
            "left_out": 0,
        })
    );
    let over = Cdr {
        why: trace("+4930987654"),
        ..cdr(9, acme)
    };
    api.spool.append(&over).unwrap();
    let path = format!("/api/v1/calls/{}/why", over.id);
    for call in [path.as_str(), "/api/v1/calls/a/why", "/api/v1/calls/b/why"] {
        let told = api.get(call).await;
        assert_eq!(
            (&told["live"], &told["id"]),
            (&json!(false), &json!(over.id))
        );
    }
    assert_eq!(api.spool.waiting(), 0);
    let records = api.get("/api/v1/cdrs").await;
    assert!(records["items"][0].get("why").is_none(), "{records}");

    let text = async |role, scope, query: &str| {
        let request = api.request("GET", &format!("{path}{query}"));
        let request = request.bearer_auth(api.token(role, scope).await);
        request.header("Accept", "text/plain").send().await.unwrap()
    };
    let whole = text(AccessRole::CarrierAdmin, None, "").await;
    assert_eq!(whole.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(whole.text().await.unwrap().contains("+4930987654"));
    let noc = text(AccessRole::Noc, None, "?format=text")
        .await
        .text()
        .await
        .unwrap();
    assert!(noc.contains("…54") && !noc.contains("+4930"), "{noc}");
    let json = text(AccessRole::CarrierAdmin, None, "?format=json").await;
    assert_eq!(json.headers()["content-type"], "application/json");

    let own = text(AccessRole::CustomerAdmin, Some(acme), "").await;
    assert_eq!(
        problem(own).await,
        (403, "sip_data_access_off".into(), vec![])
    );
    for (path, status) in [(&acme_path, 200), (&other_path, 200)] {
        let shared = api.patch(path, json!({ "sip_data_access": true })).await;
        assert_eq!(shared.status(), status);
    }
    assert_eq!(
        text(AccessRole::CustomerAdmin, Some(acme), "")
            .await
            .status(),
        200
    );
    let other: Uuid = other_path.rsplit('/').next().unwrap().parse().unwrap();
    let foreign = text(AccessRole::CustomerAdmin, Some(other), "").await;
    assert_eq!(problem(foreign).await.0, 404);
    let partner = text(AccessRole::PartnerAdmin, Some(Uuid::from_u128(5)), "").await;
    assert_eq!(problem(partner).await.0, 404);
    let nobody = api.carrier("GET", "/api/v1/calls/nothing/why").await;
    assert_eq!(problem(nobody.send().await.unwrap()).await.0, 404);
}

/// The audit tells who changed what, newest first, by token, resource and time; only to the carrier's administrator.
#[tokio::test]
async fn the_audit_is_told_to_the_carrier() {
    let api = Api::start().await;
    let (_, acme_path) = api.customer("acme").await;
    let (_, other_path) = api.customer("other").await;
    assert_eq!(
        api.patch(&acme_path, json!({ "name": "Acme & Co" }))
            .await
            .status(),
        200
    );
    let all = api.get("/api/v1/audit").await;
    let done: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["action"].clone(), event["object"].clone()))
        .collect();
    let region = "/api/v1/regions/EU".to_owned();
    let expected = [
        ("update", &acme_path),
        ("create", &other_path),
        ("create", &acme_path),
        ("create", &region),
    ];
    assert_eq!(
        done,
        expected.map(|(action, object)| (json!(action), json!(object)))
    );
    let update = &all["items"][0];
    assert_eq!(
        (&update["role"], &update["after"]["name"]),
        (&json!("carrier_admin"), &json!("Acme & Co"))
    );
    let count = async |query: &str| {
        api.get(&format!("/api/v1/audit?{query}")).await["items"]
            .as_array()
            .unwrap()
            .len()
    };
    let token = update["token_id"].as_str().unwrap();
    for (query, found) in [
        (format!("object={acme_path}"), 2),
        ("object=/api/v1/customers".to_owned(), 3),
        ("object=/api/v1/cust".to_owned(), 0),
        (format!("token_id={token}&limit=1"), 1),
        (format!("token_id={}", Uuid::nil()), 0),
        ("until=2020-01-01T00:00:00Z".to_owned(), 0),
    ] {
        assert_eq!(count(&query).await, found, "{query}");
    }
}

/// A call's messages as JSON, as a picture, and as a file for Wireshark; secrets in none of them, people only for who
/// may see them; gone, and said so, when none are kept.
#[tokio::test]
async fn a_calls_messages_are_shown_without_secrets() {
    let api = Api::start().await;
    let source = Source {
        transport: Transport::Tls,
        flow: Flow(1),
        remote: "192.0.2.9:5061".parse().unwrap(),
        local: "192.0.2.1:5061".parse().unwrap(),
        certificate: None,
    };
    let invite = "INVITE sip:+14255550100@a.example SIP/2.0\r\nFrom: \"Jane\" <sip:+442075550123@b>;tag=1\r\nCall-ID: 2@teams\r\n\
                  Content-Type: application/sdp\r\n\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\n";
    api.recorder.received(&invite.into(), &source);
    let trying = "SIP/2.0 100 Trying\r\nCall-ID: 2@teams\r\n\r\n";
    api.recorder
        .sent(&trying.into(), &SendTo::Flow(Flow(1), source.remote));

    let ladder = api.get("/api/v1/calls/2@teams/ladder").await;
    let messages = ladder["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &ladder["live"]), (2, &json!(true)));
    assert_eq!(
        (&messages[0]["sent"], &messages[1]["sent"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        (&messages[1]["local"], &messages[1]["remote"]),
        (&json!("192.0.2.1:5061"), &json!("192.0.2.9:5061"))
    );
    let text = messages[0]["text"].as_str().unwrap();
    assert!(
        text.contains("+442075550123") && !text.contains("c2VjcmV0"),
        "{text}"
    );

    let shown = async |role, query: &str, accept: &str| {
        let request = api.request("GET", &format!("/api/v1/calls/2@teams/ladder{query}"));
        let request = request
            .bearer_auth(api.token(role, None).await)
            .header("Accept", accept);
        request.send().await.unwrap().bytes().await.unwrap()
    };
    let noc = shown(AccessRole::Noc, "", "application/json").await;
    let noc = String::from_utf8(noc.to_vec()).unwrap();
    assert!(
        !noc.contains("44207555") && !noc.contains("Jane") && noc.contains("…23@b"),
        "{noc}"
    );
    for (query, accept) in [("?format=text", "*/*"), ("", "text/plain")] {
        let picture = shown(AccessRole::CarrierAdmin, query, accept).await;
        let picture = String::from_utf8(picture.to_vec()).unwrap();
        assert!(
            picture.contains("Tollgate")
                && picture.contains(" INVITE +14255550100 ")
                && picture.contains(" 100 Trying "),
            "{picture}"
        );
    }
    let file = shown(AccessRole::CarrierAdmin, "?format=pcapng", "*/*").await;
    assert_eq!(file[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    assert!(file.windows(7).any(|w| w == b"INVITE ") && !file.windows(8).any(|w| w == b"c2VjcmV0"));

    for (call, code) in [("3@teams", "ladder_gone"), ("nobody", "not_found")] {
        let gone = api
            .carrier("GET", &format!("/api/v1/calls/{call}/ladder"))
            .await;
        let (status, told, _) = problem(gone.send().await.unwrap()).await;
        assert_eq!((status, told.as_str()), (404, code));
    }
}
