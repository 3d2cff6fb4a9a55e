//! Who is refused, with what, and what the record says.

use tollgate::b2bua::{Report, UnknownPeers};
use tollgate::directory::{ActivationState, AdminState, GatewayState, TrunkState};
use tollgate::sip::{Builder, Method, Name};

use crate::sim::World;
use crate::sim::setup::*;

/// Who calls whom in what world, the status that comes of it, and the record's word.
type Row = (&'static str, Setup, Who, String, u16, &'static str);

fn at(user: &str, host: &str) -> String {
    format!("sip:{user}@{host};user=phone")
}

fn rows() -> Vec<Row> {
    let teams = |number| at(number, ACME_FQDN);
    let trunk = |number| at(number, "192.0.2.1");
    let inactive =
        || Setup::default().acme_with(|c| c.activation_state = ActivationState::Inactive);
    let disabled = || Setup::default().acme_with(|c| c.admin_state = AdminState::Disabled);
    let no_trunk = || Setup::default().trunk_with("pbx", |t| t.state = TrunkState::OutOfService);
    let pending = || {
        let mut setup = Setup::default();
        setup.rows.gateways[0].state = GatewayState::Verified;
        setup
    };
    let usual = Setup::default;
    vec![
        ("stranger", usual(), STRANGER, trunk(ALICE), 403, "acl"),
        (
            "unknown gateway",
            usual(),
            TEAMS,
            at(OUTSIDE, "evil.eu.example"),
            403,
            "acl",
        ),
        (
            "the region's own name",
            usual(),
            TEAMS,
            at(OUTSIDE, BASE_FQDN),
            403,
            "acl",
        ),
        (
            "inactive, to Teams",
            inactive(),
            TEAMS,
            teams(OUTSIDE),
            403,
            "inactive",
        ),
        (
            "inactive, to a carrier",
            inactive(),
            CARRIER,
            trunk(ALICE),
            480,
            "inactive",
        ),
        (
            "inactive, to a PBX",
            inactive(),
            PBX,
            trunk(ALICE),
            403,
            "inactive",
        ),
        (
            "disabled, to Teams",
            disabled(),
            TEAMS,
            teams(OUTSIDE),
            403,
            "disabled",
        ),
        (
            "disabled, to a carrier",
            disabled(),
            CARRIER,
            trunk(ALICE),
            480,
            "disabled",
        ),
        (
            "disabled, to a PBX",
            disabled(),
            PBX,
            trunk(ALICE),
            403,
            "disabled",
        ),
        (
            "number out of service",
            usual(),
            CARRIER,
            trunk(GONE),
            404,
            "number",
        ),
        (
            "number of nobody",
            usual(),
            PBX,
            trunk("+14255559999"),
            404,
            "number",
        ),
        ("number of another", usual(), PBX, trunk(RIVALS), 403, "acl"),
        ("no trunk", no_trunk(), TEAMS, teams(OUTSIDE), 503, "route"),
        (
            "gateway not active",
            pending(),
            PBX,
            trunk(ALICE),
            403,
            "inactive",
        ),
    ]
}

/// The table of provisioning rules, told to each kind of peer.
#[test]
fn every_refusal() {
    for (what, setup, who, uri, status, word) in rows() {
        let mut w = World::with(setup, 12);
        let caller = if who == TEAMS { ALICE } else { OUTSIDE };
        let a = w.dial_uri(who, &uri, caller, |_| {});
        let answer = w.outcome(a);
        assert_eq!(answer.status(), status, "{what}");
        assert!(answer.header(Name::Reason).is_some(), "{what}");
        assert_eq!(w.audit.invites.len(), 0, "{what}");
        let [cdr] = w.finish();
        assert_eq!(
            (cdr.refused_by.as_deref(), cdr.sip_code),
            (Some(word), Some(status)),
            "{what}"
        );
    }
}

/// TDR-313: a user of Teams presents a number that is not its customer's; screening is the customer's choice.
#[test]
fn a_foreign_caller_is_refused_if_callers_are_screened() {
    for (screened, number) in [
        (true, "+4930123456"),
        (true, "anonymous"),
        (false, "+4930123456"),
        (false, "anonymous"),
    ] {
        let mut w = World::with(
            Setup::default().acme_with(|c| c.caller_screening = screened),
            13,
        );
        let uri = at(OUTSIDE, ACME_FQDN);
        let a = w.dial_uri(TEAMS, &uri, number, |_| {});
        if screened {
            assert_eq!(w.outcome(a).status(), 403);
            let [cdr] = w.finish();
            assert_eq!(cdr.refused_by.as_deref(), Some("caller"));
        } else {
            let b = w.incoming(PBX);
            w.reject(b, 486);
            w.outcome(a);
            let [_] = w.finish();
        }
    }
}

/// TDR-1212: customers are kept apart. Another's number is presented by nobody, screened or not, with whatever asserted
/// identity; another's gateway serves nobody else's number; another's trunk reaches nobody else's number. Each is refused,
/// counted for whom it would have been, and recorded.
#[test]
fn no_customer_uses_what_is_anothers() {
    let unscreened = || Setup::default().acme_with(|c| c.caller_screening = false);
    let asserted = Some("<tel:+14155550199>");
    let rows = [
        (
            "their number",
            Setup::default(),
            TEAMS,
            at(OUTSIDE, ACME_FQDN),
            RIVALS,
            None,
            "caller",
        ),
        (
            "unscreened",
            unscreened(),
            TEAMS,
            at(OUTSIDE, ACME_FQDN),
            RIVALS,
            None,
            "caller",
        ),
        (
            "vouched by a stranger",
            unscreened(),
            TEAMS,
            at(OUTSIDE, ACME_FQDN),
            RIVALS,
            asserted,
            "caller",
        ),
        (
            "their gateway",
            Setup::default(),
            TEAMS,
            at(OUTSIDE, RIVAL_FQDN),
            ALICE,
            None,
            "caller",
        ),
        (
            "our trunk, their number",
            Setup::default(),
            PBX,
            at(RIVALS, "192.0.2.1"),
            OUTSIDE,
            None,
            "acl",
        ),
        (
            "their trunk, our number",
            Setup::default(),
            RIVAL,
            at(ALICE, "192.0.2.1"),
            OUTSIDE,
            None,
            "acl",
        ),
    ];
    for (what, setup, who, uri, caller, asserted, word) in rows {
        let mut w = World::with(setup, 15);
        let a = w.dial_uri(who, &uri, caller, |draft| {
            if let Some(asserted) = asserted {
                draft.header(Name::PAssertedIdentity, asserted);
            }
        });
        assert_eq!(w.outcome(a).status(), 403, "{what}");
        assert_eq!(w.audit.invites.len(), 0, "{what}");
        let counted = w.reports.iter().any(
            |report| matches!(report, Report::Refused { customer: Some(_), reason } if *reason == word),
        );
        assert!(counted, "{what}");
        let [cdr] = w.finish();
        assert_eq!(
            (cdr.refused_by.as_deref(), cdr.sip_code),
            (Some(word), Some(403)),
            "{what}"
        );
    }
}

/// O-22: a call from Teams proves a gateway that is only verified, whatever becomes of the call; a trunk's proves none, nor
/// does one for a gateway that was proven before.
#[test]
fn a_call_from_teams_proves_a_verified_gateway() {
    for (state, who, number, caller, proven) in [
        (GatewayState::Verified, TEAMS, OUTSIDE, ALICE, 1),
        (GatewayState::Verified, TEAMS, OUTSIDE, "+4990", 1),
        (GatewayState::Active, TEAMS, OUTSIDE, ALICE, 0),
        (GatewayState::Pending, TEAMS, OUTSIDE, ALICE, 0),
        (GatewayState::Verified, CARRIER, ALICE, OUTSIDE, 0),
    ] {
        let mut setup = Setup::default();
        setup.rows.gateways[0].state = state;
        let mut w = World::with(setup, 15);
        let a = w.dial_uri(who, &at(number, ACME_FQDN), caller, |_| {});
        w.pass(std::time::Duration::from_millis(100));
        let is_it = |r: &&Report| matches!(r, Report::GatewayProven { .. });
        assert_eq!(
            w.reports.iter().filter(is_it).count(),
            proven,
            "{state:?} {caller}"
        );
        if !w.audit.invites.is_empty() {
            w.cancel(a);
        }
        w.finish_all();
    }
}

/// What is wrong with an INVITE itself, and what the answer adds to that.
#[test]
fn every_fault_of_an_invite() {
    type Change = fn(&mut Builder) -> &mut Builder;
    type Addition = Option<(Name, &'static str)>;
    let rows: [(u16, Change, Addition); 6] = [
        (483, |d| d.replace(Name::MaxForwards, "0"), None),
        (
            420,
            |d| d.header(Name::Require, "100rel, x"),
            Some((Name::Unsupported, "x")),
        ),
        (
            415,
            |d| d.body("text/plain", "hi"),
            Some((Name::Extension("Accept"), "application/sdp")),
        ),
        (
            422,
            |d| d.header(Name::SessionExpires, "60"),
            Some((Name::MinSe, "90")),
        ),
        (
            400,
            |d| {
                d.body("application/sdp", "v=1\r\n")
                    .replace(Name::Contact, "<>")
            },
            None,
        ),
        (488, |d| d.body("application/sdp", VIDEO), None),
    ];
    for (status, change, adds) in rows {
        let mut w = World::new();
        let a = w.dial_with(PBX, ALICE, |draft| {
            change(draft);
        });
        let answer = w.outcome(a);
        assert_eq!(answer.status(), status);
        if let Some((name, value)) = adds {
            let found = answer.header(name).unwrap_or_else(|| panic!("no {name:?}"));
            assert!(found.text().unwrap().starts_with(value));
        }
        let cdrs = w.finish_all();
        assert!(status == 400 || cdrs.len() == 1);
    }
}

const VIDEO: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=video 4000 RTP/AVP 96\r\n";

/// TDR-830: Teams without SRTP, and a PBX with it, are refused with 488.
#[test]
fn the_wrong_kind_of_media() {
    let plain = VIDEO.replace("m=video 4000 RTP/AVP 96", "m=audio 4000 RTP/AVP 8");
    let mut w = World::new();
    let a = w.dial_with(TEAMS, OUTSIDE, |draft| {
        draft.body("application/sdp", &plain);
    });
    assert_eq!(w.outcome(a).status(), 488);
    let b = w.dial_with(PBX, ALICE, |draft| {
        draft.body("application/sdp", plain.replace("AVP 8", "AVP 18"));
    });
    assert_eq!(w.outcome(b).status(), 488);
    let [_, _] = w.finish();
}

/// An INVITE of ours that comes back to us for the same number is a loop; for another number it is a forwarded call.
#[test]
fn a_call_that_comes_back() {
    let mut w = World::new();
    let a = w.dial(CARRIER);
    let b = w.incoming(TEAMS);
    w.ring(b);
    let call_id = w.sides[b.0].invite.call_id().unwrap().to_owned();
    let mut back = Builder::request(Method::Invite, &format!("sip:{ALICE}@192.0.2.1"));
    back.header(Name::MaxForwards, "60")
        .header_fmt(Name::From, format_args!("<sip:{OUTSIDE}@pbx>;tag=again"))
        .header_fmt(Name::To, format_args!("<sip:{ALICE}@192.0.2.1>"))
        .header(Name::CallId, &call_id)
        .header(Name::CSeq, "1 INVITE")
        .header(Name::Contact, "<sip:pbx@192.0.2.10>");
    w.audit.forget();
    w.inject(
        PBX,
        back.finish(Some("SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKback"))
            .bytes()
            .clone(),
    );
    // Nobody acknowledges the refusal, which is repeated for a while.
    w.pass(std::time::Duration::from_secs(40));
    assert!(w.ladder_has("SIP/2.0 482"), "refused");
    w.audit.forget();
    w.reject(b, 486);
    assert_eq!(w.outcome(a).status(), 486);
    let cdrs: [_; 2] = w.finish();
    assert!(
        cdrs.iter()
            .any(|cdr| cdr.refused_by.as_deref() == Some("loop"))
    );
}

/// Scanners hear nothing at all where the operator wants that.
#[test]
fn strangers_can_be_dropped() {
    let drop = |c: &mut tollgate::b2bua::Config| c.unknown_peers = UnknownPeers::Drop;
    let mut w = World::with(Setup::default().config_with(drop), 14);
    let a = w.dial(STRANGER);
    w.pass(std::time::Duration::from_secs(40));
    assert!(
        !w.sides[a.0]
            .inbox
            .iter()
            .any(|h| matches!(h, crate::sim::agent::Heard::Response(_)))
    );
    let dropped = w
        .reports
        .iter()
        .filter(|r| matches!(r, Report::Dropped { .. }))
        .count();
    assert!(dropped >= 1);
    let [] = w.finish();
}

/// Outside a dialog: OPTIONS is answered to those we know, BYE and its like belong to no call, the rest we do not do.
#[test]
fn requests_without_a_call() {
    let ask_with = |who: Who, method: Method, change: fn(&mut Builder)| {
        let mut w = World::new();
        let mut draft = Builder::request(method, &format!("sip:{BASE_FQDN}:5061;transport=tls"));
        draft
            .header(Name::MaxForwards, "70")
            .header(Name::From, "<sip:peer.example>;tag=t")
            .header(Name::To, "<sip:sbc.example>")
            .header(Name::CallId, "single")
            .header_fmt(Name::CSeq, format_args!("1 {method}"))
            .header(Name::Contact, "<sip:peer.example>");
        change(&mut draft);
        let answer = w.ask(who, draft);
        let [] = w.finish();
        answer
    };
    for who in [TEAMS, PBX] {
        let answer = ask_with(who, Method::Options, |draft| {
            draft.header(Name::Require, "x, timer");
        });
        let named = answer.header(Name::Unsupported).map(|v| v.to_string());
        assert_eq!((answer.status(), named.as_deref()), (420, Some("x")));
    }
    let ask = |who, method| ask_with(who, method, |_| {});
    assert_eq!(ask(STRANGER, Method::Options).status(), 403);
    assert_eq!(ask(PBX, Method::Options).status(), 200);
    let teams = ask(TEAMS, Method::Options);
    let contact = teams.contact().unwrap().unwrap().uri.to_owned();
    assert_eq!(
        (teams.status(), contact.as_str()),
        (200, "sip:eu.example:5061;transport=tls")
    );
    for method in [Method::Bye, Method::Notify, Method::Refer, Method::Update] {
        assert_eq!(ask(PBX, method).status(), 481);
    }
    let unknown = ask(PBX, Method::Subscribe);
    assert!(unknown.status() == 405 && unknown.header(Name::Allow).is_some());
}

/// Tags can be overheard: a request inside a dialog from somebody else's address is refused, and changes nothing.
#[test]
fn a_strangers_request_inside_a_dialog() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    for (who, of) in [(STRANGER, b), (RIVAL, b), (PBX, a)] {
        for method in [Method::Bye, Method::Invite, Method::Refer] {
            let dialog = w.sides[of.0].dialog.as_mut().unwrap();
            let mut draft = dialog.clone().request(method);
            draft.header(Name::Contact, "<sip:thief@203.0.113.66>");
            w.audit.forget();
            assert_eq!(w.ask(who, draft).status(), 403, "{method}");
            w.audit.forget();
        }
    }
    assert!(w.talk(a, b));
    w.audit.forget();
    assert_eq!(w.bye(a), 200);
    w.hung_up(b);
    let [_] = w.finish();
}

/// Methods that a dialog does not know are 405; INFO and OPTIONS are answered; an old CSeq is 500, a foreign tag 481.
#[test]
fn requests_inside_a_dialog() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    for (method, status) in [
        (Method::Info, 200),
        (Method::Options, 200),
        (Method::Subscribe, 405),
    ] {
        w.send(b, method, None, |_| {});
        assert_eq!(w.outcome_of(b, method).status(), status);
    }
    let before = w.sides[b.0].dialog.clone();
    w.send(b, Method::Info, None, |draft| {
        draft.replace(Name::CSeq, "1 INFO");
    });
    assert_eq!(w.outcome_of(b, Method::Info).status(), 500);
    w.sides[b.0].dialog = before;
    let to = w.sides[b.0].invite.from_tag().unwrap().to_owned();
    let mut draft = w.sides[b.0].dialog.clone().unwrap().request(Method::Bye);
    draft.replace(Name::From, "<sip:pbx@192.0.2.10>;tag=guess");
    w.audit.forget();
    assert_eq!(w.ask(PBX, draft).status(), 481, "{to}");
    w.audit.forget();
    assert!(w.talk(a, b));
    w.bye(a);
    let [_] = w.finish();
}

/// RFC 3261 §8.2.2.3, TDR-502, TDR-510: a request that requires what we do not do is refused with 420, which names all of
/// that and nothing else, inside a dialog as outside; the call goes on as it was. What we do may be required.
#[test]
fn what_a_request_requires() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    for (side, required, unsupported) in [
        (a, "x, timer, y", Some("x, y")),
        (a, "100rel", Some("100rel")),
        (b, "replaces, X-Other", Some("X-Other")),
        (b, "timer, 100rel, Replaces", None),
    ] {
        for method in [
            Method::Invite,
            Method::Update,
            Method::Info,
            Method::Options,
        ] {
            let offers = matches!(method, Method::Invite | Method::Update);
            let sdp = offers.then(|| w.describe(side, "sendrecv"));
            w.send(side, method, sdp, |draft| {
                draft.header(Name::Require, required);
            });
            let answer = w.outcome_of(side, method);
            let named = answer.header(Name::Unsupported).map(|v| v.to_string());
            let status = if unsupported.is_some() { 420 } else { 200 };
            assert_eq!(answer.status(), status, "{method} {required}");
            assert_eq!(named.as_deref(), unsupported, "{method} {required}");
            w.pass(std::time::Duration::from_secs(1));
            assert!(w.talk(a, b), "{method} {required}");
        }
    }
    for (method, status) in [(Method::Refer, 420), (Method::Subscribe, 405)] {
        w.send(a, method, None, |draft| {
            draft
                .header(Name::Require, "x, norefersub")
                .header(Name::ReferTo, "<sip:+14255550101@acme.eu.example>");
        });
        let answer = w.outcome_of(a, method);
        let named = answer.header(Name::Unsupported).map(|v| v.to_string());
        let wanted = (status == 420).then_some("x");
        assert_eq!((answer.status(), named.as_deref()), (status, wanted));
    }
    // Whoever says BYE has left, whatever it requires of us.
    w.send(a, Method::Bye, None, |draft| {
        draft.header(Name::Require, "x");
    });
    assert_eq!(w.outcome_of(a, Method::Bye).status(), 200);
    w.hung_up(b);
    let [_] = w.finish();
}

/// TDR-519: NOTIFY is for transfers. Nobody hears one of ours in a call without, nothing can be subscribed to, and one that
/// belongs to no transfer is answered and changes nothing.
#[test]
fn notify_is_for_transfers_only() {
    for held in [false, true] {
        let mut w = World::new();
        let (a, b) = w.call_from_teams();
        for side in [a, b] {
            w.send(side, Method::Subscribe, None, |draft| {
                draft.header(Name::Event, "dialog");
            });
            assert_eq!(w.outcome_of(side, Method::Subscribe).status(), 405);
            w.send(side, Method::Notify, None, |draft| {
                draft
                    .header(Name::Event, "refer")
                    .header(Name::SubscriptionState, "active");
            });
            assert_eq!(w.outcome_of(side, Method::Notify).status(), 200);
        }
        if held {
            w.reinvite(a, "inactive");
            w.reinvite(a, "sendrecv");
        }
        w.pass(std::time::Duration::from_secs(20));
        assert!(w.talk(a, b));
        for side in [a, b] {
            assert!(!w.has_heard(side, Method::Notify));
        }
        w.bye(a);
        w.hung_up(b);
        let [_] = w.finish();
    }
}
