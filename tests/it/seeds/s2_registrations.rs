//! The PBX Connector: a running SBC registers an enterprise's users at an emulated exchange, and calls go that way.

use super::code;
use crate::calls::lab::{Lab, PBX_NUMBER, Setup, TEAMS_NUMBER, both_hear};
use crate::calls::refused;
use serde_json::{Value, json};
use std::time::Duration;

/// An exchange with users 1001 and 1002, which prove themselves by `a1001` and `a1002`, and its customer.
async fn lab() -> Lab {
    Lab::start(Setup {
        pbx: |pbx| {
            for user in ["1001", "1002"] {
                pbx.users
                    .insert(format!("a{user}"), format!("secret-{user}"));
                pbx.auth_ids.insert(format!("a{user}"), user.into());
            }
            pbx.challenge_calls = true;
        },
        customer: json!({ "offerings": ["pbx", "trunk"], "pbx_types": ["generic"] }),
        ..Setup::default()
    })
    .await
}

/// What the customer's administrator makes.
async fn made(lab: &Lab, path: &str, body: Value) -> Value {
    let path = format!("{}/{path}", lab.customer());
    let (status, made) = lab.customers_api("POST", &path, body).await;
    assert_eq!(status, 201, "{made}");
    made
}

/// The exchange, as the customer's.
async fn exchange(lab: &Lab) -> Value {
    let path = format!("{}/pbxs", lab.customer());
    let body = json!({
        "pbx_type": "generic", "location": "Headquarters", "sip_domain": lab.pbx.address.ip(),
        "port": lab.pbx.address.port(), "dns_lookup": "a",
    });
    let (status, pbx) = lab.api("POST", &path, body).await;
    assert_eq!(status, 201, "{pbx}");
    assert_eq!(
        (&pbx["transport"], &pbx["expires_s"]),
        (&json!("udp"), &json!(3600))
    );
    pbx["id"].clone()
}

/// A user of the customer with this number, registered at the exchange with this password.
async fn registration(
    lab: &Lab,
    pbx: &Value,
    user: &str,
    number: Option<&str>,
    password: &str,
) -> String {
    let upn = format!("user{user}@contoso.example");
    let person =
        json!({ "upn": upn, "display_name": user, "offering": "pbx", "default_did": number });
    let person = made(lab, "users", person).await;
    let body = json!({
        "user_id": person["id"], "pbx_id": pbx, "username": user, "auth_id": format!("a{user}"), "password": password,
    });
    let made = made(lab, "pbx-registrations", body).await;
    assert_eq!(made["state"], "pending");
    assert!(!made.to_string().contains(password), "{made}");
    format!(
        "{}/pbx-registrations/{}",
        lab.customer(),
        made["id"].as_str().unwrap()
    )
}

/// Waits until it stands so.
async fn stands(lab: &Lab, registration: &str, state: &str) -> Value {
    let mut last = Value::Null;
    for _ in 0..1500 {
        let (status, shown) = lab.customers_api("GET", registration, json!(null)).await;
        assert_eq!(status, 200, "{shown}");
        if shown["state"] == state {
            return shown;
        }
        last = shown;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not {state}: {last}");
}

/// Waits until the exchange has so many bindings, which are told.
async fn bound(lab: &Lab, bindings: usize) -> Vec<(String, String)> {
    for _ in 0..1500 {
        let found = lab.pbx.registrations();
        if found.len() == bindings {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", lab.pbx.registrations());
}

/// The user part of the Contact that the exchange has of a user.
fn contact_of(bindings: &[(String, String)], user: &str) -> String {
    let (_, uri) = bindings.iter().find(|(name, _)| name == user).unwrap();
    let user = uri.strip_prefix("sip:").unwrap().split('@').next();
    user.unwrap().to_owned()
}

fn heard(lab: &Lab, start: &str) -> Vec<String> {
    let all = lab.pbx.trace().messages().into_iter();
    all.filter(|message| message.first_line.starts_with(start))
        .map(|message| message.text)
        .collect()
}

/// REGISTER without credentials, 401, REGISTER with the digest name, 200: registered, with the time that it lasts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_18_a_user_of_the_exchange_is_registered() {
    let lab = lab().await;
    let pbx = exchange(&lab).await;
    let path = registration(&lab, &pbx, "1001", Some(TEAMS_NUMBER), "secret-1001").await;
    let shown = stands(&lab, &path, "registered").await;
    assert_eq!(
        (&shown["last_code"], &shown["numbers"]),
        (&json!(200), &json!([TEAMS_NUMBER]))
    );
    for at in ["registered_at", "expires_at", "next_attempt_at"] {
        assert!(shown[at].is_string(), "{at}: {shown}");
    }
    let registers = heard(&lab, "REGISTER");
    assert_eq!(registers.len(), 2, "{registers:?}");
    assert!(!registers[0].contains("Authorization:"));
    assert!(
        registers[1].contains("username=\"a1001\""),
        "{}",
        registers[1]
    );
    let bindings = bound(&lab, 1).await;
    assert_eq!(bindings[0].0, "1001");
    let (_, list) = lab
        .customers_api(
            "GET",
            &format!("{}/pbx-registrations", lab.customer()),
            json!(null),
        )
        .await;
    assert_eq!(list["items"][0]["state"], "registered");
    lab.close().await;
}

/// A wrong password is told with the exchange's answer; the right one is tried at once, and both are events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_a_failed_registration_tells_why() {
    let lab = lab().await;
    let pbx = exchange(&lab).await;
    let path = registration(&lab, &pbx, "1001", Some(TEAMS_NUMBER), "wrong").await;
    let shown = stands(&lab, &path, "failed").await;
    assert_eq!(shown["last_code"], 401);
    let reason = shown["last_reason"].as_str().unwrap();
    assert!(
        reason.contains("refuses our user name or password"),
        "{reason}"
    );
    assert!(shown["next_attempt_at"].is_string(), "{shown}");
    let tries = heard(&lab, "REGISTER").len();
    assert_eq!(tries, 2, "not again for a while");
    let right = json!({ "password": "secret-1001" });
    let (status, changed) = lab.customers_api("PATCH", &path, right).await;
    assert_eq!(status, 200, "{changed}");
    stands(&lab, &path, "registered").await;
    let mut kinds = Vec::new();
    for _ in 0..500 {
        let (_, events) = lab
            .api("GET", "/api/v1/events?limit=500", json!(null))
            .await;
        let items = events["items"].as_array().unwrap();
        let of_ours = items.iter().map(|e| e["kind"].as_str().unwrap().to_owned());
        kinds = of_ours
            .filter(|kind| kind.starts_with("registration."))
            .collect();
        if kinds.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(kinds, ["registration.failed", "registration.registered"]);
    lab.close().await;
}

/// Whoever is disabled is taken off the exchange by Expires 0: one registration, or with T-34 all of a customer; enabled
/// they come back with the same Contact. An exchange with registrations cannot go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_34_who_is_disabled_leaves_the_exchange() {
    let lab = lab().await;
    let pbx = exchange(&lab).await;
    let one = registration(&lab, &pbx, "1001", Some(TEAMS_NUMBER), "secret-1001").await;
    let two = registration(&lab, &pbx, "1002", None, "secret-1002").await;
    stands(&lab, &one, "registered").await;
    stands(&lab, &two, "registered").await;
    let before = contact_of(&bound(&lab, 2).await, "1001");
    let (status, _) = lab
        .customers_api("PATCH", &two, json!({ "enabled": false }))
        .await;
    assert_eq!(status, 200);
    assert_eq!(bound(&lab, 1).await[0].0, "1001");
    stands(&lab, &two, "disabled").await;
    let (status, problem) = lab
        .customers_api("POST", &format!("{two}:restart"), json!(null))
        .await;
    assert_eq!((status, code(&problem)), (409, "registration_disabled"));

    let customer = lab.customer();
    let (status, _) = lab
        .api("POST", &format!("{customer}:disable"), json!(null))
        .await;
    assert_eq!(status, 200);
    bound(&lab, 0).await;
    assert!(
        heard(&lab, "REGISTER")
            .iter()
            .any(|text| text.contains("\r\nExpires: 0\r\n"))
    );
    let (status, _) = lab
        .api("POST", &format!("{customer}:enable"), json!(null))
        .await;
    assert_eq!(status, 200);
    assert_eq!(contact_of(&bound(&lab, 1).await, "1001"), before);

    let place = format!("{customer}/pbxs/{}", pbx.as_str().unwrap());
    let (status, problem) = lab.api("DELETE", &place, json!(null)).await;
    assert_eq!((status, code(&problem)), (409, "in_use"));
    for path in [&one, &two, &place] {
        let (status, _) = match path == &place {
            true => lab.api("DELETE", path, json!(null)).await,
            false => lab.customers_api("DELETE", path, json!(null)).await,
        };
        assert_eq!(status, 204, "{path}");
    }
    bound(&lab, 0).await;
    lab.close().await;
}

/// A call to the Contact that the exchange has of a user reaches that user's number at Teams, with sound both ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_21_a_call_on_the_binding_reaches_the_user() {
    let lab = lab().await;
    let pbx = exchange(&lab).await;
    let path = registration(&lab, &pbx, "1001", Some(TEAMS_NUMBER), "secret-1001").await;
    stands(&lab, &path, "registered").await;
    let token = contact_of(&bound(&lab, 1).await, "1001");
    let at_pbx = lab.dial_from_pbx(|call| call.to = token).await;
    at_pbx.answered().await.unwrap();
    let at_teams = lab.teams.incoming().await.unwrap();
    both_hear(&at_teams, &at_pbx).await;
    let invites = lab.teams.trace().messages().into_iter();
    let invites: Vec<_> = invites
        .filter(|message| message.first_line.starts_with("INVITE "))
        .collect();
    assert!(
        invites[0].first_line.contains(TEAMS_NUMBER),
        "{}",
        invites[0].first_line
    );
    let (_, channels) = lab
        .api("GET", &format!("{}/channels", lab.customer()), json!(null))
        .await;
    assert_eq!(channels["in_use"], 1);
    at_pbx.bye().await;
    at_teams.ended().await.unwrap();
    lab.close().await;
}

/// The user's call from Teams goes to the exchange as that user, which asks for credentials and gets the user's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_22_a_call_from_teams_is_the_users() {
    let lab = lab().await;
    let pbx = exchange(&lab).await;
    let path = registration(&lab, &pbx, "1001", Some(TEAMS_NUMBER), "secret-1001").await;
    stands(&lab, &path, "registered").await;
    let (at_teams, at_pbx) = lab.call_from_teams().await;
    both_hear(&at_teams, &at_pbx).await;
    let invites = heard(&lab, "INVITE");
    assert_eq!(invites.len(), 2, "{invites:?}");
    let proven = &invites[1];
    assert!(proven.contains("<sip:1001@127.0.0.1>;tag="), "{proven}");
    assert!(proven.contains("username=\"a1001\""), "{proven}");
    assert!(
        proven.starts_with(&format!("INVITE sip:{PBX_NUMBER}@127.0.0.1")),
        "{proven}"
    );
    at_teams.bye().await;
    at_pbx.ended().await.unwrap();
    lab.close().await;
}

/// While the user is not registered its calls are refused with 480, and the record says why; no trunk takes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_without_a_registration_there_is_no_call() {
    let lab = lab().await;
    let pbx = exchange(&lab).await;
    let path = registration(&lab, &pbx, "1001", Some(TEAMS_NUMBER), "wrong").await;
    stands(&lab, &path, "failed").await;
    assert_eq!(refused(&lab.dial_from_teams().await).await.status, 480);
    assert!(heard(&lab, "INVITE").is_empty());
    let mut refused_by = Value::Null;
    for _ in 0..500 {
        let (_, cdrs) = lab.api("GET", "/api/v1/cdrs", json!(null)).await;
        refused_by = cdrs["items"][0]["refused_by"].clone();
        if refused_by.is_string() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(refused_by, "pbx_unregistered");
    lab.close().await;
}

/// A user that is gone is taken off the exchange by the next Sync, and one whose number changes is called at that from
/// then on; a Sync that changes nothing sends no REGISTER (P-25).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p_25_registrations_follow_a_sync() {
    let lab = lab().await;
    let pbx = exchange(&lab).await;
    let path = registration(&lab, &pbx, "1001", None, "secret-1001").await;
    let shown = stands(&lab, &path, "registered").await;
    assert_eq!(shown["numbers"], json!([]));
    let user = format!(
        "{}/users/{}",
        lab.customer(),
        shown["user_id"].as_str().unwrap()
    );
    let sync = async || {
        let path = format!("{}/sync?wait=20", lab.customer());
        let (status, task) = lab.customers_api("POST", &path, json!(null)).await;
        assert_eq!(status, 202, "{task}");
        task["result"]["counts"]["registrations"].clone()
    };
    let (status, body) = lab
        .customers_api("PATCH", &user, json!({ "default_did": TEAMS_NUMBER }))
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(sync().await, 1);
    let shown = stands(&lab, &path, "registered").await;
    assert_eq!(shown["numbers"], json!([TEAMS_NUMBER]));
    let (before, generation) = (heard(&lab, "REGISTER").len(), lab.generation());
    assert_eq!(sync().await, 0);
    assert_eq!(
        (heard(&lab, "REGISTER").len(), lab.generation()),
        (before, generation)
    );
    let (status, _) = lab.customers_api("DELETE", &user, json!(null)).await;
    assert_eq!(status, 204);
    bound(&lab, 1).await;
    assert_eq!(sync().await, 1);
    bound(&lab, 0).await;
    let text = lab.metrics().await;
    assert!(text.contains("tollgate_registers_sent_total"), "{text}");
    lab.close().await;
}

/// A trunk with `auth` `register` is registered as its main line; it tells how that stands, and never its password. It is
/// refused without one, and its registrar forgets it when it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_registers_and_tells_how_that_stands() {
    let lab = lab().await;
    let trunks = format!("{}/trunks", lab.customer());
    let mut body = json!({
        "name": "main", "role": "pbx", "transport": "udp", "host": lab.pbx.address.ip(), "port": lab.pbx.address.port(),
        "auth": "register", "username": "a1001", "profile": { "main_line": "1001" },
    });
    let (status, refused) = lab.api("POST", &trunks, body.clone()).await;
    assert_eq!(
        (status, &refused["errors"][0]["field"]),
        (422, &json!("password"))
    );
    body["password"] = json!("secret-1001");
    let (status, made) = lab.api("POST", &trunks, body).await;
    assert_eq!(
        (status, &made["registration"]["state"]),
        (201, &json!("pending")),
        "{made}"
    );
    assert!(!made.to_string().contains("secret-1001"), "{made}");
    let bindings = bound(&lab, 1).await;
    assert_eq!(bindings[0].0, "1001");
    let path = format!("{trunks}/{}", made["id"].as_str().unwrap());
    let mut shown = json!(null);
    for _ in 0..1500 {
        shown = lab.api("GET", &path, json!(null)).await.1;
        if shown["registration"]["state"] == "registered" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(shown["registration"]["last_code"], 200, "{shown}");
    assert!(shown["registration"]["expires_at"].is_string(), "{shown}");
    let (_, listed) = lab.api("GET", &trunks, json!(null)).await;
    let items = listed["items"].as_array().unwrap();
    let of = |name: &str| items.iter().find(|trunk| trunk["name"] == name).unwrap();
    assert_eq!(of("main")["registration"]["state"], "registered");
    assert!(
        items.iter().any(|trunk| trunk["registration"].is_null()),
        "others do not register: {listed}"
    );
    let (status, _) = lab
        .api("PATCH", &path, json!({ "state": "disabled" }))
        .await;
    assert_eq!(status, 200);
    bound(&lab, 0).await;
    let (_, shown) = lab.api("GET", &path, json!(null)).await;
    assert_eq!(shown["registration"]["state"], "disabled", "{shown}");
    lab.close().await;
}
