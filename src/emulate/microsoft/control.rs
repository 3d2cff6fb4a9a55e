use super::{Rule, Shared, Tenant};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use uuid::Uuid;

/// Rules that are planted at once.
const MOST: usize = 1000;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/control/log", get(log).delete(forget))
        .route("/control/script", post(plant))
        .route("/control/tenants/{id}", get(show).put(put))
}

async fn log(State(here): State<Shared>) -> Json<Value> {
    Json(json!(here.script().log))
}

async fn forget(State(here): State<Shared>) -> StatusCode {
    here.script().log.clear();
    StatusCode::NO_CONTENT
}

async fn plant(State(here): State<Shared>, Json(rules): Json<Vec<Rule>>) -> StatusCode {
    let mut script = here.script();
    if script.rules.len() + rules.len() > MOST {
        return StatusCode::INSUFFICIENT_STORAGE;
    }
    script.rules.extend(rules);
    StatusCode::NO_CONTENT
}

async fn show(
    State(here): State<Shared>,
    Path(id): Path<Uuid>,
) -> Result<Json<Tenant>, StatusCode> {
    let mut world = here.world();
    let tenant = world.tenant(&id.to_string()).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(tenant.clone()))
}

async fn put(
    State(here): State<Shared>,
    Path(id): Path<Uuid>,
    Json(tenant): Json<Tenant>,
) -> StatusCode {
    if tenant.id != id {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    let mut world = here.world();
    world.tenants.retain(|other| other.id != id);
    if world.tenants.len() >= MOST {
        return StatusCode::INSUFFICIENT_STORAGE;
    }
    world.tenants.push(tenant);
    StatusCode::NO_CONTENT
}
