//! A customer that is inactive yet, its start, and the consent at Microsoft to which that leads.

use serde_json::{Value, json};
use time::Duration;

use super::super::activation_lab::{ACCEPTED, Lab, TENANT};
use super::code;

/// A new customer is inactive and can be activated, automatically unless it says otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_01_a_new_customer_is_inactive() {
    let lab = Lab::plain().await;
    let now = lab.now().await;
    assert_eq!(
        (&now["state"], &now["can_activate"], &now["method"]),
        (&json!("inactive"), &json!(true), &json!("automatic"))
    );
    lab.close().await;
}

/// A start answers where to consent: at Microsoft, for us, with a state that nobody guesses and that differs each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_02_a_start_leads_to_microsofts_consent_page() {
    let lab = Lab::plain().await;
    let mut states = Vec::new();
    for _ in 0..2 {
        let (status, body) = lab.activation("POST", Value::Null).await;
        assert_eq!(status, 200, "{body}");
        let url = reqwest::Url::parse(body["consent_url"].as_str().unwrap()).unwrap();
        assert!(url.as_str().starts_with(&format!(
            "{}/{TENANT}/oauth2/v2.0/authorize?",
            lab.microsoft.login_base()
        )));
        let query: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(query["client_id"], "11111111-2222-3333-4444-555555555555");
        assert_eq!(query["redirect_uri"], "http://localhost/oauth/callback");
        assert!(query["scope"].contains("https://graph.microsoft.com/.default"));
        assert_eq!(query["code_challenge_method"], "S256");
        assert_eq!(query["state"].len(), 43, "256 bits in base 64");
        states.push(query["state"].clone());
        assert_eq!(lab.activation("DELETE", Value::Null).await.0, 202);
    }
    assert_ne!(states[0], states[1]);
    lab.close().await;
}

/// Who declines comes back with `admin_consent=True` and an error: the error wins, and the account is inactive as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_04_who_declines_leaves_it_inactive() {
    let lab = Lab::plain().await;
    for field in ["admin_consent_url", "consent_url"] {
        let (_, body) = lab.activation("POST", Value::Null).await;
        let (status, to) = lab
            .consent(body[field].as_str().unwrap(), &[("decision", "cancel")])
            .await;
        assert_eq!(status, 302);
        assert!(
            to.ends_with("activation=inactive&error=consent_declined"),
            "{to}"
        );
        let now = lab.now().await;
        assert_eq!(
            (&now["state"], &now["error"]["code"]),
            (&json!("inactive"), &json!("consent_declined"))
        );
        assert_eq!(now["can_activate"], true);
    }
    assert!(
        lab.asked()
            .iter()
            .all(|asked| !asked.contains("/token") && !asked.contains("/graph/"))
    );
    lab.close().await;
}

/// A callback counts once, and only with the state that was sent along; a consent of another tenant stores nothing; who does
/// not come back within a quarter of an hour has to begin anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_04_a_callback_counts_once_and_for_the_right_tenant() {
    let lab = Lab::plain().await;
    let (status, _) = lab
        .come_back("http://localhost/oauth/callback?state=guessed&code=x")
        .await;
    assert_eq!(status, 410);

    let (_, body) = lab.activation("POST", Value::Null).await;
    let url = body["consent_url"].as_str().unwrap();
    let form = [
        ("decision", "accept"),
        ("organisation", "on"),
        ("as", "other.onmicrosoft.com"),
    ];
    let (_, to) = lab.consent(url, &form).await;
    assert!(
        to.ends_with("activation=inactive&error=tenant_mismatch"),
        "{to}"
    );
    assert_eq!(
        lab.sbc.store().tenant_token(lab.customer).await.unwrap(),
        None
    );
    let (status, _) = lab.consent(url, &ACCEPTED).await;
    assert_eq!(status, 410, "its state was used");

    let (_, body) = lab.activation("POST", Value::Null).await;
    let form = [ACCEPTED[0], ACCEPTED[1], ("administrator", "no")];
    let (_, to) = lab
        .consent(body["consent_url"].as_str().unwrap(), &form)
        .await;
    assert!(
        to.ends_with("activation=inactive&error=not_global_admin"),
        "{to}"
    );

    let (_, body) = lab.activation("POST", Value::Null).await;
    lab.sbc.clock().advance(Duration::minutes(15));
    let now = lab.until_state("inactive").await;
    assert_eq!(now["error"]["code"], "consent_expired");
    let (status, _) = lab
        .consent(body["consent_url"].as_str().unwrap(), &ACCEPTED)
        .await;
    assert_eq!(status, 410);
    lab.close().await;
}

/// Without the box "Consent on behalf of your organization" nothing goes on; with it, it does. An administrator's consent is
/// for the organisation by its nature.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_06_consent_for_one_user_is_not_enough() {
    let lab = Lab::plain().await;
    let (_, body) = lab.activation("POST", Value::Null).await;
    lab.consent(
        body["consent_url"].as_str().unwrap(),
        &[("decision", "accept")],
    )
    .await;
    let now = lab.until_state("consent_incomplete").await;
    assert_eq!(now["error"]["code"], "consent_incomplete");
    assert!(lab.asked().iter().all(|asked| !asked.contains("/domains")));
    lab.activate().await;
    lab.until_state("active").await;
    lab.close().await;

    let lab = Lab::plain().await;
    let (_, body) = lab.activation("POST", Value::Null).await;
    lab.consent(
        body["admin_consent_url"].as_str().unwrap(),
        &[("decision", "accept")],
    )
    .await;
    lab.until_state("active").await;
    lab.close().await;
}

/// A second start, and a start of who is active, are refused, each with its code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_10_it_is_started_once() {
    let lab = Lab::plain().await;
    let (_, body) = lab.activation("POST", Value::Null).await;
    let (status, problem) = lab.activation("POST", Value::Null).await;
    assert_eq!((status, code(&problem)), (409, "activation_started"));
    lab.consent(body["consent_url"].as_str().unwrap(), &ACCEPTED)
        .await;
    lab.until_state("active").await;
    let (status, problem) = lab.activation("POST", Value::Null).await;
    assert_eq!((status, code(&problem)), (409, "already_active"));
    lab.close().await;
}
