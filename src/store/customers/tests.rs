use super::super::Page;
use super::super::open::tests::fresh;
use super::super::partners::tests::reseller;
use super::*;

pub(in super::super) fn acme() -> CustomerSettings {
    let settings = serde_json::json!({ "account_id": "acme", "name": "Acme", "max_channels": 2 });
    serde_json::from_value(settings).unwrap()
}

/// Four are the least that a customer needs to say; the rest has defaults.
#[tokio::test]
async fn a_customer_comes_back_as_it_went_in() {
    let (_folder, store) = fresh().await;
    let mut connection = store.read().await.unwrap();
    let mut sold = reseller("p@p.example", None);
    sold.offerings.push(Offering::Pbx);
    let partner = partners::insert(&mut connection, &sold).await.unwrap().id;
    let full = CustomerSettings {
        partner_id: Some(partner),
        account_id: "full".into(),
        name: "Ünïcode & Söhne".into(),
        tenant_name: Some("Full.onmicrosoft.com".into()),
        admin_email: Some("Admin@full.example".into()),
        seat_type: Some(SeatType::Bundled),
        user_limit: Some(3),
        offerings: vec![Offering::Trunk, Offering::Pbx],
        pbx_types: vec!["generic".into()],
        allow_external_numbers: false,
        can_add_extensions: true,
        billing_references: vec!["a".into(), "b".into()],
        max_channels: 7,
        regions: vec!["US".into(), "EU".into()],
        pbx_moh: true,
        sip_data_access: true,
        caller_screening: false,
        emergency_numbers: vec!["110".into()],
        admin_state: AdminState::Disabled,
        activation_state: ActivationState::Active,
        activation_reason: Some("migrated".into()),
    };
    for settings in [acme(), full] {
        let inserted = insert(&mut connection, &settings).await.unwrap();
        assert_eq!((&inserted.settings, inserted.version), (&settings, 1));
        assert_eq!(
            find(&mut connection, inserted.id).await.unwrap().unwrap(),
            inserted
        );
        let changed = CustomerSettings {
            max_channels: 99,
            ..settings.clone()
        };
        let updated = update(&mut connection, inserted.id, &changed)
            .await
            .unwrap();
        assert_eq!((updated.settings, updated.version), (changed, 2));
    }
}

#[tokio::test]
async fn an_account_id_is_taken_once() {
    let (_folder, store) = fresh().await;
    let mut connection = store.read().await.unwrap();
    insert(&mut connection, &acme()).await.unwrap();
    let error = insert(&mut connection, &acme()).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken(what) if what == "customers.account_id"));
}

/// Five in pages of two: none missing, none twice.
#[tokio::test]
async fn pages_make_up_the_whole_list() {
    let (_folder, store) = fresh().await;
    let mut connection = store.read().await.unwrap();
    for n in 0..5 {
        insert(
            &mut connection,
            &CustomerSettings {
                account_id: n.to_string(),
                ..acme()
            },
        )
        .await
        .unwrap();
    }
    let (mut seen, mut page) = (
        Vec::new(),
        Page {
            after: None,
            limit: 2,
        },
    );
    loop {
        let listed = list(&mut connection, &CustomerFilter::default(), page)
            .await
            .unwrap();
        seen.extend(listed.items.iter().map(|c| c.settings.account_id.clone()));
        let Some(next) = listed.next else { break };
        page.after = Some(next);
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4"]);
}

/// In every order, cut in pages of two, none is missing and none comes twice; with a filter only those that fit.
#[tokio::test]
async fn lists_are_sorted_searched_and_cut() {
    let (_folder, store) = fresh().await;
    let mut connection = store.read().await.unwrap();
    for (account, name, state) in [
        ("3", "beta", AdminState::Enabled),
        ("1", "Alpha \"quoted\"", AdminState::Disabled),
        ("2", "beta", AdminState::Enabled),
        ("4", "Gamma", AdminState::Enabled),
        ("5", "Ältere", AdminState::Enabled),
    ] {
        let settings = CustomerSettings {
            account_id: account.into(),
            name: name.into(),
            tenant_name: Some(format!("t{account}.onmicrosoft.com")),
            admin_state: state,
            ..acme()
        };
        insert(&mut connection, &settings).await.unwrap();
    }
    let mut pages = async |filter: CustomerFilter| {
        let (mut seen, mut page) = (
            String::new(),
            Page {
                after: None,
                limit: 2,
            },
        );
        loop {
            let listed = list(&mut connection, &filter, page).await.unwrap();
            seen.extend(listed.items.iter().map(|c| c.settings.account_id.clone()));
            let Some(next) = listed.next else { return seen };
            page.after = Some(next);
        }
    };
    let sorted = |sort| CustomerFilter {
        sort,
        ..CustomerFilter::default()
    };
    assert_eq!(pages(sorted(CustomerSort::Oldest)).await, "31245");
    assert_eq!(pages(sorted(CustomerSort::Newest)).await, "54213");
    assert_eq!(pages(sorted(CustomerSort::Name)).await, "13245");
    assert_eq!(pages(sorted(CustomerSort::NameDown)).await, "54231");
    assert_eq!(pages(sorted(CustomerSort::Account)).await, "12345");
    assert_eq!(pages(sorted(CustomerSort::AccountDown)).await, "54321");
    let text = |text: &str| CustomerFilter {
        text: Some(text.into()),
        ..CustomerFilter::default()
    };
    assert_eq!(pages(text("BET")).await, "32");
    assert_eq!(pages(text("a \"quo")).await, "1");
    assert_eq!(pages(text("T4.onmicrosoft")).await, "4");
    assert_eq!(pages(text("b")).await, "32");
    assert_eq!(pages(text("nowhere")).await, "");
    assert_eq!(pages(text("OR NOT *")).await, "");
    let off = CustomerFilter {
        state: Some(CustomerStates::Admin(AdminState::Disabled)),
        ..CustomerFilter::default()
    };
    assert_eq!(pages(off).await, "1");
    let gone = Page {
        after: Some(99),
        limit: 2,
    };
    let lost = list(&mut connection, &sorted(CustomerSort::Name), gone).await;
    assert!(matches!(lost, Err(StoreError::LostPlace)));
}

/// A tenant has one customer, in whatever case its name is written.
#[tokio::test]
async fn a_tenant_is_taken_once() {
    let (_folder, store) = fresh().await;
    let mut connection = store.read().await.unwrap();
    let of = |account: &str, tenant: &str| CustomerSettings {
        account_id: account.into(),
        tenant_name: Some(tenant.into()),
        ..acme()
    };
    insert(&mut connection, &of("a", "Contoso.example"))
        .await
        .unwrap();
    let twice = insert(&mut connection, &of("b", "contoso.EXAMPLE"))
        .await
        .unwrap_err();
    assert!(matches!(twice, StoreError::Taken(what) if what == "customers.tenant_name"));
}
