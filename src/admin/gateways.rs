use super::Admin;
use super::answer::{absent, changed, created, deleted, require_match, shown};
use super::auth::Caller;
use super::body::{Body, Search, patched};
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use crate::directory::GatewayState;
use crate::provisioning::activation::Method;
use crate::store::{GatewayRecord, GatewaySettings, activations, gateways};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use sqlx::SqliteConnection;
use uuid::Uuid;

/// Gateways of a customer, oldest first
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/gateways", tag = "gateways", operation_id = "list_gateways",
    params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<GatewayRecord>), (status = 404, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(paging): Search<Paging>,
) -> Result<Json<List<GatewayRecord>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    caller.customer(&mut connection, id).await?;
    Ok(Json(
        gateways::list(&mut connection, id, page).await?.into(),
    ))
}

/// Add a gateway
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/gateways", tag = "gateways", operation_id = "create_gateway",
    params(("id" = Uuid, Path)), request_body = GatewaySettings,
    responses((status = 201, body = GatewayRecord), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 422, body = Problem))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(settings): Body<GatewaySettings>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    caller.customer(&mut change, id).await?;
    let settings = prepared(&caller, &mut change, id, None, settings).await?;
    let record = gateways::insert(&mut change, id, &settings).await?;
    let location = format!("/api/v1/customers/{id}/gateways/{}", record.id);
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
        change.publish_for(&[id]).await?,
    ))
}

/// A gateway
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/gateways/{gateway}", tag = "gateways", operation_id = "show_gateway",
    params(("id" = Uuid, Path), ("gateway" = Uuid, Path)),
    responses((status = 200, body = GatewayRecord), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, gateway)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.customer(&mut connection, id).await?;
    let record = gateways::find(&mut connection, id, gateway)
        .await?
        .ok_or_else(ApiError::not_found)?;
    Ok(shown(&headers, record.version, &record))
}

/// Change a gateway
#[utoipa::path(
    patch, path = "/api/v1/customers/{id}/gateways/{gateway}", tag = "gateways", operation_id = "change_gateway",
    params(("id" = Uuid, Path), ("gateway" = Uuid, Path), ("If-Match" = String, Header)), request_body = GatewaySettings,
    responses((status = 200, body = GatewayRecord), (status = 404, body = Problem), (status = 412, body = Problem),
              (status = 422, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, gateway)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    caller.customer(&mut change, id).await?;
    let before = gateways::find(&mut change, id, gateway)
        .await?
        .ok_or_else(ApiError::not_found)?;
    require_match(&headers, before.version)?;
    let settings: GatewaySettings = patched(&before.settings, patch)?;
    let from = Some(&before.settings);
    let settings = prepared(&caller, &mut change, id, from, settings).await?;
    let record = gateways::update(&mut change, id, gateway, &settings).await?;
    caller
        .audit(&mut change, "update", None, Some(&before), Some(&record))
        .await?;
    let generation = change.publish_for(&[id]).await?;
    Ok(changed(record.version, &record, generation))
}

/// Remove a gateway
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/gateways/{gateway}", tag = "gateways", operation_id = "delete_gateway",
    params(("id" = Uuid, Path), ("gateway" = Uuid, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 404, body = Problem), (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, gateway)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    caller.customer(&mut change, id).await?;
    let Some(before) = gateways::find(&mut change, id, gateway).await? else {
        return Ok(absent());
    };
    require_match(&headers, before.version)?;
    gateways::delete(&mut change, id, gateway).await?;
    caller
        .audit(&mut change, "delete", None, Some(&before), None::<&()>)
        .await?;
    Ok(deleted(change.publish_for(&[id]).await?))
}

/// What is written of a gateway that is to be so, if it may.
pub(super) async fn prepared(
    caller: &Caller,
    connection: &mut SqliteConnection,
    customer: Uuid,
    before: Option<&GatewaySettings>,
    mut settings: GatewaySettings,
) -> Result<GatewaySettings, ApiError> {
    let Some(before) = before else {
        check_state(caller, settings.state)?;
        if settings.verification_code.is_some() {
            check_code(connection, customer, &settings).await?;
        } else if settings.state == GatewayState::Pending
            && activations::method(connection, customer).await? == Method::Manual
        {
            settings.state = GatewayState::CodeMissing;
        }
        return Ok(settings);
    };
    for (field, same) in [
        ("region", settings.region == before.region),
        ("label", settings.label == before.label),
    ] {
        if !same {
            return Err(ApiError::invalid_field(field, "immutable", "never changes"));
        }
    }
    if settings.state != before.state {
        check_state(caller, settings.state)?;
    }
    if settings.verification_code != before.verification_code {
        check_code(connection, customer, &settings).await?;
        settings.state = match (settings.state, settings.verification_code.is_some()) {
            (GatewayState::CodeMissing, true) => GatewayState::Pending,
            (GatewayState::Pending, false) => GatewayState::CodeMissing,
            (state, _) => state,
        };
    }
    Ok(settings)
}

/// By hand a gateway is put where an operator knows it to be; the rest is found out.
pub(super) fn check_state(caller: &Caller, state: GatewayState) -> Result<(), ApiError> {
    use GatewayState::{Active, CodeMissing, Disabled, DnsPublished, Error, Pending, Verified};
    if state != Pending && !caller.role().may_set_gateways() {
        return Err(ApiError::forbidden(
            "state_by_operator",
            "only the operator sets a gateway's state",
        ));
    }
    match state {
        Pending | Verified | Active | Disabled => Ok(()),
        CodeMissing | DnsPublished | Error => Err(ApiError::invalid_field(
            "state",
            "not_settable",
            "is set by the activation only",
        )),
    }
}

/// A code is the customer's word in manual activation, before it begins.
async fn check_code(
    connection: &mut SqliteConnection,
    customer: Uuid,
    settings: &GatewaySettings,
) -> Result<(), ApiError> {
    settings.check_code_alone()?;
    if activations::method(connection, customer).await? != Method::Manual {
        return Err(ApiError::conflict(
            "not_manual",
            "codes are given with the manual method only",
        ));
    }
    if activations::open(connection, customer).await?.is_some() {
        return Err(ApiError::conflict(
            "activation_started",
            "the activation has been started",
        ));
    }
    Ok(())
}
