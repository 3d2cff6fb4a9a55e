use super::Admin;
use super::answer::{absent, changed_rows, created_rows, require_match, shown};
use super::auth::Caller;
use super::body::{Body, Search, bytes, media_type, patched};
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use crate::provisioning::{Feature, suggested_extension};
use crate::store::{
    Change, CustomerRecord, Store, TaskKind, TaskRecord, TaskState, UserRecord, UserSettings,
    regions, services, tasks, users,
};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::provisioning::csv::Table;

/// Users of one table.
const MOST_ROWS: usize = 50;

/// An extension that nobody has.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FreeExtension {
    /// The first one from 1001 on.
    extension: String,
}

/// Users of a customer, oldest first
///
/// Carrier and partner need the customer's co-management.
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/users", tag = "users", operation_id = "list_users",
    params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<UserRecord>), (status = 403, body = Problem), (status = 404, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(paging): Search<Paging>,
) -> Result<Json<List<UserRecord>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    caller.managed(&mut connection, id).await?;
    require_feature(&mut connection, id, Feature::Users).await?;
    Ok(Json(users::list(&mut connection, id, page).await?.into()))
}

/// Add a user
///
/// Not more than the customer's `user_limit` and what its services have licensed; its numbers become its own.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/users", tag = "users", operation_id = "create_user",
    params(("id" = Uuid, Path)), request_body = UserSettings,
    responses((status = 201, body = UserRecord), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 422, body = Problem))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(settings): Body<UserSettings>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    let customer = caller.managed(&mut change, id).await?;
    let record = add(&admin, &caller, &mut change, &customer, &settings).await?;
    let location = format!("/api/v1/customers/{id}/users/{}", record.id);
    change.keep().await?;
    Ok(created_rows(&location, record.version, &record))
}

async fn add(
    admin: &Admin,
    caller: &Caller,
    change: &mut Change,
    customer: &CustomerRecord,
    settings: &UserSettings,
) -> Result<UserRecord, ApiError> {
    check_user(caller, change, customer, None, settings).await?;
    let emergency = emergency(&admin.store, change, customer).await?;
    let record = users::insert(change, customer.id, settings, &emergency).await?;
    let location = format!("/api/v1/customers/{}/users/{}", customer.id, record.id);
    let (none, after) = (None::<&()>, Some(&record));
    caller
        .audit_for(customer, change, "create", Some(&location), none, after)
        .await?;
    Ok(record)
}

/// A user
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/users/{user}", tag = "users", operation_id = "show_user",
    params(("id" = Uuid, Path), ("user" = Uuid, Path)),
    responses((status = 200, body = UserRecord), (status = 403, body = Problem), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, user)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.managed(&mut connection, id).await?;
    require_feature(&mut connection, id, Feature::Users).await?;
    let record = found(&mut connection, id, user).await?;
    Ok(shown(&headers, record.version, &record))
}

/// Change a user
///
/// Policies need the licence for them.
#[utoipa::path(
    patch, path = "/api/v1/customers/{id}/users/{user}", tag = "users", operation_id = "change_user",
    params(("id" = Uuid, Path), ("user" = Uuid, Path), ("If-Match" = String, Header)), request_body = UserSettings,
    responses((status = 200, body = UserRecord), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem),
              (status = 428, body = Problem))
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, user)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    let customer = caller.managed(&mut change, id).await?;
    require_feature(&mut change, id, Feature::Users).await?;
    let before = found(&mut change, id, user).await?;
    require_match(&headers, before.version)?;
    let settings: UserSettings = patched(&before.settings, patch)?;
    let from = Some(&before.settings);
    check_user(&caller, &mut change, &customer, from, &settings).await?;
    let emergency = emergency(&admin.store, &mut change, &customer).await?;
    let record = users::update(&mut change, id, user, &settings, &emergency).await?;
    let (from, to) = (Some(&before), Some(&record));
    caller
        .audit_for(&customer, &mut change, "update", None, from, to)
        .await?;
    change.keep_for(id).await?;
    Ok(changed_rows(record.version, &record))
}

/// Remove a user
///
/// Its numbers stay the customer's.
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/users/{user}", tag = "users", operation_id = "delete_user",
    params(("id" = Uuid, Path), ("user" = Uuid, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem), (status = 412, body = Problem),
              (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, user)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    let customer = caller.managed(&mut change, id).await?;
    require_feature(&mut change, id, Feature::Users).await?;
    let Some(before) = users::find(&mut change, id, user).await? else {
        return Ok(absent());
    };
    require_match(&headers, before.version)?;
    users::delete(&mut change, id, user).await?;
    let (from, none) = (Some(&before), None::<&()>);
    caller
        .audit_for(&customer, &mut change, "delete", None, from, none)
        .await?;
    change.keep().await?;
    Ok(absent())
}

/// Add users from a table
///
/// At most 50 rows of CSV with the columns `upn` and `display_name`, and perhaps `extension`, `sip_user`, `default_did`,
/// `did_list` (separated by `;`), `offering` and `user_tag`. With `teams_user_id` and `default_did_index_number`, which
/// counts in `did_list` from 0, tables of trunk users are understood, too. Each row by itself; the task tells what became
/// of each. The same as `:bulk` after `users`.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/users/bulk", tag = "users", operation_id = "create_users",
    params(("id" = Uuid, Path)), request_body(content = String, content_type = "text/csv"),
    responses((status = 202, body = TaskRecord), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 415, body = Problem), (status = 422, body = Problem))
)]
pub(super) async fn create_many(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    request: Request,
) -> Result<Response, ApiError> {
    let rows = table(request).await?;
    let mut change = admin.store.rows().await?;
    let customer = caller.managed(&mut change, id).await?;
    require_feature(&mut change, id, Feature::Users).await?;
    let task = tasks::insert(&mut change, TaskKind::UsersBulk, id).await?;
    tasks::start(&mut change, task.id).await?;
    change.keep().await?;
    let (mut created, mut details) = (0, Vec::new());
    for (line, row) in rows {
        // Each on its own, so that a row that fails takes no other with it.
        let mut change = admin.store.rows().await?;
        let added = match super::body::shaped::<UserSettings>(row) {
            Ok(settings) => add(&admin, &caller, &mut change, &customer, &settings).await,
            Err(error) => Err(error),
        };
        details.push(match added {
            Ok(user) => {
                change.keep().await?;
                created += 1;
                json!({ "line": line, "user_id": user.id, "upn": user.settings.upn })
            }
            Err(error) => {
                json!({ "line": line, "code": error.first_code(), "message": error.detail() })
            }
        });
    }
    let mut change = admin.store.rows().await?;
    let result = json!({ "created": created, "failed": details.len() - created });
    tasks::finish(
        &mut change,
        task.id,
        TaskState::Succeeded,
        Some(&result),
        &details,
    )
    .await?;
    change.keep().await?;
    let done = tasks::find(&mut *admin.store.read().await?, task.id).await?;
    let location = [(header::LOCATION, format!("/api/v1/tasks/{}", task.id))];
    Ok((StatusCode::ACCEPTED, location, Json(done.unwrap_or(task))).into_response())
}

/// The rows of a body, each as what a user's settings are made from.
async fn table(request: Request) -> Result<Vec<(usize, Value)>, ApiError> {
    if !matches!(
        media_type(request.headers()).as_str(),
        "text/csv" | "text/plain"
    ) {
        let detail = "the body must be text/csv";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(ApiError::new(status, "media_type", detail));
    }
    let body = bytes(request, &()).await?;
    let text = str::from_utf8(&body)
        .map_err(|_| ApiError::bad_request("encoding", "the text is not UTF-8"))?;
    let table = Table::parse(text, MOST_ROWS)
        .map_err(|error| ApiError::invalid_field("", "csv", &error.to_string()))?;
    if table.rows().next().is_none() {
        return Err(ApiError::invalid_field(
            "",
            "required",
            "must have at least one row",
        ));
    }
    let row = |(line, row): (usize, crate::provisioning::csv::Row<'_>)| {
        let mut user = serde_json::Map::new();
        let upn = row.get("upn").or(row.get("teams_user_id"));
        let name = row.get("display_name").or(upn);
        let plain = [
            "extension",
            "sip_user",
            "offering",
            "user_tag",
            "default_did",
        ];
        let fields = plain.map(|field| (field, row.get(field)));
        for (field, text) in fields
            .into_iter()
            .chain([("upn", upn), ("display_name", name)])
        {
            if let Some(text) = text {
                user.insert(field.to_owned(), json!(text));
            }
        }
        let list = row.get("did_list").unwrap_or_default().split(';');
        let mut numbers: Vec<_> = list.map(str::trim).filter(|n| !n.is_empty()).collect();
        let first = row
            .get("default_did_index_number")
            .and_then(|n| n.parse::<usize>().ok());
        if let Some(first) = first.filter(|first| *first < numbers.len()) {
            user.insert("default_did".to_owned(), json!(numbers.remove(first)));
        }
        user.insert("forwarded_dids".to_owned(), json!(numbers));
        (line, Value::Object(user))
    };
    Ok(table.rows().map(row).collect())
}

/// An extension that nobody has
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/extensions/suggest", tag = "users", operation_id = "suggest_extension",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = FreeExtension), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem))
)]
pub(super) async fn suggest(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<FreeExtension>, ApiError> {
    let mut connection = admin.store.read().await?;
    let customer = caller.managed(&mut connection, id).await?;
    let taken = users::extensions(&mut connection, id).await?;
    let emergency = emergency(&admin.store, &mut connection, &customer).await?;
    let free = suggested_extension(|text| taken.contains(text), &emergency);
    free.map(|extension| Json(FreeExtension { extension }))
        .ok_or_else(|| ApiError::conflict("no_extension", "all extensions are taken"))
}

/// Emergency numbers where the customer is.
pub(super) async fn emergency(
    store: &Store,
    connection: &mut SqliteConnection,
    customer: &CustomerRecord,
) -> Result<Vec<String>, ApiError> {
    let mut numbers = store.directory().load().emergency_numbers().to_vec();
    for code in &customer.settings.regions {
        let region = regions::find(connection, code).await?;
        numbers.extend(
            region
                .into_iter()
                .flat_map(|r| r.settings.emergency_numbers),
        );
    }
    numbers.extend(customer.settings.emergency_numbers.clone());
    Ok(numbers)
}

/// Whether a user may be so: what licences, limits and the customer's own switches say of it.
pub(super) async fn check_user(
    caller: &Caller,
    connection: &mut SqliteConnection,
    customer: &CustomerRecord,
    before: Option<&UserSettings>,
    after: &UserSettings,
) -> Result<(), ApiError> {
    require_feature(connection, customer.id, Feature::Users).await?;
    check_policies(connection, customer.id, before, after).await?;
    check_extension(caller, customer, before, after)?;
    if after.counts() && !before.is_some_and(UserSettings::counts) {
        require_room(connection, customer).await?;
    }
    Ok(())
}

/// Whether one more user may count.
async fn require_room(
    connection: &mut SqliteConnection,
    customer: &CustomerRecord,
) -> Result<(), ApiError> {
    let counted = users::counted(connection, customer.id).await?;
    if customer
        .settings
        .user_limit
        .is_some_and(|limit| counted >= limit)
    {
        let detail = "the customer has as many users as its user_limit allows";
        return Err(ApiError::conflict("user_limit_reached", detail));
    }
    let bought = services::licensed_users(connection, customer.id).await?;
    if bought.is_some_and(|bought| counted >= bought) {
        let detail = "the customer has as many users as its services have licensed";
        return Err(ApiError::conflict("license_exhausted", detail));
    }
    Ok(())
}

/// What the best licence of the customer's services must allow; a customer without services needs none.
pub(super) async fn require_feature(
    connection: &mut SqliteConnection,
    customer: Uuid,
    feature: Feature,
) -> Result<(), ApiError> {
    match services::license(connection, customer).await? {
        Some(license) if !license.allows(feature) => {
            let detail = format!("needs the licence {}", feature.needs().name());
            Err(ApiError::forbidden("license_required", &detail))
        }
        _ => Ok(()),
    }
}

/// Policies that differ from those before, or from those that a user has by itself.
async fn check_policies(
    connection: &mut SqliteConnection,
    customer: Uuid,
    before: Option<&UserSettings>,
    after: &UserSettings,
) -> Result<(), ApiError> {
    let policies = |user: &UserSettings| {
        (
            user.voice_route.clone(),
            user.caller_id_policy,
            user.caller_name_policy.clone(),
            user.use_teams_voicemail,
        )
    };
    let plain = (Vec::new(), Default::default(), None, false);
    if policies(after) == before.map_or(plain, policies) {
        return Ok(());
    }
    require_feature(connection, customer, Feature::EditPolicies).await
}

/// A customer's own administrator adds extensions only where it may.
fn check_extension(
    caller: &Caller,
    customer: &CustomerRecord,
    before: Option<&UserSettings>,
    after: &UserSettings,
) -> Result<(), ApiError> {
    let is_new = after.extension.is_some()
        && before.is_none_or(|before| before.extension != after.extension);
    let may = customer.settings.can_add_extensions || !caller.role().is_of_customer();
    if is_new && !may {
        let detail = "can_add_extensions is off for this customer";
        return Err(ApiError::forbidden("can_add_extensions_off", detail));
    }
    Ok(())
}

async fn found(
    connection: &mut SqliteConnection,
    customer: Uuid,
    user: Uuid,
) -> Result<UserRecord, ApiError> {
    users::find(connection, customer, user)
        .await?
        .ok_or_else(ApiError::not_found)
}
