//! From the link in a letter to the consent of an organisation.

use super::{AT_ONCE, LONGEST, Onboarding, OnboardingError, RECOVERY};
use crate::microsoft::{Consent, DevicePoll, Fault, Identity, Login, Permissions, Tokens};
use crate::provisioning::activation::Failure;
use crate::provisioning::{InvitationEvent, InvitationState, QUESTION_LASTS, ServiceState};
use crate::store::invitations::{self, DeviceSignIn};
use crate::store::{Change, InvitationRecord, StoreError, activations, events, services};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// The least pause between two polls, whatever the other side says (RFC 8628 §3.5).
const LEAST_INTERVAL_S: u32 = 5;
/// The longest time that a code is polled.
const LONGEST_CODE: Duration = Duration::hours(1);

/// What becomes of a question about consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The organisation has consented.
    Complete,
    /// It has not: the page where an administrator does.
    ConsentUrl(String),
}

/// What Microsoft's page of consent sends an administrator back with.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Why there is no consent.
    pub error: Option<(&'a str, &'a str)>,
    /// The tenant that consented.
    pub tenant: Option<Uuid>,
}

impl Onboarding {
    /// Begins the sign-in of an invitation, or shows the one that has begun.
    ///
    /// # Errors
    /// [`OnboardingError`].
    pub async fn start(
        &self,
        invitation: &InvitationRecord,
    ) -> Result<DeviceSignIn, OnboardingError> {
        let now = self.0.clock.now();
        let begun = {
            let mut connection = self.0.store.read().await?;
            invitations::sign_in(&mut connection, self.0.store.keys(), invitation.id).await?
        };
        if let Some(begun) = begun.filter(|begun| begun.expires_at > now) {
            return Ok(begun);
        }
        let tenant = self.tenant(invitation.customer_id).await?;
        let login = self.microsoft()?.login();
        let code = login
            .device_code(&tenant.to_string(), Login::GRAPH_SCOPE)
            .await?;
        let lasts = i64::try_from(code.expires_in).map_or(LONGEST_CODE, Duration::seconds);
        let interval_s = u32::try_from(code.interval).unwrap_or(u32::MAX);
        let interval_s = interval_s.clamp(LEAST_INTERVAL_S, 300);
        let device = DeviceSignIn {
            invitation_id: invitation.id,
            device_code: code.device_code,
            user_code: code.user_code,
            verification_uri: code.verification_uri,
            interval_s,
            due_at: now + Duration::seconds(interval_s.into()),
            expires_at: now + lasts.min(LONGEST_CODE),
        };
        let mut change = self.0.store.rows().await?;
        self.step(&mut change, invitation.id, InvitationEvent::Opened, None)
            .await?
            .ok_or(OnboardingError::Over)?;
        invitations::begin_sign_in(&mut change, &device).await?;
        change.keep().await?;
        self.0.wake.notify_one();
        Ok(device)
    }

    /// Somebody looks at an invitation's page.
    ///
    /// # Errors
    /// The database.
    pub async fn opened(&self, invitation: &InvitationRecord) -> Result<(), StoreError> {
        if invitation.state != InvitationState::Created {
            return Ok(());
        }
        let mut change = self.0.store.rows().await?;
        self.step(&mut change, invitation.id, InvitationEvent::Opened, None)
            .await?;
        change.keep().await
    }

    /// Notes an event of an invitation, as it stands now; none where it means nothing any more.
    pub(super) async fn step(
        &self,
        change: &mut Change,
        id: Uuid,
        event: InvitationEvent,
        failure: Option<&Failure>,
    ) -> Result<Option<InvitationRecord>, StoreError> {
        let now = self.0.clock.now();
        let Some(found) = invitations::find(change, id, now).await? else {
            return Ok(None);
        };
        let Some(state) = found.state.on(event) else {
            return Ok(None);
        };
        if state == found.state && found.failure.as_ref() == failure {
            return Ok(Some(found));
        }
        invitations::set_state(change, id, state, failure).await?;
        let detail = json!({ "invitation": id, "state": state, "error": failure });
        events::insert(
            change,
            now,
            "invitation.changed",
            found.customer_id,
            &detail,
        )
        .await?;
        if state == InvitationState::AuthenticationComplete
            && let Some(which) = found.service_id
        {
            let service = services::find(change, found.customer_id, which).await?;
            let waits = |state| {
                matches!(
                    state,
                    ServiceState::Lead
                        | ServiceState::Onboarding
                        | ServiceState::AwaitingAuthentication
                )
            };
            if service.is_some_and(|service| waits(service.state)) {
                services::set_state(change, which, ServiceState::ReadyToUpgrade).await?;
            }
        }
        Ok(Some(InvitationRecord { state, ..found }))
    }

    /// Polls sign-ins for ever.
    pub async fn run(self) {
        loop {
            let next = match self.poll_due().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "sign-ins wait for the database");
                    tokio::time::sleep(RECOVERY).await;
                    continue;
                }
            };
            let far = self.0.clock.now() + LONGEST;
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = self.0.clock.until(next.unwrap_or(far).min(far)) => {}
            }
        }
    }

    async fn poll_due(&self) -> Result<Option<OffsetDateTime>, StoreError> {
        let (store, now) = (&self.0.store, self.0.clock.now());
        let due = {
            let mut connection = store.read().await?;
            invitations::due_sign_ins(&mut connection, store.keys(), now, AT_ONCE).await?
        };
        let mut polls = tokio::task::JoinSet::new();
        for device in due {
            let onboarding = self.clone();
            polls.spawn(async move { onboarding.poll(device).await });
        }
        while let Some(polled) = polls.join_next().await {
            match polled {
                Ok(polled) => polled?,
                Err(error) => tracing::error!(%error, "a sign-in could not be polled"),
            }
        }
        invitations::next_poll(&mut *store.read().await?).await
    }

    /// Asks once whether somebody has signed in.
    async fn poll(&self, device: DeviceSignIn) -> Result<(), StoreError> {
        let (id, now) = (device.invitation_id, self.0.clock.now());
        let found = invitations::find(&mut *self.0.store.read().await?, id, now).await?;
        let Some(invitation) = found.filter(|found| found.state.is_open()) else {
            return self.end(id, None).await;
        };
        let polled = match self.ask_once(&invitation, &device).await {
            Ok(polled) => polled,
            Err(error) if error.is_passing() && now < device.expires_at => DevicePoll::Pending,
            Err(error) => return self.end(id, Some(&error.failure())).await,
        };
        let interval_s = match polled {
            DevicePoll::Done(tokens) => return self.signed_in(&invitation, tokens).await,
            DevicePoll::Declined => {
                let why = Failure::new("sign_in_declined", "the administrator declined");
                return self.end(id, Some(&why)).await;
            }
            DevicePoll::Pending if now < device.expires_at => device.interval_s,
            DevicePoll::SlowDown if now < device.expires_at => device.interval_s + 5,
            DevicePoll::Expired | DevicePoll::Pending | DevicePoll::SlowDown => {
                let why = Failure::new("sign_in_expired", "nobody typed the code in time");
                return self.end(id, Some(&why)).await;
            }
        };
        let mut change = self.0.store.rows().await?;
        let due = now + Duration::seconds(interval_s.into());
        invitations::poll_later(&mut change, &device, interval_s, due).await?;
        change.keep().await
    }

    async fn ask_once(
        &self,
        invitation: &InvitationRecord,
        device: &DeviceSignIn,
    ) -> Result<DevicePoll, OnboardingError> {
        let tenant = self.tenant(invitation.customer_id).await?.to_string();
        let login = self.microsoft()?.login();
        Ok(login.poll_device(&tenant, &device.device_code).await?)
    }

    /// A sign-in is over without success; the next one can begin.
    async fn end(&self, id: Uuid, why: Option<&Failure>) -> Result<(), StoreError> {
        let mut change = self.0.store.rows().await?;
        invitations::end_sign_in(&mut change, id).await?;
        if why.is_some() {
            self.step(&mut change, id, InvitationEvent::Opened, why)
                .await?;
        }
        change.keep().await
    }

    /// Somebody has signed in: whether it counts, and whether their organisation has consented before.
    async fn signed_in(
        &self,
        invitation: &InvitationRecord,
        tokens: Tokens,
    ) -> Result<(), StoreError> {
        let (id, customer) = (invitation.id, invitation.customer_id);
        let tenant = activations::tenant(&mut *self.0.store.read().await?, customer).await?;
        let admin = invitation.invitee.admin_email.as_deref();
        if let Some(why) = refused(tokens.identity.as_ref(), tenant.id, admin) {
            return self.end(id, Some(&why)).await;
        }
        let mut change = self.0.store.rows().await?;
        invitations::end_sign_in(&mut change, id).await?;
        let now = self.0.clock.now();
        activations::keep_token(&mut change, customer, tokens.refresh.as_ref(), now).await?;
        self.step(&mut change, id, InvitationEvent::SignedIn, None)
            .await?;
        change.keep().await?;
        // Only the first connection to a tenant needs its consent.
        match self.look_for_consent(invitation).await {
            // What the administrator can mend by signing in again, with the box ticked.
            Ok((Consent::Partly, why)) => {
                let mut change = self.0.store.rows().await?;
                self.step(&mut change, id, InvitationEvent::Opened, why.as_ref())
                    .await?;
                change.keep().await?;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::info!(%error, invitation = %id, "whether the tenant has consented is asked again");
            }
        }
        Ok(())
    }

    /// Looks at Microsoft how far the organisation has consented and what is missing, and notes it if nothing is. Who
    /// registers consents in two rounds, for a service the first one is enough.
    async fn look_for_consent(
        &self,
        invitation: &InvitationRecord,
    ) -> Result<(Consent, Option<Failure>), OnboardingError> {
        let permissions = match invitation.service_id {
            Some(_) => Permissions::Delegated,
            None => Permissions::Both,
        };
        let (_, access) = self.access(invitation.customer_id).await?;
        let consent = match self.microsoft()?.consent(&access, permissions).await {
            // Before there is any consent nobody may even look for it.
            Err(error) if error.fault == Fault::Forbidden => Consent::None,
            consent => consent?,
        };
        let missing = consent
            .missing()
            .map(|(code, detail)| Failure::new(code, detail));
        if missing.is_none() {
            let mut change = self.0.store.rows().await?;
            self.step(&mut change, invitation.id, InvitationEvent::Consented, None)
                .await?;
            change.keep().await?;
        }
        Ok((consent, missing))
    }

    /// Goes on after the sign-in: nothing to do any more, or the page where the organisation consents.
    ///
    /// # Errors
    /// [`OnboardingError`].
    pub async fn go_on(&self, invitation: &InvitationRecord) -> Result<Asked, OnboardingError> {
        let (id, customer) = (invitation.id, invitation.customer_id);
        match invitation.state {
            InvitationState::AuthenticationComplete => return Ok(Asked::Complete),
            InvitationState::TokenAcquired => {}
            state if state.is_open() => return Err(OnboardingError::NotSignedIn),
            _ => return Err(OnboardingError::Over),
        }
        if self.look_for_consent(invitation).await?.1.is_none() {
            return Ok(Asked::Complete);
        }
        let tenant = self.tenant(customer).await?.to_string();
        let state = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let microsoft = self.microsoft()?;
        let redirect_uri = &microsoft.config().redirect_uri;
        let url = microsoft
            .login()
            .admin_consent_url(&tenant, redirect_uri, &state)?;
        let hash: [u8; 32] = Sha256::digest(&state).into();
        let mut change = self.0.store.rows().await?;
        let expires = self.0.clock.now() + QUESTION_LASTS;
        invitations::ask(&mut change, id, &hash, expires).await?;
        change.keep().await?;
        Ok(Asked::ConsentUrl(url))
    }

    /// Takes what Microsoft's page of consent sent somebody back with; none if there is no such question.
    ///
    /// # Errors
    /// [`OnboardingError`].
    pub async fn answered(
        &self,
        state_hash: &[u8; 32],
        answer: Answer<'_>,
    ) -> Result<Option<InvitationRecord>, OnboardingError> {
        let now = self.0.clock.now();
        if !invitations::is_asked(&mut *self.0.store.read().await?, state_hash).await? {
            return Ok(None);
        }
        let mut change = self.0.store.rows().await?;
        // Once, whatever comes of it.
        let id = invitations::answer(&mut change, state_hash, now).await?;
        change.keep().await?;
        let Some(id) = id else { return Ok(None) };
        let found = invitations::find(&mut *self.0.store.read().await?, id, now).await?;
        let Some(invitation) = found else {
            return Ok(None);
        };
        let why = match self.judge(&invitation, answer).await {
            Ok(why) => why,
            Err(error) => Some(error.failure()),
        };
        if why.is_some() {
            let mut change = self.0.store.rows().await?;
            self.step(&mut change, id, InvitationEvent::Opened, why.as_ref())
                .await?;
            change.keep().await?;
        }
        Ok(invitations::find(&mut *self.0.store.read().await?, id, now).await?)
    }

    /// Why an answer is no consent of the whole organisation. An administrator who declines comes back with
    /// `admin_consent=True` all the same, so the error comes first.
    async fn judge(
        &self,
        invitation: &InvitationRecord,
        answer: Answer<'_>,
    ) -> Result<Option<Failure>, OnboardingError> {
        if let Some((error, description)) = answer.error {
            let error = crate::microsoft::MicrosoftError::of_login(error, description);
            return Ok(Some(OnboardingError::from(error).failure()));
        }
        let expected = self.tenant(invitation.customer_id).await?;
        if answer.tenant != Some(expected) {
            return Ok(Some(other_tenant()));
        }
        Ok(self.look_for_consent(invitation).await?.1)
    }
}

fn other_tenant() -> Failure {
    let detail = "another tenant than the customer's answered";
    Failure::new("tenant_mismatch", detail)
}

/// Why a sign-in does not count: the most likely mistake is another account of the same browser.
fn refused(
    identity: Option<&Identity>,
    expected: Option<Uuid>,
    admin: Option<&str>,
) -> Option<Failure> {
    let Some(identity) = identity.filter(|identity| Some(identity.tenant_id) == expected) else {
        return Some(other_tenant());
    };
    if identity.global_administrator == Some(false) {
        let detail = "who signed in is no Global Administrator";
        return Some(Failure::new("not_global_admin", detail));
    }
    let is_other = |wanted: &str| {
        !identity
            .upn
            .as_deref()
            .is_some_and(|upn| upn.eq_ignore_ascii_case(wanted))
    };
    admin.filter(|admin| is_other(admin)).map(|_| {
        let detail = "another account than the invited one signed in";
        Failure::new("wrong_account", detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only an administrator of the customer's own tenant counts, and only the invited one if one was named.
    #[test]
    fn who_signs_in_must_be_the_one_who_was_asked() {
        let (ours, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let identity = Identity {
            tenant_id: ours,
            object_id: None,
            upn: Some("Admin@contoso.example".into()),
            global_administrator: Some(true),
        };
        let code = |identity: Option<&Identity>, expected, admin| {
            refused(identity, expected, admin).map(|failure| failure.code)
        };
        assert_eq!(code(Some(&identity), Some(ours), None), None);
        let named = Some("admin@contoso.example");
        assert_eq!(code(Some(&identity), Some(ours), named), None);
        let mismatch = Some("tenant_mismatch".to_owned());
        assert_eq!(code(Some(&identity), Some(other), None), mismatch);
        assert_eq!(code(Some(&identity), None, None), mismatch);
        assert_eq!(code(None, Some(ours), None), mismatch);
        let wrong = code(Some(&identity), Some(ours), Some("jo@contoso.example"));
        assert_eq!(wrong.as_deref(), Some("wrong_account"));
        let user = Identity {
            global_administrator: Some(false),
            ..identity
        };
        let user = code(Some(&user), Some(ours), None);
        assert_eq!(user.as_deref(), Some("not_global_admin"));
    }
}
