//! Sign-in. Nobody has a password here: who signs in says of which tenant they are, in the field `as`, and is its Global
//! Administrator unless they say `administrator=no`. In the field `user` they can say which user of the tenant they are. Where
//! they are asked for consent they give it for their organisation by `organisation=on`, else for themselves; at another device
//! nobody is asked who does not send that field.

use super::world::{Code, Person};
use super::{Shared, escaped, fields, keys};
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use time::OffsetDateTime;
use uuid::Uuid;

const GLOBAL_ADMINISTRATOR: &str = "62e90394-69f5-4237-9190-012177145e10";
/// In place of a tenant: people of all of them.
const ORGANIZATIONS: &str = "organizations";
/// Seconds.
const LIFETIME: u32 = 3599;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route(
            "/{tenant}/v2.0/.well-known/openid-configuration",
            get(openid),
        )
        .route("/{tenant}/discovery/v2.0/keys", get(published))
        .route("/{tenant}/v2.0/adminconsent", get(admin_consent))
        .route("/{tenant}/oauth2/v2.0/authorize", get(authorize))
        .route("/{tenant}/consent", post(decide))
        .route("/{tenant}/oauth2/v2.0/token", post(token))
        .route("/{tenant}/oauth2/v2.0/devicecode", post(device_code))
        .route("/devicelogin", get(device_page).post(device_login))
}

fn refused(status: StatusCode, error: &str, description: &str) -> Response {
    let body = json!({ "error": error, "error_description": description, "trace_id": Uuid::from_u128(rand::random()) });
    (status, Json(body)).into_response()
}

fn bad(error: &str, description: &str) -> Response {
    refused(StatusCode::BAD_REQUEST, error, description)
}

fn no_such_tenant(tenant: &str) -> Response {
    bad(
        "invalid_tenant",
        &format!("AADSTS90002: Tenant '{tenant}' not found."),
    )
}

async fn openid(State(here): State<Shared>, Path(tenant): Path<String>) -> Response {
    // The document for people of all tenants leaves a place for each one's id.
    let (id, issuer) = match here.world().tenant(&tenant).map(|tenant| tenant.id) {
        Some(id) => (id.to_string(), id.to_string()),
        None if tenant == ORGANIZATIONS => (tenant, "{tenantid}".to_owned()),
        None => return no_such_tenant(&tenant),
    };
    let base = &here.base;
    Json(json!({
        "issuer": format!("{base}/{issuer}/v2.0"),
        "authorization_endpoint": format!("{base}/{id}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/{id}/oauth2/v2.0/token"),
        "device_authorization_endpoint": format!("{base}/{id}/oauth2/v2.0/devicecode"),
        "jwks_uri": format!("{base}/{id}/discovery/v2.0/keys"),
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
    .into_response()
}

async fn published(State(here): State<Shared>) -> Json<Value> {
    let second = here.world().second_key;
    Json(keys::published(second))
}

async fn admin_consent(
    State(here): State<Shared>,
    Path(tenant): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    if tenant == "common" {
        return bad(
            "invalid_request",
            "AADSTS50194: the endpoint /common is not for administrators' consent",
        );
    }
    page(&here, &tenant, "admin", &query.unwrap_or_default())
}

async fn authorize(
    State(here): State<Shared>,
    Path(tenant): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let asked = fields(&query);
    let is = |name: &str, value: &str| asked.get(name).is_some_and(|given| given == value);
    if !is("response_type", "code")
        || !is("code_challenge_method", "S256")
        || !asked.contains_key("code_challenge")
    {
        return bad(
            "invalid_request",
            "AADSTS900144: a code with an S256 challenge must be asked for",
        );
    }
    page(&here, &tenant, "user", &query)
}

/// What the person sees; the form leads to [`decide`].
fn page(here: &Shared, tenant: &str, kind: &str, query: &str) -> Response {
    let asked = fields(query);
    if asked.get("client_id") != Some(&here.config.client_id) {
        return bad(
            "unauthorized_client",
            "AADSTS700016: the application was not found in the directory",
        );
    }
    let registered = asked
        .get("redirect_uri")
        .is_some_and(|uri| here.config.redirect_uris.contains(uri));
    if !registered {
        return bad(
            "invalid_request",
            "AADSTS50011: the redirect URI does not match those of the application",
        );
    }
    let whole = match kind {
        "admin" => "",
        _ => {
            "<label><input type=checkbox name=organisation value=on> Consent on behalf of your organization</label>"
        }
    };
    let html = format!(
        "<!doctype html><title>Permissions requested</title><form method=post action=\"/{tenant}/consent?kind={kind}&amp;{}\">\
         <p>Permissions requested: {}</p>{whole}\
         <button name=decision value=accept>Accept</button><button name=decision value=cancel>Cancel</button></form>",
        query.replace('&', "&amp;").replace('"', "&quot;"),
        asked
            .get("scope")
            .map_or("", String::as_str)
            .replace('<', "&lt;"),
    );
    Html(html).into_response()
}

async fn decide(
    State(here): State<Shared>,
    Path(tenant): Path<String>,
    RawQuery(query): RawQuery,
    form: String,
) -> Response {
    let (asked, form) = (fields(&query.unwrap_or_default()), fields(&form));
    let asked = |name: &str| asked.get(name).map_or("", String::as_str);
    let chosen = form.get("as").unwrap_or(&tenant).clone();
    let mut world = here.world();
    let Some(home) = world.tenant(&chosen) else {
        return no_such_tenant(&chosen);
    };
    let id = home.id;
    let admin = asked("kind") == "admin";
    let accepted = form
        .get("decision")
        .is_some_and(|decision| decision == "accept");
    let answer = match (admin, accepted) {
        (true, true) => {
            home.application = true;
            home.grants.push("AllPrincipals".to_owned());
            format!(
                "admin_consent=True&tenant={id}&scope={}",
                escaped(asked("scope"))
            )
        }
        (true, false) => {
            let words = "AADSTS65004: User declined to consent to access the app.";
            format!(
                "admin_consent=True&tenant={id}&error=consent_required&error_description={}",
                escaped(words)
            )
        }
        (false, true) => {
            let organisation = form.get("organisation").map_or("", String::as_str);
            home.grants.push(granted(organisation).to_owned());
            let named = form.get("user");
            let user = named.and_then(|upn| home.users.iter().find(|user| user.upn == *upn));
            if user.is_none() && named.is_some() {
                return bad("invalid_request", "AADSTS50034: the user does not exist");
            }
            let nonce = asked("nonce");
            let person = Person {
                tenant: id,
                user: user.cloned(),
                administrator: form.get("administrator").is_none_or(|is| is != "no"),
                nonce: (!nonce.is_empty()).then(|| nonce.to_owned()),
            };
            let code = world.code(Code {
                redirect_uri: asked("redirect_uri").to_owned(),
                challenge: asked("code_challenge").to_owned(),
                person,
            });
            format!("code={code}&session_state=0")
        }
        (false, false) => {
            let words = "AADSTS65004: User declined to consent to access the app.";
            format!("error=access_denied&error_description={}", escaped(words))
        }
    };
    let location = format!(
        "{}?{answer}&state={}",
        asked("redirect_uri"),
        escaped(asked("state"))
    );
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

async fn token(State(here): State<Shared>, Path(tenant): Path<String>, form: String) -> Response {
    let form = fields(&form);
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    if given("client_id") != here.config.client_id {
        return bad(
            "unauthorized_client",
            "AADSTS700016: the application was not found in the directory",
        );
    }
    let device = given("grant_type") == "urn:ietf:params:oauth:grant-type:device_code";
    if !device && given("client_secret") != here.config.client_secret {
        return refused(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "AADSTS7000215: Invalid client secret provided.",
        );
    }
    match given("grant_type") {
        "authorization_code" => by_code(&here, &form),
        "refresh_token" => by_refresh(&here, given("refresh_token")),
        "client_credentials" => by_credentials(&here, &tenant, given("scope")),
        _ if device => by_device(&here, given("device_code")),
        _ => bad(
            "unsupported_grant_type",
            "AADSTS70003: the grant type is not supported",
        ),
    }
}

/// For whom somebody consents, by their tick at the organisation.
fn granted(organisation: &str) -> &'static str {
    match organisation {
        "on" => "AllPrincipals",
        _ => "Principal",
    }
}

fn by_code(here: &Shared, form: &HashMap<String, String>) -> Response {
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    let mut world = here.world();
    // Once, whatever comes of it.
    let Some(code) = world.codes.remove(given("code")) else {
        return bad(
            "invalid_grant",
            "AADSTS70008: the code is unknown, used or expired",
        );
    };
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(given("code_verifier")));
    if challenge != code.challenge || given("redirect_uri") != code.redirect_uri {
        return bad(
            "invalid_grant",
            "AADSTS501481: the code verifier or redirect URI does not match",
        );
    }
    tokens(here, &mut world, code.person)
}

fn by_refresh(here: &Shared, refresh: &str) -> Response {
    let mut world = here.world();
    match world.refreshes.remove(refresh) {
        Some(tenant) => tokens(here, &mut world, Person::administrator(tenant)),
        None => bad("invalid_grant", "AADSTS70000: the refresh token is invalid"),
    }
}

fn by_credentials(here: &Shared, tenant: &str, scope: &str) -> Response {
    if !scope.ends_with("/.default") {
        return bad(
            "invalid_scope",
            "AADSTS70011: the scope must end with /.default",
        );
    }
    let mut world = here.world();
    let Some(home) = world.tenant(tenant) else {
        return no_such_tenant(tenant);
    };
    if !home.application && home.grants.is_empty() {
        return bad(
            "unauthorized_client",
            "AADSTS700016: the application was not found in the directory",
        );
    }
    let id = home.id;
    let access = world.token(id, false);
    Json(json!({ "token_type": "Bearer", "expires_in": LIFETIME, "access_token": access }))
        .into_response()
}

fn by_device(here: &Shared, code: &str) -> Response {
    let mut world = here.world();
    match world.devices.get(code).map(|device| device.outcome) {
        None => bad(
            "bad_verification_code",
            "AADSTS70018: the device code is unknown",
        ),
        Some(None) => bad(
            "authorization_pending",
            "AADSTS70016: nobody has signed in yet",
        ),
        Some(Some(None)) => bad("authorization_declined", "AADSTS70017: they declined"),
        Some(Some(Some(tenant))) => {
            world.devices.remove(code);
            tokens(here, &mut world, Person::administrator(tenant))
        }
    }
}

/// Of somebody who signed in.
fn tokens(here: &Shared, world: &mut super::World, person: Person) -> Response {
    let tenant = person.tenant;
    let (access, refresh) = (world.token(tenant, true), world.refresh(tenant));
    let name = world
        .tenant(&tenant.to_string())
        .map(|home| home.name.clone())
        .unwrap_or_default();
    let (object, upn) = match person.user {
        Some(user) => (user.id, user.upn),
        None => (
            Uuid::from_u128(tenant.as_u128() ^ 1),
            format!("admin@{name}"),
        ),
    };
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let mut claims = json!({
        "aud": here.config.client_id, "iss": format!("{}/{tenant}/v2.0", here.base), "tid": tenant,
        "iat": now, "nbf": now, "exp": now + i64::from(LIFETIME), "sub": format!("pairwise-{object}"),
        "oid": object, "preferred_username": upn, "nonce": person.nonce,
        "wids": if person.administrator { vec![GLOBAL_ADMINISTRATOR] } else { Vec::new() },
    });
    for (claim, value) in &world.claims {
        claims[claim] = value.clone();
    }
    let identity = keys::signed(world.second_key, world.forges, &claims);
    Json(json!({
        "token_type": "Bearer", "expires_in": LIFETIME, "access_token": access, "refresh_token": refresh, "id_token": identity,
    }))
    .into_response()
}

async fn device_code(State(here): State<Shared>, form: String) -> Response {
    let form = fields(&form);
    if form.get("client_id") != Some(&here.config.client_id) {
        return bad(
            "unauthorized_client",
            "AADSTS700016: the application was not found in the directory",
        );
    }
    let (device_code, user_code) = here.world().device();
    let uri = format!("{}/devicelogin", here.base);
    Json(json!({
        "device_code": device_code, "user_code": user_code, "verification_uri": uri, "expires_in": 900, "interval": 5,
        "message": format!("To sign in, open {uri} and enter the code {user_code}"),
    }))
    .into_response()
}

async fn device_page() -> Html<&'static str> {
    Html(
        "<!doctype html><title>Enter code</title><form method=post><input name=user_code><input name=as>\
         <label><input type=checkbox name=organisation value=on> Consent on behalf of your organization</label>\
         <button name=decision value=accept>Next</button><button name=decision value=cancel>Cancel</button></form>",
    )
}

async fn device_login(State(here): State<Shared>, form: String) -> Response {
    let form = fields(&form);
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    let mut world = here.world();
    let tenant = world.tenant(given("as")).map(|home| home.id);
    let accepted = given("decision") == "accept";
    if accepted && tenant.is_none() {
        return no_such_tenant(given("as"));
    }
    let Some(device) = world
        .devices
        .values_mut()
        .find(|device| device.user_code == given("user_code"))
    else {
        return bad("bad_verification_code", "AADSTS70018: the code is unknown");
    };
    device.outcome = Some(tenant.filter(|_| accepted));
    // Who is asked for consent on the way says for whom.
    if accepted
        && let Some(organisation) = form.get("organisation")
        && let Some(home) = world.tenant(given("as"))
    {
        home.grants.push(granted(organisation).to_owned());
    }
    Html("<!doctype html><p>You may close this window.</p>").into_response()
}
