//! Live calls and their media.

use super::{Api, problem};
use serde_json::{Value, json};
use tollgate::b2bua::{LiveMedia, MediaCounts};
use tollgate::store::AccessRole;
use uuid::Uuid;

/// What the engine of these tests says of a leg.
pub fn live_media(caller: bool) -> LiveMedia {
    LiveMedia {
        peer: if caller { "teams" } else { "office" }.into(),
        caller,
        media: MediaCounts {
            received: 150,
            lost: 3,
            round_trip_ms: Some(42),
            codec: Some("PCMA".into()),
            srtp: caller.then(|| "AES_CM_128_HMAC_SHA1_80".into()),
            ..MediaCounts::default()
        },
    }
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

/// Both legs are told once the relay has counted them, and a call that is over is not there.
#[tokio::test]
async fn the_media_of_a_live_call_are_told() {
    let api = Api::start().await;
    let calls = api.get("/api/v1/calls").await;
    let id = calls["items"][0]["id"].as_str().unwrap().to_owned();
    let media = api.get(&format!("/api/v1/calls/{id}/media")).await;
    let legs = media["legs"].as_array().unwrap();
    let told = |name: &str| [&legs[0][name], &legs[1][name]];
    assert_eq!(told("side"), ["a_leg", "b_leg"]);
    assert_eq!(told("peer"), ["teams", "office"]);
    assert_eq!(told("received"), [150, 150]);
    assert_eq!(
        told("srtp"),
        [&json!("AES_CM_128_HMAC_SHA1_80"), &Value::Null]
    );
    assert_eq!(
        (&legs[0]["lost"], &legs[0]["round_trip_ms"]),
        (&json!(3), &json!(42))
    );

    let gone = format!("/api/v1/calls/{}/media", Uuid::nil());
    let gone = api.carrier("GET", &gone).await.send().await.unwrap();
    assert_eq!(gone.status(), 404);
}
