//! The upgrade of a service: a wizard that can be left at any step, and the step that does it.

use super::Admin;
use super::auth::Caller;
use super::body::Body;
use super::error::{ApiError, Problem};
use super::invitations::{InvitationView, check_invitee, send};
use crate::directory::Role;
use crate::onboarding::Upgrade;
use crate::provisioning::{InvitationState, ServiceState};
use crate::store::{
    ServiceRecord, StoreError, TaskKind, TaskRecord, TrunkSettings, UpgradeDraft, UpgradeRecord,
    invitations, services, tasks, trunks, upgrades,
};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sqlx::SqliteConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Where the upgrade of a service stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Upgrade)]
pub(super) struct UpgradeView {
    /// Which.
    service_id: Uuid,
    /// How far it is; `ready_to_upgrade` is when it can be begun.
    step: ServiceState,
    /// What was entered; none before anything was.
    draft: Option<UpgradeDraft>,
    /// Whether the connection has a password.
    password_set: bool,
    /// The newest invitation.
    invitation: Option<InvitationView>,
    /// The task that carries it out, or did.
    task_id: Option<Uuid>,
    /// When something was last entered.
    #[serde(with = "time::serde::rfc3339::option")]
    updated_at: Option<OffsetDateTime>,
}

/// Where the upgrade of a service stands
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/services/{service}/upgrade", tag = "services", operation_id = "show_upgrade",
    params(("id" = Uuid, Path), ("service" = Uuid, Path)),
    responses((status = 200, body = UpgradeView), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, service)): Path<(Uuid, Uuid)>,
) -> Result<Json<UpgradeView>, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.customer(&mut connection, id).await?;
    let service = own(&mut connection, id, service).await?;
    Ok(Json(view(&admin, &mut connection, service).await?))
}

/// Enter what a service is upgraded to
///
/// Also again, and in part by somebody else: it is kept until the upgrade. The first time, and when the invitee is another
/// one, an administrator is invited; the link is in the answer, and sent if that is wanted.
#[utoipa::path(
    put, path = "/api/v1/customers/{id}/services/{service}/upgrade", tag = "services", operation_id = "enter_upgrade",
    params(("id" = Uuid, Path), ("service" = Uuid, Path)), request_body = UpgradeDraft,
    responses((status = 200, body = UpgradeView), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn enter(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, service)): Path<(Uuid, Uuid)>,
    Body(draft): Body<UpgradeDraft>,
) -> Result<Json<UpgradeView>, ApiError> {
    let now = admin.onboarding.clock().now();
    caller.customer(&mut *admin.store.read().await?, id).await?;
    check_invitee(&draft.invitee, draft.send_link)?;
    check_connection(&caller, &draft.connection)?;
    rehearse(&admin, id, service, &draft).await?;
    let mut change = admin.store.rows().await?;
    let customer = caller.customer(&mut change, id).await?;
    let found = own(&mut change, id, service).await?;
    require_upgrade(&found, &draft)?;
    let before = upgrades::find(&mut change, service).await?;
    let after = upgrades::save(&mut change, service, &draft).await?;
    let last = invitations::of_service(&mut change, service, now).await?;
    let last = last.filter(|last| last.state.is_open() && last.invitee == draft.invitee);
    let invitation = match last {
        Some(last) => last,
        None => invitations::insert(&mut change, id, Some(service), &draft.invitee, now).await?,
    };
    let is_complete = invitation.state == InvitationState::AuthenticationComplete;
    if draft.send_link && invitation.email_sent_count == 0 && !is_complete {
        send(
            &admin,
            &mut change,
            &customer,
            Some(&found),
            invitation,
            now,
        )
        .await?;
    }
    let state = match is_complete {
        true => ServiceState::ReadyToUpgrade,
        false => ServiceState::AwaitingAuthentication,
    };
    services::set_state(&mut change, service, state).await?;
    let drafts = (before.map(|before| before.draft), &after.draft);
    caller
        .audit(
            &mut change,
            "update",
            None,
            drafts.0.as_ref(),
            Some(drafts.1),
        )
        .await?;
    let found = own(&mut change, id, service).await?;
    let view = view(&admin, &mut change, found).await?;
    change.keep().await?;
    admin.letters.wake.notify_one();
    Ok(Json(view))
}

/// Upgrade a service
///
/// When an administrator has signed in at Microsoft and the organisation has consented. It gets its licence and one SIP
/// connection, both at once; until then calls take the ways that they had.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/services/{service}/upgrade", tag = "services", operation_id = "upgrade_service",
    params(("id" = Uuid, Path), ("service" = Uuid, Path)),
    responses((status = 202, body = TaskRecord), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem))
)]
pub(super) async fn begin(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, service)): Path<(Uuid, Uuid)>,
) -> Result<Response, ApiError> {
    let now = admin.onboarding.clock().now();
    let mut change = admin.store.rows().await?;
    caller.customer(&mut change, id).await?;
    let found = own(&mut change, id, service).await?;
    if found.state == ServiceState::Deployed {
        return Err(not_an_upgrade());
    }
    if found.state == ServiceState::Upgrading {
        let detail = "the service is being upgraded";
        return Err(ApiError::conflict("upgrade_started", detail));
    }
    let draft = upgrades::find(&mut change, service).await?;
    let missing = "what it is upgraded to has not been entered";
    let draft = draft.ok_or_else(|| ApiError::conflict("upgrade_incomplete", missing))?;
    require_upgrade(&found, &draft.draft)?;
    check_connection(&caller, &draft.draft.connection)?;
    let invitation = invitations::of_service(&mut change, service, now).await?;
    let complete = InvitationState::AuthenticationComplete;
    if found.state != ServiceState::ReadyToUpgrade
        || invitation.is_none_or(|invitation| invitation.state != complete)
    {
        let detail = "no administrator has signed in for it and consented";
        return Err(ApiError::conflict("authentication_incomplete", detail));
    }
    let task = tasks::insert(&mut change, TaskKind::Upgrade, id).await?;
    upgrades::set_task(&mut change, service, task.id).await?;
    services::set_state(&mut change, service, ServiceState::Upgrading).await?;
    caller
        .audit(&mut change, "update", None, None::<&()>, Some(&task))
        .await?;
    change.keep().await?;
    admin.onboarding.upgrade(Upgrade {
        customer: id,
        service,
        task: task.id,
    });
    let location = [(header::LOCATION, format!("/api/v1/tasks/{}", task.id))];
    Ok((StatusCode::ACCEPTED, location, Json(task)).into_response())
}

/// A way to a carrier is the carrier's to give.
fn check_connection(caller: &Caller, connection: &TrunkSettings) -> Result<(), ApiError> {
    if connection.role == Role::Carrier && !caller.role().may_connect_carriers() {
        let detail = "only the carrier connects to carriers";
        return Err(ApiError::forbidden("carrier_trunk", detail));
    }
    Ok(())
}

/// Tries what the upgrade will write, and takes it back: what is wrong with it is told now.
async fn rehearse(
    admin: &Admin,
    customer: Uuid,
    service: Uuid,
    draft: &UpgradeDraft,
) -> Result<(), ApiError> {
    let mut trial = admin.store.rows().await?;
    let Some(found) = services::find(&mut trial, customer, service).await? else {
        return Err(ApiError::not_found());
    };
    let keys = trial.keys();
    let kept = upgrades::password(&mut trial, &keys, service).await?;
    let mut connection = draft.connection.clone();
    connection.service_id = Some(service);
    if let (crate::store::Password::Keep, Some(kept)) = (&connection.password, kept) {
        connection.password = crate::store::Password::Set(kept);
    }
    trunks::insert(&mut trial, Some(customer), &connection)
        .await
        .map_err(|error| in_connection(error, found.state))?;
    let settings = crate::store::ServiceSettings {
        license_type: draft.license_type,
        licensed_users: draft.licensed_users,
        ..found.settings
    };
    services::update(&mut trial, customer, service, &settings).await?;
    Ok(())
}

/// What is wrong with the connection is told by its place in the draft.
fn in_connection(error: StoreError, state: ServiceState) -> ApiError {
    match error {
        // The name is that of the connection which the service has got: the state says so better.
        StoreError::Taken(_) if state == ServiceState::Deployed => not_an_upgrade(),
        StoreError::Faults(mut faults) => {
            for fault in &mut faults {
                fault.field = format!("connection.{}", fault.field);
            }
            ApiError::invalid(faults)
        }
        error => error.into(),
    }
}

fn not_an_upgrade() -> ApiError {
    let detail = "the service has this licence already, or more";
    ApiError::conflict("not_an_upgrade", detail)
}

fn require_upgrade(service: &ServiceRecord, draft: &UpgradeDraft) -> Result<(), ApiError> {
    if service.state == ServiceState::Upgrading {
        let detail = "the service is being upgraded";
        return Err(ApiError::conflict("upgrade_started", detail));
    }
    let more = draft.license_type > service.settings.license_type;
    (more && service.state != ServiceState::Deployed)
        .then_some(())
        .ok_or_else(not_an_upgrade)
}

async fn own(
    connection: &mut SqliteConnection,
    customer: Uuid,
    service: Uuid,
) -> Result<ServiceRecord, ApiError> {
    let found = services::find(connection, customer, service).await?;
    found.ok_or_else(ApiError::not_found)
}

async fn view(
    admin: &Admin,
    connection: &mut SqliteConnection,
    service: ServiceRecord,
) -> Result<UpgradeView, ApiError> {
    let now = admin.onboarding.clock().now();
    let record: Option<UpgradeRecord> = upgrades::find(connection, service.id).await?;
    let last = invitations::of_service(connection, service.id, now).await?;
    let invitation = match last {
        Some(last) => Some(admin.invitation(connection, last).await?),
        None => None,
    };
    Ok(UpgradeView {
        service_id: service.id,
        step: service.state,
        password_set: record.as_ref().is_some_and(|record| record.password_set),
        task_id: record.as_ref().and_then(|record| record.task_id),
        updated_at: record.as_ref().map(|record| record.updated_at),
        draft: record.map(|record| record.draft),
        invitation,
    })
}
