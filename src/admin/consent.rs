//! The consent of a customer's administrator: the question that they take to Microsoft, and what they bring back.

use super::Admin;
use super::body::Search;
use super::error::{ApiError, Problem};
use crate::directory::{ActivationState, Secret};
use crate::microsoft::{Authorize, Login, Microsoft, MicrosoftError, Pkce};
use crate::onboarding::Answer;
use crate::provisioning::activation::{CONSENT_LASTS, Event, Failure, State};
use crate::store::activations::{self, ConsentQuestion};
use crate::store::events;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

/// Microsoft, where we may act there in customers' names.
pub(super) fn automatic(admin: &Admin) -> Result<&Microsoft, ApiError> {
    let microsoft = admin.activations.microsoft.as_ref();
    microsoft
        .filter(|microsoft| !microsoft.config().client_id.is_empty())
        .ok_or_else(|| {
            ApiError::conflict(
                "automatic_unavailable",
                "no application is configured; choose the manual method",
            )
        })
}

/// Where an administrator can consent.
pub(super) struct ConsentPages {
    /// They sign in, and consent on the way.
    pub sign_in: String,
    /// They consent for the organisation.
    pub admin_consent: String,
}

/// A question that cannot be guessed, and the two pages to take it to.
pub(super) fn ask(
    microsoft: &Microsoft,
    tenant: Uuid,
    now: OffsetDateTime,
) -> Result<(ConsentQuestion, ConsentPages), ApiError> {
    let state = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let pkce = Pkce::new(rand::random());
    let (login, tenant) = (microsoft.login(), tenant.to_string());
    let redirect_uri = &microsoft.config().redirect_uri;
    let wanted = Authorize {
        tenant: &tenant,
        redirect_uri,
        scope: Login::GRAPH_SCOPE,
        state: &state,
        challenge: &pkce.challenge,
        prompt: Some("select_account"),
    };
    let wrong =
        |error: MicrosoftError| ApiError::conflict("automatic_unavailable", &error.to_string());
    let pages = ConsentPages {
        sign_in: login.authorize_url(&wanted).map_err(wrong)?,
        admin_consent: login
            .admin_consent_url(&tenant, redirect_uri, &state)
            .map_err(wrong)?,
    };
    let question = ConsentQuestion {
        state_hash: Sha256::digest(&state).into(),
        verifier: pkce.verifier,
        expires_at: now + CONSENT_LASTS,
    };
    Ok((question, pages))
}

/// What Microsoft sends an administrator back with.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Callback {
    /// What was sent along.
    state: String,
    /// To be redeemed.
    code: Option<String>,
    /// `True`, also where an error is told.
    admin_consent: Option<String>,
    /// The tenant of an administrator's consent.
    tenant: Option<Uuid>,
    /// Why there is no consent.
    pub(super) error: Option<String>,
    /// The same in words.
    pub(super) error_description: Option<String>,
}

/// Where Microsoft sends administrators back to
///
/// Public: whoever comes shows the state that they were sent away with, which counts once, for a quarter of an hour.
#[utoipa::path(
    get, path = "/oauth/callback", tag = "activation", operation_id = "consent_callback", params(Callback), security(()),
    responses((status = 200, content_type = "text/plain"), (status = 302), (status = 410, body = Problem))
)]
pub(super) async fn callback(
    Shared(admin): Shared<Admin>,
    Search(back): Search<Callback>,
) -> Result<Response, ApiError> {
    let now = admin.activations.clock.now();
    let hash: [u8; 32] = Sha256::digest(&back.state).into();
    let unknown = || {
        let detail = "this link was used before, or its time is over";
        ApiError::new(StatusCode::GONE, "state_unknown", detail)
    };
    if let Some(answer) = super::invite::answered(&admin, &hash, back.answer()).await? {
        return Ok(answer);
    }
    if !activations::is_asked(&mut *admin.store.read().await?, &hash).await? {
        return Err(unknown());
    }
    let mut change = admin.store.change().await?;
    let found = activations::answer(&mut change, &hash, now).await?;
    // Once, whatever comes of it.
    change.keep().await?;
    let (activation, verifier) = found.ok_or_else(unknown)?;
    let customer = activation.customer_id;
    let tenant = activations::tenant(&mut *admin.store.read().await?, customer)
        .await?
        .id;
    let consent = consented(&admin, &back, tenant, &verifier).await;

    let mut change = admin.store.change().await?;
    let Some(open) = activations::find(&mut change, activation.id).await? else {
        return Err(ApiError::new(
            StatusCode::GONE,
            "state_unknown",
            "the customer is gone",
        ));
    };
    let (event, refresh) = match consent {
        Ok(refresh) => (Event::Consented, refresh),
        Err(failure) => (Event::Refused(failure), None),
    };
    let state = open.state.on(open.method, event, now)?;
    activations::save(&mut change, &open, &state, now).await?;
    if state.is_inactive() {
        activations::set_state(&mut change, customer, ActivationState::Inactive).await?;
    } else {
        activations::keep_token(&mut change, customer, refresh.as_ref(), now).await?;
    }
    let detail = json!({ "step": state.step(), "error": state.failure() });
    events::insert(&mut change, now, "activation.consent", customer, &detail).await?;
    change.publish_for(&[customer]).await?;
    admin.activations.wake.notify_one();
    Ok(farewell(&admin, customer, &state))
}

/// Whether the expected tenant consented; what renews our access, if somebody signed in for it.
async fn consented(
    admin: &Admin,
    back: &Callback,
    expected: Option<Uuid>,
    verifier: &Secret,
) -> Result<Option<Secret>, Failure> {
    // An administrator who declines comes back with `admin_consent=True` all the same: the error wins.
    if let Some(error) = &back.error {
        let description = back.error_description.as_deref().unwrap_or_default();
        return Err(failure(MicrosoftError::of_login(error, description)));
    }
    let mismatch = || {
        Failure::new(
            "tenant_mismatch",
            "the consent came from another tenant than the customer's",
        )
    };
    let microsoft = automatic(admin)
        .map_err(|_| Failure::new("automatic_unavailable", "no application is configured"))?;
    let (tenant, refresh) = match &back.code {
        Some(code) => {
            let expected = expected.ok_or_else(mismatch)?.to_string();
            let redirect_uri = &microsoft.config().redirect_uri;
            let tokens = microsoft
                .login()
                .by_code(&expected, code, redirect_uri, verifier)
                .await
                .map_err(failure)?;
            let identity = tokens.identity.ok_or_else(mismatch)?;
            if identity.global_administrator == Some(false) {
                return Err(Failure::new(
                    "not_global_admin",
                    "who signed in is no Global Administrator",
                ));
            }
            (Some(identity.tenant_id), tokens.refresh)
        }
        None => (back.consented(), None),
    };
    match tenant {
        Some(tenant) if Some(tenant) == expected => Ok(refresh),
        _ => Err(mismatch()),
    }
}

impl Callback {
    /// The tenant that consented, if an administrator says so.
    fn consented(&self) -> Option<Uuid> {
        self.tenant
            .filter(|_| is_true(self.admin_consent.as_deref()))
    }

    /// The same for an invitation.
    fn answer(&self) -> Answer<'_> {
        let description = self.error_description.as_deref().unwrap_or_default();
        Answer {
            error: self.error.as_deref().map(|error| (error, description)),
            tenant: self.consented(),
        }
    }
}

fn is_true(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// As it is kept.
fn failure(error: MicrosoftError) -> Failure {
    tracing::info!(code = ?error.code, %error, "Microsoft did not give consent");
    Failure {
        code: error.fault.name().to_owned(),
        detail: error.detail,
        microsoft_request_id: error.request_id,
    }
}

fn farewell(admin: &Admin, customer: Uuid, state: &State) -> Response {
    let Some(portal) = &admin.activations.portal else {
        let words = match state.failure() {
            None => "Thank you. You may close this window; the activation goes on by itself.\n"
                .to_owned(),
            Some(why) => format!(
                "The activation has not begun: {}. You may close this window.\n",
                why.detail
            ),
        };
        return words.into_response();
    };
    let error = state
        .failure()
        .map_or_else(String::new, |why| format!("&error={}", why.code));
    let joint = if portal.contains('?') { '&' } else { '?' };
    let location = format!(
        "{portal}{joint}customer={customer}&activation={}{error}",
        state.name()
    );
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}
