//! The upgrade of a service: all of it, or nothing.

use super::{Onboarding, OnboardingError};
use crate::provisioning::{InvitationEvent, ServiceState};
use crate::store::{
    Password, ServiceSettings, StoreError, TaskState, TrunkSettings, events, invitations, services,
    tasks, trunks, upgrades,
};
use serde_json::json;
use uuid::Uuid;

/// What is to be upgraded.
#[derive(Debug, Clone, Copy)]
pub struct Upgrade {
    /// Whose.
    pub customer: Uuid,
    /// Which.
    pub service: Uuid,
    /// The task that tells how far it is.
    pub task: Uuid,
}

impl Onboarding {
    /// Carries an upgrade out that was noted as begun; goes on whether or not somebody waits for it.
    pub fn upgrade(&self, upgrade: Upgrade) {
        let onboarding = self.clone();
        tokio::spawn(async move {
            let Ok(_turn) = onboarding.0.upgrades.acquire().await else {
                return;
            };
            let Err(error) = onboarding.carry_out(upgrade).await else {
                return;
            };
            tracing::warn!(%error, service = %upgrade.service, "an upgrade failed");
            if let Err(error) = onboarding.give_up(upgrade, &error).await {
                tracing::error!(%error, service = %upgrade.service, "the failure of an upgrade could not be kept");
            }
        });
    }

    async fn carry_out(&self, upgrade: Upgrade) -> Result<(), OnboardingError> {
        let Upgrade {
            customer,
            service,
            task,
        } = upgrade;
        let mut rows = self.0.store.rows().await?;
        if !tasks::start(&mut rows, task).await? {
            services::set_state(&mut rows, service, ServiceState::ReadyToUpgrade).await?;
            rows.keep().await?;
            return Ok(());
        }
        rows.keep().await?;
        // Somebody may have taken the consent back since.
        self.validate(customer).await?;

        let mut change = self.0.store.change().await?;
        let found = services::find(&mut change, customer, service).await?;
        let draft = upgrades::find(&mut change, service).await?;
        let (Some(found), Some(draft)) = (found, draft) else {
            return Err(StoreError::from(sqlx::Error::RowNotFound).into());
        };
        let keys = change.keys();
        let password = upgrades::password(&mut change, &keys, service).await?;
        let settings = TrunkSettings {
            service_id: Some(service),
            password: password.map_or(Password::Keep, Password::Set),
            ..draft.draft.connection
        };
        let trunk = trunks::insert(&mut change, Some(customer), &settings).await?;
        let settings = ServiceSettings {
            license_type: draft.draft.license_type,
            licensed_users: draft.draft.licensed_users,
            ..found.settings
        };
        services::update(&mut change, customer, service, &settings).await?;
        services::set_state(&mut change, service, ServiceState::Deployed).await?;
        upgrades::forget_password(&mut change, service).await?;
        let result = json!({ "service_id": service, "trunk_id": trunk.id, "license_type": settings.license_type });
        tasks::finish(&mut change, task, TaskState::Succeeded, Some(&result), &[]).await?;
        let now = self.0.clock.now();
        events::insert(&mut change, now, "service.upgraded", customer, &result).await?;
        change.publish_for(&[customer]).await?;
        Ok(())
    }

    /// Everything stays as it was; without a sign-in that counts there has to be another one first.
    async fn give_up(&self, upgrade: Upgrade, error: &OnboardingError) -> Result<(), StoreError> {
        let state = match error.needs_sign_in() {
            true => ServiceState::AwaitingAuthentication,
            false => ServiceState::ReadyToUpgrade,
        };
        let result = json!({ "error": { "code": error.code(), "detail": error.to_string() } });
        let now = self.0.clock.now();
        let mut rows = self.0.store.rows().await?;
        services::set_state(&mut rows, upgrade.service, state).await?;
        if error.needs_sign_in()
            && let Some(last) = invitations::of_service(&mut rows, upgrade.service, now).await?
        {
            let why = error.failure();
            self.step(&mut rows, last.id, InvitationEvent::TokenLost, Some(&why))
                .await?;
            let detail = json!({ "code": error.code() });
            let lost = "tenant.token_invalid";
            events::insert(&mut rows, now, lost, upgrade.customer, &detail).await?;
        }
        tasks::finish(
            &mut rows,
            upgrade.task,
            TaskState::Failed,
            Some(&result),
            &[],
        )
        .await?;
        events::insert(
            &mut rows,
            now,
            "service.upgrade_failed",
            upgrade.customer,
            &result,
        )
        .await?;
        rows.keep().await
    }
}
