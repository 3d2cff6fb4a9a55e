//! A customer, and what it has besides numbers and people.

use super::super::customers::{check_activation, require_tenant, require_unused};
use super::super::error::ApiError;
use super::super::gateways::{check_state, prepared};
use super::file::{CoManaged, Parts, Place, Table, every};
use super::import::{Done, Import, Item, id_value};
use crate::directory::ActivationState;
use crate::provisioning::CoManagement;
use crate::store::devices::models;
use crate::store::{
    CustomerRecord, CustomerSettings, GatewaySettings, ServiceSettings, StoreError, customers,
    events, gateways, services, trunks,
};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use time::OffsetDateTime;
use uuid::Uuid;

/// Whose parts are brought in.
pub(super) struct Owner {
    /// One that the import makes has given its consent to itself.
    pub record: CustomerRecord,
    /// Whether the import makes it.
    pub fresh: bool,
    pub place: Place,
}

impl Import<'_> {
    pub(super) async fn customer(
        &mut self,
        account: &str,
        mut fields: Table,
        before: Option<&CustomerRecord>,
    ) -> Done {
        let place = Place::of("customers", account);
        let split = Parts::split(&mut fields);
        let Some(parts) = self.sound(&place, split)? else {
            return Ok(());
        };
        let partner = match (&parts.partner, before) {
            (Some(email), _) => match self.partner_of(&place, "partner", email) {
                Some(partner) => Some(partner),
                None => return Ok(()),
            },
            (None, before) => before.and_then(|before| before.settings.partner_id),
        };
        if before.is_some_and(|before| before.settings.partner_id != partner) {
            self.fault(place.fault("partner", "immutable", "never changes"));
            return Ok(());
        }
        let said = (account, partner, parts.co_management);
        let written = self.customer_itself(&place, said, fields, before).await?;
        let Some(record) = written.or_else(|| before.cloned()) else {
            return Ok(());
        };
        let owner = Owner {
            record,
            fresh: before.is_none(),
            place,
        };
        self.parts(&owner, parts).await
    }

    async fn customer_itself(
        &mut self,
        place: &Place,
        (account, partner, consent): (&str, Option<Uuid>, Option<CoManaged>),
        mut fields: Table,
        before: Option<&CustomerRecord>,
    ) -> Result<Option<CustomerRecord>, ApiError> {
        let state = before.map_or(ActivationState::Inactive, |b| b.settings.activation_state);
        if state == ActivationState::Degraded
            && fields.get("activation_state") == Some(&json!("active"))
        {
            // So it is written into files.
            fields.remove("activation_state");
        }
        // The file is the reason why a customer that was not there is active.
        let reason = before.is_none() || fields.contains_key("activation_reason");
        let named = [
            ("account_id", json!(account)),
            ("partner_id", id_value(partner)),
        ];
        let kept = ["activation_state", "activation_reason"];
        let settings = before.map(|before| &before.settings);
        let made = self.settings::<CustomerSettings>(place, settings, fields, &named, &kept)?;
        let Some(made) = made else {
            return Ok(None);
        };
        self.mark().await?;
        let mut written = async {
            if settings.is_none_or(|before| before.tenant_name.is_some()) {
                require_tenant(&made)?;
            }
            check_activation(self.caller, state, &made, reason)?;
            let consent = consent.map(|consent| CoManagement {
                requested: consent.requested,
                state: consent.state,
            });
            match before {
                Some(before) => {
                    if consent.is_some_and(|consent| consent != before.co_management.value()) {
                        let message = "is between a customer that is there and whoever asks it";
                        return Err(ApiError::invalid_field(
                            "co_management",
                            "immutable",
                            message,
                        ));
                    }
                    Ok(customers::update(&mut self.change, before.id, &made).await?)
                }
                None => self.new_customer(&made, consent).await,
            }
        }
        .await;
        if let (Ok(record), true) = (&mut written, before.is_none()) {
            record.can_manage = true;
        }
        let record = written.as_ref().ok().cloned();
        let item = Item::new(place, settings.cloned());
        let kept = self
            .settle(item, written.map(|record| record.settings))
            .await?;
        Ok(record.filter(|_| kept))
    }

    async fn new_customer(
        &mut self,
        settings: &CustomerSettings,
        consent: Option<CoManagement>,
    ) -> Result<CustomerRecord, ApiError> {
        let mut record = customers::insert(&mut self.change, settings).await?;
        if let Some(consent) = consent {
            let by = self.caller.token.id;
            record = customers::set_co_management(&mut self.change, record.id, consent, by).await?;
        }
        let detail = json!({ "account_id": settings.account_id });
        let now = OffsetDateTime::now_utc();
        events::insert(
            &mut self.change,
            now,
            "customer.created",
            record.id,
            &detail,
        )
        .await?;
        Ok(record)
    }

    /// What goes makes room first.
    async fn parts(&mut self, owner: &Owner, parts: Parts) -> Done {
        if self.prune {
            self.remove_people(owner, &parts).await?;
        }
        for (short_name, fields) in &parts.services {
            self.service(owner, short_name, fields.clone()).await?;
        }
        for (region, fields) in &parts.gateways {
            self.gateway(owner, region, fields.clone()).await?;
        }
        self.trunks(owner, &parts).await?;
        self.numbers(owner, &parts.numbers).await?;
        self.users(owner, &parts.users).await?;
        self.pbxs(owner, &parts.pbxs).await?;
        self.device_models(owner, parts.device_models.as_ref())
            .await?;
        if self.prune {
            self.remove_numbers(owner, &parts.numbers).await?;
            self.remove_rest(owner, &parts).await?;
        }
        Ok(())
    }

    async fn service(&mut self, owner: &Owner, short_name: &str, fields: Table) -> Done {
        let (id, place) = (
            owner.record.id,
            owner.place.below("services").below(short_name),
        );
        let known = every!(page => services::list(&mut self.change, id, page));
        let before = known
            .into_iter()
            .find(|known| known.settings.short_name == short_name);
        let (service, before) = before.map_or((None, None), |b| (Some(b.id), Some(b.settings)));
        let named = [("short_name", json!(short_name))];
        let made =
            self.settings::<ServiceSettings>(&place, before.as_ref(), fields, &named, &["kind"])?;
        let Some(settings) = made else {
            return Ok(());
        };
        if before
            .as_ref()
            .is_some_and(|before| before.kind != settings.kind)
        {
            self.fault(place.fault("kind", "immutable", "never changes"));
            return Ok(());
        }
        self.mark().await?;
        let written = match service {
            Some(service) => services::update(&mut self.change, id, service, &settings).await,
            None => services::insert(&mut self.change, id, &settings).await,
        };
        let written = written.map(|service| service.settings);
        self.settle(Item::new(&place, before), written).await?;
        Ok(())
    }

    async fn gateway(&mut self, owner: &Owner, region: &str, fields: Table) -> Done {
        let (id, place) = (owner.record.id, owner.place.below("gateways").below(region));
        let known = gateways::of_customer(&mut self.change, id).await?;
        let before = known
            .into_iter()
            .find(|known| known.settings.region == region);
        let (gateway, before) = before.map_or((None, None), |b| (Some(b.id), Some(b.settings)));
        let named = [("region", json!(region))];
        let kept = ["label", "state", "verification_code"];
        let made =
            self.settings::<GatewaySettings>(&place, before.as_ref(), fields, &named, &kept)?;
        let Some(settings) = made else {
            return Ok(());
        };
        self.mark().await?;
        let written = async {
            // A customer that was not there has not chosen how it is activated, but its gateways may have their codes.
            let settings = match owner.fresh {
                true => check_state(self.caller, settings.state).map(|()| settings)?,
                false => {
                    let (caller, change) = (self.caller, &mut self.change);
                    prepared(caller, change, id, before.as_ref(), settings).await?
                }
            };
            let written = match gateway {
                Some(gateway) => gateways::update(&mut self.change, id, gateway, &settings).await,
                None => gateways::insert(&mut self.change, id, &settings).await,
            };
            Ok::<_, ApiError>(written?.settings)
        }
        .await;
        self.settle(Item::new(&place, before), written).await?;
        Ok(())
    }

    async fn trunks(&mut self, owner: &Owner, parts: &Parts) -> Done {
        let id = owner.record.id;
        let bought = every!(page => services::list(&mut self.change, id, page));
        let bought: HashMap<_, _> = bought
            .into_iter()
            .map(|service| (service.settings.short_name, service.id))
            .collect();
        let known = every!(page => trunks::list(&mut self.change, Some(id), page));
        for (name, fields) in &parts.trunks {
            let place = owner.place.below("trunks").below(name);
            let before = known.iter().find(|trunk| trunk.settings.name == *name);
            self.trunk(&place, name, fields.clone(), before, Some(id), &bought)
                .await?;
        }
        Ok(())
    }

    async fn device_models(&mut self, owner: &Owner, wanted: Option<&BTreeSet<String>>) -> Done {
        let Some(wanted) = wanted else {
            return Ok(());
        };
        let id = owner.record.id;
        for model in wanted {
            let place = owner.place.below("device_models").below(model);
            let before = models::has(&mut self.change, id, model)
                .await?
                .then_some(());
            self.mark().await?;
            let written = models::add(&mut self.change, id, model).await.map(drop);
            self.settle(Item::new(&place, before), written).await?;
        }
        Ok(())
    }

    /// Whatever nobody of the file needs.
    async fn remove_rest(&mut self, owner: &Owner, parts: &Parts) -> Done {
        let (id, place) = (owner.record.id, &owner.place);
        for trunk in every!(page => trunks::list(&mut self.change, Some(id), page)) {
            let name = trunk.settings.name;
            if !parts.trunks.contains_key(&name) {
                self.mark().await?;
                let removed = trunks::delete(&mut self.change, Some(id), trunk.id).await;
                self.gone(&place.below("trunks").below(&name), removed)
                    .await?;
            }
        }
        for gateway in gateways::of_customer(&mut self.change, id).await? {
            let region = gateway.settings.region;
            if !parts.gateways.contains_key(&region) {
                self.mark().await?;
                let removed = gateways::delete(&mut self.change, id, gateway.id).await;
                self.gone(&place.below("gateways").below(&region), removed)
                    .await?;
            }
        }
        for service in every!(page => services::list(&mut self.change, id, page)) {
            let name = service.settings.short_name;
            if !parts.services.contains_key(&name) {
                self.mark().await?;
                let removed = services::delete(&mut self.change, id, service.id).await;
                self.gone(&place.below("services").below(&name), removed)
                    .await?;
            }
        }
        for model in models::list(&mut self.change, id).await? {
            let wanted = parts.device_models.as_ref();
            if !wanted.is_some_and(|wanted| wanted.contains(model.code)) {
                self.mark().await?;
                let removed = models::remove(&mut self.change, id, model.code).await;
                self.gone(&place.below("device_models").below(model.code), removed)
                    .await?;
            }
        }
        Ok(())
    }

    pub(super) async fn remove_customer(
        &mut self,
        account: &str,
        customer: &CustomerRecord,
    ) -> Done {
        self.mark().await?;
        let removed = match require_unused(&mut self.change, customer).await {
            Ok(()) => self.deleted(customer.id).await.map_err(ApiError::from),
            Err(error) => Err(error),
        };
        self.gone(&Place::of("customers", account), removed).await
    }

    async fn deleted(&mut self, customer: Uuid) -> Result<(), StoreError> {
        customers::delete(&mut self.change, customer).await
    }
}
