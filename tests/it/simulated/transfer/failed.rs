//! Transfers that come to nothing, and who leaves while they run.

use std::time::Duration;

use tollgate::media::Event;
use tollgate::sip::Method;

use super::{ELSEWHERE, notified, refer, refer_status, told_the_end};
use crate::sim::World;
use crate::sim::setup::*;

/// TDR-709: the target does not want to, or cannot: the referrer hears why, and has its call back.
#[test]
fn a_transfer_that_fails_keeps_the_call() {
    for status in [486, 404, 603, 503] {
        let mut w = World::new();
        let (teams, pbx) = w.call_from_teams();
        refer(&mut w, teams, &format!("sip:{ELSEWHERE}@{ACME_FQDN}"));
        let c = w.incoming(PBX);
        w.reject(c, status);
        let (line, state) = notified(&mut w, teams);
        assert!(line.starts_with(&format!("SIP/2.0 {status} ")), "{line}");
        assert!(state.starts_with("terminated"));
        w.pass(Duration::from_secs(20));
        assert!(w.talk(teams, pbx));
        assert_eq!(
            refer_status(&mut w, teams, &format!("sip:{ELSEWHERE}@{ACME_FQDN}")),
            202,
            "and may try again"
        );
        let c = w.incoming(PBX);
        w.reject(c, 486);
        w.bye(teams);
        w.hung_up(pbx);
        let [cdr] = w.finish();
        assert_eq!(cdr.transferred_to, None);
    }
}

/// The referrer leaves while the target still rings: its partner waits; it talks to the target, or hears BYE when that
/// will not.
#[test]
fn the_referrer_leaves_early() {
    for answers in [true, false] {
        let mut w = World::new();
        let (teams, pbx) = w.call_from_teams();
        refer(&mut w, teams, &format!("sip:{ELSEWHERE}@{ACME_FQDN}"));
        let c = w.incoming(PBX);
        w.ring(c);
        assert_eq!(w.bye(teams), 200);
        w.pass(Duration::from_secs(2));
        assert!(!w.has_heard(pbx, Method::Bye));
        if answers {
            w.answer(c);
            w.pass(Duration::from_millis(200));
            assert!(w.talk(pbx, c));
            w.bye(c);
        } else {
            w.reject(c, 486);
        }
        w.hung_up(pbx);
        let [_] = w.finish();
    }
}

/// Who is handed on hangs up while the target rings: the target is cancelled, the referrer hears BYE.
#[test]
fn who_is_handed_on_leaves_early() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    refer(&mut w, teams, &format!("sip:{ELSEWHERE}@{ACME_FQDN}"));
    let c = w.incoming(PBX);
    w.ring(c);
    assert_eq!(
        refer_status(&mut w, teams, &format!("sip:{ELSEWHERE}@{ACME_FQDN}")),
        491,
        "one at a time"
    );
    w.bye(pbx);
    w.cancelled(c);
    w.hung_up(teams);
    let [_] = w.finish();
}

/// A target that never answers is given up, and the call goes on.
#[test]
fn a_target_that_never_answers() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    refer(&mut w, teams, &format!("sip:{ELSEWHERE}@{ACME_FQDN}"));
    let c = w.incoming(PBX);
    w.ring(c);
    assert_eq!(notified(&mut w, teams).0, "SIP/2.0 180 Ringing");
    let (line, _) = notified(&mut w, teams);
    assert!(line.starts_with("SIP/2.0 480 "), "{line}");
    w.cancelled(c);
    assert!(w.talk(teams, pbx));
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// TDR-709: what a proxy has answered goes to no other proxy, whatever the answer; only silence or a dead connection
/// lets the next one have the same URI. The first dialog and its media live on.
#[test]
fn a_transfer_is_tried_again_only_after_silence() {
    for status in [Some(404), Some(408), Some(500), Some(503), None] {
        let mut w = World::new();
        let (teams, pbx) = w.connect(TEAMS3, PBX);
        w.agents[TEAMS].unreachable = status.is_none();
        let uri = "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:B";
        let before = w.audit.invites.len();
        refer(&mut w, teams, uri);
        if let Some(status) = status {
            let c = w.incoming(TEAMS);
            w.reject(c, status);
            assert!(!told_the_end(&mut w, teams).starts_with("SIP/2.0 2"));
            assert_eq!(w.audit.invites.len() - before, 1, "{status}");
        } else {
            let c = w.incoming(TEAMS2);
            assert_eq!(w.sides[c.0].invite.request_uri(), uri);
            w.reject(c, 603);
            assert_eq!(told_the_end(&mut w, teams), "SIP/2.0 603 Decline");
        }
        w.pass(Duration::from_secs(10));
        assert!(w.talk(teams, pbx));
        w.bye(pbx);
        w.hung_up(teams);
        let [_] = w.finish();
    }
}

/// What becomes of a leg that nobody talks with yet, or no more, is no reason to end the call: a target whose media fail
/// is given up, and a referrer that is done may fall silent.
#[test]
fn a_leg_that_nobody_needs_takes_nobody_along() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a");
    let c = w.incoming(TEAMS);
    w.ring(c);
    w.pass(Duration::from_millis(100));
    let (leg, _) = w.leg(c).unwrap();
    w.media(Event::Inactive { leg });
    assert!(told_the_end(&mut w, teams).starts_with("SIP/2.0 503 "));
    w.cancelled(c);
    w.pass(Duration::from_secs(1));
    assert!(w.talk(teams, pbx));
    let (first, _) = w.leg(teams).unwrap();
    refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=8:orgid:b");
    let d = w.incoming(TEAMS);
    w.answer(d);
    w.acknowledged(d);
    w.media(Event::Inactive { leg: first });
    w.hung_up(teams);
    w.pass(Duration::from_secs(1));
    assert!(w.talk(d, pbx));
    w.bye(d);
    w.hung_up(pbx);
    let [_] = w.finish();
}
