//! A customer's numbers, its users, and where these are registered.

use super::super::error::ApiError;
use super::super::numbers::{check_assignment, new_number};
use super::super::pbxs::{require_service, require_type};
use super::super::users::{check_user, emergency};
use super::customer::Owner;
use super::file::{NumberTable, Parts, Place, Table, Tables, every};
use super::import::{Done, Import, Item};
use crate::directory::Number;
use crate::provisioning::{Assignment, Desired, Disposition};
use crate::store::{
    Added, NumberFilter, NumberRecord, NumberSettings, PbxSettings, RegistrationRecord,
    RegistrationSettings, UserSettings, numbers, pbxs, registrations, users,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

impl Import<'_> {
    pub(super) async fn numbers(&mut self, owner: &Owner, tables: &Tables) -> Done {
        for (number, fields) in tables {
            let place = owner.place.below("numbers").below(number);
            self.number(owner, &place, number, fields.clone()).await?;
        }
        Ok(())
    }

    async fn number(&mut self, owner: &Owner, place: &Place, text: &str, fields: Table) -> Done {
        let parsed = text.parse::<Number>();
        let parsed = parsed.map_err(|e| ApiError::invalid_field("", "format", &e.to_string()));
        let Some(number) = self.sound(place, parsed)? else {
            return Ok(());
        };
        let record = numbers::find(&mut self.change, owner.record.id, &number).await?;
        // One that is about to go is as good as gone, but comes back as it was.
        let stays = record.filter(|record| record.desired == Desired::Present);
        let before = stays.as_ref().map(NumberTable::from);
        let kept = ["kind", "extension", "source", "assignment"];
        let made = self.settings(place, before.as_ref(), fields, &[], &kept)?;
        let Some(after): Option<NumberTable> = made else {
            return Ok(());
        };
        if let Some(before) = &before {
            for (field, same) in [
                ("kind", before.kind == after.kind),
                ("extension", before.extension == after.extension),
                ("source", before.source == after.source),
            ] {
                if !same {
                    self.fault(place.fault(field, "immutable", "never changes"));
                    return Ok(());
                }
            }
        }
        self.mark().await?;
        let written = self.write_number(owner, &number, stays, &after).await;
        let written = written.map(|record| NumberTable::from(&record));
        self.settle(Item::new(place, before), written).await?;
        Ok(())
    }

    async fn write_number(
        &mut self,
        owner: &Owner,
        number: &Number,
        before: Option<NumberRecord>,
        after: &NumberTable,
    ) -> Result<NumberRecord, ApiError> {
        let id = owner.record.id;
        let record = match before {
            Some(record) => record,
            None => {
                let extension = after.extension.as_deref();
                let new = new_number(number.as_str(), extension, after.kind, after.source)
                    .map_err(|message| ApiError::invalid_field("", "format", &message))?;
                match numbers::insert(&mut self.change, id, &new).await? {
                    Added::New | Added::Kept => {}
                    Added::Exists => {
                        let detail = "the customer has this number as another kind";
                        return Err(ApiError::conflict("number_exists", detail));
                    }
                    Added::Foreign => {
                        let detail = "the number belongs to somebody else";
                        return Err(ApiError::conflict("number_in_use", detail));
                    }
                }
                let found = numbers::find(&mut self.change, id, number).await?;
                found.ok_or_else(ApiError::not_found)?
            }
        };
        let assignment = after.assignment.unwrap_or(record.settings.assignment);
        let wanted = NumberSettings {
            user_id: record
                .settings
                .user_id
                .filter(|_| assignment == Assignment::User),
            assignment,
            capabilities: after.capabilities.clone(),
            emergency_location: after.emergency_location.clone(),
        };
        if wanted == record.settings {
            return Ok(record);
        }
        let (caller, change) = (self.caller, &mut self.change);
        check_assignment(caller, change, &owner.record, &record.settings, &wanted).await?;
        Ok(numbers::update(change, id, number, &wanted).await?)
    }

    pub(super) async fn users(&mut self, owner: &Owner, tables: &Tables) -> Done {
        let (store, change) = (self.store, &mut self.change);
        let emergency = emergency(store, change, &owner.record).await?;
        for (upn, fields) in tables {
            let place = owner.place.below("users").below(upn);
            self.user(owner, &place, upn, fields.clone(), &emergency)
                .await?;
        }
        Ok(())
    }

    async fn user(
        &mut self,
        owner: &Owner,
        place: &Place,
        upn: &str,
        fields: Table,
        emergency: &[String],
    ) -> Done {
        let id = owner.record.id;
        let user = users::id_of(&mut self.change, id, upn).await?;
        let before = match user {
            Some(user) => users::find(&mut self.change, id, user).await?,
            None => None,
        };
        let before = before.map(|user| user.settings);
        let named = [("upn", json!(upn))];
        let made = self.settings::<UserSettings>(place, before.as_ref(), fields, &named, &[])?;
        let Some(settings) = made else {
            return Ok(());
        };
        self.mark().await?;
        let written = async {
            let (caller, change) = (self.caller, &mut self.change);
            if before.as_ref() != Some(&settings) {
                check_user(caller, change, &owner.record, before.as_ref(), &settings).await?;
            }
            let written = match user {
                Some(user) => users::update(change, id, user, &settings, emergency).await,
                None => users::insert(change, id, &settings, emergency).await,
            };
            Ok::<_, ApiError>(written?.settings)
        }
        .await;
        let mut item = Item::new(place, before);
        item.owner = Some(&owner.record);
        self.settle(item, written).await?;
        Ok(())
    }

    pub(super) async fn pbxs(&mut self, owner: &Owner, tables: &Tables) -> Done {
        let id = owner.record.id;
        let registered = every!(page => registrations::list(&mut self.change, id, page));
        for (location, fields) in tables {
            let place = owner.place.below("pbxs").below(location);
            let mut fields = fields.clone();
            let below = fields.remove("registrations").unwrap_or_else(|| json!({}));
            let below = super::super::body::shaped::<Tables>(below);
            let below = below.map_err(|_| {
                ApiError::invalid_field("registrations", "type", "must be tables by username")
            });
            let Some(below) = self.sound(&place, below)? else {
                continue;
            };
            let Some(pbx) = self.pbx(owner, &place, location, fields).await? else {
                continue;
            };
            for (username, fields) in below {
                let place = place.below("registrations").below(&username);
                let known = registered.iter().find(|known| {
                    known.settings.pbx_id == pbx && known.settings.username == username
                });
                self.registration(owner, &place, (pbx, &username), fields, known)
                    .await?;
            }
        }
        Ok(())
    }

    /// The exchange's id, if it is there after all.
    async fn pbx(
        &mut self,
        owner: &Owner,
        place: &Place,
        location: &str,
        fields: Table,
    ) -> Result<Option<Uuid>, ApiError> {
        let id = owner.record.id;
        let known = every!(page => pbxs::list(&mut self.change, id, page));
        let before = known
            .into_iter()
            .find(|pbx| pbx.settings.location == location);
        let (pbx, before) = before.map_or((None, None), |b| (Some(b.id), Some(b.settings)));
        let named = [("location", json!(location))];
        let made = self.settings::<PbxSettings>(place, before.as_ref(), fields, &named, &[])?;
        let Some(settings) = made else {
            return Ok(pbx);
        };
        self.mark().await?;
        let written = async {
            if before.is_none() && !owner.fresh {
                require_service(&owner.record)?;
            }
            if before
                .as_ref()
                .is_none_or(|before| before.pbx_type != settings.pbx_type)
            {
                require_type(&owner.record, &settings)?;
            }
            let written = match pbx {
                Some(pbx) => pbxs::update(&mut self.change, id, pbx, &settings).await,
                None => pbxs::insert(&mut self.change, id, &settings).await,
            };
            Ok::<_, ApiError>(written?)
        }
        .await;
        let made = written.as_ref().ok().map(|record| record.id);
        let written = written.map(|record| record.settings);
        let kept = self.settle(Item::new(place, before), written).await?;
        Ok(pbx.or(made.filter(|_| kept)))
    }

    async fn registration(
        &mut self,
        owner: &Owner,
        place: &Place,
        (pbx, username): (Uuid, &str),
        mut fields: Table,
        before: Option<&RegistrationRecord>,
    ) -> Done {
        let id = owner.record.id;
        let user = match self.text(place, &mut fields, "user")? {
            Some(upn) => users::id_of(&mut self.change, id, &upn).await?,
            None => before.and_then(|before| before.settings.user_id),
        };
        let Some(user) = user else {
            self.fault(place.fault("user", "unknown_user", "must be a user of the customer"));
            return Ok(());
        };
        if before.is_some_and(|before| before.settings.user_id != Some(user)) {
            self.fault(place.fault("user", "immutable", "never changes"));
            return Ok(());
        }
        let registration = before.map(|before| before.id);
        let before = before.map(|before| before.settings.clone());
        let named: [(&str, Value); 3] = [
            ("pbx_id", json!(pbx)),
            ("user_id", json!(user)),
            ("username", json!(username)),
        ];
        let made =
            self.settings::<RegistrationSettings>(place, before.as_ref(), fields, &named, &[])?;
        let Some(settings) = made else {
            return Ok(());
        };
        self.mark().await?;
        let change = &mut self.change;
        let (written, another) = match registration {
            Some(registration) => {
                let new = &settings.password;
                let another = registrations::changes_password(change, registration, new).await?;
                let written = registrations::update(change, id, registration, &settings).await;
                (written, another)
            }
            None => (registrations::insert(change, id, &settings).await, false),
        };
        let mut item = Item::new(place, before).with_password(another);
        item.owner = Some(&owner.record);
        self.settle(item, written.map(|record| record.settings))
            .await?;
        Ok(())
    }

    /// Registrations, exchanges and users that the file does not say.
    pub(super) async fn remove_people(&mut self, owner: &Owner, parts: &Parts) -> Done {
        let id = owner.record.id;
        let known = every!(page => pbxs::list(&mut self.change, id, page));
        let registered = every!(page => registrations::list(&mut self.change, id, page));
        for pbx in &known {
            let place = owner.place.below("pbxs").below(&pbx.settings.location);
            let table = parts.pbxs.get(&pbx.settings.location);
            let wanted: BTreeSet<_> = table
                .and_then(|table| table.get("registrations")?.as_object())
                .map(|below| below.keys().cloned().collect())
                .unwrap_or_default();
            let others = registered.iter().filter(|registration| {
                registration.settings.pbx_id == pbx.id
                    && !wanted.contains(&registration.settings.username)
            });
            for registration in others {
                let place = place
                    .below("registrations")
                    .below(&registration.settings.username);
                self.mark().await?;
                let removed = match self.caller.require_co_management(&owner.record) {
                    Ok(()) => {
                        let removed = registrations::delete(&mut self.change, id, registration.id);
                        removed.await.map_err(ApiError::from)
                    }
                    Err(error) => Err(error),
                };
                self.gone(&place, removed).await?;
            }
            if table.is_none() {
                self.mark().await?;
                let removed = pbxs::delete(&mut self.change, id, pbx.id).await;
                self.gone(&place, removed).await?;
            }
        }
        self.remove_users(owner, &parts.users).await
    }

    async fn remove_users(&mut self, owner: &Owner, tables: &Tables) -> Done {
        let id = owner.record.id;
        let wanted: BTreeSet<_> = tables.keys().map(|upn| upn.to_lowercase()).collect();
        for user in every!(page => users::list(&mut self.change, id, page)) {
            if wanted.contains(&user.settings.upn.to_lowercase()) {
                continue;
            }
            self.mark().await?;
            let removed = match self.caller.require_co_management(&owner.record) {
                Ok(()) => {
                    let removed = users::delete(&mut self.change, id, user.id).await;
                    removed.map_err(ApiError::from)
                }
                Err(error) => Err(error),
            };
            let place = owner.place.below("users").below(&user.settings.upn);
            self.gone(&place, removed).await?;
        }
        Ok(())
    }

    /// They serve until the customer's next Sync, and are the inventory's then.
    pub(super) async fn remove_numbers(&mut self, owner: &Owner, tables: &Tables) -> Done {
        let id = owner.record.id;
        let filter = NumberFilter {
            customer: Some(Some(id)),
            ..NumberFilter::default()
        };
        for record in every!(page => numbers::list(&mut self.change, &filter, page)) {
            let (false, Desired::Present, Ok(number)) = (
                tables.contains_key(&record.number),
                record.desired,
                record.number.parse::<Number>(),
            ) else {
                continue;
            };
            self.mark().await?;
            let removed = match record.settings.assignment {
                Assignment::Unassigned => {
                    let keep = Disposition::Retain;
                    let released = numbers::release(&mut self.change, id, &number, keep).await;
                    released.map(drop).map_err(ApiError::from)
                }
                _ => Err(ApiError::conflict("assigned", "somebody has the number")),
            };
            let place = owner.place.below("numbers").below(&record.number);
            self.gone(&place, removed).await?;
        }
        Ok(())
    }
}
