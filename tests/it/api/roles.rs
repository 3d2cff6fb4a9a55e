//! What each role may do, and what is there for it.

use super::{Api, new_customer, problem};
use serde_json::{Value, json};
use tollgate::admin::openapi;
use tollgate::store::AccessRole;
use uuid::Uuid;

/// Every route of the description with every role, without a token, and with one that does not count: what the roles of
/// provisioning §8.2 may not do is refused before anything is looked at.
#[tokio::test]
async fn every_route_obeys_the_table_of_roles() {
    use AccessRole::{CarrierAdmin, CustomerAdmin, CustomerOperator, EndUser, Noc, PartnerAdmin};
    let api = Api::start().await;
    let (id, _) = api.customer("acme").await;
    let (partner, _) = api.partner("sales").await;
    // So that what needs its consent does not hang on it.
    let customer = api.token(CustomerAdmin, Some(id)).await;
    let consent = format!("/api/v1/customers/{id}/co-management");
    let granted = json!({ "state": "granted" });
    assert_eq!(api.send(&customer, "PUT", &consent, granted).await.0, 200);
    let document = serde_json::to_value(openapi()).unwrap();
    let mut seen = 0;
    for (template, item) in document["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
        {
            let path = template
                .replace("{id}", &id.to_string())
                .replace("{code}", "NOWHERE")
                .replace("{number}", "+14255550199")
                .replace("{gateway}", &Uuid::nil().to_string())
                .replace("{trunk}", &Uuid::nil().to_string())
                .replace("{pbx}", &Uuid::nil().to_string())
                .replace("{registration}", &Uuid::nil().to_string())
                .replace("{partner}", &partner.to_string())
                .replace("{announcement}", "limit_reached")
                .replace("{user}", &Uuid::nil().to_string())
                .replace("{service}", &Uuid::nil().to_string())
                .replace("{job}", &Uuid::nil().to_string())
                .replace("{task}", &Uuid::nil().to_string())
                .replace("{device}", &Uuid::nil().to_string())
                .replace("{model}", "yealink-t46u")
                .replace("{invitation}", &Uuid::nil().to_string());
            let open = matches!(
                template.as_str(),
                "/healthz" | "/readyz" | "/api/v1/openapi.json" | "/oauth/callback"
            );
            let session = template == "/api/v1/session";
            let link = ["/invite/", "/activate/", "/oidc/", "/api/docs"];
            let link = link.iter().any(|start| template.starts_with(start));
            let open = open || link || session && method == "POST";
            for token in [None, Some("tg_wrong"), Some("")] {
                let mut request = api.request(&method, &path);
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                let response = request.send().await.unwrap();
                assert_eq!(response.status() == 401, !open, "{method} {path} {token:?}");
                assert_eq!(response.headers().contains_key("www-authenticate"), !open);
            }
            // Signing out ends the token that the next request would carry.
            if open || session && method == "DELETE" {
                continue;
            }
            for role in AccessRole::ALL {
                let writes = method != "GET";
                let (calls, cdrs) = (
                    template.starts_with("/api/v1/calls") && !template.ends_with("/why"),
                    template == "/api/v1/cdrs",
                );
                let shared = template.starts_with("/api/v1/trunks");
                let region = template.starts_with("/api/v1/regions");
                let shared =
                    shared || template.ends_with("/diagnosis") || template == "/api/v1/alarms";
                let whole = ["/api/v1/export", "/api/v1/import"].contains(&template.as_str());
                let audit = template == "/api/v1/audit" || whole;
                let announcements = template.starts_with("/api/v1/announcements");
                let carriers_music = template == "/api/v1/music" || announcements;
                let music = template.contains("/music") || announcements;
                let partners = template.starts_with("/api/v1/partners");
                let region = region || template.starts_with("/api/v1/pbx-types");
                let consent = template.ends_with("/co-management")
                    || template.ends_with("/sync")
                    || template.contains("/users")
                    || template.contains("/pbx-registrations")
                    || template.ends_with("/activation")
                    || template.ends_with("/gateways/{gateway}") && method == "PATCH"
                    || template.starts_with("/api/v1/tasks")
                    || template.ends_with("{id}/numbers/{number}") && method == "PATCH";
                let code = template.ends_with("/activation-code");
                let inventory = template.starts_with("/api/v1/numbers");
                let shared = shared || inventory;
                let wizard = template.contains("/invitations")
                    || template.ends_with("/upgrade")
                    || template.ends_with("/m365/validate");
                let customers = template.strip_prefix("/api/v1/customers/{id}");
                let work = match (customers, writes) {
                    (Some("/numbers/{number}"), true) => method == "PATCH",
                    (Some(below), true) => below.starts_with("/users"),
                    (Some(below), false) => {
                        ["/users", "/numbers", "/services", "/extensions"]
                            .iter()
                            .any(|work| below.starts_with(work))
                            || below.is_empty()
                    }
                    (None, _) => session || template == "/api/v1/tasks/{task}" && !writes,
                };
                let may = match role {
                    CarrierAdmin => true,
                    CustomerAdmin | CustomerOperator | EndUser | Noc if wizard => false,
                    Noc => (!writes || calls) && !audit && !code,
                    PartnerAdmin => {
                        !(calls || shared || audit || (region || carriers_music) && writes)
                    }
                    CustomerOperator => work,
                    EndUser => session || code && !writes || template.ends_with("/resend-welcome"),
                    CustomerAdmin => {
                        let all = !calls && !shared && !cdrs && !audit && !music && !partners;
                        all && (!writes || consent)
                    }
                };
                let scope = match role {
                    PartnerAdmin => Some(partner),
                    CustomerAdmin | CustomerOperator => Some(id),
                    EndUser => Some(Uuid::nil()),
                    CarrierAdmin | Noc => None,
                };
                let request = api
                    .request(&method, &path)
                    .bearer_auth(api.token(role, scope).await);
                let response = request
                    .header("If-Match", "\"999\"")
                    .header("Content-Type", "text/html")
                    .send()
                    .await
                    .unwrap();
                // The body is none, so that nothing is really written; sip_data_access is off.
                let own_records = template.ends_with("/cdrs") && role == CustomerAdmin;
                assert_eq!(
                    response.status() != 403,
                    may && !own_records,
                    "{role:?} {method} {path}: {}",
                    response.status()
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 4 * 30, "{seen} combinations");
}

/// A partner sees its own customers, a customer itself; the others are as absent as those that never were.
#[tokio::test]
async fn what_is_out_of_scope_does_not_exist() {
    let api = Api::start().await;
    let (partner, as_partner) = api.partner("ours").await;
    let (other, _) = api.partner("other").await;
    let (theirs, theirs_path) = api.customer("theirs").await;
    let body = new_customer("ours");
    let created = api
        .request("POST", "/api/v1/customers")
        .bearer_auth(&as_partner)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201);
    let mut ours: Value = created.json().await.unwrap();
    assert_eq!(ours["partner_id"], json!(partner));
    ours.as_object_mut().unwrap().remove("sync_task");
    let mut foreign = new_customer("x");
    foreign["partner_id"] = json!(other);
    let refused = api
        .request("POST", "/api/v1/customers")
        .bearer_auth(&as_partner)
        .json(&foreign)
        .send()
        .await
        .unwrap();
    assert_eq!(
        problem(refused).await,
        (422, "invalid".into(), vec!["partner_id".into()])
    );

    let as_customer = api
        .token(
            AccessRole::CustomerAdmin,
            Some(ours["id"].as_str().unwrap().parse().unwrap()),
        )
        .await;
    for token in [&as_partner, &as_customer] {
        let listed = api
            .request("GET", "/api/v1/customers")
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
        let listed: Value = listed.json().await.unwrap();
        assert_eq!(listed["items"], json!([ours]));
    }
    for path in [theirs_path, format!("/api/v1/customers/{}", Uuid::nil())] {
        for (method, rest) in [
            ("GET", ""),
            ("GET", "/numbers"),
            ("GET", "/channels"),
            ("GET", "/cdrs"),
            ("PATCH", ""),
            ("DELETE", ""),
            ("POST", "/numbers"),
        ] {
            let request = api
                .request(method, &format!("{path}{rest}"))
                .bearer_auth(&as_partner)
                .header("If-Match", "*");
            let response = request
                .json(&json!({ "numbers": ["+14255550100"] }))
                .send()
                .await
                .unwrap();
            assert_eq!(
                problem(response).await,
                (404, "not_found".into(), vec![]),
                "{method} {path}{rest}"
            );
        }
    }
    assert!(api.store.directory().load().customer(theirs).is_some());
}

/// What a partner may do on its own customer ends where the carrier's business begins.
#[tokio::test]
async fn a_partner_neither_activates_nor_connects_to_carriers() {
    let api = Api::start().await;
    let (_, token) = api.partner("ours").await;
    let body = new_customer("ours");
    let send = async |method: &str, path: &str, body: &Value| {
        let request = api
            .request(method, path)
            .bearer_auth(&token)
            .header("If-Match", "*");
        request.json(body).send().await.unwrap()
    };
    let ours: Value = send("POST", "/api/v1/customers", &body)
        .await
        .json()
        .await
        .unwrap();
    let path = format!("/api/v1/customers/{}", ours["id"].as_str().unwrap());
    let activate = json!({ "activation_state": "active", "activation_reason": "because" });
    assert_eq!(
        problem(send("PATCH", &path, &activate).await).await.1,
        "activation_by_carrier"
    );
    assert_eq!(
        send("PATCH", &path, &json!({ "max_channels": 5 }))
            .await
            .status(),
        200
    );

    let trunk = |role: &str| json!({ "name": role, "role": role, "transport": "udp", "host": "p.example.net" });
    let trunks = format!("{path}/trunks");
    assert_eq!(
        problem(send("POST", &trunks, &trunk("carrier")).await)
            .await
            .1,
        "carrier_trunk"
    );
    let pbx: Value = send("POST", &trunks, &trunk("pbx"))
        .await
        .json()
        .await
        .unwrap();
    let pbx_path = format!("{trunks}/{}", pbx["id"].as_str().unwrap());
    assert_eq!(
        problem(send("PATCH", &pbx_path, &json!({ "role": "carrier" })).await)
            .await
            .1,
        "carrier_trunk"
    );
    assert_eq!(
        api.patch(&pbx_path, json!({ "role": "carrier" }))
            .await
            .status(),
        200
    );
    assert_eq!(
        problem(send("DELETE", &pbx_path, &json!({})).await).await.1,
        "carrier_trunk"
    );
}
