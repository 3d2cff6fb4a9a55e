//! Trunks whose peers want to be told where we are: registered as their main line, called there, calling while it stands.

use std::time::Duration;

use tollgate::b2bua::RegistrationState;
use tollgate::directory::{Auth, Secret};
use tollgate::sip::{Name, Uri};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::registrar::Say;
use crate::sim::setup::*;

const SECOND: Duration = Duration::from_secs(1);

/// `acme`'s exchange lets in whoever is registered, and is in nobody's list of addresses.
fn setup() -> Setup {
    Setup::default().trunk_with("pbx", |trunk| {
        trunk.auth = Auth::Register;
        trunk.username = Some("account-7".into());
        trunk.password = Some(Secret::new("s3same"));
        trunk.profile.main_line = Some("main".into());
        trunk.profile.sip_domain = Some("pbx.example".into());
        trunk.acl.clear();
    })
}

fn state(w: &World) -> RegistrationState {
    let trunk = w.directory.trunks().find(|trunk| trunk.name == "pbx");
    let id = trunk.expect("the exchange").id;
    w.calls.registrations(&[id])[0].state
}

fn registered(setup: Setup, seed: u64) -> World {
    let mut w = World::with(setup, seed);
    w.agents[PBX].registrar.challenge(w.now);
    w.wait("a registration", |w| {
        (state(w) == RegistrationState::Registered).then_some(())
    });
    w
}

/// The user part of our Contact there.
fn token(w: &World) -> String {
    let (contact, _) = &w.agents[PBX].registrar.bindings["sip:main@pbx.example"];
    let uri = Uri::parse(contact).expect("a URI");
    uri.user.expect("a user").to_owned()
}

fn asked(w: &World, side: Side) -> String {
    let uri = Uri::parse(w.sides[side.0].invite.request_uri()).expect("a URI");
    uri.user.expect("a user").to_owned()
}

/// Proven with the name for that, renewed, and forgotten when we go down.
#[test]
fn a_trunk_is_registered_as_its_main_line() {
    let mut w = registered(setup(), 1);
    let proof = w.agents[PBX].registrar.heard[1].1.clone();
    let proof = proof.header(Name::Authorization).unwrap().to_string();
    assert!(proof.contains("username=\"account-7\""), "{proof}");
    w.pass(3600 * SECOND);
    assert_eq!(state(&w), RegistrationState::Registered);
    assert!(w.agents[PBX].registrar.heard.len() >= 4);
    w.calls.drain();
    w.pass(SECOND);
    assert!(w.agents[PBX].registrar.bindings.is_empty());
    let [] = w.finish();
}

/// A call to the Contact is for whom To names, or P-Called-Party-ID, which comes first; one to a number is for that. From
/// where the registration does not stand nobody is let in, whoever knows the Contact.
#[test]
fn calls_come_to_the_contact_or_to_a_number() {
    let mut w = registered(setup(), 2);
    let token = token(&w);
    let contact = format!("sip:{token}@192.0.2.1:5060");
    let to = format!("<sip:{BOB}@pbx.example>");
    let named = format!("<sip:{ALICE}@pbx.example>");
    let number = format!("sip:{ALICE}@192.0.2.1:5060");
    let cases = [
        (&contact, vec![(Name::To, &to)], BOB),
        (
            &contact,
            vec![(Name::To, &to), (Name::PCalledPartyId, &named)],
            ALICE,
        ),
        (&number, vec![], ALICE),
    ];
    for (uri, headers, called) in cases {
        let a = w.dial_uri(PBX, uri, "+4930999", |draft| {
            for (name, value) in headers {
                draft.replace(name, value);
            }
        });
        let b = w.incoming(TEAMS);
        assert_eq!(asked(&w, b), called);
        w.answer(b);
        assert_eq!(w.outcome(a).status(), 200);
        w.bye(a);
        w.hung_up(b);
    }
    for uri in [&contact, &number] {
        let stranger = w.dial_uri(STRANGER, uri, "+4930999", |_| {});
        assert_eq!(w.outcome(stranger).status(), 403);
    }
    let records: [_; 5] = w.finish();
    let refused = records
        .iter()
        .filter(|cdr| cdr.refused_by.as_deref() == Some("acl"));
    assert_eq!(refused.count(), 2);
}

/// A call from Teams keeps its caller, in the domain of the registration, and answers for itself; both ends may hang up.
#[test]
fn a_call_goes_out_in_the_domain_of_the_registration() {
    let mut w = registered(setup(), 3);
    let mut challenger = w.agents[PBX].registrar.challenger.take().unwrap();
    let a = w.dial(TEAMS);
    let first = w.incoming(PBX);
    let values = challenger.challenge(tollgate::sip::auth::AuthFailure::Missing, w.now);
    w.reply(first, 407, None, |draft| {
        for value in values {
            draft.header(Name::ProxyAuthenticate, value);
        }
    });
    let b = w.incoming(PBX);
    let invite = w.sides[b.0].invite.clone();
    let proof = invite.header(Name::ProxyAuthorization).unwrap().to_string();
    assert!(proof.contains("username=\"account-7\""), "{proof}");
    let from = invite.from().unwrap();
    assert_eq!(from.uri, format!("sip:{ALICE}@pbx.example"));
    assert_eq!(
        invite.request_uri(),
        format!("sip:{OUTSIDE}@pbx.example;user=phone")
    );
    let contact = invite.header(Name::Contact).unwrap().to_string();
    assert!(contact.contains(&token(&w)), "{contact}");
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(b);
    w.hung_up(a);
    let [record] = w.finish();
    assert_eq!(record.sip_code, Some(200));
}

/// While it is not registered calls go by the next trunk, and without one they are refused with 480.
#[test]
fn a_trunk_that_is_not_registered_is_not_called() {
    let mut w = World::with(setup().with_backup(), 4);
    w.agents[PBX].registrar.always = Some(Say(403, Vec::new()));
    w.pass(SECOND);
    assert_eq!(state(&w), RegistrationState::Failed);
    assert_eq!(w.calls.troubles(9).unregistered.items.len(), 1);
    let a = w.dial(TEAMS);
    let b = w.incoming(BACKUP);
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();

    let mut w = World::with(setup(), 5);
    w.agents[PBX].registrar.always = Some(Say(403, Vec::new()));
    w.pass(SECOND);
    let a = w.dial(TEAMS);
    assert_eq!(w.outcome(a).status(), 480);
    let [record] = w.finish();
    assert_eq!(record.refused_by.as_deref(), Some("pbx_unregistered"));
}

/// Nobody registers for a customer that may not call.
#[test]
fn a_disabled_customer_has_no_trunk_registered() {
    let disabled = tollgate::directory::AdminState::Disabled;
    let mut w = World::with(setup().acme_with(|acme| acme.admin_state = disabled), 6);
    w.pass(60 * SECOND);
    assert!(w.agents[PBX].registrar.heard.is_empty());
    let [] = w.finish();
}
