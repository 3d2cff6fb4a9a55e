//! What is wrong now, as the carrier's people see it.

use super::Api;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use time::macros::datetime;
use tollgate::b2bua::{DownPeer, FailingRegistrations, Part, PeerOf};
use tollgate::backend::{Asked, BackendError, SeatBackend};
use tollgate::directory::Number;
use tollgate::provisioning::{Letter, Seats, SyncState};
use tollgate::store::mails::{self, Tried};
use tollgate::store::{AccessRole, alarms, customers};
use tollgate::telemetry::health::Part as HealthPart;

impl Api {
    /// What is wrong now.
    async fn alarms(&self) -> Vec<Value> {
        let told = self.get("/api/v1/alarms").await;
        assert_eq!(told["left_out"], 0, "{told}");
        told["items"].as_array().unwrap().clone()
    }
}

/// A carrier's system that may sleep.
#[derive(Debug, Default)]
struct Sleepy(AtomicBool);

impl SeatBackend for Sleepy {
    fn seats<'a>(&'a self, _: &'a str, _: &'a [Number]) -> Asked<'a> {
        let sleeps = self.0.load(Ordering::Relaxed);
        Box::pin(async move {
            let seats: Seats = serde_json::from_value(json!({ "seats": [] })).unwrap();
            match sleeps {
                true => Err(BackendError::Unreachable("it sleeps".into())),
                false => Ok(seats),
            }
        })
    }
}

/// An alarm is there as long as its cause: a Sync that failed, until one succeeds.
#[tokio::test]
async fn a_failed_sync_is_told_until_one_succeeds() {
    let backend = Arc::new(Sleepy::default());
    let api = Api::with(Some(backend.clone())).await;
    let (id, path) = api.customer("acme").await;
    let (_, other) = api.customer("other").await;
    api.sync(&other).await;
    assert_eq!(api.alarms().await, Vec::<Value>::new());
    backend.0.store(true, Ordering::Relaxed);
    api.sync(&path).await;
    let told = api.alarms().await;
    assert_eq!(told.len(), 1, "{told:?}");
    let alarm = &told[0];
    assert_eq!(
        (&alarm["code"], &alarm["severity"]),
        (&json!("sync_failed"), &json!("major"))
    );
    assert_eq!(alarm["customer_id"], json!(id));
    assert_eq!(alarm["object"], json!(format!("{path}/sync")));
    let last = api.get(&format!("{path}/sync")).await["last"].clone();
    assert_eq!(alarm["since"], last["finished_at"]);
    assert_eq!(alarm["text"], last["result"]["error"]["detail"]);
    // What it is about can be looked at.
    api.get(alarm["object"].as_str().unwrap()).await;
    backend.0.store(false, Ordering::Relaxed);
    api.sync(&path).await;
    assert_eq!(api.alarms().await, Vec::<Value>::new());
}

/// A letter that the mail server did not take is told until it has left, and its address is not.
#[tokio::test]
async fn a_refused_letter_is_told_until_it_has_left() {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    let at = datetime!(2026-03-01 12:00 UTC);
    let letter = Letter {
        kind: "token_invitation",
        subject: "Hello".into(),
        text: "open the link".into(),
    };
    let mut change = api.store.rows().await.unwrap();
    let mail = mails::queue(&mut change, Some(id), "it@acme.example", &letter, at)
        .await
        .unwrap();
    change.keep().await.unwrap();
    assert_eq!(api.alarms().await, Vec::<Value>::new(), "it only waits");
    for (came, told) in [
        (Tried::Later("451 not now".into(), at), 1),
        (Tried::Sent, 0),
    ] {
        let mut change = api.store.rows().await.unwrap();
        mails::tried(&mut change, mail, &came, at).await.unwrap();
        change.keep().await.unwrap();
        let found = api.alarms().await;
        assert_eq!(found.len(), told, "{found:?}");
        for alarm in found {
            assert_eq!(alarm["code"], "mail_refused");
            assert_eq!(alarm["severity"], "minor");
            assert_eq!(alarm["object"], json!(path));
            assert_eq!(alarm["since"], "2026-03-01T12:00:00Z");
            let text = alarm["text"].as_str().unwrap();
            assert!(text.contains("451 not now"), "{text}");
            assert!(!text.contains("it@acme.example"), "{text}");
        }
    }
}

/// What the call engine knows is told with the paths of what it is about; what is not told is counted.
#[tokio::test]
async fn peers_that_are_down_are_told() {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    let trunk = async |path: &str, name: &str, role: &str, host: &str| {
        let body =
            json!({ "name": name, "role": role, "transport": "udp", "host": host, "acl": [host] });
        let made = api.post(&format!("{path}/trunks"), body).await;
        made["id"].as_str().unwrap().to_owned()
    };
    let office = trunk(&path, "office", "pbx", "203.0.113.8").await;
    let carrier = trunk("/api/v1", "carrier", "carrier", "203.0.113.9").await;
    let since = datetime!(2026-03-01 12:00 UTC);
    let down = |of: PeerOf, name: &str| DownPeer {
        of,
        name: name.to_owned(),
        why: "no answer in time".to_owned(),
        since,
    };
    let of = |trunk: &str| PeerOf::Trunk(trunk.parse().unwrap());
    {
        let mut wrong = api.troubles.lock().unwrap();
        wrong.trunks = Part {
            items: vec![down(of(&office), "office")],
            left_out: 7,
        };
        wrong.proxies.items = vec![down(
            PeerOf::Region("eu.example.net".into()),
            "eu.example.net via sip.pstnhub.microsoft.com",
        )];
        wrong.unregistered.items = vec![carrier.parse().unwrap()];
        wrong.registrations.items = vec![FailingRegistrations {
            customer: id,
            count: 3,
        }];
    }
    let told = api.get("/api/v1/alarms").await;
    assert_eq!(told["left_out"], 7);
    let items = told["items"].as_array().unwrap();
    let short: Vec<_> = items
        .iter()
        .map(|alarm| {
            assert_eq!(alarm["severity"], "major");
            (
                alarm["code"].as_str().unwrap(),
                alarm["object"].as_str().unwrap().to_owned(),
                alarm["since"].as_str(),
            )
        })
        .collect();
    let noon = Some("2026-03-01T12:00:00Z");
    assert_eq!(
        short,
        [
            ("teams_proxy_down", "/api/v1/regions/EU".to_owned(), noon),
            ("trunk_down", format!("{path}/trunks/{office}"), noon),
            (
                "trunk_unregistered",
                format!("/api/v1/trunks/{carrier}"),
                None
            ),
            (
                "registrations_failing",
                format!("{path}/pbx-registrations"),
                None
            ),
        ]
    );
    for (place, text) in [(1, "office: no answer in time"), (3, "3 users")] {
        let told = items[place]["text"].as_str().unwrap();
        assert!(told.starts_with(text), "{told}");
    }
    // A trunk that is gone is no trouble.
    assert_eq!(api.delete(&format!("{path}/trunks/{office}")).await, 204);
    let told = api.get("/api/v1/alarms").await;
    assert_eq!(told["items"].as_array().unwrap().len(), 3);
}

/// The gravest comes first, and only who watches over everything sees any of it.
#[tokio::test]
async fn alarms_are_for_the_carriers_people() {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    let why = "the database does not take call records";
    api.health.down(HealthPart::Store, why);
    let mut change = api.store.rows().await.unwrap();
    customers::set_sync_state(&mut change, id, SyncState::Failed)
        .await
        .unwrap();
    change.keep().await.unwrap();
    let noc = api.token(AccessRole::Noc, None).await;
    let (status, told) = api.send(&noc, "GET", "/api/v1/alarms", Value::Null).await;
    assert_eq!(status, 200);
    let expected = json!([
        { "code": "database_unwritable", "severity": "critical", "customer_id": null, "object": null, "since": null,
          "text": why },
        { "code": "sync_failed", "severity": "major", "customer_id": id, "object": format!("{path}/sync"),
          "since": null, "text": "the Sync failed" },
    ]);
    assert_eq!(told, json!({ "items": expected, "left_out": 0 }));
    let customer = api.token(AccessRole::CustomerAdmin, Some(id)).await;
    let (_, partner) = api.partner("sales").await;
    for token in [&customer, &partner] {
        let (status, refused) = api.send(token, "GET", "/api/v1/alarms", Value::Null).await;
        assert_eq!((status, &refused["code"]), (403, &json!("role")));
    }
    api.health.up(HealthPart::Store);
    assert_eq!(api.alarms().await.len(), 1);
}

/// Of each kind a hundred are told, and the others counted.
#[tokio::test]
async fn many_alarms_are_cut() {
    let api = Api::start().await;
    let mut change = api.store.rows().await.unwrap();
    for n in 0..103 {
        let settings =
            json!({ "account_id": n.to_string(), "name": "Customer", "max_channels": 1 });
        let settings = serde_json::from_value(settings).unwrap();
        let made = customers::insert(&mut change, &settings).await.unwrap();
        customers::set_sync_state(&mut change, made.id, SyncState::Failed)
            .await
            .unwrap();
    }
    let found = alarms::failed_syncs(&mut change, 103).await.unwrap();
    assert_eq!((found.items.len(), found.left_out), (103, 0));
    change.keep().await.unwrap();
    let told = api.get("/api/v1/alarms").await;
    assert_eq!(told["items"].as_array().unwrap().len(), 100);
    assert_eq!(told["left_out"], 3);
}
