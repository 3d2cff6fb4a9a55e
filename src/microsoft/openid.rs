//! People sign in: OpenID Connect Core 1.0 §3.1, the authorization code with PKCE (RFC 7636), at whatever provider; Microsoft's
//! is the usual one. What the provider publishes about itself (OpenID Connect Discovery 1.0) and its keys (RFC 7517) are
//! fetched when they are needed and kept for an hour, and longer while it does not answer.

use super::config::is_allowed;
use super::error::short;
use super::http::Http;
use super::id_token::{Expected, IdToken, Key, Person, TENANT, TokenFault, keys};
use super::{ConfigError, Fault, MicrosoftError, Roots};
use crate::directory::Secret;
use reqwest::Url;
use serde::Deserialize;
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::sync::Mutex;

/// How long what the provider publishes is believed.
const FRESH: time::Duration = time::Duration::HOUR;
/// Between two looks, however many people come with keys that we do not know, and whatever went wrong.
const PAUSE: time::Duration = time::Duration::seconds(30);

/// Where people sign in, and who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIdConfig {
    /// The provider, `https://login.microsoftonline.com/organizations/v2.0`.
    pub issuer: String,
    /// Our application's id there.
    pub client_id: String,
    /// Its secret, if it has one.
    pub client_secret: Option<Secret>,
    /// Where the provider sends people back to, as registered with it.
    pub redirect_uri: String,
    /// Whose certificates are believed.
    pub roots: Roots,
    /// Whether the provider may be at plain HTTP on loopback: an emulated one.
    pub plain_http: bool,
    /// For one request.
    pub timeout: std::time::Duration,
}

/// A provider. Clones share what is known of it.
#[derive(Debug, Clone)]
pub struct OpenId(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: OpenIdConfig,
    http: Http,
    /// Held while it is asked, so that many people make it be asked once.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    provider: Option<Arc<Provider>>,
    asked_at: Option<OffsetDateTime>,
}

/// What it publishes.
#[derive(Debug)]
struct Provider {
    document: Document,
    keys: Vec<Key>,
    fetched_at: OffsetDateTime,
}

#[derive(Debug, Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

/// What a person takes along, and must bring back.
#[derive(Debug, Clone, Copy)]
pub struct Errand<'a> {
    /// Comes back unchanged.
    pub state: &'a str,
    /// Stands in the ID token.
    pub nonce: &'a str,
    /// [`Pkce::challenge`](super::Pkce::challenge).
    pub challenge: &'a str,
}

/// Why nobody was signed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenIdError {
    /// The provider does not answer, or says no.
    #[error("{0}")]
    Provider(#[from] MicrosoftError),
    /// What it gave is not to be believed.
    #[error("the ID token does not count: {0}")]
    Token(#[from] TokenFault),
}

impl OpenId {
    /// Asks for nothing yet.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(config: OpenIdConfig) -> Result<Self, ConfigError> {
        if !is_allowed(&config.issuer, config.plain_http) {
            return Err(ConfigError::Address(config.issuer));
        }
        let http = Http::new(&config.roots, config.timeout)?;
        Ok(Self(Arc::new(Inner {
            config,
            http,
            known: Mutex::default(),
        })))
    }

    /// The page where somebody signs in.
    ///
    /// # Errors
    /// The provider does not tell where that is.
    pub async fn page(
        &self,
        errand: Errand<'_>,
        now: OffsetDateTime,
    ) -> Result<String, MicrosoftError> {
        let provider = self.provider(None, now).await?;
        let config = &self.0.config;
        let mut url = endpoint(&provider.document.authorization_endpoint)?;
        url.query_pairs_mut()
            .append_pair("client_id", &config.client_id)
            .append_pair("response_type", "code")
            .append_pair("response_mode", "query")
            .append_pair("redirect_uri", &config.redirect_uri)
            .append_pair("scope", "openid profile email")
            .append_pair("state", errand.state)
            .append_pair("nonce", errand.nonce)
            .append_pair("code_challenge", errand.challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("prompt", "select_account");
        Ok(url.into())
    }

    /// Who came back with this code.
    ///
    /// # Errors
    /// It does not count, or the provider does not say whose it is in a way that is to be believed.
    pub async fn person(
        &self,
        code: &str,
        verifier: &Secret,
        nonce: &str,
        now: OffsetDateTime,
    ) -> Result<Person, OpenIdError> {
        let text = self.redeemed(code, verifier, now).await?;
        let token = IdToken::read(text.expose())?;
        // A key that we do not know may be new.
        let provider = self.provider(Some(&token), now).await?;
        let expected = Expected {
            issuer: &provider.document.issuer,
            client_id: &self.0.config.client_id,
            nonce,
            now,
        };
        Ok(token.person(&provider.keys, &expected)?)
    }

    async fn redeemed(
        &self,
        code: &str,
        verifier: &Secret,
        now: OffsetDateTime,
    ) -> Result<Secret, MicrosoftError> {
        #[derive(Deserialize)]
        struct Tokens {
            id_token: String,
        }
        let config = &self.0.config;
        let url = endpoint(&self.provider(None, now).await?.document.token_endpoint)?;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", config.redirect_uri.as_str()),
            ("code_verifier", verifier.expose()),
            ("client_id", config.client_id.as_str()),
        ];
        if let Some(secret) = &config.client_secret {
            fields.push(("client_secret", secret.expose()));
        }
        let request = self.0.http.post_form(&url, &fields);
        let answer = self.0.http.send(request).await?;
        if !answer.is_success() {
            let (status, headers) = (answer.status, &answer.headers);
            return Err(MicrosoftError::from_login(status, headers, &answer.body));
        }
        Ok(Secret::new(answer.json::<Tokens>()?.id_token))
    }

    /// What is known of the provider; asked for anew when that is old, or when the key of a token is not among it.
    async fn provider(
        &self,
        token: Option<&IdToken<'_>>,
        now: OffsetDateTime,
    ) -> Result<Arc<Provider>, MicrosoftError> {
        let mut known = self.0.known.lock().await;
        let suffices = |provider: &Provider| {
            provider.fetched_at + FRESH > now
                && token.is_none_or(|token| token.key(&provider.keys).is_some())
        };
        if let Some(provider) = known.provider.as_ref().filter(|known| suffices(known)) {
            return Ok(provider.clone());
        }
        let may_ask = known.asked_at.is_none_or(|asked| asked + PAUSE <= now);
        let asked = match may_ask {
            true => {
                known.asked_at = Some(now);
                self.ask(now).await
            }
            false => {
                let detail = "the provider was asked a moment ago";
                Err(MicrosoftError::new(Fault::Unreachable, detail))
            }
        };
        let error = match asked {
            Ok(provider) => {
                let provider = Arc::new(provider);
                known.provider = Some(provider.clone());
                return Ok(provider);
            }
            Err(error) => error,
        };
        let Some(provider) = &known.provider else {
            return Err(error);
        };
        // Whatever it said last: keys live longer than an hour.
        tracing::info!(%error, "what the OpenID provider publishes is not renewed");
        Ok(provider.clone())
    }

    async fn ask(&self, now: OffsetDateTime) -> Result<Provider, MicrosoftError> {
        let config = &self.0.config;
        let issuer = config.issuer.trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration");
        let document: Document = self.fetch(&url).await?;
        let malformed = |detail: &str| MicrosoftError::new(Fault::Malformed, detail);
        if !is_named(&document.issuer, issuer) {
            let detail = format!("the provider calls itself {}", short(&document.issuer));
            return Err(malformed(&detail));
        }
        let endpoints = [
            &document.authorization_endpoint,
            &document.token_endpoint,
            &document.jwks_uri,
        ];
        if !endpoints
            .iter()
            .all(|url| is_allowed(url, config.plain_http))
        {
            return Err(malformed("an endpoint of the provider is no https address"));
        }
        let keys = keys(self.fetch(&document.jwks_uri).await?);
        if keys.is_empty() {
            return Err(malformed("the provider publishes no key that can be used"));
        }
        Ok(Provider {
            document,
            keys,
            fetched_at: now,
        })
    }

    async fn fetch<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T, MicrosoftError> {
        let answer = self.0.http.send(self.0.http.get(url)).await?;
        if !answer.is_success() {
            let (status, headers) = (answer.status, &answer.headers);
            return Err(MicrosoftError::from_login(status, headers, &answer.body));
        }
        answer.json()
    }
}

fn endpoint(url: &str) -> Result<Url, MicrosoftError> {
    Url::parse(url).map_err(|error| MicrosoftError::new(Fault::Malformed, error.to_string()))
}

/// OpenID Connect Discovery 1.0 §4.3: a provider's document is about that provider. One for many tenants has a place for the
/// tenant in its name; it must be at the same address all the same.
fn is_named(told: &str, issuer: &str) -> bool {
    if told.trim_end_matches('/') == issuer {
        return true;
    }
    let origin = |url: &str| Url::parse(url).ok().map(|url| url.origin());
    told.contains(TENANT) && origin(told).is_some() && origin(told) == origin(issuer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document about another provider is not believed; the one for many tenants is, at its own address.
    #[test]
    fn a_document_is_about_its_provider() {
        let ours = "https://login.example/organizations/v2.0";
        for (told, is) in [
            (ours, true),
            ("https://login.example/organizations/v2.0/", true),
            ("https://login.example/{tenantid}/v2.0", true),
            ("https://login.example/other/v2.0", false),
            ("https://evil.example/{tenantid}/v2.0", false),
            ("{tenantid}", false),
        ] {
            assert_eq!(is_named(told, ours), is, "{told}");
        }
    }
}
