//! What lists and searches of the API ask the database for.

use std::time::Instant;

use serde_json::{Map, Value};
use tollgate::provisioning::{NumberStatus, SyncState};
use tollgate::store::{
    CustomerFilter, CustomerSort, CustomerStates, NumberFilter, Page, Store, customers, numbers,
};

use crate::{Size, fill, summary};

/// How often each is asked.
const TIMES: u32 = 40;

/// A page of as many as the API gives if nothing else is said, after this row.
fn page(after: Option<i64>) -> Page {
    Page { after, limit: 50 }
}

pub async fn measure(store: &Store, size: Size) -> Value {
    let mut figures = Map::new();
    of_customers(store, size, &mut figures).await;
    of_numbers(store, size, &mut figures).await;
    figures.into()
}

async fn of_customers(store: &Store, size: Size, figures: &mut Map<String, Value>) {
    let mut connection = store.read().await.expect("a connection");
    let first = customers::list(&mut connection, &CustomerFilter::default(), page(None)).await;
    let master = first.expect("a list").items[0].settings.partner_id;
    let filter = CustomerFilter::default;
    let named = |text: &str| CustomerFilter {
        text: Some(text.to_owned()),
        ..filter()
    };
    let half = Some(i64::from(size.customers / 2));
    let asked = [
        ("customers, the first", filter(), None),
        ("customers, from the middle on", filter(), half),
        (
            "customers by name, from the middle on",
            CustomerFilter {
                sort: CustomerSort::Name,
                ..filter()
            },
            half,
        ),
        (
            "a partner's customers, its resellers' too",
            CustomerFilter {
                within: master,
                ..filter()
            },
            None,
        ),
        (
            "the same by name",
            CustomerFilter {
                within: master,
                sort: CustomerSort::Name,
                ..filter()
            },
            None,
        ),
        (
            "customers that wait for a Sync: none",
            CustomerFilter {
                state: Some(CustomerStates::Sync(SyncState::Dirty)),
                ..filter()
            },
            None,
        ),
        (
            "customers by name that do not: all",
            CustomerFilter {
                state: Some(CustomerStates::Sync(SyncState::Clean)),
                sort: CustomerSort::Name,
                ..filter()
            },
            None,
        ),
        (
            "search for what one has",
            named(&fill::account(size.customers / 2)),
            None,
        ),
        ("search for what all have", named("limited"), None),
        (
            "the same by name, of a partner",
            CustomerFilter {
                within: master,
                sort: CustomerSort::Name,
                ..named("limited")
            },
            None,
        ),
        ("search for what none has", named("zebra"), None),
        ("search for two letters that none has", named("zz"), None),
    ];
    for (name, filter, after) in asked {
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let begun = Instant::now();
            let list = customers::list(&mut connection, &filter, page(after)).await;
            times.push(begun.elapsed());
            list.expect("a list");
        }
        figures.insert(name.to_owned(), summary(times));
    }
}

async fn of_numbers(store: &Store, size: Size, figures: &mut Map<String, Value>) {
    let largest = crate::customer(store, 0).await;
    let mut connection = store.read().await.expect("a connection");
    let filter = NumberFilter::default;
    let of_nobody = || NumberFilter {
        customer: Some(None),
        ..filter()
    };
    let begins = |text: &str| Some(text.to_owned());
    let half = Some(i64::from(size.numbers / 2));
    let asked = [
        ("numbers, the first", filter(), None),
        ("numbers, from the middle on", filter(), half),
        (
            "the largest customer's numbers",
            NumberFilter {
                customer: Some(Some(largest)),
                ..filter()
            },
            None,
        ),
        ("numbers of nobody", of_nobody(), None),
        (
            "numbers of nobody that begin so",
            NumberFilter {
                prefix: begins("+12"),
                ..of_nobody()
            },
            None,
        ),
        (
            "numbers that begin as all do",
            NumberFilter {
                prefix: begins("+1"),
                ..filter()
            },
            None,
        ),
        (
            "the same from the middle on",
            NumberFilter {
                prefix: begins("+1"),
                ..filter()
            },
            half,
        ),
        (
            "numbers that wait for a Sync: none",
            NumberFilter {
                taken: true,
                status: Some(NumberStatus::NeedsSync),
                ..filter()
            },
            None,
        ),
        (
            "numbers that begin as all do and wait",
            NumberFilter {
                prefix: begins("+1"),
                status: Some(NumberStatus::NeedsSync),
                ..filter()
            },
            None,
        ),
    ];
    for (name, filter, after) in asked {
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let begun = Instant::now();
            let list = numbers::list(&mut connection, &filter, page(after)).await;
            times.push(begun.elapsed());
            list.expect("a list");
        }
        figures.insert(name.to_owned(), summary(times));
    }
}
