use super::Admin;
use super::answer::{absent, changed, created, deleted, require_match, shown};
use super::auth::Caller;
use super::body::{Body, Search, patched};
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use crate::store::{CustomerRecord, PbxRecord, PbxSettings, pbxs};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use uuid::Uuid;

/// Exchanges of a customer where its users are registered, oldest first
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/pbxs", tag = "pbxs", operation_id = "list_pbxs",
    params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<PbxRecord>), (status = 404, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(paging): Search<Paging>,
) -> Result<Json<List<PbxRecord>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    caller.customer(&mut connection, id).await?;
    Ok(Json(pbxs::list(&mut connection, id, page).await?.into()))
}

/// Add an exchange
///
/// Its type is one of the customer's `pbx_types`, and gives what is not said here. Not before calls pass to Teams.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/pbxs", tag = "pbxs", operation_id = "create_pbx",
    params(("id" = Uuid, Path)), request_body = PbxSettings,
    responses((status = 201, body = PbxRecord), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 422, body = Problem))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(settings): Body<PbxSettings>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let customer = caller.customer(&mut change, id).await?;
    require_service(&customer)?;
    require_type(&customer, &settings)?;
    let record = pbxs::insert(&mut change, id, &settings).await?;
    let location = format!("/api/v1/customers/{id}/pbxs/{}", record.id);
    let (none, after) = (None::<&()>, Some(&record));
    caller
        .audit(&mut change, "create", Some(&location), none, after)
        .await?;
    let generation = change.publish_for(&[id]).await?;
    Ok(created(&location, record.version, &record, generation))
}

/// An exchange
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/pbxs/{pbx}", tag = "pbxs", operation_id = "show_pbx",
    params(("id" = Uuid, Path), ("pbx" = Uuid, Path)),
    responses((status = 200, body = PbxRecord), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, pbx)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.customer(&mut connection, id).await?;
    let record = pbxs::find(&mut connection, id, pbx)
        .await?
        .ok_or_else(ApiError::not_found)?;
    Ok(shown(&headers, record.version, &record))
}

/// Change an exchange
///
/// Users register anew where that is needed.
#[utoipa::path(
    patch, path = "/api/v1/customers/{id}/pbxs/{pbx}", tag = "pbxs", operation_id = "change_pbx",
    params(("id" = Uuid, Path), ("pbx" = Uuid, Path), ("If-Match" = String, Header)), request_body = PbxSettings,
    responses((status = 200, body = PbxRecord), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 412, body = Problem), (status = 422, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, pbx)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let customer = caller.customer(&mut change, id).await?;
    let before = pbxs::find(&mut change, id, pbx)
        .await?
        .ok_or_else(ApiError::not_found)?;
    require_match(&headers, before.version)?;
    let settings: PbxSettings = patched(&before.settings, patch)?;
    if settings.pbx_type != before.settings.pbx_type {
        require_type(&customer, &settings)?;
    }
    let record = pbxs::update(&mut change, id, pbx, &settings).await?;
    caller
        .audit(&mut change, "update", None, Some(&before), Some(&record))
        .await?;
    let generation = change.publish_for(&[id]).await?;
    Ok(changed(record.version, &record, generation))
}

/// Remove an exchange
///
/// Not while it has registrations.
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/pbxs/{pbx}", tag = "pbxs", operation_id = "delete_pbx",
    params(("id" = Uuid, Path), ("pbx" = Uuid, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem),
              (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, pbx)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    caller.customer(&mut change, id).await?;
    let Some(before) = pbxs::find(&mut change, id, pbx).await? else {
        return Ok(absent());
    };
    require_match(&headers, before.version)?;
    pbxs::delete(&mut change, id, pbx).await?;
    let (from, none) = (Some(&before), None::<&()>);
    caller
        .audit(&mut change, "delete", None, from, none)
        .await?;
    Ok(deleted(change.publish_for(&[id]).await?))
}

/// Exchanges come after the way to Teams.
pub(super) fn require_service(customer: &CustomerRecord) -> Result<(), ApiError> {
    if customer.settings.activation_state.is_in_service() {
        return Ok(());
    }
    let detail = "calls do not pass to Teams yet: activate the customer first";
    Err(ApiError::conflict("direct_routing_incomplete", detail))
}

/// A customer's exchange is of a type that the customer has.
pub(super) fn require_type(
    customer: &CustomerRecord,
    settings: &PbxSettings,
) -> Result<(), ApiError> {
    let mut types = customer.settings.pbx_types.iter();
    if types.any(|code| code.eq_ignore_ascii_case(&settings.pbx_type)) {
        return Ok(());
    }
    let message = "must be one of the customer's pbx_types";
    Err(ApiError::invalid_field("pbx_type", "unassigned", message))
}
