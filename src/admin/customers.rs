#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::answer::{absent, changed, created, deleted, require_match, shown};
use super::auth::Caller;
use super::body::{Body, Search, patched, shaped};
use super::error::{ApiError, Problem};
use super::invitations::{InvitationView, send};
use super::page::{List, Paging, Parted};
use crate::directory::{ActivationState, AdminState};
use crate::provisioning::{CoManagement, Party, SeatType, SyncState, Wish, suggested_channels};
use crate::store::{
    Change, CustomerFilter, CustomerRecord, CustomerSettings, CustomerSort, CustomerStates,
    Invitee, TaskRecord, customers, events, invitations, partners,
};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
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

/// Which customers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Part of the account id, name or tenant name; case does not count.
    q: Option<String>,
    /// A state of any kind: `enabled`, `disabled`, an `activation_state` or a `sync_state`.
    state: Option<String>,
    /// Of this partner itself.
    partner_id: Option<Uuid>,
    /// `created_at` (if absent), `name` or `account_id`, with `-` before it backwards.
    sort: Option<String>,
}

impl Filter {
    fn of(self, caller: &Caller) -> Result<CustomerFilter, ApiError> {
        if self.q.as_ref().is_some_and(|q| q.chars().count() > 64) {
            return Err(ApiError::bad_request(
                "q",
                "q must be at most 64 characters",
            ));
        }
        Ok(CustomerFilter {
            within: caller.partner(),
            partner: self.partner_id,
            only: caller.customer_scope(),
            text: self.q.filter(|q| !q.is_empty()),
            state: self.state.as_deref().map(state).transpose()?,
            sort: self
                .sort
                .as_deref()
                .map_or(Ok(CustomerSort::Oldest), sort)?,
        })
    }
}

/// The names of the three kinds of states differ.
fn state(name: &str) -> Result<CustomerStates, ApiError> {
    let value = Value::from(name);
    let read = serde_json::from_value;
    let admin = read(value.clone()).ok().map(CustomerStates::Admin);
    let activation = || serde_json::from_value::<ActivationState>(value.clone()).ok();
    let sync = || serde_json::from_value::<SyncState>(value.clone()).ok();
    admin
        .or_else(|| activation().map(CustomerStates::Activation))
        .or_else(|| sync().map(CustomerStates::Sync))
        .ok_or_else(|| ApiError::bad_request("state", "state is none of a customer's"))
}

fn sort(name: &str) -> Result<CustomerSort, ApiError> {
    Ok(match name {
        "created_at" => CustomerSort::Oldest,
        "-created_at" => CustomerSort::Newest,
        "name" => CustomerSort::Name,
        "-name" => CustomerSort::NameDown,
        "account_id" => CustomerSort::Account,
        "-account_id" => CustomerSort::AccountDown,
        _ => {
            let detail = "sort must be created_at, name or account_id, perhaps with - before it";
            return Err(ApiError::bad_request("sort", detail));
        }
    })
}

/// Customers, oldest first if nothing else is asked for
///
/// A partner sees its own and those of its resellers, a customer itself.
#[utoipa::path(
    get, path = "/api/v1/customers", tag = "customers", operation_id = "list_customers", params(Paging, Filter),
    responses((status = 200, body = List<CustomerRecord>), (status = 400, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Parted(paging, filter): Parted<Filter>,
) -> Result<Json<List<CustomerRecord>>, ApiError> {
    let (page, filter) = (paging.page()?, filter.of(&caller)?);
    let mut connection = admin.store.read().await?;
    Ok(Json(
        customers::list(&mut connection, &filter, page)
            .await?
            .into(),
    ))
}

/// Add a customer
#[utoipa::path(
    post, path = "/api/v1/customers", tag = "customers", operation_id = "create_customer", request_body = NewCustomer,
    responses((status = 201, body = CustomerCreated), (status = 403, body = Problem), (status = 409, body = Problem),
              (status = 422, body = Problem))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Body(body): Body<Value>,
) -> Result<Response, ApiError> {
    let NewCustomer {
        mut settings,
        sync_after_save,
        request_co_management,
        send_invitation,
    } = NewCustomer::read(body)?;
    require_tenant(&settings)?;
    let is_invited = is_invited(&admin, &settings, send_invitation)?;
    check_activation(
        &caller,
        ActivationState::Inactive,
        &settings,
        settings.activation_reason.is_some(),
    )?;
    let mut change = admin.store.change().await?;
    if let Some(own) = caller.partner() {
        let partner = *settings.partner_id.get_or_insert(own);
        if !partners::is_within(&mut change, partner, own).await? {
            return Err(ApiError::invalid_field(
                "partner_id",
                "foreign",
                "must be your own, a reseller of yours, or absent",
            ));
        }
    }
    let mut record = customers::insert(&mut change, &settings).await?;
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
    if request_co_management {
        let asked = CoManagement::default().on(Party::Provider, Wish::Request);
        let asked = asked.map_err(|error| ApiError::forbidden("role", &error.to_string()))?;
        record =
            customers::set_co_management(&mut change, record.id, asked, caller.token.id).await?;
    }
    let now = OffsetDateTime::now_utc();
    let detail = json!({ "account_id": record.settings.account_id });
    events::insert(&mut change, now, "customer.created", record.id, &detail).await?;
    let invitation = match is_invited {
        true => Some(invite(&admin, &mut change, &record).await?),
        false => None,
    };
    let generation = change.publish_for(&[record.id]).await?;
    admin.letters.wake.notify_one();
    let sync_task = match sync_after_save {
        true => Some(start_sync(&admin, &caller, record.id).await?),
        false => None,
    };
    let version = record.version;
    let answer = CustomerCreated {
        record,
        sync_task,
        invitation,
    };
    Ok(created(&location, version, &answer, generation))
}

/// Whether a new customer's administrator is invited: as it is said, else where there is an address and letters are sent.
fn is_invited(
    admin: &Admin,
    settings: &CustomerSettings,
    said: Option<bool>,
) -> Result<bool, ApiError> {
    let has_address = settings.admin_email.is_some();
    if said == Some(true) {
        admin.letters.require()?;
        if !has_address {
            let message = "is needed where an invitation is sent";
            return Err(ApiError::invalid_field("admin_email", "required", message));
        }
    }
    Ok(said.unwrap_or(has_address && admin.letters.are_sent))
}

/// Invites a customer's administrator to register.
async fn invite(
    admin: &Admin,
    change: &mut Change,
    customer: &CustomerRecord,
) -> Result<InvitationView, ApiError> {
    let now = admin.onboarding.clock().now();
    let invitee = Invitee {
        email: customer.settings.admin_email.clone(),
        admin_email: None,
    };
    let made = invitations::insert(change, customer.id, None, &invitee, now).await?;
    let sent = send(admin, change, customer, None, made, now).await?;
    admin.new_invitation(change, sent).await
}

async fn start_sync(admin: &Admin, caller: &Caller, id: Uuid) -> Result<TaskRecord, ApiError> {
    let task = admin.syncs.begin(id, caller.asker()).await;
    task.map_err(super::sync::refused)
}

/// A customer to add.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewCustomer {
    #[serde(flatten)]
    settings: CustomerSettings,
    /// Whether a Sync follows at once.
    #[serde(default)]
    sync_after_save: bool,
    /// Whether the customer is asked to let carrier and partner manage its users.
    #[serde(default)]
    request_co_management: bool,
    /// Whether `admin_email` is sent an invitation to register, with a code; if nothing is said, it is where a mail server is
    /// configured.
    #[serde(default)]
    send_invitation: Option<bool>,
}

impl NewCustomer {
    /// By hand, for what is flattened lets unknown fields pass.
    fn read(mut body: Value) -> Result<Self, ApiError> {
        let mut switch = |name: &str| match body.as_object_mut().and_then(|body| body.remove(name))
        {
            None => Ok(None),
            Some(Value::Bool(on)) => Ok(Some(on)),
            Some(_) => Err(ApiError::invalid_field(
                name,
                "type",
                "must be true or false",
            )),
        };
        let sync_after_save = switch("sync_after_save")?.unwrap_or_default();
        let request_co_management = switch("request_co_management")?.unwrap_or_default();
        let send_invitation = switch("send_invitation")?;
        Ok(Self {
            settings: shaped(body)?,
            sync_after_save,
            request_co_management,
            send_invitation,
        })
    }
}

/// A customer that was added.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CustomerCreated {
    #[serde(flatten)]
    record: CustomerRecord,
    /// The Sync that was asked for.
    sync_task: Option<TaskRecord>,
    /// The invitation that was sent, with its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<InvitationView>,
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
    if before.settings.tenant_name.is_some() {
        require_tenant(&settings)?;
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
    let generation = change.publish_for(&[id]).await?;
    Ok(changed(record.version, &record, generation))
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
    require_unused(&mut change, &before).await?;
    customers::delete(&mut change, id).await?;
    caller
        .audit(&mut change, "delete", None, Some(&before), None::<&()>)
        .await?;
    Ok(deleted(change.publish_for(&[id]).await?))
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

/// Let no new calls of a customer in
///
/// Neither way; running ones go on. The same as `:disable` after the customer's id.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/disable", tag = "customers", operation_id = "disable_customer",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = CustomerRecord), (status = 404, body = Problem))
)]
pub(super) async fn disable(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    set_admin_state(&admin, &caller, id, AdminState::Disabled).await
}

/// Let calls of a customer in again
///
/// The same as `:enable` after the customer's id.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/enable", tag = "customers", operation_id = "enable_customer",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = CustomerRecord), (status = 404, body = Problem))
)]
pub(super) async fn enable(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    set_admin_state(&admin, &caller, id, AdminState::Enabled).await
}

async fn set_admin_state(
    admin: &Admin,
    caller: &Caller,
    id: Uuid,
    admin_state: AdminState,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let before = caller.customer(&mut change, id).await?;
    let settings = CustomerSettings {
        admin_state,
        ..before.settings.clone()
    };
    let record = customers::update(&mut change, id, &settings).await?;
    let path = format!("/api/v1/customers/{id}");
    let audited = caller.audit(
        &mut change,
        "update",
        Some(&path),
        Some(&before),
        Some(&record),
    );
    audited.await?;
    let kind = match admin_state {
        AdminState::Disabled => "customer.disabled",
        AdminState::Enabled => "customer.enabled",
    };
    events::insert(&mut change, OffsetDateTime::now_utc(), kind, id, &json!({})).await?;
    let generation = change.publish_for(&[id]).await?;
    Ok(changed(record.version, &record, generation))
}

/// What seats are sold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Seats {
    /// If absent, the customer's.
    seat_type: Option<SeatType>,
    /// How many.
    seats: u32,
}

/// How many channels there should be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Suggestion {
    /// A tenth of unbundled seats, all bundled ones, at least one.
    max_channels: u32,
}

/// How many channels a number of seats typically has
///
/// Advice, no rule: `max_channels` is what the contract says.
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/channel-suggestion", tag = "customers", operation_id = "suggest_channels",
    params(("id" = Uuid, Path), Seats),
    responses((status = 200, body = Suggestion), (status = 404, body = Problem), (status = 422, body = Problem))
)]
pub(super) async fn suggest_channels(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(seats): Search<Seats>,
) -> Result<Json<Suggestion>, ApiError> {
    let customer = caller.customer(&mut *admin.store.read().await?, id).await?;
    let seat_type = seats.seat_type.or(customer.settings.seat_type);
    let seat_type = seat_type.ok_or_else(|| {
        ApiError::invalid_field("seat_type", "required", "is not known of the customer")
    })?;
    Ok(Json(Suggestion {
        max_channels: suggested_channels(seat_type, seats.seats),
    }))
}

/// Only who carries no calls can go.
pub(super) async fn require_unused(
    connection: &mut SqliteConnection,
    customer: &CustomerRecord,
) -> Result<(), ApiError> {
    if customer.settings.admin_state == AdminState::Disabled
        && !customers::is_in_use(connection, customer.id).await?
    {
        return Ok(());
    }
    let detail = "the customer must be disabled, without active gateways and numbers in service";
    Err(ApiError::conflict("customer_in_use", detail))
}

/// Only customers from before have none.
pub(super) fn require_tenant(settings: &CustomerSettings) -> Result<(), ApiError> {
    if settings.tenant_name.is_some() {
        return Ok(());
    }
    Err(ApiError::invalid_field(
        "tenant_name",
        "required",
        "is needed",
    ))
}

/// Setting the activation state by hand says "this was done elsewhere": the carrier's word, with a reason.
pub(super) fn check_activation(
    caller: &Caller,
    before: ActivationState,
    settings: &CustomerSettings,
    reason_given: bool,
) -> Result<(), ApiError> {
    if settings.activation_state == before {
        return Ok(());
    }
    if !matches!(
        settings.activation_state,
        ActivationState::Inactive | ActivationState::Active
    ) {
        return Err(ApiError::invalid_field(
            "activation_state",
            "not_settable",
            "is set by the activation only",
        ));
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
