use crate::microsoft::{Microsoft, WantedNumbers};
use crate::onboarding::{Onboarding, OnboardingError};
use crate::sync::{PushError, Pushing, TeamsTenants};
use std::sync::Arc;
use tokio::time::Instant;
use uuid::Uuid;

/// Tenants of customers for which somebody has signed in.
#[derive(Debug)]
struct SignedIn {
    onboarding: Onboarding,
    microsoft: Microsoft,
}

/// Where an application is configured at Microsoft.
pub(super) fn open(
    onboarding: &Onboarding,
    microsoft: Option<&Microsoft>,
) -> Option<Arc<dyn TeamsTenants>> {
    let microsoft = microsoft.filter(|microsoft| !microsoft.config().client_id.is_empty())?;
    Some(Arc::new(SignedIn {
        onboarding: onboarding.clone(),
        microsoft: microsoft.clone(),
    }))
}

impl TeamsTenants for SignedIn {
    fn set_numbers<'a>(
        &'a self,
        customer: Uuid,
        numbers: &'a WantedNumbers,
        deadline: Instant,
    ) -> Pushing<'a> {
        Box::pin(async move {
            let (_, token) = self.onboarding.access(customer).await?;
            let graph = self.microsoft.graph(&token);
            let done = graph.set_numbers(numbers, deadline).await;
            Ok(done.map_err(OnboardingError::from)?)
        })
    }
}

impl From<OnboardingError> for PushError {
    fn from(error: OnboardingError) -> Self {
        if error.needs_sign_in() {
            return Self::NotSignedIn;
        }
        Self::Failed {
            code: error.code(),
            detail: match error {
                OnboardingError::Microsoft(error) => error.detail,
                other => other.to_string(),
            },
        }
    }
}
