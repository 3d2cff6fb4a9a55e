//! Microsoft as a client of ours sees it: sign-in and consent, the directory behind Graph, telephony.
//!
//! [`Login`] speaks to the sign-in service: which tenant a name belongs to, where an administrator is sent for consent,
//! tokens by code (RFC 6749 §4.1 with RFC 7636), refresh, client credentials and device code (RFC 8628). [`Graph`] does with
//! a token what a domain, a user, a licence and a number need. [`OpenId`] tells who somebody is, at Microsoft or at another
//! OpenID provider. [`Teams`] reaches what Microsoft offers to PowerShell only.
//! Whatever goes wrong is one [`MicrosoftError`] with one of a closed set of [`Fault`]s, so that reactions are complete.
//!
//! Where the services are is configuration, every answer has an end in bytes and time, and secrets are in no message.

mod config;
mod error;
mod graph;
mod http;
mod id_token;
mod login;
mod numbers;
mod openid;
mod teams;
mod telephony;

pub use config::{Config, ConfigError, Roots};
pub use error::{Fault, MicrosoftError, Reaction};
pub use graph::{Domain, Graph, LicenseState, NewUser, Sku, User};
pub use id_token::{Person, TokenFault};
pub use login::{Authorize, DeviceCode, DevicePoll, Identity, Login, Pkce, Tokens};
pub use numbers::{NumberChange, NumberOutcome, WantedNumber, WantedNumbers};
pub use openid::{Errand, OpenId, OpenIdConfig, OpenIdError};
pub use teams::{Teams, VoiceRoute};
pub use telephony::{NumberAssignment, Operation, OperationNumber, OperationState};

use http::Http;
use std::sync::Arc;

/// The code of a consent that is for one person only.
pub const CONSENT_INCOMPLETE: &str = "consent_incomplete";

/// How far a tenant has consented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Our application is not known there.
    None,
    /// Somebody did for themselves.
    Partly,
    /// The whole organisation did to what we do for somebody who has signed in, and not to what we do by ourselves.
    SignedInOnly,
    /// The whole organisation did.
    Whole,
}

impl Consent {
    /// What is missing, as a code and in words.
    pub fn missing(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Whole => None,
            Self::None => Some((
                "consent_required",
                "the application is not known in the tenant",
            )),
            Self::Partly => Some((
                CONSENT_INCOMPLETE,
                "the consent is not for the whole organisation: \"Consent on behalf of your organization\" was not ticked",
            )),
            Self::SignedInOnly => Some((
                "application_consent_required",
                "the permissions of the application itself have not been granted yet",
            )),
        }
    }
}

/// What a tenant is to consent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permissions {
    /// What we do for somebody who has signed in.
    Delegated,
    /// What we do by ourselves.
    Application,
    /// The first, and then the second.
    Both,
}

/// The services, from one configuration. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Microsoft {
    config: Arc<Config>,
    http: Http,
}

impl Microsoft {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let http = Http::new(&config.roots, config.timeout)?;
        Ok(Self {
            config: Arc::new(config),
            http,
        })
    }

    /// How it is configured.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Sign-in.
    pub fn login(&self) -> Login<'_> {
        Login::new(self)
    }

    /// The directory of the tenant that a token is for.
    pub fn graph<'a>(&'a self, token: &'a crate::directory::Secret) -> Graph<'a> {
        Graph::new(self, token)
    }

    /// How far the tenant of this token has consented to these permissions of our application.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn consent(
        &self,
        token: &crate::directory::Secret,
        permissions: Permissions,
    ) -> Result<Consent, MicrosoftError> {
        let graph = self.graph(token);
        let Some(principal) = graph.service_principal(&self.config.client_id).await? else {
            return Ok(Consent::None);
        };
        let delegated = permissions != Permissions::Application;
        if delegated && !graph.is_granted_for_all(&principal).await? {
            return Ok(Consent::Partly);
        }
        let application = permissions != Permissions::Delegated;
        if application && !graph.has_application_roles(&principal).await? {
            return Ok(match delegated {
                true => Consent::SignedInOnly,
                false => Consent::Partly,
            });
        }
        Ok(Consent::Whole)
    }

    /// What is behind PowerShell; none if nothing is configured that does it.
    pub fn teams(&self) -> Option<Teams<'_>> {
        Teams::new(self)
    }
}
