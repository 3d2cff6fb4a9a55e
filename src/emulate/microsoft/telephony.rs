use super::graph::{Bearer, bad};
use super::{Shared, fields, graph_error};
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) fn routes() -> Router<Shared> {
    const PHONES: &str = "/graph/v1.0/admin/teams/telephoneNumberManagement";
    Router::new()
        .route(&format!("{PHONES}/numberAssignments"), get(numbers))
        .route(
            &format!("{PHONES}/numberAssignments/assignNumber"),
            post(assign),
        )
        .route(
            &format!("{PHONES}/numberAssignments/unassignNumber"),
            post(unassign),
        )
        .route(&format!("{PHONES}/operations/{{id}}"), get(operation))
        .route(
            "/graph/v1.0/admin/teams/policy/userAssignments/assign",
            post(policy),
        )
        .route("/teams/voiceRoutes", post(voice_route))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Assignment {
    telephone_number: String,
    assignment_target_id: Option<Uuid>,
    number_type: String,
}

async fn numbers(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    RawQuery(query): RawQuery,
) -> Response {
    let asked = fields(&query.unwrap_or_default());
    let asked = |name: &str| asked.get(name).and_then(|value| value.parse().ok());
    let (top, skip) = (asked("$top").unwrap_or(100), asked("$skip").unwrap_or(0));
    let mut world = here.world();
    let numbers = world
        .tenant(&token.tenant.to_string())
        .map(|home| home.numbers.clone())
        .unwrap_or_default();
    let number = |(number, user): (&String, &Uuid)| {
        json!({ "telephoneNumber": number, "assignmentTargetId": user, "numberType": "directRouting",
            "activationState": "activated", "assignmentStatus": "userAssigned" })
    };
    let page = numbers.iter().skip(skip).take(top).map(number);
    Json(json!({ "value": page.collect::<Vec<_>>() })).into_response()
}

/// What happens at once here is an operation all the same: its id tells how it ended.
fn accepted(outcome: &str) -> Response {
    let location = format!("/admin/teams/telephoneNumberManagement/operations/{outcome}");
    (StatusCode::ACCEPTED, [(header::LOCATION, location)]).into_response()
}

async fn assign(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    Json(body): Json<Value>,
) -> Response {
    let Ok(wanted) = serde_json::from_value::<Assignment>(body) else {
        return bad("A required property is missing.");
    };
    let mut world = here.world();
    let Some(home) = world.tenant(&token.tenant.to_string()) else {
        return bad("There is no such tenant.");
    };
    let Some(user) = wanted
        .assignment_target_id
        .filter(|_| wanted.number_type == "directRouting")
    else {
        return bad("A required property is missing.");
    };
    let known = home
        .users
        .iter()
        .any(|other| other.id == user && !other.licenses.is_empty());
    let taken = home
        .numbers
        .get(&wanted.telephone_number)
        .is_some_and(|owner| *owner != user);
    if !known || taken {
        return accepted("failed");
    }
    home.numbers.insert(wanted.telephone_number, user);
    accepted("succeeded")
}

async fn unassign(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    Json(body): Json<Value>,
) -> Response {
    let Ok(wanted) = serde_json::from_value::<Assignment>(body) else {
        return bad("A required property is missing.");
    };
    let mut world = here.world();
    let home = world.tenant(&token.tenant.to_string());
    match home.and_then(|home| home.numbers.remove(&wanted.telephone_number)) {
        Some(_) => accepted("succeeded"),
        None => accepted("skipped"),
    }
}

async fn operation(Bearer(_): Bearer, Path(id): Path<String>) -> Response {
    let detail = if id == "failed" {
        json!("Telephone Number has already been assigned to another user")
    } else {
        Value::Null
    };
    Json(json!({ "id": id, "status": id, "numbers": [{ "status": id, "statusDetail": detail }] }))
        .into_response()
}

async fn policy(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    Json(body): Json<Value>,
) -> Response {
    let mut world = here.world();
    if let Some(home) = world.tenant(&token.tenant.to_string()) {
        home.policies.push(body);
    }
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Route {
    tenant_id: Uuid,
    name: String,
    gateways: Vec<String>,
}

/// `New-CsOnlineVoiceRoute` and what belongs to it. A gateway's domain counts once a licensed user has it.
async fn voice_route(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    Json(body): Json<Value>,
) -> Response {
    let Ok(route) = serde_json::from_value::<Route>(body.clone()) else {
        return bad("A required property is missing.");
    };
    if route.tenant_id != token.tenant {
        return graph_error(
            StatusCode::FORBIDDEN,
            "Authorization_RequestDenied",
            "The token is for another tenant.",
        );
    }
    let mut world = here.world();
    let Some(home) = world.tenant(&token.tenant.to_string()) else {
        return bad("There is no such tenant.");
    };
    for fqdn in &route.gateways {
        let suffix = format!("@{fqdn}");
        let used = home
            .users
            .iter()
            .any(|user| user.upn.ends_with(&suffix) && !user.licenses.is_empty());
        if !home.is_called(fqdn) || !used {
            return bad(&format!(
                "Can not use the \"{fqdn}\" domain as it was not configured for this tenant."
            ));
        }
    }
    home.voice_routes
        .retain(|other| other["name"] != route.name.as_str());
    home.voice_routes.push(body);
    StatusCode::NO_CONTENT.into_response()
}
