//! The page behind the link of an invitation, for whoever was invited. The link is all the proof that there is, so nothing
//! stands here but what they need.

use super::Admin;
use super::body::filled_in;
use super::error::{ApiError, Problem};
use crate::microsoft::CONSENT_INCOMPLETE;
use crate::onboarding::{Answer, Asked};
use crate::provisioning::activation::Failure;
use crate::provisioning::{InvitationCode, InvitationState};
use crate::store::invitations::codes::{self, Typed};
use crate::store::{InvitationRecord, customers, events, invitations, services};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Nobody else may show the page in a frame, keep it, or learn its address from it.
pub(super) const GUARDED: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' https:; frame-ancestors 'none'; base-uri 'none'",
    ),
];

/// How far the sign-in is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Wizard {
    /// For whom.
    customer: String,
    /// For which service; none: the administrator registers.
    service: Option<String>,
    /// How far it is.
    state: InvitationState,
    /// Whether the code of the letter is needed.
    code_state: InvitationCode,
    /// Whether an administrator has signed in.
    device_authenticated: bool,
    /// Why the last step did not succeed.
    #[schema(value_type = Option<Object>)]
    failure: Option<Failure>,
    /// What to type where, while a sign-in waits.
    sign_in: Option<UserCode>,
    /// When the link no longer counts.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

/// What stands in the letter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenCode {
    /// Case, blanks and dashes do not count.
    #[schema(example = "7KQM-2ZPA-XW4T")]
    code: String,
}

/// What is typed at Microsoft.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct UserCode {
    /// This.
    user_code: String,
    /// There.
    verification_uri: String,
    /// Seconds that it can be used.
    expires_in: i64,
    /// Seconds between two looks here.
    interval: u32,
}

/// What comes after the sign-in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Next {
    /// How far it is.
    state: InvitationState,
    /// Where an administrator consents for the organisation; none if it has.
    consent_url: Option<String>,
}

/// The page of an invitation
///
/// For browsers in HTML, else in JSON.
#[utoipa::path(
    get, path = "/invite/{token}", tag = "invitations", operation_id = "show_wizard", params(("token" = String, Path)),
    security(()),
    responses((status = 200, body = Wizard), (status = 404, body = Problem), (status = 410, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let invitation = invited(&admin, &token).await?;
    admin.onboarding.opened(&invitation).await?;
    let wizard = wizard(&admin, invited(&admin, &token).await?).await?;
    Ok(match wants_html(&headers) {
        true => (GUARDED, Html(page(&token, &wizard))).into_response(),
        false => (GUARDED, Json(wizard)).into_response(),
    })
}

/// Give the code of the letter
///
/// It counts once, and the sign-in can begin then. After ten wrong ones only another letter helps.
#[utoipa::path(
    post, path = "/invite/{token}", tag = "invitations", operation_id = "give_invitation_code",
    params(("token" = String, Path)), request_body = GivenCode, security(()),
    responses((status = 200, body = Wizard), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 410, body = Problem), (status = 422, body = Problem),
              (status = 429, body = Problem))
)]
pub(super) async fn give_code(
    State(admin): State<Admin>,
    Path(token): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let invitation = invited(&admin, &token).await?;
    if invitation.code_state == InvitationCode::None {
        let detail = "this invitation needs no code";
        return Err(ApiError::conflict("no_code", detail));
    }
    let given: GivenCode = filled_in(request).await?;
    admin.onboarding.opened(&invitation).await?;
    let mut change = admin.store.rows().await?;
    let typed = codes::typed(&mut change, invitation.id, &given.code).await?;
    if typed == Typed::Right {
        let (now, customer) = (admin.onboarding.clock().now(), invitation.customer_id);
        let detail = json!({ "invitation": invitation.id });
        events::insert(&mut change, now, "invitation.code_given", customer, &detail).await?;
    }
    // Also of a wrong one: it counts.
    change.keep().await?;
    let (status, code, detail) = match typed {
        Typed::Right if wants_html(&headers) => return Ok(see_other(&format!("/invite/{token}"))),
        Typed::Right => {
            let wizard = wizard(&admin, invited(&admin, &token).await?).await?;
            return Ok((GUARDED, Json(wizard)).into_response());
        }
        Typed::Wrong => (StatusCode::UNAUTHORIZED, "wrong_code", "the code is wrong"),
        Typed::Over => {
            let detail = "the code was used before, or another letter has replaced it";
            (StatusCode::GONE, "code_over", detail)
        }
        Typed::TooMany => {
            let detail = "too many codes were wrong: ask for another letter";
            (StatusCode::TOO_MANY_REQUESTS, "too_many_codes", detail)
        }
    };
    if !wants_html(&headers) {
        return Err(ApiError::new(status, code, detail));
    }
    let wizard = Wizard {
        failure: Some(Failure::new(code, detail)),
        ..wizard(&admin, invited(&admin, &token).await?).await?
    };
    Ok((status, GUARDED, Html(page(&token, &wizard))).into_response())
}

/// Begin the sign-in of an administrator
///
/// They type the code at Microsoft's page, with whatever device. While one waits, the same is told again.
#[utoipa::path(
    post, path = "/invite/{token}/start-authentication", tag = "invitations", operation_id = "start_authentication",
    params(("token" = String, Path)), security(()),
    responses((status = 200, body = UserCode), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 410, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn start(
    State(admin): State<Admin>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let invitation = admitted(&admin, &token).await?;
    let begun = admin.onboarding.start(&invitation).await?;
    let now = admin.onboarding.clock().now();
    let code = UserCode {
        user_code: begun.user_code,
        verification_uri: begun.verification_uri,
        expires_in: (begun.expires_at - now).whole_seconds(),
        interval: begun.interval_s,
    };
    Ok(match wants_html(&headers) {
        true => see_other(&format!("/invite/{token}")),
        false => (GUARDED, Json(code)).into_response(),
    })
}

/// Go on after the sign-in
///
/// Only the first connection to a tenant needs the consent of its organisation.
#[utoipa::path(
    post, path = "/invite/{token}/continue", tag = "invitations", operation_id = "continue_authentication",
    params(("token" = String, Path)), security(()),
    responses((status = 200, body = Next), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 410, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn go_on(
    State(admin): State<Admin>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let invitation = admitted(&admin, &token).await?;
    let consent_url = match admin.onboarding.go_on(&invitation).await? {
        Asked::Complete => None,
        Asked::ConsentUrl(url) => Some(url),
    };
    if wants_html(&headers) {
        let page = format!("/invite/{token}");
        return Ok(see_other(consent_url.as_deref().unwrap_or(&page)));
    }
    let state = invited(&admin, &token).await?.state;
    Ok((GUARDED, Json(Next { state, consent_url })).into_response())
}

/// What an administrator sees who comes back from a page of consent; none if they come from elsewhere.
pub(super) async fn answered(
    admin: &Admin,
    state_hash: &[u8; 32],
    answer: Answer<'_>,
) -> Result<Option<Response>, ApiError> {
    let Some(invitation) = admin.onboarding.answered(state_hash, answer).await? else {
        return Ok(None);
    };
    let mut connection = admin.store.read().await?;
    let token = invitations::token(&mut connection, admin.store.keys(), invitation.id).await?;
    let link = token.map_or_else(String::new, |token| admin.letters.link(token.expose()));
    Ok(Some(see_other(&link)))
}

fn see_other(location: &str) -> Response {
    let location = [(header::LOCATION, location.to_owned())];
    (StatusCode::SEE_OTHER, GUARDED, location).into_response()
}

/// The invitation of a link, while that counts.
async fn invited(admin: &Admin, token: &str) -> Result<InvitationRecord, ApiError> {
    let now = admin.onboarding.clock().now();
    let mut connection = admin.store.read().await?;
    let found = invitations::by_token(&mut connection, token, now).await?;
    let over = || {
        let detail =
            "this link was taken back, another letter has replaced it, or its time is over";
        ApiError::new(StatusCode::GONE, "invitation_over", detail)
    };
    match found {
        Some(found) if found.state.is_open() => Ok(found),
        Some(_) => Err(over()),
        None if codes::is_replaced(&mut connection, token).await? => Err(over()),
        None => Err(ApiError::not_found()),
    }
}

/// The same for what comes after the code.
async fn admitted(admin: &Admin, token: &str) -> Result<InvitationRecord, ApiError> {
    let invitation = invited(admin, token).await?;
    if invitation.code_state == InvitationCode::Wanted {
        let detail = "the code of the letter is needed first";
        return Err(ApiError::conflict("code_wanted", detail));
    }
    Ok(invitation)
}

async fn wizard(admin: &Admin, invitation: InvitationRecord) -> Result<Wizard, ApiError> {
    let mut connection = admin.store.read().await?;
    let customer = customers::find(&mut connection, invitation.customer_id).await?;
    let service = match invitation.service_id {
        None => None,
        Some(id) => services::find(&mut connection, invitation.customer_id, id).await?,
    };
    let waits = invitations::sign_in(&mut connection, admin.store.keys(), invitation.id).await?;
    let now = admin.onboarding.clock().now();
    let sign_in = waits.filter(|waits| waits.expires_at > now);
    Ok(Wizard {
        customer: customer.map_or_else(String::new, |customer| customer.settings.name),
        service: service.map(|service| service.settings.full_name),
        state: invitation.state,
        code_state: invitation.code_state,
        device_authenticated: invitation.device_authenticated,
        failure: invitation.failure,
        sign_in: sign_in.map(|waits| UserCode {
            user_code: waits.user_code,
            verification_uri: waits.verification_uri,
            expires_in: (waits.expires_at - now).whole_seconds(),
            interval: waits.interval_s,
        }),
        expires_at: invitation.expires_at,
    })
}

pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The page without a script: it loads itself again while something is waited for.
fn page(token: &str, wizard: &Wizard) -> String {
    let button = |verb: &str, words: &str| {
        let token = escaped(token);
        format!(
            "<form method=post action=\"/invite/{token}/{verb}\"><button>{words}</button></form>"
        )
    };
    let (body, waits) = match (wizard.state, &wizard.sign_in) {
        _ if wizard.code_state == InvitationCode::Wanted => {
            let token = escaped(token);
            let form = format!(
                "<form method=post action=\"/invite/{token}\"><label>Invitation Code \
                 <input name=code required maxlength=32 autocomplete=off autofocus></label> <button>Complete</button></form>"
            );
            (form, false)
        }
        (InvitationState::AuthenticationComplete, _) => (
            "<p><b>Authentication Complete.</b> Thank you. You may close this window.</p>"
                .to_owned(),
            false,
        ),
        (_, Some(code)) => (
            format!(
                "<p>Open <a href=\"{0}\" target=_blank rel=noreferrer>{0}</a>, enter the code <b>{1}</b> and sign in as Global \
                 Administrator. This page goes on by itself.</p>",
                escaped(&code.verification_uri),
                escaped(&code.user_code)
            ),
            true,
        ),
        (InvitationState::TokenAcquired, _) => {
            // Who signs in again can tick what they did not.
            let again = match &wizard.failure {
                Some(failure) if failure.code == CONSENT_INCOMPLETE => {
                    button("start-authentication", "Sign in again")
                }
                _ => String::new(),
            };
            (
                "<p>You have successfully acquired a token. Your organization has to consent once.</p>"
                    .to_owned()
                    + &again
                    + &button("continue", "Continue the authentication process"),
                false,
            )
        }
        _ => (
            "<p>A Global Administrator of your Microsoft 365 tenant is needed.</p>".to_owned()
                + &button("start-authentication", "Start authentication"),
            false,
        ),
    };
    let failure = wizard.failure.as_ref().map_or_else(String::new, |failure| {
        format!("<p role=alert>{}</p>", escaped(&failure.detail))
    });
    let refresh = if waits {
        "<meta http-equiv=refresh content=5>"
    } else {
        ""
    };
    let customer = escaped(&wizard.customer);
    let whose = match &wizard.service {
        Some(service) => format!("{} of {customer}", escaped(service)),
        None => customer,
    };
    document(
        "Connect to Microsoft Teams",
        refresh,
        &format!("<p>{whose}</p>{failure}{body}"),
    )
}

/// A page without a script.
pub(super) fn document(title: &str, head: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">{head}\
         <title>{title}</title><style>body{{font:1rem sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}}\
         [role=alert]{{color:#a00}}</style><h1>{title}</h1>{body}</html>"
    )
}

pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    /// Each step has its own page, and a name that somebody chose cannot become a part of it.
    #[test]
    fn pages_show_the_step_and_nothing_that_others_wrote_as_html() {
        let wizard = |state, sign_in: Option<UserCode>| Wizard {
            customer: "<script>alert(1)</script>".into(),
            service: Some("\"Contoso\" & Sons".into()),
            state,
            code_state: InvitationCode::None,
            device_authenticated: false,
            failure: Some(Failure::new("x", "<b>")),
            sign_in,
            expires_at: datetime!(2026-05-04 03:02 UTC),
        };
        let code = UserCode {
            user_code: "ABC'D".into(),
            verification_uri: "https://login.example/device".into(),
            expires_in: 900,
            interval: 5,
        };
        for (state, code, shown) in [
            (InvitationState::Opened, None, "start-authentication"),
            (InvitationState::Opened, Some(code), "ABC&#39;D"),
            (InvitationState::TokenAcquired, None, "/invite/t/continue"),
            (
                InvitationState::AuthenticationComplete,
                None,
                "Authentication Complete",
            ),
        ] {
            let page = page("t", &wizard(state, code));
            assert!(page.contains(shown), "{shown}: {page}");
            assert!(!page.contains("<script") && !page.contains("alert><b>"));
            assert!(page.contains("&quot;Contoso&quot; &amp; Sons of &lt;script&gt;"));
        }
        let registers = Wizard {
            service: None,
            code_state: InvitationCode::Wanted,
            ..wizard(InvitationState::Opened, None)
        };
        let page = page("t", &registers);
        assert!(page.contains("name=code") && !page.contains("start-authentication"));
        assert!(page.contains("<p>&lt;script&gt;"));
    }
}
