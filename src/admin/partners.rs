#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::answer::{absent, changed, created, deleted, require_match, shown};
use super::auth::Caller;
use super::body::{Body, Search, patched};
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use crate::provisioning::{Letter, PartnerState, RESEND_PAUSE};
use crate::store::{
    AccessRole, Change, PartnerInvitationRecord, PartnerRecord, PartnerSettings,
    partner_invitations, partners,
};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use sqlx::SqliteConnection;
use utoipa::ToSchema;
use uuid::Uuid;

/// Partners, oldest first
///
/// A partner sees itself and its resellers.
#[utoipa::path(
    get, path = "/api/v1/partners", tag = "partners", operation_id = "list_partners", params(Paging),
    responses((status = 200, body = List<PartnerRecord>))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Search(paging): Search<Paging>,
) -> Result<Json<List<PartnerRecord>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    let listed = partners::list(&mut connection, caller.partner(), page).await?;
    Ok(Json(listed.into()))
}

/// Add a partner
///
/// The carrier adds master resellers and resellers, a master reseller its own resellers. Who is added may not change
/// anything until it is active. Where a mail server is configured, it is sent a link by which it activates itself.
#[utoipa::path(
    post, path = "/api/v1/partners", tag = "partners", operation_id = "create_partner", request_body = PartnerSettings,
    responses((status = 201, body = PartnerRecord), (status = 403, body = Problem), (status = 409, body = Problem),
              (status = 422, body = Problem))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Body(mut settings): Body<PartnerSettings>,
) -> Result<Response, ApiError> {
    if let Some(own) = caller.partner() {
        if settings.parent_id.is_some_and(|parent| parent != own) {
            return Err(ApiError::invalid_field(
                "parent_id",
                "foreign",
                "must be your own, or absent",
            ));
        }
        settings.parent_id = Some(own);
    }
    check_state(&caller, PartnerState::Invited, &settings)?;
    let mut change = admin.store.change().await?;
    let record = partners::insert(&mut change, &settings).await?;
    let location = format!("/api/v1/partners/{}", record.id);
    let audited = caller.audit(
        &mut change,
        "create",
        Some(&location),
        None::<&()>,
        Some(&record),
    );
    audited.await?;
    if admin.letters.are_sent && record.settings.state == PartnerState::Invited {
        invited(&admin, &mut change, &record).await?;
    }
    let generation = change.publish_for(&[]).await?;
    admin.letters.wake.notify_one();
    Ok(created(&location, record.version, &record, generation))
}

/// A partner's invitation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PartnerInvited {
    #[serde(flatten)]
    record: PartnerInvitationRecord,
    /// Whether the link is on its way by mail.
    email_queued: bool,
    /// The link, for the carrier's administrators only: who else makes partners must not activate them.
    activation_url: Option<String>,
}

/// Send a partner the link by which it activates its account
///
/// The one before leads nowhere from now on. Once a minute at most. Without a mail server the carrier takes the link from the
/// answer.
#[utoipa::path(
    post, path = "/api/v1/partners/{partner}/invitation", tag = "partners", operation_id = "invite_partner",
    params(("partner" = Uuid, Path)),
    responses((status = 202, body = PartnerInvited), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 429, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn invite(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    let now = admin.onboarding.clock().now();
    let mut change = admin.store.rows().await?;
    let partner = visible(&caller, &mut change, id).await?;
    if partner.settings.state != PartnerState::Invited {
        let detail = "the partner is active, or disabled";
        return Err(ApiError::conflict("partner_not_invited", detail));
    }
    let last = partner_invitations::find(&mut change, id).await?;
    if let Some(next) = last.map(|last| last.sent_at + RESEND_PAUSE)
        && now < next
    {
        let seconds = u32::try_from((next - now).whole_seconds() + 1).unwrap_or(60);
        let detail = "the last letter was asked for less than a minute ago";
        let early = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "resend_too_early", detail);
        return Err(early.retry_after(seconds));
    }
    let shows = caller.role() == AccessRole::CarrierAdmin;
    if !shows {
        admin.letters.require()?;
    }
    let (record, link) = invited(&admin, &mut change, &partner).await?;
    caller
        .audit(&mut change, "invite", None, None::<&()>, Some(&record))
        .await?;
    change.keep().await?;
    admin.letters.wake.notify_one();
    let view = PartnerInvited {
        record,
        email_queued: admin.letters.are_sent,
        activation_url: shows.then_some(link),
    };
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

/// Makes a partner's link, and has it sent if letters are.
async fn invited(
    admin: &Admin,
    change: &mut Change,
    partner: &PartnerRecord,
) -> Result<(PartnerInvitationRecord, String), ApiError> {
    let now = admin.onboarding.clock().now();
    let (record, token) = partner_invitations::renew(change, partner.id, now).await?;
    let link = admin.letters.activation_link(token.expose());
    if admin.letters.are_sent {
        let (name, expires) = (&partner.settings.name, record.expires_at);
        let letter = Letter::partner_activation(name, &link, expires);
        partner_invitations::send(change, partner, &letter, now).await?;
    }
    Ok((record, link))
}

/// A partner
#[utoipa::path(
    get, path = "/api/v1/partners/{partner}", tag = "partners", operation_id = "show_partner",
    params(("partner" = Uuid, Path)),
    responses((status = 200, body = PartnerRecord), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let record = visible(&caller, &mut *admin.store.read().await?, id).await?;
    Ok(shown(&headers, record.version, &record))
}

/// Change a partner
///
/// Its state is the carrier's to set. A partner changes its resellers, and of itself what is not a limit.
#[utoipa::path(
    patch, path = "/api/v1/partners/{partner}", tag = "partners", operation_id = "change_partner",
    params(("partner" = Uuid, Path), ("If-Match" = String, Header)), request_body = PartnerSettings,
    responses((status = 200, body = PartnerRecord), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem),
              (status = 428, body = Problem))
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let before = visible(&caller, &mut change, id).await?;
    require_match(&headers, before.version)?;
    let settings: PartnerSettings = patched(&before.settings, patch)?;
    if settings.parent_id != before.settings.parent_id {
        return Err(ApiError::invalid_field(
            "parent_id",
            "immutable",
            "never changes",
        ));
    }
    check_state(&caller, before.settings.state, &settings)?;
    if caller.partner() == Some(id) && settings.offerings != before.settings.offerings {
        let detail = "what a partner sells is not its own to set";
        return Err(ApiError::forbidden("own_limits", detail));
    }
    let record = partners::update(&mut change, id, &settings).await?;
    caller
        .audit(&mut change, "update", None, Some(&before), Some(&record))
        .await?;
    Ok(changed(
        record.version,
        &record,
        change.publish_for(&[]).await?,
    ))
}

/// Remove a partner
///
/// It must have neither customers nor resellers.
#[utoipa::path(
    delete, path = "/api/v1/partners/{partner}", tag = "partners", operation_id = "delete_partner",
    params(("partner" = Uuid, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    if !caller.role().is_scoped() && partners::find(&mut change, id).await?.is_none() {
        return Ok(absent());
    }
    let before = visible(&caller, &mut change, id).await?;
    require_match(&headers, before.version)?;
    if caller.partner() == Some(id) {
        let detail = "a partner does not remove itself";
        return Err(ApiError::forbidden("own_limits", detail));
    }
    partners::delete(&mut change, id).await?;
    caller
        .audit(&mut change, "delete", None, Some(&before), None::<&()>)
        .await?;
    Ok(deleted(change.publish_for(&[]).await?))
}

/// One that the caller may know of.
async fn visible(
    caller: &Caller,
    connection: &mut SqliteConnection,
    id: Uuid,
) -> Result<PartnerRecord, ApiError> {
    let record = partners::find(connection, id)
        .await?
        .ok_or_else(ApiError::not_found)?;
    let sees = match caller.role() {
        AccessRole::PartnerAdmin => {
            let own = caller.partner();
            own.is_some() && (own == Some(id) || own == record.settings.parent_id)
        }
        AccessRole::CarrierAdmin | AccessRole::Noc => true,
        AccessRole::CustomerAdmin | AccessRole::CustomerOperator | AccessRole::EndUser => false,
    };
    sees.then_some(record).ok_or_else(ApiError::not_found)
}

fn check_state(
    caller: &Caller,
    before: PartnerState,
    settings: &PartnerSettings,
) -> Result<(), ApiError> {
    if settings.state == before || caller.role() == AccessRole::CarrierAdmin {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "state_by_carrier",
        "only the carrier sets a partner's state",
    ))
}
