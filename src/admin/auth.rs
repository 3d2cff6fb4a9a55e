//! Who may use which route. The table below is the only place that says so; what is not in it is forbidden.

use super::Admin;
use super::error::ApiError;
use super::request::RequestId;
use crate::store::{
    AccessRole, AuditEvent, Change, CustomerRecord, StoreError, Token, customers, partners, users,
};
use crate::sync::Asker;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sqlx::SqliteConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use AccessRole::{CarrierAdmin, CustomerAdmin, CustomerOperator, EndUser, Noc, PartnerAdmin};

/// Everybody with a token; scoped roles see what is in their scope.
const READ: Allowed = Allowed::Roles(&[CarrierAdmin, PartnerAdmin, CustomerAdmin, Noc]);
/// What a customer's operators see as well, for their work.
const LOOK: Allowed = Allowed::Roles(&[
    CarrierAdmin,
    PartnerAdmin,
    CustomerAdmin,
    CustomerOperator,
    Noc,
]);
/// Who runs customers.
const EDIT: Allowed = Allowed::Roles(&[CarrierAdmin, PartnerAdmin]);
const CARRIER: Allowed = Allowed::Roles(&[CarrierAdmin]);
/// What is between a customer and those who run it: both have their part. Where it is the customer's own business,
/// carrier and partner need its co-management.
const CONSENT: Allowed = Allowed::Roles(&[CarrierAdmin, PartnerAdmin, CustomerAdmin]);
/// The same where it is the daily work of a customer's operators: its users, and which number is whose.
const WORK: Allowed =
    Allowed::Roles(&[CarrierAdmin, PartnerAdmin, CustomerAdmin, CustomerOperator]);
/// Who watches over everything.
const OPERATE: Allowed = Allowed::Roles(&[CarrierAdmin, Noc]);
/// Whoever has signed in, in whatever way.
const ALL: Allowed = Allowed::Roles(&AccessRole::ALL);
/// The code of a telephone, and the letter about it, which are also for the user whose it is.
const OWN_CODE: Allowed = Allowed::Roles(&[CarrierAdmin, PartnerAdmin, CustomerAdmin, EndUser]);
const OWN_LETTER: Allowed = Allowed::Roles(&[CarrierAdmin, PartnerAdmin, EndUser]);
const RECORDS: Allowed = Allowed::Roles(&[CarrierAdmin, PartnerAdmin, Noc]);

/// Route by route; HEAD is GET.
#[rustfmt::skip]
const ROUTES: &[(&str, &str, Allowed)] = &[
    ("GET",    "/healthz",                                  Allowed::Anybody),
    ("GET",    "/readyz",                                   Allowed::Anybody),
    ("GET",    "/api/v1/openapi.json",                      Allowed::Anybody),

    ("GET",    "/api/docs",                                 Allowed::Anybody),
    ("GET",    "/api/docs/{file}",                          Allowed::Anybody),

    // All of it, customers' own business too.
    ("GET",    "/api/v1/export",                            CARRIER),
    ("POST",   "/api/v1/import",                            CARRIER),

    ("GET",    "/api/v1/session",                           ALL),
    ("POST",   "/api/v1/session",                           Allowed::Anybody),
    ("DELETE", "/api/v1/session",                           ALL),
    ("GET",    "/oidc/sign-in",                             Allowed::Anybody),
    ("GET",    "/oidc/callback",                            Allowed::Anybody),

    ("GET",    "/api/v1/regions",                           READ),
    ("POST",   "/api/v1/regions",                           CARRIER),
    ("GET",    "/api/v1/regions/{code}",                    READ),
    ("PATCH",  "/api/v1/regions/{code}",                    CARRIER),
    ("DELETE", "/api/v1/regions/{code}",                    CARRIER),

    ("GET",    "/api/v1/partners",                          RECORDS),
    ("POST",   "/api/v1/partners",                          EDIT),
    ("GET",    "/api/v1/partners/{partner}",                RECORDS),
    ("PATCH",  "/api/v1/partners/{partner}",                EDIT),
    ("DELETE", "/api/v1/partners/{partner}",                EDIT),
    ("POST",   "/api/v1/partners/{partner}/invitation",     EDIT),
    ("GET",    "/activate/{token}",                         Allowed::Anybody),
    ("POST",   "/activate/{token}",                         Allowed::Anybody),

    ("GET",    "/api/v1/pbx-types",                         READ),
    ("POST",   "/api/v1/pbx-types",                         CARRIER),
    ("GET",    "/api/v1/pbx-types/{code}",                  READ),
    ("PATCH",  "/api/v1/pbx-types/{code}",                  CARRIER),
    ("GET",    "/api/v1/license-types",                     READ),

    ("GET",    "/api/v1/customers",                         READ),
    ("POST",   "/api/v1/customers",                         EDIT),
    ("GET",    "/api/v1/customers/{id}",                    LOOK),
    ("PATCH",  "/api/v1/customers/{id}",                    EDIT),
    ("DELETE", "/api/v1/customers/{id}",                    EDIT),
    ("POST",   "/api/v1/customers/{id}/disable",            EDIT),
    ("POST",   "/api/v1/customers/{id}/enable",             EDIT),
    ("GET",    "/api/v1/customers/{id}/channel-suggestion", READ),
    ("GET",    "/api/v1/customers/{id}/co-management",      READ),
    ("PUT",    "/api/v1/customers/{id}/co-management",      CONSENT),
    ("DELETE", "/api/v1/customers/{id}/co-management",      CONSENT),
    ("GET",    "/api/v1/customers/{id}/channels",           READ),
    ("GET",    "/api/v1/customers/{id}/cdrs",               READ),

    ("GET",    "/api/v1/customers/{id}/activation",         READ),
    ("PUT",    "/api/v1/customers/{id}/activation",         CONSENT),
    ("POST",   "/api/v1/customers/{id}/activation",         CONSENT),
    ("DELETE", "/api/v1/customers/{id}/activation",         CONSENT),
    ("GET",    "/oauth/callback",                           Allowed::Anybody),

    ("GET",    "/api/v1/customers/{id}/gateways",           READ),
    ("POST",   "/api/v1/customers/{id}/gateways",           EDIT),
    ("GET",    "/api/v1/customers/{id}/gateways/{gateway}", READ),
    ("PATCH",  "/api/v1/customers/{id}/gateways/{gateway}", CONSENT),
    ("DELETE", "/api/v1/customers/{id}/gateways/{gateway}", EDIT),
    ("GET",    "/api/v1/customers/{id}/gateways/{gateway}/powershell", READ),

    ("GET",    "/api/v1/gateways/{gateway}/diagnosis",      OPERATE),

    ("GET",    "/api/v1/customers/{id}/numbers",            LOOK),
    ("POST",   "/api/v1/customers/{id}/numbers",            EDIT),
    ("GET",    "/api/v1/customers/{id}/numbers/{number}",   LOOK),
    ("GET",    "/api/v1/customers/{id}/numbers.csv",        LOOK),
    ("PATCH",  "/api/v1/customers/{id}/numbers/{number}",   WORK),
    ("DELETE", "/api/v1/customers/{id}/numbers/{number}",   EDIT),

    ("GET",    "/api/v1/numbers",                           OPERATE),
    ("POST",   "/api/v1/numbers",                           CARRIER),
    ("DELETE", "/api/v1/numbers/{number}",                  CARRIER),

    ("GET",    "/api/v1/events",                            READ),
    ("GET",    "/api/v1/customers/{id}/action-items",       READ),

    ("GET",    "/api/v1/customers/{id}/sync",               READ),
    ("POST",   "/api/v1/customers/{id}/sync",               CONSENT),
    ("GET",    "/api/v1/customers/{id}/sync-jobs",          READ),
    ("GET",    "/api/v1/customers/{id}/sync-jobs/{job}",    READ),
    ("GET",    "/api/v1/tasks/{task}",                      LOOK),
    ("DELETE", "/api/v1/tasks/{task}",                      CONSENT),

    ("GET",    "/api/v1/customers/{id}/users",              LOOK),
    ("POST",   "/api/v1/customers/{id}/users",              WORK),
    ("GET",    "/api/v1/customers/{id}/users.csv",          LOOK),
    ("POST",   "/api/v1/customers/{id}/users/bulk",         WORK),
    ("GET",    "/api/v1/customers/{id}/users/{user}",       LOOK),
    ("PATCH",  "/api/v1/customers/{id}/users/{user}",       WORK),
    ("DELETE", "/api/v1/customers/{id}/users/{user}",       WORK),
    ("GET",    "/api/v1/customers/{id}/extensions/suggest", LOOK),

    ("GET",    "/api/v1/device-models",                     READ),
    ("GET",    "/api/v1/customers/{id}/device-models",      READ),
    ("POST",   "/api/v1/customers/{id}/device-models",      EDIT),
    ("DELETE", "/api/v1/customers/{id}/device-models/{model}", EDIT),
    ("GET",    "/api/v1/customers/{id}/devices",            READ),
    ("POST",   "/api/v1/customers/{id}/devices",            EDIT),
    ("POST",   "/api/v1/customers/{id}/devices/bulk",       EDIT),
    ("GET",    "/api/v1/customers/{id}/devices/{device}",   READ),
    ("PATCH",  "/api/v1/customers/{id}/devices/{device}",   EDIT),
    ("DELETE", "/api/v1/customers/{id}/devices/{device}",   EDIT),
    ("GET",    "/api/v1/customers/{id}/device-report",      READ),
    ("GET",    "/api/v1/devices/{device}/activation-code",  OWN_CODE),
    ("POST",   "/api/v1/devices/{device}/activation-code",  EDIT),
    ("POST",   "/api/v1/devices/{device}/reboot",           EDIT),
    ("POST",   "/api/v1/devices/{device}/deactivate",       EDIT),
    ("POST",   "/api/v1/devices/{device}/swap",             EDIT),
    ("POST",   "/api/v1/devices/{device}/resend-welcome",   OWN_LETTER),

    ("GET",    "/api/v1/customers/{id}/services",           LOOK),
    ("POST",   "/api/v1/customers/{id}/services",           EDIT),
    ("GET",    "/api/v1/customers/{id}/services/{service}", LOOK),
    ("PATCH",  "/api/v1/customers/{id}/services/{service}", EDIT),
    ("DELETE", "/api/v1/customers/{id}/services/{service}", EDIT),

    ("GET",    "/api/v1/customers/{id}/services/{service}/upgrade", EDIT),
    ("PUT",    "/api/v1/customers/{id}/services/{service}/upgrade", EDIT),
    ("POST",   "/api/v1/customers/{id}/services/{service}/upgrade", EDIT),

    ("GET",    "/api/v1/customers/{id}/pbxs",               READ),
    ("POST",   "/api/v1/customers/{id}/pbxs",               EDIT),
    ("GET",    "/api/v1/customers/{id}/pbxs/{pbx}",         READ),
    ("PATCH",  "/api/v1/customers/{id}/pbxs/{pbx}",         EDIT),
    ("DELETE", "/api/v1/customers/{id}/pbxs/{pbx}",         EDIT),

    ("GET",    "/api/v1/customers/{id}/pbx-registrations",  READ),
    ("POST",   "/api/v1/customers/{id}/pbx-registrations",  CONSENT),
    ("GET",    "/api/v1/customers/{id}/pbx-registrations/{registration}", READ),
    ("PATCH",  "/api/v1/customers/{id}/pbx-registrations/{registration}", CONSENT),
    ("DELETE", "/api/v1/customers/{id}/pbx-registrations/{registration}", CONSENT),
    ("POST",   "/api/v1/customers/{id}/pbx-registrations/{registration}/restart", CONSENT),

    // The links stand in them.
    ("GET",    "/api/v1/customers/{id}/invitations",        EDIT),
    ("POST",   "/api/v1/customers/{id}/invitations",        EDIT),
    ("GET",    "/api/v1/customers/{id}/invitations/{invitation}", EDIT),
    ("DELETE", "/api/v1/customers/{id}/invitations/{invitation}", EDIT),
    ("POST",   "/api/v1/customers/{id}/invitations/{invitation}/resend", EDIT),
    ("POST",   "/api/v1/customers/{id}/m365/validate",      EDIT),
    ("GET",    "/invite/{token}",                           Allowed::Anybody),
    ("POST",   "/invite/{token}",                           Allowed::Anybody),
    ("POST",   "/invite/{token}/start-authentication",      Allowed::Anybody),
    ("POST",   "/invite/{token}/continue",                  Allowed::Anybody),

    ("GET",    "/api/v1/customers/{id}/trunks",             READ),
    ("POST",   "/api/v1/customers/{id}/trunks",             EDIT),
    ("GET",    "/api/v1/customers/{id}/trunks/{trunk}",     READ),
    ("PATCH",  "/api/v1/customers/{id}/trunks/{trunk}",     EDIT),
    ("DELETE", "/api/v1/customers/{id}/trunks/{trunk}",     EDIT),

    ("GET",    "/api/v1/trunks",                            OPERATE),
    ("POST",   "/api/v1/trunks",                            CARRIER),
    ("GET",    "/api/v1/trunks/{trunk}",                    OPERATE),
    ("PATCH",  "/api/v1/trunks/{trunk}",                    CARRIER),
    ("DELETE", "/api/v1/trunks/{trunk}",                    CARRIER),

    ("GET",    "/api/v1/music",                             RECORDS),
    ("PUT",    "/api/v1/music",                             CARRIER),
    ("DELETE", "/api/v1/music",                             CARRIER),
    ("GET",    "/api/v1/music/audio",                       RECORDS),
    ("GET",    "/api/v1/partners/{partner}/music",          RECORDS),
    ("PUT",    "/api/v1/partners/{partner}/music",          EDIT),
    ("DELETE", "/api/v1/partners/{partner}/music",          EDIT),
    ("GET",    "/api/v1/partners/{partner}/music/audio",    RECORDS),

    ("GET",    "/api/v1/announcements/{announcement}",       RECORDS),
    ("PUT",    "/api/v1/announcements/{announcement}",       CARRIER),
    ("DELETE", "/api/v1/announcements/{announcement}",       CARRIER),
    ("GET",    "/api/v1/announcements/{announcement}/audio", RECORDS),

    ("GET",    "/api/v1/calls",                             OPERATE),
    ("GET",    "/api/v1/calls/{id}",                        OPERATE),
    ("DELETE", "/api/v1/calls/{id}",                        OPERATE),
    ("GET",    "/api/v1/calls/{id}/media",                  OPERATE),
    ("GET",    "/api/v1/calls/{id}/why",                    READ),
    ("GET",    "/api/v1/calls/{id}/ladder",                 OPERATE),
    ("GET",    "/api/v1/cdrs",                              RECORDS),
    ("GET",    "/api/v1/audit",                             CARRIER),
    ("GET",    "/api/v1/alarms",                            OPERATE),
];

/// What a role may do beyond the routes.
impl AccessRole {
    /// Says that a customer is set up at Microsoft without our having done it.
    pub(super) fn may_activate(self) -> bool {
        self == CarrierAdmin
    }

    /// Says how far a gateway is; others give its verification code only.
    pub(super) fn may_set_gateways(self) -> bool {
        !self.is_of_customer()
    }

    /// Connects to carriers; others to PBXes only.
    pub(super) fn may_connect_carriers(self) -> bool {
        self == CarrierAdmin
    }

    /// Reads call detail records of customers that did not share them with their own administrators.
    pub(super) fn may_read_all_records(self) -> bool {
        !self.is_of_customer()
    }
}

#[derive(Debug, Clone, Copy)]
enum Allowed {
    /// Without a token.
    Anybody,
    Roles(&'static [AccessRole]),
}

/// Who may use a route; none if the table does not know it.
fn allowed(method: &Method, path: &str) -> Option<Allowed> {
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    ROUTES
        .iter()
        .find(|(m, p, _)| method == m && path == *p)
        .map(|(_, _, allowed)| *allowed)
}

/// Lets a request in whose token may use its route.
pub(super) async fn authenticate(
    State(admin): State<Admin>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let allowed = path
        .as_deref()
        .and_then(|path| allowed(request.method(), path));
    if let Some(Allowed::Anybody) = allowed {
        return next.run(request).await;
    }
    let text = bearer(&request).unwrap_or_default();
    let token = match admin.store.tokens().authenticate(&text).await {
        Ok(Some(token)) => token,
        Ok(None) => return unauthenticated(),
        Err(error) => return ApiError::from(error).into_response(),
    };
    match allowed {
        Some(Allowed::Roles(roles)) if !roles.contains(&token.role) => {
            return ApiError::forbidden("role", "the token's role may not do this").into_response();
        }
        Some(_) => {}
        // Neither a route of ours nor a method that it has: the router says so. A route that was left out of the
        // table must not be reached.
        None if path
            .as_deref()
            .is_some_and(|path| !ROUTES.iter().any(|(_, p, _)| *p == path)) =>
        {
            return ApiError::forbidden("role", "nobody may do this").into_response();
        }
        None if path.is_some() => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
        None => {}
    }
    if let Err(error) = partner_may_act(&admin, &token, request.method()).await {
        return error.into_response();
    }
    request.extensions_mut().insert(token);
    next.run(request).await
}

/// A partner that is not active looks on.
async fn partner_may_act(admin: &Admin, token: &Token, method: &Method) -> Result<(), ApiError> {
    let (PartnerAdmin, Some(partner)) = (token.role, token.scope) else {
        return Ok(());
    };
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    if partners::is_active(&mut *admin.store.read().await?, partner).await? {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "partner_not_active",
        "the partner is not active, so it changes nothing",
    ))
}

fn bearer(request: &Request) -> Option<String> {
    let header = request
        .headers()
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?;
    let (scheme, text) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| text.trim().to_owned())
}

/// RFC 9110 §11.6.1: a 401 names the scheme.
fn unauthenticated() -> Response {
    let detail = "a valid bearer token is needed";
    let error = ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail);
    ([(header::WWW_AUTHENTICATE, "Bearer")], error).into_response()
}

/// Who asks: a token that may use the route, and what the request is called.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub token: Token,
    request_id: String,
    path: String,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let token = parts.extensions.get::<Token>().cloned();
        Ok(Self {
            token: token.ok_or_else(|| ApiError::forbidden("role", "nobody may do this"))?,
            request_id: parts
                .extensions
                .get::<RequestId>()
                .map_or_else(String::new, |id| id.0.clone()),
            path: parts.uri.path().to_owned(),
        })
    }
}

impl Caller {
    /// Whoever may open the database: there is no token, and no request.
    pub(super) fn of_command_line(path: &str) -> Self {
        let token = Token {
            id: Uuid::nil(),
            name: "command line".to_owned(),
            role: CarrierAdmin,
            scope: None,
            created_at: OffsetDateTime::now_utc(),
            expires_at: None,
            revoked_at: None,
        };
        Self {
            token,
            request_id: String::new(),
            path: path.to_owned(),
        }
    }

    pub(super) fn role(&self) -> AccessRole {
        self.token.role
    }

    /// As who asks for a Sync.
    pub(super) fn asker(&self) -> Asker {
        Asker {
            token: self.token.id,
            of_customer: self.role().is_of_customer(),
        }
    }

    /// The partner that the caller is confined to.
    pub(super) fn partner(&self) -> Option<Uuid> {
        self.token.scope.filter(|_| self.role() == PartnerAdmin)
    }

    /// Nothing, or that there is no such partner, as far as the caller may know.
    pub(super) fn require_partner(&self, partner: Uuid) -> Result<(), ApiError> {
        let in_scope = self.role() != PartnerAdmin || self.token.scope == Some(partner);
        in_scope.then_some(()).ok_or_else(ApiError::not_found)
    }

    /// The customer that the caller is confined to.
    pub(super) fn customer_scope(&self) -> Option<Uuid> {
        self.token.scope.filter(|_| self.role().is_of_customer())
    }

    /// The user that the caller is confined to.
    pub(super) fn own_user(&self) -> Option<Uuid> {
        self.token.scope.filter(|_| self.role() == EndUser)
    }

    async fn sees(
        &self,
        connection: &mut SqliteConnection,
        customer: &CustomerRecord,
    ) -> Result<bool, StoreError> {
        Ok(match (self.role(), self.token.scope) {
            (CarrierAdmin | Noc, _) => true,
            (PartnerAdmin, Some(own)) => match customer.settings.partner_id {
                Some(partner) if partner == own => true,
                Some(partner) => partners::is_within(connection, partner, own).await?,
                None => false,
            },
            (CustomerAdmin | CustomerOperator, scope) => scope == Some(customer.id),
            (EndUser, Some(user)) => users::find(connection, customer.id, user).await?.is_some(),
            (PartnerAdmin | EndUser, None) => false,
        })
    }

    /// The customer of this id; one out of scope is as absent as one that never was.
    pub(super) async fn customer(
        &self,
        connection: &mut SqliteConnection,
        id: Uuid,
    ) -> Result<CustomerRecord, ApiError> {
        let found = customers::find(connection, id).await?;
        let customer = found.ok_or_else(ApiError::not_found)?;
        let sees = self.sees(connection, &customer).await?;
        sees.then_some(customer).ok_or_else(ApiError::not_found)
    }

    /// The customer of this id, for what is its own business: carrier and partner only with its co-management.
    pub(super) async fn managed(
        &self,
        connection: &mut SqliteConnection,
        id: Uuid,
    ) -> Result<CustomerRecord, ApiError> {
        let customer = self.customer(connection, id).await?;
        self.require_co_management(&customer)?;
        Ok(customer)
    }

    /// Nothing, or that the customer does not let others do its own business.
    pub(super) fn require_co_management(&self, customer: &CustomerRecord) -> Result<(), ApiError> {
        let may = match self.role() {
            CarrierAdmin | PartnerAdmin => customer.can_manage,
            CustomerAdmin | CustomerOperator | EndUser | Noc => true,
        };
        let detail = "the customer has not granted co-management";
        may.then_some(())
            .ok_or_else(|| ApiError::forbidden("co_management_required", detail))
    }

    /// Notes what the caller did, under the path of the request or that of the `created` resource.
    pub(super) async fn audit(
        &self,
        change: &mut Change,
        action: &str,
        created: Option<&str>,
        before: Option<&impl Serialize>,
        after: Option<&impl Serialize>,
    ) -> Result<(), StoreError> {
        let event = self.told(action, created, before, after);
        change.audit(&event).await
    }

    /// The same of what is the customer's own business: whoever else does it, does it for the customer.
    pub(super) async fn audit_for(
        &self,
        customer: &CustomerRecord,
        change: &mut Change,
        action: &str,
        created: Option<&str>,
        before: Option<&impl Serialize>,
        after: Option<&impl Serialize>,
    ) -> Result<(), StoreError> {
        let event = AuditEvent {
            on_behalf_of: (!self.role().is_of_customer()).then_some(customer.id),
            ..self.told(action, created, before, after)
        };
        change.audit(&event).await
    }

    /// Notes what the caller did beyond the rows of a change.
    pub(super) async fn note(
        &self,
        admin: &Admin,
        action: &str,
        object: &str,
    ) -> Result<(), StoreError> {
        let event = AuditEvent {
            object,
            ..self.event(action)
        };
        admin.store.audit(&event).await
    }

    fn told<'a>(
        &'a self,
        action: &'a str,
        created: Option<&'a str>,
        before: Option<&impl Serialize>,
        after: Option<&impl Serialize>,
    ) -> AuditEvent<'a> {
        AuditEvent {
            object: created.unwrap_or(&self.path),
            before: before.and_then(|record| serde_json::to_value(record).ok()),
            after: after.and_then(|record| serde_json::to_value(record).ok()),
            ..self.event(action)
        }
    }

    /// That the caller did something to the resource of the request.
    pub(super) fn event<'a>(&'a self, action: &'a str) -> AuditEvent<'a> {
        AuditEvent {
            token_id: self.token.id,
            role: self.role().name(),
            action,
            object: &self.path,
            before: None,
            after: None,
            request_id: &self.request_id,
            on_behalf_of: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What the seeds leave to the customer's own administrator.
    const CUSTOMERS_SAY: &[(&str, &str)] = &[
        ("PUT", "/api/v1/customers/{id}/co-management"),
        ("DELETE", "/api/v1/customers/{id}/co-management"),
        ("POST", "/api/v1/customers/{id}/sync"),
        ("DELETE", "/api/v1/tasks/{task}"),
        ("PATCH", "/api/v1/customers/{id}/numbers/{number}"),
        ("POST", "/api/v1/customers/{id}/users"),
        ("POST", "/api/v1/customers/{id}/users/bulk"),
        ("PATCH", "/api/v1/customers/{id}/users/{user}"),
        ("DELETE", "/api/v1/customers/{id}/users/{user}"),
        ("POST", "/api/v1/customers/{id}/pbx-registrations"),
        (
            "PATCH",
            "/api/v1/customers/{id}/pbx-registrations/{registration}",
        ),
        (
            "DELETE",
            "/api/v1/customers/{id}/pbx-registrations/{registration}",
        ),
        (
            "POST",
            "/api/v1/customers/{id}/pbx-registrations/{registration}/restart",
        ),
        ("PUT", "/api/v1/customers/{id}/activation"),
        ("POST", "/api/v1/customers/{id}/activation"),
        ("DELETE", "/api/v1/customers/{id}/activation"),
        ("PATCH", "/api/v1/customers/{id}/gateways/{gateway}"),
    ];

    /// What is left to those who look after a customer's users every day.
    const OPERATORS_DO: &[(&str, &str)] = &[
        ("PATCH", "/api/v1/customers/{id}/numbers/{number}"),
        ("POST", "/api/v1/customers/{id}/users"),
        ("POST", "/api/v1/customers/{id}/users/bulk"),
        ("PATCH", "/api/v1/customers/{id}/users/{user}"),
        ("DELETE", "/api/v1/customers/{id}/users/{user}"),
    ];

    fn documented() -> BTreeSet<(String, String)> {
        let document = serde_json::to_value(super::super::openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap().clone();
        let methods = |(path, item): (String, serde_json::Value)| {
            let methods = item
                .as_object()
                .unwrap()
                .keys()
                .map(|m| m.to_uppercase())
                .collect::<Vec<_>>();
            methods
                .into_iter()
                .map(move |method| (method, path.clone()))
        };
        paths.into_iter().flat_map(methods).collect()
    }

    /// The table and the routes are the same set.
    #[test]
    fn every_route_is_in_the_table_and_nothing_else() {
        let table: BTreeSet<_> = ROUTES
            .iter()
            .map(|(m, p, _)| (m.to_string(), p.to_string()))
            .collect();
        assert_eq!(table.len(), ROUTES.len(), "a route is in the table twice");
        assert_eq!(table, documented());
    }

    /// Provisioning §8.2: the customer's administrator and the NOC write nothing, but the NOC may hang up a call, and the
    /// customer has its say where the seeds give it one.
    #[test]
    fn who_only_reads_can_use_no_writing_route() {
        for (method, path, allowed) in ROUTES {
            let Allowed::Roles(roles) = allowed else {
                // Who has the link of an invitation is the one who was invited; who signs in has a password.
                let proves_itself = path.starts_with("/invite/{token}")
                    || *path == "/activate/{token}"
                    || *path == "/api/v1/session";
                assert!(*method == "GET" || proves_itself, "{method} {path}");
                continue;
            };
            assert!(roles.contains(&CarrierAdmin), "{method} {path}");
            let own = [
                "/api/v1/session",
                "/api/v1/devices/{device}/activation-code",
                "/api/v1/devices/{device}/resend-welcome",
            ];
            let is_own = own.contains(path) && !(*method == "POST" && path.ends_with("-code"));
            assert_eq!(roles.contains(&EndUser), is_own, "{method} {path}");
            if *method != "GET" && *path != "/api/v1/session" {
                let say = CUSTOMERS_SAY.contains(&(method, path));
                assert_eq!(roles.contains(&CustomerAdmin), say, "{method} {path}");
                let work = OPERATORS_DO.contains(&(method, path));
                assert_eq!(roles.contains(&CustomerOperator), work, "{method} {path}");
                assert_eq!(
                    roles.contains(&Noc),
                    path.starts_with("/api/v1/calls"),
                    "{method} {path}"
                );
            }
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_forbidden() {
        assert!(allowed(&Method::PUT, "/api/v1/customers").is_none());
        assert!(allowed(&Method::GET, "/api/v1/secrets").is_none());
        assert!(matches!(
            allowed(&Method::HEAD, "/healthz"),
            Some(Allowed::Anybody)
        ));
    }
}
