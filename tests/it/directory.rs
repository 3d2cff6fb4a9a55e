//! What is provisioned, and what calls then may do: rows go through the store, questions to the directory.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

use proptest::prelude::*;
use std::net::SocketAddr;
use tempfile::TempDir;
use tollgate::directory::*;
use tollgate::provisioning::Verdict;
use tollgate::sip::{Flow, PeerCertificate, Realm, Source, Transport};
use tollgate::store::{
    CustomerSettings, GatewaySettings, RegionSettings, Store, TrunkSettings, customers, gateways,
    numbers, regions, trunks,
};
use uuid::Uuid;

/// A store with region `EU`.
async fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("tollgate.db"), Config::default())
        .await
        .unwrap();
    let region = serde_json::json!({ "code": "EU", "display_name": "Europe", "base_fqdn": "eu.example.net" });
    let region: RegionSettings = serde_json::from_value(region).unwrap();
    let mut change = store.change().await.unwrap();
    regions::insert(&mut change, &region).await.unwrap();
    change.publish().await.unwrap();
    (folder, store)
}

/// An active customer with gateway `<account>.eu.example.net`, a number, and a trunk that sends from 198.51.100.7.
async fn provision(store: &Store, account: &str, number: &str) -> Uuid {
    let customer: CustomerSettings = serde_json::from_value(serde_json::json!({
        "account_id": account, "name": account, "max_channels": 2, "regions": ["EU"], "activation_state": "active",
    }))
    .unwrap();
    let gateway = serde_json::json!({ "region": "EU", "label": account, "state": "active" });
    let gateway: GatewaySettings = serde_json::from_value(gateway).unwrap();
    let trunk: TrunkSettings = serde_json::from_value(serde_json::json!({
        "name": format!("{account}-pbx"), "role": "pbx", "transport": "udp", "host": "pbx.example.net", "acl": ["198.51.100.7"],
    }))
    .unwrap();
    let mut change = store.change().await.unwrap();
    let id = customers::insert(&mut change, &customer).await.unwrap().id;
    gateways::insert(&mut change, id, &gateway).await.unwrap();
    let number: Number = number.parse().unwrap();
    numbers::insert(&mut change, id, &number.into())
        .await
        .unwrap();
    numbers::put_in_service(&mut change, id, &number)
        .await
        .unwrap();
    trunks::insert(&mut change, Some(id), &trunk).await.unwrap();
    change.publish().await.unwrap();
    id
}

fn source(transport: Transport, remote: &str, realm: Option<Realm>) -> Source {
    let (remote, local): (SocketAddr, SocketAddr) =
        (remote.parse().unwrap(), "192.0.2.1:5061".parse().unwrap());
    let certificate = realm.map(|realm| {
        PeerCertificate {
            realm,
            names: Vec::new(),
        }
        .into()
    });
    Source {
        transport,
        flow: Flow(1),
        remote,
        local,
        certificate,
    }
}

fn teams() -> Source {
    source(Transport::Tls, "52.114.75.24:10001", Some(Realm::Teams))
}

fn pbx() -> Source {
    source(Transport::Udp, "198.51.100.7:5060", None)
}

/// Where a call goes first, or why it does not.
fn call(
    directory: &Directory,
    from: &Source,
    host: &str,
    called: &str,
    caller: &str,
) -> Result<String, Denied> {
    let origin = directory.origin(from)?;
    let attempt = Attempt {
        origin: &origin,
        request_host: host,
        called,
        caller,
        random: 7,
    };
    let admission = directory.admit(&attempt).map_err(|denial| denial.denied)?;
    Ok(admission.routes[0].name().to_owned())
}

/// O-12, O-13, P-16: what is published is what calls may do, both ways; the one address of the PBX serves both customers.
#[tokio::test]
async fn calls_obey_what_was_last_published() {
    let (_folder, store) = store().await;
    let before = store.directory().load_full();
    assert_eq!(
        call(&before, &pbx(), "", "+14255550100", "100"),
        Err(Denied::UnknownPeer)
    );
    provision(&store, "acme", "+14255550100").await;
    provision(&store, "rival", "+14255550200").await;

    let now = store.directory().load_full();
    assert_eq!(now.generation, before.generation + 2);
    for (account, number) in [("acme", "+14255550100"), ("rival", "+14255550200")] {
        let fqdn = format!("{account}.eu.example.net");
        assert_eq!(
            call(&now, &teams(), &fqdn, "+4930123456", number),
            Ok(format!("{account}-pbx"))
        );
        assert_eq!(call(&now, &pbx(), "192.0.2.1", number, "100"), Ok(fqdn));
    }
    assert_eq!(
        call(&before, &pbx(), "", "+14255550100", "100"),
        Err(Denied::UnknownPeer),
        "a snapshot never changes"
    );
}

/// TDR-1212: one customer neither calls in another's name nor through another's gateway.
#[tokio::test]
async fn customers_are_kept_apart() {
    let (_folder, store) = store().await;
    provision(&store, "acme", "+14255550100").await;
    provision(&store, "rival", "+14255550200").await;
    let directory = store.directory().load_full();
    let from_teams = |host, caller| call(&directory, &teams(), host, "+4930123456", caller);
    assert_eq!(
        from_teams("rival.eu.example.net", "+14255550100"),
        Err(Denied::CallerNotAllowed)
    );
    assert_eq!(
        from_teams("eu.example.net", "+14255550100"),
        Err(Denied::UnknownGateway)
    );

    let trunk = directory
        .trunks()
        .find(|trunk| trunk.name == "acme-pbx")
        .unwrap()
        .clone();
    let attempt = Attempt {
        origin: &Origin::Trunk(trunk),
        request_host: "",
        called: "+14255550200",
        caller: "100",
        random: 7,
    };
    assert_eq!(
        directory.admit(&attempt).unwrap_err().denied,
        Denied::ForeignTrunk
    );
}

/// T-34 and its kin: each state alone stops new calls, both ways, and only as long as it lasts.
#[tokio::test]
async fn states_stop_calls_and_let_them_go_on() {
    let (_folder, store) = store().await;
    let id = provision(&store, "acme", "+14255550100").await;
    let number: Number = "+14255550100".parse().unwrap();
    let set = async |admin_state, activation_state, in_service| {
        let mut change = store.change().await.unwrap();
        let settings = customers::find(&mut change, id)
            .await
            .unwrap()
            .unwrap()
            .settings;
        let settings = CustomerSettings {
            admin_state,
            activation_state,
            ..settings
        };
        customers::update(&mut change, id, &settings).await.unwrap();
        let verdict = Verdict::Stand {
            status: None,
            in_service,
        };
        numbers::settle(&mut change, id, &number, verdict, None)
            .await
            .unwrap();
        change.publish().await.unwrap();
        let directory = store.directory().load_full();
        let out = call(
            &directory,
            &teams(),
            "acme.eu.example.net",
            "+4930123456",
            number.as_str(),
        );
        (
            out.err(),
            call(&directory, &pbx(), "", number.as_str(), "100").err(),
        )
    };
    use ActivationState::{Active, Inactive};
    use AdminState::{Disabled, Enabled};
    let same = |denied| (Some(denied), Some(denied));
    assert_eq!(
        set(Disabled, Active, true).await,
        same(Denied::CustomerDisabled)
    );
    assert_eq!(
        set(Enabled, Inactive, true).await,
        same(Denied::CustomerInactive)
    );
    assert_eq!(
        set(Enabled, Active, false).await,
        (
            Some(Denied::CallerNotAllowed),
            Some(Denied::NumberNotInService)
        )
    );
    assert_eq!(set(Enabled, Active, true).await, (None, None));
}

/// P-28, P-30, P-31: both directions count together, a raised limit holds at once, a lowered one cuts nobody off.
#[tokio::test]
async fn a_new_limit_counts_the_calls_that_are_up() {
    let (_folder, store) = store().await;
    let id = provision(&store, "acme", "+14255550100").await;
    let ledger = Ledger::default();
    let customer =
        || -> std::sync::Arc<Customer> { store.directory().load().customer(id).unwrap().clone() };
    let limit = async |max_channels| {
        let mut change = store.change().await.unwrap();
        let settings = customers::find(&mut change, id)
            .await
            .unwrap()
            .unwrap()
            .settings;
        customers::update(
            &mut change,
            id,
            &CustomerSettings {
                max_channels,
                ..settings
            },
        )
        .await
        .unwrap();
        change.publish().await.unwrap();
    };
    let mut calls: Vec<_> = (0..2).map(|_| ledger.take(&customer()).unwrap()).collect();
    assert!(ledger.take(&customer()).is_none());
    limit(3).await;
    calls.push(ledger.take(&customer()).unwrap());
    limit(1).await;
    for up in (1..=3).rev() {
        assert_eq!(ledger.usage(id).in_use, up);
        assert!(
            ledger.take(&customer()).is_none(),
            "{up} are up, 1 is allowed"
        );
        calls.pop();
    }
    assert!(ledger.take(&customer()).is_some());
}

/// One customer whose callers may present anything, with a gateway, a number and a carrier.
fn unscreened() -> Directory {
    let customer = Customer {
        id: Uuid::from_u128(1),
        account_id: "acme".into(),
        name: "Acme".into(),
        max_channels: 1,
        regions: vec!["EU".into()],
        pbx_moh: false,
        music: None,
        caller_screening: false,
        emergency_numbers: Vec::new(),
        admin_state: AdminState::Enabled,
        activation_state: ActivationState::Active,
    };
    let region = Region {
        code: "EU".into(),
        base_fqdn: "eu.example.net".into(),
        sip_port: 5061,
        media_bypass: false,
        emergency_numbers: Vec::new(),
        enabled: true,
    };
    let gateway = Gateway {
        id: Uuid::from_u128(2),
        customer: customer.id,
        region: "EU".into(),
        fqdn: "acme.eu.example.net".into(),
        sip_port: 5061,
        media_bypass: false,
        state: GatewayState::Active,
    };
    let trunk = Trunk {
        id: Uuid::from_u128(3),
        customer: None,
        name: "carrier".into(),
        role: Role::Carrier,
        transport: Transport::Udp,
        host: "carrier.example.net".into(),
        port: None,
        auth: Auth::IpAcl,
        username: None,
        password: None,
        acl: vec!["198.51.100.7/32".parse().unwrap()],
        cac_max_sessions: None,
        number_format: NumberFormat::E164,
        options_ping: None,
        priority: 0,
        weight: 1,
        state: TrunkState::InService,
        profile: Profile::trunk(),
        line: None,
    };
    let number = PhoneNumber {
        number: "+14255550100".parse().unwrap(),
        customer: customer.id,
        in_service: true,
    };
    Directory::compile(Rows {
        regions: vec![region],
        gateways: vec![gateway],
        trunks: vec![trunk],
        numbers: vec![number],
        customers: vec![customer],
        ..Rows::default()
    })
    .unwrap()
}

proptest! {
    /// Whatever the user parts of a Request-URI and a From hold, Teams' call is admitted as dialled, and what comes out
    /// would come out again if it were dialled; a trunk reaches the one number by its digits only.
    #[test]
    fn any_user_part_is_decided_and_stays_what_it_is(
        called in "\\PC{1,40}|[+0-9*#;=ext%2Bb.()-]{1,24}",
        caller in "\\PC{0,20}|[+0-9;=]{0,20}",
    ) {
        let directory = unscreened();
        let teams = Attempt { origin: &Origin::Teams, request_host: "acme.eu.example.net", called: &called, caller: &caller, random: 1 };
        match directory.admit(&teams) {
            Ok(admission) => {
                let again = directory.admit(&Attempt { called: &admission.called, ..teams }).unwrap();
                prop_assert_eq!(again.called, admission.called);
            }
            Err(denial) => {
                prop_assert_eq!(denial.denied, Denied::NumberNotInService);
                prop_assert!(called.starts_with(';'), "only parameters");
            }
        }
        let origin = directory.origin(&pbx()).unwrap();
        if let Ok(admission) = directory.admit(&Attempt { origin: &origin, ..teams }) {
            prop_assert!(admission.called.starts_with("+14255550100"));
        }
    }
}
