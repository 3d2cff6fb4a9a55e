//! What a customer's administrator and the program do together before a service is upgraded: a sign-in at another device
//! (RFC 8628), the consent of the organisation, then the upgrade itself.
//!
//! The sign-in is polled here, whoever looks at the page or does not. What was found out goes into the store together with
//! the state that follows. No call waits for any of it.

mod sign_in;
mod upgrade;

pub use sign_in::{Answer, Asked};
pub use upgrade::Upgrade;

use crate::directory::Secret;
use crate::microsoft::{Fault, Login, Microsoft, MicrosoftError, Reaction};
use crate::net::clock::Clock;
use crate::provisioning::activation::Failure;
use crate::store::{Store, StoreError, activations};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

/// Sign-ins that are polled at once.
const AT_ONCE: u32 = 8;
/// Upgrades that are carried out at once.
const UPGRADES: usize = 4;
/// The longest sleep, in case that somebody else wrote to the database.
const LONGEST: Duration = Duration::from_secs(30);
/// Between two tries when the database does not answer.
const RECOVERY: Duration = Duration::from_secs(5);

/// Carries sign-ins and upgrades on. Clones share everything.
#[derive(Debug, Clone)]
pub struct Onboarding(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    microsoft: Option<Microsoft>,
    clock: Clock,
    wake: Notify,
    upgrades: Semaphore,
}

/// Why something of it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum OnboardingError {
    /// No application is configured at Microsoft.
    #[error("no application is configured")]
    Unavailable,
    /// Nobody has told which tenant the customer has.
    #[error("the customer's tenant_name is not known")]
    TenantMissing,
    /// Nobody has signed in for the customer.
    #[error("nobody has signed in")]
    NotSignedIn,
    /// The invitation does not lead there any more.
    #[error("the invitation is over")]
    Over,
    /// Microsoft says no, or nothing.
    #[error("{0}")]
    Microsoft(#[from] MicrosoftError),
    /// The database.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Onboarding {
    /// Of this store, with Microsoft if an application is configured there.
    pub fn new(store: Store, microsoft: Option<Microsoft>, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            store,
            microsoft: microsoft.filter(|microsoft| !microsoft.config().client_id.is_empty()),
            clock,
            wake: Notify::new(),
            upgrades: Semaphore::new(UPGRADES),
        }))
    }

    /// What time it is.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    fn microsoft(&self) -> Result<&Microsoft, OnboardingError> {
        let microsoft = self.0.microsoft.as_ref();
        microsoft.ok_or(OnboardingError::Unavailable)
    }

    /// The tenant that a customer has, looked up if that was not done before.
    async fn tenant(&self, customer: Uuid) -> Result<Uuid, OnboardingError> {
        let known = {
            let mut connection = self.0.store.read().await?;
            activations::tenant(&mut connection, customer).await?
        };
        if let Some(id) = known.id {
            return Ok(id);
        }
        let name = known.name.ok_or(OnboardingError::TenantMissing)?;
        let id = self.microsoft()?.login().tenant(&name).await?;
        let mut change = self.0.store.rows().await?;
        activations::set_tenant(&mut change, customer, id).await?;
        change.keep().await?;
        Ok(id)
    }

    /// Access to a customer's tenant in the name of who signed in for it: the tenant, and a token for Graph.
    ///
    /// # Errors
    /// [`OnboardingError`].
    pub async fn access(&self, customer: Uuid) -> Result<(Uuid, Secret), OnboardingError> {
        let _turn = self.0.store.renewal(customer).await;
        let refresh = self.0.store.tenant_token(customer).await?;
        let refresh = refresh.ok_or(OnboardingError::NotSignedIn)?;
        let tenant = self.tenant(customer).await?;
        let tokens = self
            .microsoft()?
            .login()
            .by_refresh(&tenant.to_string(), &refresh, Login::GRAPH_SCOPE)
            .await?;
        // The old one may have been good once only.
        if let Some(new) = tokens.refresh {
            let at = self.0.clock.now();
            activations::renew_token(&self.0.store, customer, &refresh, &new, at).await?;
        }
        Ok((tenant, tokens.access))
    }

    /// Whether what we keep of a customer's sign-in still counts: its tenant.
    ///
    /// # Errors
    /// [`OnboardingError::Microsoft`] with [`Fault::TokenInvalid`] if it does not; and whatever else goes wrong.
    pub async fn validate(&self, customer: Uuid) -> Result<Uuid, OnboardingError> {
        Ok(self.access(customer).await?.0)
    }
}

impl OnboardingError {
    /// For programs; stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable => "automatic_unavailable",
            Self::TenantMissing => "tenant_missing",
            Self::NotSignedIn => "not_signed_in",
            Self::Over => "invitation_over",
            Self::Microsoft(error) => error.fault.name(),
            Self::Store(_) => "database",
        }
    }

    /// Whether the same may succeed another time without anybody's doing.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Microsoft(error) => error.fault.reaction() == Reaction::Retry,
            Self::Store(_) => true,
            _ => false,
        }
    }

    /// Whether somebody has to sign in anew.
    pub fn needs_sign_in(&self) -> bool {
        match self {
            Self::NotSignedIn => true,
            Self::Microsoft(error) => error.fault == Fault::TokenInvalid,
            _ => false,
        }
    }

    /// As it is kept.
    fn failure(&self) -> Failure {
        match self {
            Self::Microsoft(error) => Failure {
                code: error.fault.name().to_owned(),
                detail: error.detail.clone(),
                microsoft_request_id: error.request_id.clone(),
            },
            other => Failure::new(other.code(), other.to_string()),
        }
    }
}
