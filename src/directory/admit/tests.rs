use super::super::examples::{
    self, customer, gateway, id, phone_number, region, registration, rows, trunk,
};
use super::super::{Forwarded, GatewayState, Region, Rows, TrunkState};
use super::*;

const OURS: &str = "+14255550100";
const THEIRS: &str = "+14255550200";

fn pbx() -> Trunk {
    trunk("pbx", Some(id("acme")))
}

/// `acme` as in the examples with its PBX, and `rival` with a number, a gateway and a trunk of its own.
fn two_customers() -> Rows {
    let rival = customer("rival");
    let mut rows = rows(vec![
        pbx(),
        trunk("rival-pbx", Some(rival.id)),
        trunk("carrier", None),
    ]);
    rows.gateways
        .push(gateway(&rival, "EU", "rival.eu.example"));
    rows.numbers.push(phone_number(THEIRS, &rival));
    rows.customers.push(rival);
    rows
}

fn teams(rows: Rows, host: &str, called: &str, caller: &str) -> Result<Admission, Denied> {
    let attempt = Attempt {
        origin: &Origin::Teams,
        request_host: host,
        called,
        caller,
        random: 1,
    };
    Directory::compile(rows)
        .unwrap()
        .admit(&attempt)
        .map_err(|denial| denial.denied)
}

fn from_acme(rows: Rows, called: &str) -> Result<Admission, Denied> {
    teams(rows, "acme.eu.example", called, OURS)
}

fn from_trunk(rows: Rows, name: &str, called: &str) -> Result<Admission, Denial> {
    let directory = Directory::compile(rows).unwrap();
    let origin = Origin::Trunk(directory.trunk(id(name)).unwrap().clone());
    directory.admit(&Attempt {
        origin: &origin,
        request_host: "192.0.2.1",
        called,
        caller: "+4930123456",
        random: 1,
    })
}

fn trunk_names(admission: &Admission) -> Vec<&str> {
    admission.routes.iter().map(Route::name).collect()
}

#[test]
fn a_call_from_teams_goes_to_the_customers_trunk_then_to_the_carrier() {
    let admission = teams(two_customers(), "ACME.eu.example.", "+4930987654", OURS).unwrap();
    assert_eq!(admission.customer.account_id, "acme");
    assert_eq!(admission.gateway.as_ref().unwrap().fqdn, "acme.eu.example");
    assert_eq!(
        (admission.called.as_str(), admission.caller.as_str()),
        ("+4930987654", OURS)
    );
    assert!(!admission.emergency);
    assert_eq!(trunk_names(&admission), ["pbx", "carrier"]);
}

/// TDR-302: no form of a dialled string is refused for its form.
#[test]
fn every_form_that_teams_dials_is_admitted() {
    for (dialled, called) in [
        ("+4930987654;ext=12", "+4930987654;ext=12"),
        ("030987654", "030987654"),
        ("4711", "4711"),
        ("*21#", "*21#"),
        ("*21%23", "*21#"),
        (THEIRS, THEIRS), // another customer's number is reached through the network, like any other
    ] {
        assert_eq!(from_acme(two_customers(), dialled).unwrap().called, called);
    }
    assert_eq!(
        from_acme(two_customers(), "").unwrap_err(),
        Denied::NumberNotInService
    );
}

/// TDR-301: never routed by number alone.
#[test]
fn teams_must_name_a_gateway_that_takes_calls() {
    let denied = |rows, host| teams(rows, host, "+4930987654", OURS).err();
    assert_eq!(
        denied(two_customers(), "eu.example"),
        Some(Denied::UnknownGateway)
    );
    assert_eq!(
        denied(two_customers(), "192.0.2.1"),
        Some(Denied::UnknownGateway)
    );
    for (state, expected) in [
        (GatewayState::Pending, Some(Denied::UnknownGateway)),
        (GatewayState::Disabled, Some(Denied::UnknownGateway)),
        (GatewayState::Verified, None),
    ] {
        let mut rows = two_customers();
        rows.gateways[0].state = state;
        assert_eq!(denied(rows, "acme.eu.example"), expected, "{state:?}");
    }
    let mut rows = two_customers();
    rows.regions[0].enabled = false;
    assert_eq!(
        denied(rows, "acme.eu.example"),
        Some(Denied::UnknownGateway)
    );
}

/// TDR-313, TDR-1212: neither another customer's number, nor a stranger's, nor none, nor one out of service.
#[test]
fn a_caller_from_teams_presents_its_own_number_in_service() {
    let denied = |caller| teams(two_customers(), "acme.eu.example", "+4930987654", caller).err();
    assert_eq!(denied(OURS), None);
    assert_eq!(
        denied("14255550100"),
        None,
        "assigned without its plus (TDR-1301)"
    );
    assert_eq!(denied("+14255550100;ext=7"), None);
    for caller in [THEIRS, "+4930000000", "anonymous", ""] {
        assert_eq!(denied(caller), Some(Denied::CallerNotAllowed), "{caller}");
    }
    let mut rows = two_customers();
    rows.numbers[0].in_service = false;
    assert_eq!(
        from_acme(rows, "+4930987654").unwrap_err(),
        Denied::CallerNotAllowed
    );
}

#[test]
fn a_customer_without_screening_may_present_anything() {
    let mut rows = two_customers();
    rows.customers[0].caller_screening = false;
    let admission = teams(rows.clone(), "acme.eu.example", "+4930987654", "anonymous").unwrap();
    assert_eq!(admission.caller, "anonymous");
    let foreign = teams(rows, "acme.eu.example", "+4930987654", THEIRS).unwrap_err();
    assert_eq!(
        foreign,
        Denied::CallerNotAllowed,
        "but another customer's number (TDR-1212)"
    );
}

/// TDR-410, TDR-1212: an exchange or carrier passes on calls of everybody, unless its profile says that it does not;
/// then another customer's number is nobody's caller, and where the customer screens only its own are. An extension
/// is no number of anybody's.
#[test]
fn a_trunk_presents_whom_its_profile_lets_it() {
    use Callers::{Any, NotOthers, Own};
    let denied = |name: &str, callers, screening, caller| {
        let mut rows = two_customers();
        rows.customers[0].caller_screening = screening;
        for trunk in &mut rows.trunks {
            trunk.profile.callers = callers;
        }
        let directory = Directory::compile(rows).unwrap();
        let origin = Origin::Trunk(directory.trunk(id(name)).unwrap().clone());
        let attempt = Attempt {
            origin: &origin,
            request_host: "192.0.2.1",
            called: OURS,
            caller,
            random: 1,
        };
        directory.admit(&attempt).err().map(|denial| denial.denied)
    };
    let refused = Some(Denied::CallerNotAllowed);
    for name in ["pbx", "carrier"] {
        for (caller, any, not_others, own, unscreened) in [
            (OURS, None, None, None, None),
            ("+4930123456", None, None, refused, None),
            ("anonymous", None, None, refused, None),
            (THEIRS, None, refused, refused, refused),
            ("14255550200", None, refused, refused, refused),
            ("204", None, None, None, None),
        ] {
            assert_eq!(denied(name, Any, true, caller), any, "{name} {caller}");
            assert_eq!(
                denied(name, NotOthers, true, caller),
                not_others,
                "{name} {caller}"
            );
            assert_eq!(denied(name, Own, true, caller), own, "{name} {caller}");
            assert_eq!(
                denied(name, Own, false, caller),
                unscreened,
                "{name} {caller}"
            );
        }
    }
}

/// TDR-1001, TDR-1007: known by the system, the region or the customer; without plus; never screened.
#[test]
fn an_emergency_call_is_known_and_not_screened() {
    let mut rows = two_customers();
    rows.regions[0] = Region {
        emergency_numbers: vec!["110".into()],
        ..region("EU")
    };
    rows.customers[0].emergency_numbers = vec!["5555".into()];
    for (called, emergency) in [
        ("112", true),
        ("+112", true),
        ("110", true),
        ("5555", true),
        ("1120", false),
        ("11", false),
    ] {
        assert_eq!(
            from_acme(rows.clone(), called).unwrap().emergency,
            emergency,
            "{called}"
        );
    }
    assert!(
        teams(rows.clone(), "acme.eu.example", "911", "anonymous")
            .unwrap()
            .emergency
    );
    assert!(
        !teams(rows, "rival.eu.example", "5555", THEIRS)
            .unwrap()
            .emergency
    );
}

/// A disabled customer's number is not even looked at, in either direction.
#[test]
fn states_come_before_numbers() {
    for (admin_state, activation_state, expected) in [
        (
            AdminState::Disabled,
            ActivationState::Active,
            Denied::CustomerDisabled,
        ),
        (
            AdminState::Disabled,
            ActivationState::Inactive,
            Denied::CustomerDisabled,
        ),
        (
            AdminState::Enabled,
            ActivationState::Inactive,
            Denied::CustomerInactive,
        ),
    ] {
        let mut rows = two_customers();
        rows.customers[0] = Customer {
            admin_state,
            activation_state,
            ..customer("acme")
        };
        rows.numbers[0].in_service = false;
        assert_eq!(from_acme(rows.clone(), "112").unwrap_err(), expected);
        assert_eq!(
            teams(rows.clone(), "acme.eu.example", "+4930987654", "anonymous").unwrap_err(),
            expected
        );
        assert_eq!(
            from_trunk(rows.clone(), "carrier", OURS)
                .unwrap_err()
                .denied,
            expected
        );
        assert_eq!(
            from_trunk(rows, "pbx", "+4930000000").unwrap_err().denied,
            expected,
            "unknown number, own trunk"
        );
    }
}

/// While a customer is being set up the first call from Teams is the proof, so it passes where the gateway is verified;
/// other calls wait. What is degraded is in service.
#[test]
fn a_customer_that_is_being_set_up_takes_calls_from_teams_only() {
    let rows = |activation_state, state| {
        let mut rows = two_customers();
        rows.customers[0].activation_state = activation_state;
        rows.gateways[0].state = state;
        rows
    };
    let from_teams = |rows| teams(rows, "acme.eu.example", "+4930987654", OURS).err();
    let from_carrier = |rows| {
        from_trunk(rows, "carrier", OURS)
            .err()
            .map(|denial| denial.denied)
    };
    for (customer, gateway, theirs, ours) in [
        (
            ActivationState::Activating,
            GatewayState::Verified,
            None,
            Some(Denied::CustomerInactive),
        ),
        (
            ActivationState::Activating,
            GatewayState::Active,
            None,
            Some(Denied::CustomerInactive),
        ),
        (
            ActivationState::Activating,
            GatewayState::DnsPublished,
            Some(Denied::UnknownGateway),
            Some(Denied::CustomerInactive),
        ),
        (ActivationState::Degraded, GatewayState::Active, None, None),
        (
            ActivationState::Active,
            GatewayState::Error,
            Some(Denied::UnknownGateway),
            Some(Denied::GatewayNotActive),
        ),
    ] {
        assert_eq!(
            from_teams(rows(customer, gateway)),
            theirs,
            "{customer:?} {gateway:?}"
        );
        assert_eq!(
            from_carrier(rows(customer, gateway)),
            ours,
            "{customer:?} {gateway:?}"
        );
    }
    let mut disabled = rows(ActivationState::Activating, GatewayState::Verified);
    disabled.customers[0].admin_state = AdminState::Disabled;
    assert_eq!(from_teams(disabled), Some(Denied::CustomerDisabled));
}

#[test]
fn a_call_from_a_trunk_goes_to_the_numbers_owner() {
    for name in ["carrier", "pbx"] {
        let admission = from_trunk(two_customers(), name, "14255550100").unwrap();
        assert_eq!(
            (admission.called.as_str(), admission.caller.as_str()),
            (OURS, "+4930123456")
        );
        assert_eq!(admission.customer.account_id, "acme");
        assert_eq!(admission.trunk.as_ref().unwrap().name, name);
        assert_eq!(trunk_names(&admission), ["acme.eu.example"]);
    }
    let extension = from_trunk(two_customers(), "carrier", "+14255550100;ext=1001").unwrap();
    assert_eq!(extension.called, "+14255550100;ext=1001", "TDR-407");
}

#[test]
fn a_trunk_reaches_no_other_customers_numbers() {
    let denial = from_trunk(two_customers(), "pbx", THEIRS).unwrap_err();
    assert_eq!(
        (denial.denied, denial.customer.unwrap().account_id.as_str()),
        (Denied::ForeignTrunk, "acme")
    );
    assert_eq!(
        from_trunk(two_customers(), "carrier", THEIRS)
            .unwrap()
            .customer
            .account_id,
        "rival"
    );
}

#[test]
fn a_number_out_of_service_is_not_reached() {
    let mut rows = two_customers();
    rows.numbers[0].in_service = false;
    let denied = |rows, called| from_trunk(rows, "carrier", called).unwrap_err().denied;
    assert_eq!(denied(rows, OURS), Denied::NumberNotInService);
    for called in ["+4930000000", "100", "anonymous", "*21#", "", "911"] {
        assert_eq!(
            denied(two_customers(), called),
            Denied::NumberNotInService,
            "{called}"
        );
    }
}

/// A hosted PBX serves both customers from one address.
#[test]
fn the_called_number_decides_among_trunks_of_one_address() {
    let directory = Directory::compile(two_customers()).unwrap();
    let origin = directory
        .origin(&examples::source(
            crate::sip::Transport::Udp,
            "198.51.100.1:5060",
        ))
        .unwrap();
    let trunk_for = |called| {
        let attempt = Attempt {
            origin: &origin,
            request_host: "",
            called,
            caller: "100",
            random: 1,
        };
        directory
            .admit(&attempt)
            .map(|admission| admission.trunk.unwrap().name.clone())
            .map_err(|d| d.denied)
    };
    assert_eq!(origin.trunks().len(), 3);
    assert_eq!(trunk_for(OURS), Ok("pbx".into()));
    assert_eq!(trunk_for(THEIRS), Ok("rival-pbx".into()));
    assert_eq!(trunk_for("+4930000000"), Err(Denied::NumberNotInService));
}

/// In the order of the customer's regions; one that is only verified waits (provisioning: 480 to carriers).
#[test]
fn teams_is_reached_by_active_gateways_in_the_order_of_regions() {
    let mut rows = two_customers();
    let acme = Customer {
        regions: vec!["US".into(), "EU".into(), "ASIA".into()],
        ..customer("acme")
    };
    rows.regions.extend([region("US"), region("ASIA")]);
    rows.gateways.push(gateway(&acme, "US", "acme.us.example"));
    rows.gateways.push(Gateway {
        state: GatewayState::Verified,
        ..gateway(&acme, "ASIA", "acme.asia.example")
    });
    rows.customers[0] = acme;
    let admission = from_trunk(rows.clone(), "carrier", OURS).unwrap();
    assert_eq!(
        trunk_names(&admission),
        ["acme.us.example", "acme.eu.example"]
    );

    rows.customers[0].regions = vec!["ASIA".into()];
    assert_eq!(
        from_trunk(rows, "carrier", OURS).unwrap_err().denied,
        Denied::GatewayNotActive
    );
}

/// An exchange that may call out reaches carriers alone, in the name of its customer's numbers alone, but for
/// emergencies; one that may not, a carrier, and one that shares its address with another's reach nobody.
#[test]
fn an_exchange_may_call_out_and_nobody_else() {
    let outside = "+4930987654";
    let call = |change: fn(&mut Rows), caller: &str, called: &str| {
        let mut rows = two_customers();
        rows.trunks[0].profile.calls_out = true;
        rows.trunks[1].acl = vec!["198.51.100.2/32".parse().unwrap()];
        rows.trunks[2].acl = vec!["198.51.100.3/32".parse().unwrap()];
        rows.trunks[2].profile.calls_out = true;
        change(&mut rows);
        let directory = Directory::compile(rows).unwrap();
        let origin = directory
            .origin(&examples::source(
                crate::sip::Transport::Udp,
                "198.51.100.1:5060",
            ))
            .unwrap();
        let attempt = Attempt {
            origin: &origin,
            request_host: "192.0.2.1",
            called,
            caller,
            random: 1,
        };
        directory.admit(&attempt).map_err(|denial| denial.denied)
    };
    let admission = call(|_| {}, OURS, outside).unwrap();
    assert_eq!(admission.called, outside);
    assert_eq!(trunk_names(&admission), ["carrier"]);
    assert_eq!(
        call(|_| {}, OURS, THEIRS).unwrap().called,
        THEIRS,
        "by the network"
    );
    let emergency = call(|_| {}, "100", "112").unwrap();
    assert!(emergency.emergency && emergency.called == "112");
    let within = call(|_| {}, outside, OURS).unwrap();
    assert_eq!(trunk_names(&within), ["acme.eu.example"]);

    type Row = (fn(&mut Rows), &'static str, Denied);
    let rows: [Row; 6] = [
        (|_| {}, THEIRS, Denied::CallerNotAllowed),
        (|_| {}, "anonymous", Denied::CallerNotAllowed),
        (
            |r| r.customers[0].caller_screening = false,
            outside,
            Denied::CallerNotAllowed,
        ),
        (
            |r| r.trunks[0].profile.calls_out = false,
            OURS,
            Denied::NumberNotInService,
        ),
        (
            |r| r.trunks[0].role = Role::Carrier,
            OURS,
            Denied::NumberNotInService,
        ),
        (
            |r| r.trunks[1].acl = r.trunks[0].acl.clone(),
            OURS,
            Denied::NumberNotInService,
        ),
    ];
    for (change, caller, denied) in rows {
        assert_eq!(
            call(change, caller, outside).unwrap_err(),
            denied,
            "{caller}"
        );
    }
    let alone = |r: &mut Rows| r.trunks[2].state = TrunkState::OutOfService;
    assert_eq!(call(alone, OURS, outside).unwrap_err(), Denied::NoRoute);
}

#[test]
fn without_a_trunk_in_service_there_is_no_route() {
    let away = Trunk {
        state: TrunkState::OutOfService,
        ..pbx()
    };
    assert_eq!(
        from_acme(rows(vec![away.clone()]), "112").unwrap_err(),
        Denied::NoRoute
    );
    assert!(
        from_trunk(rows(vec![away]), "pbx", OURS).is_ok(),
        "what it sends is still taken"
    );
}

/// Weights 3 and 1 at priority 1, before priority 2: over 10,000 calls the heavier is first three times in four.
#[test]
fn priorities_order_and_weights_share() {
    let weighted = |name, priority, weight| Trunk {
        priority,
        weight,
        ..trunk(name, None)
    };
    let trunks = [
        weighted("last", 2, 65535),
        weighted("heavy", 1, 3),
        weighted("light", 1, 1),
        weighted("zero", 1, 0),
    ];
    let trunks = trunks.map(Arc::new);
    let mut heavy_first = 0;
    for random in 0..10_000 {
        let order = in_order_of_trial(&trunks, random);
        assert_eq!(
            (order[2].name.as_str(), order[3].name.as_str()),
            ("zero", "last")
        );
        heavy_first += u32::from(order[0].name == "heavy");
    }
    assert!((7300..7700).contains(&heavy_first), "{heavy_first}");
}

fn with_line(numbers: &[&str]) -> Rows {
    let mut rows = rows(vec![pbx()]);
    let line = registration("1001", &rows.customers[0], numbers);
    rows.registrations.push(line);
    rows
}

fn on_line(rows: Rows, called: &str) -> Result<Admission, Denied> {
    let line = rows.registrations[0].clone();
    let trunk = Arc::new(line).trunk([]);
    let origin = Origin::Trunk(trunk.into());
    let directory = Directory::compile(rows).unwrap();
    let attempt = Attempt {
        origin: &origin,
        request_host: "192.0.2.1",
        called,
        caller: "1002",
        random: 1,
    };
    directory.admit(&attempt).map_err(|denial| denial.denied)
}

/// A user of an exchange calls by it and by nothing else; an emergency call may take the customer's trunks too. A number
/// without such a user goes by the trunks as ever.
#[test]
fn a_user_of_an_exchange_calls_by_it() {
    let admitted = from_acme(with_line(&[OURS]), "+4930123456").unwrap();
    assert_eq!(trunk_names(&admitted), ["exchange"]);
    let Route::Trunk(trunk) = &admitted.routes[0] else {
        panic!("{:?}", admitted.routes)
    };
    let line = trunk.line.as_ref().unwrap();
    assert_eq!(&*line.username, "1001");
    let emergency = from_acme(with_line(&[OURS]), "112").unwrap();
    assert_eq!(trunk_names(&emergency), ["exchange", "pbx"]);
    let other = from_acme(with_line(&["+14255550199"]), "+4930123456").unwrap();
    assert_eq!(trunk_names(&other), ["pbx"]);
}

/// Who calls the Contact of a registration reaches the user's first number that is in service, and nobody else.
#[test]
fn a_call_on_a_registration_reaches_its_user() {
    let rows = || with_line(&["+14255550199", OURS]);
    let admitted = on_line(rows(), "tok1001").unwrap();
    assert_eq!(admitted.called, OURS, "the other is not in service");
    assert!(matches!(&admitted.routes[..], [Route::Teams(_)]));
    assert_eq!(admitted.caller, "1002");
    let denied = Err(Denied::NumberNotInService);
    let called = |rows, called| on_line(rows, called).map(|_| ());
    assert_eq!(called(rows(), OURS), denied);
    assert_eq!(called(with_line(&[]), "tok1001"), denied);
    let mut disabled = rows();
    disabled.customers[0].admin_state = AdminState::Disabled;
    assert_eq!(called(disabled, "tok1001"), Err(Denied::CustomerDisabled));
}

/// A further number of a user rings where its first one does while that is in service, and otherwise where it would
/// without; the record keeps what was dialled.
#[test]
fn further_numbers_ring_where_the_first_one_does() {
    const FURTHER: &str = "+14255550109";
    let acme = customer("acme");
    let mut rows = two_customers();
    rows.numbers.push(phone_number(FURTHER, &acme));
    rows.forwarded.push(Forwarded {
        customer: acme.id,
        number: FURTHER.parse().unwrap(),
        to: OURS.parse().unwrap(),
    });
    let admission = from_trunk(rows.clone(), "pbx", FURTHER).unwrap();
    assert_eq!(
        (admission.called.as_str(), admission.forwarded_to.as_deref()),
        (FURTHER, Some(OURS))
    );
    let first = from_trunk(rows.clone(), "pbx", OURS).unwrap();
    assert_eq!(first.forwarded_to, None);
    let first = rows
        .numbers
        .iter_mut()
        .find(|row| row.number.as_str() == OURS);
    first.unwrap().in_service = false;
    let admission = from_trunk(rows, "pbx", FURTHER).unwrap();
    assert_eq!(admission.forwarded_to, None);
}
