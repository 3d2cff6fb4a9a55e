//! A customer's Global Administrator activates its account, or does it by hand: what the account and its gateways then say,
//! and which calls pass.

use serde_json::{Value, json};
use time::Duration;
use tollgate::emulate::microsoft::{Domain, Rule};
use tollgate::emulate::{CallError, EmuCall};
use tollgate::store::AccessRole;
use uuid::Uuid;

use crate::api::events::Heard;

use super::activation_lab::{ACCEPTED, Lab, Setup, TENANT, fqdn};

async fn refused(call: &EmuCall) -> u16 {
    match call.answered().await {
        Err(CallError::Ended(ended)) => ended.status,
        other => panic!("{other:?}"),
    }
}

fn code(problem: &Value) -> &str {
    problem["code"].as_str().unwrap_or_default()
}

async fn two_regions() -> Lab {
    Lab::start(Setup {
        regions: 2,
        teams_bridge: true,
    })
    .await
}

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

/// Every step at Microsoft in its order, the text in DNS before Microsoft is asked to look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_07_the_automatic_way_takes_every_step_in_order() {
    let lab = Lab::plain().await;
    lab.activate().await;
    let now = lab.until_state("active").await;
    let asked = lab.asked();
    let name = fqdn(1);
    let steps = [
        "POST /graph/v1.0/domains".to_owned(),
        format!("GET /graph/v1.0/domains/{name}/verificationDnsRecords"),
        format!("POST /graph/v1.0/domains/{name}/verify"),
        "POST /graph/v1.0/users".to_owned(),
        "/assignLicense".to_owned(),
        "POST /teams/voiceRoutes".to_owned(),
        format!("GET /{name}/v2.0/.well-known/openid-configuration"),
    ];
    let places: Vec<_> = steps
        .iter()
        .map(|step| {
            asked
                .iter()
                .position(|one| one == step || one.ends_with(step) && step.starts_with('/'))
        })
        .collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{places:?} {asked:#?}"
    );
    let text = lab.microsoft.change(|world| {
        world.tenant(&TENANT.to_string()).unwrap().domains[&name]
            .text
            .clone()
    });
    assert_eq!(lab.names.texts(&name), [text]);
    assert_eq!(
        lab.names.addresses(&name),
        1,
        "the wildcard no longer speaks for it (TDR-108)"
    );
    assert!(now["finished_at"].is_string() && now["can_activate"] == false);
    let kinds: Vec<_> = now["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        (kinds.first(), kinds.last()),
        (Some(&"activation.started"), Some(&"customer.activated"))
    );
    lab.close().await;
}

/// What was begun goes on after a restart where it was, and nothing that was done is done again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_07_it_goes_on_after_a_restart() {
    let lab = Lab::plain().await;
    lab.microsoft.plant(Rule {
        method: "POST".to_owned(),
        path: "/assignLicense".to_owned(),
        times: 1,
        status: Some(503),
        headers: Default::default(),
        body: Value::Null,
        delay_ms: 0,
    });
    lab.activate().await;
    lab.until("waits", |now| {
        now["step"] == "license_assigned" && now["attempt"] == 1
    })
    .await;
    let before = lab.asked().len();
    let lab = lab.restarted().await;
    assert_eq!(lab.now().await["step"], "license_assigned");
    lab.sbc.clock().advance(Duration::minutes(1));
    lab.until_state("active").await;
    let again = &lab.asked()[before..];
    assert!(
        again.iter().all(|asked| !asked.contains("/domains")),
        "{again:?}"
    );
    lab.close().await;
}

/// While it runs it says which step it is at and since when, there is nothing to press, and no gateway is active. Microsoft
/// asks for two minutes of rest, and gets them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_09_while_it_runs_it_tells_where_it_is() {
    let lab = Lab::plain().await;
    lab.microsoft.plant(Rule {
        method: "POST".to_owned(),
        path: "/verify".to_owned(),
        times: 1,
        status: Some(429),
        headers: [("retry-after".to_owned(), "600".to_owned())].into(),
        body: Value::Null,
        delay_ms: 0,
    });
    lab.activate().await;
    let now = lab
        .until("waits", |now| {
            now["step"] == "verifying" && now["attempt"] == 1
        })
        .await;
    assert_eq!(
        (&now["state"], &now["can_activate"], &now["error"]["code"]),
        (&json!("activating"), &json!(false), &json!("throttled"))
    );
    assert!(now["started_at"].is_string());
    assert_eq!(now["gateways"][0]["state"], "dns_published");
    let verifies = || {
        lab.asked()
            .iter()
            .filter(|asked| asked.ends_with("/verify"))
            .count()
    };
    lab.sbc.clock().advance(Duration::minutes(8));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(
        verifies(),
        1,
        "not before the ten minutes that Microsoft asked for"
    );
    lab.sbc.clock().advance(Duration::minutes(3));
    lab.until_state("active").await;
    assert_eq!(verifies(), 2);
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

/// After it every gateway is active, in each region; two regions take two licences.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_11_every_gateway_is_active_afterwards() {
    let lab = two_regions().await;
    lab.activate().await;
    lab.until_state("active").await;
    let states: Vec<_> = lab
        .gateways()
        .await
        .iter()
        .map(|gateway| gateway["state"].clone())
        .collect();
    assert_eq!(states, ["active", "active"]);
    let users = lab
        .microsoft
        .change(|world| world.tenant(&TENANT.to_string()).unwrap().users.clone());
    let licensed: Vec<_> = users
        .iter()
        .filter(|user| !user.licenses.is_empty())
        .map(|user| user.upn.clone())
        .collect();
    assert_eq!(
        licensed,
        [
            format!("activation@{}", fqdn(1)),
            format!("activation@{}", fqdn(2))
        ]
    );
    lab.close().await;
}

/// A call from Teams to the gateway's name is refused before, and reaches the carrier afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_12_calls_from_teams_pass_when_active() {
    let lab = Lab::plain().await;
    assert_eq!(refused(&lab.call_from_teams().await).await, 403);
    lab.activate().await;
    lab.until_state("active").await;
    let call = lab.call_from_teams().await;
    call.answered().await.unwrap();
    let far = lab.carrier.incoming().await.unwrap();
    call.bye().await;
    far.ended().await.unwrap();
    lab.close().await;
}

/// A carrier's call to the customer's number hears 480 before; afterwards it arrives at Teams in the gateway's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_13_calls_of_a_carrier_pass_when_active() {
    let lab = Lab::plain().await;
    assert_eq!(refused(&lab.call_from_carrier().await).await, 480);
    lab.activate().await;
    lab.until_state("active").await;
    let call = lab.call_from_carrier().await;
    call.answered().await.unwrap();
    let far = lab.teams.incoming().await.unwrap();
    let contact = far
        .invite()
        .lines()
        .find(|line| line.starts_with("Contact:"))
        .unwrap_or_default()
        .to_owned();
    assert!(contact.contains(&fqdn(1)), "{contact}");
    call.bye().await;
    far.ended().await.unwrap();
    lab.close().await;
}

/// By hand: gateways take codes, which they do not otherwise, and a start leads nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_15_the_manual_way_takes_codes_and_no_consent() {
    let lab = Lab::plain().await;
    let (status, problem) = lab.give_code(0, "MS=ms12345678").await;
    assert_eq!((status, code(&problem)), (409, "not_manual"));
    let (status, now) = lab.activation("PUT", json!({ "method": "manual" })).await;
    assert_eq!(
        (status, &now["gateways"][0]["state"]),
        (200, &json!("code_missing"))
    );
    let (status, problem) = lab.give_code(0, "MS=mx12345678").await;
    assert_eq!(
        (status, &problem["errors"][0]["code"]),
        (422, &json!("bad_code"))
    );
    let (status, gateway) = lab.give_code(0, "MS=ms12345678").await;
    assert_eq!(
        (status, &gateway["verification_code"]),
        (200, &json!("MS=ms12345678"))
    );
    let (status, body) = lab.activation("POST", Value::Null).await;
    assert_eq!((status, &body["consent_url"]), (202, &Value::Null));
    let (status, problem) = lab.give_code(0, "MS=ms87654321").await;
    assert_eq!((status, code(&problem)), (409, "activation_started"));
    let record = format!("{}. 300 IN TXT \"MS=ms12345678\"", fqdn(1));
    assert_eq!(lab.now().await["gateways"][0]["dns_record"], record);
    let path = format!(
        "/api/v1/customers/{}/gateways/{}/powershell",
        lab.customer,
        gateway["id"].as_str().unwrap()
    );
    let (status, script) = lab.send("GET", &path, Value::Null).await;
    let script = script.as_str().unwrap();
    assert!(status == 200 && script.contains(&format!("Confirm-MgDomain -DomainId {}", fqdn(1))));
    assert!(script.contains("New-CsOnlineVoiceRoute"));
    lab.close().await;
}

/// The method is chosen before it begins: running or done, by either way, it is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_16_the_method_is_frozen_by_the_start() {
    for method in ["automatic", "manual"] {
        let lab = Lab::plain().await;
        let other = json!({ "method": if method == "manual" { "automatic" } else { "manual" } });
        let frozen = async |when: &str| {
            let (status, problem) = lab.activation("PUT", other.clone()).await;
            assert_eq!(
                (status, code(&problem)),
                (409, "activation_started"),
                "{method}, {when}"
            );
        };
        lab.activation("PUT", json!({ "method": method })).await;
        if method == "manual" {
            lab.give_code(0, "MS=ms12345678").await;
            lab.activation("POST", Value::Null).await;
            frozen("running").await;
            verified_at_microsoft(&lab, "MS=ms12345678");
            prove(&lab).await;
        } else {
            let (_, body) = lab.activation("POST", Value::Null).await;
            frozen("running").await;
            lab.consent(body["consent_url"].as_str().unwrap(), &ACCEPTED)
                .await;
        }
        lab.until_state("active").await;
        frozen("active").await;
        lab.close().await;
    }
}

/// With a code missing, a start names whose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_19_a_missing_code_is_named() {
    let lab = two_regions().await;
    lab.activation("PUT", json!({ "method": "manual" })).await;
    lab.give_code(0, "MS=ms11111111").await;
    let (status, problem) = lab.activation("POST", Value::Null).await;
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!((status, code(&problem)), (409, "codes_missing"));
    assert!(
        detail.contains(&fqdn(2)) && !detail.contains(&fqdn(1)),
        "{detail}"
    );
    lab.close().await;
}

/// Each name shows its own code and nothing else in DNS, and nothing any more when the activation is undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_20_each_name_shows_its_own_code() {
    let lab = two_regions().await;
    lab.activation("PUT", json!({ "method": "manual" })).await;
    lab.give_code(0, "MS=ms11111111").await;
    lab.give_code(1, "MS=ms22222222").await;
    lab.activation("POST", Value::Null).await;
    lab.until("published", |now| now["step"] == "awaiting_admin_center")
        .await;
    assert_eq!(lab.names.texts(&fqdn(1)), ["MS=ms11111111"]);
    assert_eq!(lab.names.texts(&fqdn(2)), ["MS=ms22222222"]);
    let states: Vec<_> = lab
        .gateways()
        .await
        .iter()
        .map(|gateway| gateway["state"].clone())
        .collect();
    assert_eq!(states, ["dns_published", "dns_published"]);
    assert_eq!(lab.activation("DELETE", Value::Null).await.0, 202);
    lab.until_state("inactive").await;
    assert!(lab.names.texts(&fqdn(1)).is_empty() && lab.names.texts(&fqdn(2)).is_empty());
    lab.close().await;
}

/// By hand nothing is asked of Microsoft that needs anybody's consent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_21_by_hand_nothing_is_done_at_microsoft() {
    let lab = Lab::plain().await;
    by_hand(&lab).await;
    verified_at_microsoft(&lab, "MS=ms12345678");
    prove(&lab).await;
    lab.until_state("active").await;
    let asked = lab.asked();
    assert!(
        !asked.is_empty()
            && asked
                .iter()
                .all(|asked| asked.ends_with("/openid-configuration")),
        "{asked:?}"
    );
    lab.close().await;
}

/// Nobody tells us: the domain becomes known at Microsoft, Teams calls, and the account is active. Polls come after five
/// minutes; a call before the domain is known is refused; the first one after it passes, and an event tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_22_by_hand_it_becomes_active_by_itself() {
    let lab = Lab::plain().await;
    by_hand(&lab).await;
    assert_eq!(refused(&lab.call_from_teams().await).await, 403);
    verified_at_microsoft(&lab, "MS=ms12345678");
    lab.sbc.clock().advance(Duration::minutes(5));
    lab.until("verified", |now| now["gateways"][0]["state"] == "verified")
        .await;
    assert_eq!(lab.now().await["state"], "activating");
    assert_eq!(
        refused(&lab.call_from_carrier().await).await,
        480,
        "calls of carriers wait for the proof"
    );
    let call = lab.call_from_teams().await;
    call.answered().await.unwrap();
    let far = lab.carrier.incoming().await.unwrap();
    let now = lab.until_state("active").await;
    assert_eq!(now["gateways"][0]["state"], "active");
    call.bye().await;
    far.ended().await.unwrap();
    let (_, events) = lab
        .send("GET", "/api/v1/events?limit=500", Value::Null)
        .await;
    let activated = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "customer.activated");
    assert_eq!(activated.count(), 1);
    let url = format!("http://{}/api/v1/events", lab.sbc.listening().admin);
    let stranger = lab
        .sbc
        .store()
        .tokens()
        .create("else", AccessRole::CustomerAdmin, Some(Uuid::nil()), None)
        .await;
    let stranger = stranger.unwrap().text.expose().to_owned();
    let stream = lab
        .client
        .get(url)
        .bearer_auth(stranger)
        .header("accept", "text/event-stream");
    let mut heard = Heard::of(stream).await;
    // What there is comes in one piece with it.
    heard.until("retry: 1000\n\n").await;
    assert_eq!(
        heard.text, "retry: 1000\n\n",
        "another customer hears nothing of it"
    );
    lab.close().await;
}

/// Two gateways by hand: the first that is proven lets calls pass, the account is whole when the other one is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_22_one_gateway_is_enough_for_calls() {
    let lab = two_regions().await;
    lab.activation("PUT", json!({ "method": "manual" })).await;
    lab.give_code(0, "MS=ms12345678").await;
    lab.give_code(1, "MS=ms22222222").await;
    lab.activation("POST", Value::Null).await;
    lab.until("published", |now| now["attempt"] == 1).await;
    verified_at_microsoft(&lab, "MS=ms12345678");
    prove(&lab).await;
    let now = lab.until_state("degraded").await;
    assert_eq!(now["error"]["code"], "gateways_unproven");
    let path = format!("/api/v1/customers/{}", lab.customer);
    assert_eq!(
        lab.send("GET", &path, Value::Null).await.1["activation_state"],
        "degraded"
    );
    let call = lab.call_from_carrier().await;
    call.answered().await.unwrap();
    call.bye().await;
    lab.close().await;
}

/// Without a free licence it fails and says which were looked at; with one, a start goes on at that step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_29_without_a_licence_it_fails_and_resumes() {
    let lab = Lab::plain().await;
    let units = |units| {
        lab.microsoft
            .change(|world| world.tenant(&TENANT.to_string()).unwrap().skus[0].units = units);
    };
    units(0);
    lab.activate().await;
    let now = lab.until_state("failed").await;
    assert_eq!(
        (&now["step"], &now["error"]["code"]),
        (&json!("license_assigned"), &json!("no_license_available"))
    );
    assert!(
        now["error"]["detail"]
            .as_str()
            .unwrap()
            .contains("SPE_E5 (0 free)")
    );
    assert_eq!(now["can_activate"], true);
    let before = lab.asked().len();
    units(1);
    let (status, body) = lab.activation("POST", Value::Null).await;
    assert_eq!(
        (status, &body["activation"]["step"]),
        (202, &json!("license_assigned"))
    );
    lab.until_state("active").await;
    let again = &lab.asked()[before..];
    assert!(
        again
            .iter()
            .all(|asked| !asked.contains("/domains") && asked != "POST /graph/v1.0/users"),
        "{again:?}"
    );
    lab.close().await;
}

/// A name that another organisation has is nobody else's: it fails for good, and the gateway says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_29_a_domain_of_another_tenant_fails_for_good() {
    let lab = Lab::plain().await;
    lab.microsoft.change(|world| {
        let other = world.tenant("other.onmicrosoft.com").unwrap();
        let domain = Domain {
            text: String::new(),
            verified: true,
        };
        other.domains.insert(fqdn(1), domain);
    });
    lab.activate().await;
    let now = lab.until_state("failed").await;
    assert_eq!(now["error"]["code"], "domain_in_other_tenant");
    assert_eq!(
        (&now["gateways"][0]["state"], &now["gateways"][0]["error"]),
        (&json!("error"), &json!("domain_in_other_tenant"))
    );
    lab.close().await;
}

/// Where nothing runs PowerShell for us, the administrator sets the route by the script, and the first call ends the wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_07_without_powershell_the_first_call_ends_it() {
    let lab = Lab::start(Setup {
        regions: 1,
        teams_bridge: false,
    })
    .await;
    lab.activate().await;
    let now = lab
        .until("waits", |now| {
            now["step"] == "awaiting_admin_center" && now["attempt"] == 1
        })
        .await;
    assert_eq!(
        (&now["state"], &now["gateways"][0]["state"]),
        (&json!("activating"), &json!("verified"))
    );
    let call = lab.call_from_teams().await;
    call.answered().await.unwrap();
    lab.until_state("active").await;
    call.bye().await;
    lab.close().await;
}

/// A domain that leaves the tenant is noticed within a day: calls go on, the account says so, and recovers with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o_11_a_lost_domain_degrades_the_account() {
    let lab = Lab::plain().await;
    lab.activate().await;
    lab.until_state("active").await;
    let verified = |verified| {
        lab.microsoft.change(|world| {
            let home = world.tenant(&TENANT.to_string()).unwrap();
            home.domains.get_mut(&fqdn(1)).unwrap().verified = verified;
        });
    };
    verified(false);
    lab.sbc.clock().advance(Duration::hours(25));
    let now = lab.until_state("degraded").await;
    assert_eq!(now["error"]["code"], "domain_lost");
    let call = lab.call_from_teams().await;
    call.answered().await.unwrap();
    call.bye().await;
    verified(true);
    lab.sbc.clock().advance(Duration::hours(2));
    lab.until_state("active").await;
    lab.close().await;
}

/// The first part of the manual way: a code, published.
async fn by_hand(lab: &Lab) {
    lab.activation("PUT", json!({ "method": "manual" })).await;
    lab.give_code(0, "MS=ms12345678").await;
    let (status, body) = lab.activation("POST", Value::Null).await;
    assert_eq!(status, 202, "{body}");
    lab.until("waits", |now| {
        now["step"] == "awaiting_admin_center" && now["attempt"] == 1
    })
    .await;
}

/// What the administrator does in Microsoft's admin center.
fn verified_at_microsoft(lab: &Lab, text: &str) {
    lab.microsoft.change(|world| {
        let domain = Domain {
            text: text.to_owned(),
            verified: true,
        };
        world
            .tenant(&TENANT.to_string())
            .unwrap()
            .domains
            .insert(fqdn(1), domain);
    });
}

/// A poll, and the first call from Teams.
async fn prove(lab: &Lab) {
    lab.until("waits", |now| {
        now["step"] == "awaiting_admin_center" && now["attempt"] != 0
    })
    .await;
    lab.sbc.clock().advance(Duration::minutes(5));
    lab.until("verified", |now| now["gateways"][0]["state"] == "verified")
        .await;
    let call = lab.call_from_teams().await;
    call.answered().await.unwrap();
    call.bye().await;
}
