//! Letters of the second seed: a partner activates its account, a customer's administrator registers with a code.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate::store::AccessRole;
use uuid::Uuid;

use super::code;
use super::mail_sink::Received;
use super::wizard::{Wizard, page, token};

/// The tenant of the customers here; the lab's own customer has the other one.
const TENANT_NAME: &str = "other.onmicrosoft.com";

/// The nth letter, from 1, at most five seconds later, and no letter after it.
async fn letter(wizard: &Wizard, n: usize) -> Received {
    for _ in 0..200 {
        let letters = wizard.mail.letters();
        if letters.len() >= n {
            assert_eq!(letters.len(), n);
            return letters[n - 1].clone();
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("no letter {n} within five seconds");
}

/// The path of the link in a letter.
fn link(letter: &Received) -> String {
    let line = letter.text.lines().find(|line| line.starts_with("http"));
    let link = line.unwrap().trim();
    link.strip_prefix("http://localhost").unwrap().to_owned()
}

/// The code in a letter: three times four characters.
fn code_in(letter: &Received) -> String {
    let is_code = |line: &&str| line.len() == 14 && line.matches('-').count() == 2;
    let line = letter.text.lines().map(str::trim).find(is_code);
    line.unwrap().to_owned()
}

/// What the page says to a code.
async fn give(wizard: &Wizard, page: &str, code: &str) -> (u16, Value) {
    let url = format!("http://{}{page}", wizard.lab.sbc.listening().admin);
    let request = wizard.lab.client.post(url).json(&json!({ "code": code }));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn partner(wizard: &Wizard, name: &str) -> (Uuid, Value) {
    let body = json!({ "name": name, "email": format!("{name}@reseller.example"), "offerings": ["pbx", "trunk"] });
    let (status, made) = wizard
        .lab
        .send_as(&wizard.carrier, "POST", "/api/v1/partners", body)
        .await;
    assert_eq!(status, 201, "{made}");
    (made["id"].as_str().unwrap().parse().unwrap(), made)
}

/// What the second seed's form asks for.
fn enterprise() -> Value {
    json!({
        "account_id": "acme", "name": "Acme", "tenant_name": TENANT_NAME, "admin_email": "boss@acme.example",
        "user_limit": 25, "pbx_moh": true, "sip_data_access": true, "request_co_management": true, "regions": ["LAB1"],
        "offerings": ["pbx", "trunk"], "pbx_types": ["generic"], "max_channels": 4,
    })
}

/// A customer whose administrator is invited: the invitation, with its path in the API, and its letter.
async fn invited(wizard: &Wizard) -> (Value, String, Received) {
    let (status, made) = wizard
        .lab
        .send_as(&wizard.carrier, "POST", "/api/v1/customers", enterprise())
        .await;
    assert_eq!(status, 201, "{made}");
    let invitation = made["invitation"].clone();
    let path = format!(
        "/api/v1/customers/{}/invitations/{}",
        made["id"].as_str().unwrap(),
        invitation["id"].as_str().unwrap()
    );
    (invitation, path, letter(wizard, 1).await)
}

/// T-01: a new partner gets a letter; its token changes nothing until somebody has followed the link there and pressed the
/// button. Who only opens the link, as programs do that look at mail, activates nothing.
#[tokio::test]
async fn t_01_a_partner_activates_its_account_by_mail() {
    let wizard = Wizard::start().await;
    let (id, made) = partner(&wizard, "sales").await;
    assert_eq!(made["state"], "invited");
    let letter = letter(&wizard, 1).await;
    assert_eq!(letter.to, "sales@reseller.example");
    let token = token(&wizard.lab, AccessRole::PartnerAdmin, Some(id)).await;
    let create = async || {
        let path = "/api/v1/customers";
        wizard.lab.send_as(&token, "POST", path, enterprise()).await
    };
    let link = link(&letter);
    let (status, shown) = wizard.public("GET", &link).await;
    assert_eq!(
        (status, &shown["partner"], &shown["state"]),
        (200, &json!("sales"), &json!("invited"))
    );
    let (status, body) = create().await;
    assert_eq!((status, code(&body)), (403, "partner_not_active"));
    let (status, shown) = wizard.public("POST", &link).await;
    assert_eq!((status, &shown["state"]), (200, &json!("active")));
    let (status, made) = create().await;
    assert_eq!(
        (status, &made["partner_id"]),
        (201, &json!(id)),
        "now it may: {made}"
    );
    let (status, body) = wizard.public("POST", &link).await;
    assert_eq!((status, code(&body)), (410, "link_over"));
    let (status, _) = wizard.public("POST", "/activate/somebody").await;
    assert_eq!(status, 404);
    let (_, audit) = wizard
        .lab
        .send_as(&wizard.carrier, "GET", "/api/v1/audit", Value::Null)
        .await;
    let events = audit["items"].as_array().unwrap();
    let noted = events.iter().find(|event| event["action"] == "activate");
    assert_eq!(noted.unwrap()["after"]["state"], "active");
    wizard.lab.close().await;
}

/// T-01: a second letter replaces the first one, at most once a minute; the carrier sees the link in the answer, a master
/// reseller does not, for it must not activate its resellers itself. A link ends by itself, too.
#[tokio::test]
async fn t_01_a_partners_letter_is_sent_again() {
    let wizard = Wizard::start().await;
    let (id, _) = partner(&wizard, "sales").await;
    let first = link(&letter(&wizard, 1).await);
    let path = format!("/api/v1/partners/{id}/invitation");
    let again = async |token: &str, path: &str| {
        let answer = wizard.lab.send_as(token, "POST", path, Value::Null).await;
        (answer.0, answer.1)
    };
    let (status, body) = again(&wizard.carrier, &path).await;
    assert_eq!((status, code(&body)), (429, "resend_too_early"));
    wizard.lab.sbc.clock().advance(time::Duration::MINUTE);
    let (status, sent) = again(&wizard.carrier, &path).await;
    assert_eq!((status, &sent["letters"]), (202, &json!(2)), "{sent}");
    let second = link(&letter(&wizard, 2).await);
    let url = sent["activation_url"].as_str().unwrap();
    assert_eq!(url, format!("http://localhost{second}"));
    assert_eq!(wizard.public("POST", &first).await.0, 404);
    assert_eq!(wizard.public("POST", &second).await.0, 200);
    let (status, body) = again(&wizard.carrier, &path).await;
    assert_eq!((status, code(&body)), (409, "partner_not_invited"));

    let master = token(&wizard.lab, AccessRole::PartnerAdmin, Some(id)).await;
    let body =
        json!({ "name": "below", "email": "below@reseller.example", "offerings": ["trunk"] });
    let (status, below) = wizard
        .lab
        .send_as(&master, "POST", "/api/v1/partners", body)
        .await;
    assert_eq!((status, below.get("activation_url")), (201, None));
    let path = format!(
        "/api/v1/partners/{}/invitation",
        below["id"].as_str().unwrap()
    );
    letter(&wizard, 3).await;
    wizard.lab.sbc.clock().advance(time::Duration::MINUTE);
    let (status, sent) = again(&master, &path).await;
    assert_eq!(
        (status, &sent["activation_url"], &sent["email_queued"]),
        (202, &Value::Null, &json!(true))
    );
    let last = link(&letter(&wizard, 4).await);
    wizard.lab.sbc.clock().advance(time::Duration::days(8));
    let (status, body) = wizard.public("POST", &last).await;
    assert_eq!((status, code(&body)), (410, "link_over"));
    wizard.lab.close().await;
}

/// T-03: whoever submits the form has within five seconds one letter sent to the administrator, with code and link; the code
/// is in the answer, too, and never seen again.
#[tokio::test]
async fn t_03_the_administrator_is_sent_code_and_link() {
    let wizard = Wizard::start().await;
    let (invitation, path, letter) = invited(&wizard).await;
    assert_eq!(letter.to, "boss@acme.example");
    assert_eq!(invitation["code"], code_in(&letter));
    assert_eq!(page(&invitation), link(&letter));
    let (status, shown) = wizard
        .lab
        .send_as(&wizard.carrier, "GET", &path, Value::Null)
        .await;
    assert_eq!((status, shown.get("code")), (200, None));
    assert_eq!(
        (&shown["service_id"], &shown["code_state"], &shown["email"]),
        (&Value::Null, &json!("wanted"), &json!("boss@acme.example"))
    );

    let send = async |body: Value| {
        let path = "/api/v1/customers";
        let answer = wizard
            .lab
            .send_as(&wizard.carrier, "POST", path, body)
            .await;
        (answer.0, answer.1)
    };
    let mut silent = enterprise();
    for (field, value) in [
        ("account_id", json!("silent")),
        ("tenant_name", json!("silent.onmicrosoft.com")),
        ("admin_email", json!("boss@silent.example")),
        ("send_invitation", json!(false)),
    ] {
        silent[field] = value;
    }
    let (status, made) = send(silent.clone()).await;
    assert_eq!((status, made.get("invitation")), (201, None), "{made}");
    silent["account_id"] = json!("nobody");
    silent["tenant_name"] = json!("nobody.onmicrosoft.com");
    silent["admin_email"] = Value::Null;
    silent["send_invitation"] = json!(true);
    let (status, body) = send(silent).await;
    assert_eq!(
        (status, &body["errors"][0]["field"]),
        (422, &json!("admin_email"))
    );
    assert_eq!(wizard.mail.letters().len(), 1);
    wizard.lab.close().await;
}

/// T-06: a wrong code is refused and counted, the right one leads to the sign-in and counts once; before it nothing does.
#[tokio::test]
async fn t_06_the_code_is_needed_and_counts_once() {
    let wizard = Wizard::start().await;
    let (_, path, letter) = invited(&wizard).await;
    let (page, right) = (link(&letter), code_in(&letter));
    for step in ["start-authentication", "continue"] {
        let (status, body) = wizard.public("POST", &format!("{page}/{step}")).await;
        assert_eq!((status, code(&body)), (409, "code_wanted"));
    }
    let (status, body) = give(&wizard, &page, "2345-6789-ABCD").await;
    assert_eq!((status, code(&body)), (401, "wrong_code"));
    let (_, shown) = wizard
        .lab
        .send_as(&wizard.carrier, "GET", &path, Value::Null)
        .await;
    assert_eq!(
        (&shown["wrong_codes"], &shown["code_state"]),
        (&json!(1), &json!("wanted"))
    );
    // As somebody types it.
    let typed = right.to_lowercase().replace('-', " ");
    let (status, shown) = give(&wizard, &page, &typed).await;
    assert_eq!(
        (status, &shown["code_state"], &shown["customer"]),
        (200, &json!("given"), &json!("Acme"))
    );
    let (status, body) = give(&wizard, &page, &right).await;
    assert_eq!((status, code(&body)), (410, "code_over"));
    let (status, started) = wizard
        .public("POST", &format!("{page}/start-authentication"))
        .await;
    assert_eq!(status, 200, "the next step: {started}");
    wizard.type_code(&started, TENANT_NAME, "accept").await;
    let now = wizard
        .until(&page, |now| now["state"] == "token_acquired")
        .await;
    assert_eq!(now["device_authenticated"], true);
    wizard.lab.close().await;
}

/// T-06: ten wrong codes are the end, for the right one, too, and a restart does not forget them; also when they come all at
/// once. Another letter begins anew.
#[tokio::test]
async fn t_06_ten_wrong_codes_are_the_end() {
    let wizard = Wizard::start().await;
    let (_, path, first) = invited(&wizard).await;
    let (page, right) = (link(&first), code_in(&first));
    let url = format!("http://{}{page}", wizard.lab.sbc.listening().admin);
    let mut tries = JoinSet::new();
    for _ in 0..14 {
        let wrong = json!({ "code": "2345-6789-ABCD" });
        tries.spawn(wizard.lab.client.post(&url).json(&wrong).send());
    }
    let answers = tries.join_all().await.into_iter();
    let statuses = answers.map(|answer| answer.unwrap().status().as_u16());
    let mut statuses: Vec<_> = statuses.collect();
    statuses.sort_unstable();
    let expected = [[401; 10].as_slice(), &[429; 4]].concat();
    assert_eq!(statuses, expected);
    let lab = wizard.lab.restarted().await;
    let wizard = Wizard { lab, ..wizard };
    let (status, body) = give(&wizard, &page, &right).await;
    assert_eq!((status, code(&body)), (429, "too_many_codes"));
    wizard.lab.sbc.clock().advance(time::Duration::MINUTE);
    let (status, sent) = wizard
        .lab
        .send_as(
            &wizard.carrier,
            "POST",
            &format!("{path}:resend"),
            Value::Null,
        )
        .await;
    assert_eq!((status, &sent["wrong_codes"]), (202, &json!(0)), "{sent}");
    let second = letter(&wizard, 2).await;
    let (status, _) = give(&wizard, &link(&second), &code_in(&second)).await;
    assert_eq!(status, 200);
    wizard.lab.close().await;
}

/// T-07: a second letter has another code and another link; the first ones are over, also the old code at the new link. Who
/// has registered is invited no more.
#[tokio::test]
async fn t_07_a_second_letter_ends_the_first() {
    let wizard = Wizard::start().await;
    let (_, path, first) = invited(&wizard).await;
    let resend = format!("{path}:resend");
    let again = async || {
        let carrier = &wizard.carrier;
        wizard
            .lab
            .send_as(carrier, "POST", &resend, Value::Null)
            .await
    };
    let (status, body) = again().await;
    assert_eq!((status, code(&body)), (429, "resend_too_early"));
    wizard.lab.sbc.clock().advance(time::Duration::MINUTE);
    let (status, sent) = again().await;
    assert_eq!((status, &sent["email_sent_count"]), (202, &json!(2)));
    let second = letter(&wizard, 2).await;
    assert_eq!(second.to, "boss@acme.example");
    let (old, new) = (
        (link(&first), code_in(&first)),
        (link(&second), code_in(&second)),
    );
    assert!(old.0 != new.0 && old.1 != new.1);
    for (page, typed, over) in [
        (&old.0, &old.1, "invitation_over"),
        (&old.0, &new.1, "invitation_over"),
        (&new.0, &old.1, "code_over"),
    ] {
        let (status, body) = give(&wizard, page, typed).await;
        assert_eq!((status, code(&body)), (410, over));
    }
    let (status, _) = give(&wizard, &new.0, &new.1).await;
    assert_eq!(status, 200);

    let (_, started) = wizard
        .public("POST", &format!("{}/start-authentication", new.0))
        .await;
    wizard.type_code(&started, TENANT_NAME, "accept").await;
    wizard
        .until(&new.0, |now| now["state"] == "token_acquired")
        .await;
    wizard.consent(&new.0).await;
    let (_, shown) = wizard.public("GET", &new.0).await;
    assert_eq!(shown["state"], "authentication_complete");
    let (status, body) = again().await;
    assert_eq!((status, code(&body)), (409, "invitation_over"));
    wizard.lab.close().await;
}

/// T-09: who registers consents in two rounds. In the first one without the tick for the organisation the consent is
/// incomplete, which the page tells; after the whole first round nobody is registered either; after both they are.
#[tokio::test]
async fn t_09_both_rounds_of_consent_make_it_registered() {
    let wizard = Wizard::start().await;
    let (_, _, letter) = invited(&wizard).await;
    let page = link(&letter);
    assert_eq!(give(&wizard, &page, &code_in(&letter)).await.0, 200);
    let round = async |organisation: &str| {
        let (status, started) = wizard
            .public("POST", &format!("{page}/start-authentication"))
            .await;
        assert_eq!(status, 200, "{started}");
        let more = format!("as={TENANT_NAME}&decision=accept&organisation={organisation}");
        wizard.answer_code(&started, &more).await;
        let over = |now: &Value| now["sign_in"].is_null() && now["state"] == "token_acquired";
        wizard.until(&page, over).await;
    };
    round("no").await;
    let incomplete = |now: &Value| now["failure"]["code"] == "consent_incomplete";
    let now = wizard.until(&page, incomplete).await;
    assert_eq!(now["state"], "token_acquired");
    let url = format!("http://{}{page}", wizard.lab.sbc.listening().admin);
    let shown = wizard.lab.client.get(url).header("accept", "text/html");
    let shown = shown.send().await.unwrap().text().await.unwrap();
    assert!(shown.contains("was not ticked") && shown.contains("Sign in again"));

    round("on").await;
    let whole = |now: &Value| now["failure"].is_null();
    let now = wizard.until(&page, whole).await;
    assert_eq!(
        now["state"], "token_acquired",
        "the second round is missing"
    );
    let (status, next) = wizard.public("POST", &format!("{page}/continue")).await;
    assert_eq!((status, &next["state"]), (200, &json!("token_acquired")));
    let url = next["consent_url"].as_str().unwrap();
    let (status, to) = wizard.lab.consent(url, &[("decision", "cancel")]).await;
    assert_eq!((status, to), (303, format!("http://localhost{page}")));
    let (_, now) = wizard.public("GET", &page).await;
    assert_eq!(now["state"], "token_acquired", "{now}");
    assert!(now["failure"].is_object(), "{now}");

    wizard.consent(&page).await;
    let (_, now) = wizard.public("GET", &page).await;
    assert_eq!(now["state"], "authentication_complete");
    wizard.lab.close().await;
}

/// In a browser the page has a field for the code; a wrong one is told on the page, the right one leads on.
#[tokio::test]
async fn the_page_takes_the_code_without_a_script() {
    let wizard = Wizard::start().await;
    let (_, _, letter) = invited(&wizard).await;
    let (page, right) = (link(&letter), code_in(&letter));
    let url = format!("http://{}{page}", wizard.lab.sbc.listening().admin);
    let html = |request: reqwest::RequestBuilder| request.header("accept", "text/html");
    let shown = html(wizard.lab.client.get(&url)).send().await.unwrap();
    let text = shown.text().await.unwrap();
    assert!(text.contains("Invitation Code") && !text.contains("Start authentication"));
    let post = async |code: &str| {
        let request = wizard.lab.client.post(&url).body(format!("code={code}"));
        let kind = "application/x-www-form-urlencoded";
        html(request.header("content-type", kind))
            .send()
            .await
            .unwrap()
    };
    let wrong = post("nothing").await;
    assert_eq!(wrong.status(), 401);
    assert!(wrong.text().await.unwrap().contains("the code is wrong"));
    let good = post(&right).await;
    assert_eq!(
        (
            good.status().as_u16(),
            good.headers()["location"].to_str().unwrap()
        ),
        (303, page.as_str())
    );
    let shown = html(wizard.lab.client.get(&url)).send().await.unwrap();
    assert!(shown.text().await.unwrap().contains("Start authentication"));
    wizard.lab.close().await;
}
