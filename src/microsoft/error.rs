//! What goes wrong at Microsoft, and what follows from it (provisioning §11.6). Its texts and numbers change, so what cannot
//! be told apart is a fault of its own and keeps the code for the log.

use reqwest::header::HeaderMap;
use serde::Deserialize;
use std::time::Duration;

/// Why Microsoft did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", fault.name())]
pub struct MicrosoftError {
    /// What it means to us.
    pub fault: Fault,
    /// Microsoft's word for it: `AADSTS65001`, `Request_BadRequest`.
    pub code: Option<String>,
    /// For people, without anything secret.
    pub detail: String,
    /// What Microsoft's support asks for.
    pub request_id: Option<String>,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// Everything that is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Our redirect address is not registered: our own configuration.
    ReplyUrl,
    /// Who signed in belongs to another tenant.
    UserNotInTenant,
    /// The account is locked or disabled.
    UserLocked,
    /// A second factor is missing, or a rule of the tenant forbids it.
    MfaNeeded,
    /// Nobody consented.
    ConsentRequired,
    /// Somebody was asked and declined.
    ConsentDeclined,
    /// An administrator has to consent.
    NotAdmin,
    /// The tenant has not got the service.
    ServiceNotSubscribed,
    /// A code or refresh token does not count, or no longer.
    TokenInvalid,
    /// Our secret is wrong.
    AppSecretWrong,
    /// We asked for what does not exist: our own defect.
    ScopeInvalid,
    /// No tenant has this name.
    TenantNotFound,
    /// Too much, too often, or a service that is not well.
    Throttled,
    /// No answer at all.
    Unreachable,
    /// An answer that makes no sense, or is too long.
    Malformed,
    /// The token may not do this.
    Forbidden,
    /// It is not there.
    NotFound,
    /// It is there already.
    AlreadyExists,
    /// The name cannot be a domain of this tenant.
    DomainInvalid,
    /// The name belongs to another tenant.
    DomainInOtherTenant,
    /// Microsoft has not seen the code in DNS.
    DnsNotSeen,
    /// The domain is not in use yet where it is needed.
    DomainNotReady,
    /// The user's country does not allow the licence.
    UsageLocation,
    /// No unit of the licence is free.
    NoLicense,
    /// The request is not as it should be, and why is not known.
    BadRequest,
}

/// What to do about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// The same again, later.
    Retry,
    /// Consent has to be given again.
    Consent,
    /// Nothing, until somebody changes something.
    Permanent,
}

impl Fault {
    /// For programs; stable.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReplyUrl => "reply_url_not_registered",
            Self::UserNotInTenant => "user_not_in_tenant",
            Self::UserLocked => "user_locked",
            Self::MfaNeeded => "mfa_required",
            Self::ConsentRequired => "consent_required",
            Self::ConsentDeclined => "consent_declined",
            Self::NotAdmin => "not_admin",
            Self::ServiceNotSubscribed => "service_not_subscribed",
            Self::TokenInvalid => "token_invalid",
            Self::AppSecretWrong => "app_secret_wrong",
            Self::ScopeInvalid => "scope_invalid",
            Self::TenantNotFound => "tenant_not_found",
            Self::Throttled => "throttled",
            Self::Unreachable => "microsoft_unreachable",
            Self::Malformed => "microsoft_malformed",
            Self::Forbidden => "forbidden_by_microsoft",
            Self::NotFound => "not_found_at_microsoft",
            Self::AlreadyExists => "exists_at_microsoft",
            Self::DomainInvalid => "domain_invalid",
            Self::DomainInOtherTenant => "domain_in_other_tenant",
            Self::DnsNotSeen => "dns_not_seen",
            Self::DomainNotReady => "domain_not_ready",
            Self::UsageLocation => "usage_location_invalid",
            Self::NoLicense => "no_license_available",
            Self::BadRequest => "refused_by_microsoft",
        }
    }

    /// What to do.
    pub fn reaction(self) -> Reaction {
        match self {
            Self::Throttled
            | Self::Unreachable
            | Self::Malformed
            | Self::DnsNotSeen
            | Self::DomainNotReady
            | Self::NotFound => Reaction::Retry,
            Self::ConsentRequired
            | Self::ConsentDeclined
            | Self::NotAdmin
            | Self::TokenInvalid
            | Self::MfaNeeded
            | Self::Forbidden => Reaction::Consent,
            Self::ReplyUrl
            | Self::UserNotInTenant
            | Self::UserLocked
            | Self::ServiceNotSubscribed
            | Self::AppSecretWrong
            | Self::ScopeInvalid
            | Self::TenantNotFound
            | Self::AlreadyExists
            | Self::DomainInvalid
            | Self::DomainInOtherTenant
            | Self::UsageLocation
            | Self::NoLicense
            | Self::BadRequest => Reaction::Permanent,
        }
    }
}

impl MicrosoftError {
    pub(super) fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self {
            fault,
            code: None,
            detail: detail.into(),
            request_id: None,
            retry_after: None,
        }
    }

    /// The same, seen as something else where it happened.
    pub(super) fn seen_as(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }

    /// What the sign-in service says, by its answer to a request or in the query of a callback (RFC 6749 §4.1.2.1, §5.2).
    pub fn of_login(error: &str, description: &str) -> Self {
        let code = aadsts(description);
        let fault = code
            .and_then(login_fault)
            .unwrap_or_else(|| oauth_fault(error));
        Self {
            code: Some(code.map_or_else(|| error.to_owned(), |code| format!("AADSTS{code}"))),
            ..Self::new(fault, short(description))
        }
    }

    /// A failed answer of the sign-in service.
    pub(super) fn from_login(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Answer {
            error: String,
            #[serde(default)]
            error_description: String,
            trace_id: Option<String>,
        }
        let error = match serde_json::from_slice::<Answer>(body) {
            Ok(answer) => Self {
                request_id: answer.trace_id,
                ..Self::of_login(&answer.error, &answer.error_description)
            },
            Err(_) => Self::new(of_status(status), format!("status {status} without a word")),
        };
        let throttled = matches!(status, 429 | 502..=504);
        Self {
            fault: if throttled {
                Fault::Throttled
            } else {
                error.fault
            },
            retry_after: retry_after(headers),
            ..error
        }
    }

    /// A failed answer of Graph.
    pub(super) fn from_graph(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Answer {
            error: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let inner = serde_json::from_slice::<Answer>(body)
            .ok()
            .map(|answer| answer.error);
        let (code, message) =
            inner.map_or_else(Default::default, |inner| (inner.code, inner.message));
        let request_id = headers.get("request-id").and_then(|id| id.to_str().ok());
        Self {
            code: Some(code.clone()).filter(|code| !code.is_empty()),
            request_id: request_id.map(short),
            retry_after: retry_after(headers),
            ..Self::new(graph_fault(status, &code, &message), short(&message))
        }
    }
}

/// The number in `AADSTS65001: The user …`.
fn aadsts(description: &str) -> Option<u32> {
    let (_, rest) = description.split_once("AADSTS")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

fn login_fault(code: u32) -> Option<Fault> {
    Some(match code {
        50_011 => Fault::ReplyUrl,
        50_020 | 50_034 | 16_003 => Fault::UserNotInTenant,
        50_053 | 50_057 => Fault::UserLocked,
        50_076 | 50_079 | 53_003 => Fault::MfaNeeded,
        65_001 | 700_016 => Fault::ConsentRequired,
        65_004 => Fault::ConsentDeclined,
        650_052 => Fault::ServiceNotSubscribed,
        70_000 | 70_008 => Fault::TokenInvalid,
        70_002 | 7_000_215 => Fault::AppSecretWrong,
        70_011 => Fault::ScopeInvalid,
        90_002 => Fault::TenantNotFound,
        90_006 | 90_024 | 90_055 => Fault::Throttled,
        90_094 => Fault::NotAdmin,
        _ => return None,
    })
}

fn oauth_fault(error: &str) -> Fault {
    match error {
        "access_denied" => Fault::ConsentDeclined,
        "consent_required" => Fault::ConsentRequired,
        "interaction_required" => Fault::MfaNeeded,
        "invalid_grant" => Fault::TokenInvalid,
        "invalid_client" | "unauthorized_client" => Fault::AppSecretWrong,
        "invalid_scope" => Fault::ScopeInvalid,
        "temporarily_unavailable" | "server_error" => Fault::Throttled,
        _ => Fault::BadRequest,
    }
}

fn graph_fault(status: u16, code: &str, message: &str) -> Fault {
    let message = message.to_ascii_lowercase();
    let says = |text: &str| message.contains(text);
    match (status, code) {
        (409, _) | (_, "ObjectConflict") => Fault::AlreadyExists,
        (400, _) if says("already exist") || says("conflicting object") => Fault::AlreadyExists,
        (400, _) if says("different microsoft 365 organization") => Fault::DomainInOtherTenant,
        (400, _) if says("invalid usage location") => Fault::UsageLocation,
        (400, _) if says("does not have any available licenses") => Fault::NoLicense,
        (400, _) if says("domain portion") || says("not configured for this tenant") => {
            Fault::DomainNotReady
        }
        (400, _) if says("contains invalid values") => Fault::DomainInvalid,
        (400, _) => Fault::BadRequest,
        (401, _) => Fault::TokenInvalid,
        (403, _) => Fault::Forbidden,
        (404, _) => Fault::NotFound,
        _ => of_status(status),
    }
}

fn of_status(status: u16) -> Fault {
    match status {
        429 | 500.. => Fault::Throttled,
        404 => Fault::NotFound,
        401 => Fault::TokenInvalid,
        _ => Fault::BadRequest,
    }
}

/// RFC 9110 §10.2.3, in seconds; a date, which Microsoft does not send, is left to our own pace.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    /// Nobody may silence us for longer.
    const MOST: u64 = 24 * 3600;
    let value = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(MOST)))
}

/// What is told to people and kept: one line of bounded length.
pub(super) fn short(text: &str) -> String {
    const MOST: usize = 300;
    let line = text.lines().next().unwrap_or_default();
    line.chars()
        .filter(|c| !c.is_control())
        .take(MOST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Provisioning §11.6, row by row: the number counts, whatever the error is called.
    #[test]
    fn codes_have_their_reactions() {
        for (code, name, reaction) in [
            (50_011, "reply_url_not_registered", Reaction::Permanent),
            (50_020, "user_not_in_tenant", Reaction::Permanent),
            (50_057, "user_locked", Reaction::Permanent),
            (53_003, "mfa_required", Reaction::Consent),
            (65_001, "consent_required", Reaction::Consent),
            (65_004, "consent_declined", Reaction::Consent),
            (650_052, "service_not_subscribed", Reaction::Permanent),
            (70_008, "token_invalid", Reaction::Consent),
            (7_000_215, "app_secret_wrong", Reaction::Permanent),
            (70_011, "scope_invalid", Reaction::Permanent),
            (90_002, "tenant_not_found", Reaction::Permanent),
            (90_024, "throttled", Reaction::Retry),
            (90_094, "not_admin", Reaction::Consent),
        ] {
            let error = MicrosoftError::of_login("whatever", &format!("AADSTS{code}: words"));
            assert_eq!(
                (error.fault.name(), error.fault.reaction()),
                (name, reaction)
            );
            assert_eq!(error.code, Some(format!("AADSTS{code}")));
        }
        let unknown = MicrosoftError::of_login("invalid_grant", "AADSTS99999999: new");
        assert_eq!(unknown.fault, Fault::TokenInvalid);
    }

    #[test]
    fn a_throttled_answer_tells_for_how_long() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "120".parse().unwrap());
        headers.insert("request-id", "r-1".parse().unwrap());
        let error = MicrosoftError::from_graph(429, &headers, b"");
        assert_eq!(error.fault, Fault::Throttled);
        assert_eq!(error.retry_after, Some(Duration::from_secs(120)));
        assert_eq!(error.request_id.as_deref(), Some("r-1"));
        headers.insert("retry-after", "99999999999".parse().unwrap());
        let error = MicrosoftError::from_login(503, &headers, b"<html>");
        assert_eq!(error.retry_after, Some(Duration::from_secs(86_400)));
        assert_eq!(error.fault, Fault::Throttled);
    }

    #[test]
    fn texts_of_graph_are_told_apart() {
        for (status, message, fault) in [
            (
                400,
                "One or more properties contains invalid values.",
                Fault::DomainInvalid,
            ),
            (
                400,
                "You've already added this domain to a different Microsoft 365 organization.",
                Fault::DomainInOtherTenant,
            ),
            (
                400,
                "License assignment cannot be done for user with invalid usage location.",
                Fault::UsageLocation,
            ),
            (
                400,
                "The domain portion of the userPrincipalName property is invalid.",
                Fault::DomainNotReady,
            ),
            (
                400,
                "Another object with the same value for property userPrincipalName already exists.",
                Fault::AlreadyExists,
            ),
            (
                403,
                "Insufficient privileges to complete the operation.",
                Fault::Forbidden,
            ),
            (404, "Resource not found.", Fault::NotFound),
            (418, "", Fault::BadRequest),
        ] {
            let body = serde_json::json!({ "error": { "code": "x", "message": message } });
            let error =
                MicrosoftError::from_graph(status, &HeaderMap::new(), body.to_string().as_bytes());
            assert_eq!(error.fault, fault, "{message}");
        }
    }
}
