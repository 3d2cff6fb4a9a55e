//! From a file to the database.

use super::super::auth::Caller;
use super::super::body::{patched, shaped};
use super::super::error::ApiError;
use super::Importing;
use super::file::{File, Place, Table, differences, every, table, with_nulls};
use super::report::{Difference, FieldDifference, ImportAction, ImportReport};
use crate::store::{
    Change, CustomerFilter, CustomerRecord, Fault, PartnerRecord, Store, StoreError, customers,
    partners,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// So many faults are told of one file.
const MOST_FAULTS: usize = 100;

/// Nothing, or an error that has nothing to do with the file.
pub(super) type Done = Result<(), ApiError>;

/// A file on its way into the database.
pub(super) struct Import<'a> {
    pub store: &'a Store,
    pub caller: &'a Caller,
    pub change: Change,
    /// Takes back what the file does not say.
    pub prune: bool,
    /// By email in lower case.
    pub partners: HashMap<String, PartnerRecord>,
    report: ImportReport,
    faults: Vec<Fault>,
}

/// One thing of a file: where it stands, and how it is in the database.
pub(super) struct Item<'a, S> {
    pub place: &'a Place,
    pub before: Option<S>,
    /// Whether something changes that its settings do not show.
    pub hidden: Option<FieldDifference>,
    /// Whose own business it is.
    pub owner: Option<&'a CustomerRecord>,
}

impl<'a, S> Item<'a, S> {
    pub fn new(place: &'a Place, before: Option<S>) -> Self {
        Self {
            place,
            before,
            hidden: None,
            owner: None,
        }
    }

    /// With another password, or not.
    pub fn with_password(mut self, changes: bool) -> Self {
        self.hidden = changes.then(|| FieldDifference {
            field: "password".to_owned(),
            before: Value::Null,
            after: Value::Null,
        });
        self
    }
}

impl<'a> Import<'a> {
    /// All of a file, or nothing.
    pub async fn run(
        store: &'a Store,
        caller: &'a Caller,
        text: &str,
        importing: Importing,
    ) -> Result<ImportReport, ApiError> {
        let file = File::parse(text)?;
        let mut change = store.change().await?;
        let known = every!(page => partners::list(&mut change, None, page));
        let by_email = |partner: PartnerRecord| (partner.settings.email.to_lowercase(), partner);
        let mut import = Self {
            store,
            caller,
            change,
            prune: importing.prune,
            partners: known.into_iter().map(by_email).collect(),
            report: ImportReport {
                dry_run: importing.dry_run,
                ..ImportReport::default()
            },
            faults: Vec::new(),
        };
        import.file(file).await?;
        import.finish().await
    }

    /// What others refer to comes first, and goes last.
    async fn file(&mut self, file: File) -> Done {
        let filter = CustomerFilter::default();
        let known = every!(page => customers::list(&mut self.change, &filter, page));
        let by_account =
            |customer: CustomerRecord| (customer.settings.account_id.clone(), customer);
        let known: BTreeMap<_, _> = known.into_iter().map(by_account).collect();
        if self.prune {
            let others = known
                .iter()
                .filter(|(account, _)| !file.customers.contains_key(*account));
            for (account, customer) in others {
                self.remove_customer(account, customer).await?;
            }
        }
        for (code, table) in &file.regions {
            self.region(code, table.clone()).await?;
        }
        for (code, table) in &file.pbx_types {
            self.pbx_type(code, table.clone()).await?;
        }
        let (below, above): (Vec<_>, Vec<_>) = file
            .partners
            .iter()
            .partition(|(_, table)| table.contains_key("parent"));
        for (email, table) in above.into_iter().chain(below) {
            self.partner(email, table.clone()).await?;
        }
        self.shared_trunks(&file.trunks).await?;
        self.stock(&file.numbers).await?;
        for (account, table) in &file.customers {
            self.customer(account, table.clone(), known.get(account))
                .await?;
        }
        if self.prune {
            self.remove_catalogues(&file).await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<ImportReport, ApiError> {
        if !self.faults.is_empty() {
            return Err(ApiError::invalid(self.faults));
        }
        if self.report.changes.is_empty() {
            return Ok(self.report);
        }
        if self.report.dry_run {
            self.change.try_out().await?;
            return Ok(self.report);
        }
        let none = None::<&()>;
        self.caller
            .audit(&mut self.change, "import", None, none, Some(&self.report))
            .await?;
        self.report.generation = Some(self.change.publish().await?);
        Ok(self.report)
    }

    /// What a table makes of settings. `named` is said by the thing's place, `kept` stays if the table does not say it, even
    /// when everything else is taken back.
    pub fn settings<S: Serialize + DeserializeOwned>(
        &mut self,
        place: &Place,
        before: Option<&S>,
        fields: Table,
        named: &[(&str, Value)],
        kept: &[&str],
    ) -> Result<Option<S>, ApiError> {
        let Some(mut fields) = self.sound(place, with_nulls(fields))? else {
            return Ok(None);
        };
        for (name, value) in named {
            if fields.insert((*name).to_owned(), value.clone()).is_some() {
                self.fault(place.fault(name, "unknown_field", "is said by the place in the file"));
                return Ok(None);
            }
        }
        let made = match before {
            Some(before) if !self.prune => patched(before, Value::Object(fields)),
            Some(before) => {
                let mut stays = table(before, &[]);
                stays.retain(|name, _| kept.contains(&name.as_str()));
                stays.append(&mut fields);
                shaped(Value::Object(stays))
            }
            None => shaped(Value::Object(fields)),
        };
        self.sound(place, made)
    }

    /// What was made, or nothing where the file is at fault.
    pub fn sound<T>(
        &mut self,
        place: &Place,
        made: Result<T, impl Into<ApiError>>,
    ) -> Result<Option<T>, ApiError> {
        let error: ApiError = match made {
            Ok(made) => return Ok(Some(made)),
            Err(error) => error.into(),
        };
        if error.is_ours() {
            return Err(error);
        }
        if error.faults().is_empty() {
            self.fault(place.fault("", error.first_code(), error.detail()));
        }
        for fault in error.faults() {
            self.fault(place.fault(&fault.field, &fault.code, &fault.message));
        }
        Ok(None)
    }

    pub fn fault(&mut self, fault: Fault) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }

    /// Begins to write one thing.
    pub async fn mark(&mut self) -> Result<(), StoreError> {
        self.change.mark().await
    }

    /// Keeps what was written of a thing, or takes it back where that is what was there before: its version stays.
    pub async fn settle<S: Serialize + PartialEq>(
        &mut self,
        item: Item<'_, S>,
        written: Result<S, impl Into<ApiError>>,
    ) -> Result<bool, ApiError> {
        let Item {
            place,
            before,
            hidden,
            owner,
        } = item;
        let Some(after) = self.sound(place, written)? else {
            self.change.take_back().await?;
            return Ok(false);
        };
        if hidden.is_none() && before.as_ref() == Some(&after) {
            self.change.take_back().await?;
            self.report.unchanged += 1;
            return Ok(true);
        }
        let allowed = owner.map_or(Ok(()), |owner| self.caller.require_co_management(owner));
        if self.sound(place, allowed)?.is_none() {
            self.change.take_back().await?;
            return Ok(false);
        }
        self.change.unmark().await?;
        let (action, fields) = match &before {
            None => (ImportAction::Create, Vec::new()),
            Some(before) => {
                let seen = differences(before, &after);
                (
                    ImportAction::Change,
                    seen.into_iter().chain(hidden).collect(),
                )
            }
        };
        self.report.note(Difference {
            path: place.to_string(),
            action,
            fields,
        });
        Ok(true)
    }

    /// Notes that a thing is gone, or what keeps it; it was marked before.
    pub async fn gone(&mut self, place: &Place, removed: Result<(), impl Into<ApiError>>) -> Done {
        if self.sound(place, removed)?.is_none() {
            return Ok(self.change.take_back().await?);
        }
        self.change.unmark().await?;
        self.report.note(Difference {
            path: place.to_string(),
            action: ImportAction::Delete,
            fields: Vec::new(),
        });
        Ok(())
    }

    /// The text that a table says under this name, out of it.
    pub fn text(
        &mut self,
        place: &Place,
        fields: &mut Table,
        name: &str,
    ) -> Result<Option<String>, ApiError> {
        let said = fields.remove(name).unwrap_or_default();
        let text = shaped::<Option<String>>(said);
        let text = text.map_err(|_| ApiError::invalid_field(name, "type", "must be a text"));
        Ok(self.sound(place, text)?.flatten())
    }
}

/// An id, or null, as settings have it.
pub(super) fn id_value(id: Option<uuid::Uuid>) -> Value {
    id.map_or(Value::Null, |id| json!(id))
}
