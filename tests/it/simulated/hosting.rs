//! Many customers behind one SBC, as Microsoft's model of hosting has it (TDR section 12).

use std::collections::BTreeSet;
use std::time::Duration;

use tollgate::directory::{GatewayState, NumberFormat};
use tollgate::sip::{Message, Name, Uri};

use crate::sim::World;
use crate::sim::setup::*;

/// The host of a message's Contact.
fn contact(message: &Message) -> String {
    let contact = message.contact().unwrap().expect("a Contact");
    Uri::parse(contact.uri).unwrap().host.to_owned()
}

fn in_two_regions() -> Setup {
    let mut setup = Setup::default()
        .with_second_gateway()
        .acme_with(|acme| acme.regions = vec!["EU".into(), "US".into()]);
    for gateway in &mut setup.rows.gateways {
        gateway.state = GatewayState::Active;
    }
    setup
}

/// TDR-1201, TDR-1207: the carrier's base domains are kept alive, each at every proxy and each minute, and never a
/// customer's name; calls of each customer, both ways, are in the customer's own name and in no other.
#[test]
fn the_base_domain_is_kept_alive_and_calls_are_the_customers() {
    let mut w = World::with(in_two_regions(), 81);
    w.pass(Duration::from_secs(121));
    for proxy in [TEAMS, TEAMS2, TEAMS3] {
        let asked = &w.agents[proxy].asked;
        let names: BTreeSet<String> = asked.iter().map(contact).collect();
        assert_eq!(names, BTreeSet::from([BASE_FQDN.into(), BASE2_FQDN.into()]));
        assert_eq!(asked.len(), 6, "at once, and each minute");
    }
    for (pbx, number, host) in [(PBX, ALICE, ACME_FQDN), (RIVAL, RIVALS, RIVAL_FQDN)] {
        let a = w.dial_with(pbx, number, |_| {});
        let b = w.incoming(TEAMS);
        let invite = w.sides[b.0].invite.clone();
        assert_eq!(contact(&invite), host);
        assert_eq!(Uri::parse(invite.from().unwrap().uri).unwrap().host, host);
        w.reject(b, 486);
        w.outcome(a);
        let uri = format!("sip:{OUTSIDE}@{host}:5061;user=phone");
        let a = w.dial_uri(TEAMS, &uri, number, |_| {});
        let b = w.incoming(pbx);
        w.ring(b);
        assert_eq!(contact(&w.provisional(a)), host);
        w.answer(b);
        assert_eq!(contact(&w.outcome(a)), host);
        w.bye(a);
        w.hung_up(b);
    }
    let cdrs = w.finish_all();
    assert_eq!(cdrs.len(), 4);
}

/// TDR-1208: a customer has a name below each of two base domains. Calls from Teams come in by either; a call to Teams goes
/// on in the second name where Teams does not take it in the first.
#[test]
fn two_base_domains_stand_in_for_each_other() {
    let mut w = World::with(in_two_regions(), 82);
    for host in [ACME_FQDN, ACME2_FQDN] {
        let uri = format!("sip:{OUTSIDE}@{host}:5061;user=phone;transport=tls");
        let a = w.dial_uri(TEAMS, &uri, ALICE, |_| {});
        let b = w.incoming(PBX);
        w.answer(b);
        assert_eq!(contact(&w.outcome(a)), host);
        w.bye(a);
        w.hung_up(b);
    }
    let a = w.dial(PBX);
    let mut names = Vec::new();
    let answered = loop {
        let before = w.audit.invites.len();
        let proxy = w.wait("an INVITE to Teams", |w| {
            let proxies = [TEAMS, TEAMS2, TEAMS3];
            let all = proxies.into_iter();
            all.into_iter()
                .find(|who| !w.agents[*who].arrivals.is_empty())
        });
        assert!(before <= 12);
        let b = w.incoming(proxy);
        names.push(contact(&w.sides[b.0].invite));
        if names.last().unwrap() == ACME2_FQDN {
            w.answer(b);
            break b;
        }
        w.reject(b, 503);
    };
    assert_eq!(names, [ACME_FQDN, ACME_FQDN, ACME_FQDN, ACME2_FQDN]);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(a);
    w.hung_up(answered);
    assert_eq!(w.finish_all().len(), 3);
}

/// TDR-1206, TDR-406: no translation rules of the carrier trunk apply to a customer's name, so every number reaches Teams
/// in E.164, in whatever form the trunk writes it, and goes back to the trunk in its own form.
#[test]
fn numbers_reach_teams_in_e164_whatever_the_trunk_writes() {
    let country = |country_code: &str, trunk_prefix: &str, international_prefix: &str| {
        NumberFormat::National {
            country_code: country_code.into(),
            trunk_prefix: trunk_prefix.into(),
            international_prefix: international_prefix.into(),
        }
    };
    for (format, called, caller, back) in [
        (NumberFormat::E164, "14255550100", "442075550123", OUTSIDE),
        (
            country("1", "1", "011"),
            "14255550100",
            "011442075550123",
            "011442075550123",
        ),
        (
            country("44", "0", "00"),
            "0014255550100",
            "02075550123",
            "02075550123",
        ),
        (
            country("49", "0", ""),
            "+14255550100",
            "+442075550123",
            "+442075550123",
        ),
    ] {
        let setup = Setup::default().trunk_with("pbx", |trunk| trunk.number_format = format);
        let mut w = World::with(setup, 83);
        let a = w.dial_uri(PBX, &format!("sip:{called}@192.0.2.1"), caller, |_| {});
        let b = w.incoming(TEAMS);
        let invite = w.sides[b.0].invite.clone();
        let uri = Uri::parse(invite.request_uri()).unwrap();
        let from = invite.from().unwrap().uri.to_owned();
        assert_eq!(
            (uri.user, uri.params.get("user")),
            (Some(ALICE), Some(Some("phone")))
        );
        assert_eq!(Uri::parse(&from).unwrap().user, Some(OUTSIDE), "{from}");
        w.reject(b, 486);
        w.outcome(a);
        let a = w.dial(TEAMS);
        let b = w.incoming(PBX);
        let invite = w.sides[b.0].invite.clone();
        assert_eq!(Uri::parse(invite.request_uri()).unwrap().user, Some(back));
        w.reject(b, 486);
        w.outcome(a);
        assert_eq!(w.finish_all().len(), 2);
    }
}

/// TDR-405: Via names where Teams' answers find us: our public host where there is one, else our address; the port is the
/// one that Teams dials.
#[test]
fn via_names_where_answers_find_us() {
    for public in [None, Some("sbc1.eu.example")] {
        let mut w = World::as_host(Setup::default(), 84, public);
        let a = w.dial(PBX);
        let b = w.incoming(TEAMS);
        let via = w.sides[b.0].invite.via().unwrap();
        let host = public.unwrap_or("192.0.2.1");
        assert_eq!(
            (via.transport, via.host, via.port),
            ("TLS", host, Some(5061))
        );
        w.answer(b);
        assert_eq!(w.outcome(a).status(), 200);
        w.bye(a);
        w.hung_up(b);
        let [_] = w.finish();
    }
}

/// TDR-311: whatever Microsoft's own headers say stays here; operators see it with the live call, and neither the trunk
/// nor the record does.
#[test]
fn microsofts_own_headers_stay_here() {
    const OWN: [(&str, &str); 5] = [
        ("X-MS-UserLocation", "internal"),
        ("X-Ms-MediaPath", "sbc1.example, sbc2.example"),
        ("X-MS-UserSite", "Site-7"),
        ("Ms-Conversation-ID", "conversation-9"),
        ("X-MS-Anything-Else", "secret-11"),
    ];
    let mut w = World::new();
    let a = w.dial_with(TEAMS, OUTSIDE, |draft| {
        for (name, value) in OWN {
            draft.header(Name::Extension(name), value);
        }
    });
    let b = w.incoming(PBX);
    let crossed = String::from_utf8_lossy(w.sides[b.0].invite.bytes()).to_lowercase();
    for (name, value) in OWN {
        assert!(!crossed.contains(&name.to_lowercase()), "{name}: {crossed}");
        assert!(
            !crossed.contains(&value.to_lowercase()),
            "{value}: {crossed}"
        );
    }
    let hints = w.calls.list()[0].hints.clone().expect("hints");
    assert_eq!(hints.conversation_id.as_deref(), Some("conversation-9"));
    assert_eq!(hints.user_site.as_deref(), Some("Site-7"));
    w.reject(b, 486);
    w.outcome(a);
    let [cdr] = w.finish();
    assert!(
        !serde_json::to_string(&cdr)
            .unwrap()
            .contains("conversation-9")
    );
}
