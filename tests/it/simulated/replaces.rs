//! INVITE with Replaces: a peer goes on with its own call by another dialog (RFC 3891, TDR-711).

use std::sync::Arc;
use std::time::Duration;

use tollgate::b2bua::Cdr;
use tollgate::directory::Profile;
use tollgate::sip::{Method, Name};
use uuid::Uuid;

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::{direction, line};
use crate::sim::setup::*;

/// The Replaces header that names this side's dialog, early or confirmed.
pub fn named(w: &World, side: Side) -> String {
    let state = &w.sides[side.0];
    let (call_id, sbc) = match &state.dialog {
        Some(dialog) => {
            let id = dialog.id();
            (id.call_id.clone(), id.remote_tag.clone())
        }
        None => (
            state.invite.call_id().unwrap().to_owned(),
            state.invite.from_tag().map(str::to_owned),
        ),
    };
    format!("{call_id};from-tag={};to-tag={}", state.tag, sbc.unwrap())
}

/// An INVITE of this peer that names a dialog.
fn replace(w: &mut World, who: Who, replaces: &str) -> Side {
    let number = if who <= TEAMS3 { OUTSIDE } else { ALICE };
    w.dial_with(who, number, |draft| {
        draft
            .header(Name::Replaces, replaces)
            .header(Name::Require, "replaces");
    })
}

/// A call between Teams and its PBX, Teams first.
fn call(w: &mut World, teams_calls: bool) -> (Side, Side) {
    if teams_calls {
        w.call_from_teams()
    } else {
        let (pbx, teams) = w.call_to_teams();
        (teams, pbx)
    }
}

fn trunk_channels(w: &World) -> u32 {
    w.ledger.trunk_usage(Uuid::from_u128(10)).in_use
}

fn keys(w: &World, side: Side) -> (String, Option<u16>) {
    let sdp = w.described(side);
    let text = std::str::from_utf8(&sdp).unwrap();
    let key = line(text, "a=crypto:").unwrap_or_default().to_owned();
    (key, crate::sim::sdp::port(&sdp))
}

/// TDR-711, TDR-502, TDR-836: the new dialog comes by another proxy and another connection, with another Contact, in
/// the name of either gateway of the customer. Its media are new, the PBX sees nothing of it, and no further channel is
/// taken, though there is none. One record.
#[test]
fn teams_goes_on_by_another_dialog() {
    for teams_calls in [true, false] {
        for (who, fqdn) in [
            (TEAMS, ACME_FQDN),
            (TEAMS2, ACME_FQDN),
            (TEAMS3, ACME2_FQDN),
        ] {
            let setup = Setup::default()
                .with_second_gateway()
                .acme_with(|acme| acme.max_channels = 1);
            let mut w = World::with(setup, 31);
            let (old, pbx) = call(&mut w, teams_calls);
            let (first_call, pbx_media) = (w.sides[old.0].invite.clone(), keys(&w, pbx));
            let replaces = named(&w, old);
            let uri = format!("sip:{OUTSIDE}@{fqdn}:5061;user=phone;transport=tls");
            let new = w.dial_uri(who, &uri, BOB, |draft| {
                draft
                    .header(Name::Replaces, &replaces)
                    .header(Name::Require, "replaces");
            });
            let answer = w.outcome(new);
            assert_eq!(answer.status(), 200);
            assert!(answer.contact().unwrap().unwrap().uri.contains(fqdn));
            w.hung_up(old);
            w.pass(Duration::from_millis(100));
            assert!(w.talk(new, pbx));
            assert_ne!(keys(&w, new), keys(&w, old), "fresh keys, another port");
            assert_eq!(keys(&w, pbx), pbx_media);
            assert!(!w.has_heard(pbx, Method::Invite));
            assert_eq!((w.ledger.usage(ACME).in_use, trunk_channels(&w)), (1, 1));
            w.pass(Duration::from_secs(60));
            assert!(w.talk(new, pbx));
            assert_eq!(w.bye(new), 200);
            w.hung_up(pbx);
            let [cdr] = w.finish();
            assert_eq!(cdr.transferred_to.as_deref(), Some(BOB));
            let a_call_id = first_call.call_id().unwrap() == cdr.a_call_id;
            assert_eq!(a_call_id, teams_calls);
            let (a, b) = (cdr.a_media.unwrap(), cdr.b_media.unwrap());
            let counts = (a.received, b.received);
            let expected = if teams_calls { (100, 50) } else { (50, 100) };
            assert_eq!(counts, expected, "both dialogs count for their side");
        }
    }
}

/// TDR-711, RFC 3891 §3: a phone that rings is relieved of the call by another one, with `early-only` or without. The
/// caller is answered, the ringing ends as completed elsewhere (TDR-416); a 200 that crosses is ended with BYE.
#[test]
fn a_ringing_call_is_picked_up() {
    for (early_only, crosses) in [(true, false), (false, false), (true, true)] {
        let mut w = World::new();
        let caller = w.dial(PBX);
        let rings = w.incoming(TEAMS);
        w.ring(rings);
        w.provisional(caller);
        let mut replaces = named(&w, rings);
        if early_only {
            replaces.push_str(";early-only");
        }
        if crosses {
            w.agents[TEAMS].on_cancel = None;
        }
        let new = replace(&mut w, TEAMS2, &replaces);
        assert_eq!(w.outcome(new).status(), 200);
        assert_eq!(w.outcome(caller).status(), 200);
        let cancel = w.cancelled(rings);
        let reason = cancel.header(Name::Reason).unwrap().to_string();
        assert!(reason.contains("SIP;cause=200"), "{reason}");
        if crosses {
            w.answer(rings);
            w.acknowledged(rings);
            w.hung_up(rings);
        }
        w.pass(Duration::from_millis(100));
        assert!(w.talk(caller, new));
        w.bye(caller);
        w.hung_up(new);
        let [cdr] = w.finish();
        assert_eq!((cdr.sip_code, cdr.q850), (Some(200), Some(16)));
    }
}

/// A dialog of which nothing is known, or that is somebody else's, is not there: 481 for all of them alike. An answered
/// one is no early one: 486. Nonsense: 400. No codec in common: 488. The call does not notice.
#[test]
fn what_may_not_be_replaced() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let (theirs, exchange) = (named(&w, teams), named(&w, pbx));
    let other_tag = theirs.replace("from-tag=", "from-tag=x");
    let early = format!("{theirs};early-only");
    for (who, host, replaces, status) in [
        (TEAMS, ACME_FQDN, "nobody;to-tag=a;from-tag=b", 481),
        (TEAMS, ACME_FQDN, other_tag.as_str(), 481),
        (TEAMS, ACME_FQDN, exchange.as_str(), 481),
        (TEAMS, RIVAL_FQDN, theirs.as_str(), 481),
        (TEAMS, "nobody.example", theirs.as_str(), 403),
        (PBX, "192.0.2.1", theirs.as_str(), 481),
        (RIVAL, "192.0.2.1", exchange.as_str(), 481),
        (CARRIER, "192.0.2.1", exchange.as_str(), 481),
        (STRANGER, "192.0.2.1", exchange.as_str(), 403),
        (TEAMS2, ACME_FQDN, early.as_str(), 486),
        (TEAMS, ACME_FQDN, "no;tags", 400),
    ] {
        let uri = format!("sip:{OUTSIDE}@{host}");
        let side = w.dial_uri(who, &uri, ALICE, |draft| {
            draft.header(Name::Replaces, replaces);
        });
        assert_eq!(w.outcome(side).status(), status, "{who} {replaces}");
    }
    let twice = w.dial_with(TEAMS, OUTSIDE, |draft| {
        draft
            .header(Name::Replaces, &theirs)
            .header(Name::Replaces, &theirs);
    });
    assert_eq!(w.outcome(twice).status(), 400);
    let g729 = w.dial_with(TEAMS, OUTSIDE, |draft| {
        let sdp = draft.finish(None).body();
        let sdp = String::from_utf8(sdp.to_vec()).unwrap();
        draft
            .header(Name::Replaces, &theirs)
            .body("application/sdp", sdp.replace("SAVP 8 0 101", "SAVP 18"));
    });
    assert_eq!(w.outcome(g729).status(), 488);
    w.pass(Duration::from_secs(1));
    assert!(w.talk(teams, pbx));
    assert_eq!(w.ledger.usage(ACME).in_use, 1);
    assert_eq!(w.audit.invites.len(), 1, "nobody was called");
    w.bye(teams);
    w.hung_up(pbx);
    let cdrs: [Cdr; 14] = w.finish();
    let refused = cdrs
        .iter()
        .filter(|cdr| cdr.refused_by.as_deref() == Some("dialog"));
    assert_eq!(refused.count(), 8);
}

/// RFC 3891 §3: a caller that still waits cannot be taken away, and a dialog that ends is declined.
#[test]
fn a_dialog_before_and_after_its_time() {
    let mut w = World::new();
    let caller = w.dial(PBX);
    let rings = w.incoming(TEAMS);
    w.ring(rings);
    let tag = w.provisional(caller).to_tag().unwrap().to_owned();
    let call_id = w.sides[caller.0].invite.call_id().unwrap().to_owned();
    let own = w.sides[caller.0].tag.clone();
    let early = replace(
        &mut w,
        PBX,
        &format!("{call_id};to-tag={tag};from-tag={own}"),
    );
    assert_eq!(w.outcome(early).status(), 481);
    w.answer(rings);
    w.outcome(caller);
    w.acknowledged(rings);
    let replaces = named(&w, rings);
    w.agents[TEAMS].deaf = true;
    assert_eq!(w.bye(caller), 200);
    let late = replace(&mut w, TEAMS2, &replaces);
    assert_eq!(w.outcome(late).status(), 603);
    let cdrs: [Cdr; 3] = w.finish();
    assert_eq!(cdrs.iter().filter(|cdr| cdr.answer.is_some()).count(), 1);
}

/// A PBX may go on with its own dialog by another one, too; the trunk's only channel goes along.
#[test]
fn a_pbx_goes_on_by_another_dialog() {
    for teams_calls in [true, false] {
        let setup = Setup::default()
            .acme_with(|acme| acme.max_channels = 1)
            .trunk_with("pbx", |trunk| trunk.cac_max_sessions = Some(1));
        let mut w = World::with(setup, 32);
        let (teams, old) = call(&mut w, teams_calls);
        let replaces = named(&w, old);
        let new = replace(&mut w, PBX, &replaces);
        assert_eq!(w.outcome(new).status(), 200);
        w.hung_up(old);
        w.pass(Duration::from_secs(1));
        assert!(w.talk(teams, new));
        assert!(!w.has_heard(teams, Method::Invite));
        assert_eq!((w.ledger.usage(ACME).in_use, trunk_channels(&w)), (1, 1));
        w.bye(teams);
        w.hung_up(new);
        let [_] = w.finish();
    }
}

/// TDR-605, form B, the whole of it: Hold sends a REFER to Microsoft's music, which answers and which the other party
/// hears; un-hold is an INVITE with Replaces of the music's dialog. The other party sees no re-INVITE, hears neither our
/// music nor ringback, and its address, port and key stay (TDR-804). The offer to the music is sendrecv, though Teams
/// held before (TDR-608). It works as often as wanted, and leaves one record that tells of no transfer.
#[test]
fn teams_holds_with_its_own_music() {
    for (teams_calls, held_before) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut w = World::new();
        let (mut teams, pbx) = call(&mut w, teams_calls);
        let pbx_media = keys(&w, pbx);
        for round in 0..4 {
            if held_before {
                assert_eq!(w.reinvite(teams, "inactive").status(), 200);
            }
            w.send(teams, Method::Refer, None, |draft| {
                draft.header(
                    Name::ReferTo,
                    "<sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=28:music;x-t=T>",
                );
            });
            assert_eq!(w.outcome_of(teams, Method::Refer).status(), 202);
            let music = w.incoming(TEAMS);
            assert_eq!(direction(&w.described(music)), "sendrecv", "TDR-608");
            w.ring(music);
            w.pass(Duration::from_secs(3));
            w.answer(music);
            w.acknowledged(music);
            w.pass(Duration::from_millis(100));
            assert!(w.talk(music, pbx), "round {round}");
            assert_eq!(w.bye(teams), 200, "Teams leaves the first dialog");
            w.pass(Duration::from_secs(30));
            assert!(w.talk(music, pbx));
            let replaces = named(&w, music);
            let back = replace(&mut w, TEAMS2, &replaces);
            assert_eq!(w.outcome(back).status(), 200);
            w.hung_up(music);
            w.pass(Duration::from_millis(100));
            assert!(w.talk(back, pbx));
            teams = back;
        }
        assert!(!w.has_heard(pbx, Method::Invite));
        assert_eq!(keys(&w, pbx), pbx_media);
        assert_eq!(w.ledger.usage(ACME).in_use, 1);
        w.bye(pbx);
        w.hung_up(teams);
        let [cdr] = w.finish();
        assert_eq!(cdr.transferred_to, None, "it came back to who had it");
    }
}

/// TDR-501, TDR-713, TDR-701: where Teams may not send REFER, no Allow of ours has it, not in requests and not in
/// answers, and a REFER is refused. INVITE with Replaces is what Teams then has left, and works.
#[test]
fn without_refer_there_is_replaces() {
    for teams_calls in [true, false] {
        let setup = Setup::default().config_with(|config| {
            config.teams_profile = Arc::new(Profile {
                refer: false,
                ..Profile::teams()
            });
        });
        let mut w = World::with(setup, 35);
        let (a, b) = if teams_calls {
            (w.dial(TEAMS), PBX)
        } else {
            (w.dial(PBX), TEAMS)
        };
        let b = w.incoming(b);
        w.answer(b);
        let answer = w.outcome(a);
        w.acknowledged(b);
        let (teams, pbx, told) = match teams_calls {
            true => (a, b, answer),
            false => (b, a, w.sides[b.0].invite.clone()),
        };
        for message in [told, w.reinvite(teams, "sendrecv")] {
            assert!(!message.has_token(Name::Allow, "REFER"), "TDR-713");
            assert!(message.has_token(Name::Allow, "NOTIFY"));
            assert!(message.has_token(Name::Supported, "replaces"));
        }
        w.send(teams, Method::Refer, None, |draft| {
            draft.header(
                Name::ReferTo,
                "<sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a>",
            );
        });
        assert_eq!(w.outcome_of(teams, Method::Refer).status(), 405);
        let replaces = named(&w, teams);
        let new = replace(&mut w, TEAMS2, &replaces);
        assert_eq!(w.outcome(new).status(), 200);
        w.hung_up(teams);
        w.pass(Duration::from_millis(100));
        assert!(w.talk(new, pbx));
        w.bye(new);
        w.hung_up(pbx);
        let [_] = w.finish();
    }
}

/// RFC 3261 §14.1: a leg is replaced while a re-INVITE of ours waits at it for an answer that the other side's request
/// needs. That request is refused and may come again; the old dialog's late answer changes nothing.
#[test]
fn a_leg_is_replaced_amid_an_exchange() {
    for (status, sdp) in [(200, true), (481, false), (487, false)] {
        let mut w = World::new();
        let pbx = w.dial(PBX);
        let old = w.incoming(TEAMS);
        w.sides[old.0].media.codecs = vec![8, 101];
        w.answer(old);
        w.outcome(pbx);
        w.acknowledged(old);
        w.sides[pbx.0].media.codecs = vec![0, 101];
        let offer = w.describe(pbx, "sendrecv");
        w.send(pbx, Method::Invite, Some(offer), |_| {});
        let ours = w.request(old, Method::Invite);
        let replaces = named(&w, old);
        let new = replace(&mut w, TEAMS2, &replaces);
        assert_eq!(w.outcome(new).status(), 200);
        assert_eq!(w.outcome_of(pbx, Method::Invite).status(), 491);
        w.hung_up(old);
        let sdp = sdp.then(|| w.describe(old, "sendrecv"));
        w.respond(old, &ours, status, sdp, |_| {});
        if status == 200 {
            w.acknowledged(old);
        }
        w.pass(Duration::from_secs(2));
        w.sides[pbx.0].media.codecs = vec![8, 101];
        assert_eq!(w.reinvite(pbx, "sendrecv").status(), 200);
        assert!(w.talk(new, pbx), "{status}");
        w.bye(pbx);
        w.hung_up(new);
        let [_] = w.finish();
    }
}

/// Un-hold comes so fast that the music still rings: its early dialog is replaced.
#[test]
fn teams_comes_back_before_its_music_plays() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    w.send(teams, Method::Refer, None, |draft| {
        draft.header(
            Name::ReferTo,
            "<sip:sip.pstnhub.microsoft.com;x-m=28:music>",
        );
    });
    let music = w.incoming(TEAMS);
    w.ring(music);
    w.pass(Duration::from_millis(100));
    let replaces = named(&w, music);
    let back = replace(&mut w, TEAMS, &replaces);
    assert_eq!(w.outcome(back).status(), 200);
    w.cancelled(music);
    w.hung_up(teams);
    w.pass(Duration::from_millis(100));
    assert!(w.talk(back, pbx));
    w.bye(back);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// A REFER is being obeyed when its referrer, or who is handed on, moves to another dialog. Without the referrer nothing
/// is handed on; whoever takes the place of who is handed on is handed on.
#[test]
fn a_leg_is_replaced_while_a_transfer_runs() {
    for of_referrer in [true, false] {
        let setup = Setup::default().trunk_with("pbx", |trunk| trunk.profile.refer = true);
        let mut w = World::with(setup, 33);
        let (teams, pbx) = w.call_from_teams();
        let referrer = if of_referrer { teams } else { pbx };
        let uri = match of_referrer {
            true => "<sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a>".to_owned(),
            false => format!("<sip:{BOB}@192.0.2.1>"),
        };
        w.send(referrer, Method::Refer, None, |draft| {
            draft.header(Name::ReferTo, &uri);
        });
        let target = w.incoming(TEAMS);
        w.ring(target);
        w.pass(Duration::from_millis(100));
        let replaces = named(&w, teams);
        let new = replace(&mut w, TEAMS3, &replaces);
        assert_eq!(w.outcome(new).status(), 200);
        w.hung_up(teams);
        w.pass(Duration::from_millis(100));
        assert!(w.talk(new, pbx));
        if of_referrer {
            w.cancelled(target);
            w.bye(pbx);
            w.hung_up(new);
        } else {
            w.answer(target);
            w.acknowledged(target);
            w.pass(Duration::from_millis(100));
            assert!(w.talk(new, target));
            w.bye(pbx);
            w.bye(target);
            w.hung_up(new);
        }
        let [_] = w.finish();
    }
}

/// The customer's PBX plays the music: it was told of the hold, and is told that it is over when Teams goes on by
/// another dialog.
#[test]
fn the_pbx_hears_that_a_hold_ends_so() {
    let mut w = World::with(Setup::default().acme_with(|c| c.pbx_moh = true), 34);
    let (old, pbx) = w.call_from_teams();
    assert_eq!(w.reinvite(old, "inactive").status(), 200);
    let replaces = named(&w, old);
    for (told, answer) in [("sendonly", "recvonly"), ("sendrecv", "sendrecv")] {
        let request = w.request(pbx, Method::Invite);
        assert_eq!(direction(&request.1.body()), told);
        let sdp = w.describe(pbx, answer);
        w.respond(pbx, &request, 200, Some(sdp), |_| {});
        w.acknowledged(pbx);
        if told == "sendonly" {
            let new = replace(&mut w, TEAMS, &replaces);
            assert_eq!(w.outcome(new).status(), 200);
            w.hung_up(old);
        }
    }
    w.bye(pbx);
    let [_] = w.finish();
}

/// RFC 3261 §13.3.1.4: without an ACK the new dialog, and with it the call, ends. An INVITE without an offer gets ours,
/// and the ACK brings the answer.
#[test]
fn acknowledgements_of_a_new_dialog() {
    for acknowledged in [false, true] {
        let mut w = World::new();
        let (old, pbx) = w.call_from_teams();
        let replaces = named(&w, old);
        w.agents[TEAMS2].acknowledges = acknowledged;
        let new = w.dial_with(TEAMS2, OUTSIDE, |draft| {
            draft.header(Name::Replaces, &replaces);
            draft.body("application/sdp", "").remove(Name::ContentType);
        });
        let answer = w.describe(new, "sendrecv");
        w.sides[new.0].ack_sdp = Some(answer);
        assert_eq!(direction(&w.outcome(new).body()), "sendrecv");
        w.hung_up(old);
        if acknowledged {
            w.pass(Duration::from_millis(100));
            assert!(w.talk(new, pbx));
            w.bye(new);
        }
        w.hung_up(pbx);
        let [cdr] = w.finish();
        assert_eq!(cdr.reason.contains("not acknowledged"), !acknowledged);
    }
}
