//! Lists and searches of the store, as the API asks for them.

use serde_json::json;
use tollgate::directory::{Config, Number};
use tollgate::provisioning::NumberStatus;
use tollgate::store::{
    CustomerFilter, CustomerSettings, CustomerSort, NewNumber, NumberFilter, Page, Store,
    StoreError, customers, numbers,
};

async fn fresh() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("tollgate.db"), Config::default()).await;
    (folder, store.unwrap())
}

fn customer(account: &str, name: &str) -> CustomerSettings {
    let settings = json!({ "account_id": account, "name": name, "max_channels": 2 });
    serde_json::from_value(settings).unwrap()
}

/// What many have is looked for and not looked up. It is found all the same, in order, whatever it is made of.
#[tokio::test]
async fn what_many_have_is_found_as_well() {
    let (_folder, store) = fresh().await;
    let mut change = store.rows().await.unwrap();
    for n in 0..1100 {
        let settings = customer(
            &n.to_string(),
            &format!("Customer {:04} at 5% of_all", 1100 - n),
        );
        customers::insert(&mut change, &settings).await.unwrap();
    }
    for (text, first) in [
        ("CUSTOMER", Some("1099")),
        ("5% OF_", Some("1099")),
        ("%", Some("1099")),
        ("stomer 0777", Some("323")),
        ("cust%mer", None),
        ("ofxall", None),
        ("!", None),
    ] {
        let filter = CustomerFilter {
            text: Some(text.into()),
            sort: CustomerSort::Name,
            ..CustomerFilter::default()
        };
        let page = Page {
            after: None,
            limit: 2,
        };
        let found = customers::list(&mut change, &filter, page)
            .await
            .unwrap()
            .items;
        let found = found.first().map(|c| c.settings.account_id.as_str());
        assert_eq!(found, first, "{text}");
    }
}

/// Everybody's numbers come in their order, whoever has them, in pages that leave out none; a customer's in that of creation.
#[tokio::test]
async fn everybodys_numbers_come_in_their_order() {
    let (_folder, store) = fresh().await;
    let mut change = store.rows().await.unwrap();
    let ours = customers::insert(&mut change, &customer("a", "Ours")).await;
    let theirs = customers::insert(&mut change, &customer("b", "Theirs")).await;
    let (ours, theirs) = (ours.unwrap().id, theirs.unwrap().id);
    for (last, owner) in [
        (5, Some(ours)),
        (3, None),
        (4, Some(theirs)),
        (1, Some(ours)),
        (2, None),
    ] {
        let new = NewNumber::from(format!("+1425555010{last}").parse::<Number>().unwrap());
        match owner {
            Some(owner) => drop(numbers::insert(&mut change, owner, &new).await.unwrap()),
            None => numbers::stock(&mut change, &new).await.unwrap(),
        }
    }
    let filter = NumberFilter::default;
    let begins = |text: &str| Some(text.to_owned());
    for (filter, numbers) in [
        (filter(), "12345"),
        (
            NumberFilter {
                taken: true,
                ..filter()
            },
            "145",
        ),
        (
            NumberFilter {
                customer: Some(None),
                ..filter()
            },
            "23",
        ),
        (
            NumberFilter {
                customer: Some(None),
                prefix: begins("+142"),
                ..filter()
            },
            "23",
        ),
        (
            NumberFilter {
                prefix: begins("+14255550104"),
                ..filter()
            },
            "4",
        ),
        (
            NumberFilter {
                prefix: begins("+2"),
                ..filter()
            },
            "",
        ),
        (
            NumberFilter {
                status: Some(NumberStatus::NeedsSync),
                prefix: begins("+1"),
                ..filter()
            },
            "145",
        ),
        (
            NumberFilter {
                status: Some(NumberStatus::InSync),
                ..filter()
            },
            "",
        ),
        (
            NumberFilter {
                customer: Some(Some(ours)),
                ..filter()
            },
            "51",
        ),
        (
            NumberFilter {
                customer: Some(Some(ours)),
                prefix: begins("+14255550101"),
                ..filter()
            },
            "1",
        ),
        (
            NumberFilter {
                customer: Some(Some(ours)),
                status: Some(NumberStatus::NeedsSync),
                ..filter()
            },
            "51",
        ),
    ] {
        let (mut page, mut seen) = (
            Page {
                after: None,
                limit: 2,
            },
            String::new(),
        );
        loop {
            let part = numbers::list(&mut change, &filter, page).await.unwrap();
            seen.extend(
                part.items
                    .iter()
                    .filter_map(|item| item.number.chars().last()),
            );
            match part.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, numbers, "{filter:?}");
    }
    let gone = Page {
        after: Some(99),
        limit: 2,
    };
    let lost = numbers::list(&mut change, &filter(), gone).await;
    assert!(matches!(lost, Err(StoreError::LostPlace)));
}
