//! Who signs in at the OpenID provider and what they may do then (provisioning §8.1, §8.2), at a running SBC and an emulated
//! Microsoft.

use serde_json::{Map, Value, json};
use tollgate::emulate::microsoft::{Rule, User};
use tollgate::store::{self, AccessRole, Stranger};
use uuid::Uuid;

use super::activation_lab::{Lab, Setup, TENANT, TENANT_NAME};
use super::code;

/// Another tenant, of no customer.
const OTHER: &str = "other.onmicrosoft.com";
const JO: Uuid = Uuid::from_u128(0x10);

/// A browser on its way.
struct Errand {
    /// The provider's page.
    page: String,
    /// What the browser carries.
    cookie: String,
    /// How the cookie is to be treated.
    attributes: String,
}

/// A lab whose customer's tenant is known.
async fn lab() -> Lab {
    let setup = Setup {
        regions: 1,
        teams_bridge: false,
    };
    let lab = Lab::start(setup).await;
    let mut change = lab.sbc.store().rows().await.unwrap();
    store::activations::set_tenant(&mut change, lab.customer, TENANT)
        .await
        .unwrap();
    change.keep().await.unwrap();
    lab
}

/// A browser goes to sign in.
async fn begin(lab: &Lab) -> Errand {
    let url = format!("http://{}/oidc/sign-in", lab.sbc.listening().admin);
    let answer = lab.client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let cookie = header("set-cookie");
    let (cookie, attributes) = cookie.split_once(';').unwrap();
    Errand {
        page: header("location"),
        cookie: cookie.to_owned(),
        attributes: attributes.to_owned(),
    }
}

/// Somebody decides at the provider's page: the path and query with which they are sent back.
async fn decide(lab: &Lab, page: &str, form: &str) -> String {
    let text = lab.client.get(page).send().await.unwrap();
    let text = text.text().await.unwrap();
    let action = text.split("action=\"").nth(1).unwrap();
    let action = action.split('"').next().unwrap().replace("&amp;", "&");
    let url = format!("{}{action}", lab.microsoft.login_base());
    let back = lab.client.post(url).body(form.to_owned()).send().await;
    let back = back.unwrap();
    assert_eq!(back.status(), 302);
    let to = back.headers()["location"].to_str().unwrap();
    to.strip_prefix("http://localhost").unwrap().to_owned()
}

/// They come back with what their browser carries.
async fn come_back(lab: &Lab, path: &str, cookie: &str) -> (u16, Value) {
    let url = format!("http://{}{path}", lab.sbc.listening().admin);
    let request = lab.client.get(url).header("cookie", cookie);
    let answer = request.send().await.unwrap();
    let cleared = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cleared.contains("Max-Age=0"), "{cleared}");
    let status = answer.status().as_u16();
    let mut body: Value = answer.json().await.unwrap();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
    }
    (status, body)
}

/// All of it.
async fn sign_in(lab: &Lab, form: &str) -> (u16, Value) {
    let errand = begin(lab).await;
    let back = decide(lab, &errand.page, form).await;
    come_back(lab, &back, &errand.cookie).await
}

/// The form of somebody who administers a tenant, and of a user who does not.
fn administrator(tenant: &str) -> String {
    format!("decision=accept&as={tenant}")
}

fn user(upn: &str) -> String {
    format!("decision=accept&as={TENANT_NAME}&administrator=no&user={upn}")
}

/// Users of the tenant, as Microsoft knows them.
fn hire(lab: &Lab, users: &[(Uuid, &str)]) {
    lab.microsoft.change(|world| {
        let home = world.tenant(TENANT_NAME).unwrap();
        home.users.extend(users.iter().map(|(id, upn)| User {
            id: *id,
            upn: (*upn).to_owned(),
            usage_location: None,
            licenses: Vec::new(),
        }));
    });
}

/// A Global Administrator of a customer's tenant is the customer's administrator, with a session like any other; one of a
/// tenant that is no customer's is nobody.
#[tokio::test]
async fn a_global_administrator_signs_in() {
    let lab = lab().await;
    let errand = begin(&lab).await;
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/oidc"] {
        assert!(errand.attributes.contains(attribute), "{attribute}");
    }
    for part in [
        "/organizations/",
        "code_challenge_method=S256",
        "nonce=",
        "state=",
    ] {
        assert!(errand.page.contains(part), "{part}: {}", errand.page);
    }
    let back = decide(&lab, &errand.page, &administrator(TENANT_NAME)).await;
    let (status, session) = come_back(&lab, &back, &errand.cookie).await;
    assert_eq!(status, 200, "{session}");
    assert_eq!(
        (&session["role"], &session["scope"], &session["name"]),
        (
            &json!("customer_admin"),
            &json!(lab.customer),
            &json!(format!("admin@{TENANT_NAME}"))
        )
    );
    let token = session["token"].as_str().unwrap();
    let path = format!("/api/v1/customers/{}", lab.customer);
    assert_eq!(lab.send_as(token, "GET", &path, Value::Null).await.0, 200);
    let create = lab
        .send_as(token, "POST", "/api/v1/customers", json!({}))
        .await;
    assert_eq!(create.0, 403);
    let out = lab
        .send_as(token, "DELETE", "/api/v1/session", Value::Null)
        .await;
    assert_eq!(out.0, 204);
    assert_eq!(lab.send_as(token, "GET", &path, Value::Null).await.0, 401);

    let (status, body) = sign_in(&lab, &administrator(OTHER)).await;
    assert_eq!((status, code(&body)), (401, "sign_in_refused"));
    lab.close().await;
}

/// In a browser there is a page with the token, that nobody may keep or show in a frame.
#[tokio::test]
async fn a_browser_sees_a_page() {
    let lab = lab().await;
    let errand = begin(&lab).await;
    let back = decide(&lab, &errand.page, &administrator(TENANT_NAME)).await;
    let url = format!("http://{}{back}", lab.sbc.listening().admin);
    let request = lab.client.get(url).header("cookie", &errand.cookie);
    let answer = request.header("accept", "text/html").send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["x-frame-options"], "DENY");
    let text = answer.text().await.unwrap();
    assert!(text.contains("customer_admin") && text.contains("<code>tg_"));
    lab.close().await;
}

/// A user of the customer, by Microsoft's id of them, is an end user and sees their own things only; somebody else of the
/// same tenant is nobody, and is told the same as everybody who is nobody.
#[tokio::test]
async fn a_user_is_that_user_and_strangers_are_nobody() {
    let lab = lab().await;
    hire(
        &lab,
        &[
            (JO, "jo@contoso.example"),
            (Uuid::from_u128(0x11), "kim@contoso.example"),
        ],
    );
    let path = format!("/api/v1/customers/{}/users", lab.customer);
    let jo = json!({ "upn": "jo@contoso.example", "display_name": "Jo", "teams_object_id": JO });
    let (status, made) = lab.send("POST", &path, jo).await;
    assert_eq!(status, 201, "{made}");
    let (status, session) = sign_in(&lab, &user("jo@contoso.example")).await;
    assert_eq!(
        (status, &session["role"], &session["scope"]),
        (200, &json!("end_user"), &made["id"]),
        "{session}"
    );
    let token = session["token"].as_str().unwrap();
    let me = lab
        .send_as(token, "GET", "/api/v1/session", Value::Null)
        .await;
    assert_eq!((me.0, &me.1["token_id"]), (200, &session["token_id"]));
    for path in [path.as_str(), "/api/v1/customers", "/api/v1/events"] {
        assert_eq!(lab.send_as(token, "GET", path, Value::Null).await.0, 403);
    }
    let (status, kim) = sign_in(&lab, &user("kim@contoso.example")).await;
    assert_eq!((status, code(&kim)), (401, "sign_in_refused"));
    let (status, other) = sign_in(&lab, &administrator(OTHER)).await;
    assert_eq!((status, other), (401, kim), "nothing tells them apart");
    lab.close().await;
}

/// Whoever has an account here is what the account says, whatever their tenant is.
#[tokio::test]
async fn an_account_says_what_somebody_is() {
    let lab = lab().await;
    let other = Uuid::from_u128(0xbad);
    let who = Stranger {
        tenant: Some(other),
        subject: None,
    };
    let name = format!("admin@{OTHER}");
    let made = lab
        .sbc
        .store()
        .set_person(&name, who, AccessRole::Noc, None);
    made.await.unwrap();
    let (status, session) = sign_in(&lab, &administrator(OTHER)).await;
    assert_eq!((status, &session["role"]), (200, &json!("noc")));
    assert!(lab.sbc.store().remove_account(&name).await.unwrap());
    let token = session["token"].as_str().unwrap();
    let (status, _) = lab
        .send_as(token, "GET", "/api/v1/session", Value::Null)
        .await;
    assert_eq!(status, 401, "its sign-ins end with it");
    assert_eq!(sign_in(&lab, &administrator(OTHER)).await.0, 401);
    lab.close().await;
}

/// A token that answers another question, is for another application, of another issuer, too old or forged opens nothing;
/// and the answer does not say what is wrong.
#[tokio::test]
async fn a_token_that_is_wrong_opens_nothing() {
    let lab = lab().await;
    let (_, nobody) = sign_in(&lab, &administrator(OTHER)).await;
    for (claim, value) in [
        ("nonce", json!("another")),
        ("aud", json!("another")),
        ("iss", json!("https://login.example/v2.0")),
        ("tid", json!(Uuid::from_u128(0xbad))),
        ("exp", json!(1)),
    ] {
        let claims = Map::from_iter([(claim.to_owned(), value)]);
        lab.microsoft.change(|world| world.claims = claims);
        let answer = sign_in(&lab, &administrator(TENANT_NAME)).await;
        assert_eq!(answer, (401, nobody.clone()), "{claim}");
    }
    lab.microsoft.change(|world| {
        world.claims = Map::new();
        world.forges = true;
    });
    let answer = sign_in(&lab, &administrator(TENANT_NAME)).await;
    assert_eq!(answer, (401, nobody), "forged");
    lab.microsoft.change(|world| world.forges = false);
    assert_eq!(sign_in(&lab, &administrator(TENANT_NAME)).await.0, 200);
    lab.close().await;
}

/// What the provider publishes is asked for once, until there is a key that we do not know; not more often than every half
/// minute.
#[tokio::test]
async fn a_new_key_is_fetched_when_it_is_needed() {
    let lab = lab().await;
    let fetched = || {
        let asked = lab.asked();
        asked.iter().filter(|one| one.ends_with("/keys")).count()
    };
    for _ in 0..3 {
        assert_eq!(sign_in(&lab, &administrator(TENANT_NAME)).await.0, 200);
    }
    assert_eq!(fetched(), 1);
    lab.microsoft.change(|world| world.second_key = true);
    lab.sbc.clock().advance(time::Duration::seconds(31));
    assert_eq!(sign_in(&lab, &administrator(TENANT_NAME)).await.0, 200);
    assert_eq!(fetched(), 2);
    lab.microsoft.change(|world| world.second_key = false);
    assert_eq!(
        sign_in(&lab, &administrator(TENANT_NAME)).await.0,
        401,
        "too early to ask again"
    );
    assert_eq!(fetched(), 2);
    lab.close().await;
}

/// Only the browser that went can come back, once and in time: what it carries belongs to the state that it brings.
#[tokio::test]
async fn only_who_went_comes_back() {
    let lab = lab().await;
    let (errand, other) = (begin(&lab).await, begin(&lab).await);
    let back = decide(&lab, &errand.page, &administrator(TENANT_NAME)).await;
    for cookie in ["", "tollgate_sign_in=a.b", other.cookie.as_str()] {
        let (status, body) = come_back(&lab, &back, cookie).await;
        assert_eq!((status, code(&body)), (410, "state_unknown"), "{cookie}");
    }
    assert_eq!(come_back(&lab, &back, &errand.cookie).await.0, 200);
    let (status, body) = come_back(&lab, &back, &errand.cookie).await;
    assert_eq!(
        (status, code(&body)),
        (401, "sign_in_refused"),
        "the code is used"
    );
    let declined = decide(&lab, &other.page, &format!("decision=cancel&as={OTHER}")).await;
    let (status, body) = come_back(&lab, &declined, &other.cookie).await;
    assert_eq!((status, code(&body)), (401, "sign_in_refused"));
    let late = begin(&lab).await;
    let back = decide(&lab, &late.page, &administrator(TENANT_NAME)).await;
    lab.sbc.clock().advance(time::Duration::minutes(16));
    let (status, body) = come_back(&lab, &back, &late.cookie).await;
    assert_eq!((status, code(&body)), (410, "state_unknown"));
    lab.close().await;
}

/// A provider that is not well is told as that, is left alone for half a minute, and then all is well again; what was known of
/// it before serves meanwhile.
#[tokio::test]
async fn a_provider_that_is_not_well_is_waited_for() {
    let lab = lab().await;
    let url = format!("http://{}/oidc/sign-in", lab.sbc.listening().admin);
    let status = async || lab.client.get(&url).send().await.unwrap().status().as_u16();
    let ill = |path: &str| {
        let rule = json!({ "path": path, "status": 503 });
        let rule: Rule = serde_json::from_value(rule).unwrap();
        lab.microsoft.plant(rule);
    };
    ill("openid-configuration");
    assert_eq!(status().await, 503);
    assert_eq!(status().await, 503, "not asked again");
    lab.sbc.clock().advance(time::Duration::seconds(31));
    assert_eq!(status().await, 302);
    lab.sbc.clock().advance(time::Duration::hours(2));
    ill("openid-configuration");
    assert_eq!(status().await, 302, "as it was two hours ago");
    lab.close().await;
}
