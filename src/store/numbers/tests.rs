use super::super::CustomerSettings;
use super::super::customers::{self, tests::acme};
use super::super::open::tests::fresh;
use super::*;

fn number() -> Number {
    "+14255550100".parse().unwrap()
}

async fn two_customers(connection: &mut SqliteConnection) -> (Uuid, Uuid) {
    let ours = customers::insert(connection, &acme()).await.unwrap().id;
    let other = CustomerSettings {
        account_id: "b".into(),
        ..acme()
    };
    (
        ours,
        customers::insert(connection, &other).await.unwrap().id,
    )
}

/// Added it waits, put in service it serves, released it serves on until it leaves.
#[tokio::test]
async fn a_number_comes_serves_and_goes() {
    let (_folder, store) = fresh().await;
    let mut change = store.change().await.unwrap();
    let (ours, theirs) = two_customers(&mut change).await;
    let new = NewNumber::from(number());
    assert_eq!(insert(&mut change, ours, &new).await.unwrap(), Added::New);
    assert_eq!(
        insert(&mut change, ours, &new).await.unwrap(),
        Added::Exists
    );
    assert_eq!(
        insert(&mut change, theirs, &new).await.unwrap(),
        Added::Foreign
    );
    let now = async |change: &mut _| find(change, ours, &number()).await.unwrap().unwrap();
    let added = now(&mut change).await;
    assert_eq!(
        (added.status, added.in_service),
        (Some(NumberStatus::NeedsSync), false)
    );

    put_in_service(&mut change, ours, &number()).await.unwrap();
    let serving = now(&mut change).await;
    assert_eq!(
        (serving.status, serving.in_service),
        (Some(NumberStatus::InSync), true)
    );
    assert!(serving.in_service_since.is_some());
    put_in_service(&mut change, ours, &number()).await.unwrap();
    assert_eq!(
        now(&mut change).await.in_service_since,
        serving.in_service_since
    );

    release(&mut change, ours, &number(), Disposition::Retain)
        .await
        .unwrap();
    let going = now(&mut change).await;
    assert_eq!(
        (going.status, going.in_service),
        (Some(NumberStatus::PendingRemove), true)
    );
    assert_eq!(insert(&mut change, ours, &new).await.unwrap(), Added::Kept);
    assert_eq!(now(&mut change).await.status, Some(NumberStatus::InSync));

    let leave = |disposition| Verdict::Leave(disposition);
    settle(
        &mut change,
        ours,
        &number(),
        leave(Disposition::Retain),
        None,
    )
    .await
    .unwrap();
    let kept = did(&mut change, &number()).await.unwrap().unwrap();
    assert_eq!(
        (kept.customer_id, kept.status, kept.in_service),
        (None, None, false)
    );
    assert_eq!(insert(&mut change, theirs, &new).await.unwrap(), Added::New);
    settle(
        &mut change,
        theirs,
        &number(),
        leave(Disposition::Delete),
        None,
    )
    .await
    .unwrap();
    assert_eq!(did(&mut change, &number()).await.unwrap(), None);
}

/// T-33: an identifier that is no number may belong to two customers, a number may not.
#[tokio::test]
async fn extensions_are_unique_in_one_customer_only() {
    let (_folder, store) = fresh().await;
    let mut change = store.change().await.unwrap();
    let (ours, theirs) = two_customers(&mut change).await;
    let new = NewNumber {
        kind: NumberKind::Extension,
        ..NewNumber::from("+11000".parse::<Number>().unwrap())
    };
    for customer in [ours, theirs] {
        assert_eq!(
            insert(&mut change, customer, &new).await.unwrap(),
            Added::New
        );
        assert_eq!(
            insert(&mut change, customer, &new).await.unwrap(),
            Added::Exists
        );
        put_in_service(&mut change, customer, &new.number)
            .await
            .unwrap();
    }
    let serving = all(&mut change, None).await.unwrap();
    assert_eq!((serving.dids.len(), serving.extensions.len()), (0, 2));
    change
        .publish()
        .await
        .expect("they do not contradict each other");
}

/// What Microsoft has is listed and never reaches the directory.
#[tokio::test]
async fn a_number_from_microsoft_is_only_listed() {
    let (_folder, store) = fresh().await;
    let mut change = store.change().await.unwrap();
    let (ours, _) = two_customers(&mut change).await;
    let seen = NewNumber {
        source: NumberSource::Microsoft,
        ..NewNumber::from(number())
    };
    insert(&mut change, ours, &seen).await.unwrap();
    put_in_service(&mut change, ours, &number()).await.unwrap();
    change.publish().await.unwrap();
    assert!(store.directory().load().number(&number()).is_none());
    let filter = NumberFilter {
        customer: Some(Some(ours)),
        prefix: Some("+1425".into()),
        ..NumberFilter::default()
    };
    let mut connection = store.read().await.unwrap();
    let listed = list(&mut connection, &filter, Page::default())
        .await
        .unwrap();
    assert_eq!(listed.items.len(), 1);
    let nobodys = NumberFilter {
        customer: Some(None),
        ..NumberFilter::default()
    };
    let listed = list(&mut connection, &nobodys, Page::default())
        .await
        .unwrap();
    assert_eq!(listed.items, []);
}
