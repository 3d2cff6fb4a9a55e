//! Models of telephones: those that there are, and those that a customer has.

use super::super::Admin;
use super::super::answer::absent;
use super::super::auth::Caller;
use super::super::body::Body;
use super::super::error::{ApiError, Problem};
use super::super::page::List;
use crate::provisioning::device::{DeviceModel, MODELS};
use crate::store::devices::models;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A model to put on a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct NewDeviceModel {
    /// Code of a model of the catalogue.
    #[schema(example = "yealink-t46u")]
    model: String,
}

/// Models of telephones that can be set up, by code
#[utoipa::path(
    get, path = "/api/v1/device-models", tag = "devices", operation_id = "list_device_models",
    responses((status = 200, body = List<DeviceModel>))
)]
pub(in crate::admin) async fn catalogue() -> Json<List<&'static DeviceModel>> {
    Json(List::new(MODELS.iter().collect(), None))
}

/// Models of a customer's list, by code
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/device-models", tag = "devices", operation_id = "list_device_models_of_customer",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = List<DeviceModel>), (status = 404, body = Problem))
)]
pub(in crate::admin) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<List<&'static DeviceModel>>, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.customer(&mut connection, id).await?;
    let items = models::list(&mut connection, id).await?;
    Ok(Json(List::new(items, None)))
}

/// Put a model on a customer's list
///
/// Only telephones of these models can be given to users. One that is there already stays.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/device-models", tag = "devices", operation_id = "add_device_model",
    params(("id" = Uuid, Path)), request_body = NewDeviceModel,
    responses((status = 201, body = DeviceModel), (status = 404, body = Problem), (status = 422, body = Problem))
)]
pub(in crate::admin) async fn add(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(new): Body<NewDeviceModel>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    caller.customer(&mut change, id).await?;
    let model = models::add(&mut change, id, &new.model).await?;
    let location = format!("/api/v1/customers/{id}/device-models/{}", model.code);
    let (none, after) = (None::<&()>, Some(&new));
    caller
        .audit(&mut change, "create", Some(&location), none, after)
        .await?;
    change.keep().await?;
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(model),
    )
        .into_response())
}

/// Take a model off a customer's list
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/device-models/{model}", tag = "devices", operation_id = "remove_device_model",
    params(("id" = Uuid, Path), ("model" = String, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(in crate::admin) async fn remove(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, model)): Path<(Uuid, String)>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    caller.customer(&mut change, id).await?;
    if !models::has(&mut change, id, &model).await? {
        return Ok(absent());
    }
    models::remove(&mut change, id, &model).await?;
    let before = NewDeviceModel { model };
    caller
        .audit(&mut change, "delete", None, Some(&before), None::<&()>)
        .await?;
    change.keep().await?;
    Ok(absent())
}
