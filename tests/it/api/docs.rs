//! The description of the API, for programs and for people, and what else needs no token.

use super::{Api, problem};
use serde_json::{Value, json};
use tollgate::admin::openapi;
use tollgate::telemetry::health::Part;

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

/// Its pages come out of the program, without a token: what they load is served here, and the policy lets them load nothing
/// else, nor hand anything to anybody.
#[tokio::test]
async fn the_description_is_shown_without_the_network() {
    let api = Api::start().await;
    let get = async |path: &str| api.request("GET", path).send().await.unwrap();
    let page = get("/api/docs").await;
    assert!(
        page.url().path().ends_with("/api/docs/index.html"),
        "{}",
        page.url()
    );
    let page = page.text().await.unwrap();
    let names = page.split(['"', '\'']).filter_map(|part| {
        let name = part.strip_prefix("./").unwrap_or(part);
        let kinds = [".js", ".css", ".png"];
        kinds
            .iter()
            .any(|kind| name.ends_with(kind))
            .then_some(name)
    });
    let names: Vec<_> = names.collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        assert!(!name.contains('/'), "{name} is elsewhere");
        let file = get(&format!("/api/docs/{name}")).await;
        assert_eq!(file.status(), 200, "{name}");
        let policy = file.headers()["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(!policy.contains("http"), "{policy}");
        assert_eq!(file.headers()["x-content-type-options"], "nosniff");
    }
    let start = get("/api/docs/swagger-initializer.js").await;
    let kind = start.headers()["content-type"].to_str().unwrap();
    assert!(kind.ends_with("/javascript"), "{kind}");
    let start = start.text().await.unwrap();
    assert!(start.contains("\"/api/v1/openapi.json\""), "{start}");
    assert!(start.contains("\"validatorUrl\": \"none\""), "{start}");
    assert!(!start.contains("http"), "{start}");
    assert_eq!(problem(get("/api/docs/passwd").await).await.0, 404);
    assert_eq!(problem(get("/api/docs/..%2findex.html").await).await.0, 404);
}
