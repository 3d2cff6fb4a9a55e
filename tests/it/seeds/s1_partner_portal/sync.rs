//! Sync: when it runs, what the carrier's system says to it, and how each number then stands.

use super::super::code;
use crate::api::{Api, new_customer};
use serde_json::{Value, json};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;
use tollgate::backend::{Asked, BackendError, HttpBackend, SeatBackend};
use tollgate::directory::Number;
use tollgate::provisioning::Seats;
use tollgate::store::AccessRole;

/// What the carrier's system says, set by the test.
#[derive(Debug, Default)]
struct FakeBackend {
    seats: Mutex<Option<Seats>>,
    asked: AtomicUsize,
}

impl FakeBackend {
    fn says(&self, seats: Value) {
        *self.seats.lock().unwrap() = Some(serde_json::from_value(seats).unwrap());
    }

    fn falls_silent(&self) {
        *self.seats.lock().unwrap() = None;
    }
}

impl SeatBackend for FakeBackend {
    fn seats<'a>(&'a self, _: &'a str, _: &'a [Number]) -> Asked<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let seats = self.seats.lock().unwrap().clone();
        let silent = || BackendError::Unreachable("it sleeps".into());
        Box::pin(async move { seats.ok_or_else(silent) })
    }
}

/// A seat of Teams.
fn seat(id: &str, numbers: &[&str]) -> Value {
    json!({ "id": id, "kind": "teams", "upn": format!("{id}@contoso.example"), "display_name": id, "numbers": numbers })
}

/// A number of a customer.
async fn number(api: &Api, path: &str, number: &str) -> Value {
    api.get(&format!("{path}/numbers/{number}")).await
}

/// With the switch on, the customer is synchronised without any further request, and the seats are users.
#[tokio::test]
async fn p_07_a_new_customer_is_synchronised_at_once() {
    let backend = Arc::new(FakeBackend::default());
    backend.says(
        json!({ "seats": [seat("jo", &[]), seat("kim", &[]), { "id": "fax", "kind": "other" }] }),
    );
    let api = Api::with(Some(backend.clone())).await;
    let mut body = new_customer("a");
    body["sync_after_save"] = json!(true);
    let created = api.post("/api/v1/customers", body).await;
    let task = created["sync_task"]["id"].as_str().unwrap();
    let task = api.get(&format!("/api/v1/tasks/{task}?wait=20")).await;
    assert_eq!(
        (&task["state"], &task["kind"]),
        (&json!("succeeded"), &json!("sync"))
    );
    assert_eq!(task["result"]["counts"]["users_created"], 2);
    let id = created["id"].as_str().unwrap();
    let path = format!("/api/v1/customers/{id}");
    let jobs = api.get(&format!("{path}/sync-jobs")).await;
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1);
    let customer = api
        .token(AccessRole::CustomerAdmin, Some(id.parse().unwrap()))
        .await;
    let (_, users) = api
        .send(&customer, "GET", &format!("{path}/users"), json!(null))
        .await;
    let names: Vec<_> = users["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["upn"].clone())
        .collect();
    assert_eq!(names, ["jo@contoso.example", "kim@contoso.example"]);
    assert_eq!(api.get(&path).await["sync_state"], "clean");
}

/// Without it nothing happens but that the customer is dirty.
#[tokio::test]
async fn p_08_without_the_switch_the_customer_waits() {
    let backend = Arc::new(FakeBackend::default());
    let api = Api::with(Some(backend.clone())).await;
    let created = api.post("/api/v1/customers", new_customer("a")).await;
    assert_eq!(
        (&created["sync_task"], &created["sync_state"]),
        (&json!(null), &json!("dirty"))
    );
    let path = format!("/api/v1/customers/{}", created["id"].as_str().unwrap());
    assert_eq!(
        api.get(&format!("{path}/sync-jobs")).await["items"],
        json!([])
    );
    let view = api.get(&format!("{path}/sync")).await;
    assert_eq!(
        (&view["sync_state"], &view["last"]),
        (&json!("dirty"), &json!(null))
    );
    assert_eq!(backend.asked.load(Ordering::Relaxed), 0);
}

/// After a Sync every number says how it stands, in the portal's own two sentences where it has them.
#[tokio::test]
async fn p_17_p_18_each_number_says_how_it_stands() {
    let backend = Arc::new(FakeBackend::default());
    let api = Api::with(Some(backend.clone())).await;
    let (_, path) = api.customer("acme").await;
    let numbers = [
        "+14255550100",
        "+14255550101",
        "+14255550102",
        "+14255550103",
    ];
    api.post(&format!("{path}/numbers"), json!({ "numbers": numbers }))
        .await;
    backend.says(json!({
        "seats": [seat("jo", &["+14255550100"]), { "id": "desk", "kind": "other", "numbers": ["+14255550101"] }],
        "other_accounts": ["+14255550103"],
    }));
    let result = api.sync(&path).await;
    assert_eq!(result["sync_state"], "partial");
    let counts = &result["counts"];
    assert_eq!(
        (&counts["added"], &counts["blocked"]),
        (&json!(1), &json!(2))
    );
    for (n, code, text) in [
        (0, "in_sync", "In sync"),
        (
            1,
            "blocked_non_teams_seat",
            "This number cannot be synс’ed automatically (backend reports fatal)",
        ),
        (
            2,
            "available",
            "Needs to be added to portal (not in backend)",
        ),
        (3, "blocked_other_customer", "Assigned to another account"),
    ] {
        let row = number(&api, &path, numbers[n]).await;
        assert_eq!(row["status"], code);
        let shown = row["status_text"].as_str().unwrap();
        assert_eq!(folded(shown), folded(text));
        assert!(!shown.contains('\u{441}'), "Latin letters only");
        assert_eq!(row["in_service"], n == 0);
    }
    let text = number(&api, &path, numbers[1]).await["status_text"].clone();
    assert_eq!(
        text,
        "This number cannot be sync\u{2019}ed automatically (backend reports fatal)"
    );
    let directory = api.store.directory().load_full();
    let serves = |n: &str| {
        directory
            .number(&n.parse().unwrap())
            .is_some_and(|p| p.in_service)
    };
    assert_eq!(numbers.map(serves), [true, false, false, false]);
}

/// What a reader takes for the same letters (the portal's own text has a Cyrillic one).
fn folded(text: &str) -> String {
    text.replace('\u{441}', "c").replace('\u{2019}', "'")
}

/// The second of two Syncs finds nothing to do: no user, no number, no directory changes.
#[tokio::test]
async fn p_25_a_second_sync_changes_nothing() {
    let backend = Arc::new(FakeBackend::default());
    let api = Api::with(Some(backend.clone())).await;
    let (id, path) = api.customer("acme").await;
    let numbers = ["+14255550100", "+14255550101", "+14255550102"];
    api.post(&format!("{path}/numbers"), json!({ "numbers": numbers }))
        .await;
    backend.says(json!({ "seats": [seat("jo", &numbers[..2]), { "id": "x", "kind": "other", "numbers": [numbers[2]] }] }));
    let before = api.store.directory().load().generation;
    let first = api.sync(&path).await;
    assert_eq!(first["generation"], before + 1);
    assert_eq!(
        api.store.directory().load().generation,
        before + 1,
        "P-16: exactly one more"
    );
    let rows = api.get(&format!("{path}/numbers")).await;
    let customer = api.token(AccessRole::CustomerAdmin, Some(id)).await;
    let users = async || {
        api.send(&customer, "GET", &format!("{path}/users"), json!(null))
            .await
            .1
    };
    let had = users().await;
    assert_eq!(had["items"][0]["default_did"], numbers[0]);
    assert_eq!(had["items"][0]["forwarded_dids"], json!([numbers[1]]));
    for _ in 0..2 {
        let second = api.sync(&path).await;
        let counts = second["counts"].as_object().unwrap();
        for (what, count) in counts {
            let expected = match what.as_str() {
                "unchanged" => 2,
                "blocked" => 1,
                _ => 0,
            };
            assert_eq!(count, &json!(expected), "{what}");
        }
        assert_eq!(second["generation"], before + 1);
        assert_eq!(api.store.directory().load().generation, before + 1);
        assert_eq!(api.get(&format!("{path}/numbers")).await, rows);
        assert_eq!(users().await, had);
    }
}

/// When the carrier's system does not answer, what serves goes on, nothing new serves, removals are done, and the next
/// Sync mends it.
#[tokio::test]
async fn p_a_silent_backend_changes_no_calls() {
    let backend = Arc::new(FakeBackend::default());
    let api = Api::with(Some(backend.clone())).await;
    let (_, path) = api.customer("acme").await;
    let numbers = ["+14255550100", "+14255550101", "+14255550102"];
    api.post(
        &format!("{path}/numbers"),
        json!({ "numbers": &numbers[..2] }),
    )
    .await;
    let all = json!({ "seats": [{ "id": "1", "kind": "teams", "numbers": numbers }] });
    backend.says(all.clone());
    api.sync(&path).await;
    let user = number(&api, &path, numbers[1]).await["user_id"].clone();
    assert!(user.is_string());
    api.post(
        &format!("{path}/numbers"),
        json!({ "numbers": &numbers[2..] }),
    )
    .await;
    backend.falls_silent();
    let result = api.sync(&path).await;
    assert_eq!(result["error"]["code"], "backend_unreachable");
    assert_eq!(api.get(&path).await["sync_state"], "failed");
    for (n, serves) in [(0, true), (1, true), (2, false)] {
        let row = number(&api, &path, numbers[n]).await;
        assert_eq!(
            (&row["status"], &row["in_service"]),
            (&json!("backend_unreachable"), &json!(serves))
        );
    }
    backend.says(all);
    api.sync(&path).await;
    assert_eq!(api.get(&path).await["sync_state"], "clean");
    assert_eq!(number(&api, &path, numbers[2]).await["in_service"], true);
}

/// A second Sync while one is under way is told so, or waits with the first; of many at once one runs.
#[tokio::test(flavor = "multi_thread")]
async fn p_syncs_of_a_customer_do_not_overlap() {
    #[derive(Debug)]
    struct Slow(tokio::sync::Semaphore);
    impl SeatBackend for Slow {
        fn seats<'a>(&'a self, _: &'a str, _: &'a [Number]) -> Asked<'a> {
            Box::pin(async move {
                let Ok(permit) = self.0.acquire().await else {
                    panic!("it is not closed")
                };
                permit.forget();
                Ok(Seats::default())
            })
        }
    }
    let slow = Arc::new(Slow(tokio::sync::Semaphore::new(0)));
    let api = Api::with(Some(slow.clone())).await;
    let (_, path) = api.customer("acme").await;
    let carrier = api.token(AccessRole::CarrierAdmin, None).await;
    let sync = format!("{path}/sync");
    let (status, task) = api.send(&carrier, "POST", &sync, json!(null)).await;
    assert_eq!(status, 202);
    assert_eq!(api.get(&path).await["sync_state"], "running");
    let (status, body) = api.send(&carrier, "POST", &sync, json!(null)).await;
    assert_eq!((status, code(&body)), (409, "sync_running"));
    let joining = format!("{sync}?wait=20");
    let mut joined = pin!(api.send(&carrier, "POST", &joining, json!(null)));
    let early = timeout(Duration::from_millis(500), &mut joined).await;
    assert!(early.is_err(), "whoever joins waits for the other's end");
    slow.0.add_permits(1);
    let (status, joined) = joined.await;
    assert_eq!(
        (status, &joined["id"], &joined["state"]),
        (202, &task["id"], &json!("succeeded"))
    );
    assert_eq!(api.get(&path).await["sync_state"], "clean");
}

/// A dry run tells what a Sync would do, and does nothing.
#[tokio::test]
async fn p_a_dry_run_of_a_sync_changes_nothing() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    api.post(
        &format!("{path}/numbers"),
        json!({ "numbers": ["+14255550100"] }),
    )
    .await;
    let carrier = api.token(AccessRole::CarrierAdmin, None).await;
    let rehearse = format!("{path}/sync?dry_run=true");
    let (status, report) = api.send(&carrier, "POST", &rehearse, json!(null)).await;
    assert_eq!((status, &report["counts"]["added"]), (200, &json!(1)));
    assert_eq!(report["items"][0]["outcome"], "added");
    assert_eq!(
        number(&api, &path, "+14255550100").await["status"],
        "needs_sync"
    );
    assert_eq!(
        api.get(&format!("{path}/sync-jobs")).await["items"],
        json!([])
    );
}

async fn the_carriers_system(
    axum::extract::Path(account): axum::extract::Path<String>,
    headers: axum::http::HeaderMap,
    axum::Json(body): axum::Json<Value>,
) -> (axum::http::StatusCode, axum::Json<Value>) {
    let proven = headers
        .get("authorization")
        .is_some_and(|v| v == "Bearer s3cret");
    assert_eq!(
        (account.as_str(), &body["numbers"]),
        ("acme", &json!(["+14255550100"]))
    );
    let seats = json!({ "seats": [{ "id": "1", "kind": "other", "numbers": ["+14255550100"] }] });
    match proven {
        true => (axum::http::StatusCode::OK, axum::Json(seats)),
        false => (axum::http::StatusCode::UNAUTHORIZED, axum::Json(json!({}))),
    }
}

/// The ways to the carrier's system, by the real adapter: over HTTP with its token, and without it.
#[tokio::test]
async fn p_17_the_backend_is_asked_over_http() {
    let system = axum::Router::new().route(
        "/v7/accounts/{account}/seats",
        axum::routing::post(the_carriers_system),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v7/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, system).await });
    for (token, error, status) in [
        (Some("s3cret"), json!(null), "blocked_non_teams_seat"),
        (None, json!("backend_refused"), "backend_unreachable"),
    ] {
        let token = token.map(str::to_owned);
        let backend = HttpBackend::new(&url, token, Duration::from_secs(5)).unwrap();
        let api = Api::with(Some(Arc::new(backend))).await;
        let (_, path) = api.customer("acme").await;
        api.post(
            &format!("{path}/numbers"),
            json!({ "numbers": ["+14255550100"] }),
        )
        .await;
        let result = api.sync(&path).await;
        assert_eq!(result["error"]["code"], error);
        assert_eq!(number(&api, &path, "+14255550100").await["status"], status);
    }
}
