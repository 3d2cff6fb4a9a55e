//! REFER, obeyed by us (TDR section 7).

use std::sync::Arc;
use std::time::Duration;

use tollgate::audio::{Law, tones};
use tollgate::b2bua::EndedBy;
use tollgate::base::Random;
use tollgate::directory::Profile;
use tollgate::media::{Event, Play, Sound};
use tollgate::sip::{Message, Method, Name};
use uuid::Uuid;

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::{direction, line};
use crate::sim::setup::*;

const ELSEWHERE: &str = "+442075550999";

/// Sends a REFER that is taken.
fn refer(w: &mut World, side: Side, refer_to: &str) {
    assert_eq!(refer_status(w, side, refer_to), 202);
    let trying = notified(w, side);
    assert_eq!(trying.0, "SIP/2.0 100 Trying");
    assert!(trying.1.starts_with("active"));
}

fn refer_status(w: &mut World, side: Side, refer_to: &str) -> u16 {
    w.send(side, Method::Refer, None, |draft| {
        draft
            .header_fmt(Name::ReferTo, format_args!("<{refer_to}>"))
            .header(Name::ReferredBy, REFERRED_BY);
    });
    w.outcome_of(side, Method::Refer).status()
}

const REFERRED_BY: &str =
    "<sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:AbC;x-tt=Q2FsbA%3D%3D>";

/// The next NOTIFY: what happened, and whether more is to come.
fn notified(w: &mut World, side: Side) -> (String, String) {
    let notify: Message = w.request(side, Method::Notify).1;
    let event = notify.header(Name::Event).unwrap().to_string();
    assert!(
        event == "refer" || event.starts_with("refer;id="),
        "{event}"
    );
    assert_eq!(notify.content_type(), Some("message/sipfrag"));
    let state = notify
        .header(Name::SubscriptionState)
        .unwrap()
        .text()
        .unwrap()
        .to_owned();
    (
        String::from_utf8(notify.body().to_vec())
            .unwrap()
            .trim_end()
            .to_owned(),
        state,
    )
}

/// A user of Teams hands its partner on to a number that its customer may call, through our gateway's own name. The
/// referrer hears how it goes and leaves by itself; the other two talk.
#[test]
fn teams_hands_a_call_on_to_a_number() {
    for teams_calls in [true, false] {
        let mut w = World::new();
        let (x, y) = if teams_calls {
            w.call_from_teams()
        } else {
            w.call_to_teams()
        };
        let (teams, pbx) = if teams_calls { (x, y) } else { (y, x) };
        w.reinvite(teams, "inactive");
        refer(
            &mut w,
            teams,
            &format!("sip:{ELSEWHERE}@{ACME_FQDN}:5061;user=phone;transport=tls"),
        );
        let c = w.incoming(PBX);
        assert!(w.sides[c.0].invite.request_uri().contains(ELSEWHERE));
        assert_eq!(direction(&w.described(c)), "sendrecv", "TDR-608");
        let referred_by = w.sides[c.0].invite.header(Name::ReferredBy);
        assert!(referred_by.is_none(), "it names a tenant of Microsoft's");
        w.ring(c);
        assert_eq!(notified(&mut w, teams).0, "SIP/2.0 180 Ringing");
        w.answer(c);
        let done = notified(&mut w, teams);
        assert_eq!(done.0, "SIP/2.0 200 OK");
        assert!(done.1.starts_with("terminated"));
        w.pass(Duration::from_millis(100));
        assert!(w.talk(pbx, c), "who was held is held no more");
        assert_eq!(w.ledger.usage(ACME).in_use, 1);
        assert!(
            !w.has_heard(teams, Method::Bye),
            "TDR-708: Teams says BYE itself"
        );
        assert_eq!(w.bye(teams), 200);
        w.pass(Duration::from_secs(20));
        assert!(w.talk(pbx, c));
        w.bye(c);
        w.hung_up(pbx);
        let [cdr] = w.finish();
        assert_eq!(cdr.transferred_to.as_deref(), Some(ELSEWHERE));
    }
}

/// TDR-704 to TDR-706: a Microsoft URI is used byte for byte, and Referred-By goes along. A referrer that does not
/// leave hears BYE after some seconds.
#[test]
fn teams_hands_a_call_on_to_one_of_its_own() {
    let mut w = World::new();
    let (pbx, teams) = w.call_to_teams();
    let uri = "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:fce2158f-0E99-4ff7-a0b3;x-t=Tenant;u=%41";
    refer(&mut w, teams, uri);
    let c = w.incoming(TEAMS);
    let invite = w.sides[c.0].invite.clone();
    assert_eq!(invite.request_uri(), uri);
    assert_eq!(invite.to().unwrap().uri, uri);
    assert_eq!(
        invite.header(Name::ReferredBy).unwrap().text(),
        Some(REFERRED_BY)
    );
    let contact = invite.contact().unwrap().unwrap();
    assert!(contact.uri.contains(ACME_FQDN));
    w.answer(c);
    assert_eq!(notified(&mut w, teams).0, "SIP/2.0 200 OK");
    w.hung_up(teams);
    assert!(w.talk(pbx, c));
    w.bye(pbx);
    w.hung_up(c);
    let [cdr] = w.finish();
    assert_eq!(cdr.ended_by, Some(EndedBy::ALeg));
}

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

/// A REFER must not make us call anybody: not a stranger's host, not another customer's gateway; a trunk may not
/// transfer unless its profile says so; nonsense is nonsense.
#[test]
fn a_refer_to_a_stranger_is_refused() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    for (uri, status) in [
        ("sip:+1900555@evil.example".to_owned(), 403),
        (format!("sip:{OUTSIDE}@{RIVAL_FQDN}"), 403),
        (
            "sip:+1900555@pstnhub.microsoft.com.evil.example".to_owned(),
            403,
        ),
        ("sip:+1900555@evilpstnhub.microsoft.com".to_owned(), 403),
        (format!("sip:{ACME_FQDN}"), 404),
    ] {
        assert_eq!(refer_status(&mut w, teams, &uri), status, "{uri}");
    }
    w.send(teams, Method::Refer, None, |_| {});
    assert_eq!(w.outcome_of(teams, Method::Refer).status(), 400);
    assert_eq!(
        refer_status(&mut w, pbx, &format!("sip:{ALICE}@192.0.2.1")),
        405
    );
    assert_eq!(w.audit.invites.len(), 1);
    assert!(w.talk(teams, pbx));
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// A PBX that may transfer hands Teams on: to another user of Teams, or to one of its own.
#[test]
fn a_pbx_that_may_hands_a_call_on() {
    for (target, who) in [(BOB, TEAMS), ("4711", PBX)] {
        let mut w = World::with(
            Setup::default().trunk_with("pbx", |t| t.profile.refer = true),
            18,
        );
        let (teams, pbx) = w.call_from_teams();
        refer(&mut w, pbx, &format!("sip:{target}@192.0.2.1"));
        let c = w.incoming(who);
        assert!(w.sides[c.0].invite.request_uri().contains(target));
        w.answer(c);
        assert_eq!(notified(&mut w, pbx).0, "SIP/2.0 200 OK");
        w.bye(pbx);
        w.pass(Duration::from_millis(100));
        assert!(w.talk(teams, c), "{target}");
        w.bye(teams);
        w.hung_up(c);
        let [_] = w.finish();
    }
}

/// REFER with Replaces: the referrer has two calls, and makes its two partners one. One channel and one record go with
/// each call.
#[test]
fn two_calls_become_one() {
    for (first_from_teams, second_from_teams) in
        [(true, true), (true, false), (false, true), (false, false)]
    {
        let mut w = World::new();
        let mut call = |from_teams: bool| {
            let (a, b) = if from_teams {
                w.call_from_teams()
            } else {
                w.call_to_teams()
            };
            if from_teams { (a, b) } else { (b, a) }
        };
        let (one, partner) = call(first_from_teams);
        let (other, joined) = call(second_from_teams);
        let dialog = w.sides[other.0].dialog.as_ref().unwrap().id().clone();
        let uri = format!(
            "sip:{ELSEWHERE}@{ACME_FQDN}?Replaces={}%3Bto-tag%3D{}%3Bfrom-tag%3D{}",
            dialog.call_id,
            dialog.remote_tag.unwrap(),
            dialog.local_tag
        );
        assert_eq!(w.ledger.usage(ACME).in_use, 2);
        refer(&mut w, one, &uri);
        assert_eq!(notified(&mut w, one).0, "SIP/2.0 200 OK");
        w.hung_up(other);
        w.pass(Duration::from_millis(100));
        assert!(w.talk(partner, joined));
        assert_eq!(w.ledger.usage(ACME).in_use, 1);
        w.hung_up(one);
        assert_eq!(w.reinvite(joined, "sendrecv").status(), 200);
        assert!(w.talk(partner, joined));
        w.bye(joined);
        w.hung_up(partner);
        let cdrs: [_; 2] = w.finish();
        assert!(cdrs.iter().any(|cdr| cdr.transferred_to.is_some()));
        assert!(
            cdrs.iter()
                .any(|cdr| cdr.reason.contains("transferred to another call"))
        );
    }
}

/// Replaces that names no call, or that of another customer, or the referrer's own: 481 in the NOTIFY, and all goes on.
#[test]
fn replaces_names_no_call() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let own = w.sides[teams.0].dialog.as_ref().unwrap().id().clone();
    for (call_id, tag) in [
        ("nobody", "x"),
        (own.call_id.as_str(), own.remote_tag.as_deref().unwrap()),
    ] {
        let uri = format!("sip:x@{ACME_FQDN}?Replaces={call_id}%3Bto-tag%3D{tag}%3Bfrom-tag%3D1");
        refer(&mut w, teams, &uri);
        assert!(notified(&mut w, teams).0.starts_with("SIP/2.0 481"));
    }
    assert!(w.talk(teams, pbx));
    w.bye(pbx);
    w.hung_up(teams);
    let [_] = w.finish();
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

/// The next NOTIFY that is the last one: what came of the transfer.
fn told_the_end(w: &mut World, side: Side) -> String {
    loop {
        let (line, state) = notified(w, side);
        if state.starts_with("terminated") {
            return line;
        }
    }
}

/// A URI such as Teams sends: with a user part or without, `x-` and other parameters in any order, case and escaping.
fn microsoft_uri(random: &mut Random) -> String {
    let mut pick = |of: &[&str]| of[random.u32() as usize % of.len()].to_owned();
    let user = pick(&["", "", "+14255550100@", "+442075550999;ext=12@"]);
    let mut uri = format!(
        "sip:{user}{}",
        pick(&[
            "sip.pstnhub.microsoft.com",
            "SIP.pstnhub.Microsoft.com:5061"
        ])
    );
    if !user.is_empty() {
        uri.push_str(";user=phone");
    }
    for _ in 0..5 {
        uri.push_str(&pick(&[
            ";x-m=8:orgid:fce2158f-0E99-4ff7-a0b3-5b6b87d16689",
            ";x-m=28:app%3aMusic",
            ";x-t=8A1b-Cd",
            ";X-T=%41%62c",
            ";x-ti=a;b",
            ";transport=tls",
            ";Transport=TLS",
            ";unknown",
            ";x-c=i/d/8/8a8",
            ";v=~!*'()$&+",
            "",
        ]));
    }
    uri
}

/// TDR-704 to TDR-707, TDR-712: whatever Teams writes into Refer-To and Referred-By comes back byte for byte, in
/// Request-URI, To and Referred-By, however long: with x-m, x-t, x-ti and x-tt, whose Base64 counts upper and lower
/// case, with parameters that nobody knows, in any order. Each INVITE is a dialog of its own with a key of its own
/// (TDR-836).
#[test]
fn what_teams_writes_comes_back_byte_for_byte() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let mut keys = std::collections::HashSet::new();
    for _ in 0..60 {
        let uri = microsoft_uri(&mut w.random);
        let length = 16 + w.random.u32() as usize % 2000;
        let referred_by = format!(
            "<{};x-tt={}%3D%3d>;Q=\"x\"",
            microsoft_uri(&mut w.random),
            w.random.token(length)
        );
        w.send(teams, Method::Refer, None, |draft| {
            draft
                .header_fmt(Name::ReferTo, format_args!("<{uri}>"))
                .header(Name::ReferredBy, &referred_by);
        });
        assert_eq!(w.outcome_of(teams, Method::Refer).status(), 202, "{uri}");
        let c = w.incoming(TEAMS);
        let invite = w.sides[c.0].invite.clone();
        assert_eq!(invite.request_uri(), uri);
        assert_eq!(invite.to().unwrap().uri, uri);
        let back = invite.header(Name::ReferredBy).unwrap();
        assert_eq!(back.text(), Some(referred_by.as_str()));
        let sdp = String::from_utf8(invite.body().to_vec()).unwrap();
        assert!(keys.insert(line(&sdp, "a=crypto:").unwrap().to_owned()));
        assert!(keys.insert(invite.call_id().unwrap().to_owned()));
        w.reject(c, 486);
        assert_eq!(told_the_end(&mut w, teams), "SIP/2.0 486 Busy Here");
    }
    w.pass(Duration::from_secs(10));
    assert!(w.talk(teams, pbx));
    w.bye(teams);
    w.hung_up(pbx);
    let [cdr] = w.finish();
    assert_eq!(cdr.transferred_to, None);
}

/// TDR-702: a REFER comes by another proxy and another connection than all else; the NOTIFYs follow the dialog.
#[test]
fn a_refer_by_another_connection() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let mut draft = w.sides[teams.0]
        .dialog
        .as_mut()
        .unwrap()
        .request(Method::Refer);
    draft
        .header(Name::Contact, w.agents[TEAMS2].contact())
        .header(
            Name::ReferTo,
            "<sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a>",
        );
    assert_eq!(w.ask(TEAMS2, draft).status(), 202);
    let c = w.incoming(TEAMS);
    w.answer(c);
    assert_eq!(told_the_end(&mut w, teams), "SIP/2.0 200 OK");
    w.pass(Duration::from_millis(100));
    assert!(w.talk(c, pbx));
    w.bye(teams);
    w.bye(c);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// TDR-703: a number behind a Microsoft host leads back to Teams and nowhere else. Teams then calls that number by an
/// INVITE of its own, which is another call with a channel of its own.
#[test]
fn a_refer_to_a_number_leads_back_to_teams() {
    let mut w = World::new();
    let (pbx, teams) = w.call_to_teams();
    let before = w.audit.invites.len();
    let uri = format!("sip:{ELSEWHERE}@sip.pstnhub.microsoft.com:5061;user=phone");
    refer(&mut w, teams, &uri);
    let c = w.incoming(TEAMS);
    let asked: Vec<Who> = w.audit.invites[before..]
        .iter()
        .map(|(who, _)| *who)
        .collect();
    assert_eq!(asked, [TEAMS]);
    let d = w.dial(TEAMS);
    let e = w.incoming(PBX);
    w.answer(e);
    assert_eq!(w.outcome(d).status(), 200);
    w.answer(c);
    assert_eq!(told_the_end(&mut w, teams), "SIP/2.0 200 OK");
    w.bye(teams);
    w.pass(Duration::from_millis(100));
    assert!(w.talk(pbx, c) && w.talk(d, e));
    assert_eq!(w.ledger.usage(ACME).in_use, 2);
    w.bye(pbx);
    w.hung_up(c);
    w.bye(d);
    w.hung_up(e);
    let cdrs: [_; 2] = w.finish();
    assert!(
        cdrs.iter()
            .any(|cdr| cdr.transferred_to.as_deref() == Some(ELSEWHERE))
    );
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

/// What the ITU recommends, in A-law.
fn ringback() -> Play {
    Play {
        sound: Sound::Ringback,
        clip: tones::ringback(None),
        law: Law::A,
        payload_type: 8,
    }
}

/// TDR-710, TDR-605: who is handed on hears the target ring, but only after some seconds, in which music on hold would
/// have answered. It goes on when the referrer leaves or holds, and stops at the answer or the failure. A profile can
/// have it earlier or never.
#[test]
fn who_is_handed_on_hears_ringback() {
    let tone = Some(ringback());
    for (after, answers, leaves) in [
        (5, true, true),
        (5, false, false),
        (1, true, false),
        (0, true, false),
    ] {
        let setup = Setup::default().config_with(|config| {
            config.teams_profile = Arc::new(Profile {
                transfer_ringback_s: after,
                ..Profile::teams()
            });
        });
        let mut w = World::with(setup, 41);
        let (teams, pbx) = w.call_from_teams();
        refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a");
        let c = w.incoming(TEAMS);
        w.pass(Duration::from_secs(10));
        assert_eq!(w.music(pbx), None, "nothing rings yet");
        w.ring(c);
        w.pass(
            Duration::from_millis(u64::from(after) * 1000)
                .saturating_sub(Duration::from_millis(200)),
        );
        assert_eq!(w.music(pbx), None);
        w.pass(Duration::from_secs(1));
        let expected = tone.clone().filter(|_| after > 0);
        assert_eq!(w.music(pbx), expected);
        if leaves {
            w.bye(teams);
        } else {
            assert_eq!(w.reinvite(teams, "inactive").status(), 200);
            assert_eq!(w.reinvite(teams, "sendrecv").status(), 200);
        }
        w.pass(Duration::from_secs(1));
        assert_eq!(w.music(pbx), expected);
        if answers {
            w.answer(c);
            w.pass(Duration::from_millis(200));
            assert!(w.talk(c, pbx));
        } else {
            w.reject(c, 480);
            w.pass(Duration::from_millis(200));
            assert!(w.talk(teams, pbx));
        }
        w.bye(pbx);
        let [_] = w.finish();
    }
}

/// TDR-710: a target behind a trunk that sends sound before it answers is heard by who is handed on, whatever the
/// referrer does meanwhile, and instead of our ringback. When the target will not, the two have each other back; when it
/// answers, they talk on.
#[test]
fn who_is_handed_on_hears_the_targets_own_sound() {
    for (rings_first, leaves, answers) in [
        (false, false, true),
        (true, false, true),
        (false, true, true),
        (true, false, false),
        (false, true, false),
    ] {
        let mut w = World::new();
        let (pbx, teams) = w.call_to_teams();
        w.reinvite(teams, "inactive");
        refer(&mut w, teams, &format!("sip:{ELSEWHERE}@{ACME_FQDN}:5061"));
        let c = w.incoming(PBX);
        if rings_first {
            w.ring(c);
            w.pass(Duration::from_secs(7));
            assert_eq!(w.music(pbx), Some(ringback()));
        }
        let sdp = w.describe(c, "sendrecv");
        w.reply(c, 183, Some(sdp), |_| {});
        w.pass(Duration::from_secs(10));
        assert!(w.talk(pbx, c), "neither music nor ringback");
        if leaves {
            w.bye(teams);
        } else {
            assert_eq!(w.reinvite(teams, "sendrecv").status(), 200);
            assert_eq!(w.reinvite(pbx, "sendrecv").status(), 200);
        }
        w.pass(Duration::from_secs(1));
        assert!(w.talk(pbx, c), "whatever the referrer does");
        match (answers, leaves) {
            (true, _) => {
                w.answer(c);
                w.pass(Duration::from_secs(1));
                assert!(w.talk(pbx, c));
                w.bye(c);
                w.hung_up(pbx);
            }
            (false, false) => {
                w.reject(c, 486);
                w.pass(Duration::from_secs(1));
                assert!(w.talk(pbx, teams), "they have each other back");
                w.bye(pbx);
            }
            (false, true) => {
                w.reject(c, 486);
                w.hung_up(pbx);
            }
        }
        let [_] = w.finish();
    }
}

/// TDR-505: Teams' own 183 carries no sound: who is handed on hears our ringback.
#[test]
fn a_183_of_teams_is_ringback() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a");
    let c = w.incoming(TEAMS);
    let sdp = w.describe(c, "sendrecv");
    w.reply(c, 183, Some(sdp), |_| {});
    w.pass(Duration::from_secs(6));
    assert_eq!(w.music(pbx), Some(ringback()));
    w.reject(c, 480);
    w.bye(pbx);
    let [_] = w.finish();
}

/// RFC 4488: who wants no NOTIFY gets none, and the transfer goes on. RFC 3515 §2.4.6: a second REFER's NOTIFYs say
/// which REFER they are about.
#[test]
fn a_refer_without_a_subscription() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let uri = format!("<sip:{ELSEWHERE}@{ACME_FQDN}>");
    w.send(teams, Method::Refer, None, |draft| {
        draft
            .header(Name::ReferTo, &uri)
            .header(Name::ReferSub, "false")
            .header(Name::Supported, "norefersub");
    });
    let accepted = w.outcome_of(teams, Method::Refer);
    assert_eq!(accepted.status(), 202);
    assert_eq!(
        accepted.header(Name::ReferSub).unwrap().text(),
        Some("false")
    );
    let c = w.incoming(PBX);
    w.ring(c);
    w.reject(c, 486);
    w.pass(Duration::from_secs(1));
    assert!(!w.has_heard(teams, Method::Notify));
    assert!(w.talk(teams, pbx));

    w.send(teams, Method::Refer, None, |draft| {
        draft.header(Name::ReferTo, &uri);
    });
    assert_eq!(w.outcome_of(teams, Method::Refer).status(), 202);
    let number = w.sides[teams.0].dialog.as_ref().unwrap().local_seq();
    let notify = w.request(teams, Method::Notify).1;
    let event = notify.header(Name::Event).unwrap().to_string();
    assert_eq!(event, format!("refer;id={number}"));
    let c = w.incoming(PBX);
    w.answer(c);
    w.acknowledged(c);
    w.hung_up(teams);
    w.bye(c);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// A Refer-To that is no SIP URI, or not exactly one: 400, and nothing happens.
#[test]
fn a_refer_that_cannot_be_used() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let fine = format!("<sip:{ELSEWHERE}@{ACME_FQDN}>");
    for values in [
        vec!["<tel:+442075550999>"],
        vec!["<http://evil.example>"],
        vec!["<sip:>"],
        vec!["nonsense"],
        vec!["<sip:x@acme.eu.example?Replaces=%4>"],
        vec![&fine, &fine],
    ] {
        w.send(teams, Method::Refer, None, |draft| {
            for value in &values {
                draft.header(Name::ReferTo, value);
            }
        });
        let status = w.outcome_of(teams, Method::Refer).status();
        assert_eq!(status, 400, "{values:?}");
    }
    assert!(!w.has_heard(teams, Method::Notify));
    assert_eq!(w.audit.invites.len(), 1);
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

fn pbx_may_refer() -> Setup {
    Setup::default()
        .with_backup()
        .trunk_with("pbx", |trunk| trunk.profile.refer = true)
}

/// The Refer-To that names the other call of a party: attended transfer.
fn attended(w: &World, other: Side) -> String {
    let dialog = w.sides[other.0].dialog.as_ref().unwrap().id().clone();
    format!(
        "sip:{BOB}@192.0.2.1?Replaces={}%3Bto-tag%3D{}%3Bfrom-tag%3D{}",
        dialog.call_id,
        dialog.remote_tag.unwrap(),
        dialog.local_tag
    )
}

/// TDR-714, TDR-412: a PBX has two calls with users of Teams and makes them one. Teams sees neither REFER nor Replaces,
/// both users talk through us, one channel of the customer is left and none of the trunk; both calls have their record,
/// and nothing that was counted is lost.
#[test]
fn a_pbx_joins_two_users_of_teams() {
    for (first_from_teams, second_from_teams) in
        [(true, true), (true, false), (false, true), (false, false)]
    {
        let mut w = World::with(pbx_may_refer(), 42);
        let mut call = |from_teams: bool| {
            if from_teams {
                w.call_from_teams()
            } else {
                let (pbx, teams) = w.call_to_teams();
                (teams, pbx)
            }
        };
        let (alice, one) = call(first_from_teams);
        let (bob, other) = call(second_from_teams);
        let pbx_trunk = Uuid::from_u128(10);
        assert_eq!(w.ledger.trunk_usage(pbx_trunk).in_use, 2);
        assert_eq!(w.reinvite(one, "inactive").status(), 200);
        let uri = attended(&w, other);
        refer(&mut w, one, &uri);
        assert_eq!(told_the_end(&mut w, one), "SIP/2.0 200 OK");
        w.hung_up(other);
        w.bye(one);
        w.pass(Duration::from_secs(6));
        assert!(w.talk(alice, bob));
        assert!(!w.has_heard(alice, Method::Refer) && !w.has_heard(bob, Method::Refer));
        assert_eq!(w.ledger.usage(ACME).in_use, 1);
        assert_eq!(w.ledger.trunk_usage(pbx_trunk).in_use, 0);
        w.bye(bob);
        w.hung_up(alice);
        let cdrs: [_; 2] = w.finish();
        assert_eq!(
            cdrs.iter()
                .filter(|cdr| cdr.transferred_to.is_some())
                .count(),
            1
        );
        let sides = cdrs.iter().flat_map(|cdr| [&cdr.a_media, &cdr.b_media]);
        let mut received: Vec<u64> = sides.map(|side| side.as_ref().unwrap().received).collect();
        received.sort_unstable();
        assert_eq!(
            received,
            [20, 50, 50, 80],
            "four legs of 50, one of which moved at 20"
        );
    }
}

/// TDR-714: a PBX hands a user of Teams on to a party that it has talked to by itself: the dialog that Replaces names is
/// the PBX's own, so the PBX is called and replaces it. Nothing of the kind ever goes to Teams.
#[test]
fn a_pbx_hands_on_to_a_party_it_called_by_itself() {
    let mut w = World::with(pbx_may_refer(), 43);
    let (teams, pbx) = w.call_from_teams();
    let uri = "sip:4711@192.0.2.1?Replaces=internal%40pbx%3Bto-tag%3Da%3Bfrom-tag%3Db";
    refer(&mut w, pbx, uri);
    let c = w.incoming(PBX);
    let invite = w.sides[c.0].invite.clone();
    let replaces = invite.header(Name::Replaces).unwrap().to_string();
    assert_eq!(replaces, "internal@pbx;to-tag=a;from-tag=b");
    assert!(invite.has_token(Name::Require, "replaces"));
    w.answer(c);
    assert_eq!(told_the_end(&mut w, pbx), "SIP/2.0 200 OK");
    w.bye(pbx);
    w.pass(Duration::from_millis(100));
    assert!(w.talk(teams, c));
    w.bye(c);
    w.hung_up(teams);
    let [_] = w.finish();
}

/// TDR-714: a number that the first exchange cannot take goes to the customer's other one. Channels of trunks are exact
/// at every step; no carrier is asked.
#[test]
fn a_pbx_hands_on_to_another_exchange() {
    let mut w = World::with(pbx_may_refer(), 44);
    let (teams, pbx) = w.call_from_teams();
    let usage = |w: &World| [10, 11].map(|n| w.ledger.trunk_usage(Uuid::from_u128(n)).in_use);
    refer(&mut w, pbx, "sip:4711@192.0.2.1");
    let first = w.incoming(PBX);
    assert_eq!(usage(&w), [2, 0]);
    w.reject(first, 503);
    let second = w.incoming(BACKUP);
    assert_eq!(usage(&w), [1, 1]);
    w.answer(second);
    assert_eq!(told_the_end(&mut w, pbx), "SIP/2.0 200 OK");
    w.bye(pbx);
    w.pass(Duration::from_millis(100));
    assert!(w.talk(teams, second));
    assert_eq!((usage(&w), w.ledger.usage(ACME).in_use), ([0, 1], 1));
    assert!(w.audit.invites.iter().all(|(who, _)| *who != CARRIER));
    w.bye(teams);
    w.hung_up(second);
    let [cdr] = w.finish();
    assert_eq!(cdr.transferred_to.as_deref(), Some("4711"));
}

/// Who is handed on holds while the target rings: the target hears music until that ends. Who hands on may hold and
/// resume meanwhile.
#[test]
fn a_hold_while_a_transfer_runs() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a");
    let c = w.incoming(TEAMS);
    assert_eq!(w.reinvite(teams, "inactive").status(), 200);
    assert_eq!(w.music(pbx), Some(Play::music(Law::A, 8)));
    assert_eq!(w.reinvite(pbx, "inactive").status(), 200);
    w.answer(c);
    assert_eq!(told_the_end(&mut w, teams), "SIP/2.0 200 OK");
    w.pass(Duration::from_millis(100));
    assert_eq!(
        (w.music(c), w.music(pbx)),
        (Some(Play::music(Law::A, 8)), None)
    );
    assert_eq!(w.reinvite(pbx, "sendrecv").status(), 200);
    assert!(w.talk(c, pbx));
    w.bye(teams);
    w.bye(c);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// Identity and history of the caller's INVITE go along when the caller is handed on, and stay behind when the caller
/// hands somebody on: they would name the wrong one.
#[test]
fn the_callers_identity_is_the_callers() {
    for caller_stays in [true, false] {
        let mut w = World::new();
        let (from, to) = if caller_stays {
            (PBX, TEAMS)
        } else {
            (TEAMS, PBX)
        };
        let number = if caller_stays { ALICE } else { OUTSIDE };
        let a = w.dial_with(from, number, |draft| {
            draft.header(Name::PAssertedIdentity, "<tel:+442075550123>");
        });
        let b = w.incoming(to);
        w.answer(b);
        w.outcome(a);
        w.acknowledged(b);
        let teams = if caller_stays { b } else { a };
        refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a");
        let c = w.incoming(TEAMS);
        let identity = w.sides[c.0].invite.header(Name::PAssertedIdentity);
        assert_eq!(identity.is_some(), caller_stays);
        w.answer(c);
        w.acknowledged(c);
        w.bye(a);
        w.pass(Duration::from_secs(1));
        w.bye(c);
        w.bye(b);
        let [_] = w.finish();
    }
}

/// The customer's PBX was told of the hold that went before a transfer, and is told that it is over.
#[test]
fn the_pbx_is_told_that_the_hold_before_a_transfer_is_over() {
    let mut w = World::with(Setup::default().acme_with(|c| c.pbx_moh = true), 45);
    let (teams, pbx) = w.call_from_teams();
    assert_eq!(w.reinvite(teams, "inactive").status(), 200);
    let answer = |w: &mut World, told: &str, answer: &str| {
        let request = w.request(pbx, Method::Invite);
        assert_eq!(direction(&request.1.body()), told);
        let sdp = w.describe(pbx, answer);
        w.respond(pbx, &request, 200, Some(sdp), |_| {});
        w.acknowledged(pbx);
    };
    answer(&mut w, "sendonly", "recvonly");
    refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a");
    let c = w.incoming(TEAMS);
    w.answer(c);
    answer(&mut w, "sendrecv", "sendrecv");
    w.pass(Duration::from_millis(100));
    assert!(w.talk(c, pbx));
    w.bye(teams);
    w.bye(pbx);
    w.hung_up(c);
    let [_] = w.finish();
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

/// A party at Teams without a number, such as music, has no number towards others either: it stays who it was.
#[test]
fn a_party_without_a_number_keeps_the_one_it_had() {
    let mut w = World::with(pbx_may_refer(), 46);
    let (teams, pbx) = w.call_from_teams();
    refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=28:music");
    let music = w.incoming(TEAMS);
    w.answer(music);
    w.acknowledged(music);
    w.bye(teams);
    refer(&mut w, pbx, "sip:4711@192.0.2.1");
    let extension = w.incoming(PBX);
    let from = w.sides[extension.0].invite.from().unwrap().uri.to_owned();
    assert!(from.starts_with(&format!("sip:{ALICE}@")), "{from}");
    w.answer(extension);
    w.pass(Duration::from_millis(100));
    assert!(w.talk(music, extension));
    w.bye(pbx);
    w.bye(extension);
    w.hung_up(music);
    let [_] = w.finish();
}
