//! What holds of every request, whatever it asks for.

use super::{Api, new_customer, problem};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tollgate::store::AccessRole;
use uuid::Uuid;

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
