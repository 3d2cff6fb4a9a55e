use super::http::Answer;
use super::{Fault, Microsoft, MicrosoftError};
use crate::directory::Secret;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Url;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::time::Duration;
use uuid::Uuid;

/// A Global Administrator's role, the same in every tenant.
pub(super) const GLOBAL_ADMINISTRATOR: &str = "62e90394-69f5-4237-9190-012177145e10";

/// The sign-in service.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a>(&'a Microsoft);

/// A question that only the browser which asked it can finish (RFC 7636).
#[derive(Debug, Clone)]
pub struct Pkce {
    /// Shown when the code is redeemed.
    pub verifier: Secret,
    /// Shown before.
    pub challenge: String,
}

/// Somebody is to sign in, and to consent to what is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Authorize<'a> {
    /// Name, GUID, or `organizations`.
    pub tenant: &'a str,
    /// Where they come back to.
    pub redirect_uri: &'a str,
    /// What is asked for, with spaces between.
    pub scope: &'a str,
    /// Comes back unchanged.
    pub state: &'a str,
    /// [`Pkce::challenge`].
    pub challenge: &'a str,
    /// `select_account`, `consent`, `login` or nothing.
    pub prompt: Option<&'a str>,
}

/// What the token endpoint gives.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// For requests.
    pub access: Secret,
    /// How long.
    pub expires_in: Duration,
    /// For more of them.
    pub refresh: Option<Secret>,
    /// Who signed in, if somebody did.
    pub identity: Option<Identity>,
}

/// Who signed in. It came from the token endpoint itself, so its signature says nothing new (OpenID Connect Core §3.1.3.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Their tenant.
    pub tenant_id: Uuid,
    /// Who they are in it, for ever.
    pub object_id: Option<Uuid>,
    /// Their name to sign in.
    pub upn: Option<String>,
    /// Whether they administer everything; none, if the token does not tell roles.
    pub global_administrator: Option<bool>,
}

/// The beginning of RFC 8628: what a person types at another device.
#[derive(Debug, Clone, Deserialize)]
pub struct DeviceCode {
    /// For polling; nobody else's business.
    #[serde(deserialize_with = "secret")]
    pub device_code: Secret,
    /// What they type.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// Seconds.
    pub expires_in: u64,
    /// Seconds between two polls.
    #[serde(default = "five")]
    pub interval: u64,
}

/// How it goes on.
#[derive(Debug, Clone)]
pub enum DevicePoll {
    /// They have not typed it yet.
    Pending,
    /// The same, and we ask too often: five seconds more from now on.
    SlowDown,
    /// They said no.
    Declined,
    /// They took too long.
    Expired,
    /// They signed in.
    Done(Tokens),
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(deserialize_with = "secret")]
    access_token: Secret,
    #[serde(default)]
    expires_in: u64,
    #[serde(default, deserialize_with = "maybe_secret")]
    refresh_token: Option<Secret>,
    #[serde(default, deserialize_with = "maybe_secret")]
    id_token: Option<Secret>,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

fn maybe_secret<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Secret>, D::Error> {
    secret(deserializer).map(Some)
}

fn five() -> u64 {
    5
}

impl Pkce {
    /// From 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        let verifier = BASE64_URL_SAFE_NO_PAD.encode(random);
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        Self {
            verifier: Secret::new(verifier),
            challenge,
        }
    }
}

impl<'a> Login<'a> {
    /// Graph with everything that our application is registered for, and a refresh token.
    pub const GRAPH_SCOPE: &'static str =
        "https://graph.microsoft.com/.default offline_access openid profile";
    /// The same without a person.
    pub const APPLICATION_SCOPE: &'static str = "https://graph.microsoft.com/.default";

    pub(super) fn new(microsoft: &'a Microsoft) -> Self {
        Self(microsoft)
    }

    /// The tenant that a name belongs to, a domain being a name of its tenant as soon as it is verified there.
    ///
    /// # Errors
    /// [`Fault::TenantNotFound`]: nobody's; and whatever else goes wrong.
    pub async fn tenant(&self, name: &str) -> Result<Uuid, MicrosoftError> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
        }
        let url = self.url(name, &["v2.0", ".well-known", "openid-configuration"])?;
        let answer = self.0.http.send(self.0.http.get(url.as_str())).await?;
        if !answer.is_success() {
            let error = MicrosoftError::from_login(answer.status, &answer.headers, &answer.body);
            // Nobody's name is a 400 or a 404, whatever else is said about it.
            let unknown = matches!(answer.status, 400 | 404) && error.fault == Fault::BadRequest
                || error.fault == Fault::NotFound;
            return Err(if unknown {
                error.seen_as(Fault::TenantNotFound)
            } else {
                error
            });
        }
        let document: Document = answer.json()?;
        let tenant = document
            .issuer
            .split('/')
            .find_map(|part| part.parse().ok());
        tenant.ok_or_else(|| MicrosoftError::new(Fault::Malformed, "the issuer names no tenant"))
    }

    /// Where an administrator consents for the whole organisation, application permissions included.
    ///
    /// # Errors
    /// The tenant's name makes no address.
    pub fn admin_consent_url(
        &self,
        tenant: &str,
        redirect_uri: &str,
        state: &str,
    ) -> Result<String, MicrosoftError> {
        let mut url = self.url(tenant, &["v2.0", "adminconsent"])?;
        url.query_pairs_mut()
            .append_pair("client_id", &self.0.config.client_id)
            .append_pair("scope", Self::APPLICATION_SCOPE)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", state);
        Ok(url.into())
    }

    /// Where somebody signs in, and consents if that was not done before.
    ///
    /// # Errors
    /// The tenant's name makes no address.
    pub fn authorize_url(&self, wanted: &Authorize<'_>) -> Result<String, MicrosoftError> {
        let mut url = self.url(wanted.tenant, &["oauth2", "v2.0", "authorize"])?;
        let mut query = url.query_pairs_mut();
        query
            .append_pair("client_id", &self.0.config.client_id)
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", wanted.redirect_uri)
            .append_pair("response_mode", "query")
            .append_pair("scope", wanted.scope)
            .append_pair("state", wanted.state)
            .append_pair("code_challenge", wanted.challenge)
            .append_pair("code_challenge_method", "S256");
        if let Some(prompt) = wanted.prompt {
            query.append_pair("prompt", prompt);
        }
        drop(query);
        Ok(url.into())
    }

    /// Redeems the code of a callback.
    ///
    /// # Errors
    /// [`Fault::TokenInvalid`] if it does not count; and whatever else goes wrong.
    pub async fn by_code(
        &self,
        tenant: &str,
        code: &str,
        redirect_uri: &str,
        verifier: &Secret,
    ) -> Result<Tokens, MicrosoftError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.expose()),
        ];
        self.token(tenant, &fields).await
    }

    /// Tokens of somebody who signed in before.
    ///
    /// # Errors
    /// [`Fault::TokenInvalid`] if that no longer counts; and whatever else goes wrong.
    pub async fn by_refresh(
        &self,
        tenant: &str,
        refresh: &Secret,
        scope: &str,
    ) -> Result<Tokens, MicrosoftError> {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.expose()),
            ("scope", scope),
        ];
        self.token(tenant, &fields).await
    }

    /// A token of our own, for a tenant that consented to application permissions.
    ///
    /// # Errors
    /// [`Fault::ConsentRequired`] if it did not; and whatever else goes wrong.
    pub async fn by_client_credentials(
        &self,
        tenant: &str,
        scope: &str,
    ) -> Result<Tokens, MicrosoftError> {
        self.token(
            tenant,
            &[("grant_type", "client_credentials"), ("scope", scope)],
        )
        .await
    }

    /// Begins a sign-in at another device. The time runs from now.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn device_code(
        &self,
        tenant: &str,
        scope: &str,
    ) -> Result<DeviceCode, MicrosoftError> {
        let url = self.url(tenant, &["oauth2", "v2.0", "devicecode"])?;
        let fields = [
            ("client_id", self.0.config.client_id.as_str()),
            ("scope", scope),
        ];
        let answer = self.post(&url, &fields).await?;
        if !answer.is_success() {
            return Err(MicrosoftError::from_login(
                answer.status,
                &answer.headers,
                &answer.body,
            ));
        }
        answer.json()
    }

    /// Asks once whether they signed in.
    ///
    /// # Errors
    /// Whatever goes wrong besides waiting, a refusal and lateness.
    pub async fn poll_device(
        &self,
        tenant: &str,
        code: &Secret,
    ) -> Result<DevicePoll, MicrosoftError> {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        let url = self.url(tenant, &["oauth2", "v2.0", "token"])?;
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("client_id", self.0.config.client_id.as_str()),
            ("device_code", code.expose()),
        ];
        let answer = self.post(&url, &fields).await?;
        if answer.is_success() {
            return Ok(DevicePoll::Done(answer.json::<TokenAnswer>()?.into()));
        }
        let refusal = answer.json::<Refusal>().map(|refusal| refusal.error);
        Ok(match refusal.as_deref() {
            Ok("authorization_pending") => DevicePoll::Pending,
            Ok("slow_down") => DevicePoll::SlowDown,
            Ok("authorization_declined" | "access_denied") => DevicePoll::Declined,
            Ok("expired_token") => DevicePoll::Expired,
            _ => {
                return Err(MicrosoftError::from_login(
                    answer.status,
                    &answer.headers,
                    &answer.body,
                ));
            }
        })
    }

    async fn token(&self, tenant: &str, fields: &[(&str, &str)]) -> Result<Tokens, MicrosoftError> {
        let url = self.url(tenant, &["oauth2", "v2.0", "token"])?;
        let mut fields = fields.to_vec();
        fields.push(("client_id", &self.0.config.client_id));
        if let Some(secret) = &self.0.config.client_secret {
            fields.push(("client_secret", secret.expose()));
        }
        let answer = self.post(&url, &fields).await?;
        if !answer.is_success() {
            return Err(MicrosoftError::from_login(
                answer.status,
                &answer.headers,
                &answer.body,
            ));
        }
        Ok(answer.json::<TokenAnswer>()?.into())
    }

    async fn post(&self, url: &Url, fields: &[(&str, &str)]) -> Result<Answer, MicrosoftError> {
        self.0.http.send(self.0.http.post_form(url, fields)).await
    }

    fn url(&self, tenant: &str, path: &[&str]) -> Result<Url, MicrosoftError> {
        under(
            &self.0.config.login_base,
            std::iter::once(tenant).chain(path.iter().copied()),
        )
    }
}

/// An address below a base; what stands in its path is escaped, and goes nowhere else.
pub(super) fn under<'a>(
    base: &str,
    path: impl IntoIterator<Item = &'a str>,
) -> Result<Url, MicrosoftError> {
    let bad = || MicrosoftError::new(Fault::BadRequest, "the name makes no address");
    let mut url = Url::parse(base).map_err(|_| bad())?;
    {
        let mut segments = url.path_segments_mut().map_err(|()| bad())?;
        segments.pop_if_empty();
        for part in path {
            // `.` and `..` would be taken for steps.
            if part.is_empty() || part == "." || part == ".." {
                return Err(bad());
            }
            segments.push(part);
        }
    }
    Ok(url)
}

impl From<TokenAnswer> for Tokens {
    fn from(answer: TokenAnswer) -> Self {
        Self {
            access: answer.access_token,
            expires_in: Duration::from_secs(answer.expires_in),
            refresh: answer.refresh_token,
            identity: answer
                .id_token
                .and_then(|token| Identity::read(token.expose())),
        }
    }
}

impl Identity {
    /// The claims of an ID token that came straight from the token endpoint.
    fn read(token: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Claims {
            tid: Uuid,
            oid: Option<Uuid>,
            preferred_username: Option<String>,
            wids: Option<Vec<String>>,
        }
        let claims = token.split('.').nth(1)?;
        let claims = BASE64_URL_SAFE_NO_PAD
            .decode(claims.trim_end_matches('='))
            .ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let administers = |roles: Vec<String>| {
            roles
                .iter()
                .any(|role| role.eq_ignore_ascii_case(GLOBAL_ADMINISTRATOR))
        };
        Some(Self {
            tenant_id: claims.tid,
            object_id: claims.oid,
            upn: claims.preferred_username,
            global_administrator: claims.wids.map(administers),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 appendix B.
    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        let verifier = BASE64_URL_SAFE_NO_PAD
            .decode("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
            .unwrap();
        let pkce = Pkce::new(verifier.try_into().unwrap());
        assert_eq!(
            pkce.challenge,
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    /// What a customer's record says cannot lead a request elsewhere.
    #[test]
    fn names_stay_in_their_place() {
        let url = |name| under("https://login.example/base/", [name, "token"]).map(String::from);
        assert_eq!(
            url("contoso.com").unwrap(),
            "https://login.example/base/contoso.com/token"
        );
        assert_eq!(
            url("a/../b?c#d").unwrap(),
            "https://login.example/base/a%2F..%2Fb%3Fc%23d/token"
        );
        assert!(url("..").is_err() && url("").is_err());
    }

    #[test]
    fn claims_are_read() {
        let claims =
            serde_json::json!({ "tid": Uuid::from_u128(7), "wids": [GLOBAL_ADMINISTRATOR] });
        let token = format!(
            "e30.{}.sig",
            BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let identity = Identity::read(&token).unwrap();
        assert_eq!(
            (identity.tenant_id, identity.global_administrator),
            (Uuid::from_u128(7), Some(true))
        );
        assert_eq!(Identity::read("no token"), None);
    }
}
