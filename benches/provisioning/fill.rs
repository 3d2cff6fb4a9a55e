//! Fills a database as the API would, a transaction for many customers.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tollgate::directory::{Config, Number};
use tollgate::provisioning::SyncState;
use tollgate::store::{
    Change, NewNumber, Store, customers, gateways, numbers, partners, regions, trunks,
};
use uuid::Uuid;

use crate::Size;

const PARTNERS: u32 = 100;
/// Customers of one transaction.
const AT_ONCE: u32 = 500;

/// Where it is.
pub fn database(folder: &Path) -> PathBuf {
    folder.join("tollgate.db")
}

/// What customer `index` is called.
pub fn account(index: u32) -> String {
    format!("account-{index:07}")
}

/// Where customer `index` is at Teams.
pub fn gateway(index: u32) -> String {
    format!("c{index}.sbc.example")
}

/// Where the exchange of customer `index` is.
pub fn exchange(index: u32) -> String {
    let [_, b, c, d] = index.to_be_bytes();
    format!("10.{b}.{c}.{d}")
}

/// Number `index` of all that there may be.
pub fn number(index: u32) -> Number {
    let text = format!("+1{}", 2_000_000_000_u64 + u64::from(index));
    text.parse().expect("a number")
}

/// Which numbers customer `index` has: the first has one in two hundred, the others share the rest.
pub fn numbers_of(index: u32, size: Size) -> std::ops::Range<u32> {
    let first = size.numbers / 200;
    let each = (size.numbers - first) / (size.customers - 1).max(1);
    match index {
        0 => 0..first,
        _ => first + (index - 1) * each..first + index * each,
    }
}

/// Numbers of nobody, behind those of customers.
pub fn stock(size: Size) -> std::ops::Range<u32> {
    size.numbers..size.numbers + size.numbers / 100
}

pub async fn fill(folder: &Path, size: Size) -> Value {
    let begun = Instant::now();
    let store = Store::open(&database(folder), Config::default()).await;
    let store = store.expect("a new database");
    let partners = frame(&store, size).await;
    for from in (0..size.customers).step_by(AT_ONCE as usize) {
        let mut rows = store.rows().await.expect("nobody else writes");
        for index in from..size.customers.min(from + AT_ONCE) {
            let partner = partners[(index % PARTNERS) as usize];
            one(&mut rows, index, partner, size).await;
        }
        rows.keep().await.expect("sound rows");
    }
    let seconds = begun.elapsed().as_secs_f64();

    let begun = Instant::now();
    let change = store.change().await.expect("nobody else writes");
    change.publish().await.expect("rows that fit together");
    let publish = begun.elapsed().as_secs_f64();
    store.close().await;
    let file = database(folder).metadata().expect("it is there").len();
    json!({
        "seconds": seconds,
        "numbers_per_second": (f64::from(size.numbers) / seconds).round(),
        "publish_all_seconds": publish,
        "file_mib": file / (1 << 20),
    })
}

/// What belongs to no customer: ten partners, each with nine below it, the region, numbers of nobody.
async fn frame(store: &Store, size: Size) -> Vec<Uuid> {
    let mut rows = store.rows().await.expect("nobody else writes");
    let region = json!({ "code": "NOAM", "display_name": "NOAM", "base_fqdn": "sbc.example" });
    regions::insert(&mut rows, &read(region))
        .await
        .expect("a region");
    let mut made: Vec<Uuid> = Vec::new();
    for index in 0..PARTNERS {
        let above = (index >= 10).then(|| made[(index % 10) as usize]);
        let settings = json!({
            "parent_id": above, "name": format!("Partner {index}"), "email": format!("sales@p{index}.example"),
            "offerings": ["trunk"],
        });
        let record = partners::insert(&mut rows, &read(settings)).await;
        made.push(record.expect("a partner").id);
    }
    for index in stock(size) {
        let new = NewNumber::from(number(index));
        numbers::stock(&mut rows, &new).await.expect("it is free");
    }
    rows.keep().await.expect("sound rows");
    made
}

async fn one(rows: &mut Change, index: u32, partner: Uuid, size: Size) {
    let customer = json!({
        "partner_id": partner, "account_id": account(index), "name": format!("Customer {index} Limited"),
        "tenant_name": format!("customer{index}.onmicrosoft.com"), "max_channels": 10, "regions": ["NOAM"],
        "admin_state": "enabled", "activation_state": "active",
    });
    let customer = customers::insert(rows, &read(customer)).await;
    let customer = customer.expect("a customer").id;
    let gateway = json!({ "region": "NOAM", "label": format!("c{index}"), "state": "active" });
    gateways::insert(rows, customer, &read(gateway))
        .await
        .expect("a gateway");
    let trunk = json!({
        "name": "pbx", "role": "pbx", "transport": "udp", "host": exchange(index), "acl": [exchange(index)],
        "options_ping_s": 60,
    });
    trunks::insert(rows, Some(customer), &read(trunk))
        .await
        .expect("a trunk");
    for index in numbers_of(index, size) {
        let new = NewNumber::from(number(index));
        numbers::insert(rows, customer, &new)
            .await
            .expect("it is free");
        let served = numbers::put_in_service(rows, customer, &new.number).await;
        served.expect("it is there");
    }
    let state = SyncState::Clean;
    customers::set_sync_state(rows, customer, state)
        .await
        .expect("it is there");
}

fn read<T: DeserializeOwned>(settings: Value) -> T {
    serde_json::from_value(settings).expect("settings")
}
