//! A PBX hands on, where its profile lets it: to Teams, to one of its own, to another exchange, to its other call.

use std::time::Duration;

use tollgate::sip::{Method, Name};
use uuid::Uuid;

use super::{notified, refer, told_the_end};
use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::setup::*;

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
