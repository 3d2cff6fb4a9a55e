use super::super::GatewayState;
use super::super::examples::{
    customer, gateway, phone, phone_number, region, registration, rows, trunk,
};
use super::*;

/// TDR-145, TDR-1213: what Teams knows of us is another when a name comes, goes, moves or changes its state, and the same
/// whatever else changes and in whatever order it is read.
#[test]
fn what_teams_knows_of_us_has_a_number() {
    type Change = fn(&mut Rows);
    let rows = || {
        let acme = customer("acme");
        Rows {
            regions: vec![region("EU"), region("US")],
            gateways: vec![
                gateway(&acme, "EU", "acme.eu.example"),
                gateway(&acme, "US", "acme.us.example"),
            ],
            numbers: vec![phone_number("+14255550100", &acme)],
            customers: vec![acme],
            trunks: vec![trunk("pbx", None)],
            ..Rows::default()
        }
    };
    let names = |change: Change| {
        let mut rows = rows();
        change(&mut rows);
        Directory::compile(rows).unwrap().teams_names
    };
    let before = names(|_| {});
    let others: [Change; 7] = [
        |rows| rows.gateways[0].fqdn = "acme2.eu.example".into(),
        |rows| rows.gateways[0].state = GatewayState::Verified,
        |rows| rows.gateways[1].sip_port = 5063,
        |rows| drop(rows.gateways.pop()),
        |rows| rows.regions[1].enabled = false,
        |rows| rows.regions[1].base_fqdn = "usa.example".into(),
        |rows| rows.regions.push(region("APAC")),
    ];
    let mut seen: Vec<u64> = others.map(names).to_vec();
    seen.push(before);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 8, "each is another");
    let same: [Change; 4] = [
        |rows| rows.customers[0].max_channels = 1,
        |rows| rows.numbers.clear(),
        |rows| rows.trunks.clear(),
        |rows| {
            rows.regions.reverse();
            rows.gateways.reverse();
        },
    ];
    assert_eq!(same.map(names), [before; 4]);
}

#[test]
fn every_contradiction_is_told_at_once() {
    let acme = customer("acme");
    let stranger = customer("stranger").id;
    let rows = Rows {
        regions: vec![region("EU"), region("EU")],
        customers: vec![
            Customer {
                regions: vec!["MOON".into()],
                ..acme.clone()
            },
            acme.clone(),
        ],
        gateways: vec![
            gateway(&acme, "EU", "acme.eu.example"),
            gateway(&acme, "EU", "ACME.eu.example"),
            gateway(&acme, "EU", "acme2.eu.example"),
            gateway(&acme, "MARS", "acme.mars.example"),
        ],
        numbers: vec![
            phone_number("+14255550100", &acme),
            phone_number("+14255550100", &acme),
            PhoneNumber {
                customer: stranger,
                ..phone_number("+14255550101", &acme)
            },
        ],
        trunks: vec![
            trunk("lost", Some(stranger)),
            Trunk {
                acl: vec!["0.0.0.0/0".parse().unwrap()],
                ..trunk("open", None)
            },
        ],
        ..Rows::default()
    };
    let mut told: Vec<_> = Directory::compile(rows)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    told.sort();
    for (said, begins) in told.iter().zip([
        "customer ",
        "customer acme names unknown region MOON",
        "gateway acme.eu.example occurs twice",
        "gateway acme.mars.example names unknown region MARS",
        "gateway acme2.eu.example is the second of its customer in region EU",
        "number +14255550100 occurs twice",
        "number +14255550101 belongs to unknown customer",
        "region EU occurs twice",
        "trunk lost belongs to unknown customer",
        "trunk open lets in every address",
    ]) {
        assert!(said.starts_with(begins), "{told:#?}");
    }
    assert_eq!(told.len(), 10, "{told:#?}");
}

fn held(rows: &Rows, id: Uuid) -> Holding {
    Holding {
        id,
        customer: rows.customers.iter().find(|c| c.id == id).cloned(),
        gateways: rows
            .gateways
            .iter()
            .filter(|g| g.customer == id)
            .cloned()
            .collect(),
        numbers: rows
            .numbers
            .iter()
            .filter(|n| n.customer == id)
            .cloned()
            .collect(),
        forwarded: rows
            .forwarded
            .iter()
            .filter(|f| f.customer == id)
            .copied()
            .collect(),
        extensions: rows
            .extensions
            .iter()
            .filter(|n| n.customer == id)
            .cloned()
            .collect(),
        trunks: rows
            .trunks
            .iter()
            .filter(|t| t.customer == Some(id))
            .cloned()
            .collect(),
        phones: rows
            .phones
            .iter()
            .filter(|p| p.customer == id)
            .cloned()
            .collect(),
        registrations: rows
            .registrations
            .iter()
            .filter(|r| r.customer == Some(id))
            .cloned()
            .collect(),
    }
}

/// What changes for one customer, or moves between two, gives the same directory as if all were read again: numbers,
/// gateways, trunks and their addresses that go are gone, and what others have stays.
#[test]
fn a_replaced_customer_is_as_if_all_were_compiled() {
    type Change = fn(&mut Rows);
    let changes: [(&str, Change); 13] = [
        ("extension gone", |rows| rows.extensions.clear()),
        ("limit", |rows| rows.customers[0].max_channels = 3),
        ("number gone", |rows| {
            rows.numbers.remove(0);
        }),
        ("number moved", |rows| {
            rows.numbers[1].customer = rows.customers[1].id;
        }),
        ("gateway renamed", |rows| {
            rows.gateways[0].fqdn = "Else.eu.example".into();
        }),
        ("trunk's address", |rows| {
            rows.trunks[1].acl = vec!["203.0.113.0/24".parse().unwrap()];
        }),
        ("trunk disabled", |rows| {
            rows.trunks[1].state = TrunkState::Disabled
        }),
        ("trunk out of service", |rows| {
            rows.trunks[2].state = TrunkState::OutOfService;
        }),
        ("phone moved", |rows| {
            rows.phones[1].customer = rows.customers[1].id;
        }),
        ("phone deactivated", |rows| rows.phones[0].active = false),
        ("phone gone", |rows| {
            rows.phones.remove(0);
        }),
        ("customer gone", |rows| {
            let gone = rows.customers.remove(0).id;
            rows.gateways.retain(|g| g.customer != gone);
            rows.numbers.retain(|n| n.customer != gone);
            rows.extensions.retain(|n| n.customer != gone);
            rows.trunks.retain(|t| t.customer != Some(gone));
            rows.phones.retain(|p| p.customer != gone);
        }),
        ("customer new", |rows| {
            let new = customer("third");
            rows.numbers.push(phone_number("+14255550177", &new));
            rows.customers.push(new);
        }),
    ];
    let (acme, other) = (customer("acme"), customer("other"));
    let before = Rows {
        regions: vec![region("EU")],
        gateways: vec![
            gateway(&acme, "EU", "acme.eu.example"),
            gateway(&other, "EU", "other.eu.example"),
        ],
        numbers: vec![
            phone_number("+14255550100", &acme),
            phone_number("+14255550101", &acme),
            phone_number("+14255550102", &other),
        ],
        extensions: vec![
            phone_number("+11001", &acme),
            phone_number("+11001", &other),
        ],
        trunks: vec![
            trunk("shared", None),
            trunk("acme-pbx", Some(acme.id)),
            trunk("other-pbx", Some(other.id)),
        ],
        phones: vec![
            Phone {
                number: Some("+14255550100".parse().unwrap()),
                bootstrap: Some([0, 21, 101, 0, 0, 1]),
                ..phone("desk", "1001", &acme)
            },
            phone("hall", "1002", &acme),
            phone("theirs", "1001", &other),
        ],
        customers: vec![acme, other],
        ..Rows::default()
    };
    for (what, change) in changes {
        let mut after = before.clone();
        after.generation = 2;
        change(&mut after);
        let whole = Directory::compile(after.clone()).unwrap();
        let touched = ["acme", "other", "third"].map(|name| held(&after, customer(name).id));
        let first = Directory::compile(before.clone()).unwrap();
        let next = first.replace(2, touched.to_vec()).unwrap();
        assert!(next == whole, "{what}");
        assert!(
            first == Directory::compile(before.clone()).unwrap(),
            "{what}"
        );
    }
}

/// A row that another customer has is refused, whichever way it comes, and nothing has changed.
#[test]
fn a_replaced_customer_takes_nothing_from_another() {
    let (acme, other) = (customer("acme"), customer("other"));
    let rows = Rows {
        regions: vec![region("EU")],
        numbers: vec![phone_number("+14255550100", &acme)],
        customers: vec![acme, other.clone()],
        ..Rows::default()
    };
    let directory = Directory::compile(rows.clone()).unwrap();
    let thief = Holding {
        customer: Some(other.clone()),
        numbers: vec![phone_number("+14255550100", &other)],
        ..Holding::new(other.id)
    };
    let told = directory.replace(2, vec![thief]).unwrap_err();
    assert_eq!(told, [twice("number", "+14255550100".into())]);
    assert!(directory == Directory::compile(rows).unwrap());
}

#[test]
fn gateways_are_found_in_any_case() {
    let acme = customer("acme");
    let rows = Rows {
        generation: 7,
        regions: vec![region("EU")],
        gateways: vec![gateway(&acme, "EU", "Acme.EU.example")],
        customers: vec![acme],
        ..Rows::default()
    };
    let directory = Directory::compile(rows).unwrap();
    assert_eq!(directory.generation, 7);
    assert_eq!(
        directory.gateway("aCME.eu.EXAMPLE").unwrap().fqdn,
        "acme.eu.example"
    );
    assert!(directory.gateway("other.eu.example").is_none());
}

/// TDR-846: with and without media bypass on one port is refused; a port of its own, or the same for both kinds of
/// region that are alike, is not.
#[test]
fn media_bypass_needs_a_port_of_its_own() {
    let told = |port: u16, other_bypasses: bool| {
        let bypass = Region {
            media_bypass: true,
            sip_port: port,
            ..region("BYPASS")
        };
        let other = Region {
            media_bypass: other_bypasses,
            ..region("EU")
        };
        let rows = Rows {
            regions: vec![other, bypass],
            ..Rows::default()
        };
        Directory::compile(rows).map(|_| ())
    };
    let shared = CompileError::SharedPort {
        region: "BYPASS".into(),
        other: "EU".into(),
        port: 5061,
    };
    assert_eq!(told(5061, false), Err(vec![shared]));
    assert_eq!((told(5062, false), told(5061, true)), (Ok(()), Ok(())));
}

/// Users of exchanges are registered while their customer may call; they come and go with it, and a second one of the
/// same Contact is told.
#[test]
fn registrations_go_with_their_customer() {
    let lines = |directory: &Directory| directory.registrations().len();
    let mut rows = rows(vec![]);
    let acme = rows.customers[0].clone();
    let line = registration("1001", &acme, &["+14255550100"]);
    rows.registrations = vec![line.clone()];
    let directory = Directory::compile(rows.clone()).unwrap();
    let number = "+14255550100".parse().unwrap();
    assert_eq!(lines(&directory), 1);
    assert!(directory.registration_of_token("tok1001").is_some());
    assert!(directory.registration_of_number(acme.id, &number).is_some());
    assert!(
        directory
            .registration_of_number(Uuid::nil(), &number)
            .is_none()
    );

    let mut holding = Holding::new(acme.id);
    holding.customer = Some(Customer {
        admin_state: AdminState::Disabled,
        ..acme.clone()
    });
    holding.registrations = vec![line.clone()];
    let disabled = directory.replace(2, vec![holding]).unwrap();
    assert_eq!(lines(&disabled), 0);
    assert!(disabled.registration_of_token("tok1001").is_none());
    assert!(disabled.registration_of_number(acme.id, &number).is_none());

    rows.registrations.push(Registration {
        id: Uuid::from_u128(1),
        ..line.clone()
    });
    assert_eq!(Directory::compile(rows.clone()).unwrap_err().len(), 1);
    rows.registrations = vec![Registration {
        customer: Some(Uuid::nil()),
        ..line
    }];
    assert!(Directory::compile(rows).is_err());
}
