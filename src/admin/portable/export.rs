//! From the database to a file.

use super::file::{
    CoManaged, File, NumberTable, Parts, Place, StockTable, Table, Tables, every, table,
};
use crate::directory::{ActivationState, GatewayState};
use crate::provisioning::Desired;
use crate::store::devices::models;
use crate::store::{
    CustomerFilter, CustomerRecord, NumberFilter, PartnerRecord, StoreError, TrunkRecord,
    customers, gateways, numbers, partners, pbx_types, pbxs, regions, registrations, services,
    trunks, users,
};
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

const HEAD: &str = "\
# What is provisioned in Tollgate. `tollgate import`, or POST /api/v1/import, brings a database into this form: what a file
# does not say is left alone, with `prune` it is taken back.
#
# Left out: telephones, music, announcements, accounts and tokens, and how far activations, upgrades and invitations are.
";

const SECRETS: &str = "\
# Secrets are left out, too. Where a database has none, an import needs them: add these lines.
";

/// All of it, as of one moment.
pub(super) async fn text(connection: &mut SqliteConnection) -> Result<String, StoreError> {
    let mut moment = connection.begin().await?;
    let mut secrets = Vec::new();
    let file = file(&mut moment, &mut secrets).await?;
    moment.commit().await?;
    let mut text = HEAD.to_owned();
    if !secrets.is_empty() {
        text.push_str(SECRETS);
    }
    for place in secrets {
        text.push_str(&format!("#   {place}.password = \"…\"\n"));
    }
    text.push('\n');
    text.push_str(&toml::to_string(&file).expect("tables without nulls have a TOML form"));
    Ok(text)
}

async fn file(
    connection: &mut SqliteConnection,
    secrets: &mut Vec<Place>,
) -> Result<File, StoreError> {
    let known = every!(page => partners::list(connection, None, page));
    let emails: HashMap<_, _> = known
        .iter()
        .map(|partner| (partner.id, partner.settings.email.clone()))
        .collect();
    let all_regions = every!(page => regions::list(connection, page));
    let types = every!(page => pbx_types::list(connection, page));
    let shared = every!(page => trunks::list(connection, None, page));
    let inventory = NumberFilter {
        customer: Some(None),
        ..NumberFilter::default()
    };
    let stock = every!(page => numbers::list(connection, &inventory, page));
    let filter = CustomerFilter::default();
    let all_customers = every!(page => customers::list(connection, &filter, page));
    let mut whole = File {
        regions: all_regions
            .iter()
            .map(|region| {
                (
                    region.settings.code.clone(),
                    table(&region.settings, &["code"]),
                )
            })
            .collect(),
        pbx_types: types
            .iter()
            .map(|kind| (kind.settings.code.clone(), table(&kind.settings, &["code"])))
            .collect(),
        partners: known.iter().map(|known| partner(known, &emails)).collect(),
        trunks: trunk_tables("trunks", &shared, &HashMap::new(), secrets),
        numbers: stock
            .iter()
            .map(|row| (row.number.clone(), table(&StockTable::from(row), &[])))
            .collect(),
        customers: Tables::new(),
    };
    let sorted: BTreeMap<_, _> = all_customers
        .iter()
        .map(|customer| (customer.settings.account_id.clone(), customer))
        .collect();
    for (account, customer) in sorted {
        let exported = customer_table(connection, customer, &emails, secrets).await?;
        whole.customers.insert(account, exported);
    }
    Ok(whole)
}

fn partner(partner: &PartnerRecord, emails: &HashMap<Uuid, String>) -> (String, Table) {
    let mut fields = table(&partner.settings, &["email", "parent_id"]);
    let parent = partner.settings.parent_id.and_then(|id| emails.get(&id));
    if let Some(parent) = parent {
        fields.insert("parent".to_owned(), parent.as_str().into());
    }
    (partner.settings.email.clone(), fields)
}

fn trunk_tables(
    kind: &str,
    records: &[TrunkRecord],
    short_names: &HashMap<Uuid, String>,
    secrets: &mut Vec<Place>,
) -> Tables {
    let mut tables = Tables::new();
    for record in records {
        let mut fields = table(&record.settings, &["name", "service_id"]);
        let service = record
            .settings
            .service_id
            .and_then(|id| short_names.get(&id));
        if let Some(service) = service {
            fields.insert("service".to_owned(), service.as_str().into());
        }
        if record.password_set {
            secrets.push(Place::of(kind, &record.settings.name));
        }
        tables.insert(record.settings.name.clone(), fields);
    }
    secrets.sort_by_key(Place::to_string);
    tables
}

async fn customer_table(
    connection: &mut SqliteConnection,
    customer: &CustomerRecord,
    emails: &HashMap<Uuid, String>,
    secrets: &mut Vec<Place>,
) -> Result<Table, StoreError> {
    let (id, place) = (
        customer.id,
        Place::of("customers", &customer.settings.account_id),
    );
    let mut fields = table(&customer.settings, &["account_id", "partner_id"]);
    match customer.settings.activation_state {
        ActivationState::Inactive | ActivationState::Active => {}
        // Whether something is wrong at Microsoft, is found out again.
        ActivationState::Degraded => {
            fields.insert("activation_state".to_owned(), "active".into());
        }
        ActivationState::Activating => {
            fields.remove("activation_state");
        }
    }
    let bought = every!(page => services::list(connection, id, page));
    let short_names = bought
        .iter()
        .map(|service| (service.id, service.settings.short_name.clone()))
        .collect();
    let own_trunks = every!(page => trunks::list(connection, Some(id), page));
    let mut own_secrets = Vec::new();
    let kind = place.below("trunks").to_string();
    let models = models::list(connection, id).await?;
    let parts = Parts {
        partner: customer
            .settings
            .partner_id
            .and_then(|id| emails.get(&id).cloned()),
        co_management: Some(CoManaged::from(&customer.co_management))
            .filter(|consent| *consent != CoManaged::default()),
        device_models: Some(models.iter().map(|model| model.code.to_owned()).collect())
            .filter(|_| !models.is_empty()),
        services: bought
            .iter()
            .map(|service| {
                let settings = &service.settings;
                (
                    settings.short_name.clone(),
                    table(settings, &["short_name"]),
                )
            })
            .collect(),
        gateways: gateway_tables(connection, id).await?,
        trunks: trunk_tables(&kind, &own_trunks, &short_names, &mut own_secrets),
        numbers: number_tables(connection, id).await?,
        users: user_tables(connection, id).await?,
        pbxs: pbx_tables(connection, id, &place, &mut own_secrets).await?,
    };
    secrets.append(&mut own_secrets);
    fields.append(&mut table(&parts, &[]));
    Ok(fields)
}

async fn gateway_tables(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Tables, StoreError> {
    use GatewayState::{Active, CodeMissing, Disabled, DnsPublished, Error, Pending, Verified};
    let mut tables = Tables::new();
    for gateway in gateways::of_customer(connection, customer).await? {
        let mut fields = table(&gateway.settings, &["region"]);
        match gateway.settings.state {
            Pending | Verified | Active | Disabled => {}
            CodeMissing | DnsPublished | Error => {
                fields.remove("state");
            }
        }
        tables.insert(gateway.settings.region, fields);
    }
    Ok(tables)
}

async fn number_tables(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Tables, StoreError> {
    let filter = NumberFilter {
        customer: Some(Some(customer)),
        ..NumberFilter::default()
    };
    let held = every!(page => numbers::list(connection, &filter, page));
    let stays = held.iter().filter(|row| row.desired == Desired::Present);
    Ok(stays
        .map(|row| (row.number.clone(), table(&NumberTable::from(row), &[])))
        .collect())
}

async fn user_tables(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Tables, StoreError> {
    let found = every!(page => users::list(connection, customer, page));
    Ok(found
        .iter()
        .map(|user| (user.settings.upn.clone(), table(&user.settings, &["upn"])))
        .collect())
}

/// Exchanges with their registrations.
async fn pbx_tables(
    connection: &mut SqliteConnection,
    customer: Uuid,
    place: &Place,
    secrets: &mut Vec<Place>,
) -> Result<Tables, StoreError> {
    let found = every!(page => pbxs::list(connection, customer, page));
    let registered = every!(page => registrations::list(connection, customer, page));
    let people = every!(page => users::list(connection, customer, page));
    let upns: HashMap<_, _> = people
        .iter()
        .map(|user| (user.id, user.settings.upn.as_str()))
        .collect();
    let mut tables = Tables::new();
    for pbx in &found {
        let here = place.below("pbxs").below(&pbx.settings.location);
        let mut below = Table::new();
        for registration in &registered {
            let settings = &registration.settings;
            let upn = settings.user_id.and_then(|id| upns.get(&id));
            // One without a user goes with the next Sync.
            let (true, Some(upn)) = (settings.pbx_id == pbx.id, upn) else {
                continue;
            };
            let mut fields = table(settings, &["pbx_id", "user_id", "username"]);
            fields.insert("user".to_owned(), (*upn).into());
            below.insert(settings.username.clone(), Value::Object(fields));
        }
        let names = below.keys();
        secrets.extend(names.map(|name| here.below("registrations").below(name)));
        let mut fields = table(&pbx.settings, &["location"]);
        if !below.is_empty() {
            fields.insert("registrations".to_owned(), Value::Object(below));
        }
        tables.insert(pbx.settings.location.clone(), fields);
    }
    secrets.sort_by_key(Place::to_string);
    Ok(tables)
}
