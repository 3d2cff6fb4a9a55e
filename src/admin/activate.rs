//! The page behind the link of a partner's letter. The link is all the proof that there is. Opening it changes nothing, for
//! programs that look at letters open links too; the button does.

use super::Admin;
use super::error::{ApiError, Problem};
use super::invite::{GUARDED, document, escaped, wants_html};
use super::request::RequestId;
use crate::provisioning::PartnerState;
use crate::store::{
    AccessRole, AuditEvent, PartnerInvitationRecord, PartnerRecord, PartnerSettings,
    partner_invitations, partners,
};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use sqlx::SqliteConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Whose account is to be activated.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PartnerActivation {
    /// The partner's name.
    partner: String,
    /// How far it is.
    state: PartnerState,
    /// When the link no longer counts.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

/// The page on which a partner activates its account
///
/// For browsers in HTML, else in JSON.
#[utoipa::path(
    get, path = "/activate/{token}", tag = "partners", operation_id = "show_partner_activation",
    params(("token" = String, Path)), security(()),
    responses((status = 200, body = PartnerActivation), (status = 404, body = Problem), (status = 410, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let now = admin.onboarding.clock().now();
    let (link, partner) = invited(&mut *admin.store.read().await?, &token, now).await?;
    Ok(answer(&headers, &token, &link, partner))
}

/// Activate a partner's account
///
/// Its tokens may change things from now on. The link counts once.
#[utoipa::path(
    post, path = "/activate/{token}", tag = "partners", operation_id = "activate_partner",
    params(("token" = String, Path)), security(()),
    responses((status = 200, body = PartnerActivation), (status = 404, body = Problem), (status = 410, body = Problem))
)]
pub(super) async fn activate(
    State(admin): State<Admin>,
    Extension(request): Extension<RequestId>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let now = admin.onboarding.clock().now();
    // Who guesses must not make those wait who write.
    invited(&mut *admin.store.read().await?, &token, now).await?;
    let mut change = admin.store.change().await?;
    let (link, before) = invited(&mut change, &token, now).await?;
    let settings = PartnerSettings {
        state: PartnerState::Active,
        ..before.settings.clone()
    };
    let partner = partners::update(&mut change, before.id, &settings).await?;
    partner_invitations::use_up(&mut change, before.id, now).await?;
    let event = AuditEvent {
        // Nobody's token: whoever had the link.
        token_id: Uuid::nil(),
        role: AccessRole::PartnerAdmin.name(),
        action: "activate",
        object: &format!("/api/v1/partners/{}", before.id),
        before: serde_json::to_value(&before).ok(),
        after: serde_json::to_value(&partner).ok(),
        request_id: &request.0,
        on_behalf_of: None,
    };
    change.audit(&event).await?;
    change.publish_for(&[]).await?;
    Ok(answer(&headers, &token, &link, partner))
}

/// The partner of a link, while that counts.
async fn invited(
    connection: &mut SqliteConnection,
    token: &str,
    now: OffsetDateTime,
) -> Result<(PartnerInvitationRecord, PartnerRecord), ApiError> {
    let link = partner_invitations::by_token(connection, token).await?;
    let link = link.ok_or_else(ApiError::not_found)?;
    let partner = partners::find(connection, link.partner_id).await?;
    let partner = partner.ok_or_else(ApiError::not_found)?;
    let waits = partner.settings.state == PartnerState::Invited;
    if !waits || link.used_at.is_some() || link.expires_at <= now {
        let detail = "this link was used before, or its time is over";
        return Err(ApiError::new(StatusCode::GONE, "link_over", detail));
    }
    Ok((link, partner))
}

fn answer(
    headers: &HeaderMap,
    token: &str,
    link: &PartnerInvitationRecord,
    partner: PartnerRecord,
) -> Response {
    let view = PartnerActivation {
        partner: partner.settings.name,
        state: partner.settings.state,
        expires_at: link.expires_at,
    };
    match wants_html(headers) {
        true => (GUARDED, Html(page(token, &view))).into_response(),
        false => (GUARDED, Json(view)).into_response(),
    }
}

fn page(token: &str, view: &PartnerActivation) -> String {
    let body = match view.state {
        PartnerState::Active => {
            "<p><b>The account is active.</b> You may close this window.</p>".to_owned()
        }
        PartnerState::Invited | PartnerState::Disabled => format!(
            "<form method=post action=\"/activate/{}\"><button>Activate</button></form>",
            escaped(token)
        ),
    };
    let name = escaped(&view.partner);
    document("Activate the account", "", &format!("<p>{name}</p>{body}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    /// A partner's name cannot become a part of the page, and who is active has no button any more.
    #[test]
    fn the_page_has_a_button_once() {
        let view = |state| PartnerActivation {
            partner: "<script>alert(1)</script>".into(),
            state,
            expires_at: datetime!(2026-05-04 03:02 UTC),
        };
        let before = page("t\"", &view(PartnerState::Invited));
        assert!(before.contains("action=\"/activate/t&quot;\"") && !before.contains("<script"));
        assert!(!page("t", &view(PartnerState::Active)).contains("<form"));
    }
}
