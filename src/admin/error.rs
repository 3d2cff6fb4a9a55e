use super::request::RequestId;
use crate::directory::CompileError;
use crate::provisioning::activation::Misplaced;
use crate::store::{Fault, StoreError, Unwritable};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request is not answered as asked: the only place that turns errors into HTTP.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<Fault>,
    retry_after_s: Option<u32>,
}

/// A problem (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`; `code` tells problems apart.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// For people.
    detail: String,
    /// For programs; stable.
    code: &'static str,
    /// Values that break rules.
    errors: Vec<Fault>,
    /// What logs and the audit call the request.
    request_id: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    /// Something is not there, or not for this caller, who is not told which.
    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such resource",
        )
    }

    /// Something that could be there is not, and why.
    pub(super) fn gone(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub(super) fn forbidden(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    pub(super) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(super) fn conflict(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// Values break rules.
    pub(super) fn invalid(errors: Vec<Fault>) -> Self {
        let first = errors.first().map_or_else(String::new, |fault| {
            format!("{}: {}", fault.field, fault.message)
        });
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", first)
        }
    }

    /// One value breaks a rule.
    pub(super) fn invalid_field(field: &str, code: &str, message: &str) -> Self {
        Self::invalid(vec![Fault {
            field: field.into(),
            code: code.into(),
            message: message.into(),
        }])
    }

    /// For programs: the first broken rule's code, if it is about rules.
    pub(super) fn first_code(&self) -> &str {
        self.errors.first().map_or(self.code, |fault| &fault.code)
    }

    /// For people.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Values that break rules.
    pub(super) fn faults(&self) -> &[Fault] {
        &self.errors
    }

    /// Whether the request is not to blame.
    pub(super) fn is_ours(&self) -> bool {
        self.status.is_server_error()
    }

    /// Not now.
    pub(super) fn unavailable(code: &'static str, detail: &str) -> Self {
        Self {
            retry_after_s: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        }
    }

    pub(super) fn retry_after(self, seconds: u32) -> Self {
        Self {
            retry_after_s: Some(seconds),
            ..self
        }
    }

    /// What a status says by itself, for answers that the framework makes.
    fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("not_found", "there is no such resource"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method_not_allowed", "the resource has no such method")
            }
            StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the body has more than 1 MiB"),
            StatusCode::SERVICE_UNAVAILABLE => ("timeout", "the request took too long"),
            status if status.is_server_error() => ("internal", "the server failed"),
            _ => ("bad_request", "the request is malformed"),
        };
        Self::new(status, code, detail)
    }
}

impl From<Misplaced> for ApiError {
    fn from(why: Misplaced) -> Self {
        match why {
            Misplaced::AlreadyActive => Self::conflict("already_active", "the customer is active"),
            Misplaced::Started | Misplaced::Stale => {
                Self::conflict("activation_started", "the activation has been started")
            }
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Taken(constraint) => taken(&constraint),
            StoreError::Reference => {
                Self::conflict("in_use", "another resource still refers to it")
            }
            StoreError::LostPlace => Self::bad_request(
                "cursor",
                "the item where the last page ended is gone: begin again",
            ),
            StoreError::MailQueueFull => Self::unavailable(
                "mail_queue_full",
                "too many letters wait for the mail server",
            )
            .retry_after(60),
            StoreError::Faults(faults) => Self::invalid(faults),
            StoreError::Contradiction(errors) => {
                Self::invalid(errors.iter().map(contradiction).collect())
            }
            StoreError::Unwritable(why) => {
                tracing::error!(%why, "the database takes no writes");
                let (code, detail) = match why {
                    Unwritable::Full => (
                        "database_full",
                        "nothing can be changed: the database is full, or its disk is",
                    ),
                    Unwritable::ReadOnly => (
                        "database_read_only",
                        "nothing can be changed: the database is read-only",
                    ),
                    Unwritable::Disk => (
                        "database_disk",
                        "nothing can be changed: the disk of the database fails",
                    ),
                };
                Self::unavailable(code, detail).retry_after(10)
            }
            StoreError::Database(sqlx::Error::PoolTimedOut) => {
                Self::unavailable("busy", "the database is busy")
            }
            error => {
                tracing::error!(%error, "the database failed");
                Self::of_status(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

fn taken(constraint: &str) -> ApiError {
    let (code, detail) = match constraint {
        "customers.account_id" => ("account_id_in_use", "another customer has this account_id"),
        "customers.tenant_name" | "customers.tenant_id" => {
            ("tenant_in_use", "another customer has this tenant")
        }
        "emails.email" => (
            "email_in_use",
            "another partner or customer has this email address",
        ),
        "users.customer_id, users.upn" => ("upn_in_use", "another user has this upn"),
        "users.customer_id, users.extension" => {
            ("extension_in_use", "another user has this extension")
        }
        "users.customer_id, users.sip_user" => {
            ("sip_user_in_use", "another user has this sip_user")
        }
        "pbxs.customer_id, pbxs.location" => (
            "location_in_use",
            "another exchange of the customer has this location",
        ),
        "pbx_registrations.pbx_id, pbx_registrations.username" => (
            "sip_user_in_use",
            "another registration at the exchange has this username",
        ),
        "pbx_registrations.pbx_id, pbx_registrations.user_id" => (
            "user_registered",
            "the user has a registration at the exchange",
        ),
        "devices.user_id" => (
            "extension_has_device",
            "the user has another telephone: deactivate or swap it",
        ),
        "devices.mac" => ("mac_in_use", "another telephone has this MAC address"),
        "services.folded_name" => ("short_name_in_use", "another service has this short_name"),
        "pbx_types.code" => ("pbx_type_in_use", "another PBX type has this code"),
        "gateways.fqdn" => ("fqdn_in_use", "another gateway has this name"),
        "gateways.customer_id, gateways.region" => (
            "gateway_exists",
            "the customer has a gateway in this region",
        ),
        "numbers.number" => ("number_in_use", "the number belongs to somebody"),
        "regions.code" => ("region_code_in_use", "another region has this code"),
        "regions.base_fqdn" => ("base_fqdn_in_use", "another region has this base_fqdn"),
        "index 'trunks_name'" => ("trunk_name_in_use", "another trunk has this name"),
        _ => ("in_use", "the value is taken"),
    };
    ApiError::conflict(code, detail)
}

fn contradiction(error: &CompileError) -> Fault {
    let (field, code) = match error {
        CompileError::UnknownRegion {
            what: "customer", ..
        } => ("regions", "unknown_region"),
        CompileError::SharedPort { .. } => ("sip_port", "shared_port"),
        CompileError::OpenAccess { .. } => ("acl", "open"),
        _ => ("", "contradiction"),
    };
    Fault {
        field: field.into(),
        code: code.into(),
        message: error.to_string(),
    }
}

/// Without a body yet: [`render`] knows the request.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every error its body, those that the framework made too.
pub(super) async fn render(request: Request, next: Next) -> Response {
    let request_id = request
        .extensions()
        .get::<RequestId>()
        .map_or_else(String::new, |id| id.0.clone());
    let mut response = next.run(request).await;
    let status = response.status();
    let error = match response.extensions_mut().remove::<ApiError>() {
        Some(error) => error,
        None if is_bare_error(&response) => ApiError::of_status(status),
        None => return response,
    };
    let problem = Problem {
        kind: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: error.detail,
        code: error.code,
        errors: error.errors,
        request_id,
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    let body = serde_json::to_vec(&problem).expect("a problem has a JSON form");
    Response::from_parts(parts, body.into())
}

fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let ours =
        kind.starts_with(b"application/problem+json") || kind.starts_with(b"application/json");
    // What people see in a browser is whole as well.
    let ours = ours || kind.starts_with(b"text/html");
    (status.is_client_error() || status.is_server_error()) && !ours
}
