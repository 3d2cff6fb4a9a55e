//! A database that takes no writes: calls go on, whoever would change something hears why, and it is over by itself.

use super::code;
use crate::calls::lab::{Lab, both_hear};
use serde_json::{Value, json};
use std::time::Duration;
use tollgate::store::AccessRole;

/// The connections that the store has.
const CONNECTIONS: usize = 4;

/// Says this to each of the connections.
async fn pragma(lab: &Lab, statement: &'static str) {
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        all.push(lab.store().read().await.unwrap());
    }
    for connection in &mut all {
        sqlx::query(statement)
            .fetch_all(&mut **connection)
            .await
            .unwrap();
    }
}

/// A change that needs more room than any page has left.
fn change(word: &str) -> Value {
    json!({ "billing_references": vec![word.repeat(128); 16] })
}

/// While `stop` holds, calls come up and writes do not; after `go` everything is as before, and no record is lost.
async fn calls_outlive(stop: &'static str, go: &'static str, problem: &str) {
    let lab = Lab::plain().await;
    let (token, path) = (
        lab.token(AccessRole::CarrierAdmin, None).await,
        lab.customer(),
    );
    let write = async |word: &str| lab.send(&token, "PATCH", &path, change(word)).await;
    assert_eq!(write("a").await.0, 200);
    pragma(&lab, stop).await;
    // There may be some room left by what is gone.
    for _ in 0..200 {
        if write("a").await.0 != 200 {
            break;
        }
    }
    let (_, before) = lab.send(&token, "GET", &path, json!(null)).await;
    let generation = lab.generation();
    let (early, early_pbx) = lab.call_from_pbx().await;

    for _ in 0..2 * CONNECTIONS {
        // A connection that has failed may have given way to a new one.
        pragma(&lab, stop).await;
        let (status, body) = write("b").await;
        assert_eq!((status, code(&body)), (503, problem), "{body}");
        let (status, now) = lab.send(&token, "GET", &path, json!(null)).await;
        assert_eq!((status, &now), (200, &before));
    }
    assert_eq!(
        lab.generation(),
        generation,
        "nothing that calls would obey"
    );
    let (late, late_pbx) = lab.call_from_teams().await;
    both_hear(&late, &late_pbx).await;
    both_hear(&early, &early_pbx).await;
    late.bye().await;
    late_pbx.ended().await.unwrap();

    pragma(&lab, go).await;
    for word in ["c", "d", "e", "f", "g", "h", "i", "j"] {
        assert_eq!(write(word).await.0, 200, "{word}");
    }
    assert_eq!(lab.generation(), generation + 8);
    early.bye().await;
    early_pbx.ended().await.unwrap();
    assert_eq!(records(&lab, &token).await, 2);
    lab.close().await;
}

/// How many calls have a record, as soon as there are two.
async fn records(lab: &Lab, token: &str) -> usize {
    let mut found = 0;
    for _ in 0..500 {
        let (_, list) = lab.send(token, "GET", "/api/v1/cdrs", json!(null)).await;
        found = list["items"].as_array().unwrap().len();
        if found == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    found
}

/// SQLite takes a transaction back by itself where there is no room; that spoils no connection for later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_the_database_is_full() {
    let stop = "PRAGMA max_page_count = 1";
    let go = "PRAGMA max_page_count = 1000000";
    calls_outlive(stop, go, "database_full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_the_database_is_read_only() {
    let (stop, go) = ("PRAGMA query_only = TRUE", "PRAGMA query_only = FALSE");
    calls_outlive(stop, go, "database_read_only").await;
}
