use super::Admin;
use super::auth::Caller;
use super::error::{ApiError, Problem};
use super::page::List;
use crate::provisioning::{ActionItem, Situation, user_cap};
use crate::store::{services, users};
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Something to do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PendingAction {
    /// For programs; stable.
    code: ActionItem,
    /// For people.
    text: &'static str,
    /// Where it is done.
    href: String,
}

/// What there is to do for the customer's administrator
///
/// An item vanishes when it is done.
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/action-items", tag = "customers", operation_id = "list_action_items",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = List<PendingAction>), (status = 404, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<List<PendingAction>>, ApiError> {
    let mut connection = admin.store.read().await?;
    let customer = caller.customer(&mut connection, id).await?;
    let bought = services::licensed_users(&mut connection, id).await?;
    let situation = Situation {
        consent: customer.co_management.state,
        activation: customer.settings.activation_state,
        sync: customer.sync_state,
        teams_push: customer.teams_push,
        users: users::counted(&mut connection, id).await?,
        cap: user_cap(customer.settings.user_limit, bought),
    };
    let pending = |item: ActionItem| PendingAction {
        code: item,
        text: item.text(),
        href: format!("/api/v1/customers/{id}{}", place(item)),
    };
    let items = ActionItem::of(situation).into_iter().map(pending).collect();
    Ok(Json(List::new(items, None)))
}

fn place(item: ActionItem) -> &'static str {
    match item {
        ActionItem::GrantConsent => "/co-management",
        ActionItem::Activate => "",
        ActionItem::Sync | ActionItem::RepeatSync | ActionItem::AssignNumbers => "/sync",
        ActionItem::FreeNumbers => "/numbers",
        ActionItem::FreeLicenses => "/users",
    }
}
