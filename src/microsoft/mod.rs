//! Microsoft as a client of ours sees it: sign-in and consent, the directory behind Graph, telephony.
//!
//! [`Login`] speaks to the sign-in service: which tenant a name belongs to, where an administrator is sent for consent,
//! tokens by code (RFC 6749 §4.1 with RFC 7636), refresh, client credentials and device code (RFC 8628). [`Graph`] does with
//! a token what a domain, a user, a licence and a number need. [`Teams`] reaches what Microsoft offers to PowerShell only.
//! Whatever goes wrong is one [`MicrosoftError`] with one of a closed set of [`Fault`]s, so that reactions are complete.
//!
//! Where the services are is configuration, every answer has an end in bytes and time, and secrets are in no message.

mod config;
mod error;
mod graph;
mod http;
mod login;
mod teams;
mod telephony;

pub use config::{Config, ConfigError, Roots};
pub use error::{Fault, MicrosoftError, Reaction};
pub use graph::{Domain, Graph, LicenseState, NewUser, Sku, User};
pub use login::{Authorize, DeviceCode, DevicePoll, Identity, Login, Pkce, Tokens};
pub use teams::{Teams, VoiceRoute};
pub use telephony::{NumberAssignment, Operation, OperationNumber, OperationState};

use http::Http;
use std::sync::Arc;

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
        let http = Http::new(&config)?;
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

    /// What is behind PowerShell; none if nothing is configured that does it.
    pub fn teams(&self) -> Option<Teams<'_>> {
        Teams::new(self)
    }
}
