//! The steps themselves. Each looks first whether its work was done before.

use time::OffsetDateTime;
use uuid::Uuid;

use super::Runner;
use crate::directory::{GatewayState, Secret};
use crate::microsoft::{
    Fault, Graph, Login, Microsoft, MicrosoftError, NewUser, Permissions, Reaction, VoiceRoute,
};
use crate::net::zone::ZoneError;
use crate::provisioning::activation::{Event, Failure, Method, State, Step};
use crate::store::activations::{self, ActivationRecord};
use crate::store::{GatewayProgress, StoreError, customers, gateways, regions};

/// What a step found out.
pub(super) struct Found {
    pub event: Event,
    pub gateways: Vec<GatewayProgress>,
}

/// Why a step is not done.
enum Trouble {
    Microsoft(MicrosoftError),
    Zone(ZoneError),
    /// With the event that follows.
    Other(Event),
}

impl From<MicrosoftError> for Trouble {
    fn from(error: MicrosoftError) -> Self {
        Self::Microsoft(error)
    }
}

impl From<ZoneError> for Trouble {
    fn from(error: ZoneError) -> Self {
        Self::Zone(error)
    }
}

/// All that a step works with.
struct Job<'a> {
    runner: &'a Runner,
    record: &'a ActivationRecord,
    account: String,
    tenant: Option<Uuid>,
    tenant_name: Option<String>,
    gateways: Vec<Gateway>,
    refresh: Option<Secret>,
    now: OffsetDateTime,
}

/// A gateway, and what becomes of it.
struct Gateway {
    fqdn: String,
    base: String,
    progress: GatewayProgress,
    before: GatewayProgress,
}

impl Runner {
    /// Does the step that an activation is at.
    pub(super) async fn step(&self, record: &ActivationRecord) -> Result<Found, StoreError> {
        let mut job = self.job(record).await?;
        let event = match job.work().await {
            Ok(event) => event,
            Err(trouble) => job.event_of(trouble),
        };
        let changed = job
            .gateways
            .into_iter()
            .filter(|gateway| gateway.progress != gateway.before);
        Ok(Found {
            event,
            gateways: changed.map(|gateway| gateway.progress).collect(),
        })
    }

    async fn job<'a>(&'a self, record: &'a ActivationRecord) -> Result<Job<'a>, StoreError> {
        let customer = record.customer_id;
        let refresh = self.store.tenant_token(customer).await?;
        let mut connection = self.store.read().await?;
        let account = customers::find(&mut connection, customer)
            .await?
            .map(|found| found.settings.account_id);
        let tenant = activations::tenant(&mut connection, customer).await?;
        let mut known = Vec::new();
        for gateway in gateways::of_customer(&mut connection, customer).await? {
            if gateway.settings.state == GatewayState::Disabled {
                continue;
            }
            let region = regions::find(&mut connection, &gateway.settings.region).await?;
            let progress = GatewayProgress::from(&gateway);
            known.push(Gateway {
                fqdn: gateway.fqdn,
                base: region
                    .map(|region| region.settings.base_fqdn)
                    .unwrap_or_default(),
                before: progress.clone(),
                progress,
            });
        }
        Ok(Job {
            runner: self,
            record,
            account: account.unwrap_or_default(),
            tenant: tenant.id,
            tenant_name: tenant.name,
            gateways: known,
            refresh,
            now: self.clock.now(),
        })
    }
}

impl Job<'_> {
    async fn work(&mut self) -> Result<Event, Trouble> {
        let step = match &self.record.state {
            State::Running(work) => work.step,
            State::Active(_) | State::Degraded(..) => return self.check().await,
            State::Inactive(_) | State::ConsentIncomplete(_) | State::Failed(..) => {
                return Ok(Event::Healthy);
            }
        };
        match step {
            Step::ConsentPending => Ok(Event::Expired),
            Step::ConsentCheck => self.consent_check().await,
            Step::DomainsCreated => self.domains_created().await,
            Step::DnsPublishing => self.dns_publishing().await,
            Step::Verifying => self.verifying().await,
            Step::ActivationUser => self.activation_user().await,
            Step::LicenseAssigned => self.license_assigned().await,
            Step::WaitingPropagation => self.waiting_propagation().await,
            Step::VoiceRoute => self.voice_route().await,
            Step::Test => self.test().await,
            Step::AwaitingAdminCenter => self.awaiting_admin_center().await,
            Step::Withdrawing => self.withdrawing().await,
        }
    }

    async fn consent_check(&mut self) -> Result<Event, Trouble> {
        let microsoft = self.microsoft()?;
        let permissions = match self.refresh {
            Some(_) => Permissions::Delegated,
            None => Permissions::Application,
        };
        let token = self.token().await?;
        let consent = microsoft.consent(&token, permissions).await?;
        Ok(match consent.missing() {
            None => Event::Done,
            Some((code, detail)) => Event::NotConsented(Failure::new(code, detail)),
        })
    }

    async fn domains_created(&mut self) -> Result<Event, Trouble> {
        let microsoft = self.microsoft()?;
        let token = self.token().await?;
        let graph = microsoft.graph(&token);
        for gateway in &mut self.gateways {
            if graph.domain(&gateway.fqdn).await?.is_none() {
                match graph.create_domain(&gateway.fqdn).await {
                    Err(error) if error.fault != Fault::AlreadyExists => {
                        return Err(gateway.refused(error));
                    }
                    _ => {}
                }
            }
            let Some(text) = graph.verification_text(&gateway.fqdn).await? else {
                let why = format!("Microsoft tells no text for {}", gateway.fqdn);
                return Ok(Event::NotYet(
                    Failure::new("no_verification_code", why),
                    None,
                ));
            };
            gateway.progress.verification_code = Some(text);
        }
        Ok(Event::Done)
    }

    async fn dns_publishing(&mut self) -> Result<Event, Trouble> {
        let zones = &self.runner.zones;
        for gateway in self
            .gateways
            .iter_mut()
            .filter(|gateway| !gateway.is_known())
        {
            let Some(code) = gateway.progress.verification_code.clone() else {
                let why = format!("{} has no verification code", gateway.fqdn);
                return Ok(Event::Broken(Failure::new("codes_missing", why)));
            };
            if zones.shows(&gateway.fqdn, &code).await.is_err() {
                zones.publish(&gateway.fqdn, &code, &gateway.base).await?;
                zones.shows(&gateway.fqdn, &code).await?;
            }
            gateway.progress.state = GatewayState::DnsPublished;
            gateway.progress.dns_published_at.get_or_insert(self.now);
            gateway.progress.error = None;
        }
        Ok(Event::Done)
    }

    async fn verifying(&mut self) -> Result<Event, Trouble> {
        let microsoft = self.microsoft()?;
        let token = self.token().await?;
        let graph = microsoft.graph(&token);
        for gateway in self
            .gateways
            .iter_mut()
            .filter(|gateway| !gateway.is_known())
        {
            let known = graph
                .domain(&gateway.fqdn)
                .await?
                .is_some_and(|domain| domain.is_verified);
            if !known {
                let domain = graph
                    .verify_domain(&gateway.fqdn)
                    .await
                    .map_err(|error| gateway.refused(error))?;
                if !domain.is_verified {
                    let why = format!("Microsoft has not verified {} yet", gateway.fqdn);
                    return Ok(Event::NotYet(Failure::new("dns_not_seen", why), None));
                }
            }
            gateway.verified(self.now);
        }
        Ok(Event::Done)
    }

    async fn activation_user(&mut self) -> Result<Event, Trouble> {
        let microsoft = self.microsoft()?;
        let token = self.token().await?;
        let graph = microsoft.graph(&token);
        for gateway in &self.gateways {
            let upn = gateway.user();
            if graph.user(&upn).await?.is_some() {
                continue;
            }
            let new = NewUser {
                upn: &upn,
                display_name: "Gateway activation",
                usage_location: &self.runner.usage_location,
                password: password(),
            };
            match graph.create_user(&new).await {
                Err(error) if error.fault != Fault::AlreadyExists => return Err(error.into()),
                _ => {}
            }
        }
        Ok(Event::Done)
    }

    async fn license_assigned(&mut self) -> Result<Event, Trouble> {
        let microsoft = self.microsoft()?;
        let token = self.token().await?;
        let graph = microsoft.graph(&token);
        for gateway in &self.gateways {
            let Some(user) = graph.user(&gateway.user()).await? else {
                let why = format!("Microsoft does not show {} yet", gateway.user());
                return Ok(Event::NotYet(Failure::new("user_not_ready", why), None));
            };
            if user.license_assignment_states.is_empty() {
                give_license(&graph, user.id).await?;
            }
        }
        Ok(Event::Done)
    }

    async fn waiting_propagation(&mut self) -> Result<Event, Trouble> {
        let microsoft = self.microsoft()?;
        let token = self.token().await?;
        let graph = microsoft.graph(&token);
        for gateway in &self.gateways {
            let user = graph.user(&gateway.user()).await?;
            let states = user
                .map(|user| user.license_assignment_states)
                .unwrap_or_default();
            let errors = states.iter().filter_map(|state| state.error.as_deref());
            if let Some(error) = errors
                .clone()
                .find(|error| !error.eq_ignore_ascii_case("none"))
            {
                let code = if error == "CountViolation" {
                    "no_license_available"
                } else {
                    "license_refused"
                };
                let why = format!(
                    "Microsoft refuses the licence of {}: {error}",
                    gateway.user()
                );
                return Ok(Event::Broken(Failure::new(code, why)));
            }
            if !states
                .iter()
                .any(|state| state.state.eq_ignore_ascii_case("active"))
            {
                let why = format!("the licence of {} is not in use yet", gateway.user());
                return Ok(Event::NotYet(Failure::new("license_not_ready", why), None));
            }
        }
        Ok(Event::Done)
    }

    async fn voice_route(&mut self) -> Result<Event, Trouble> {
        let microsoft = self.microsoft()?;
        let Some(teams) = microsoft.teams() else {
            return Ok(Event::LeftToAdministrator);
        };
        let token = self.token().await?;
        let fqdns: Vec<String> = self
            .gateways
            .iter()
            .map(|gateway| gateway.fqdn.clone())
            .collect();
        let route = VoiceRoute {
            tenant_id: self.tenant.unwrap_or_default(),
            name: &self.account,
            gateways: &fqdns,
            number_pattern: ".*",
        };
        teams.set_voice_route(&route, &token).await?;
        Ok(Event::Done)
    }

    async fn test(&mut self) -> Result<Event, Trouble> {
        let microsoft = self.microsoft()?;
        let login = microsoft.login();
        for gateway in &mut self.gateways {
            let found = login.tenant(&gateway.fqdn).await;
            if let Some(event) = not_yet_known(&gateway.fqdn, self.tenant, found)? {
                return Ok(event);
            }
        }
        for gateway in &mut self.gateways {
            gateway.progress.state = GatewayState::Active;
            gateway.progress.error = None;
        }
        Ok(Event::Done)
    }

    async fn awaiting_admin_center(&mut self) -> Result<Event, Trouble> {
        self.look_for_domains().await?;
        let waiting = self.gateways.iter().filter(|gateway| !gateway.is_known());
        let names: Vec<_> = waiting.map(|gateway| gateway.fqdn.as_str()).collect();
        let failure = match names.is_empty() {
            true => Failure::new(
                "awaiting_first_call",
                "the domains are verified; the first call from Teams ends the wait",
            ),
            false => Failure::new(
                "awaiting_admin_center",
                format!("Microsoft does not know {} yet", names.join(", ")),
            ),
        };
        Ok(Event::NotYet(failure, None))
    }

    /// Whether names lead to the tenant by now, which anybody may ask.
    async fn look_for_domains(&mut self) -> Result<(), Trouble> {
        let microsoft = self.microsoft()?;
        let login = microsoft.login();
        if self.tenant.is_none()
            && let Some(name) = &self.tenant_name
        {
            self.tenant = Some(login.tenant(name).await?);
        }
        for gateway in self
            .gateways
            .iter_mut()
            .filter(|gateway| !gateway.is_known())
        {
            match login.tenant(&gateway.fqdn).await {
                // The code was the tenant's own, so without a name of it any will do.
                Ok(found) if self.tenant.is_none_or(|tenant| tenant == found) => {
                    gateway.verified(self.now)
                }
                Ok(_) => gateway.progress.error = Some("domain_in_other_tenant".to_owned()),
                Err(error) if error.fault == Fault::TenantNotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn withdrawing(&mut self) -> Result<Event, Trouble> {
        for gateway in &mut self.gateways {
            if gateway.progress.dns_published_at.is_some() {
                self.runner.zones.withdraw(&gateway.fqdn).await?;
            }
            let id = gateway.progress.id;
            gateway.progress = GatewayProgress {
                id,
                state: match self.record.method {
                    Method::Automatic => GatewayState::Pending,
                    Method::Manual => GatewayState::CodeMissing,
                },
                verification_code: None,
                dns_published_at: None,
                verified_at: None,
                error: None,
            };
        }
        Ok(Event::Done)
    }

    /// Whether all is still well with a customer that calls pass for.
    async fn check(&mut self) -> Result<Event, Trouble> {
        let microsoft = self.microsoft()?;
        let login = microsoft.login();
        for gateway in self.gateways.iter().filter(|gateway| gateway.is_known()) {
            match login.tenant(&gateway.fqdn).await {
                Ok(found) if self.tenant.is_none_or(|tenant| tenant == found) => {}
                Err(error) if error.fault != Fault::TenantNotFound => return Err(error.into()),
                _ => {
                    let why = format!("{} no longer leads to the customer's tenant", gateway.fqdn);
                    return Ok(Event::Broken(Failure::new("domain_lost", why)));
                }
            }
        }
        if self.record.method == Method::Automatic {
            self.token().await?;
        }
        self.look_for_domains().await?;
        let unproven = self
            .gateways
            .iter()
            .any(|gateway| gateway.progress.state != GatewayState::Active);
        if unproven {
            let why = "calls have come by some of the gateways only";
            return Ok(Event::NotYet(Failure::new("gateways_unproven", why), None));
        }
        Ok(Event::Healthy)
    }

    fn microsoft(&self) -> Result<Microsoft, Trouble> {
        self.runner.microsoft.clone().ok_or_else(|| {
            let why = "Microsoft's services are not configured";
            Trouble::Other(Event::NotYet(
                Failure::new("microsoft_unconfigured", why),
                None,
            ))
        })
    }

    /// A token for the tenant: of the administrator who signed in, or of our own if one consented without that.
    async fn token(&mut self) -> Result<Secret, Trouble> {
        let microsoft = self.microsoft()?;
        let login = microsoft.login();
        let tenant = self.tenant.unwrap_or_default().to_string();
        let (runner, customer) = (self.runner, self.record.customer_id);
        let _turn = match self.refresh {
            Some(_) => Some(runner.store.renewal(customer).await),
            None => None,
        };
        if self.refresh.is_some() {
            let kept = runner.store.tenant_token(customer).await;
            let kept = kept.map_err(|error| not_kept(&error))?;
            self.refresh = kept.or(self.refresh.take());
        }
        let tokens = match &self.refresh {
            Some(refresh) => {
                login
                    .by_refresh(&tenant, refresh, Login::GRAPH_SCOPE)
                    .await?
            }
            None => {
                login
                    .by_client_credentials(&tenant, Login::APPLICATION_SCOPE)
                    .await?
            }
        };
        // The old one may have been good once only, so the new one is kept whatever becomes of the step.
        if let (Some(old), Some(new)) = (self.refresh.clone(), tokens.refresh) {
            let kept =
                activations::renew_token(&runner.store, customer, &old, &new, self.now).await;
            kept.map_err(|error| not_kept(&error))?;
            self.refresh = Some(new);
        }
        Ok(tokens.access)
    }

    /// What follows from trouble: the same again, consent again, or the end.
    fn event_of(&self, trouble: Trouble) -> Event {
        match trouble {
            Trouble::Other(event) => event,
            Trouble::Zone(error) => {
                let failure = Failure::new("dns_not_published", error.to_string());
                match error {
                    ZoneError::Name(_) | ZoneError::Key => Event::Broken(failure),
                    _ => Event::NotYet(failure, None),
                }
            }
            Trouble::Microsoft(error) => {
                tracing::info!(activation = %self.record.id, code = ?error.code, %error, "Microsoft does not do a step");
                let seconds = error
                    .retry_after
                    .map(|after| u32::try_from(after.as_secs()).unwrap_or(u32::MAX));
                let failure = Failure {
                    code: error.fault.name().to_owned(),
                    detail: error.detail,
                    microsoft_request_id: error.request_id,
                };
                match error.fault.reaction() {
                    Reaction::Retry => Event::NotYet(failure, seconds),
                    Reaction::Consent => Event::NotConsented(failure),
                    Reaction::Permanent => Event::Broken(failure),
                }
            }
        }
    }
}

impl Gateway {
    /// Whether Microsoft was seen to know it.
    fn is_known(&self) -> bool {
        self.progress.state.takes_calls()
    }

    fn verified(&mut self, now: OffsetDateTime) {
        self.progress.state = GatewayState::Verified;
        self.progress.verified_at.get_or_insert(now);
        self.progress.error = None;
    }

    /// The user whose name takes the domain into use.
    fn user(&self) -> String {
        format!("activation@{}", self.fqdn)
    }

    /// Notes what Microsoft has against it, if that will not pass.
    fn refused(&mut self, error: MicrosoftError) -> Trouble {
        if error.fault.reaction() == Reaction::Permanent {
            self.progress.state = GatewayState::Error;
            self.progress.error = Some(error.fault.name().to_owned());
        }
        error.into()
    }
}

/// Gives a user the first licence with Teams that is free.
async fn give_license(graph: &Graph<'_>, user: Uuid) -> Result<(), Trouble> {
    let skus = graph.skus().await?;
    let Some(sku) = skus.iter().find(|sku| sku.has_teams && sku.free > 0) else {
        let looked_at = skus
            .iter()
            .map(|sku| format!("{} ({} free)", sku.part_number, sku.free));
        let looked_at = looked_at.collect::<Vec<_>>().join(", ");
        let why = format!("no licence with Teams is free: {looked_at}");
        return Err(Trouble::Other(Event::Broken(Failure::new(
            Fault::NoLicense.name(),
            why,
        ))));
    };
    Ok(graph.assign_license(user, &[sku.id], &[]).await?)
}

/// What is wrong with where a name leads, if anything is.
fn not_yet_known(
    fqdn: &str,
    tenant: Option<Uuid>,
    found: Result<Uuid, MicrosoftError>,
) -> Result<Option<Event>, Trouble> {
    match found {
        Ok(found) if Some(found) == tenant => Ok(None),
        Err(error) if error.fault != Fault::TenantNotFound => Err(error.into()),
        _ => {
            let why = format!("{fqdn} does not lead to the customer's tenant yet");
            Ok(Some(Event::NotYet(
                Failure::new(Fault::DomainNotReady.name(), why),
                None,
            )))
        }
    }
}

/// The database does not answer, so nothing is asked of Microsoft that could not be kept.
fn not_kept(error: &StoreError) -> Trouble {
    let failure = Failure::new("token_not_kept", error.to_string());
    Trouble::Other(Event::NotYet(failure, None))
}

/// Nobody signs in as this user, so nobody learns it.
fn password() -> Secret {
    use base64::Engine;
    let random = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>());
    Secret::new(format!("aA1!{random}"))
}
