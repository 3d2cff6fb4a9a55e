//! The media of live calls.

use super::*;

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
