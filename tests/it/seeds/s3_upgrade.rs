//! Services and their licences, as the upgrade to Operator Connect Pro knows them.

use super::code;
use crate::api::Api;
use serde_json::{Value, json};
use tollgate::store::AccessRole;

fn service(short_name: &str, licensed_users: u32) -> Value {
    json!({ "full_name": "Contoso Ltd", "short_name": short_name, "kind": "operator_connect", "licensed_users": licensed_users })
}

async fn add(api: &Api, path: &str, body: Value) -> (u16, Value) {
    let carrier = api.token(AccessRole::CarrierAdmin, None).await;
    api.send(&carrier, "POST", &format!("{path}/services"), body)
        .await
}

/// The rule that a short name breaks.
fn rule(body: &Value) -> &str {
    assert_eq!(body["errors"][0]["field"], "short_name");
    body["errors"][0]["code"].as_str().unwrap()
}

/// 3 to 15 characters.
#[tokio::test]
async fn a_01_a_short_name_has_3_to_15_characters() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    for (name, status) in [
        ("ab", 422),
        ("abc", 201),
        ("abcdefghijklmno", 201),
        ("abcdefghijklmnop", 422),
    ] {
        let (got, body) = add(&api, &path, service(name, 1)).await;
        assert_eq!(got, status, "{name}");
        if status == 422 {
            assert_eq!(rule(&body), "short_name_length");
        }
    }
}

/// Each character that may not be in it has its own code.
#[tokio::test]
async fn a_02_each_forbidden_character_has_its_own_code() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    let mut codes = std::collections::BTreeSet::new();
    for c in ['\\', '/', ':', '*', '?', '"', '<', '>', '|', '.', ' '] {
        let (status, body) = add(&api, &path, service(&format!("ab{c}cd"), 1)).await;
        assert_eq!(status, 422, "{c}");
        assert!(codes.insert(rule(&body).to_owned()), "{c} shares its code");
    }
}

/// The word itself is reserved; other special characters are not.
#[tokio::test]
async fn a_03_audit_is_reserved_and_specials_are_not() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    for word in ["audit", "AUDIT", "Audit"] {
        let (status, body) = add(&api, &path, service(word, 1)).await;
        assert_eq!((status, rule(&body)), (422, "short_name_reserved"));
    }
    for name in ["Ab-1_x", "a#b&c!", "auditors"] {
        assert_eq!(add(&api, &path, service(name, 1)).await.0, 201, "{name}");
    }
}

/// Another service has it, of whichever customer, in whatever case.
#[tokio::test]
async fn a_04_a_short_name_is_taken_once() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    let (_, other) = api.customer("other").await;
    let (status, first) = add(&api, &path, service("Contoso", 1)).await;
    assert_eq!(status, 201);
    for path in [&path, &other] {
        let (status, body) = add(&api, path, service("CONTOSO", 1)).await;
        assert_eq!((status, code(&body)), (409, "short_name_in_use"));
    }
    let place = format!("{path}/services/{}", first["id"].as_str().unwrap());
    let kind = api.patch(&place, json!({ "kind": "direct_routing" })).await;
    assert_eq!(kind.status(), 422);
    assert_eq!(api.delete(&place).await, 204);
    assert_eq!(add(&api, &other, service("CONTOSO", 1)).await.0, 201);
}

/// 1 to 500, all services of a customer together.
#[tokio::test]
async fn a_06_licensed_users_are_bounded() {
    let api = Api::start().await;
    let (_, a) = api.customer("a").await;
    let (_, b) = api.customer("b").await;
    for (path, users, status) in [(&a, 0, 422), (&a, 1, 201), (&b, 501, 422), (&b, 500, 201)] {
        let (got, body) = add(&api, path, service(&format!("name-{users}"), users)).await;
        assert_eq!(got, status, "{users}: {body}");
    }
    let (_, path) = api.customer("d").await;
    assert_eq!(add(&api, &path, service("d-one", 300)).await.0, 201);
    let (status, body) = add(&api, &path, service("d-two", 201)).await;
    assert_eq!(
        (status, &body["errors"][0]["code"]),
        (422, &json!("licensed_users_range"))
    );
    assert_eq!(add(&api, &path, service("d-two", 200)).await.0, 201);
}

/// Essentials has no users here, Essentials Plus has them without policies, Pro has all.
#[tokio::test]
async fn a_24_the_licence_decides_what_operators_do() {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    let customer = api.token(AccessRole::CustomerAdmin, Some(id)).await;
    let (_, service) = add(&api, &path, service("acme-1", 3)).await;
    assert_eq!(
        (&service["license_type"], &service["licensed_users_used"]),
        (&json!("essentials"), &json!(0))
    );
    let place = format!("{path}/services/{}", service["id"].as_str().unwrap());
    let users = format!("{path}/users");
    let user = json!({ "upn": "jo@acme.example", "display_name": "Jo" });
    let (status, body) = api.send(&customer, "POST", &users, user.clone()).await;
    assert_eq!((status, code(&body)), (403, "license_required"));
    let plus = json!({ "license_type": "essentials_plus" });
    assert_eq!(api.patch(&place, plus).await.status(), 200);
    let (status, made) = api.send(&customer, "POST", &users, user).await;
    assert_eq!(status, 201);
    let made = format!("{users}/{}", made["id"].as_str().unwrap());
    let policy = json!({ "caller_id_policy": "transparent" });
    let (status, body) = api.send(&customer, "PATCH", &made, policy.clone()).await;
    assert_eq!((status, code(&body)), (403, "license_required"));
    assert_eq!(
        api.send(&customer, "PATCH", &made, json!({ "user_tag": "x" }))
            .await
            .0,
        200
    );
    assert_eq!(
        api.patch(&place, json!({ "license_type": "pro" }))
            .await
            .status(),
        200
    );
    assert_eq!(api.send(&customer, "PATCH", &made, policy).await.0, 200);
    assert_eq!(api.get(&place).await["licensed_users_used"], 1);
    let types = api.get("/api/v1/license-types").await;
    let codes: Vec<_> = types["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["code"].clone())
        .collect();
    assert_eq!(codes, ["essentials", "essentials_plus", "pro"]);
}

/// A customer's operators do what the licence gives them, in the customer's name, and nothing beyond it or elsewhere.
#[tokio::test]
async fn a_24_operators_look_after_users_and_numbers() {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    let (_, other) = api.customer("other").await;
    let operator = api.token(AccessRole::CustomerOperator, Some(id)).await;
    let (_, service) = add(&api, &path, service("acme-1", 3)).await;
    let users = format!("{path}/users");
    let user = json!({ "upn": "jo@acme.example", "display_name": "Jo" });
    let (status, body) = api.send(&operator, "POST", &users, user.clone()).await;
    assert_eq!((status, code(&body)), (403, "license_required"));
    let place = format!("{path}/services/{}", service["id"].as_str().unwrap());
    let pro = json!({ "license_type": "pro" });
    assert_eq!(api.patch(&place, pro).await.status(), 200);
    let (status, made) = api.send(&operator, "POST", &users, user.clone()).await;
    assert_eq!(status, 201, "{made}");
    let number = json!({ "numbers": ["+14255550142"] });
    let carrier = api.token(AccessRole::CarrierAdmin, None).await;
    let numbers = format!("{path}/numbers");
    let (status, body) = api.send(&carrier, "POST", &numbers, number.clone()).await;
    assert_eq!(status, 201, "{body}");
    let number_place = format!("{numbers}/+14255550142");
    let whose = json!({ "user_id": made["id"] });
    let (status, body) = api.send(&operator, "PATCH", &number_place, whose).await;
    assert_eq!((status, &body["user_id"]), (200, &made["id"]), "{body}");
    let audit = api.get("/api/v1/audit").await;
    let mut own = audit["items"].as_array().unwrap().iter();
    let own = own
        .find(|event| event["role"] == "customer_operator")
        .unwrap();
    assert_eq!(own["on_behalf_of"], Value::Null, "it is its own business");
    for (method, place, body, status) in [
        ("POST", &numbers, number, 403),
        ("PATCH", &place, json!({ "licensed_users": 400 }), 403),
        ("PATCH", &path, json!({ "max_channels": 400 }), 403),
        ("POST", &format!("{path}/sync"), Value::Null, 403),
        ("GET", &format!("{path}/cdrs"), Value::Null, 403),
        ("GET", &format!("{path}/trunks"), Value::Null, 403),
        ("GET", &format!("{other}/users"), Value::Null, 404),
        ("POST", &format!("{other}/users"), user, 404),
    ] {
        let (got, answer) = api.send(&operator, method, place, body).await;
        assert_eq!(got, status, "{method} {place}: {answer}");
    }
}

/// What was bought bounds the users, and what the partner allows does, too: the smaller of the two.
#[tokio::test]
async fn a_06_no_more_users_than_were_bought() {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    let customer = api.token(AccessRole::CustomerAdmin, Some(id)).await;
    let mut bought = service("acme-1", 1);
    bought["license_type"] = json!("pro");
    let (_, bought) = add(&api, &path, bought).await;
    let user = async |name: &str| {
        let user = json!({ "upn": format!("{name}@acme.example"), "display_name": name });
        let (status, body) = api
            .send(&customer, "POST", &format!("{path}/users"), user)
            .await;
        (status, code(&body).to_owned())
    };
    assert_eq!(user("a").await.0, 201);
    assert_eq!(user("b").await, (409, "license_exhausted".into()));
    let place = format!("{path}/services/{}", bought["id"].as_str().unwrap());
    assert_eq!(
        api.patch(&place, json!({ "licensed_users": 9 }))
            .await
            .status(),
        200
    );
    assert_eq!(user("b").await.0, 201);
    assert_eq!(
        api.patch(&path, json!({ "user_limit": 2 })).await.status(),
        200
    );
    assert_eq!(user("c").await, (409, "user_limit_reached".into()));
    assert_eq!(
        api.patch(&path, json!({ "user_limit": 1 })).await.status(),
        200,
        "below what there are"
    );
}

/// A trunk belongs to a service of its own customer, and to no other's.
#[tokio::test]
async fn a_20_trunks_belong_to_services() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    let (_, other) = api.customer("other").await;
    let (_, ours) = add(&api, &path, service("acme-1", 1)).await;
    let (_, theirs) = add(&api, &other, service("other-1", 1)).await;
    let trunk = |service: &Value| json!({ "name": "pbx", "role": "pbx", "transport": "udp", "host": "p.example.net", "service_id": service["id"] });
    let carrier = api.token(AccessRole::CarrierAdmin, None).await;
    let trunks = format!("{path}/trunks");
    let (status, body) = api.send(&carrier, "POST", &trunks, trunk(&theirs)).await;
    assert_eq!(
        (status, &body["errors"][0]["code"]),
        (422, &json!("unknown_service"))
    );
    let (status, made) = api.send(&carrier, "POST", &trunks, trunk(&ours)).await;
    assert_eq!((status, &made["service_id"]), (201, &ours["id"]));
    let place = format!("{path}/services/{}", ours["id"].as_str().unwrap());
    assert_eq!(api.delete(&place).await, 204);
    let place = format!("{trunks}/{}", made["id"].as_str().unwrap());
    assert_eq!(
        api.get(&place).await["service_id"],
        json!(null),
        "the trunk stays"
    );
}

/// A number that Microsoft has is listed, and no Sync puts it in service; one that came by the API is.
#[tokio::test]
async fn a_31_numbers_from_microsoft_are_only_listed() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    let numbers = format!("{path}/numbers");
    api.post(
        &numbers,
        json!({ "numbers": ["+14255550100"], "source": "microsoft" }),
    )
    .await;
    api.post(
        &numbers,
        json!({ "numbers": ["+14255550101"], "source": "api" }),
    )
    .await;
    api.sync(&path).await;
    let rows = api.get(&numbers).await;
    let served: Vec<_> = rows["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n["in_service"].clone())
        .collect();
    assert_eq!(served, [false, true]);
    let directory = api.store.directory().load_full();
    let known = |n: &str| directory.number(&n.parse().unwrap()).is_some();
    assert_eq!(
        (known("+14255550100"), known("+14255550101")),
        (false, true)
    );
}
