use super::Admin;
use super::answer::{absent, changed, created, deleted, require_match, shown};
use super::auth::Caller;
use super::body::{Body, Search, patched};
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use crate::directory::{ActivationState, AdminState};
use crate::store::{CustomerRecord, CustomerSettings, customers};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// What a customer's limit has seen.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Channels {
    /// Calls allowed at once.
    limit: u32,
    /// Calls now, ringing and emergency calls too.
    in_use: u32,
    /// The most at once since midnight UTC, or since the start.
    peak_today: u32,
    /// Calls refused since then.
    refused_today: u64,
}

/// Customers, oldest first
#[utoipa::path(
    get, path = "/api/v1/customers", tag = "customers", operation_id = "list_customers", params(Paging),
    responses((status = 200, body = List<CustomerRecord>))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Search(paging): Search<Paging>,
) -> Result<Json<List<CustomerRecord>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    let listed = customers::list(
        &mut connection,
        caller.partner(),
        caller.customer_scope(),
        page,
    )
    .await?;
    Ok(Json(listed.into()))
}

/// Add a customer
#[utoipa::path(
    post, path = "/api/v1/customers", tag = "customers", operation_id = "create_customer", request_body = CustomerSettings,
    responses((status = 201, body = CustomerRecord), (status = 403, body = Problem), (status = 409, body = Problem),
              (status = 422, body = Problem))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Body(mut settings): Body<CustomerSettings>,
) -> Result<Response, ApiError> {
    if let Some(partner) = caller.partner() {
        if settings.partner_id.is_some_and(|id| id != partner) {
            return Err(ApiError::invalid_field(
                "partner_id",
                "foreign",
                "must be your own, or absent",
            ));
        }
        settings.partner_id = Some(partner);
    }
    check_activation(
        &caller,
        ActivationState::Inactive,
        &settings,
        settings.activation_reason.is_some(),
    )?;
    let mut change = admin.store.change().await?;
    let record = customers::insert(&mut change, &settings).await?;
    let location = format!("/api/v1/customers/{}", record.id);
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

/// A customer
#[utoipa::path(
    get, path = "/api/v1/customers/{id}", tag = "customers", operation_id = "show_customer", params(("id" = Uuid, Path)),
    responses((status = 200, body = CustomerRecord), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let record = caller.customer(&mut *admin.store.read().await?, id).await?;
    Ok(shown(&headers, record.version, &record))
}

/// Change a customer
#[utoipa::path(
    patch, path = "/api/v1/customers/{id}", tag = "customers", operation_id = "change_customer",
    params(("id" = Uuid, Path), ("If-Match" = String, Header)), request_body = CustomerSettings,
    responses((status = 200, body = CustomerRecord), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 412, body = Problem), (status = 422, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let before = caller.customer(&mut change, id).await?;
    require_match(&headers, before.version)?;
    let reason_given = patch.get("activation_reason").is_some_and(Value::is_string);
    let settings: CustomerSettings = patched(&before.settings, patch)?;
    if settings.account_id != before.settings.account_id {
        return Err(ApiError::invalid_field(
            "account_id",
            "immutable",
            "never changes",
        ));
    }
    if settings.partner_id != before.settings.partner_id {
        return Err(ApiError::invalid_field(
            "partner_id",
            "immutable",
            "never changes",
        ));
    }
    check_activation(
        &caller,
        before.settings.activation_state,
        &settings,
        reason_given,
    )?;
    let record = customers::update(&mut change, id, &settings).await?;
    caller
        .audit(&mut change, "update", None, Some(&before), Some(&record))
        .await?;
    Ok(changed(record.version, &record, change.publish().await?))
}

/// Remove a customer
///
/// It must be disabled, with no active gateway and no number in service. Its gateways, numbers and trunks go with it;
/// its call detail records stay.
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}", tag = "customers", operation_id = "delete_customer",
    params(("id" = Uuid, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let before = match caller.customer(&mut change, id).await {
        Ok(before) => before,
        // Whoever sees everything learns nothing from hearing that it is gone; others must not learn that it is there.
        Err(_)
            if !caller.role().is_scoped() && customers::find(&mut change, id).await?.is_none() =>
        {
            return Ok(absent());
        }
        Err(error) => return Err(error),
    };
    require_match(&headers, before.version)?;
    if before.settings.admin_state != AdminState::Disabled
        || customers::is_in_use(&mut change, id).await?
    {
        let detail =
            "the customer must be disabled, without active gateways and numbers in service";
        return Err(ApiError::conflict("customer_in_use", detail));
    }
    customers::delete(&mut change, id).await?;
    caller
        .audit(&mut change, "delete", None, Some(&before), None::<&()>)
        .await?;
    Ok(deleted(change.publish().await?))
}

/// Channels of a customer
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/channels", tag = "customers", operation_id = "show_channels",
    params(("id" = Uuid, Path)), responses((status = 200, body = Channels), (status = 404, body = Problem))
)]
pub(super) async fn channels(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<Channels>, ApiError> {
    let record = caller.customer(&mut *admin.store.read().await?, id).await?;
    let usage = admin.ledger.usage(id);
    Ok(Json(Channels {
        limit: record.settings.max_channels,
        in_use: usage.in_use,
        peak_today: usage.peak,
        refused_today: usage.refused,
    }))
}

/// Setting the activation state by hand says "this was done elsewhere": the carrier's word, with a reason.
fn check_activation(
    caller: &Caller,
    before: ActivationState,
    settings: &CustomerSettings,
    reason_given: bool,
) -> Result<(), ApiError> {
    if settings.activation_state == before {
        return Ok(());
    }
    if !caller.role().may_activate() {
        return Err(ApiError::forbidden(
            "activation_by_carrier",
            "only the carrier sets activation_state",
        ));
    }
    if !reason_given {
        return Err(ApiError::invalid_field(
            "activation_reason",
            "required",
            "is needed to set activation_state",
        ));
    }
    Ok(())
}
