use super::Admin;
use super::answer::{absent, changed, created, deleted, require_match, shown};
use super::auth::Caller;
use super::body::{Body, Search, patched};
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use super::registrations::{Standing, views};
use crate::directory::{Auth, Role, TrunkState};
use crate::store::{Change, Listed, StoreError, TrunkRecord, TrunkSettings, trunks};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use sqlx::SqliteConnection;
use utoipa::ToSchema;
use uuid::Uuid;

type Listing = Result<Json<List<Trunk>>, ApiError>;
type Answered = Result<Response, ApiError>;

/// A trunk, and how it is registered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TrunkAndStanding)]
pub(super) struct Trunk {
    /// What is stored of it.
    #[serde(flatten)]
    record: TrunkRecord,
    /// How its registration stands; null where `auth` is not `register`.
    registration: Option<Standing>,
}

impl Trunk {
    fn registers(record: &TrunkRecord) -> bool {
        record.settings.auth == Auth::Register
    }

    /// One that has just been written.
    fn fresh(record: TrunkRecord) -> Self {
        let wanted = record.settings.state != TrunkState::Disabled;
        let registration = Self::registers(&record).then(|| Standing::fresh(wanted));
        Self {
            record,
            registration,
        }
    }
}

/// These, and how those stand that register.
async fn standing(admin: &Admin, records: Vec<TrunkRecord>) -> Result<Vec<Trunk>, ApiError> {
    let registering = records.iter().filter(|record| Trunk::registers(record));
    let ids: Vec<_> = registering.map(|record| record.id).collect();
    let views = match ids.is_empty() {
        true => Vec::new(),
        false => views(admin, ids).await?,
    };
    let shown = records.into_iter().map(|record| {
        let view = views.iter().find(|view| view.id == record.id);
        let registration = Trunk::registers(&record).then(|| Standing::of(view));
        Trunk {
            record,
            registration,
        }
    });
    Ok(shown.collect())
}

/// Trunks of a customer, oldest first
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/trunks", tag = "trunks", operation_id = "list_trunks",
    params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<Trunk>), (status = 404, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(paging): Search<Paging>,
) -> Listing {
    list_of(&admin, &caller, Some(id), &paging).await
}

/// Trunks shared by all customers, oldest first
#[utoipa::path(
    get, path = "/api/v1/trunks", tag = "trunks", operation_id = "list_shared_trunks", params(Paging),
    responses((status = 200, body = List<Trunk>))
)]
pub(super) async fn list_shared(
    State(admin): State<Admin>,
    caller: Caller,
    Search(paging): Search<Paging>,
) -> Listing {
    list_of(&admin, &caller, None, &paging).await
}

/// Add a trunk to a customer
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/trunks", tag = "trunks", operation_id = "create_trunk",
    params(("id" = Uuid, Path)), request_body = TrunkSettings,
    responses((status = 201, body = Trunk), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 422, body = Problem))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(settings): Body<TrunkSettings>,
) -> Answered {
    create_for(&admin, &caller, Some(id), &settings).await
}

/// Add a trunk for all customers
#[utoipa::path(
    post, path = "/api/v1/trunks", tag = "trunks", operation_id = "create_shared_trunk", request_body = TrunkSettings,
    responses((status = 201, body = Trunk), (status = 409, body = Problem), (status = 422, body = Problem))
)]
pub(super) async fn create_shared(
    State(admin): State<Admin>,
    caller: Caller,
    Body(settings): Body<TrunkSettings>,
) -> Answered {
    create_for(&admin, &caller, None, &settings).await
}

/// A trunk of a customer
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/trunks/{trunk}", tag = "trunks", operation_id = "show_trunk",
    params(("id" = Uuid, Path), ("trunk" = Uuid, Path)),
    responses((status = 200, body = Trunk), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, trunk)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Answered {
    show_of(&admin, &caller, Some(id), trunk, &headers).await
}

/// A shared trunk
#[utoipa::path(
    get, path = "/api/v1/trunks/{trunk}", tag = "trunks", operation_id = "show_shared_trunk",
    params(("trunk" = Uuid, Path)), responses((status = 200, body = Trunk), (status = 404, body = Problem))
)]
pub(super) async fn show_shared(
    State(admin): State<Admin>,
    caller: Caller,
    Path(trunk): Path<Uuid>,
    headers: HeaderMap,
) -> Answered {
    show_of(&admin, &caller, None, trunk, &headers).await
}

/// Change a trunk of a customer
#[utoipa::path(
    patch, path = "/api/v1/customers/{id}/trunks/{trunk}", tag = "trunks", operation_id = "change_trunk",
    params(("id" = Uuid, Path), ("trunk" = Uuid, Path), ("If-Match" = String, Header)), request_body = TrunkSettings,
    responses((status = 200, body = Trunk), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem),
              (status = 428, body = Problem))
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, trunk)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Answered {
    change_of(&admin, &caller, Some(id), trunk, &headers, patch).await
}

/// Change a shared trunk
#[utoipa::path(
    patch, path = "/api/v1/trunks/{trunk}", tag = "trunks", operation_id = "change_shared_trunk",
    params(("trunk" = Uuid, Path), ("If-Match" = String, Header)), request_body = TrunkSettings,
    responses((status = 200, body = Trunk), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 412, body = Problem), (status = 422, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn change_shared(
    State(admin): State<Admin>,
    caller: Caller,
    Path(trunk): Path<Uuid>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Answered {
    change_of(&admin, &caller, None, trunk, &headers, patch).await
}

/// Remove a trunk of a customer
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/trunks/{trunk}", tag = "trunks", operation_id = "delete_trunk",
    params(("id" = Uuid, Path), ("trunk" = Uuid, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, trunk)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Answered {
    delete_of(&admin, &caller, Some(id), trunk, &headers).await
}

/// Remove a shared trunk
#[utoipa::path(
    delete, path = "/api/v1/trunks/{trunk}", tag = "trunks", operation_id = "delete_shared_trunk",
    params(("trunk" = Uuid, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn delete_shared(
    State(admin): State<Admin>,
    caller: Caller,
    Path(trunk): Path<Uuid>,
    headers: HeaderMap,
) -> Answered {
    delete_of(&admin, &caller, None, trunk, &headers).await
}

async fn list_of(
    admin: &Admin,
    caller: &Caller,
    customer: Option<Uuid>,
    paging: &Paging,
) -> Listing {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    check_customer(caller, &mut connection, customer).await?;
    let Listed { items, next } = trunks::list(&mut connection, customer, page).await?;
    drop(connection);
    let items = standing(admin, items).await?;
    Ok(Json(Listed { items, next }.into()))
}

async fn create_for(
    admin: &Admin,
    caller: &Caller,
    customer: Option<Uuid>,
    settings: &TrunkSettings,
) -> Answered {
    let mut change = admin.store.change().await?;
    check_customer(caller, &mut change, customer).await?;
    check_role(caller, settings)?;
    let record = trunks::insert(&mut change, customer, settings).await?;
    let location = match customer {
        Some(id) => format!("/api/v1/customers/{id}/trunks/{}", record.id),
        None => format!("/api/v1/trunks/{}", record.id),
    };
    caller
        .audit(
            &mut change,
            "create",
            Some(&location),
            None::<&()>,
            Some(&record),
        )
        .await?;
    let generation = publish(change, customer).await?;
    let version = record.version;
    Ok(created(
        &location,
        version,
        &Trunk::fresh(record),
        generation,
    ))
}

async fn show_of(
    admin: &Admin,
    caller: &Caller,
    customer: Option<Uuid>,
    id: Uuid,
    headers: &HeaderMap,
) -> Answered {
    let mut connection = admin.store.read().await?;
    check_customer(caller, &mut connection, customer).await?;
    let record = trunks::find(&mut connection, customer, id)
        .await?
        .ok_or_else(ApiError::not_found)?;
    drop(connection);
    let (version, registers) = (record.version, Trunk::registers(&record));
    let mut found = standing(admin, vec![record]).await?;
    let found = found.pop().ok_or_else(ApiError::not_found)?;
    // How it stands is no part of its version: such an answer is always whole.
    let whole = HeaderMap::new();
    Ok(shown(
        if registers { &whole } else { headers },
        version,
        &found,
    ))
}

async fn change_of(
    admin: &Admin,
    caller: &Caller,
    customer: Option<Uuid>,
    id: Uuid,
    headers: &HeaderMap,
    patch: Value,
) -> Answered {
    let mut change = admin.store.change().await?;
    check_customer(caller, &mut change, customer).await?;
    let before = trunks::find(&mut change, customer, id)
        .await?
        .ok_or_else(ApiError::not_found)?;
    require_match(headers, before.version)?;
    let settings = patched(&before.settings, patch)?;
    check_role(caller, &before.settings)?;
    check_role(caller, &settings)?;
    let record = trunks::update(&mut change, customer, id, &settings).await?;
    caller
        .audit(&mut change, "update", None, Some(&before), Some(&record))
        .await?;
    let generation = publish(change, customer).await?;
    let version = record.version;
    Ok(changed(version, &Trunk::fresh(record), generation))
}

async fn delete_of(
    admin: &Admin,
    caller: &Caller,
    customer: Option<Uuid>,
    id: Uuid,
    headers: &HeaderMap,
) -> Answered {
    let mut change = admin.store.change().await?;
    check_customer(caller, &mut change, customer).await?;
    let Some(before) = trunks::find(&mut change, customer, id).await? else {
        return Ok(absent());
    };
    require_match(headers, before.version)?;
    check_role(caller, &before.settings)?;
    trunks::delete(&mut change, customer, id).await?;
    caller
        .audit(&mut change, "delete", None, Some(&before), None::<&()>)
        .await?;
    Ok(deleted(publish(change, customer).await?))
}

/// A shared trunk concerns everybody.
async fn publish(change: Change, customer: Option<Uuid>) -> Result<u64, StoreError> {
    match customer {
        Some(customer) => change.publish_for(&[customer]).await,
        None => change.publish().await,
    }
}

async fn check_customer(
    caller: &Caller,
    connection: &mut SqliteConnection,
    customer: Option<Uuid>,
) -> Result<(), ApiError> {
    if let Some(id) = customer {
        caller.customer(connection, id).await?;
    }
    Ok(())
}

fn check_role(caller: &Caller, settings: &TrunkSettings) -> Result<(), ApiError> {
    if settings.role == Role::Carrier && !caller.role().may_connect_carriers() {
        return Err(ApiError::forbidden(
            "carrier_trunk",
            "only the carrier connects to carriers",
        ));
    }
    Ok(())
}
