//! The partner's portal: customers, their numbers, Sync.

mod sync;

use super::code;
use crate::api::{Api, new_customer};
use serde_json::{Value, json};
use tollgate::store::AccessRole;

/// Each of the four values is demanded by name.
#[tokio::test]
async fn p_02_what_is_missing_is_named() {
    let api = Api::start().await;
    let (_, partner) = api.partner("sales").await;
    for field in ["account_id", "tenant_name", "max_channels", "name"] {
        let mut body = new_customer("a");
        body.as_object_mut().unwrap().remove(field);
        let (status, problem) = api.send(&partner, "POST", "/api/v1/customers", body).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!(field))
        );
        assert_eq!(problem["errors"][0]["code"], "required");
    }
}

/// Account, tenant and address are taken once, each with its own code; the tenant in whatever case.
#[tokio::test]
async fn p_01_what_identifies_a_customer_is_taken_once() {
    let api = Api::start().await;
    let carrier = api.token(AccessRole::CarrierAdmin, None).await;
    let mut first = new_customer("a");
    first["admin_email"] = json!("admin@a.example");
    let post = async |body: Value| api.send(&carrier, "POST", "/api/v1/customers", body).await;
    let (status, created) = post(first.clone()).await;
    assert_eq!(status, 201);
    for (field, value) in first.as_object().unwrap() {
        assert_eq!(&created[field], value);
    }
    assert_eq!(
        (&created["can_manage"], &created["sync_state"]),
        (&json!(false), &json!("dirty"))
    );
    assert_eq!(created["tenant_id"], json!(null));
    for (field, value, expected) in [
        ("account_id", json!("a"), "account_id_in_use"),
        ("tenant_name", json!("A.OnMicrosoft.com"), "tenant_in_use"),
        ("admin_email", json!("ADMIN@a.example"), "email_in_use"),
    ] {
        let mut body = new_customer("b");
        body[field] = value;
        let (status, problem) = post(body).await;
        assert_eq!((status, code(&problem)), (409, expected));
    }
    let (status, _) = post(new_customer("b")).await;
    assert_eq!(status, 201);
    for read_only in ["tenant_id", "sync_state", "can_manage", "co_management"] {
        let mut body = new_customer("c");
        body[read_only] = json!("x");
        assert_eq!(post(body).await.0, 422, "{read_only}");
    }
}

#[tokio::test]
async fn p_06_channels_are_suggested_and_not_forced() {
    let api = Api::start().await;
    let mut body = new_customer("a");
    body["seat_type"] = json!("bundled");
    body["max_channels"] = json!(7);
    let customer = api.post("/api/v1/customers", body).await;
    assert_eq!(customer["max_channels"], 7);
    let path = format!(
        "/api/v1/customers/{}/channel-suggestion",
        customer["id"].as_str().unwrap()
    );
    for (query, channels) in [
        ("seat_type=unbundled&seats=100", 10),
        ("seat_type=unbundled&seats=25", 3),
        ("seat_type=bundled&seats=25", 25),
        ("seats=25", 25),
        ("seat_type=unbundled&seats=0", 1),
    ] {
        let suggestion = api.get(&format!("{path}?{query}")).await;
        assert_eq!(suggestion, json!({ "max_channels": channels }), "{query}");
    }
}

/// The search bar, the columns that can be sorted, and the states, each in whatever scope the caller has.
#[tokio::test]
async fn p_the_table_of_customers_is_searched_filtered_and_sorted() {
    let api = Api::start().await;
    let (_, partner) = api.partner("sales").await;
    for (account, name) in [("a1", "Zebra Ltd"), ("a2", "antelope"), ("a3", "Zebra Inc")] {
        let mut body = new_customer(account);
        body["name"] = json!(name);
        assert_eq!(
            api.send(&partner, "POST", "/api/v1/customers", body)
                .await
                .0,
            201
        );
    }
    api.post("/api/v1/customers", new_customer("zebra-of-the-carrier"))
        .await;
    let list = async |query: &str| -> String {
        let path = format!("/api/v1/customers?{query}");
        let (status, body) = api.send(&partner, "GET", &path, json!(null)).await;
        assert_eq!(status, 200, "{query}: {body}");
        let items = body["items"].as_array().unwrap().iter();
        let accounts: Vec<_> = items.map(|c| c["account_id"].as_str().unwrap()).collect();
        accounts.join(" ")
    };
    assert_eq!(list("").await, "a1 a2 a3");
    assert_eq!(list("q=zEBra").await, "a1 a3");
    assert_eq!(list("q=zebra%20i").await, "a3");
    assert_eq!(list("q=A2.onmicrosoft").await, "a2");
    assert_eq!(list("q=a3").await, "a3");
    assert_eq!(list("sort=name").await, "a2 a3 a1");
    assert_eq!(list("sort=-account_id").await, "a3 a2 a1");
    assert_eq!(list("sort=-created_at&q=zebra").await, "a3 a1");
    assert_eq!(list("state=dirty").await, "a1 a2 a3");
    assert_eq!(list("state=clean").await, "");
    let first = list("limit=1&q=a1").await;
    assert_eq!(first, "a1");
    let all = api.get("/api/v1/customers?q=a1").await;
    let id = all["items"][0]["id"].as_str().unwrap();
    let off = format!("/api/v1/customers/{id}:disable");
    let (status, body) = api.send(&partner, "POST", &off, json!(null)).await;
    assert_eq!((status, &body["admin_state"]), (200, &json!("disabled")));
    assert_eq!(list("state=disabled").await, "a1");
    let on = format!("/api/v1/customers/{id}:enable");
    assert_eq!(api.send(&partner, "POST", &on, json!(null)).await.0, 200);
    assert_eq!(list("state=disabled").await, "");
    for bad in ["state=odd", "sort=colour", "colour=red"] {
        let path = format!("/api/v1/customers?{bad}");
        assert_eq!(
            api.send(&partner, "GET", &path, json!(null)).await.0,
            400,
            "{bad}"
        );
    }
}

/// Three lines are three rows that wait for a Sync; a dry run leaves none.
#[tokio::test]
async fn p_12_numbers_come_one_a_line() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    let post = async |query: &str| {
        let request = api.carrier("POST", &format!("{path}/numbers{query}")).await;
        let request = request.header("content-type", "text/plain");
        let text = "+14255550100\n+14255550101\n+14255550102;ext=7";
        let response = request.body(text).send().await.unwrap();
        (
            response.status().as_u16(),
            response.json::<Value>().await.unwrap(),
        )
    };
    let (status, tried) = post("?dry_run=true").await;
    assert_eq!(
        (status, &tried["created"], &tried["dry_run"]),
        (200, &json!(3), &json!(true))
    );
    let listed = async || api.get(&format!("{path}/numbers")).await["items"].clone();
    assert_eq!(listed().await, json!([]));
    assert_eq!(post("").await.0, 201);
    let rows = listed().await;
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert_eq!(row["status"], "needs_sync");
        assert_eq!(row["status_text"], "Needs sync");
        assert_eq!(row["in_service"], false);
        assert_eq!(
            (&row["kind"], &row["source"]),
            (&json!("did"), &json!("portal"))
        );
    }
    assert_eq!(rows[2]["extension"], "7");
    let some = api
        .get(&format!(
            "{path}/numbers?q=%2B14255550101&status=needs_sync"
        ))
        .await;
    assert_eq!(some["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        api.get(&format!("{path}/numbers?status=in_sync")).await["items"],
        json!([])
    );
}

/// A removal is confirmed, waits for a Sync, and leaves the number in the inventory or not.
#[tokio::test]
async fn p_20_p_21_a_removal_is_confirmed_and_waits() {
    let api = Api::start().await;
    let (_, path) = api.customer("acme").await;
    let numbers = ["+14255550100", "+14255550101"];
    api.post(&format!("{path}/numbers"), json!({ "numbers": numbers }))
        .await;
    api.sync(&path).await;
    let carrier = api.token(AccessRole::CarrierAdmin, None).await;
    let place = |n: usize| format!("{path}/numbers/{}", numbers[n]);
    let (status, body) = api.send(&carrier, "DELETE", &place(0), json!(null)).await;
    assert_eq!((status, code(&body)), (428, "confirmation_required"));
    for (n, disposition) in [(0, "retain"), (1, "delete")] {
        let query = format!("{}?disposition={disposition}&confirm=true", place(n));
        let (status, row) = api.send(&carrier, "DELETE", &query, json!(null)).await;
        assert_eq!((status, &row["status"]), (202, &json!("pending_remove")));
        assert_eq!(row["in_service"], true, "until the Sync");
    }
    assert_eq!(api.get(&path).await["sync_state"], "dirty");
    let result = api.sync(&path).await;
    assert_eq!(result["counts"]["removed"], 2);
    let inventory = api.get("/api/v1/numbers?assigned=false").await;
    let items = inventory["items"].as_array().unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(
        (&items[0]["number"], &items[0]["customer_id"]),
        (&json!(numbers[0]), &json!(null))
    );
    let directory = api.store.directory().load_full();
    assert!(
        numbers
            .iter()
            .all(|n| directory.number(&n.parse().unwrap()).is_none())
    );
    let (_, other) = api.customer("other").await;
    let again = api
        .post(
            &format!("{other}/numbers"),
            json!({ "numbers": [numbers[0]] }),
        )
        .await;
    assert_eq!(again["created"], 1, "what was retained is used again");
    assert_eq!(
        api.get("/api/v1/numbers?assigned=false").await["items"],
        json!([])
    );
}

/// Without co-management a partner adds numbers and runs Syncs, and may not touch users or say which number is whose.
#[tokio::test]
async fn p_22_without_co_management_users_are_the_customers_own() {
    let api = Api::start().await;
    let (_, partner) = api.partner("sales").await;
    let (_, ours) = api
        .send(&partner, "POST", "/api/v1/customers", new_customer("ours"))
        .await;
    let path = format!("/api/v1/customers/{}", ours["id"].as_str().unwrap());
    let carrier = api.token(AccessRole::CarrierAdmin, None).await;
    let user = json!({ "upn": "jo@ours.example", "display_name": "Jo" });
    for token in [&partner, &carrier] {
        for (method, rest, body) in [
            ("GET", "/users", json!(null)),
            ("POST", "/users", user.clone()),
            ("GET", "/extensions/suggest", json!(null)),
        ] {
            let (status, body) = api
                .send(token, method, &format!("{path}{rest}"), body)
                .await;
            assert_eq!(
                (status, code(&body)),
                (403, "co_management_required"),
                "{method} {rest}"
            );
        }
    }
    let numbers = json!({ "numbers": ["+14255550100"] });
    let (status, _) = api
        .send(&partner, "POST", &format!("{path}/numbers"), numbers)
        .await;
    assert_eq!(status, 201);
    let place = format!("{path}/numbers/+14255550100");
    let assign = json!({ "assignment": "conference" });
    let (status, body) = api.send(&partner, "PATCH", &place, assign).await;
    assert_eq!((status, code(&body)), (403, "co_management_required"));
    let able = json!({ "capabilities": { "sms": true } });
    assert_eq!(api.send(&partner, "PATCH", &place, able).await.0, 200);
    let (status, _) = api
        .send(&partner, "POST", &format!("{path}/sync"), json!(null))
        .await;
    assert_eq!(status, 202);
}

/// With co-management a partner makes a user and gives it a number; the audit says for whom.
#[tokio::test]
async fn p_23_with_co_management_a_partner_acts_for_the_customer() {
    let api = Api::start().await;
    let (_, partner) = api.partner("sales").await;
    let (_, ours) = api
        .send(&partner, "POST", "/api/v1/customers", new_customer("ours"))
        .await;
    let id = ours["id"].as_str().unwrap();
    let path = format!("/api/v1/customers/{id}");
    let customer = api
        .token(AccessRole::CustomerAdmin, Some(id.parse().unwrap()))
        .await;
    let grant = json!({ "state": "granted" });
    let consent = format!("{path}/co-management");
    assert_eq!(api.send(&customer, "PUT", &consent, grant).await.0, 200);
    let numbers = json!({ "numbers": ["+14255550100"] });
    assert_eq!(
        api.send(&partner, "POST", &format!("{path}/numbers"), numbers)
            .await
            .0,
        201
    );
    let user = json!({ "upn": "jo@ours.example", "display_name": "Jo" });
    let (status, user) = api
        .send(&partner, "POST", &format!("{path}/users"), user)
        .await;
    assert_eq!(status, 201, "{user}");
    let place = format!("{path}/numbers/+14255550100");
    let assign = json!({ "user_id": user["id"] });
    let (status, row) = api.send(&partner, "PATCH", &place, assign).await;
    assert_eq!((status, &row["assignment"]), (200, &json!("user")));
    let (status, body) = api
        .send(
            &partner,
            "DELETE",
            &format!("{place}?confirm=true"),
            json!(null),
        )
        .await;
    assert_eq!((status, code(&body)), (409, "assigned"));
    let audit = api.get("/api/v1/audit?limit=10").await;
    for object in [
        format!("{path}/users/{}", user["id"].as_str().unwrap()),
        place,
    ] {
        let event = audit["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["object"] == object);
        let event = event.unwrap();
        assert_eq!(
            (&event["on_behalf_of"], &event["role"]),
            (&json!(id), &json!("partner_admin"))
        );
    }
    let granted = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["object"] == consent);
    assert_eq!(granted.unwrap()["on_behalf_of"], json!(null));
}
