//! Resellers and their enterprises.

use super::code;
use crate::api::{Api, new_customer};
use serde_json::{Value, json};
use tollgate::store::AccessRole;

/// A reseller that has not been activated may look, and may not create customers; when the carrier sets it active, it may.
#[tokio::test]
async fn t_01_a_reseller_acts_when_it_is_active() {
    let api = Api::start().await;
    let body = json!({ "name": "New", "email": "new@partner.example", "offerings": ["trunk"] });
    let partner = api.post("/api/v1/partners", body).await;
    assert_eq!(partner["state"], "invited");
    let id = partner["id"].as_str().unwrap();
    let token = api
        .token(AccessRole::PartnerAdmin, Some(id.parse().unwrap()))
        .await;
    let create = async |account| {
        api.send(&token, "POST", "/api/v1/customers", new_customer(account))
            .await
    };
    let (status, body) = create("a").await;
    assert_eq!((status, code(&body)), (403, "partner_not_active"));
    let path = format!("/api/v1/partners/{id}");
    let (status, body) = api
        .send(&token, "PATCH", &path, json!({ "state": "active" }))
        .await;
    assert_eq!((status, code(&body)), (403, "partner_not_active"));
    assert_eq!(
        api.send(&token, "GET", "/api/v1/customers", json!(null))
            .await
            .0,
        200
    );
    assert_eq!(
        api.patch(&path, json!({ "state": "active" }))
            .await
            .status(),
        200
    );
    assert_eq!(create("a").await.0, 201);
    let (status, body) = api
        .send(&token, "PATCH", &path, json!({ "state": "disabled" }))
        .await;
    assert_eq!((status, code(&body)), (403, "state_by_carrier"));
    assert_eq!(
        api.patch(&path, json!({ "state": "disabled" }))
            .await
            .status(),
        200
    );
    assert_eq!(create("b").await.0, 403);
}

/// In all pairings: partner and partner, partner and customer, customer and partner, customer and customer; on creation
/// and on change.
#[tokio::test]
async fn t_02_an_email_address_has_one_owner() {
    let api = Api::start().await;
    let carrier = api.token(AccessRole::CarrierAdmin, None).await;
    let partner = |email: &str| json!({ "name": email, "email": email, "offerings": ["trunk"] });
    let customer = |account: &str, email: &str| {
        let mut body = new_customer(account);
        body["admin_email"] = json!(email);
        body
    };
    let p = api.post("/api/v1/partners", partner("one@p.example")).await;
    let c = api
        .post("/api/v1/customers", customer("a", "two@c.example"))
        .await;
    let partner_path = format!("/api/v1/partners/{}", p["id"].as_str().unwrap());
    let customer_path = format!("/api/v1/customers/{}", c["id"].as_str().unwrap());
    for email in ["ONE@P.example", "Two@c.EXAMPLE"] {
        for (method, path, body) in [
            ("POST", "/api/v1/partners", partner(email)),
            ("POST", "/api/v1/customers", customer("b", email)),
        ] {
            let (status, problem) = api.send(&carrier, method, path, body).await;
            assert_eq!(
                (status, code(&problem)),
                (409, "email_in_use"),
                "{method} {path}"
            );
        }
    }
    let (status, _) = api
        .send(
            &carrier,
            "PATCH",
            &partner_path,
            json!({ "email": "TWO@c.example" }),
        )
        .await;
    assert_eq!(status, 409);
    let (status, _) = api
        .send(
            &carrier,
            "PATCH",
            &customer_path,
            json!({ "admin_email": "One@p.example" }),
        )
        .await;
    assert_eq!(status, 409);
    let (status, _) = api
        .send(
            &carrier,
            "PATCH",
            &customer_path,
            json!({ "admin_email": "TWO@c.example" }),
        )
        .await;
    assert_eq!(status, 200, "its own, in another case");
}

/// PBX types need the PBX offering; the catalogue tells which a customer has.
#[tokio::test]
async fn t_05_pbx_types_go_with_the_pbx_offering() {
    let api = Api::start().await;
    let carrier = api.token(AccessRole::CarrierAdmin, None).await;
    api.post(
        "/api/v1/pbx-types",
        json!({ "code": "ringlogix", "label": "Ringlogix" }),
    )
    .await;
    let mut body = new_customer("a");
    body["pbx_types"] = json!(["ringlogix"]);
    let (status, problem) = api
        .send(&carrier, "POST", "/api/v1/customers", body.clone())
        .await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("pbx_types"))
    );
    body["offerings"] = json!(["pbx", "trunk"]);
    body["pbx_types"] = json!(["nowhere"]);
    assert_eq!(
        api.send(&carrier, "POST", "/api/v1/customers", body.clone())
            .await
            .0,
        422
    );
    body["pbx_types"] = json!(["ringlogix"]);
    let customer = api.post("/api/v1/customers", body).await;
    assert_eq!(customer["pbx_types"], json!(["ringlogix"]));
    let id = customer["id"].as_str().unwrap();
    let catalogue = api
        .get(&format!("/api/v1/pbx-types?customer_id={id}"))
        .await;
    let items = catalogue["items"].as_array().unwrap();
    let assigned = |code: &str| {
        let found = items.iter().find(|item| item["code"] == code);
        found.unwrap()["assigned"].clone()
    };
    assert_eq!(
        (assigned("ringlogix"), assigned("generic")),
        (json!(true), json!(false))
    );
    let path = format!("/api/v1/customers/{id}");
    let narrowed = api.patch(&path, json!({ "offerings": ["trunk"] })).await;
    assert_eq!(narrowed.status(), 422, "the types would hang in the air");
    let (status, _) = api
        .send(
            &carrier,
            "PATCH",
            "/api/v1/pbx-types/ringlogix",
            json!({ "label": "RingLogix" }),
        )
        .await;
    assert_eq!(status, 200);
}

/// Asked, granted, given back, withdrawn: TeamMate's management consent, which is Ooma's switch.
#[tokio::test]
async fn t_13_consent_is_asked_for_given_and_taken_back() {
    let api = Api::start().await;
    let (_, partner) = api.partner("sales").await;
    let (_, ours) = api
        .send(&partner, "POST", "/api/v1/customers", new_customer("ours"))
        .await;
    let id = ours["id"].as_str().unwrap();
    let customer = api
        .token(AccessRole::CustomerAdmin, Some(id.parse().unwrap()))
        .await;
    let path = format!("/api/v1/customers/{id}/co-management");
    let state = async |token: &str, method: &str, body: Value| {
        let (status, body) = api.send(token, method, &path, body).await;
        (
            status,
            body["state"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let (status, _) = state(&customer, "PUT", json!({ "requested": true })).await;
    assert_eq!(status, 403, "asking is the provider's");
    let pending = (200, "pending".to_owned());
    let granted = (200, "granted".to_owned());
    assert_eq!(
        state(&partner, "PUT", json!({ "requested": true })).await,
        pending
    );
    assert_eq!(
        state(&customer, "PUT", json!({ "state": "granted" })).await,
        granted
    );
    assert_eq!(
        state(&partner, "PUT", json!({ "state": "pending" })).await,
        pending
    );
    assert_eq!(
        state(&customer, "PUT", json!({ "state": "granted" })).await,
        granted
    );
    assert_eq!(
        state(&partner, "DELETE", json!(null)).await,
        (200, "none".into())
    );
    assert_eq!(state(&partner, "PUT", json!({})).await.0, 422);
    assert_eq!(
        state(&customer, "GET", json!(null)).await,
        (200, "none".into())
    );
}

/// Master reseller, reseller, enterprise: each sees what is below it and nothing beside it.
#[tokio::test]
async fn t_a_partner_sees_its_own_subtree() {
    let api = Api::start().await;
    let (master_id, master) = api.partner("master").await;
    let (_, stranger) = api.partner("stranger").await;
    let body = json!({ "name": "child", "email": "child@p.example", "offerings": ["pbx"] });
    let (status, child) = api.send(&master, "POST", "/api/v1/partners", body).await;
    assert_eq!((status, &child["parent_id"]), (201, &json!(master_id)));
    let child_id = child["id"].as_str().unwrap();
    let child_path = format!("/api/v1/partners/{child_id}");
    assert_eq!(
        api.patch(&child_path, json!({ "state": "active" }))
            .await
            .status(),
        200
    );
    let child = api
        .token(AccessRole::PartnerAdmin, Some(child_id.parse().unwrap()))
        .await;

    let (status, body) = api
        .send(&child, "POST", "/api/v1/customers", new_customer("deep"))
        .await;
    assert_eq!(
        (status, &body["errors"][0]["code"]),
        (422, &json!("not_offered"))
    );
    let mut deep = new_customer("deep");
    deep["offerings"] = json!(["pbx"]);
    let (status, deep) = api.send(&child, "POST", "/api/v1/customers", deep).await;
    assert_eq!((status, &deep["partner_id"]), (201, &json!(child_id)));
    let path = format!("/api/v1/customers/{}", deep["id"].as_str().unwrap());
    for (token, status) in [(&child, 200), (&master, 200), (&stranger, 404)] {
        assert_eq!(api.send(token, "GET", &path, json!(null)).await.0, status);
        assert_eq!(
            api.send(token, "PATCH", &path, json!({ "name": "Deep" }))
                .await
                .0,
            status
        );
        assert_eq!(
            api.send(token, "GET", &child_path, json!(null)).await.0,
            status
        );
    }
    for (token, count) in [(&child, 1), (&master, 2), (&stranger, 1)] {
        let (_, list) = api
            .send(token, "GET", "/api/v1/partners", json!(null))
            .await;
        assert_eq!(list["items"].as_array().unwrap().len(), count);
    }
    let own = json!({ "offerings": ["pbx", "trunk"] });
    let (status, body) = api.send(&child, "PATCH", &child_path, own.clone()).await;
    assert_eq!((status, code(&body)), (403, "own_limits"));
    assert_eq!(api.send(&master, "PATCH", &child_path, own).await.0, 200);
    let (status, body) = api.send(&master, "DELETE", &child_path, json!(null)).await;
    assert_eq!((status, code(&body)), (409, "in_use"));
    let foreign = json!({ "name": "x", "email": "x@p.example", "offerings": ["pbx"], "parent_id": master_id });
    assert_eq!(
        api.send(&stranger, "POST", "/api/v1/partners", foreign)
            .await
            .0,
        422
    );
}

/// The limit is checked before a user is added; without one fifty are accepted.
#[tokio::test]
async fn t_10_the_user_limit_is_checked_first() {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    let customer = api.token(AccessRole::CustomerAdmin, Some(id)).await;
    let users = format!("{path}/users");
    let add = async |n: u32| {
        let user = json!({ "upn": format!("u{n}@acme.example"), "display_name": n.to_string() });
        api.send(&customer, "POST", &users, user).await
    };
    assert_eq!(
        api.patch(&path, json!({ "user_limit": 2 })).await.status(),
        200
    );
    assert_eq!((add(1).await.0, add(2).await.0), (201, 201));
    let (status, body) = add(3).await;
    assert_eq!((status, code(&body)), (409, "user_limit_reached"));
    let count = async || {
        let (_, list) = api
            .send(&customer, "GET", &format!("{users}?limit=500"), json!(null))
            .await;
        list["items"].as_array().unwrap().len()
    };
    assert_eq!(count().await, 2, "nothing was stored");
    assert_eq!(
        api.patch(&path, json!({ "user_limit": null }))
            .await
            .status(),
        200
    );
    for n in 3..=50 {
        assert_eq!(add(n).await.0, 201);
    }
    assert_eq!(count().await, 50);
}

/// At most fifty users of a table, each row by itself.
#[tokio::test]
async fn t_10_users_come_as_a_table() {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    let customer = api.token(AccessRole::CustomerAdmin, Some(id)).await;
    assert_eq!(
        api.patch(
            &path,
            json!({ "can_add_extensions": true, "user_limit": 3 })
        )
        .await
        .status(),
        200
    );
    api.post(
        &format!("{path}/numbers"),
        json!({ "numbers": ["+14255550100", "+14255550101"] }),
    )
    .await;
    let bulk = async |text: String| {
        let request = api
            .request("POST", &format!("{path}/users:bulk"))
            .bearer_auth(&customer);
        let response = request
            .header("content-type", "text/csv")
            .body(text)
            .send()
            .await
            .unwrap();
        (
            response.status().as_u16(),
            response.json::<Value>().await.unwrap(),
        )
    };
    let rows = "upn,display_name,extension,default_did_index_number,did_list\n\
                a@acme.example,A,1001,1,+14255550100;+14255550101\nbroken,B,,,\nc@acme.example,C,911,,\n\
                d@acme.example,D,1001,,\ne@acme.example,,1002,,\nf@acme.example,F,,,\ng@acme.example,G,,,\n";
    let (status, task) = bulk(rows.into()).await;
    assert_eq!(
        (status, &task["kind"], &task["state"]),
        (202, &json!("users_bulk"), &json!("succeeded"))
    );
    assert_eq!(task["result"], json!({ "created": 3, "failed": 4 }));
    let codes: Vec<_> = task["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["code"].clone())
        .collect();
    let expected = json!([
        null,
        "format",
        "emergency_like",
        "extension_in_use",
        null,
        null,
        "user_limit_reached"
    ]);
    assert_eq!(json!(codes), expected);
    let (_, users) = api
        .send(&customer, "GET", &format!("{path}/users"), json!(null))
        .await;
    let first = &users["items"][0];
    assert_eq!(
        (&first["default_did"], &first["forwarded_dids"]),
        (&json!("+14255550101"), &json!(["+14255550100"]))
    );
    assert_eq!(users["items"][1]["display_name"], "e@acme.example");
    let (_, free) = api
        .send(
            &customer,
            "GET",
            &format!("{path}/extensions/suggest"),
            json!(null),
        )
        .await;
    assert_eq!(free, json!({ "extension": "1003" }));
    let many: String = (0..51).map(|n| format!("u{n}@acme.example,U\n")).collect();
    assert_eq!(bulk(format!("upn,display_name\n{many}")).await.0, 422);
    assert_eq!(bulk("upn,display_name\n".into()).await.0, 422);
}

/// A customer gives its users extensions where it may, and uses only the carrier's numbers where it must.
#[tokio::test]
async fn t_what_a_customer_may_use_is_set_for_it() {
    let api = Api::start().await;
    let (_, partner) = api.partner("sales").await;
    let mut body = new_customer("ours");
    body["allow_external_numbers"] = json!(false);
    let (_, ours) = api.send(&partner, "POST", "/api/v1/customers", body).await;
    let id = ours["id"].as_str().unwrap();
    let path = format!("/api/v1/customers/{id}");
    let customer = api
        .token(AccessRole::CustomerAdmin, Some(id.parse().unwrap()))
        .await;
    let user = json!({ "upn": "jo@ours.example", "display_name": "Jo", "extension": "1001" });
    let (status, body) = api
        .send(&customer, "POST", &format!("{path}/users"), user)
        .await;
    assert_eq!((status, code(&body)), (403, "can_add_extensions_off"));
    let numbers = json!({ "numbers": ["+14255550100"] });
    let (status, body) = api
        .send(
            &partner,
            "POST",
            &format!("{path}/numbers"),
            numbers.clone(),
        )
        .await;
    assert_eq!(
        (status, &body["results"][0]["code"]),
        (422, &json!("external_number"))
    );
    api.post("/api/v1/numbers", numbers.clone()).await;
    let (status, _) = api
        .send(&partner, "POST", &format!("{path}/numbers"), numbers)
        .await;
    assert_eq!(status, 201, "it is in the inventory now");
}

/// An identifier that is no number may belong to two customers, and serves in both; a number may not.
#[tokio::test]
async fn t_33_extensions_overlap_and_numbers_do_not() {
    let api = Api::start().await;
    let (first, path) = api.customer("acme").await;
    let (second, other) = api.customer("other").await;
    for path in [&path, &other] {
        let body = json!({ "numbers": ["+11000"], "kind": "extension" });
        api.post(&format!("{path}/numbers"), body).await;
        api.sync(path).await;
    }
    let directory = api.store.directory().load_full();
    let number = "+11000".parse().unwrap();
    for customer in [first, second] {
        let phone = directory.number_for(customer, &number).unwrap();
        assert_eq!((phone.customer, phone.in_service), (customer, true));
    }
    assert!(
        directory.number(&number).is_none(),
        "the world has no such number"
    );
    let did = json!({ "numbers": ["+14255550100"] });
    api.post(&format!("{path}/numbers"), did.clone()).await;
    let carrier = api.token(AccessRole::CarrierAdmin, None).await;
    let (status, body) = api
        .send(&carrier, "POST", &format!("{other}/numbers"), did)
        .await;
    assert_eq!(
        (status, &body["results"][0]["code"]),
        (409, &json!("number_in_use"))
    );
}

/// Each region that a customer chooses gives it a name below that region's own, and calls to Teams try them in the
/// customer's order; who has chosen none cannot be activated.
#[tokio::test]
async fn t_16_regions_give_names_and_an_order() {
    let api = Api::start().await;
    for (code, base) in [("EU", "eu.example.net"), ("US", "us.example.net")] {
        let region = json!({ "code": code, "display_name": code, "base_fqdn": base });
        api.post("/api/v1/regions", region).await;
    }
    let mut body = new_customer("acme");
    body["regions"] = json!(["US", "EU"]);
    let acme = api.post("/api/v1/customers", body).await;
    assert_eq!(acme["regions"], json!(["US", "EU"]));
    let path = format!("/api/v1/customers/{}", acme["id"].as_str().unwrap());
    for region in ["EU", "US"] {
        let gateway = json!({ "region": region, "label": "acme" });
        api.post(&format!("{path}/gateways"), gateway).await;
    }
    let made = api.get(&format!("{path}/gateways")).await;
    let mut names: Vec<_> = made["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| &g["fqdn"])
        .collect();
    names.sort_by_key(|name| name.to_string());
    assert_eq!(names, ["acme.eu.example.net", "acme.us.example.net"]);

    let none = api.post("/api/v1/customers", new_customer("none")).await;
    let id = none["id"].as_str().unwrap();
    let path = format!("/api/v1/customers/{id}/activation");
    let customer = api
        .token(AccessRole::CustomerAdmin, Some(id.parse().unwrap()))
        .await;
    let manual = json!({ "method": "manual" });
    assert_eq!(api.send(&customer, "PUT", &path, manual).await.0, 200);
    let (status, body) = api.send(&customer, "POST", &path, json!(null)).await;
    assert_eq!(status, 422, "{body}");
    assert_eq!(body["errors"][0]["field"], "regions");
    assert_eq!(body["errors"][0]["code"], "region_missing");
}
