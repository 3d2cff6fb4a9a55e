//! Digest (RFC 7616), both ways.

use tollgate::b2bua::{Cdr, Credentials as Found, Fact, Report};
use tollgate::base::Random;
use tollgate::directory::{Auth, Secret, Trunk};
use tollgate::sip::auth::{Algorithm, AuthFailure, Challenge, Challenger, Credentials};
use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::setup::*;

fn with_digest() -> Setup {
    Setup::default().trunk_with("pbx", |t: &mut Trunk| {
        t.auth = Auth::Digest;
        t.username = Some("contoso".into());
        t.password = Some(Secret::new("s3same"));
    })
}

/// Asks for credentials as a registrar or a proxy does.
fn challenge(w: &mut World, side: Side, status: u16, challenger: &mut Challenger) {
    let name = if status == 401 {
        Name::WwwAuthenticate
    } else {
        Name::ProxyAuthenticate
    };
    let values = challenger.challenge(AuthFailure::Missing, w.now);
    w.reply(side, status, None, |draft| {
        for value in values {
            draft.header(name, value);
        }
    });
}

/// A trunk asks for credentials, by 401 or 407: the INVITE comes again with them, and so does every later request.
#[test]
fn we_prove_ourselves_to_a_trunk() {
    for status in [401, 407] {
        let mut w = World::with(with_digest(), 15);
        let mut random = Random::from_number(15);
        let mut challenger = Challenger::new(
            "pbx.example",
            &[Algorithm::SHA256, Algorithm::MD5],
            &mut random,
            w.now,
        );
        let a = w.dial(TEAMS);
        let first = w.incoming(PBX);
        challenge(&mut w, first, status, &mut challenger);
        let b = w.incoming(PBX);
        let invite = w.sides[b.0].invite.clone();
        assert_eq!(invite.cseq().unwrap().number, 2);
        assert_eq!(
            invite.call_id().unwrap(),
            w.sides[first.0].invite.call_id().unwrap()
        );
        let name = if status == 401 {
            Name::Authorization
        } else {
            Name::ProxyAuthorization
        };
        assert!(invite.header(name).is_some());
        if status == 401 {
            let user = challenger.check(&invite, |_| Some("s3same".into()), w.now);
            assert_eq!(user.as_deref(), Ok("contoso"));
        }
        w.answer(b);
        assert_eq!(w.outcome(a).status(), 200);
        w.bye(a);
        let bye = w.hung_up(b);
        assert!(bye.header(name).is_some());
        let [_] = w.finish();
    }
}

/// A password that is refused is not tried for ever.
#[test]
fn a_trunk_that_refuses_our_password() {
    let mut w = World::with(with_digest(), 16);
    let mut random = Random::from_number(16);
    let mut challenger = Challenger::new("pbx.example", &[Algorithm::MD5], &mut random, w.now);
    let a = w.dial(TEAMS);
    for _ in 0..2 {
        let b = w.incoming(PBX);
        challenge(&mut w, b, 401, &mut challenger);
    }
    assert_eq!(w.outcome(a).status(), 503);
    assert_eq!(w.audit.invites.len(), 2);
    let [_] = w.finish();
}

/// The call of a trunk that is asked for credentials, and comes again with this password, or not at all.
fn call_with(w: &mut World, password: Option<&str>) -> Option<Side> {
    let asked = w.dial(PBX);
    let answer = w.outcome(asked);
    assert_eq!((answer.status(), w.calls.active()), (401, 0));
    let mut challenge = Challenge::choose(&answer).expect("a challenge");
    let credentials = Credentials {
        username: "contoso".into(),
        password: password?.into(),
    };
    let invite = &w.sides[asked.0].invite;
    let uri = invite.request_uri().to_owned();
    let call_id = invite.call_id().unwrap().to_owned();
    let mut random = Random::from_number(17);
    let proof = challenge.answer(&credentials, Method::Invite, &uri, b"", &mut random);
    Some(w.dial_with(PBX, ALICE, |draft| {
        draft
            .replace(Name::CallId, call_id)
            .replace(Name::CSeq, "2 INVITE")
            .header(challenge.header(), proof);
    }))
}

fn unproven(w: &World) -> Vec<&'static str> {
    let reasons = w.reports.iter().filter_map(|report| match report {
        Report::Unproven { trunk, reason } if trunk == "pbx" => Some(*reason),
        _ => None,
    });
    reasons.collect()
}

fn found(cdr: &Cdr) -> Vec<Found> {
    let facts = cdr.why.steps.iter().filter_map(|step| match &step.fact {
        Fact::Credentials { trunk, found } if trunk == "pbx" => Some(*found),
        _ => None,
    });
    facts.collect()
}

/// A trunk proves itself by digest; only then is there a call, and one record, whose trace says so.
#[test]
fn a_trunk_proves_itself_to_us() {
    let mut w = World::with(with_digest(), 17);
    let a = call_with(&mut w, Some("s3same")).unwrap();
    let b = w.incoming(TEAMS);
    assert!(w.sides[b.0].invite.header(Name::Authorization).is_none());
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(a);
    assert_eq!(unproven(&w), ["missing"]);
    let [cdr] = w.finish();
    assert_eq!(found(&cdr), [Found::Right]);
}

/// Credentials that are wrong, and none at all after they were asked for, leave one record each, with its trace and the
/// customer whose trunk it is, and are counted by reason. What the trunk wrote into them stands in none of these.
#[test]
fn what_a_trunk_does_not_prove_is_told() {
    for (password, status, reasons, last) in [
        (Some("guess"), 403, &["missing", "wrong"][..], Found::Wrong),
        (None, 401, &["missing"][..], Found::Missing),
    ] {
        let mut w = World::with(with_digest(), 17);
        let a = call_with(&mut w, password);
        if let Some(a) = a {
            assert_eq!(w.outcome(a).status(), 403);
        }
        assert_eq!(w.cdrs.len(), usize::from(a.is_some()), "{password:?}");
        w.pass(std::time::Duration::from_secs(33));
        assert_eq!(w.audit.invites.len(), 0);
        assert_eq!(unproven(&w), reasons);
        let counted = w.reports.iter().filter(|report| {
            matches!(
                report,
                Report::Refused {
                    customer: Some(ACME),
                    reason: "credentials"
                }
            )
        });
        assert_eq!(counted.count(), 1, "{password:?}");
        let [cdr] = w.finish();
        assert_eq!(
            (cdr.sip_code, cdr.refused_by.as_deref(), cdr.customer_id),
            (Some(status), Some("credentials"), Some(ACME))
        );
        assert_eq!(found(&cdr), [last], "the last try's trace");
        let text = serde_json::to_string(&cdr).unwrap() + &cdr.why.to_string();
        for secret in ["contoso", "guess", "s3same", "nonce"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// INVITEs that never come again with credentials take a bounded room; those that find none are given up early.
#[test]
fn who_never_comes_again_takes_no_room() {
    let mut w = World::with(with_digest(), 17);
    for _ in 0..1010 {
        let asked = w.dial(PBX);
        assert_eq!(w.outcome(asked).status(), 401);
    }
    assert!(w.cdrs.len() >= 10, "{}", w.cdrs.len());
    assert_eq!(w.finish_all().len(), 1010);
}

/// RFC 7616 §3.3: a trunk that takes nothing but `auth-int` gets the body hashed in, in the INVITE and in the BYE.
#[test]
fn a_trunk_that_wants_the_body_hashed() {
    let mut w = World::with(with_digest(), 18);
    let mut random = Random::from_number(18);
    let mut challenger = Challenger::new("pbx.example", &[Algorithm::SHA256], &mut random, w.now);
    let a = w.dial(TEAMS);
    let first = w.incoming(PBX);
    let values = challenger.challenge(AuthFailure::Missing, w.now);
    w.reply(first, 401, None, |draft| {
        for value in values {
            let value = value.replace("qop=\"auth\"", "qop=\"auth-int\"");
            draft.header(Name::WwwAuthenticate, value);
        }
    });
    let b = w.incoming(PBX);
    let invite = w.sides[b.0].invite.clone();
    let proof = invite.header(Name::Authorization).unwrap().to_string();
    assert!(proof.contains("qop=auth-int"), "{proof}");
    let password = |_: &str| Some("s3same".to_owned());
    let user = challenger.check(&invite, password, w.now);
    assert_eq!(user.as_deref(), Ok("contoso"));
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(a);
    let bye = w.hung_up(b);
    let user = challenger.check(&bye, password, w.now);
    assert_eq!(user.as_deref(), Ok("contoso"));
    let [_] = w.finish();
}

/// RFC 3261 §22.3: a proxy asks, then the exchange behind it, then both at once: each realm gets its own answer, and all of
/// them come along from then on.
#[test]
fn a_proxy_and_its_exchange_both_ask() {
    let mut w = World::with(with_digest(), 19);
    let a = w.dial(TEAMS);
    let proxy = "Digest realm=\"proxy\", nonce=\"p1\"";
    let exchange = "Digest realm=\"exchange\", nonce=\"e1\"";
    let b = w.incoming(PBX);
    w.reply(b, 407, None, |draft| {
        draft.header(Name::ProxyAuthenticate, proxy);
    });
    let b = w.incoming(PBX);
    w.reply(b, 401, None, |draft| {
        draft.header(Name::WwwAuthenticate, exchange);
    });
    let b = w.incoming(PBX);
    w.reply(b, 407, None, |draft| {
        draft
            .header(
                Name::ProxyAuthenticate,
                format!("{proxy}2, stale=true").replace("p1\"2", "p2\""),
            )
            .header(
                Name::WwwAuthenticate,
                format!("{exchange}2, stale=true").replace("e1\"2", "e2\""),
            );
    });
    let b = w.incoming(PBX);
    let invite = w.sides[b.0].invite.clone();
    for (name, nonce) in [
        (Name::ProxyAuthorization, "p2"),
        (Name::Authorization, "e2"),
    ] {
        assert_eq!(invite.headers(name).count(), 1);
        let value = invite.header(name).unwrap().to_string();
        assert!(value.contains(&format!("nonce=\"{nonce}\"")), "{value}");
    }
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(a);
    let bye = w.hung_up(b);
    assert!(
        bye.header(Name::ProxyAuthorization).is_some() && bye.header(Name::Authorization).is_some()
    );
    let [_] = w.finish();
}
