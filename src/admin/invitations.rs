//! Invitations as whoever sends them sees them.

use super::Admin;
use super::answer::{created_rows, shown};
use super::auth::Caller;
use super::body::{Body, Search};
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use crate::onboarding::OnboardingError;
use crate::provisioning::{InvitationEvent, Letter, RESEND_PAUSE, is_email};
use crate::store::{
    Change, CustomerRecord, InvitationRecord, Invitee, Listed, ServiceRecord, StoreError,
    activations, events, invitations, invitations::codes, services,
};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::SqliteConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// An invitation, with its link.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InvitationView {
    #[serde(flatten)]
    record: InvitationRecord,
    /// The link of the letter, also for whoever cannot be reached by one; none when it no longer counts.
    auth_url: Option<String>,
    /// The code that its page demands; seen once, right after it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// Who is invited for what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewInvitation {
    /// A service of the customer; none: its administrator is to register, with a code.
    #[serde(default)]
    service_id: Option<Uuid>,
    /// Who.
    #[serde(default)]
    invitee: Invitee,
    /// Whether the link is sent to `invitee.email`.
    #[serde(default)]
    send_link: bool,
}

/// Whether what we keep of a sign-in still counts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Validated {
    /// Whether it does.
    valid: bool,
    /// The tenant that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

impl Admin {
    /// An invitation as it is shown.
    pub(super) async fn invitation(
        &self,
        connection: &mut SqliteConnection,
        record: InvitationRecord,
    ) -> Result<InvitationView, ApiError> {
        let token = invitations::token(connection, self.store.keys(), record.id).await?;
        let token = token.filter(|_| record.state.is_open());
        Ok(InvitationView {
            auth_url: token.map(|token| self.letters.link(token.expose())),
            code: None,
            record,
        })
    }

    /// The same right after its code was made.
    pub(super) async fn new_invitation(
        &self,
        connection: &mut SqliteConnection,
        record: InvitationRecord,
    ) -> Result<InvitationView, ApiError> {
        let code = codes::live(connection, self.store.keys(), record.id).await?;
        let view = self.invitation(connection, record).await?;
        Ok(InvitationView {
            code: code.map(|code| code.expose().to_owned()),
            ..view
        })
    }
}

/// What is wrong with whom somebody invites.
pub(super) fn check_invitee(invitee: &Invitee, send_link: bool) -> Result<(), ApiError> {
    for (field, address) in [
        ("invitee.email", &invitee.email),
        ("invitee.admin_email", &invitee.admin_email),
    ] {
        if address.as_deref().is_some_and(|address| !is_email(address)) {
            return Err(ApiError::invalid_field(
                field,
                "email",
                "is no email address",
            ));
        }
    }
    if send_link && invitee.email.is_none() {
        let message = "is needed where a link is sent";
        return Err(ApiError::invalid_field(
            "invitee.email",
            "required",
            message,
        ));
    }
    Ok(())
}

/// Has the link of an invitation sent, and its code if it has one.
pub(super) async fn send(
    admin: &Admin,
    change: &mut Change,
    customer: &CustomerRecord,
    service: Option<&ServiceRecord>,
    invitation: InvitationRecord,
    now: OffsetDateTime,
) -> Result<InvitationRecord, ApiError> {
    let Some(to) = invitation.invitee.email.clone() else {
        return Ok(invitation);
    };
    admin.letters.require()?;
    let keys = change.keys();
    let token = invitations::token(change, &keys, invitation.id).await?;
    let link = token.map_or_else(String::new, |token| admin.letters.link(token.expose()));
    let (name, expires) = (&customer.settings.name, invitation.expires_at);
    let letter = match service {
        Some(service) => {
            Letter::token_invitation(name, &service.settings.short_name, &link, expires)
        }
        None => {
            let code = codes::live(change, &keys, invitation.id).await?;
            let code = code.as_ref().map_or("", |code| code.expose());
            Letter::registration(name, &link, code, expires)
        }
    };
    let sent = invitations::send(change, &invitation, &to, &letter, now).await?;
    let detail = json!({ "invitation": sent.id, "letters": sent.email_sent_count });
    events::insert(change, now, "invitation.sent", customer.id, &detail).await?;
    Ok(sent)
}

/// Invitations of a customer, newest first
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/invitations", tag = "invitations", operation_id = "list_invitations",
    params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<InvitationView>), (status = 404, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(paging): Search<Paging>,
) -> Result<Json<List<InvitationView>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    caller.customer(&mut connection, id).await?;
    let now = admin.onboarding.clock().now();
    let listed = invitations::list(&mut connection, id, page, now).await?;
    let mut items = Vec::with_capacity(listed.items.len());
    for record in listed.items {
        items.push(admin.invitation(&mut connection, record).await?);
    }
    let next = listed.next;
    Ok(Json(Listed { items, next }.into()))
}

/// Invite somebody to sign in at Microsoft for a service, or a customer's administrator to register
///
/// The link in the answer does the same as the letter. Without a service its page demands a code as well, which stands in the
/// letter, and once in the answer.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/invitations", tag = "invitations", operation_id = "create_invitation",
    params(("id" = Uuid, Path)), request_body = NewInvitation,
    responses((status = 201, body = InvitationView), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 422, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(wanted): Body<NewInvitation>,
) -> Result<Response, ApiError> {
    check_invitee(&wanted.invitee, wanted.send_link)?;
    let now = admin.onboarding.clock().now();
    let mut change = admin.store.rows().await?;
    let customer = caller.customer(&mut change, id).await?;
    let service = match wanted.service_id {
        None => None,
        Some(service) => {
            let unknown = || {
                let message = "is no service of the customer";
                ApiError::invalid_field("service_id", "unknown_service", message)
            };
            let found = services::find(&mut change, id, service).await?;
            Some(found.ok_or_else(unknown)?)
        }
    };
    let (invitee, which) = (&wanted.invitee, service.as_ref().map(|service| service.id));
    let mut record = invitations::insert(&mut change, id, which, invitee, now).await?;
    if wanted.send_link {
        let service = service.as_ref();
        record = send(&admin, &mut change, &customer, service, record, now).await?;
    }
    let location = format!("/api/v1/customers/{id}/invitations/{}", record.id);
    caller
        .audit(
            &mut change,
            "create",
            Some(&location),
            None::<&()>,
            Some(&record),
        )
        .await?;
    let view = admin.new_invitation(&mut change, record).await?;
    change.keep().await?;
    admin.letters.wake.notify_one();
    Ok(created_rows(&location, view.record.version, &view))
}

/// An invitation
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/invitations/{invitation}", tag = "invitations", operation_id = "show_invitation",
    params(("id" = Uuid, Path), ("invitation" = Uuid, Path)),
    responses((status = 200, body = InvitationView), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, invitation)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.customer(&mut connection, id).await?;
    let record = own(&admin, &mut connection, id, invitation).await?;
    let view = admin.invitation(&mut connection, record).await?;
    // Its letter changes without its version.
    Ok(shown(&headers, view.record.version, &view).into_response())
}

/// Take an invitation back
///
/// Its link leads nowhere from now on, and a letter that has not left stays here.
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/invitations/{invitation}", tag = "invitations",
    operation_id = "revoke_invitation", params(("id" = Uuid, Path), ("invitation" = Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn revoke(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, invitation)): Path<(Uuid, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let mut change = admin.store.rows().await?;
    caller.customer(&mut change, id).await?;
    let before = own(&admin, &mut change, id, invitation).await?;
    let complete = || ApiError::conflict("authentication_complete", "it has done its work");
    if before.state != crate::provisioning::InvitationState::Revoked {
        let state = before
            .state
            .on(InvitationEvent::Revoked)
            .ok_or_else(complete)?;
        invitations::set_state(&mut change, invitation, state, None).await?;
        invitations::withdraw_letter(&mut change, invitation).await?;
        invitations::end_sign_in(&mut change, invitation).await?;
        caller
            .audit(&mut change, "delete", None, Some(&before), None::<&()>)
            .await?;
    }
    change.keep().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send an invitation again
///
/// With another link, another code if it has one, and its whole time; the old ones lead nowhere from now on. Once a minute at most. Without an address
/// nothing is sent, and the link is in the answer.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/invitations/{invitation}/resend", tag = "invitations",
    operation_id = "resend_invitation", params(("id" = Uuid, Path), ("invitation" = Uuid, Path)),
    responses((status = 202, body = InvitationView), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 429, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn resend(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, invitation)): Path<(Uuid, Uuid)>,
) -> Result<Response, ApiError> {
    let now = admin.onboarding.clock().now();
    let mut change = admin.store.rows().await?;
    let customer = caller.customer(&mut change, id).await?;
    let before = own(&admin, &mut change, id, invitation).await?;
    let over = || ApiError::conflict("invitation_over", "it has done its work, or was taken back");
    let state = before.state.on(InvitationEvent::Renewed).ok_or_else(over)?;
    if let Some(next) = before.email_requested_at.map(|at| at + RESEND_PAUSE)
        && now < next
    {
        let seconds = u32::try_from((next - now).whole_seconds() + 1).unwrap_or(60);
        let detail = "the last letter was asked for less than a minute ago";
        let early = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "resend_too_early", detail);
        return Err(early.retry_after(seconds));
    }
    let service = match before.service_id {
        None => None,
        Some(service) => services::find(&mut change, id, service).await?,
    };
    let renewed = invitations::renew(&mut change, &before, state, now).await?;
    let record = match before.invitee.email {
        Some(_) => {
            let service = service.as_ref();
            send(&admin, &mut change, &customer, service, renewed, now).await?
        }
        None => renewed,
    };
    caller
        .audit(&mut change, "update", None, None::<&()>, Some(&record))
        .await?;
    let view = admin.new_invitation(&mut change, record).await?;
    change.keep().await?;
    admin.letters.wake.notify_one();
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

/// Try whether what is kept of a customer's sign-in at Microsoft still counts
///
/// If it does not, calls pass all the same; somebody has to be invited anew.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/m365/validate", tag = "invitations", operation_id = "validate_tenant",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Validated), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 503, body = Problem))
)]
pub(super) async fn validate(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<Validated>, ApiError> {
    caller.customer(&mut *admin.store.read().await?, id).await?;
    let error = match admin.onboarding.validate(id).await {
        Ok(tenant) => {
            let now = admin.onboarding.clock().now();
            activations::token_counts(&admin.store, id, now).await?;
            return Ok(Json(Validated {
                valid: true,
                tenant_id: Some(tenant),
                code: None,
            }));
        }
        Err(error) if error.needs_sign_in() => error,
        Err(error) => return Err(error.into()),
    };
    let mut change = admin.store.rows().await?;
    let now = admin.onboarding.clock().now();
    let detail = json!({ "code": error.code() });
    events::insert(&mut change, now, "tenant.token_invalid", id, &detail).await?;
    change.keep().await?;
    tracing::warn!(customer = %id, code = error.code(), "the sign-in at Microsoft no longer counts");
    Ok(Json(Validated {
        valid: false,
        tenant_id: None,
        code: Some(error.code()),
    }))
}

/// The customer's one of this id.
async fn own(
    admin: &Admin,
    connection: &mut SqliteConnection,
    customer: Uuid,
    id: Uuid,
) -> Result<InvitationRecord, ApiError> {
    let now = admin.onboarding.clock().now();
    let found = invitations::find(connection, id, now).await?;
    found
        .filter(|found| found.customer_id == customer)
        .ok_or_else(ApiError::not_found)
}

impl From<OnboardingError> for ApiError {
    fn from(error: OnboardingError) -> Self {
        let code = error.code();
        match error {
            OnboardingError::Store(error) => StoreError::into(error),
            OnboardingError::Over => Self::new(
                StatusCode::GONE,
                "invitation_over",
                "this link was taken back, or its time is over",
            ),
            error if error.is_passing() => {
                Self::unavailable("microsoft_unreachable", "Microsoft does not answer")
            }
            error => Self::conflict(code, &error.to_string()),
        }
    }
}
