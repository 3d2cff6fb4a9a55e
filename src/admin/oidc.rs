//! People sign in at the OpenID provider and come back with a session, as others have it for a password.
//!
//! What has to be known of somebody between going and coming back, they carry themselves: sealed in a cookie, for the state
//! that they bring back, and for a quarter of an hour. So nothing is kept here of people who never come, another browser than
//! the one that went cannot come back, and a restart in between does no harm.

use super::Admin;
use super::body::Search;
use super::error::{ApiError, Problem};
use super::invite::{GUARDED, document, escaped, wants_html};
use super::request::RequestId;
use super::session::{Session, begun};
use crate::directory::Secret;
use crate::microsoft::{Errand, OpenId, OpenIdError, Person, Pkce, Reaction};
use crate::store::{Identity, Sealed};
use crate::telemetry::metrics;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How long somebody may stay at the provider.
const ERRAND_LASTS: time::Duration = time::Duration::minutes(15);
/// The cookie that they carry meanwhile.
const COOKIE: &str = "tollgate_sign_in";
/// What it is sealed for.
const PLACE: &str = "sign_ins";
/// People whose codes are redeemed at once.
const AT_ONCE: usize = 8;
/// People who come back within a minute; more wait.
const A_MINUTE: u32 = 120;

/// Where people sign in, if anywhere. Clones share how many do.
#[derive(Debug, Clone)]
pub struct People(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: Option<OpenId>,
    turns: Semaphore,
    came: Mutex<Option<(Instant, u32)>>,
}

impl Default for People {
    fn default() -> Self {
        Self::new(None)
    }
}

impl People {
    /// At this provider.
    pub fn new(provider: Option<OpenId>) -> Self {
        Self(Arc::new(Inner {
            provider,
            turns: Semaphore::new(AT_ONCE),
            came: Mutex::default(),
        }))
    }

    fn provider(&self) -> Result<&OpenId, ApiError> {
        let detail = "no OpenID provider is configured";
        let provider = self.0.provider.as_ref();
        provider.ok_or_else(|| ApiError::conflict("sign_in_unavailable", detail))
    }

    /// Counts somebody who came back, or tells how long to wait.
    fn come(&self, now: Instant) -> Result<(), Duration> {
        const MINUTE: Duration = Duration::from_secs(60);
        let mut came = self.0.came.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *came {
            Some((since, _)) if now >= *since + MINUTE => *came = Some((now, 1)),
            Some((since, count)) if *count >= A_MINUTE => return Err(*since + MINUTE - now),
            Some((_, count)) => *count += 1,
            None => *came = Some((now, 1)),
        }
        Ok(())
    }
}

/// What somebody carries.
#[derive(Serialize, Deserialize)]
struct Carried {
    nonce: String,
    verifier: String,
    until: i64,
}

/// What the provider sends somebody back with.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Return {
    /// What was sent along.
    state: String,
    /// To be redeemed.
    code: Option<String>,
    /// Why nobody signed in.
    error: Option<String>,
}

fn random() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// Sign in at the OpenID provider
///
/// For browsers: it leads there, and back to `/oidc/callback`.
#[utoipa::path(
    get, path = "/oidc/sign-in", tag = "session", operation_id = "begin_openid_sign_in", security(()),
    responses((status = 302), (status = 409, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn begin(State(admin): State<Admin>) -> Result<Response, ApiError> {
    let (provider, now) = (admin.people.provider()?, admin.onboarding.clock().now());
    let (state, nonce, pkce) = (random(), random(), Pkce::new(rand::random()));
    let errand = Errand {
        state: &state,
        nonce: &nonce,
        challenge: &pkce.challenge,
    };
    let page = provider.page(errand, now).await.map_err(|error| {
        tracing::warn!(%error, "the OpenID provider cannot be asked");
        unavailable()
    })?;
    let carried = Carried {
        nonce,
        verifier: pkce.verifier.expose().to_owned(),
        until: (now + ERRAND_LASTS).unix_timestamp(),
    };
    let carried = serde_json::to_string(&carried).expect("texts and a number have a JSON form");
    let sealed = admin.store.keys().seal(PLACE, &state, &carried);
    let sealed = sealed.map_err(crate::store::StoreError::from)?;
    let value = format!("{}.{}", sealed.key_id, sealed.text);
    let cookie = cookie(&admin, &value, ERRAND_LASTS.whole_seconds());
    let headers = [(header::LOCATION, page), (header::SET_COOKIE, cookie)];
    Ok((StatusCode::FOUND, GUARDED, headers).into_response())
}

/// Sent to no other path, read by no script, and brought along from the provider's page.
fn cookie(admin: &Admin, value: &str, seconds: i64) -> String {
    let secure = match admin.letters.public_url.starts_with("https:") {
        true => "; Secure",
        false => "",
    };
    format!("{COOKIE}={value}; Path=/oidc; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

/// Where the OpenID provider sends people back to
///
/// Whoever is somebody here has a session then, as `POST /api/v1/session` gives it: for browsers in HTML, else in JSON. Who is
/// not is told the same, whatever the reason.
#[utoipa::path(
    get, path = "/oidc/callback", tag = "session", operation_id = "finish_openid_sign_in", params(Return), security(()),
    responses((status = 200, body = Session), (status = 401, body = Problem), (status = 409, body = Problem),
              (status = 410, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn callback(
    State(admin): State<Admin>,
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
    Search(back): Search<Return>,
) -> Response {
    let answer = match finished(&admin, &request, &headers, &back).await {
        Ok(session) => match wants_html(&headers) {
            true => (GUARDED, Html(page(&session))).into_response(),
            false => (GUARDED, Json(session)).into_response(),
        },
        Err(error) => error.into_response(),
    };
    // What was carried has done its work, well or not.
    let gone = [(header::SET_COOKIE, cookie(&admin, "", 0))];
    (gone, answer).into_response()
}

async fn finished(
    admin: &Admin,
    request: &RequestId,
    headers: &HeaderMap,
    back: &Return,
) -> Result<Session, ApiError> {
    let (provider, now) = (admin.people.provider()?, admin.onboarding.clock().now());
    let carried = carried(admin, headers, &back.state);
    let carried = carried.filter(|carried| carried.until > now.unix_timestamp());
    let carried = carried.ok_or_else(|| {
        let detail = "this sign-in was not begun in this browser, or its time is over";
        ApiError::new(StatusCode::GONE, "state_unknown", detail)
    })?;
    if let Err(wait) = admin.people.come(Instant::now()) {
        metrics::SIGN_INS.add(["limited"], 1);
        let detail = "too many people sign in at once";
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tries", detail);
        return Err(error.retry_after(u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX)));
    }
    let code = match (&back.error, &back.code) {
        (None, Some(code)) => code,
        (error, _) => {
            tracing::info!(?error, "the OpenID provider signed nobody in");
            return Err(refused());
        }
    };
    let verifier = Secret::new(carried.verifier);
    let turn = admin.people.0.turns.acquire().await;
    let person = provider.person(code, &verifier, &carried.nonce, now).await;
    drop(turn);
    let person = person.map_err(|error| {
        tracing::warn!(%error, "a sign-in at the OpenID provider does not count");
        match error {
            OpenIdError::Provider(error) if error.fault.reaction() == Reaction::Retry => {
                unavailable()
            }
            OpenIdError::Provider(_) | OpenIdError::Token(_) => refused(),
        }
    })?;
    let new = admin.store.sign_in_person(&identity(person)).await?;
    let new = new.ok_or_else(refused)?;
    metrics::SIGN_INS.add(["opened"], 1);
    begun(admin, request, new).await
}

fn identity(person: Person) -> Identity {
    Identity {
        tenant: person.tenant_id,
        subject: person.subject,
        name: person.name,
        global_administrator: person.global_administrator,
    }
}

/// What the browser carries for this state.
fn carried(admin: &Admin, headers: &HeaderMap, state: &str) -> Option<Carried> {
    let values = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == COOKIE)?;
    let (key_id, text) = value.split_once('.')?;
    let sealed = Sealed {
        key_id: key_id.to_owned(),
        text: text.to_owned(),
    };
    let opened = admin.store.keys().open(PLACE, state, &sealed).ok()?;
    serde_json::from_str(opened.expose()).ok()
}

/// The same for everybody who is nobody here.
fn refused() -> ApiError {
    metrics::SIGN_INS.add(["refused"], 1);
    let detail = "this sign-in opens nothing here";
    ApiError::new(StatusCode::UNAUTHORIZED, "sign_in_refused", detail)
}

fn unavailable() -> ApiError {
    metrics::SIGN_INS.add(["unavailable"], 1);
    let detail = "the OpenID provider does not answer as it should";
    ApiError::unavailable("provider_unavailable", detail)
}

/// The session as people see it; they take the token from here.
fn page(session: &Session) -> String {
    let told = |name: &str, value: &str| {
        format!("<dt>{name}</dt><dd><code>{}</code></dd>", escaped(value))
    };
    let values = session.told().map(|(name, value)| told(name, &value));
    document("Signed in", "", &format!("<dl>{}</dl>", values.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than so many in a minute wait for its end.
    #[test]
    fn who_comes_back_is_counted() {
        let (people, now) = (People::default(), Instant::now());
        for _ in 0..A_MINUTE {
            assert_eq!(people.come(now), Ok(()));
        }
        let later = now + Duration::from_secs(20);
        assert_eq!(people.come(later), Err(Duration::from_secs(40)));
        assert_eq!(people.come(now + Duration::from_secs(60)), Ok(()));
    }
}
