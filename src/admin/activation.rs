//! Activation of customers: what is chosen, started and undone here is carried out elsewhere, step by step.

use super::Admin;
use super::answer::shown;
use super::auth::Caller;
use super::body::Body;
use super::consent;
use super::error::{ApiError, Problem};
use crate::directory::{ActivationState, GatewayState};
use crate::doctor::script;
use crate::microsoft::{Fault, Microsoft, Reaction};
use crate::net::clock::Clock;
use crate::net::zone::Zones;
use crate::provisioning::activation::{Event, Failure, Method, Misplaced, State, Step};
use crate::store::activations;
use crate::store::{
    ActivationRecord, CustomerRecord, EventRecord, GatewayProgress, GatewayRecord, events,
    gateways, regions,
};
use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::SqliteConnection;
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::sync::Notify;
use utoipa::ToSchema;
use uuid::Uuid;

/// What activations stand on.
#[derive(Debug, Clone, Default)]
pub struct Activations {
    /// Microsoft; none if nothing is done there in customers' names.
    pub microsoft: Option<Microsoft>,
    /// Where codes are published.
    pub zones: Zones,
    /// What time it is.
    pub clock: Clock,
    /// Told when there is something to do.
    pub wake: Arc<Notify>,
    /// The page that administrators see at the end.
    pub portal: Option<String>,
}

/// An activation as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Activation)]
pub(super) struct ActivationView {
    /// Whose.
    customer_id: Uuid,
    /// Who does the work at Microsoft.
    method: Method,
    /// `inactive`, `activating`, `consent_incomplete`, `failed`, `active`, `degraded` or `deactivating`.
    state: &'static str,
    /// What is being done, waited for, or failed.
    step: Option<Step>,
    /// Whether a start would be taken.
    can_activate: bool,
    /// The token by which it was begun.
    started_by: Option<Uuid>,
    /// When it was begun.
    #[serde(with = "time::serde::rfc3339::option")]
    started_at: Option<OffsetDateTime>,
    /// When calls passed for the first time.
    #[serde(with = "time::serde::rfc3339::option")]
    finished_at: Option<OffsetDateTime>,
    /// Tries of this step that did not succeed.
    attempt: u32,
    /// When it is tried again.
    #[serde(with = "time::serde::rfc3339::option")]
    next_retry_at: Option<OffsetDateTime>,
    /// How many minutes it takes as a rule, at least and at most.
    expected_minutes: [u32; 2],
    /// What is wrong, or was when it was last tried.
    error: Option<Failure>,
    /// The customer's names at Teams.
    gateways: Vec<ActivationGateway>,
    /// What happened since it was begun; the last fifty.
    events: Vec<EventRecord>,
    /// Grows with every change; in quotes it is the ETag.
    version: i64,
}

/// A gateway as its activation sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActivationGateway {
    /// Never used again.
    id: Uuid,
    /// The whole name.
    fqdn: String,
    /// How far it is.
    state: GatewayState,
    /// The text for DNS.
    verification_code: Option<String>,
    /// A line for the zone file, for whoever publishes by hand.
    dns_record: Option<String>,
    /// What is wrong with it.
    error: Option<String>,
}

/// What is chosen before an activation begins.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActivationChoice {
    /// Who does the work at Microsoft.
    method: Method,
}

/// Where an administrator is sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActivationStarted {
    /// Microsoft's page, with the box "Consent on behalf of your organization"; only with the automatic method.
    #[serde(skip_serializing_if = "Option::is_none")]
    consent_url: Option<String>,
    /// Microsoft's page for administrators, whose consent is for the whole organisation; either of the two will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_consent_url: Option<String>,
    /// How it stands now.
    activation: ActivationView,
}

/// The activation of a customer
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/activation", tag = "activation", operation_id = "show_activation",
    params(("id" = Uuid, Path)), responses((status = 200, body = ActivationView), (status = 404, body = Problem))
)]
pub(super) async fn show(
    Shared(admin): Shared<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    let customer = caller.customer(&mut connection, id).await?;
    let view = view(&admin, &mut connection, &customer).await?;
    Ok(shown(&headers, view.version, &view))
}

/// Choose how a customer is activated
///
/// Only before it begins. With `manual` every gateway takes a verification code, and nothing is done at Microsoft.
#[utoipa::path(
    put, path = "/api/v1/customers/{id}/activation", tag = "activation", operation_id = "choose_activation",
    params(("id" = Uuid, Path)), request_body = ActivationChoice,
    responses((status = 200, body = ActivationView), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 422, body = Problem))
)]
pub(super) async fn choose(
    Shared(admin): Shared<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(choice): Body<ActivationChoice>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let customer = caller.customer(&mut change, id).await?;
    let latest = activations::latest(&mut change, id).await?;
    if !state_of(&customer, latest.as_ref()).is_inactive() {
        return Err(Misplaced::Started.into());
    }
    let before = activations::method(&mut change, id).await?;
    activations::choose(&mut change, id, choice.method).await?;
    for gateway in gateways::of_customer(&mut change, id).await? {
        let missing =
            choice.method == Method::Manual && gateway.settings.verification_code.is_none();
        let state = match (gateway.settings.state, missing) {
            (GatewayState::Pending, true) => GatewayState::CodeMissing,
            (GatewayState::CodeMissing, false) => GatewayState::Pending,
            _ => continue,
        };
        let progress = GatewayProgress {
            state,
            ..GatewayProgress::from(&gateway)
        };
        gateways::progress(&mut change, &progress).await?;
    }
    let (before, after) = (
        json!({ "method": before }),
        json!({ "method": choice.method }),
    );
    caller
        .audit(&mut change, "update", None, Some(&before), Some(&after))
        .await?;
    let view = view(&admin, &mut change, &customer).await?;
    change.publish_for(&[id]).await?;
    Ok(Json(view).into_response())
}

/// Start the activation of a customer
///
/// With the automatic method the answer names Microsoft's page where a Global Administrator consents; it waits there for a
/// quarter of an hour. An activation that failed goes on where it failed.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/activation", tag = "activation", operation_id = "start_activation",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = ActivationStarted), (status = 202, body = ActivationStarted),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem),
              (status = 503, body = Problem))
)]
pub(super) async fn start(
    Shared(admin): Shared<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    let tenant = expected_tenant(&admin, &caller, id).await?;
    let now = admin.activations.clock.now();
    let mut change = admin.store.change().await?;
    let customer = caller.customer(&mut change, id).await?;
    let latest = activations::latest(&mut change, id).await?;
    let method = activations::method(&mut change, id).await?;
    let before = state_of(&customer, latest.as_ref());
    let state = before.on(method, Event::Start, now)?;
    if customer.settings.regions.is_empty() {
        let what = "choose at least one region";
        return Err(ApiError::invalid_field("regions", "region_missing", what));
    }
    check_gateways(&gateways::of_customer(&mut change, id).await?, method)?;
    let open = latest.filter(ActivationRecord::is_open);
    let record = match &open {
        Some(open) => {
            activations::save(&mut change, open, &state, now).await?;
            open.clone()
        }
        None => activations::begin(&mut change, id, method, &state, caller.token.id, now).await?,
    };
    let mut pages = None;
    if state.step() == Some(Step::ConsentPending) {
        let microsoft = consent::automatic(&admin)?;
        let tenant = tenant.ok_or_else(tenant_missing)?;
        activations::set_tenant(&mut change, id, tenant).await?;
        let (question, asked) = consent::ask(microsoft, tenant, now)?;
        activations::ask(&mut change, record.id, &question).await?;
        pages = Some(asked);
    }
    activations::set_state(&mut change, id, ActivationState::Activating).await?;
    let detail = json!({ "method": method, "step": state.step() });
    events::insert(&mut change, now, "activation.started", id, &detail).await?;
    caller
        .audit(&mut change, "update", None, None::<&()>, Some(&detail))
        .await?;
    let customer = caller.customer(&mut change, id).await?;
    let activation = view(&admin, &mut change, &customer).await?;
    change.publish_for(&[id]).await?;
    admin.activations.wake.notify_one();
    let status = if pages.is_some() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let (consent_url, admin_consent_url) = pages
        .map(|pages| (pages.sign_in, pages.admin_consent))
        .unzip();
    let started = ActivationStarted {
        consent_url,
        admin_consent_url,
        activation,
    };
    Ok((status, Json(started)).into_response())
}

/// Undo the activation of a customer
///
/// No new call passes from now on. What was published in DNS is taken away; what was made at Microsoft stays.
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/activation", tag = "activation", operation_id = "cancel_activation",
    params(("id" = Uuid, Path)),
    responses((status = 202, body = ActivationView), (status = 204), (status = 404, body = Problem))
)]
pub(super) async fn cancel(
    Shared(admin): Shared<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    let now = admin.activations.clock.now();
    let mut change = admin.store.change().await?;
    caller.customer(&mut change, id).await?;
    let Some(open) = activations::open(&mut change, id).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let state = open.state.on(open.method, Event::Cancel, now)?;
    activations::save(&mut change, &open, &state, now).await?;
    activations::keep_token(&mut change, id, None, now).await?;
    activations::set_state(&mut change, id, ActivationState::Inactive).await?;
    for gateway in gateways::of_customer(&mut change, id).await? {
        if gateway.settings.state.takes_calls() {
            let progress = GatewayProgress {
                state: GatewayState::Pending,
                verified_at: None,
                ..GatewayProgress::from(&gateway)
            };
            gateways::progress(&mut change, &progress).await?;
        }
    }
    events::insert(&mut change, now, "customer.deactivated", id, &json!({})).await?;
    caller
        .audit(&mut change, "delete", None, None::<&()>, None::<&()>)
        .await?;
    let customer = caller.customer(&mut change, id).await?;
    let view = view(&admin, &mut change, &customer).await?;
    change.publish_for(&[id]).await?;
    admin.activations.wake.notify_one();
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

/// Where a customer stands: a carrier may have said that it is set up elsewhere.
fn state_of(customer: &CustomerRecord, latest: Option<&ActivationRecord>) -> State {
    match latest {
        Some(latest) if latest.is_open() => latest.state.clone(),
        _ if customer.settings.activation_state.is_in_service() => {
            State::Active(customer.updated_at)
        }
        Some(latest) => latest.state.clone(),
        None => State::Inactive(None),
    }
}

async fn view(
    admin: &Admin,
    connection: &mut SqliteConnection,
    customer: &CustomerRecord,
) -> Result<ActivationView, ApiError> {
    let latest = activations::latest(connection, customer.id).await?;
    let state = state_of(customer, latest.as_ref());
    let open = latest.as_ref().filter(|latest| latest.is_open());
    let method = match open {
        Some(open) => open.method,
        None => activations::method(connection, customer.id).await?,
    };
    let (attempt, next_retry_at) = match &state {
        State::Running(work) => (work.attempt, Some(work.due).filter(|_| work.attempt > 0)),
        _ => (0, None),
    };
    let zones = &admin.activations.zones;
    let gateway = |gateway: GatewayRecord| ActivationGateway {
        id: gateway.id,
        state: gateway.settings.state,
        dns_record: gateway
            .settings
            .verification_code
            .as_deref()
            .map(|code| zones.snippet(&gateway.fqdn, code)),
        verification_code: gateway.settings.verification_code,
        fqdn: gateway.fqdn,
        error: gateway.error,
    };
    let gateways = gateways::of_customer(connection, customer.id)
        .await?
        .into_iter()
        .map(gateway)
        .collect();
    let events = match &latest {
        Some(latest) => events::of_activation(connection, customer.id, latest.started_at).await?,
        None => Vec::new(),
    };
    Ok(ActivationView {
        customer_id: customer.id,
        method,
        state: state.name(),
        step: state.step(),
        can_activate: state.can_start(),
        started_by: latest.as_ref().map(|latest| latest.started_by),
        started_at: latest.as_ref().map(|latest| latest.started_at),
        finished_at: latest.as_ref().and_then(|latest| latest.finished_at),
        attempt,
        next_retry_at,
        expected_minutes: [5, 30],
        error: state.failure().cloned(),
        gateways,
        events,
        version: latest.map_or(0, |latest| latest.version),
    })
}

/// What must be there before anything begins.
fn check_gateways(gateways: &[GatewayRecord], method: Method) -> Result<(), ApiError> {
    if gateways.is_empty() {
        return Err(ApiError::conflict(
            "no_gateway",
            "the customer has no gateway",
        ));
    }
    if let Some(theirs) = gateways
        .iter()
        .find(|gateway| gateway.fqdn.ends_with(".onmicrosoft.com"))
    {
        let detail = format!("{} is Microsoft's own and cannot be a gateway", theirs.fqdn);
        return Err(ApiError::conflict("gateway_name", &detail));
    }
    let missing: Vec<_> = gateways
        .iter()
        .filter(|gateway| gateway.settings.verification_code.is_none())
        .map(|gateway| gateway.fqdn.as_str())
        .collect();
    if method == Method::Manual && !missing.is_empty() {
        let detail = format!("verification codes are missing for {}", missing.join(", "));
        return Err(ApiError::conflict("codes_missing", &detail));
    }
    Ok(())
}

/// The tenant that is to consent, looked up before anything is locked; none where nobody consents.
async fn expected_tenant(
    admin: &Admin,
    caller: &Caller,
    id: Uuid,
) -> Result<Option<Uuid>, ApiError> {
    let (method, tenant) = {
        let mut connection = admin.store.read().await?;
        caller.customer(&mut connection, id).await?;
        let method = activations::method(&mut connection, id).await?;
        (method, activations::tenant(&mut connection, id).await?)
    };
    if method == Method::Manual || tenant.id.is_some() {
        return Ok(tenant.id);
    }
    let microsoft = consent::automatic(admin)?;
    let name = tenant.name.ok_or_else(tenant_missing)?;
    microsoft
        .login()
        .tenant(&name)
        .await
        .map(Some)
        .map_err(|error| match error.fault {
            Fault::TenantNotFound => ApiError::invalid_field(
                "tenant_name",
                "tenant_not_found",
                "Microsoft knows no tenant of this name",
            ),
            fault if fault.reaction() == Reaction::Retry => ApiError::unavailable(
                "microsoft_unreachable",
                "Microsoft's sign-in service does not answer",
            ),
            _ => ApiError::conflict("tenant_unknown", &error.to_string()),
        })
}

fn tenant_missing() -> ApiError {
    ApiError::conflict("tenant_missing", "the customer's tenant_name is not known")
}

/// The script for the customer's administrator
///
/// What has to be done in the customer's tenant for this gateway: its domain, its voice route, a user's number.
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/gateways/{gateway}/powershell", tag = "activation",
    operation_id = "show_gateway_script", params(("id" = Uuid, Path), ("gateway" = Uuid, Path)),
    responses((status = 200, content_type = "text/plain"), (status = 404, body = Problem))
)]
pub(super) async fn show_script(
    Shared(admin): Shared<Admin>,
    caller: Caller,
    Path((id, gateway)): Path<(Uuid, Uuid)>,
) -> Result<String, ApiError> {
    let mut connection = admin.store.read().await?;
    let customer = caller.customer(&mut connection, id).await?;
    let record = gateways::find(&mut connection, id, gateway)
        .await?
        .ok_or_else(ApiError::not_found)?;
    let region = regions::find(&mut connection, &record.settings.region).await?;
    let base = region
        .map(|region| region.settings.base_fqdn)
        .unwrap_or_default();
    let fqdns: Vec<_> = gateways::of_customer(&mut connection, id)
        .await?
        .into_iter()
        .map(|g| g.fqdn)
        .collect();
    let code = record.settings.verification_code.as_deref();
    Ok(script::domain(&record.fqdn, &base, code)
        + &script::customer(&customer.settings.account_id, &fqdns))
}
