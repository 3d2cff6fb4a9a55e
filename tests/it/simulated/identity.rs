//! Who calls and by whom a call was diverted, as each kind of peer is told (TDR sections 3 to 5).

use std::time::Duration;

use tollgate::directory::{AssertedIdentity, CallHistory, NumberFormat, Profile};
use tollgate::sip::{Message, Name};

use crate::sim::World;
use crate::sim::setup::*;

/// A billed user of Teams, as `ForwardPai` writes it.
const ASSERTED: &str = "<tel:+14255550100>, <sip:alice@contoso.com>";
const FORWARDED: &str = "<sip:+14255550101@sip.pstnhub.microsoft.com:5061;user=phone?Reason=SIP%3Bcause%3D486%3Btext%3D%22\
    Busy%20Here%22>;index=1";

fn with(change: impl FnOnce(&mut Profile)) -> World {
    World::with(
        Setup::default().trunk_with("pbx", |t| change(&mut t.profile)),
        51,
    )
}

fn text(message: &Message, name: Name) -> Option<String> {
    message.header(name).map(|value| value.to_string())
}

/// The INVITE that the exchange gets when `from` calls out through Teams with these headers.
fn sent_to_pbx(mut w: World, from: &str, headers: &[(Name, &str)]) -> Message {
    let uri = format!("sip:{OUTSIDE}@{ACME_FQDN};user=phone;cause=486");
    let a = w.dial_uri(TEAMS, &uri, ALICE, |draft| {
        if from != ALICE {
            let tag = draft.finish(None).from_tag().unwrap().to_owned();
            draft.replace(Name::From, format!("\"Jane Doe\" <sip:{from}>;tag={tag}"));
        }
        for (name, value) in headers {
            draft.header(*name, value);
        }
    });
    let b = w.incoming(PBX);
    let invite = w.sides[b.0].invite.clone();
    w.reject(b, 486);
    assert_eq!(w.outcome(a).status(), 486);
    let [_] = w.finish();
    invite
}

/// TDR-305: dropped, passed as it came, or rewritten as one value of ours, trunk by trunk. Teams' `Privacy: id` comes with
/// every asserted identity: a peer that gets none hears nothing of it, and From stays.
#[test]
fn an_asserted_identity_as_each_trunk_wants_it() {
    let headers = [(Name::PAssertedIdentity, ASSERTED), (Name::Privacy, "id")];
    let sent = |identity| sent_to_pbx(with(|p| p.asserted_identity = identity), ALICE, &headers);
    let ours = "<sip:+14255550100@192.0.2.1:5060;user=phone>";
    for (identity, asserted, privacy) in [
        (AssertedIdentity::Drop, None, None),
        (AssertedIdentity::Pass, Some(ASSERTED), Some("id")),
        (AssertedIdentity::Rewrite, Some(ours), Some("id")),
    ] {
        let invite = sent(identity);
        assert_eq!(text(&invite, Name::PAssertedIdentity).as_deref(), asserted);
        assert_eq!(text(&invite, Name::Privacy).as_deref(), privacy);
        assert!(invite.from().unwrap().uri.contains(ALICE));
    }
}

/// TDR-304, TDR-305, RFC 3323 §5: who hides is hidden from a trunk that is not trusted with identities, in every header;
/// a trusted one learns the number and the wish, from us where the caller left it out.
#[test]
fn who_hides_is_hidden() {
    let hides = "anonymous@anonymous.invalid";
    let asserted = [(Name::PAssertedIdentity, ASSERTED)];
    let invite = sent_to_pbx(with(|_| {}), hides, &asserted);
    let all = String::from_utf8_lossy(invite.bytes()).into_owned();
    assert!(
        !all.contains(ALICE) && !all.contains("Jane") && !all.contains("contoso"),
        "{all}"
    );
    assert_eq!(
        invite.from().unwrap().uri,
        "sip:anonymous@anonymous.invalid"
    );
    assert!(
        invite
            .contact()
            .unwrap()
            .unwrap()
            .uri
            .starts_with("sip:anonymous@")
    );

    let rewrites = || with(|p| p.asserted_identity = AssertedIdentity::Rewrite);
    let invite = sent_to_pbx(rewrites(), hides, &asserted);
    assert_eq!(
        invite.from().unwrap().uri,
        "sip:anonymous@anonymous.invalid"
    );
    assert!(
        text(&invite, Name::PAssertedIdentity)
            .unwrap()
            .contains(ALICE)
    );
    assert_eq!(text(&invite, Name::Privacy).as_deref(), Some("id"));

    let user = [(Name::Privacy, "user; critical")];
    let invite = sent_to_pbx(with(|_| {}), ALICE, &user);
    let all = String::from_utf8_lossy(invite.bytes()).into_owned();
    assert!(!all.contains(ALICE) && !all.contains("Jane"), "{all}");
    assert!(
        invite.header(Name::Privacy).is_none(),
        "what is done is not asked for again"
    );
    let invite = sent_to_pbx(rewrites(), ALICE, &user);
    assert!(invite.from().unwrap().uri.contains(ALICE));
    assert_eq!(
        text(&invite, Name::Privacy).as_deref(),
        Some("user; critical")
    );
}

/// TDR-1007: a caller who hides is called back all the same when it was an emergency.
#[test]
fn nobody_hides_in_an_emergency() {
    let mut w = World::new();
    let uri = format!("sip:112@{ACME_FQDN}");
    let a = w.dial_uri(TEAMS, &uri, "anonymous", |draft| {
        draft
            .header(Name::PAssertedIdentity, ASSERTED)
            .header(Name::Privacy, "id;user");
    });
    let b = w.incoming(PBX);
    let invite = w.sides[b.0].invite.clone();
    assert!(invite.from().unwrap().uri.contains(ALICE));
    assert!(invite.header(Name::Privacy).is_none());
    w.reject(b, 486);
    w.outcome(a);
    let [_] = w.finish();
}

/// TDR-303, TDR-306, TDR-307: Teams' History-Info reaches a trunk in the form it wants, with the cause in the Request-URI,
/// or not at all. Microsoft's host names stay behind.
#[test]
fn a_forwarded_call_tells_each_trunk_in_its_own_form() {
    let headers = [(Name::HistoryInfo, FORWARDED)];
    let sent = |form| sent_to_pbx(with(|p| p.call_history = form), ALICE, &headers);
    let invite = sent(CallHistory::Drop);
    assert!(
        invite
            .header(Name::HistoryInfo)
            .or(invite.header(Name::Diversion))
            .is_none()
    );
    assert!(!invite.request_uri().contains("cause"));

    let invite = sent(CallHistory::Diversion);
    let diversion =
        "<sip:+14255550101@192.0.2.1:5060;user=phone>;reason=user-busy;counter=1;privacy=off";
    assert_eq!(text(&invite, Name::Diversion).as_deref(), Some(diversion));
    assert!(invite.header(Name::HistoryInfo).is_none());
    assert!(
        invite.request_uri().ends_with(";cause=486"),
        "{}",
        invite.request_uri()
    );
    assert!(!String::from_utf8_lossy(invite.bytes()).contains("pstnhub"));

    let invite = sent(CallHistory::HistoryInfo);
    let lines: Vec<_> = invite
        .headers(Name::HistoryInfo)
        .map(|v| v.to_string())
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains("+14255550101@192.0.2.1") && lines[0].ends_with(";index=1"));
    assert!(lines[1].contains(";cause=486>") && lines[1].ends_with(";index=1.1"));
}

/// TDR-306: who does not want to be named as a diverter is not, but to a trunk that is trusted.
#[test]
fn a_private_diverter_stays_unnamed() {
    let headers = [(Name::HistoryInfo, FORWARDED), (Name::Privacy, "history")];
    let invite = sent_to_pbx(
        with(|p| p.call_history = CallHistory::Diversion),
        ALICE,
        &headers,
    );
    assert!(invite.header(Name::Diversion).is_none());
    let trusted = with(|p| {
        p.call_history = CallHistory::Diversion;
        p.asserted_identity = AssertedIdentity::Pass;
    });
    let invite = sent_to_pbx(trusted, ALICE, &headers);
    assert!(
        text(&invite, Name::Diversion)
            .unwrap()
            .ends_with("privacy=full")
    );
}

/// TDR-419, TDR-307, TDR-406: a carrier's Diversion reaches Teams as History-Info, in E.164 as all numbers do.
#[test]
fn a_diversion_of_a_trunk_reaches_teams_as_history_info() {
    let setup = Setup::default().trunk_with("pbx", |t| {
        t.number_format = NumberFormat::National {
            country_code: "1".into(),
            trunk_prefix: "1".into(),
            international_prefix: "011".into(),
        };
    });
    let mut w = World::with(setup, 52);
    let a = w.dial_uri(
        PBX,
        "sip:4255550100@192.0.2.1",
        "011442075550123",
        |draft| {
            draft.header(
                Name::Diversion,
                "<sip:14255550199@pbx.example>;reason=no-answer",
            );
        },
    );
    let b = w.incoming(TEAMS);
    let invite = w.sides[b.0].invite.clone();
    assert!(invite.request_uri().starts_with("sip:+14255550100@"));
    assert!(
        invite
            .from()
            .unwrap()
            .uri
            .starts_with("sip:+442075550123@acme.eu.example")
    );
    let lines: Vec<_> = invite
        .headers(Name::HistoryInfo)
        .map(|v| v.to_string())
        .collect();
    let first =
        "<sip:+14255550199@acme.eu.example:5061;user=phone?Reason=SIP%3Bcause%3D408>;index=1";
    assert_eq!(lines.first().map(String::as_str), Some(first));
    assert!(invite.header(Name::Diversion).is_none());
    w.reject(b, 480);
    w.outcome(a);
    let [_] = w.finish();
}

/// TDR-304, TDR-313: a call of somebody outside that a user of this customer forwards out again keeps its caller; with
/// nobody of the customer behind it, it is refused.
#[test]
fn a_forwarded_caller_passes_the_screening() {
    for (header, status) in [(Some(FORWARDED), 486), (None, 403)] {
        let mut w = World::new();
        let uri = format!("sip:+4930123456@{ACME_FQDN}");
        let a = w.dial_uri(TEAMS, &uri, OUTSIDE, |draft| {
            if let Some(history) = header {
                draft.header(Name::HistoryInfo, history);
            }
        });
        if status == 486 {
            let b = w.incoming(PBX);
            assert!(w.sides[b.0].invite.from().unwrap().uri.contains(OUTSIDE));
            w.reject(b, 486);
        }
        assert_eq!(w.outcome(a).status(), status);
        let [cdr] = w.finish();
        assert_eq!(cdr.from, OUTSIDE);
    }
}

/// TDR-308: a call that its called user has diverted twice already goes round in circles, and so does one that was
/// diverted more often than anybody would.
#[test]
fn a_call_that_goes_round_is_stopped() {
    let diverted = |number: &str| format!("<sip:{number}@pbx>;reason=unconditional");
    let once = vec![diverted(ALICE)];
    let twice = vec![diverted(ALICE), diverted(OUTSIDE), diverted(ALICE)];
    let often = (0..11)
        .map(|n| diverted(&format!("+4930123{n:03}")))
        .collect();
    for (diversions, status) in [(once, 486), (twice, 482), (often, 482)] {
        let mut w = World::new();
        let a = w.dial_with(PBX, ALICE, |draft| {
            for diversion in diversions {
                draft.header(Name::Diversion, diversion);
            }
        });
        if status == 486 {
            let b = w.incoming(TEAMS);
            w.reject(b, 486);
        }
        assert_eq!(w.outcome(a).status(), status);
        let [_] = w.finish();
    }
}

/// TDR-409: a carrier that keeps the true caller in P-Asserted-Identity, if it is said to.
#[test]
fn from_is_written_from_the_asserted_identity_where_a_trunk_says_so() {
    for (counts, caller) in [(true, "+14155550177"), (false, OUTSIDE)] {
        let mut w = with(|p| p.caller_from_asserted_identity = counts);
        let a = w.dial_with(PBX, ALICE, |draft| {
            draft.header(Name::PAssertedIdentity, "<tel:+14155550177>");
        });
        let b = w.incoming(TEAMS);
        assert!(w.sides[b.0].invite.from().unwrap().uri.contains(caller));
        w.reject(b, 486);
        w.outcome(a);
        let [cdr] = w.finish();
        assert_eq!(cdr.from, caller);
    }
}

/// TDR-407, TDR-408: an extension stays in the user part as it is assigned; the wish for voicemail goes on to Teams.
#[test]
fn extensions_and_voicemail_reach_teams() {
    for (uri, starts, ends) in [
        (
            "sip:+14255550100;ext=1001@192.0.2.1",
            "sip:+14255550100;ext=1001@",
            "transport=tls",
        ),
        (
            "sip:14255550100;ext=7@192.0.2.1;user=phone",
            "sip:+14255550100;ext=7@",
            "transport=tls",
        ),
        (
            "sip:+14255550100@192.0.2.1;opaque=app:voicemail",
            "sip:+14255550100@",
            ";opaque=app:voicemail",
        ),
    ] {
        let mut w = World::new();
        let a = w.dial_uri(PBX, uri, OUTSIDE, |_| {});
        let b = w.incoming(TEAMS);
        let sent = w.sides[b.0].invite.request_uri().to_owned();
        assert!(sent.starts_with(starts) && sent.ends_with(ends), "{sent}");
        assert!(sent.contains(";user=phone"), "TDR-406: {sent}");
        w.reject(b, 486);
        w.outcome(a);
        let [_] = w.finish();
    }
}

/// TDR-516: busy is cause 17, and Teams' own 34 reaches no trunk; a carrier's cause reaches Teams.
#[test]
fn causes_as_the_other_side_understands_them() {
    for (from, to, status, reason, told) in [
        (
            PBX,
            TEAMS,
            486,
            "Q.850;cause=34;text=\"guid;busy\"",
            "Q.850;cause=17;",
        ),
        (
            PBX,
            TEAMS,
            480,
            "Q.850;cause=34;text=\"x\"",
            "Q.850;cause=18;",
        ),
        (
            TEAMS,
            PBX,
            480,
            "SIP;cause=480, Q.850;cause=20",
            "Q.850;cause=20;",
        ),
        (TEAMS, PBX, 486, "Q.850;cause=34", "Q.850;cause=17;"),
        (TEAMS, PBX, 404, "Q.850;cause=16", "Q.850;cause=1;"),
    ] {
        let mut w = World::new();
        let a = w.dial(from);
        let b = w.incoming(to);
        w.reply(b, status, None, |draft| {
            draft.header(Name::Reason, reason);
        });
        let answer = w.outcome(a);
        let got = text(&answer, Name::Reason).unwrap();
        assert!(got.starts_with(told), "{status} {reason}: {got}");
        assert!(!got.contains("guid"));
        let [_] = w.finish();
    }
}

/// TDR-515: a carrier that redirects is not followed; the caller hears a final result.
#[test]
fn a_redirection_of_a_trunk_ends_the_call() {
    for status in [300, 301, 302, 305] {
        let mut w = World::new();
        let a = w.dial(TEAMS);
        let b = w.incoming(PBX);
        w.reply(b, status, None, |draft| {
            draft.header(Name::Contact, "<sip:+9001234567@premium.example>");
        });
        assert_eq!(w.outcome(a).status(), 480);
        assert_eq!(w.audit.invites.len(), 1);
        let [_] = w.finish();
    }
}

/// TDR-507, RFC 6228: forwarding is told as such and queueing too, neither as ringing, and both before it; a fork that
/// ends is nobody's business.
#[test]
fn what_is_not_ringing_is_not_told_as_ringing() {
    let mut w = World::new();
    let a = w.dial(PBX);
    let b = w.incoming(TEAMS);
    w.reply(b, 199, None, |_| {});
    w.reply(b, 181, None, |_| {});
    assert_eq!(w.provisional(a).status(), 181);
    w.ring(b);
    assert_eq!(w.provisional(a).status(), 180);
    w.reply(b, 181, None, |_| {});
    w.pass(Duration::from_secs(1));
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(a);
    w.hung_up(b);
    let [cdr] = w.finish();
    assert!(cdr.ringing.is_some());
}
