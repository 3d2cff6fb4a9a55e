//! Digest (RFC 7616), both ways.

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

/// A trunk proves itself by digest; only then is there a call, and one record.
#[test]
fn a_trunk_proves_itself_to_us() {
    for (password, wanted) in [("s3same", 200), ("guess", 403)] {
        let mut w = World::with(with_digest(), 17);
        let asked = w.dial(PBX);
        let answer = w.outcome(asked);
        assert_eq!((answer.status(), w.calls.active()), (401, 0));
        let mut challenge = Challenge::choose(&answer).expect("a challenge");
        let credentials = Credentials {
            username: "contoso".into(),
            password: password.into(),
        };
        let uri = w.sides[asked.0].invite.request_uri().to_owned();
        let mut random = Random::from_number(17);
        let proof = challenge.answer(&credentials, Method::Invite, &uri, b"", &mut random);
        let a = w.dial_with(PBX, ALICE, |draft| {
            draft.header(challenge.header(), proof);
        });
        if wanted == 200 {
            let b = w.incoming(TEAMS);
            assert!(w.sides[b.0].invite.header(Name::Authorization).is_none());
            w.answer(b);
            assert_eq!(w.outcome(a).status(), 200);
            w.bye(a);
            let [_] = w.finish();
        } else {
            assert_eq!(w.outcome(a).status(), 403);
            assert_eq!(w.audit.invites.len(), 0);
            let [] = w.finish();
        }
    }
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
