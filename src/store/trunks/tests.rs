use super::super::customers::{self, tests::acme};
use super::super::open::tests::fresh;
use super::*;
use serde_json::json;

fn settings(more: serde_json::Value) -> TrunkSettings {
    let mut body =
        json!({ "name": "pbx", "role": "pbx", "transport": "udp", "host": "pbx.example.net" });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    serde_json::from_value(body).unwrap()
}

#[tokio::test]
async fn a_trunk_comes_back_as_it_went_in_and_reaches_the_directory() {
    let (_folder, store) = fresh().await;
    let mut change = store.change().await.unwrap();
    let customer = Some(customers::insert(&mut change, &acme()).await.unwrap().id);
    let full = settings(json!({
        "port": 5070, "auth": "digest", "username": "u", "password": "s3same", "acl": ["198.51.100.7", "2001:db8::/64"],
        "cac_max_sessions": 3, "number_format": "national", "country_code": "44", "trunk_prefix": "0",
        "international_prefix": "00", "options_ping_s": 60, "priority": 2, "weight": 5, "state": "out_of_service",
        "profile": { "srtp": "optional", "codecs": ["PCMU"] },
    }));
    let stored = insert(&mut change, customer, &full).await.unwrap();
    assert_eq!(
        stored.settings,
        TrunkSettings {
            password: Password::Keep,
            ..full
        }
    );
    assert_eq!((stored.version, stored.password_set), (1, true));
    assert!(!serde_json::to_string(&stored).unwrap().contains("s3same"));
    assert_eq!(
        find(&mut change, None, stored.id).await.unwrap(),
        None,
        "not among the shared ones"
    );
    change.publish().await.unwrap();

    let directory = store.directory().load_full();
    let trunk = directory.trunk(stored.id).unwrap();
    assert_eq!(trunk.password.as_ref().unwrap().expose(), "s3same");
    assert_eq!(
        trunk.acl,
        [
            "198.51.100.7/32".parse().unwrap(),
            "2001:db8::/64".parse::<IpNet>().unwrap()
        ]
    );
    assert_eq!(trunk.number_format.write("+442079460000"), "02079460000");
}

#[tokio::test]
async fn a_password_is_kept_changed_or_removed() {
    let (_folder, store) = fresh().await;
    let mut change = store.change().await.unwrap();
    let id = insert(&mut change, None, &settings(json!({ "password": "old" })))
        .await
        .unwrap()
        .id;
    for (body, expected) in [
        (json!({}), Some("old")),
        (json!({ "password": "new" }), Some("new")),
        (json!({ "password": null }), None),
    ] {
        let updated = update(&mut change, None, id, &settings(body))
            .await
            .unwrap();
        assert_eq!(updated.password_set, expected.is_some());
        let keys = change.keys();
        let trunks = all(&mut change, &keys, None).await.unwrap();
        assert_eq!(trunks[0].password.as_ref().map(Secret::expose), expected);
    }
}

#[tokio::test]
async fn every_rule_is_told_by_its_field() {
    let (_folder, store) = fresh().await;
    let bad = settings(json!({
        "name": "", "host": "a b", "port": 0, "auth": "digest", "acl": ["::/0", "x", "10.0.0.0/8"], "options_ping_s": 1,
        "number_format": "national", "trunk_prefix": "a",
        "profile": { "min_se_s": 89, "session_expires_s": 60, "srtp_suites": [], "ring_timeout_s": 0,
                     "moh_method": "refer", "tone_country": "XX", "codecs": ["a/b"] },
    }));
    let Err(StoreError::Faults(faults)) =
        insert(&mut store.rows().await.unwrap(), None, &bad).await
    else {
        panic!("accepted");
    };
    let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "name",
            "host",
            "port",
            "username",
            "password",
            "options_ping_s",
            "acl[0]",
            "acl[1]",
            "trunk_prefix",
            "country_code",
            "profile.min_se_s",
            "profile.session_expires_s",
            "profile.srtp_suites",
            "profile.ring_timeout_s",
            "profile.moh_target",
            "profile.tone_country",
            "profile.codecs[0]",
        ]
    );
}

#[tokio::test]
async fn names_are_unique_within_a_customer_and_among_the_shared() {
    let (_folder, store) = fresh().await;
    let mut change = store.change().await.unwrap();
    let customer = Some(customers::insert(&mut change, &acme()).await.unwrap().id);
    let pbx = settings(json!({}));
    insert(&mut change, customer, &pbx).await.unwrap();
    insert(&mut change, None, &pbx).await.unwrap();
    for owner in [customer, None] {
        assert!(matches!(
            insert(&mut change, owner, &pbx).await,
            Err(StoreError::Taken(_))
        ));
    }
}
