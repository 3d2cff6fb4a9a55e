//! What a file looks like.

use super::super::body::shaped;
use super::super::error::ApiError;
use super::report::FieldDifference;
use crate::provisioning::{Assignment, Consent, NumberKind, NumberSource};
use crate::store::{Capabilities, CoManagementRecord, Fault, NumberRecord};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The fields of one thing.
pub(super) type Table = Map<String, Value>;
/// Things of one kind by their names.
pub(super) type Tables = BTreeMap<String, Table>;

/// Everything.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    /// By code.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub regions: Tables,
    /// By code.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pbx_types: Tables,
    /// By email.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub partners: Tables,
    /// Those of all customers, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub trunks: Tables,
    /// Those of nobody.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: Tables,
    /// By account.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub customers: Tables,
}

impl File {
    /// Only lines are named of what is no TOML: its words may be secrets.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let value: Value = toml::from_str(text).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| 1 + before.matches('\n').count());
            let detail = format!("line {line}: {}", error.message());
            ApiError::bad_request("malformed_toml", detail)
        })?;
        shaped(value)
    }
}

/// What a customer has besides settings.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Parts {
    /// Email of the partner; none: the carrier itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub co_management: Option<CoManaged>,
    /// Codes of the models that it may give to users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_models: Option<BTreeSet<String>>,
    /// By short name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: Tables,
    /// By region.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gateways: Tables,
    /// By name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub trunks: Tables,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: Tables,
    /// By their names at Microsoft.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub users: Tables,
    /// By location.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pbxs: Tables,
}

impl Parts {
    const NAMES: [&str; 9] = [
        "partner",
        "co_management",
        "device_models",
        "services",
        "gateways",
        "trunks",
        "numbers",
        "users",
        "pbxs",
    ];

    /// The parts of a customer's table; the settings stay.
    pub fn split(table: &mut Table) -> Result<Self, ApiError> {
        let mut parts = Table::new();
        for name in Self::NAMES {
            if let Some(part) = table.remove(name) {
                parts.insert(name.to_owned(), part);
            }
        }
        shaped(Value::Object(parts))
    }
}

/// Who may manage a customer's users.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CoManaged {
    /// Whether carrier or partner asked for it.
    pub requested: bool,
    /// Where the customer's consent stands.
    pub state: Consent,
}

impl From<&CoManagementRecord> for CoManaged {
    fn from(record: &CoManagementRecord) -> Self {
        Self {
            requested: record.requested,
            state: record.state,
        }
    }
}

/// A number. Whose it is, its user says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NumberTable {
    pub kind: NumberKind,
    /// What Teams writes after `;ext=`.
    pub extension: Option<String>,
    pub source: NumberSource,
    /// None: a user's.
    pub assignment: Option<Assignment>,
    pub capabilities: Capabilities,
    pub emergency_location: Option<String>,
}

impl From<&NumberRecord> for NumberTable {
    fn from(record: &NumberRecord) -> Self {
        let assignment = record.settings.assignment;
        Self {
            kind: record.kind,
            extension: record.extension.clone(),
            source: record.source,
            assignment: Some(assignment).filter(|assignment| *assignment != Assignment::User),
            capabilities: record.settings.capabilities.clone(),
            emergency_location: record.settings.emergency_location.clone(),
        }
    }
}

/// A number of nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StockTable {
    pub kind: NumberKind,
    pub extension: Option<String>,
    pub source: NumberSource,
}

impl From<&NumberRecord> for StockTable {
    fn from(record: &NumberRecord) -> Self {
        Self {
            kind: record.kind,
            extension: record.extension.clone(),
            source: record.source,
        }
    }
}

/// A place in the file, as TOML would write it: `customers.acme.trunks.pbx`.
#[derive(Debug, Clone)]
pub(super) struct Place(String);

impl Place {
    pub fn of(kind: &str, name: &str) -> Self {
        Self(kind.to_owned()).below(name)
    }

    pub fn below(&self, name: &str) -> Self {
        let bare = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        match !name.is_empty() && name.bytes().all(bare) {
            true => Self(format!("{self}.{name}")),
            false => Self(format!("{self}.{}", Value::from(name))),
        }
    }

    /// A fault of a field here.
    pub fn fault(&self, field: &str, code: &str, message: &str) -> Fault {
        let field = match field {
            "" => self.0.clone(),
            field => format!("{self}.{field}"),
        };
        Fault {
            field,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names the fields of a table that have no value: TOML knows no null, and some are not null where nothing is said.
const UNSET: &str = "unset";

/// Settings as a table, without these fields. What is null is left out; in inner tables it is named, for their fields have
/// defaults of their own.
pub(super) fn table(settings: &impl Serialize, without: &[&str]) -> Table {
    let mut table = object(settings);
    table.retain(|name, value| !without.contains(&name.as_str()) && !value.is_null());
    for value in table.values_mut() {
        if let Value::Object(inner) = value {
            name_nulls(inner);
        }
    }
    table
}

fn object(settings: &impl Serialize) -> Table {
    match serde_json::to_value(settings).expect("settings have a JSON form") {
        Value::Object(table) => table,
        _ => Table::new(),
    }
}

fn name_nulls(table: &mut Table) {
    let nulls = table.iter().filter(|(_, value)| value.is_null());
    let names: Vec<_> = nulls.map(|(name, _)| Value::from(name.as_str())).collect();
    table.retain(|_, value| !value.is_null());
    for value in table.values_mut() {
        if let Value::Object(inner) = value {
            name_nulls(inner);
        }
    }
    if !names.is_empty() {
        table.insert(UNSET.to_owned(), names.into());
    }
}

/// Makes nulls of the fields that are named as having no value.
pub(super) fn with_nulls(mut table: Table) -> Result<Table, ApiError> {
    for value in table.values_mut() {
        if let Value::Object(inner) = value {
            *inner = with_nulls(std::mem::take(inner))?;
        }
    }
    let names = table
        .remove(UNSET)
        .unwrap_or_else(|| Value::Array(Vec::new()));
    let names: Vec<String> = shaped(names)
        .map_err(|_| ApiError::invalid_field(UNSET, "type", "must be names of fields"))?;
    for name in names {
        table.entry(name).or_insert(Value::Null);
    }
    Ok(table)
}

/// What differs between two settings, field by field.
pub(super) fn differences(before: &impl Serialize, after: &impl Serialize) -> Vec<FieldDifference> {
    let mut found = Vec::new();
    compare("", &object(before), &object(after), &mut found);
    found
}

fn compare(prefix: &str, before: &Table, after: &Table, found: &mut Vec<FieldDifference>) {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let field = format!("{prefix}{name}");
        match (before.get(name), after.get(name)) {
            (before, after) if before == after => {}
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                compare(&format!("{field}."), before, after, found);
            }
            (before, after) => found.push(FieldDifference {
                field,
                before: before.cloned().unwrap_or_default(),
                after: after.cloned().unwrap_or_default(),
            }),
        }
    }
}

/// All items of a list that is told page by page: `every!(page => list(connection, page))`.
macro_rules! every {
    ($page:ident => $list:expr) => {{
        let mut items = Vec::new();
        let mut $page = crate::store::Page::default();
        loop {
            let listed = $list.await?;
            items.extend(listed.items);
            match listed.next {
                None => break items,
                after => $page.after = after,
            }
        }
    }};
}
pub(super) use every;
