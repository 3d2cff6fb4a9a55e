use super::Admin;
use super::answer::{absent, changed, created, deleted, require_match, shown};
use super::auth::Caller;
use super::body::{Body, Search, patched};
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use crate::store::{RegionRecord, RegionSettings, StoreError, regions};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;

/// Regions, oldest first
#[utoipa::path(
    get, path = "/api/v1/regions", tag = "regions", operation_id = "list_regions", params(Paging),
    responses((status = 200, body = List<RegionRecord>))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    Search(paging): Search<Paging>,
) -> Result<Json<List<RegionRecord>>, ApiError> {
    let page = paging.page()?;
    Ok(Json(
        regions::list(&mut *admin.store.read().await?, page)
            .await?
            .into(),
    ))
}

/// Add a region
#[utoipa::path(
    post, path = "/api/v1/regions", tag = "regions", operation_id = "create_region", request_body = RegionSettings,
    responses((status = 201, body = RegionRecord), (status = 409, body = Problem), (status = 422, body = Problem))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Body(settings): Body<RegionSettings>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let record = regions::insert(&mut change, &settings).await?;
    let location = format!("/api/v1/regions/{}", settings.code);
    caller
        .audit(
            &mut change,
            "create",
            Some(&location),
            None::<&()>,
            Some(&record),
        )
        .await?;
    Ok(created(
        &location,
        record.version,
        &record,
        change.publish().await?,
    ))
}

/// A region
#[utoipa::path(
    get, path = "/api/v1/regions/{code}", tag = "regions", operation_id = "show_region",
    params(("code" = String, Path)), responses((status = 200, body = RegionRecord), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(code): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let found = regions::find(&mut *admin.store.read().await?, &code).await?;
    let record = found.ok_or_else(ApiError::not_found)?;
    Ok(shown(&headers, record.version, &record))
}

/// Change a region
#[utoipa::path(
    patch, path = "/api/v1/regions/{code}", tag = "regions", operation_id = "change_region",
    params(("code" = String, Path), ("If-Match" = String, Header)), request_body = RegionSettings,
    responses((status = 200, body = RegionRecord), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 412, body = Problem), (status = 422, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path(code): Path<String>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let before = regions::find(&mut change, &code)
        .await?
        .ok_or_else(ApiError::not_found)?;
    require_match(&headers, before.version)?;
    let settings = patched(&before.settings, patch)?;
    if settings.code != code {
        return Err(ApiError::invalid_field(
            "code",
            "immutable",
            "never changes",
        ));
    }
    let record = regions::update(&mut change, &settings)
        .await
        .map_err(in_use)?;
    caller
        .audit(&mut change, "update", None, Some(&before), Some(&record))
        .await?;
    Ok(changed(record.version, &record, change.publish().await?))
}

/// Remove a region
#[utoipa::path(
    delete, path = "/api/v1/regions/{code}", tag = "regions", operation_id = "delete_region",
    params(("code" = String, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 409, body = Problem), (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path(code): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let Some(before) = regions::find(&mut change, &code).await? else {
        return Ok(absent());
    };
    require_match(&headers, before.version)?;
    regions::delete(&mut change, &code).await.map_err(in_use)?;
    caller
        .audit(&mut change, "delete", None, Some(&before), None::<&()>)
        .await?;
    // A customer that names the region makes the directory contradict itself.
    let generation = change.publish().await.map_err(in_use)?;
    Ok(deleted(generation))
}

fn in_use(error: StoreError) -> ApiError {
    match error {
        StoreError::Reference | StoreError::Contradiction(_) => {
            ApiError::conflict("region_in_use", "gateways or customers are in this region")
        }
        error => error.into(),
    }
}
