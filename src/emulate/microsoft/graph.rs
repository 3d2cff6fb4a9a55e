use super::world::{Token, User};
use super::{Domain, Shared, World, fields, graph_error};
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// What our application is called in every tenant.
const PRINCIPAL: &str = "5e41ce00-0000-4000-8000-000000000001";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/graph/v1.0/domains", post(create_domain))
        .route("/graph/v1.0/domains/{name}", get(show_domain))
        .route(
            "/graph/v1.0/domains/{name}/verificationDnsRecords",
            get(records),
        )
        .route("/graph/v1.0/domains/{name}/verify", post(verify))
        .route("/graph/v1.0/users", post(create_user))
        .route("/graph/v1.0/users/{id}", get(show_user))
        .route("/graph/v1.0/users/{id}/assignLicense", post(assign_license))
        .route("/graph/v1.0/subscribedSkus", get(skus))
        .route("/graph/v1.0/servicePrincipals", get(principals))
        .route(
            "/graph/v1.0/servicePrincipals/{id}/appRoleAssignments",
            get(roles),
        )
        .route("/graph/v1.0/oauth2PermissionGrants", get(grants))
}

/// Whose token came with the request, if it may do anything at all.
pub(super) struct Bearer(pub Token);

impl FromRequestParts<Shared> for Bearer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, here: &Shared) -> Result<Self, Response> {
        let value = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let text = value
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        let mut world = here.world();
        let Some(token) = world.tokens.get(text).copied() else {
            let words = "Access token is empty, unknown or expired.";
            return Err(graph_error(
                StatusCode::UNAUTHORIZED,
                "InvalidAuthenticationToken",
                words,
            ));
        };
        let home = world.tenant(&token.tenant.to_string());
        let consented = home.is_some_and(|home| {
            if token.delegated {
                !home.grants.is_empty()
            } else {
                home.application
            }
        });
        if !consented {
            let words = "Insufficient privileges to complete the operation.";
            return Err(graph_error(
                StatusCode::FORBIDDEN,
                "Authorization_RequestDenied",
                words,
            ));
        }
        Ok(Self(token))
    }
}

pub(super) fn bad(message: &str) -> Response {
    graph_error(StatusCode::BAD_REQUEST, "Request_BadRequest", message)
}

fn not_found() -> Response {
    let words =
        "Resource does not exist or one of its queried reference-property objects are not present.";
    graph_error(StatusCode::NOT_FOUND, "Request_ResourceNotFound", words)
}

fn domain_json(name: &str, domain: &Domain) -> Json<Value> {
    let status = if domain.verified {
        json!("AvailableImmediately")
    } else {
        Value::Null
    };
    Json(
        json!({ "id": name, "isVerified": domain.verified, "availabilityStatus": status, "authenticationType": "Managed" }),
    )
}

/// A domain of the token's tenant.
fn domain_of<'a>(world: &'a mut World, token: Token, name: &str) -> Option<&'a mut Domain> {
    world
        .tenant(&token.tenant.to_string())?
        .domains
        .get_mut(&name.to_ascii_lowercase())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDomain {
    id: String,
}

async fn create_domain(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    Json(body): Json<Value>,
) -> Response {
    let Ok(NewDomain { id }) = serde_json::from_value(body) else {
        return bad("One or more properties contains invalid values.");
    };
    let name = id.to_ascii_lowercase();
    if name.len() > 48 || !name.contains('.') || name.ends_with(".onmicrosoft.com") {
        return bad("One or more properties contains invalid values.");
    }
    let mut world = here.world();
    let Some(home) = world.tenant(&token.tenant.to_string()) else {
        return not_found();
    };
    if home.domains.contains_key(&name) {
        let words = "Another object with the same value for property domains already exists.";
        return graph_error(StatusCode::CONFLICT, "ObjectConflict", words);
    }
    let domain = Domain {
        text: format!("MS=ms{:08}", rand::random_range(0..100_000_000_u32)),
        verified: false,
    };
    let answer = domain_json(&name, &domain);
    home.domains.insert(name, domain);
    (StatusCode::CREATED, answer).into_response()
}

async fn show_domain(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    Path(name): Path<String>,
) -> Response {
    match domain_of(&mut here.world(), token, &name) {
        Some(domain) => domain_json(&name, domain).into_response(),
        None => not_found(),
    }
}

async fn records(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    Path(name): Path<String>,
) -> Response {
    let mut world = here.world();
    let Some(domain) = domain_of(&mut world, token, &name) else {
        return not_found();
    };
    let mail = format!("{}.msv1.invalid", domain.text.trim_start_matches("MS="));
    Json(json!({ "value": [
        { "@odata.type": "#microsoft.graph.domainDnsMxRecord", "recordType": "Mx", "label": name, "ttl": 3600, "mailExchange": mail },
        { "@odata.type": "#microsoft.graph.domainDnsTxtRecord", "recordType": "Txt", "label": name, "ttl": 3600, "text": domain.text },
    ] }))
    .into_response()
}

async fn verify(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    Path(name): Path<String>,
) -> Response {
    let (text, elsewhere) = {
        let mut world = here.world();
        let elsewhere = world.tenants.iter().any(|other| {
            other.id != token.tenant
                && other
                    .domains
                    .get(&name)
                    .is_some_and(|domain| domain.verified)
        });
        let Some(domain) = domain_of(&mut world, token, &name) else {
            return not_found();
        };
        (domain.text.clone(), elsewhere)
    };
    if elsewhere {
        return bad("You've already added this domain to a different Microsoft 365 organization.");
    }
    if !here.sees(&name, &text).await {
        return bad(
            "Domain verification failed with the following error: 'The specified DNS record does not exist.'",
        );
    }
    match domain_of(&mut here.world(), token, &name) {
        Some(domain) => {
            domain.verified = true;
            domain_json(&name, domain).into_response()
        }
        None => not_found(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewUser {
    account_enabled: bool,
    display_name: String,
    mail_nickname: String,
    user_principal_name: String,
    usage_location: Option<String>,
    password_profile: PasswordProfile,
}

#[derive(Deserialize)]
struct PasswordProfile {
    password: String,
}

fn user_json(user: &User) -> Json<Value> {
    let states = user
        .licenses
        .iter()
        .map(|sku| json!({ "skuId": sku, "state": "Active", "error": "None" }));
    Json(json!({
        "id": user.id, "userPrincipalName": user.upn, "usageLocation": user.usage_location,
        "licenseAssignmentStates": states.collect::<Vec<_>>(),
    }))
}

async fn create_user(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    Json(body): Json<Value>,
) -> Response {
    let Ok(new) = serde_json::from_value::<NewUser>(body) else {
        return bad("A required property is missing.");
    };
    let strong = new.password_profile.password.len() >= 8;
    if !new.account_enabled
        || new.display_name.is_empty()
        || new.mail_nickname.is_empty()
        || !strong
    {
        return bad("The specified password or another property does not comply.");
    }
    let mut world = here.world();
    let Some(home) = world.tenant(&token.tenant.to_string()) else {
        return not_found();
    };
    let domain = new
        .user_principal_name
        .split('@')
        .nth(1)
        .unwrap_or_default();
    if !home.is_called(domain) {
        return bad(
            "The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names \
             in your organization.",
        );
    }
    if home
        .users
        .iter()
        .any(|user| user.upn.eq_ignore_ascii_case(&new.user_principal_name))
    {
        return bad(
            "Another object with the same value for property userPrincipalName already exists.",
        );
    }
    let user = User {
        id: Uuid::from_u128(rand::random()),
        upn: new.user_principal_name,
        usage_location: new.usage_location,
        licenses: Vec::new(),
    };
    let answer = user_json(&user);
    home.users.push(user);
    (StatusCode::CREATED, answer).into_response()
}

/// A user by id or name.
fn user_of<'a>(world: &'a mut World, token: Token, id: &str) -> Option<&'a mut User> {
    let home = world.tenant(&token.tenant.to_string())?;
    home.users
        .iter_mut()
        .find(|user| user.id.to_string() == id || user.upn.eq_ignore_ascii_case(id))
}

async fn show_user(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    Path(id): Path<String>,
) -> Response {
    match user_of(&mut here.world(), token, &id) {
        Some(user) => user_json(user).into_response(),
        None => not_found(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Licenses {
    add_licenses: Vec<AddLicense>,
    remove_licenses: Vec<Uuid>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AddLicense {
    sku_id: Uuid,
}

async fn assign_license(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let Ok(change) = serde_json::from_value::<Licenses>(body) else {
        return bad("A required property is missing.");
    };
    let mut world = here.world();
    let free: Vec<(Uuid, u32)> = world
        .tenant(&token.tenant.to_string())
        .map(|home| {
            home.skus
                .iter()
                .map(|sku| (sku.id, home.free(sku)))
                .collect()
        })
        .unwrap_or_default();
    let Some(user) = user_of(&mut world, token, &id) else {
        return not_found();
    };
    if user.usage_location.is_none() {
        return bad("License assignment cannot be done for user with invalid usage location.");
    }
    for added in &change.add_licenses {
        if user.licenses.contains(&added.sku_id) {
            continue;
        }
        if !free
            .iter()
            .any(|(sku, free)| *sku == added.sku_id && *free > 0)
        {
            return bad(&format!(
                "Subscription with SKU {} does not have any available licenses.",
                added.sku_id
            ));
        }
        user.licenses.push(added.sku_id);
    }
    user.licenses
        .retain(|sku| !change.remove_licenses.contains(sku));
    user_json(user).into_response()
}

async fn skus(State(here): State<Shared>, Bearer(token): Bearer) -> Response {
    let mut world = here.world();
    let Some(home) = world.tenant(&token.tenant.to_string()) else {
        return not_found();
    };
    let sku = |sku: &super::world::Sku| {
        let plan = if sku.teams {
            "TEAMS1"
        } else {
            "EXCHANGE_S_STANDARD"
        };
        json!({
            "skuId": sku.id, "skuPartNumber": sku.part_number, "consumedUnits": sku.units - home.free(sku),
            "prepaidUnits": { "enabled": sku.units, "suspended": 0, "warning": 0 },
            "servicePlans": [{ "servicePlanName": plan, "provisioningStatus": "Success" }],
        })
    };
    Json(json!({ "value": home.skus.iter().map(sku).collect::<Vec<_>>() })).into_response()
}

/// Whether `$filter` of a query says so.
fn filters(query: Option<String>, field: &str, value: &str) -> bool {
    let query = fields(&query.unwrap_or_default());
    query
        .get("$filter")
        .is_some_and(|filter| *filter == format!("{field} eq '{value}'"))
}

async fn principals(
    State(here): State<Shared>,
    Bearer(_): Bearer,
    RawQuery(query): RawQuery,
) -> Response {
    let client = here.config.client_id.clone();
    let found = if filters(query, "appId", &client) {
        vec![json!({ "id": PRINCIPAL, "appId": client })]
    } else {
        Vec::new()
    };
    Json(json!({ "value": found })).into_response()
}

async fn grants(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    RawQuery(query): RawQuery,
) -> Response {
    let mut world = here.world();
    let given = world
        .tenant(&token.tenant.to_string())
        .map(|home| home.grants.clone())
        .unwrap_or_default();
    let ours = filters(query, "clientId", PRINCIPAL);
    let grants = given
        .iter()
        .filter(|_| ours)
        .map(|kind| json!({ "clientId": PRINCIPAL, "consentType": kind }));
    Json(json!({ "value": grants.collect::<Vec<_>>() })).into_response()
}

async fn roles(
    State(here): State<Shared>,
    Bearer(token): Bearer,
    Path(id): Path<String>,
) -> Response {
    let mut world = here.world();
    let application = world
        .tenant(&token.tenant.to_string())
        .is_some_and(|home| home.application);
    let roles = if application && id == PRINCIPAL {
        vec![json!({ "principalId": PRINCIPAL })]
    } else {
        Vec::new()
    };
    Json(json!({ "value": roles })).into_response()
}
