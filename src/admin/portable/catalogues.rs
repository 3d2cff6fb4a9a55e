//! What belongs to no customer.

use super::super::error::ApiError;
use super::super::numbers::new_number;
use super::file::{File, Place, StockTable, Table, Tables, every};
use super::import::{Done, Import, Item, id_value};
use crate::store::{
    NumberFilter, StoreError, TrunkRecord, TrunkSettings, numbers, partners, pbx_types, regions,
    trunks,
};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

impl Import<'_> {
    pub(super) async fn region(&mut self, code: &str, fields: Table) -> Done {
        let place = Place::of("regions", code);
        let before = regions::find(&mut self.change, code).await?;
        let before = before.map(|region| region.settings);
        let named = [("code", json!(code))];
        let Some(settings) = self.settings(&place, before.as_ref(), fields, &named, &[])? else {
            return Ok(());
        };
        self.mark().await?;
        let written = match before {
            Some(_) => regions::update(&mut self.change, &settings).await,
            None => regions::insert(&mut self.change, &settings).await,
        };
        let written = written.map(|region| region.settings);
        self.settle(Item::new(&place, before), written).await?;
        Ok(())
    }

    pub(super) async fn pbx_type(&mut self, code: &str, fields: Table) -> Done {
        let place = Place::of("pbx_types", code);
        let before = pbx_types::find(&mut self.change, code).await?;
        let before = before.map(|kind| kind.settings);
        let named = [("code", json!(code))];
        let Some(settings) = self.settings(&place, before.as_ref(), fields, &named, &[])? else {
            return Ok(());
        };
        self.mark().await?;
        let written = match before {
            Some(_) => pbx_types::update(&mut self.change, &settings).await,
            None => pbx_types::insert(&mut self.change, &settings).await,
        };
        let written = written.map(|kind| kind.settings);
        self.settle(Item::new(&place, before), written).await?;
        Ok(())
    }

    pub(super) async fn partner(&mut self, email: &str, mut fields: Table) -> Done {
        let place = Place::of("partners", email);
        let before = self.partners.get(&email.to_lowercase()).cloned();
        let named_parent = self.text(&place, &mut fields, "parent")?;
        let parent = match (&named_parent, &before) {
            (Some(email), _) => match self.partner_of(&place, "parent", email) {
                Some(parent) => Some(parent),
                None => return Ok(()),
            },
            (None, before) => before.as_ref().and_then(|before| before.settings.parent_id),
        };
        if before
            .as_ref()
            .is_some_and(|before| before.settings.parent_id != parent)
        {
            self.fault(place.fault("parent", "immutable", "never changes"));
            return Ok(());
        }
        let (id, before) = before.map_or((None, None), |b| (Some(b.id), Some(b.settings)));
        let named = [("email", json!(email)), ("parent_id", id_value(parent))];
        let Some(settings) = self.settings(&place, before.as_ref(), fields, &named, &[])? else {
            return Ok(());
        };
        self.mark().await?;
        let written = match id {
            Some(id) => partners::update(&mut self.change, id, &settings).await,
            None => partners::insert(&mut self.change, &settings).await,
        };
        let record = written.as_ref().ok().cloned();
        let written = written.map(|partner| partner.settings);
        if self.settle(Item::new(&place, before), written).await?
            && let Some(record) = record
        {
            self.partners.insert(email.to_lowercase(), record);
        }
        Ok(())
    }

    /// The id of a partner that a field names.
    pub(super) fn partner_of(&mut self, place: &Place, field: &str, email: &str) -> Option<Uuid> {
        let found = self
            .partners
            .get(&email.to_lowercase())
            .map(|partner| partner.id);
        if found.is_none() {
            self.fault(place.fault(field, "unknown_partner", "is no partner's email address"));
        }
        found
    }

    pub(super) async fn shared_trunks(&mut self, tables: &Tables) -> Done {
        let known = every!(page => trunks::list(&mut self.change, None, page));
        for (name, fields) in tables {
            let place = Place::of("trunks", name);
            let before = known.iter().find(|trunk| trunk.settings.name == *name);
            self.trunk(&place, name, fields.clone(), before, None, &HashMap::new())
                .await?;
        }
        Ok(())
    }

    /// `services`: ids of a customer's services by their short names.
    pub(super) async fn trunk(
        &mut self,
        place: &Place,
        name: &str,
        mut fields: Table,
        before: Option<&TrunkRecord>,
        customer: Option<Uuid>,
        services: &HashMap<String, Uuid>,
    ) -> Done {
        let mut named = vec![("name", json!(name))];
        if let Some(service) = self.text(place, &mut fields, "service")? {
            let Some(id) = services.get(&service) else {
                let message = "is no service of the trunk's customer";
                self.fault(place.fault("service", "unknown_service", message));
                return Ok(());
            };
            named.push(("service_id", json!(id)));
        }
        let (id, before) = before.map_or((None, None), |b| (Some(b.id), Some(b.settings.clone())));
        let made = self.settings::<TrunkSettings>(place, before.as_ref(), fields, &named, &[])?;
        let Some(settings) = made else {
            return Ok(());
        };
        self.mark().await?;
        let (written, another) = match id {
            Some(id) => {
                let new = &settings.password;
                let another = trunks::changes_password(&mut self.change, id, new).await?;
                let written = trunks::update(&mut self.change, customer, id, &settings).await;
                (written, another)
            }
            None => {
                let written = trunks::insert(&mut self.change, customer, &settings).await;
                (written, false)
            }
        };
        let item = Item::new(place, before).with_password(another);
        self.settle(item, written.map(|trunk| trunk.settings))
            .await?;
        Ok(())
    }

    pub(super) async fn stock(&mut self, tables: &Tables) -> Done {
        let known = self.inventory().await?;
        for (number, fields) in tables {
            let place = Place::of("numbers", number);
            let before = known.get(number).cloned();
            let kept = ["kind", "extension", "source"];
            let made = self.settings(&place, before.as_ref(), fields.clone(), &[], &kept)?;
            let Some(new): Option<StockTable> = made else {
                continue;
            };
            if before.as_ref().is_some_and(|before| *before != new) {
                self.fault(place.fault("", "immutable", "never changes"));
                continue;
            }
            self.mark().await?;
            let stocked = match before {
                Some(_) => Ok(()),
                None => self.stock_one(number, &new).await,
            };
            self.settle(Item::new(&place, before), stocked.map(|()| new))
                .await?;
        }
        Ok(())
    }

    async fn stock_one(&mut self, number: &str, new: &StockTable) -> Result<(), ApiError> {
        let extension = new.extension.as_deref();
        let new = new_number(number, extension, new.kind, new.source)
            .map_err(|message| ApiError::invalid_field("", "format", &message))?;
        Ok(numbers::stock(&mut self.change, &new).await?)
    }

    async fn inventory(&mut self) -> Result<BTreeMap<String, StockTable>, StoreError> {
        let filter = NumberFilter {
            customer: Some(None),
            ..NumberFilter::default()
        };
        let rows = every!(page => numbers::list(&mut self.change, &filter, page));
        let stocked = rows
            .iter()
            .map(|row| (row.number.clone(), StockTable::from(row)));
        Ok(stocked.collect())
    }

    /// What the file does not say, from what others refer to least.
    pub(super) async fn remove_catalogues(&mut self, file: &File) -> Done {
        for number in self.inventory().await?.into_keys() {
            let (false, Ok(parsed)) = (file.numbers.contains_key(&number), number.parse()) else {
                continue;
            };
            self.mark().await?;
            let removed = numbers::discard(&mut self.change, &parsed).await;
            self.gone(&Place::of("numbers", &number), removed).await?;
        }
        for trunk in every!(page => trunks::list(&mut self.change, None, page)) {
            if file.trunks.contains_key(&trunk.settings.name) {
                continue;
            }
            self.mark().await?;
            let removed = trunks::delete(&mut self.change, None, trunk.id).await;
            self.gone(&Place::of("trunks", &trunk.settings.name), removed)
                .await?;
        }
        self.remove_partners(file).await?;
        for region in every!(page => regions::list(&mut self.change, page)) {
            let code = region.settings.code;
            if file.regions.contains_key(&code) {
                continue;
            }
            self.mark().await?;
            let removed = regions::delete(&mut self.change, &code).await;
            self.gone(&Place::of("regions", &code), removed).await?;
        }
        Ok(())
    }

    /// Resellers before those above them.
    async fn remove_partners(&mut self, file: &File) -> Done {
        let named: Vec<_> = file
            .partners
            .keys()
            .map(|email| email.to_lowercase())
            .collect();
        let known = every!(page => partners::list(&mut self.change, None, page));
        let others = known
            .into_iter()
            .filter(|partner| !named.contains(&partner.settings.email.to_lowercase()));
        let (below, above): (Vec<_>, Vec<_>) =
            others.partition(|partner| partner.settings.parent_id.is_some());
        for partner in below.into_iter().chain(above) {
            self.mark().await?;
            let removed = partners::delete(&mut self.change, partner.id).await;
            self.gone(&Place::of("partners", &partner.settings.email), removed)
                .await?;
        }
        Ok(())
    }
}
