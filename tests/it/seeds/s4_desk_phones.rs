//! Desk telephones over the API: which ones, whose, by address or by code.

use super::code;
use super::office::Office;
use crate::api::Api;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tollgate::admin::{Devices, PhoneRequest, Phones};
use tollgate::b2bua::Resynced;
use tollgate::backend::HttpRedirect;
use tollgate::store::AccessRole;
use uuid::Uuid;

const MAC: &str = "001565aabbcc";

/// The rule that a body breaks.
fn rule(body: &Value) -> &str {
    body["errors"][0]["code"].as_str().unwrap_or_default()
}

/// A model has to be on the customer's list, and comes off it when no telephone of it is anybody's.
#[tokio::test]
async fn d_01_a_model_must_be_on_the_list() {
    let office = Office::new(1).await;
    let user = &office.users[0];
    let (status, body) = office.assign(user, "snom-d735", Some("000413aabbcc")).await;
    assert_eq!((status, rule(&body)), (422, "model_not_in_list"));
    let (status, body) = office.assign(user, "snom-x", Some("000413aabbcc")).await;
    assert_eq!((status, rule(&body)), (422, "unknown_model"));
    let model = json!({ "model": "snom-d735" });
    assert_eq!(
        office.send("POST", "/device-models", model.clone()).await.0,
        201
    );
    assert_eq!(
        office.send("POST", "/device-models", model).await.0,
        201,
        "again"
    );
    let (status, device) = office.assign(user, "snom-d735", Some("000413aabbcc")).await;
    assert_eq!(status, 201, "{device}");
    let list = office.send("GET", "/device-models", Value::Null).await.1;
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    let entry = "/device-models/snom-d735";
    let (status, body) = office.send("DELETE", entry, Value::Null).await;
    assert_eq!((status, code(&body)), (409, "in_use"));
    assert_eq!(office.act(&device, "deactivate", Value::Null).await.0, 202);
    for _ in 0..2 {
        assert_eq!(office.send("DELETE", entry, Value::Null).await.0, 204);
    }
    let catalogue = office.api.get("/api/v1/device-models").await;
    assert!(catalogue["items"].as_array().unwrap().len() > 15);
    let unknown = json!({ "model": "snom-x" });
    assert_eq!(office.send("POST", "/device-models", unknown).await.0, 422);
}

/// Licence, number and extension are told apart.
#[tokio::test]
async fn d_02_a_user_needs_all_three() {
    let office = Office::new(0).await;
    let numbers = json!({ "numbers": ["+14255550100"] });
    assert_eq!(office.send("POST", "/numbers", numbers).await.0, 201);
    let user = office.user(json!({})).await;
    let change = async |fields: Value| {
        let below = format!("/users/{user}");
        assert_eq!(office.send("PATCH", &below, fields).await.0, 200);
    };
    let assign = async || office.assign(&user, "yealink-t46u", Some(MAC)).await;
    let (status, body) = assign().await;
    let rules: Vec<_> = body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["code"])
        .collect();
    assert_eq!(status, 422);
    assert_eq!(
        rules,
        [
            "user_has_no_license",
            "user_has_no_number",
            "user_has_no_extension"
        ]
    );
    change(json!({ "license_assigned": true, "extension": "1001" })).await;
    let (status, body) = assign().await;
    assert_eq!((status, rule(&body)), (422, "user_has_no_number"));
    change(json!({ "default_did": "+14255550100" })).await;
    assert_eq!(assign().await.0, 201);
    let nobody = Uuid::nil().to_string();
    let (status, body) = office.assign(&nobody, "yealink-t46u", Some(MAC)).await;
    assert_eq!((status, rule(&body)), (422, "unknown_user"));
}

/// The first is 1001; what users have is skipped.
#[tokio::test]
async fn d_03_a_free_extension_is_suggested() {
    let office = Office::new(0).await;
    let suggest = async || {
        office
            .send("GET", "/extensions/suggest", Value::Null)
            .await
            .1
    };
    assert_eq!(suggest().await, json!({ "extension": "1001" }));
    for extension in ["1001", "1002", "1004"] {
        office.user(json!({ "extension": extension })).await;
    }
    assert_eq!(suggest().await, json!({ "extension": "1003" }));
}

/// Every usual spelling is stored as twelve digits in lower case.
#[tokio::test]
async fn d_05_an_address_in_every_spelling() {
    let office = Office::new(1).await;
    let user = &office.users[0];
    for spelling in ["00:15:65:AA:BB:CC", "0015.65aa.bbcc", "001565-AABBCC"] {
        let (status, device) = office.assign(user, "yealink-t46u", Some(spelling)).await;
        assert_eq!((status, &device["mac"]), (201, &json!(MAC)), "{spelling}");
        assert_eq!(office.act(&device, "deactivate", Value::Null).await.0, 202);
    }
    for bad in ["001565aabbc", "zz1565aabbcc", "011565aabbcc", ""] {
        let (status, body) = office.assign(user, "yealink-t46u", Some(bad)).await;
        assert_eq!((status, rule(&body)), (422, "bad_mac"), "{bad}");
    }
    let body = json!({ "user_id": user, "model": "yealink-t46u", "method": "mac" });
    let (status, body) = office.send("POST", "/devices", body).await;
    assert_eq!((status, rule(&body)), (422, "required"));
    let (status, body) = office
        .assign(user, "yealink-t46u", Some("000413aabbcc"))
        .await;
    assert_eq!((status, rule(&body)), (422, "mac_of_other_maker"));
}

/// Saved with its address, a telephone is active, and says so to whoever waits for events.
#[tokio::test]
async fn d_07_with_its_address_it_is_active_at_once() {
    let office = Office::new(1).await;
    let (status, device) = office
        .assign(&office.users[0], "yealink-t46u", Some(MAC))
        .await;
    assert_eq!((status, &device["state"]), (201, &json!("activated")));
    assert_eq!(
        (&device["extension"], &device["activation_code"]),
        (&json!("1001"), &Value::Null)
    );
    assert_eq!(device["wake"]["reason"], "not_registered");
    assert!(!device.to_string().contains("sip_password"), "{device}");
    let directory = office.api.store.directory().load_full();
    let name = device["sip_username"].as_str().unwrap();
    assert_eq!(&*directory.phone(name).unwrap().extension, "1001");
    let events = office.api.get("/api/v1/events").await;
    let kinds = events["items"].as_array().unwrap().iter();
    assert!(
        kinds
            .clone()
            .any(|event| event["kind"] == "device.activated")
    );
}

/// A user has one telephone, an address one user; when it was taken away, both are free.
#[tokio::test]
async fn d_08_one_active_telephone() {
    let office = Office::new(2).await;
    let (one, two) = (&office.users[0], &office.users[1]);
    let (_, device) = office.assign(one, "yealink-t46u", Some(MAC)).await;
    for mac in [Some("001565aabbcd"), None] {
        let (status, body) = office.assign(one, "yealink-t46u", mac).await;
        assert_eq!((status, code(&body)), (409, "extension_has_device"));
    }
    let (status, body) = office.assign(two, "yealink-t46u", Some(MAC)).await;
    assert_eq!((status, code(&body)), (409, "mac_in_use"));
    let user = format!("/users/{one}");
    let (status, body) = office.send("DELETE", &user, Value::Null).await;
    assert_eq!((status, code(&body)), (409, "in_use"));
    let below = format!("/devices/{}", device["id"].as_str().unwrap());
    let (status, body) = office.send("DELETE", &below, Value::Null).await;
    assert_eq!((status, code(&body)), (409, "device_active"));
    let (status, gone) = office.act(&device, "deactivate", Value::Null).await;
    assert_eq!((status, &gone["state"]), (202, &json!("deactivated")));
    let name = device["sip_username"].as_str().unwrap();
    let directory = office.api.store.directory().load_full();
    assert!(
        directory.phone(name).is_none(),
        "D-37: the old credentials are nobody's"
    );
    let (status, body) = office.act(&device, "deactivate", Value::Null).await;
    assert_eq!((status, code(&body)), (409, "device_not_active"));
    assert_eq!(
        office
            .assign(one, "yealink-t46u", Some("001565aabbcd"))
            .await
            .0,
        201
    );
    assert_eq!(office.assign(two, "yealink-t46u", Some(MAC)).await.0, 201);
    assert_eq!(office.send("DELETE", &below, Value::Null).await.0, 204);
}

/// Two requests at once for one user: one of them has the telephone.
#[tokio::test]
async fn d_08_two_at_once() {
    let office = Office::new(1).await;
    let user = &office.users[0];
    let assign = async |mac: &str| office.assign(user, "yealink-t46u", Some(mac)).await.0;
    let (one, two) = tokio::join!(assign("001565aabb01"), assign("001565aabb02"));
    let mut both = [one, two];
    both.sort_unstable();
    assert_eq!(both, [201, 409]);
}

/// The code is shown with the telephone and in the report, and a new one makes the old one void.
#[tokio::test]
async fn d_10_a_code_of_13_digits() {
    let office = Office::new(1).await;
    let (status, device) = office.assign(&office.users[0], "yealink-t46u", None).await;
    assert_eq!((status, &device["state"]), (201, &json!("awaiting_code")));
    let digits = device["activation_code"]["code"].as_str().unwrap();
    assert!(digits.len() == 13 && digits.bytes().all(|c| c.is_ascii_digit()));
    let report = office.send("GET", "/device-report", Value::Null).await.1;
    assert_eq!(report["items"][0]["activation_code"], digits);
    let path = format!(
        "/api/v1/devices/{}/activation-code",
        device["id"].as_str().unwrap()
    );
    let shown = office.api.get(&path).await;
    assert_eq!(shown["code"], digits);
    let (status, fresh) = office
        .api
        .send(&office.carrier, "POST", &path, Value::Null)
        .await;
    assert_eq!(status, 200);
    assert_ne!(fresh["code"], digits);
    assert_eq!(office.api.get(&path).await, fresh);
    assert_eq!(office.show(&device).await["activation_code"], fresh);
    let noc = office.api.token(AccessRole::Noc, None).await;
    assert_eq!(
        office.api.send(&noc, "GET", &path, Value::Null).await.0,
        403
    );
    let seen = format!("{}/devices/{}", office.path, device["id"].as_str().unwrap());
    let (_, seen) = office.api.send(&noc, "GET", &seen, Value::Null).await;
    assert_eq!(
        (&seen["activation_code"], &seen["admin_password"]),
        (&Value::Null, &Value::Null)
    );
    let table = format!("{}/device-report?format=csv", office.path);
    let request = office.api.request("GET", &table).bearer_auth(&noc);
    let table = request.send().await.unwrap().text().await.unwrap();
    assert!(!table.contains(fresh["code"].as_str().unwrap()), "{table}");
}

/// Provisioning §8.2: a user who signs in sees the code of their own telephone and has the mail about it sent again; another's
/// is not there for them, and nothing else can be done with their own.
#[tokio::test]
async fn d_10_a_user_sees_the_code_of_their_own_telephone() {
    let office = Office::new(2).await;
    let mut devices = Vec::new();
    for user in &office.users {
        devices.push(office.assign(user, "yealink-t46u", None).await.1);
    }
    let user: Uuid = office.users[0].parse().unwrap();
    let token = office.api.token(AccessRole::EndUser, Some(user)).await;
    let send =
        async |method: &str, path: &str| office.api.send(&token, method, path, Value::Null).await;
    let below = |device: &Value, verb: &str| {
        format!("/api/v1/devices/{}/{verb}", device["id"].as_str().unwrap())
    };
    let (own, other) = (&devices[0], &devices[1]);
    let (_, me) = send("GET", "/api/v1/session").await;
    assert_eq!(
        (&me["role"], &me["device_id"]),
        (&json!("end_user"), &own["id"])
    );
    let (status, shown) = send("GET", &below(own, "activation-code")).await;
    assert_eq!((status, &shown), (200, &own["activation_code"]));
    let (status, sent) = send("POST", &below(own, "resend-welcome")).await;
    assert_eq!((status, &sent["has_code"]), (202, &json!(true)));
    for (method, verb) in [("GET", "activation-code"), ("POST", "resend-welcome")] {
        assert_eq!(send(method, &below(other, verb)).await.0, 404);
    }
    for verb in ["activation-code", "reboot", "deactivate", "swap"] {
        assert_eq!(send("POST", &below(own, verb)).await.0, 403, "{verb}");
    }
    let (status, _) = office.act(own, "deactivate", Value::Null).await;
    assert_eq!(status, 202, "from then on it is nobody's");
    assert_eq!(send("GET", &below(own, "activation-code")).await.0, 404);
}

/// The mail is to be sent again, with the code that the telephone waits for now.
#[tokio::test]
async fn d_11_the_welcome_mail_has_the_code() {
    let office = Office::new(1).await;
    let (_, device) = office.assign(&office.users[0], "yealink-t46u", None).await;
    assert_eq!(device["email_sent"], "not_requested");
    let (status, sent) = office.act(&device, "resend-welcome", Value::Null).await;
    assert_eq!(status, 202);
    assert_eq!(sent, json!({ "email_sent": "pending", "has_code": true }));
    assert_eq!(office.show(&device).await["email_sent"], "pending");
    assert_eq!(office.act(&device, "deactivate", Value::Null).await.0, 202);
    assert_eq!(
        office.act(&device, "resend-welcome", Value::Null).await.0,
        409
    );
}

/// One model cannot be activated by code.
#[tokio::test]
async fn d_12_the_ip450_needs_its_address() {
    let office = Office::new(1).await;
    let (user, model) = (&office.users[0], "poly-soundpoint-ip450");
    let listed = json!({ "model": model });
    assert_eq!(office.send("POST", "/device-models", listed).await.0, 201);
    let (status, body) = office.assign(user, model, None).await;
    assert_eq!((status, rule(&body)), (422, "model_requires_mac"));
    assert_eq!(
        office.assign(user, model, Some("0004f2aabbcc")).await.0,
        201
    );
}

/// Nobody knows where it is: it has to be unplugged.
#[tokio::test]
async fn d_34_a_telephone_that_is_not_registered_cannot_be_told() {
    let office = Office::new(2).await;
    let (_, device) = office
        .assign(&office.users[0], "yealink-t46u", Some(MAC))
        .await;
    let (status, told) = office.act(&device, "reboot", Value::Null).await;
    assert_eq!(status, 202);
    assert_eq!(
        (&told["notified"], &told["reason"]),
        (&json!(false), &json!("not_registered"))
    );
    assert!(told["advice"].as_str().unwrap().contains("one full minute"));
    let (_, waiting) = office.assign(&office.users[1], "yealink-t46u", None).await;
    let (status, body) = office.act(&waiting, "reboot", Value::Null).await;
    assert_eq!((status, code(&body)), (409, "device_not_active"));
}

/// D-07, D-37: a telephone is told under its own name, or under that of one that nobody had activated; before it is taken
/// away, too.
#[tokio::test]
async fn d_telephones_are_told_under_the_name_they_have() {
    let (phones, mut asked) = Phones::new(8);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    tokio::spawn(async move {
        while let Some(PhoneRequest::Resync {
            auth_user, answer, ..
        }) = asked.recv().await
        {
            let known = auth_user == format!("act-{MAC}");
            ears.lock().unwrap().push(auth_user);
            let resynced = if known {
                Resynced::Confirmed
            } else {
                Resynced::NotRegistered
            };
            let _ = answer.send(resynced);
        }
    });
    let devices = Devices {
        phones,
        ..Devices::default()
    };
    let office = Office::over(Api::with_devices(devices).await, 2).await;
    let (_, device) = office
        .assign(&office.users[0], "yealink-t46u", Some(MAC))
        .await;
    let wake = &device["wake"];
    assert_eq!(
        (&wake["notified"], &wake["confirmed"]),
        (&json!(true), &json!(true))
    );
    let own = device["sip_username"].as_str().unwrap().to_owned();
    let bootstrap = format!("act-{MAC}");
    let names = || std::mem::take(&mut *heard.lock().unwrap());
    assert_eq!(names(), [own.clone(), bootstrap.clone()]);
    assert_eq!(office.act(&device, "deactivate", Value::Null).await.0, 202);
    assert_eq!(names(), [own, bootstrap]);
    let (_, waiting) = office.assign(&office.users[1], "yealink-t46u", None).await;
    assert_eq!(waiting.get("wake"), None);
    assert!(names().is_empty());
}

/// Another telephone takes the place of one in one step: the user is never without, the old one is nobody's.
#[tokio::test]
async fn d_a_telephone_is_swapped() {
    let office = Office::new(1).await;
    let (_, device) = office
        .assign(&office.users[0], "yealink-t46u", Some(MAC))
        .await;
    let bad = json!({ "method": "mac", "mac": "000413aabbcc" });
    assert_eq!(office.act(&device, "swap", bad).await.0, 422);
    assert_eq!(
        office.show(&device).await["state"],
        "activated",
        "nothing has changed"
    );
    let other = json!({ "method": "mac", "mac": "0004f2aabbcc", "model": "poly-vvx450" });
    let (status, fresh) = office.act(&device, "swap", other).await;
    assert_eq!((status, &fresh["user_id"]), (201, &device["user_id"]));
    assert_eq!(office.show(&device).await["state"], "deactivated");
    let (status, waiting) = office
        .act(&fresh, "swap", json!({ "method": "code" }))
        .await;
    assert_eq!((status, &waiting["state"]), (201, &json!("awaiting_code")));
    assert_eq!(
        office
            .act(&device, "swap", json!({ "method": "code" }))
            .await
            .0,
        409
    );
}

/// Each row of a table by itself, and a rehearsal that leaves nothing behind.
#[tokio::test]
async fn d_many_telephones_at_once() {
    let office = Office::new(3).await;
    let table = format!(
        "user,model,mac,site\r\n{},yealink-t46u,00:15:65:aa:bb:cc,Hall\r\n{},yealink-t46u,001565aabbcc,\r\n\
         {},yealink-t46u,,\"Room 2, left\"\r\nnobody@acme.example,yealink-t46u,,\r\n",
        office.users[0], office.users[1], office.users[2]
    );
    let post = async |query: &str| {
        let path = format!("{}/devices:bulk{query}", office.path);
        let request = office
            .api
            .request("POST", &path)
            .bearer_auth(&office.carrier);
        let request = request
            .header("Content-Type", "text/csv")
            .body(table.clone());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.unwrap())
    };
    for query in ["?dry_run=true", ""] {
        let (status, body) = post(query).await;
        assert_eq!(
            (status, &body["created"], &body["failed"]),
            (200, &json!(2), &json!(2))
        );
        let results = body["results"].as_array().unwrap();
        assert_eq!(results[0]["mac"], MAC);
        assert_eq!(
            (&results[1]["code"], &results[1]["line"]),
            (&json!("mac_in_use"), &json!(3))
        );
        assert_eq!(results[2]["activation_code"].is_null(), !query.is_empty());
        assert_eq!(results[3]["code"], "unknown_user");
        let listed = office.send("GET", "/devices", Value::Null).await.1;
        let expected = if query.is_empty() { 2 } else { 0 };
        assert_eq!(listed["items"].as_array().unwrap().len(), expected);
    }
    let found = office
        .send("GET", "/devices?q=15-65-AA", Value::Null)
        .await
        .1;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    let waiting = office
        .send("GET", "/devices?state=awaiting_code", Value::Null)
        .await
        .1;
    assert_eq!(waiting["items"][0]["site"], "Room 2, left");
    assert_eq!(
        office
            .send("GET", "/devices?state=odd", Value::Null)
            .await
            .0,
        400
    );
    let (status, body) = post("").await;
    assert_eq!(
        (status, &body["created"]),
        (422, &json!(0)),
        "none of them a second time"
    );
}

/// The columns that people know, with text that no spreadsheet takes for a formula.
#[tokio::test]
async fn d_the_report_is_a_table() {
    let office = Office::new(1).await;
    let below = format!("/users/{}", office.users[0]);
    let name = json!({ "display_name": "=HYPERLINK(\"x\")" });
    assert_eq!(office.send("PATCH", &below, name).await.0, 200);
    let (_, device) = office
        .assign(&office.users[0], "yealink-t46u", Some(MAC))
        .await;
    let path = format!("{}/device-report", office.path);
    let request = office
        .api
        .request("GET", &path)
        .bearer_auth(&office.carrier);
    let response = request.header("Accept", "text/csv").send().await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "text/csv; charset=utf-8"
    );
    let password = device["admin_password"].as_str().unwrap();
    let expected = format!(
        "Device,MAC Address,Device Admin Password,Extension Number,Status,Activation Code,Site,User\r\n\
         Yealink SIP-T46U,{MAC},{password},1001,activated,,,\"'=HYPERLINK(\"\"x\"\")\"\r\n"
    );
    assert_eq!(response.text().await.unwrap(), expected);
}

/// Conventions that hold everywhere: ETag, If-Match, Idempotency-Key, dry run, and nothing of others.
#[tokio::test]
async fn d_telephones_keep_the_conventions() {
    let office = Office::new(1).await;
    let body =
        json!({ "user_id": office.users[0], "model": "yealink-t46u", "method": "mac", "mac": MAC });
    let (status, _) = office
        .send("POST", "/devices?dry_run=true", body.clone())
        .await;
    assert_eq!(status, 200);
    let listed = office.send("GET", "/devices", Value::Null).await.1;
    assert_eq!(listed["items"], json!([]));
    let path = format!("{}/devices", office.path);
    let post = async || {
        let request = office
            .api
            .request("POST", &path)
            .bearer_auth(&office.carrier);
        let request = request.header("Idempotency-Key", "one").json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 201);
        response.json::<Value>().await.unwrap()
    };
    let (first, again) = (post().await, post().await);
    assert_eq!(first, again);
    let device = format!("{path}/{}", first["id"].as_str().unwrap());
    let request = |method: &str| {
        office
            .api
            .request(method, &device)
            .bearer_auth(&office.carrier)
    };
    let shown = request("GET").send().await.unwrap();
    let tag = shown.headers()["etag"].clone();
    let known = request("GET")
        .header("If-None-Match", &tag)
        .send()
        .await
        .unwrap();
    assert_eq!(known.status(), 304);
    let site = json!({ "site": "Hall" });
    let blind = request("PATCH").json(&site).send().await.unwrap();
    assert_eq!(blind.status(), 428);
    let change = async || {
        let request = request("PATCH").header("If-Match", &tag).json(&site);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!([change().await, change().await], [200, 412]);
    let moved = json!({ "mac": "001565aabbcd" });
    let fixed = request("PATCH")
        .header("If-Match", "*")
        .json(&moved)
        .send()
        .await
        .unwrap();
    assert_eq!(fixed.status(), 422);
    let (_, stranger) = office.api.partner("other").await;
    let (other, _) = office.api.customer("other").await;
    let other = office
        .api
        .token(AccessRole::CustomerAdmin, Some(other))
        .await;
    let action = format!(
        "/api/v1/devices/{}/activation-code",
        first["id"].as_str().unwrap()
    );
    for token in [&stranger, &other] {
        for path in [&device, &action] {
            let (status, _) = office.api.send(token, "GET", path, Value::Null).await;
            assert_eq!(status, 404, "{path}");
        }
    }
    let own = office
        .api
        .token(AccessRole::CustomerAdmin, Some(office.id))
        .await;
    assert_eq!(
        office.api.send(&own, "GET", &device, Value::Null).await.0,
        200
    );
    assert_eq!(
        office
            .api
            .send(&own, "PATCH", &device, site.clone())
            .await
            .0,
        403
    );
    let audit = office.api.get("/api/v1/audit").await.to_string();
    assert!(!audit.contains(first["admin_password"].as_str().unwrap()));
}

/// The maker's service is told of each telephone that comes and goes, with the token, and is asked again if it fails.
#[tokio::test]
async fn d_telephones_are_sent_here() {
    use axum::extract::State;
    use axum::http::{Request, StatusCode};
    type Heard = Arc<Mutex<Vec<(String, String)>>>;
    async fn hear(State(heard): State<Heard>, request: Request<axum::body::Body>) -> StatusCode {
        let (parts, body) = request.into_parts();
        assert_eq!(parts.headers["authorization"], "Bearer t0ken");
        let body = axum::body::to_bytes(body, 1000).await.unwrap();
        let line = format!("{} {}", parts.method, parts.uri);
        let mut heard = heard.lock().unwrap();
        heard.push((line, String::from_utf8(body.to_vec()).unwrap()));
        match heard.len() {
            1 => StatusCode::BAD_GATEWAY,
            2 => StatusCode::CREATED,
            _ => StatusCode::NOT_FOUND,
        }
    }
    let heard = Heard::default();
    let service = axum::Router::new().fallback(hear).with_state(heard.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, service).await });
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "t0ken\n").unwrap();
    let provider = HttpRedirect::open(&base, Some(&token), Duration::from_secs(5)).unwrap();
    let devices = Devices {
        redirect: Some(Arc::new(provider)),
        url: "https://prov.example.net/prov/".into(),
        ..Devices::default()
    };
    let office = Office::over(Api::with_devices(devices).await, 1).await;
    let until = async |count: usize| {
        for _ in 0..1000 {
            let now = heard.lock().unwrap().clone();
            if now.len() >= count {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("only {:?}", heard.lock().unwrap());
    };
    let (_, device) = office
        .assign(&office.users[0], "yealink-t46u", Some(MAC))
        .await;
    let told = until(2).await;
    let expected = json!({ "vendor": "Yealink", "url": "https://prov.example.net/prov/" });
    for (line, body) in &told {
        assert_eq!(line, &format!("PUT /v1/phones/{MAC}"));
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
    }
    assert_eq!(office.act(&device, "deactivate", Value::Null).await.0, 202);
    let told = until(3).await;
    assert_eq!(told[2].0, format!("DELETE /v1/phones/{MAC}?vendor=Yealink"));
}
