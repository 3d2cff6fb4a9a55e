#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::answer::{absent, changed, created, deleted, require_match, shown};
use super::auth::Caller;
use super::body::{Body, Search, patched};
use super::engine::CallRequest;
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use crate::b2bua::{RegistrationState, RegistrationView};
use crate::store::{Listed, RegistrationRecord, RegistrationSettings, registrations};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// A registration, and how it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PbxRegistration)]
pub(super) struct Registration {
    /// What is stored of it.
    #[serde(flatten)]
    record: RegistrationRecord,
    /// How it stands.
    #[serde(flatten)]
    standing: Standing,
}

/// How a registration stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RegistrationStanding)]
pub(super) struct Standing {
    /// Where it is.
    state: RegistrationState,
    /// The exchange's last answer; null if nobody answered, or nobody was asked yet.
    last_code: Option<u16>,
    /// The same in words.
    last_reason: Option<String>,
    /// Since when it stands without a break.
    #[serde(with = "time::serde::rfc3339::option")]
    registered_at: Option<OffsetDateTime>,
    /// Until when it stands unless it is renewed.
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    /// When the exchange is asked next; null while it waits for its turn or for an answer.
    #[serde(with = "time::serde::rfc3339::option")]
    next_attempt_at: Option<OffsetDateTime>,
}

impl Standing {
    /// Of one that nobody asked for yet, if it is wanted at all.
    pub fn fresh(wanted: bool) -> Self {
        let mut fresh = Self::of(None);
        if wanted {
            fresh.state = RegistrationState::Pending;
        }
        fresh
    }

    /// As is known of it.
    pub fn of(view: Option<&RegistrationView>) -> Self {
        Self {
            state: view.map_or(RegistrationState::Disabled, |view| view.state),
            last_code: view.and_then(|view| view.last_code),
            last_reason: view.and_then(|view| view.last_reason.clone()),
            registered_at: view.and_then(|view| view.registered_at),
            expires_at: view.and_then(|view| view.expires_at),
            next_attempt_at: view.and_then(|view| view.next_attempt_at),
        }
    }
}

/// Registrations at exchanges, oldest first
///
/// Carrier and partner need the customer's co-management, as for its users.
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/pbx-registrations", tag = "pbxs", operation_id = "list_pbx_registrations",
    params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<Registration>), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 503, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(paging): Search<Paging>,
) -> Result<Json<List<Registration>>, ApiError> {
    let page = paging.page()?;
    let mut connection = admin.store.read().await?;
    caller.managed(&mut connection, id).await?;
    let Listed { items, next } = registrations::list(&mut connection, id, page).await?;
    drop(connection);
    let items = standing(&admin, items).await?;
    Ok(Json(Listed { items, next }.into()))
}

/// Register a user at an exchange
///
/// It is registered at once, if its user is served. Calls on the registration reach the user's first number.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/pbx-registrations", tag = "pbxs", operation_id = "create_pbx_registration",
    params(("id" = Uuid, Path)), request_body = RegistrationSettings,
    responses((status = 201, body = Registration), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 422, body = Problem))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(settings): Body<RegistrationSettings>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let customer = caller.managed(&mut change, id).await?;
    let record = registrations::insert(&mut change, id, &settings).await?;
    let location = format!("/api/v1/customers/{id}/pbx-registrations/{}", record.id);
    let (none, after) = (None::<&()>, Some(&record));
    caller
        .audit_for(
            &customer,
            &mut change,
            "create",
            Some(&location),
            none,
            after,
        )
        .await?;
    let generation = change.publish_for(&[id]).await?;
    let (version, shown) = (record.version, fresh(record));
    Ok(created(&location, version, &shown, generation))
}

/// A registration at an exchange
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/pbx-registrations/{registration}", tag = "pbxs",
    operation_id = "show_pbx_registration", params(("id" = Uuid, Path), ("registration" = Uuid, Path)),
    responses((status = 200, body = Registration), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 503, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, registration)): Path<(Uuid, Uuid)>,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.managed(&mut connection, id).await?;
    let record = registrations::find(&mut connection, id, registration)
        .await?
        .ok_or_else(ApiError::not_found)?;
    drop(connection);
    let version = record.version;
    let mut found = standing(&admin, vec![record]).await?;
    let found = found.pop().ok_or_else(ApiError::not_found)?;
    // How it stands is no part of its version: the answer is always whole.
    Ok(shown(&HeaderMap::new(), version, &found))
}

/// Change a registration
///
/// What the exchange is to see of it, it sees at once. A password that is not named stays.
#[utoipa::path(
    patch, path = "/api/v1/customers/{id}/pbx-registrations/{registration}", tag = "pbxs",
    operation_id = "change_pbx_registration",
    params(("id" = Uuid, Path), ("registration" = Uuid, Path), ("If-Match" = String, Header)),
    request_body = RegistrationSettings,
    responses((status = 200, body = Registration), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem),
              (status = 428, body = Problem))
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, registration)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let customer = caller.managed(&mut change, id).await?;
    let before = registrations::find(&mut change, id, registration)
        .await?
        .ok_or_else(ApiError::not_found)?;
    require_match(&headers, before.version)?;
    let settings: RegistrationSettings = patched(&before.settings, patch)?;
    if settings.user_id != before.settings.user_id {
        return Err(ApiError::invalid_field(
            "user_id",
            "immutable",
            "never changes",
        ));
    }
    let record = registrations::update(&mut change, id, registration, &settings).await?;
    let (from, to) = (Some(&before), Some(&record));
    caller
        .audit_for(&customer, &mut change, "update", None, from, to)
        .await?;
    let generation = change.publish_for(&[id]).await?;
    let (version, shown) = (record.version, fresh(record));
    Ok(changed(version, &shown, generation))
}

/// Remove a registration
///
/// The exchange is told.
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/pbx-registrations/{registration}", tag = "pbxs",
    operation_id = "delete_pbx_registration",
    params(("id" = Uuid, Path), ("registration" = Uuid, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem), (status = 412, body = Problem),
              (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, registration)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let customer = caller.managed(&mut change, id).await?;
    let Some(before) = registrations::find(&mut change, id, registration).await? else {
        return Ok(absent());
    };
    require_match(&headers, before.version)?;
    registrations::delete(&mut change, id, registration).await?;
    let (from, none) = (Some(&before), None::<&()>);
    caller
        .audit_for(&customer, &mut change, "delete", None, from, none)
        .await?;
    Ok(deleted(change.publish_for(&[id]).await?))
}

/// Ask the exchange of a registration now
///
/// However long it would have waited. The same as `:restart` after its id.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/pbx-registrations/{registration}/restart", tag = "pbxs",
    operation_id = "restart_pbx_registration", params(("id" = Uuid, Path), ("registration" = Uuid, Path)),
    responses((status = 200, body = Registration), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn restart(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, registration)): Path<(Uuid, Uuid)>,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    let customer = caller.managed(&mut connection, id).await?;
    let record = registrations::find(&mut connection, id, registration)
        .await?
        .ok_or_else(ApiError::not_found)?;
    drop(connection);
    let ask = |answer| CallRequest::RestartRegistration {
        id: registration,
        answer,
    };
    if !admin.calls.ask(ask).await? {
        let detail = "it is disabled, or its user or customer may not call";
        return Err(ApiError::conflict("registration_disabled", detail));
    }
    let (mut change, none) = (admin.store.rows().await?, None::<&()>);
    caller
        .audit_for(&customer, &mut change, "restart", None, none, none)
        .await?;
    change.keep().await?;
    let version = record.version;
    let mut found = standing(&admin, vec![record]).await?;
    let found = found.pop().ok_or_else(ApiError::not_found)?;
    Ok(shown(&HeaderMap::new(), version, &found))
}

/// A registration that has just been written: nobody knows yet what comes of it.
fn fresh(record: RegistrationRecord) -> Registration {
    let standing = Standing::fresh(record.settings.enabled && record.serves);
    Registration { record, standing }
}

/// These, and how they stand.
async fn standing(
    admin: &Admin,
    records: Vec<RegistrationRecord>,
) -> Result<Vec<Registration>, ApiError> {
    let ids = records.iter().map(|record| record.id).collect();
    let views = views(admin, ids).await?;
    let shown = records.into_iter().map(|record| {
        let view = views.iter().find(|view| view.id == record.id);
        let standing = Standing::of(view);
        Registration { record, standing }
    });
    Ok(shown.collect())
}

/// What calls know of these registrations.
pub(super) async fn views(
    admin: &Admin,
    ids: Vec<Uuid>,
) -> Result<Vec<RegistrationView>, ApiError> {
    let ask = |answer| CallRequest::Registrations { ids, answer };
    admin.calls.ask(ask).await
}
