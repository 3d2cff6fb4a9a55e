use super::Admin;
use super::answer::{changed, require_match_if_given, shown};
use super::auth::Caller;
use super::body::Body;
use super::error::{ApiError, Problem};
use crate::provisioning::{Consent, NotYours, Party, Wish};
use crate::store::{AccessRole, CoManagementRecord, customers, events};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// What is wanted; one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CoManagementWish {
    /// Carrier or partner: whether they ask for it. False withdraws what was asked for and what was given.
    requested: Option<bool>,
    /// Customer: `granted`, or `revoked`. Carrier or partner: `pending` gives back what was granted and keeps asking, `none`
    /// withdraws.
    state: Option<Consent>,
}

impl CoManagementWish {
    fn wish(&self) -> Result<Wish, ApiError> {
        Ok(match (self.requested, self.state) {
            (Some(true), None) => Wish::Request,
            (Some(false), None) | (None, Some(Consent::None)) => Wish::Withdraw,
            (None, Some(Consent::Granted)) => Wish::Grant,
            (None, Some(Consent::Revoked | Consent::Pending)) => Wish::Revoke,
            (Some(_), Some(_)) | (None, None) => {
                let message = "must be given, or requested, and not both";
                return Err(ApiError::invalid_field("state", "required", message));
            }
        })
    }
}

/// Whether carrier and partner may manage the customer's users
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/co-management", tag = "customers", operation_id = "show_co_management",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = CoManagementRecord), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let customer = caller.customer(&mut *admin.store.read().await?, id).await?;
    Ok(shown(&headers, customer.version, &customer.co_management))
}

/// Ask for co-management, grant it or end it
///
/// Only the customer's administrator grants, whether it was asked for or not; carrier and partner ask.
#[utoipa::path(
    put, path = "/api/v1/customers/{id}/co-management", tag = "customers", operation_id = "put_co_management",
    params(("id" = Uuid, Path)), request_body = CoManagementWish,
    responses((status = 200, body = CoManagementRecord), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 412, body = Problem), (status = 422, body = Problem))
)]
pub(super) async fn put(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Body(body): Body<CoManagementWish>,
) -> Result<Response, ApiError> {
    carry_out(&admin, &caller, id, &headers, body.wish()?).await
}

/// Give up co-management
///
/// By carrier or partner: what was asked for and what was given. By the customer: what it gave.
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/co-management", tag = "customers", operation_id = "delete_co_management",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = CoManagementRecord), (status = 404, body = Problem), (status = 412, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    carry_out(&admin, &caller, id, &headers, Wish::Withdraw).await
}

async fn carry_out(
    admin: &Admin,
    caller: &Caller,
    id: Uuid,
    headers: &HeaderMap,
    wish: Wish,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let before = caller.customer(&mut change, id).await?;
    require_match_if_given(headers, before.version)?;
    let party = match caller.role() {
        AccessRole::CustomerAdmin | AccessRole::CustomerOperator | AccessRole::EndUser => {
            Party::Customer
        }
        AccessRole::CarrierAdmin | AccessRole::PartnerAdmin | AccessRole::Noc => Party::Provider,
    };
    let value = before.co_management.value();
    let value = value.on(party, wish).map_err(|error| {
        let code = match error {
            NotYours::CustomerGrants => "customer_grants",
            NotYours::ProviderRequests => "provider_requests",
        };
        ApiError::forbidden(code, &error.to_string())
    })?;
    let record = customers::set_co_management(&mut change, id, value, caller.token.id).await?;
    let (from, to) = (&before.co_management, &record.co_management);
    caller
        .audit(&mut change, "update", None, Some(from), Some(to))
        .await?;
    let now = OffsetDateTime::now_utc();
    let detail = json!({ "state": to.state, "requested": to.requested });
    events::insert(&mut change, now, "co_management.changed", id, &detail).await?;
    Ok(changed(record.version, to, change.publish_for(&[]).await?))
}
