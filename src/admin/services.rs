use super::Admin;
use super::answer::{absent, changed_rows, created_rows, require_match, shown};
use super::auth::Caller;
use super::body::{Body, Search, patched};
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use crate::store::{ServiceRecord, ServiceSettings, services};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use uuid::Uuid;

/// Services of a customer, oldest first
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/services", tag = "services", operation_id = "list_services",
    params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<ServiceRecord>), (status = 404, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(paging): Search<Paging>,
) -> Result<Json<List<ServiceRecord>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    caller.customer(&mut connection, id).await?;
    Ok(Json(
        services::list(&mut connection, id, page).await?.into(),
    ))
}

/// Add a service
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/services", tag = "services", operation_id = "create_service",
    params(("id" = Uuid, Path)), request_body = ServiceSettings,
    responses((status = 201, body = ServiceRecord), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 422, body = Problem))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(settings): Body<ServiceSettings>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    caller.customer(&mut change, id).await?;
    let record = services::insert(&mut change, id, &settings).await?;
    let location = format!("/api/v1/customers/{id}/services/{}", record.id);
    let audited = caller.audit(
        &mut change,
        "create",
        Some(&location),
        None::<&()>,
        Some(&record),
    );
    audited.await?;
    change.keep().await?;
    Ok(created_rows(&location, record.version, &record))
}

/// A service
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/services/{service}", tag = "services", operation_id = "show_service",
    params(("id" = Uuid, Path), ("service" = Uuid, Path)),
    responses((status = 200, body = ServiceRecord), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, service)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.customer(&mut connection, id).await?;
    let record = services::find(&mut connection, id, service)
        .await?
        .ok_or_else(ApiError::not_found)?;
    Ok(shown(&headers, record.version, &record))
}

/// Change a service
///
/// Fewer licensed users than there are stops nobody, but none is added until there is room.
#[utoipa::path(
    patch, path = "/api/v1/customers/{id}/services/{service}", tag = "services", operation_id = "change_service",
    params(("id" = Uuid, Path), ("service" = Uuid, Path), ("If-Match" = String, Header)), request_body = ServiceSettings,
    responses((status = 200, body = ServiceRecord), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 412, body = Problem), (status = 422, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, service)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    caller.customer(&mut change, id).await?;
    let before = services::find(&mut change, id, service)
        .await?
        .ok_or_else(ApiError::not_found)?;
    require_match(&headers, before.version)?;
    let settings: ServiceSettings = patched(&before.settings, patch)?;
    if settings.kind != before.settings.kind {
        return Err(ApiError::invalid_field(
            "kind",
            "immutable",
            "never changes",
        ));
    }
    let record = services::update(&mut change, id, service, &settings).await?;
    caller
        .audit(&mut change, "update", None, Some(&before), Some(&record))
        .await?;
    change.keep().await?;
    Ok(changed_rows(record.version, &record))
}

/// Remove a service
///
/// Its trunks stay the customer's.
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/services/{service}", tag = "services", operation_id = "delete_service",
    params(("id" = Uuid, Path), ("service" = Uuid, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 404, body = Problem), (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, service)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    caller.customer(&mut change, id).await?;
    let Some(before) = services::find(&mut change, id, service).await? else {
        return Ok(absent());
    };
    require_match(&headers, before.version)?;
    services::delete(&mut change, id, service).await?;
    caller
        .audit(&mut change, "delete", None, Some(&before), None::<&()>)
        .await?;
    change.keep().await?;
    Ok(absent())
}
