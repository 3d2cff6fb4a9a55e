//! The description of the API for people.

use super::{Api, problem};

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
