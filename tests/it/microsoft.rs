//! Our client of Microsoft's services against the emulated ones, over HTTP.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::directory::Secret;
use tollgate::emulate::microsoft as emulated;
use tollgate::microsoft::{
    Authorize, Config, DevicePoll, Fault, Login, Microsoft, NewUser, OperationState, Pkce, Roots,
    Tokens, VoiceRoute,
};
use uuid::Uuid;

const TENANT: Uuid = Uuid::from_u128(0x7e4a);
const NAME: &str = "contoso.onmicrosoft.com";
const CALLBACK: &str = "https://portal.example/oauth/callback";
const GATEWAY: &str = "contoso.sbc1.tollgate.test";

struct Lab {
    theirs: emulated::Microsoft,
    ours: Microsoft,
    browser: reqwest::Client,
}

impl Lab {
    async fn start() -> Self {
        let theirs = emulated::Microsoft::start(emulated::MicrosoftConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            client_id: "client".to_owned(),
            client_secret: "secret".to_owned(),
            redirect_uris: vec![CALLBACK.to_owned()],
            nameserver: None,
            tenants: vec![emulated::Tenant::new(TENANT, NAME)],
            script: Vec::new(),
        })
        .await
        .unwrap();
        let ours = Microsoft::new(config(&theirs)).unwrap();
        let browser = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            theirs,
            ours,
            browser,
        }
    }

    /// Somebody signs in at a page and decides: where they are sent back to.
    async fn decide(&self, url: &str, form: &'static str) -> reqwest::Url {
        let page = self
            .browser
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let action = page
            .split("action=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .replace("&amp;", "&");
        let url = format!("{}{action}", self.theirs.login_base());
        let back = self.browser.post(url).body(form).send().await.unwrap();
        back.headers()["location"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// A code for this challenge.
    async fn code(&self, pkce: &Pkce) -> String {
        let wanted = Authorize {
            tenant: NAME,
            redirect_uri: CALLBACK,
            scope: Login::GRAPH_SCOPE,
            state: "st&te",
            challenge: &pkce.challenge,
            prompt: None,
        };
        let url = self.ours.login().authorize_url(&wanted).unwrap();
        let back = self.decide(&url, "decision=accept&organisation=on").await;
        assert!(back.as_str().starts_with(CALLBACK));
        assert_eq!(field(&back, "state").unwrap(), "st&te");
        field(&back, "code").unwrap()
    }

    async fn signed_in(&self) -> Tokens {
        let pkce = Pkce::new([7; 32]);
        let code = self.code(&pkce).await;
        self.ours
            .login()
            .by_code(NAME, &code, CALLBACK, &pkce.verifier)
            .await
            .unwrap()
    }

    fn plant(&self, path: &str, status: u16, headers: &[(&str, &str)], body: Value) {
        self.theirs.plant(emulated::Rule {
            method: String::new(),
            path: path.to_owned(),
            times: 1,
            status: Some(status),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body,
            delay_ms: 0,
        });
    }
}

fn config(theirs: &emulated::Microsoft) -> Config {
    Config {
        login_base: theirs.login_base(),
        graph_base: theirs.graph_base(),
        teams_base: Some(theirs.teams_base()),
        client_id: "client".to_owned(),
        client_secret: Some(Secret::new("secret")),
        redirect_uri: CALLBACK.to_owned(),
        roots: Roots::BuiltIn,
        plain_http: true,
        timeout: Duration::from_secs(30),
    }
}

fn field(url: &reqwest::Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(given, _)| given == name)
        .map(|(_, value)| value.into_owned())
}

/// A name leads to its tenant, and nobody's name to none.
#[tokio::test]
async fn a_name_leads_to_its_tenant() {
    let lab = Lab::start().await;
    assert_eq!(lab.ours.login().tenant(NAME).await.unwrap(), TENANT);
    let error = lab.ours.login().tenant("nobody.example").await.unwrap_err();
    assert_eq!(
        (error.fault, error.code.as_deref()),
        (Fault::TenantNotFound, Some("AADSTS90002"))
    );
}

/// A code is good once, with its own verifier; what it brings is good for Graph, and renews itself once.
#[tokio::test]
async fn a_code_is_redeemed_once_and_by_whom_asked_for_it() {
    let lab = Lab::start().await;
    let (login, pkce) = (lab.ours.login(), Pkce::new([7; 32]));
    let code = lab.code(&pkce).await;
    let wrong = Pkce::new([8; 32]);
    let error = login
        .by_code(NAME, &code, CALLBACK, &wrong.verifier)
        .await
        .unwrap_err();
    assert_eq!(
        error.fault,
        Fault::TokenInvalid,
        "another browser's verifier"
    );
    let error = login
        .by_code(NAME, &code, CALLBACK, &pkce.verifier)
        .await
        .unwrap_err();
    assert_eq!(error.fault, Fault::TokenInvalid, "used");

    let tokens = lab.signed_in().await;
    let identity = tokens.identity.unwrap();
    assert_eq!(
        (identity.tenant_id, identity.global_administrator),
        (TENANT, Some(true))
    );
    let refresh = tokens.refresh.unwrap();
    let renewed = login
        .by_refresh(NAME, &refresh, Login::GRAPH_SCOPE)
        .await
        .unwrap();
    assert!(lab.ours.graph(&renewed.access).skus().await.unwrap()[0].has_teams);
    let error = login
        .by_refresh(NAME, &refresh, Login::GRAPH_SCOPE)
        .await
        .unwrap_err();
    assert_eq!(error.fault, Fault::TokenInvalid);
}

/// Without consent there is no token of our own; an administrator's consent is for everybody; a wrong secret is told as such.
#[tokio::test]
async fn our_own_token_needs_an_administrators_consent() {
    let lab = Lab::start().await;
    let login = lab.ours.login();
    let error = login
        .by_client_credentials(NAME, Login::APPLICATION_SCOPE)
        .await
        .unwrap_err();
    assert_eq!(error.fault, Fault::ConsentRequired);
    let url = login.admin_consent_url(NAME, CALLBACK, "s").unwrap();
    let back = lab.decide(&url, "decision=cancel").await;
    assert_eq!(
        field(&back, "admin_consent").as_deref(),
        Some("True"),
        "also where it was declined"
    );
    assert!(
        field(&back, "error_description")
            .unwrap()
            .starts_with("AADSTS65004")
    );
    let back = lab.decide(&url, "decision=accept").await;
    assert_eq!(field(&back, "tenant"), Some(TENANT.to_string()));
    let token = login
        .by_client_credentials(NAME, Login::APPLICATION_SCOPE)
        .await
        .unwrap()
        .access;
    let graph = lab.ours.graph(&token);
    let principal = graph.service_principal("client").await.unwrap().unwrap();
    assert!(graph.has_application_roles(&principal).await.unwrap());
    assert_eq!(graph.service_principal("o'ther").await.unwrap(), None);

    let ours = Config {
        client_secret: Some(Secret::new("guess")),
        ..config(&lab.theirs)
    };
    let ours = Microsoft::new(ours).unwrap();
    let error = ours
        .login()
        .by_client_credentials(NAME, Login::APPLICATION_SCOPE)
        .await
        .unwrap_err();
    assert_eq!(error.fault, Fault::AppSecretWrong);
    assert!(
        !format!("{error:?} {ours:?}").contains("guess"),
        "a secret is in no message"
    );
}

/// RFC 8628: waiting, then somebody types the code; another one is declined; a third is nobody's.
#[tokio::test]
async fn a_device_waits_for_somebody_to_type_its_code() {
    let lab = Lab::start().await;
    let login = lab.ours.login();
    let ask = async || {
        login
            .device_code("organizations", "offline_access")
            .await
            .unwrap()
    };
    let enter = async |code: &str, decision: &str| {
        let form = format!("user_code={code}&as={NAME}&decision={decision}");
        let url = format!("{}/devicelogin", lab.theirs.login_base());
        assert_eq!(
            lab.browser
                .post(url)
                .body(form)
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
    };
    let first = ask().await;
    assert_eq!((first.expires_in, first.interval), (900, 5));
    let poll = async |code| login.poll_device("organizations", code).await;
    assert!(matches!(
        poll(&first.device_code).await,
        Ok(DevicePoll::Pending)
    ));
    enter(&first.user_code, "accept").await;
    let Ok(DevicePoll::Done(tokens)) = poll(&first.device_code).await else {
        panic!("they signed in");
    };
    assert_eq!(tokens.identity.unwrap().tenant_id, TENANT);
    let second = ask().await;
    enter(&second.user_code, "cancel").await;
    assert!(matches!(
        poll(&second.device_code).await,
        Ok(DevicePoll::Declined)
    ));
    let stranger = Secret::new("nobody's");
    assert!(poll(&stranger).await.is_err());
    lab.plant("/token", 400, &[], json!({ "error": "slow_down" }));
    let third = ask().await;
    assert!(matches!(
        poll(&third.device_code).await,
        Ok(DevicePoll::SlowDown)
    ));
}

/// A domain, its user and licence, the route, a number and a policy; a second time each is there already.
#[tokio::test]
async fn a_gateway_is_set_up_through_graph() {
    let lab = Lab::start().await;
    let token = lab.signed_in().await.access;
    let graph = lab.ours.graph(&token);
    assert_eq!(graph.domain(GATEWAY).await.unwrap(), None);
    assert!(!graph.create_domain(GATEWAY).await.unwrap().is_verified);
    assert_eq!(
        graph.create_domain(GATEWAY).await.unwrap_err().fault,
        Fault::AlreadyExists
    );
    let long = format!("{}.{GATEWAY}", "a".repeat(48));
    assert_eq!(
        graph.create_domain(&long).await.unwrap_err().fault,
        Fault::DomainInvalid
    );
    let text = graph.verification_text(GATEWAY).await.unwrap().unwrap();
    assert!(text.starts_with("MS=ms") && text.len() == 13);

    let upn = format!("activation@{GATEWAY}");
    let new = NewUser {
        upn: &upn,
        display_name: "Gateway activation",
        usage_location: "US",
        password: Secret::new("aA1!aA1!"),
    };
    assert_eq!(
        graph.create_user(&new).await.unwrap_err().fault,
        Fault::DomainNotReady
    );
    assert!(graph.verify_domain(GATEWAY).await.unwrap().is_verified);
    let user = graph.create_user(&new).await.unwrap().id;
    assert_eq!(
        graph.create_user(&new).await.unwrap_err().fault,
        Fault::AlreadyExists
    );

    let gateways = [GATEWAY.to_owned()];
    let route = VoiceRoute {
        tenant_id: TENANT,
        name: "contoso",
        gateways: &gateways,
        number_pattern: ".*",
    };
    let teams = lab.ours.teams().unwrap();
    assert_eq!(
        teams
            .set_voice_route(&route, &token)
            .await
            .unwrap_err()
            .fault,
        Fault::DomainNotReady
    );
    let sku = graph.skus().await.unwrap().remove(0);
    assert_eq!((sku.free, sku.has_teams), (2, true));
    graph.assign_license(user, &[sku.id], &[]).await.unwrap();
    let states = graph
        .user(&upn)
        .await
        .unwrap()
        .unwrap()
        .license_assignment_states;
    assert_eq!(
        (states[0].sku_id, states[0].state.as_str()),
        (sku.id, "Active")
    );
    teams.set_voice_route(&route, &token).await.unwrap();

    let number = "+14255550100";
    let state = async |id: String| graph.operation(&id).await.unwrap().status;
    assert_eq!(
        state(graph.assign_number(number, user).await.unwrap()).await,
        OperationState::Succeeded
    );
    let assigned = graph.number_assignments().await.unwrap();
    assert_eq!(
        (
            assigned[0].telephone_number.as_str(),
            assigned[0].assignment_target_id
        ),
        (number, Some(user))
    );
    let failed = graph
        .assign_number(number, Uuid::from_u128(9))
        .await
        .unwrap();
    assert_eq!(state(failed).await, OperationState::Failed);
    assert_eq!(
        state(graph.unassign_number(number).await.unwrap()).await,
        OperationState::Succeeded
    );
    graph
        .assign_policy("TeamsCallingPolicy", "policy", user)
        .await
        .unwrap();

    graph.assign_license(user, &[], &[sku.id]).await.unwrap();
    lab.theirs
        .change(|world| world.tenant(NAME).unwrap().skus[0].units = 0);
    assert_eq!(
        graph
            .assign_license(user, &[sku.id], &[])
            .await
            .unwrap_err()
            .fault,
        Fault::NoLicense
    );
}

/// Whatever comes back has an end and a meaning: throttling with its pause, nonsense, too much, nothing in time, nobody.
#[tokio::test]
async fn every_answer_has_an_end() {
    let lab = Lab::start().await;
    let token = Secret::new("none");
    let graph = lab.ours.graph(&token);
    assert_eq!(graph.skus().await.unwrap_err().fault, Fault::TokenInvalid);
    lab.plant(
        "/subscribedSkus",
        429,
        &[("retry-after", "17"), ("request-id", "r")],
        Value::Null,
    );
    let error = graph.skus().await.unwrap_err();
    assert_eq!(
        (error.fault, error.retry_after),
        (Fault::Throttled, Some(Duration::from_secs(17)))
    );
    assert_eq!(error.request_id.as_deref(), Some("r"));
    lab.plant("/subscribedSkus", 200, &[], json!("nonsense"));
    assert_eq!(graph.skus().await.unwrap_err().fault, Fault::Malformed);
    lab.plant("/subscribedSkus", 200, &[], json!("x".repeat(5 << 20)));
    assert_eq!(graph.skus().await.unwrap_err().fault, Fault::Malformed);

    let slow = Microsoft::new(Config {
        timeout: Duration::from_millis(200),
        ..config(&lab.theirs)
    })
    .unwrap();
    lab.theirs.plant(emulated::Rule {
        method: String::new(),
        path: "/subscribedSkus".to_owned(),
        times: 1,
        status: None,
        headers: Default::default(),
        body: Value::Null,
        delay_ms: 60_000,
    });
    assert_eq!(
        slow.graph(&token).skus().await.unwrap_err().fault,
        Fault::Unreachable
    );
    let nowhere = Config {
        graph_base: "http://127.0.0.1:9".to_owned(),
        ..config(&lab.theirs)
    };
    let error = Microsoft::new(nowhere)
        .unwrap()
        .graph(&token)
        .domain("a.example")
        .await
        .unwrap_err();
    assert!(
        error.fault == Fault::Unreachable && !error.detail.contains("a.example"),
        "{error}"
    );
}

/// The control endpoint plants, shows and forgets.
#[tokio::test]
async fn it_is_controlled_over_http() {
    let lab = Lab::start().await;
    let url = |path: &str| format!("{}/control/{path}", lab.theirs.login_base());
    let rule = json!([{ "path": "openid-configuration", "status": 503 }]);
    let planted = lab
        .browser
        .post(url("script"))
        .json(&rule)
        .send()
        .await
        .unwrap();
    assert_eq!(planted.status(), 204);
    assert_eq!(
        lab.ours.login().tenant(NAME).await.unwrap_err().fault,
        Fault::Throttled
    );
    let tenant: Value = lab
        .browser
        .get(url(&format!("tenants/{TENANT}")))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(tenant["name"], NAME);
    let id = Uuid::from_u128(5);
    let mut other = tenant.clone();
    (other["id"], other["name"]) = (json!(id), json!("fabrikam.onmicrosoft.com"));
    let put = lab
        .browser
        .put(url(&format!("tenants/{id}")))
        .json(&other)
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), 204);
    assert_eq!(
        lab.ours
            .login()
            .tenant("fabrikam.onmicrosoft.com")
            .await
            .unwrap(),
        id
    );
    let log: Value = lab
        .browser
        .get(url("log"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let statuses: Vec<_> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["status"].clone())
        .collect();
    assert_eq!(statuses, [503, 200]);
    assert_eq!(
        lab.browser
            .delete(url("log"))
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    assert!(lab.theirs.log().is_empty());
}
