//! Music and announcements that a carrier or a partner brings.

use super::Api;
use reqwest::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tollgate::audio::{Announcement, Clip, wav};
use tollgate::store::AccessRole;
use uuid::Uuid;

/// Two seconds of a tone.
fn tone() -> Vec<i16> {
    (0..16_000)
        .map(|n| (2000.0 * (f64::from(n) * 0.5).sin()) as i16)
        .collect()
}

async fn bring(api: &Api, path: &str, token: &str, tag: Option<&str>, file: Vec<u8>) -> Response {
    let mut request = api.request("PUT", path).bearer_auth(token).body(file);
    if let Some(tag) = tag {
        request = request.header("If-Match", tag);
    }
    request.send().await.unwrap()
}

/// A carrier's piece is stored as it will be heard, the next hold of every customer plays it, and it goes away again.
#[tokio::test]
async fn a_carrier_brings_its_own_music() {
    let api = Api::start().await;
    api.customer("acme").await;
    let heard = || {
        let directory = api.store.directory().load_full();
        directory.customers().next().unwrap().music.clone()
    };
    let token = api.token(AccessRole::CarrierAdmin, None).await;
    let path = "/api/v1/music";
    let missing = api.carrier("GET", path).await.send().await.unwrap();
    assert_eq!((missing.status().as_u16(), heard()), (404, None));

    let made = bring(&api, path, &token, None, wav(&tone())).await;
    assert_eq!(made.status(), 201);
    assert_eq!(made.headers()["location"], path);
    let tag = made.headers()["etag"].to_str().unwrap().to_owned();
    let record: Value = made.json().await.unwrap();
    assert_eq!(
        (&record["duration_s"], &record["partner_id"]),
        (&json!(2.0), &Value::Null)
    );
    let clip = heard().expect("a piece");
    assert_eq!(clip.duration(), Duration::from_secs(2));

    let audio = api.carrier("GET", "/api/v1/music/audio").await;
    let audio = audio.send().await.unwrap();
    assert_eq!(audio.headers()["content-type"], "audio/wav");
    let bytes = audio.bytes().await.unwrap();
    let samples = bytes[44..].as_chunks().0.iter();
    let stored = Clip::new(samples.map(|two| i16::from_le_bytes(*two)));
    assert_eq!(stored, *clip, "what is heard is what calls play");

    assert_eq!(
        bring(&api, path, &token, None, wav(&tone())).await.status(),
        428
    );
    assert_eq!(
        bring(&api, path, &token, Some("\"1\""), wav(&tone()))
            .await
            .status(),
        412
    );
    assert_eq!(
        bring(&api, path, &token, Some(&tag), wav(&tone()))
            .await
            .status(),
        200
    );
    assert_eq!(api.delete(path).await, 204);
    assert_eq!(heard(), None);
    assert_eq!(api.delete(path).await, 204);
}

/// What is no music is refused with the reason, and what was heard before is still heard.
#[tokio::test]
async fn a_bad_file_changes_nothing() {
    let api = Api::start().await;
    let token = api.token(AccessRole::CarrierAdmin, None).await;
    let path = "/api/v1/music";
    bring(&api, path, &token, None, wav(&tone())).await;
    let before = api.get(path).await;
    for (file, code) in [
        (b"no music at all".repeat(100), "format"),
        (wav(&[0; 16_000]), "silent"),
        (wav(&tone()[..4000]), "too_short"),
        (wav(&tone())[..1000].to_vec(), "damaged"),
    ] {
        let refused = bring(&api, path, &token, Some("*"), file).await;
        assert_eq!(refused.status(), 422, "{code}");
        let problem: Value = refused.json().await.unwrap();
        let fault = &problem["errors"][0];
        assert_eq!(
            (&fault["field"], &fault["code"]),
            (&json!("body"), &json!(code))
        );
    }
    let huge = bring(&api, path, &token, Some("*"), vec![0; (32 << 20) + 1]).await;
    assert_eq!(huge.status(), 413);
    assert_eq!(api.get(path).await, before);
}

/// A partner brings music for its own customers and sees nobody else's.
#[tokio::test]
async fn a_partner_brings_music_for_its_customers_only() {
    let api = Api::start().await;
    let (own, token) = api.partner("own").await;
    let (other, _) = api.partner("other").await;
    let path = |partner| format!("/api/v1/partners/{partner}/music");
    let made = bring(&api, &path(own), &token, None, wav(&tone())).await;
    assert_eq!(made.status(), 201);
    let record: Value = made.json().await.unwrap();
    assert_eq!(record["partner_id"], json!(own));
    assert_eq!(
        bring(&api, &path(other), &token, None, wav(&tone()))
            .await
            .status(),
        404
    );
    for place in [path(other), path(other) + "/audio"] {
        let seen = api.request("GET", &place).bearer_auth(&token);
        assert_eq!(seen.send().await.unwrap().status(), 404);
    }
}

/// The carrier brings an announcement, calls play it, and it goes away again; others may not, and an announcement that
/// nothing plays is not found.
#[tokio::test]
async fn a_carrier_brings_announcements() {
    let api = Api::start().await;
    let token = api.token(AccessRole::CarrierAdmin, None).await;
    let path = "/api/v1/announcements/not_in_service";
    let sounds = || {
        let directory = api.store.directory().load_full();
        directory.announcement(Announcement::NotInService)
    };
    let missing = api.carrier("GET", path).await.send().await.unwrap();
    assert_eq!(missing.status().as_u16(), 404);
    let made = bring(&api, path, &token, None, wav(&tone())).await;
    assert_eq!(made.status(), 201);
    assert_eq!(made.headers()["location"], path);
    let tag = made.headers()["etag"].to_str().unwrap().to_owned();
    let record: Value = made.json().await.unwrap();
    assert_eq!(record["announcement"], json!("not_in_service"));
    assert_eq!(sounds().duration(), Duration::from_secs(2));
    let music = api.carrier("GET", "/api/v1/music").await;
    assert_eq!(music.send().await.unwrap().status(), 404, "it is no music");
    let audio = api.carrier("GET", &format!("{path}/audio")).await;
    assert_eq!(audio.send().await.unwrap().status(), 200);
    let again = bring(&api, path, &token, Some(&tag), wav(&tone())).await;
    assert_eq!(again.status(), 200);
    assert_eq!(api.delete(path).await, 204);
    let built_in = Announcement::NotInService.built_in();
    assert!(Arc::ptr_eq(&sounds(), &built_in));

    let unknown = "/api/v1/announcements/weather";
    let refused = bring(&api, unknown, &token, None, wav(&tone())).await;
    assert_eq!(refused.status(), 404);
    let partner = Some(Uuid::from_u128(5));
    let token = api.token(AccessRole::PartnerAdmin, partner).await;
    let refused = bring(&api, path, &token, None, wav(&tone())).await;
    assert_eq!(refused.status(), 403);
}
