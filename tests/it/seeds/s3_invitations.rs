//! Invitations with consent and the upgrade, as the wizard of the third seed has them, over HTTP against a running SBC.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::store::AccessRole;
use uuid::Uuid;

use super::activation_lab::TENANT_NAME;
use super::code;
use super::wizard::{Wizard, draft, page, token};

/// nobody has signed in, so nothing is upgraded.
#[tokio::test]
async fn a_07_an_upgrade_waits_for_the_authentication() {
    let wizard = Wizard::start().await;
    let upgrade = wizard.service("contoso-1").await;
    let (status, body) = wizard.send("POST", &upgrade, Value::Null).await;
    assert_eq!((status, code(&body)), (409, "upgrade_incomplete"));
    let entered = wizard.enter(&upgrade, json!({})).await;
    assert_eq!(entered["step"], "awaiting_authentication");
    let (status, body) = wizard.send("POST", &upgrade, Value::Null).await;
    assert_eq!((status, code(&body)), (409, "authentication_incomplete"));
    wizard.sign_in(&page(&entered["invitation"])).await;
    let (status, body) = wizard.send("POST", &upgrade, Value::Null).await;
    assert_eq!(
        (status, code(&body)),
        (409, "authentication_incomplete"),
        "no consent yet"
    );
    assert!(wizard.trunks().await.is_empty());
    wizard.lab.close().await;
}

/// the letter goes to the address that was given, with the link.
#[tokio::test]
async fn a_08_the_link_is_sent() {
    let wizard = Wizard::start().await;
    let upgrade = wizard.service("contoso-1").await;
    let no_address = json!({ "send_link": true });
    let mut bad = draft(&upgrade);
    bad.as_object_mut()
        .unwrap()
        .extend(no_address.as_object().unwrap().clone());
    let (status, body) = wizard.send("PUT", &upgrade, bad).await;
    assert_eq!(
        (status, &body["errors"][0]["field"]),
        (422, &json!("invitee.email"))
    );
    let to = json!({ "send_link": true, "invitee": { "email": "it@contoso.example" } });
    let entered = wizard.enter(&upgrade, to.clone()).await;
    assert_eq!(entered["invitation"]["email_sent"], "queued");
    let invitation = invitation(&wizard, &entered, |now| now["email_sent"] == "sent").await;
    assert_eq!(
        (
            &invitation["email_sent_count"],
            &invitation["email_attempts"]
        ),
        (&json!(1), &json!(1))
    );
    let letters = wizard.mail.letters();
    assert_eq!(
        (letters.len(), letters[0].to.as_str()),
        (1, "it@contoso.example")
    );
    let link = invitation["auth_url"].as_str().unwrap();
    assert!(letters[0].text.contains(link), "{}", letters[0].text);
    wizard.enter(&upgrade, to).await;
    wizard.lab.sbc.clock().advance(time::Duration::HOUR);
    assert_eq!(
        wizard.mail.letters().len(),
        1,
        "the same once more sends nothing"
    );
    wizard.lab.close().await;
}

/// Waits until an invitation is as it should be.
async fn invitation(wizard: &Wizard, entered: &Value, is: impl Fn(&Value) -> bool) -> Value {
    let id = entered["invitation"]["id"].as_str().unwrap();
    let mut last = Value::Null;
    for _ in 0..400 {
        last = wizard
            .send("GET", &format!("/invitations/{id}"), Value::Null)
            .await
            .1;
        if is(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never so: {last:#}");
}

/// a server that does not take it is asked again once a minute; each try is counted, and who runs the place hears of it.
#[tokio::test]
async fn a_09_a_letter_is_tried_again() {
    let wizard = Wizard::start().await;
    wizard.mail.refuse(true);
    let upgrade = wizard.service("contoso-1").await;
    let to = json!({ "send_link": true, "invitee": { "email": "it@contoso.example" } });
    let entered = wizard.enter(&upgrade, to).await;
    for attempts in 1..=3 {
        let now = invitation(&wizard, &entered, |now| now["email_attempts"] == attempts).await;
        assert_eq!(now["email_sent"], "queued");
        assert!(
            now["email_error"].as_str().unwrap().contains("451"),
            "{now}"
        );
        let alarms = wizard.alarms().await;
        assert!(alarms.contains(&"mail_refused".to_owned()), "{alarms:?}");
        wizard.lab.sbc.clock().advance(time::Duration::seconds(30));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = invitation(&wizard, &entered, |_| true).await;
        assert_eq!(
            now["email_attempts"], attempts,
            "half a minute is too early"
        );
        if attempts == 3 {
            wizard.mail.refuse(false);
        }
        wizard.lab.sbc.clock().advance(time::Duration::seconds(31));
    }
    let sent = invitation(&wizard, &entered, |now| now["email_sent"] == "sent").await;
    assert_eq!(
        (&sent["email_attempts"], &sent["email_error"]),
        (&json!(4), &Value::Null)
    );
    let alarms = wizard.alarms().await;
    assert!(!alarms.contains(&"mail_refused".to_owned()), "{alarms:?}");
    let (_, events) = wizard
        .lab
        .send_as(
            &wizard.carrier,
            "GET",
            "/api/v1/events?limit=500",
            Value::Null,
        )
        .await;
    let kinds: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["kind"].as_str().unwrap())
        .collect();
    let count = |kind: &str| kinds.iter().filter(|k| **k == kind).count();
    assert_eq!(
        (count("mail.delayed"), count("mail.sent")),
        (1, 1),
        "{kinds:?}"
    );
    wizard.lab.close().await;
}

/// the link opens the wizard, with no letter and no token, also in a browser; another text opens nothing.
#[tokio::test]
async fn a_10_the_link_opens_the_wizard() {
    let wizard = Wizard::start().await;
    let upgrade = wizard.service("contoso-1").await;
    let entered = wizard.enter(&upgrade, json!({})).await;
    assert_eq!(entered["invitation"]["email_sent"], "not_requested");
    assert_eq!(entered["invitation"]["state"], "created");
    let page = page(&entered["invitation"]);
    let (status, shown) = wizard.public("GET", &page).await;
    assert_eq!(
        (status, &shown["state"], &shown["customer"]),
        (200, &json!("opened"), &json!("Contoso"))
    );
    let url = format!("http://{}{page}", wizard.lab.sbc.listening().admin);
    let browser = wizard
        .lab
        .client
        .get(&url)
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(browser.headers()["cache-control"], "no-store");
    assert!(
        browser
            .text()
            .await
            .unwrap()
            .contains("Start authentication")
    );
    assert_eq!(wizard.public("GET", "/invite/nobody").await.0, 404);
    assert_eq!(
        wizard
            .public("POST", "/invite/nobody/start-authentication")
            .await
            .0,
        404
    );
    assert!(wizard.mail.letters().is_empty());
    wizard.lab.close().await;
}

/// the code is shown, and typed at Microsoft it yields a token; asked for twice it is the same one.
#[tokio::test]
async fn a_11_a_typed_code_yields_a_token() {
    let wizard = Wizard::start().await;
    let upgrade = wizard.service("contoso-1").await;
    let page = page(&wizard.enter(&upgrade, json!({})).await["invitation"]);
    let start = format!("{page}:start-authentication");
    let (status, started) = wizard.public("POST", &start).await;
    assert_eq!((status, &started["interval"]), (200, &json!(5)));
    let (_, again) = wizard.public("POST", &start).await;
    assert_eq!(again["user_code"], started["user_code"]);
    assert_eq!(
        wizard.public("GET", &page).await.1["sign_in"]["user_code"],
        started["user_code"]
    );
    wizard.type_code(&started, TENANT_NAME, "accept").await;
    let now = wizard
        .until(&page, |now| now["state"] == "token_acquired")
        .await;
    assert_eq!(
        (&now["sign_in"], &now["failure"]),
        (&Value::Null, &Value::Null)
    );
    let kept = wizard
        .lab
        .sbc
        .store()
        .tenant_token(wizard.lab.customer)
        .await
        .unwrap();
    assert!(kept.is_some());
    wizard.lab.close().await;
}

/// Whoever declines, comes from another tenant or is another account than the invited one has not signed in, and can try
/// again.
#[tokio::test]
async fn a_11_another_sign_in_does_not_count() {
    let wizard = Wizard::start().await;
    let upgrade = wizard.service("contoso-1").await;
    let invitee = json!({ "invitee": { "admin_email": "boss@contoso.example" } });
    let page = page(&wizard.enter(&upgrade, invitee).await["invitation"]);
    for (tenant, decision, why) in [
        (TENANT_NAME, "cancel", "sign_in_declined"),
        ("other.onmicrosoft.com", "accept", "tenant_mismatch"),
        (TENANT_NAME, "accept", "wrong_account"),
    ] {
        let (_, started) = wizard
            .public("POST", &format!("{page}/start-authentication"))
            .await;
        wizard.type_code(&started, tenant, decision).await;
        let now = wizard
            .until(&page, |now| now["failure"]["code"] == why)
            .await;
        assert_eq!(
            (&now["state"], &now["device_authenticated"]),
            (&json!("opened"), &json!(false))
        );
    }
    let kept = wizard
        .lab
        .sbc
        .store()
        .tenant_token(wizard.lab.customer)
        .await
        .unwrap();
    assert!(kept.is_none(), "nothing is stored of them");
    let (status, body) = wizard.public("POST", &format!("{page}/continue")).await;
    assert_eq!((status, code(&body)), (409, "not_signed_in"));
    wizard.lab.close().await;
}

/// The first connection to the tenant demands consent, and the service is ready then; a second service of the
/// same tenant needs the sign-in only.
#[tokio::test]
async fn a_16_a_18_only_the_first_connection_demands_consent() {
    let wizard = Wizard::start().await;
    let first = wizard.service("contoso-1").await;
    let entered = wizard.enter(&first, json!({})).await;
    let way = page(&entered["invitation"]);
    let now = wizard.sign_in(&way).await;
    assert_eq!(now["state"], "token_acquired");
    // The organisation says no first: the error wins over admin_consent=True.
    let (_, next) = wizard.public("POST", &format!("{way}/continue")).await;
    let url = next["consent_url"].as_str().unwrap();
    assert_eq!(
        wizard.lab.consent(url, &[("decision", "cancel")]).await.0,
        303
    );
    let (_, now) = wizard.public("GET", &way).await;
    assert_eq!(
        (&now["state"], &now["failure"]["code"]),
        (&json!("token_acquired"), &json!("consent_declined"))
    );
    wizard.consent(&way).await;
    let (_, now) = wizard.public("GET", &way).await;
    assert_eq!(
        (&now["state"], &now["failure"]),
        (&json!("authentication_complete"), &Value::Null)
    );
    let (_, shown) = wizard.send("GET", &first, Value::Null).await;
    assert_eq!(
        (&shown["step"], &shown["invitation"]["state"]),
        (
            &json!("ready_to_upgrade"),
            &json!("authentication_complete")
        )
    );

    let second = wizard.service("contoso-2").await;
    let way = page(&wizard.enter(&second, json!({})).await["invitation"]);
    wizard.sign_in(&way).await;
    wizard
        .until(&way, |now| now["state"] == "authentication_complete")
        .await;
    let (_, shown) = wizard.send("GET", &second, Value::Null).await;
    assert_eq!(shown["step"], "ready_to_upgrade");
    wizard.lab.close().await;
}

/// the upgrade is a task that ends; the service has its licence, its users and one connection with the password
/// that was entered; the same request again and another one make no second connection.
#[tokio::test]
async fn a_19_the_upgrade_makes_one_connection() {
    let wizard = Wizard::start().await;
    let upgrade = wizard.service("contoso-1").await;
    wizard.authenticate(&upgrade).await;
    let generation = wizard.lab.sbc.store().directory().load().generation;
    let path = format!("/api/v1/customers/{}{upgrade}", wizard.lab.customer);
    let url = format!("http://{}{path}", wizard.lab.sbc.listening().admin);
    let post = async |key: &str| {
        let request = wizard.lab.client.post(&url).bearer_auth(&wizard.carrier);
        let answer = request.header("idempotency-key", key).send().await.unwrap();
        let location = answer
            .headers()
            .get("location")
            .map(|to| to.to_str().unwrap().to_owned());
        (
            answer.status().as_u16(),
            location,
            answer.json::<Value>().await.unwrap(),
        )
    };
    let (status, location, task) = post("one").await;
    assert_eq!((status, &task["kind"]), (202, &json!("upgrade")), "{task}");
    assert_eq!(
        location.unwrap(),
        format!("/api/v1/tasks/{}", task["id"].as_str().unwrap())
    );
    let done = wizard.task(&task).await;
    assert_eq!(done["state"], "succeeded", "{done}");
    assert_eq!(
        post("one").await.2["id"],
        task["id"],
        "the first answer again"
    );
    let (status, _, body) = post("two").await;
    assert_eq!((status, code(&body)), (409, "not_an_upgrade"));

    let trunks = wizard.trunks().await;
    assert_eq!(trunks.len(), 1);
    let service = upgrade.trim_end_matches("/upgrade");
    let (_, shown) = wizard.send("GET", service, Value::Null).await;
    assert_eq!(
        (
            &shown["state"],
            &shown["license_type"],
            &shown["licensed_users"]
        ),
        (&json!("deployed"), &json!("pro"), &json!(20))
    );
    assert_eq!(
        (&trunks[0]["service_id"], &trunks[0]["id"]),
        (&shown["id"], &done["result"]["trunk_id"])
    );
    let directory = wizard.lab.sbc.store().directory().load_full();
    assert_eq!(
        directory.generation,
        generation + 1,
        "calls see all of it at once"
    );
    let id: Uuid = trunks[0]["id"].as_str().unwrap().parse().unwrap();
    let trunk = directory.trunk(id).unwrap();
    assert_eq!(trunk.password.as_ref().unwrap().expose(), "s3same-s3same");
    wizard.lab.close().await;
}

/// what is kept of the sign-in is tried; taken back at Microsoft it is told, and an upgrade does not happen.
#[tokio::test]
async fn a_26_the_token_is_validated() {
    let wizard = Wizard::start().await;
    let upgrade = wizard.service("contoso-1").await;
    let validate = async || wizard.send("POST", "/m365/validate", Value::Null).await;
    assert_eq!(
        validate().await,
        (200, json!({ "valid": false, "code": "not_signed_in" }))
    );
    wizard.authenticate(&upgrade).await;
    for _ in 0..2 {
        let (status, body) = validate().await;
        assert_eq!((status, &body["valid"]), (200, &json!(true)), "{body}");
        let tenant = super::activation_lab::TENANT;
        assert_eq!(body["tenant_id"], tenant.to_string());
    }
    let gone = json!([{ "path": "/oauth2/v2.0/token", "times": 2, "status": 400,
        "body": { "error": "invalid_grant", "error_description": "AADSTS50173: revoked" } }]);
    let control = format!("{}/control/script", wizard.lab.microsoft.login_base());
    let planted = wizard
        .lab
        .client
        .post(control)
        .json(&gone)
        .send()
        .await
        .unwrap();
    assert_eq!(planted.status(), 204);
    assert_eq!(
        validate().await,
        (200, json!({ "valid": false, "code": "token_invalid" }))
    );
    let lost = "token_invalid".to_owned();
    let alarms = wizard.alarms().await;
    assert!(alarms.contains(&lost), "{alarms:?}");
    let (status, task) = wizard.send("POST", &upgrade, Value::Null).await;
    assert_eq!(status, 202, "{task}");
    let task = wizard.task(&task).await;
    assert_eq!(
        (&task["state"], &task["result"]["error"]["code"]),
        (&json!("failed"), &json!("token_invalid"))
    );
    let (_, shown) = wizard.send("GET", &upgrade, Value::Null).await;
    assert_eq!(shown["step"], "awaiting_authentication");
    assert!(wizard.trunks().await.is_empty(), "nothing of it holds");
    // Signed in anew it is ready again; the organisation has consented before.
    let way = page(&shown["invitation"]);
    assert_eq!(shown["invitation"]["failure"]["code"], "token_invalid");
    wizard.sign_in(&way).await;
    let is_complete = |now: &Value| now["state"] == "authentication_complete";
    wizard.until(&way, is_complete).await;
    let (_, shown) = wizard.send("GET", &upgrade, Value::Null).await;
    assert_eq!(shown["step"], "ready_to_upgrade");
    let alarms = wizard.alarms().await;
    assert!(!alarms.contains(&lost), "{alarms:?}");
    wizard.lab.close().await;
}

/// what was entered is there after everything was closed and started again, but for the password, and the wizard goes on
/// from there to the end.
#[tokio::test]
async fn a_28_the_wizard_is_resumed() {
    let mut wizard = Wizard::start().await;
    let upgrade = wizard.service("contoso-1").await;
    let entered = wizard.enter(&upgrade, json!({ "licensed_users": 7 })).await;
    wizard.lab = wizard.lab.restarted().await;
    let (_, shown) = wizard.send("GET", &upgrade, Value::Null).await;
    assert_eq!(shown["step"], "awaiting_authentication");
    assert_eq!(shown["draft"]["licensed_users"], 7);
    assert_eq!(shown["draft"]["connection"]["username"], "contoso");
    assert_eq!(shown["draft"]["connection"].get("password"), None);
    assert_eq!(
        (&shown["password_set"], &shown["invitation"]["id"]),
        (&json!(true), &entered["invitation"]["id"])
    );
    assert_eq!(
        shown["invitation"]["auth_url"],
        entered["invitation"]["auth_url"]
    );
    // What is entered again without the password keeps it.
    let mut draft = shown["draft"].clone();
    draft["licensed_users"] = json!(8);
    let (status, body) = wizard.send("PUT", &upgrade, draft).await;
    assert_eq!(
        (status, &body["password_set"]),
        (200, &json!(true)),
        "{body}"
    );
    let way = page(&shown["invitation"]);
    wizard.sign_in(&way).await;
    wizard.consent(&way).await;
    let (_, task) = wizard.send("POST", &upgrade, Value::Null).await;
    assert_eq!(wizard.task(&task).await["state"], "succeeded");
    let trunks = wizard.trunks().await;
    assert_eq!(trunks[0]["password_set"], true);
    wizard.lab.close().await;
}

/// What is wrong with a connection is told when it is entered, by its place; less than there is is no upgrade; and a way to
/// a carrier is the carrier's.
#[tokio::test]
async fn a_20_what_cannot_be_upgraded_is_told_at_once() {
    let wizard = Wizard::start().await;
    let upgrade = wizard.service("contoso-1").await;
    let mut bad = draft(&upgrade);
    bad["connection"]["host"] = json!("a b");
    let (status, body) = wizard.send("PUT", &upgrade, bad).await;
    assert_eq!(
        (status, &body["errors"][0]["field"]),
        (422, &json!("connection.host"))
    );
    let mut many = draft(&upgrade);
    many["licensed_users"] = json!(501);
    let (status, body) = wizard.send("PUT", &upgrade, many).await;
    assert_eq!(
        (status, &body["errors"][0]["code"]),
        (422, &json!("licensed_users_range"))
    );
    let mut same = draft(&upgrade);
    same["license_type"] = json!("essentials");
    let (status, body) = wizard.send("PUT", &upgrade, same).await;
    assert_eq!((status, code(&body)), (409, "not_an_upgrade"));
    assert!(
        wizard.trunks().await.is_empty(),
        "nothing of the rehearsal stays"
    );
    let (_, shown) = wizard.send("GET", &upgrade, Value::Null).await;
    assert_eq!(
        (&shown["draft"], &shown["step"]),
        (&Value::Null, &json!("onboarding"))
    );
    wizard.lab.close().await;
}

/// A link is taken back or sent anew: the old one leads nowhere, the new one does; not twice within a minute; and after its
/// time it is over until it is sent again.
#[tokio::test]
async fn a_link_is_revoked_resent_and_expires() {
    let wizard = Wizard::start().await;
    let upgrade = wizard.service("contoso-1").await;
    let to = json!({ "send_link": true, "invitee": { "email": "it@contoso.example" } });
    let entered = wizard.enter(&upgrade, to).await;
    let first = page(&entered["invitation"]);
    let place = format!(
        "/invitations/{}",
        entered["invitation"]["id"].as_str().unwrap()
    );
    let resend = format!("{place}:resend");
    let (status, body) = wizard.send("POST", &resend, Value::Null).await;
    assert_eq!((status, code(&body)), (429, "resend_too_early"));
    wizard.lab.sbc.clock().advance(time::Duration::seconds(61));
    let (status, again) = wizard.send("POST", &resend, Value::Null).await;
    assert_eq!(
        (status, &again["email_sent_count"]),
        (202, &json!(2)),
        "{again}"
    );
    let second = page(&again);
    assert_eq!(wizard.public("GET", &first).await.0, 410);
    assert_eq!(wizard.public("GET", &second).await.0, 200);
    invitation(&wizard, &entered, |now| now["email_sent"] == "sent").await;
    let letters = wizard.mail.letters();
    assert!(letters.last().unwrap().text.contains(&second));

    wizard.lab.sbc.clock().advance(time::Duration::days(8));
    let (status, body) = wizard.public("GET", &second).await;
    assert_eq!((status, code(&body)), (410, "invitation_over"));
    let (_, shown) = wizard.send("GET", &place, Value::Null).await;
    assert_eq!(
        (&shown["state"], &shown["auth_url"]),
        (&json!("expired"), &Value::Null)
    );
    let (_, again) = wizard.send("POST", &resend, Value::Null).await;
    let third = page(&again);
    assert_eq!(wizard.public("GET", &third).await.0, 200);
    assert_eq!(wizard.send("DELETE", &place, Value::Null).await.0, 204);
    assert_eq!(
        wizard
            .public("POST", &format!("{third}/start-authentication"))
            .await
            .0,
        410
    );
    wizard.lab.sbc.clock().advance(time::Duration::seconds(61));
    let (status, body) = wizard.send("POST", &resend, Value::Null).await;
    assert_eq!((status, code(&body)), (409, "invitation_over"));
    wizard.lab.close().await;
}

/// Invitations and upgrades are for who runs the customer: others are forbidden them, or do not find them.
#[tokio::test]
async fn invitations_are_for_who_runs_the_customer() {
    let wizard = Wizard::start().await;
    let lab = &wizard.lab;
    let upgrade = wizard.service("contoso-1").await;
    let entered = wizard.enter(&upgrade, json!({})).await;
    let invitation = format!(
        "/invitations/{}",
        entered["invitation"]["id"].as_str().unwrap()
    );
    let partner = json!({ "name": "p", "email": "p@partner.example", "offerings": ["trunk"], "state": "active" });
    let (_, partner) = lab
        .send_as(&wizard.carrier, "POST", "/api/v1/partners", partner)
        .await;
    let partner = partner["id"].as_str().unwrap().parse().unwrap();
    let own = token(lab, AccessRole::CustomerAdmin, Some(lab.customer)).await;
    let other = token(lab, AccessRole::PartnerAdmin, Some(partner)).await;
    let noc = token(lab, AccessRole::Noc, None).await;
    let at = |path: &str| format!("/api/v1/customers/{}{path}", lab.customer);
    for (method, path, body) in [
        ("GET", at(&upgrade), Value::Null),
        ("PUT", at(&upgrade), draft(&upgrade)),
        ("POST", at(&upgrade), Value::Null),
        ("GET", at("/invitations"), Value::Null),
        ("GET", at(&invitation), Value::Null),
        ("DELETE", at(&invitation), Value::Null),
        ("POST", at(&format!("{invitation}/resend")), Value::Null),
        ("POST", at("/m365/validate"), Value::Null),
    ] {
        for (token, status) in [(&own, 403), (&noc, 403), (&other, 404)] {
            let (got, answer) = lab.send_as(token, method, &path, body.clone()).await;
            assert_eq!(got, status, "{method} {path}: {answer}");
        }
    }
    wizard.lab.close().await;
}
