use super::Admin;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// That the program runs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Alive {
    /// Always `ok`.
    status: &'static str,
}

/// Whether calls are welcome.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// Whether everything works.
    ready: bool,
    /// Of the directory that calls obey.
    generation: u64,
    /// What does not work.
    reasons: Vec<NotReady>,
}

/// A part that does not work.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NotReady {
    /// `program`, `certificates`, `directory`, `store` or `relay`.
    part: &'static str,
    /// Why.
    reason: String,
}

/// Whether the program runs
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = Alive)))]
pub(super) async fn healthz() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Whether calls are welcome
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, body = Ready), (status = 503, body = Ready))
)]
pub(super) async fn readyz(State(admin): State<Admin>) -> Response {
    let reasons: Vec<_> = admin
        .health
        .reasons()
        .into_iter()
        .map(|(part, reason)| NotReady {
            part: part.name(),
            reason,
        })
        .collect();
    let ready = reasons.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let generation = admin.store.directory().load().generation;
    (
        status,
        Json(Ready {
            ready,
            generation,
            reasons,
        }),
    )
        .into_response()
}
