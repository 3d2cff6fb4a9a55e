//! The next trunk or proxy, when one fails by itself; never when a user has decided.

use std::sync::Arc;
use std::time::Duration;

use tollgate::b2bua::{Down, Health, PeerOf, Troubles};
use tollgate::directory::{Directory, Rows, Trunk};
use tollgate::sip::{Builder, Method, Name};

use crate::sim::World;
use crate::sim::setup::*;

fn with_backup() -> World {
    World::with(Setup::default().with_backup(), 2)
}

/// A trunk that fails: by a status, by silence, by refusing connections, by having no address.
#[test]
fn a_trunk_that_fails_is_followed_by_the_next() {
    type Failure = Box<dyn Fn(&mut World)>;
    let mut cases: Vec<(&str, Failure)> = vec![
        (
            "silent",
            Box::new(|w: &mut World| w.agents[PBX].deaf = true),
        ),
        (
            "unreachable",
            Box::new(|w: &mut World| w.agents[PBX].unreachable = true),
        ),
    ];
    for status in [408, 500, 502, 503, 504] {
        cases.push((
            "status",
            Box::new(move |w: &mut World| {
                let b = w.incoming(PBX);
                w.reject(b, status);
            }),
        ));
    }
    for (what, fail) in cases {
        let mut w = with_backup();
        let a = w.dial(TEAMS);
        fail(&mut w);
        let b = w.incoming(BACKUP);
        w.ring(b);
        w.provisional(a);
        w.answer(b);
        assert_eq!(w.outcome(a).status(), 200, "{what}");
        w.bye(a);
        w.hung_up(b);
        let [cdr] = w.finish();
        assert_eq!(cdr.trunk_id.map(|id| id.as_u128()), Some(11), "{what}");
    }
}

/// A trunk whose name leads nowhere is passed over.
#[test]
fn a_trunk_without_an_address_is_passed_over() {
    let setup = Setup::default()
        .with_backup()
        .trunk_with("pbx", |t| t.host = "nowhere.example".into());
    let mut w = World::with(setup, 3);
    let a = w.dial(TEAMS);
    let b = w.incoming(BACKUP);
    w.reject(b, 486);
    assert_eq!(w.outcome(a).status(), 486);
    let [_] = w.finish();
}

/// What a user decided is final.
#[test]
fn a_decision_is_final() {
    for (status, heard) in [(486, 486), (603, 603), (404, 404), (480, 480), (600, 486)] {
        let mut w = with_backup();
        let a = w.dial(TEAMS);
        let b = w.incoming(PBX);
        w.reject(b, status);
        assert_eq!(w.outcome(a).status(), heard);
        assert!(w.agents[BACKUP].arrivals.is_empty());
        let [cdr] = w.finish();
        assert_eq!(cdr.refused_by.as_deref(), Some("far_end"));
    }
}

/// Once it rang, another phone must not.
#[test]
fn no_failover_once_it_rang() {
    let mut w = with_backup();
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    w.ring(b);
    w.provisional(a);
    w.reject(b, 503);
    assert_eq!(w.outcome(a).status(), 503);
    assert!(w.agents[BACKUP].arrivals.is_empty());
    let [_] = w.finish();
}

/// Every trunk fails: the caller hears 503, so that Teams tries another SBC.
#[test]
fn all_trunks_fail() {
    let mut w = with_backup();
    for who in [PBX, BACKUP] {
        w.agents[who].unreachable = true;
    }
    let a = w.dial(TEAMS);
    let refusal = w.outcome(a);
    assert_eq!(refusal.status(), 503);
    let reason = refusal.header(Name::Reason).unwrap();
    assert!(reason.text().unwrap().starts_with("Q.850;cause=38"));
    let [cdr] = w.finish();
    assert_eq!(cdr.refused_by.as_deref(), Some("route"));
}

/// More trunks fail than a call may have legs at once: each is tried and forgotten.
#[test]
fn a_dozen_trunks_fail_one_after_the_other() {
    let mut setup = Setup::default();
    for n in 0..11u8 {
        let mut more = setup.trunk("pbx").clone();
        (more.id, more.name) = (
            uuid::Uuid::from_u128(1000 + u128::from(n)),
            format!("pbx{n}"),
        );
        (more.priority, more.acl) = (u16::from(n) + 1, Vec::new());
        setup.rows.trunks.push(more);
    }
    let mut w = World::with(setup, 4);
    let a = w.dial(TEAMS);
    for _ in 0..12 {
        let b = w.incoming(PBX);
        w.reject(b, 500);
        w.pass(Duration::from_secs(1));
    }
    assert_eq!(w.outcome(a).status(), 503);
    assert_eq!(w.relay.opened, 13);
    let [_] = w.finish();
}

/// TDR-212: 503 with Retry-After at the first proxy leads to the second of the three (TDR-101) at once, and the next call begins there.
#[test]
fn a_busy_proxy_is_followed_by_the_next() {
    let mut w = World::new();
    let a = w.dial(PBX);
    let first = w.incoming(TEAMS);
    w.reply(first, 503, None, |draft| {
        draft.header(Name::RetryAfter, "20");
    });
    let b = w.incoming(TEAMS2);
    assert!(
        w.sides[b.0]
            .invite
            .request_uri()
            .contains("@sip2.pstnhub.microsoft.com")
    );
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.acknowledged(b);
    let next = w.dial(PBX);
    let c = w.incoming(TEAMS2);
    w.reject(c, 486);
    assert_eq!(w.outcome(next).status(), 486);
    // Its OPTIONS are answered, so it is first again.
    w.pass(Duration::from_secs(70));
    let later = w.dial(PBX);
    let d = w.incoming(TEAMS);
    w.reject(d, 486);
    assert_eq!(w.outcome(later).status(), 486);
    w.bye(a);
    w.hung_up(b);
    let [_, _, _] = w.finish();
}

/// TDR-211, TDR-213: no connection, or no 100 within a few seconds.
#[test]
fn a_proxy_that_is_not_there_is_followed_by_the_next() {
    for silent in [true, false] {
        let mut w = World::new();
        w.pass(Duration::from_secs(1));
        (w.agents[TEAMS].deaf, w.agents[TEAMS].unreachable) = (silent, !silent);
        let start = w.now;
        let a = w.dial(PBX);
        let b = w.incoming(TEAMS2);
        assert!(w.now - start < Duration::from_secs(6));
        w.answer(b);
        assert_eq!(w.outcome(a).status(), 200);
        w.bye(a);
        w.hung_up(b);
        let [_] = w.finish();
    }
}

/// TDR-213: a 4xx or 6xx of Teams is never tried again.
#[test]
fn a_decision_at_teams_is_final() {
    for (status, heard) in [(404, 404), (603, 603), (488, 488)] {
        let mut w = World::new();
        let a = w.dial(PBX);
        let b = w.incoming(TEAMS);
        w.reject(b, status);
        assert_eq!(w.outcome(a).status(), heard);
        assert_eq!(w.audit.invites.len(), 1);
        let [_] = w.finish();
    }
}

/// TDR-208, TDR-218: OPTIONS go to each proxy in the name of the region's base domain; a drained SBC sends none.
#[test]
fn options_keep_the_trunk_alive_until_it_is_drained() {
    let mut w = World::new();
    w.pass(Duration::from_secs(1));
    assert_eq!(w.calls.peers().count(), 3);
    assert!(w.calls.peers().all(|(_, _, health)| *health == Health::Up));
    w.agents[TEAMS3].options = 503;
    w.pass(Duration::from_secs(60));
    let up = w
        .calls
        .peers()
        .filter(|(_, _, health)| **health == Health::Up)
        .count();
    assert_eq!(up, 2);
    let troubles = w.calls.troubles(9);
    assert!(troubles.trunks.items.is_empty(), "{troubles:?}");
    let [down] = &troubles.proxies.items[..] else {
        panic!("one proxy is down: {troubles:?}");
    };
    assert!(down.why.contains("503"), "{down:?}");
    assert!(matches!(down.of, PeerOf::Region(_)), "{down:?}");
    w.agents[TEAMS3].options = 200;
    w.pass(Duration::from_secs(60));
    assert_eq!(w.calls.troubles(9), Troubles::default());
    let [] = w.finish();
}

/// The names and states of the proxies, in the order of trial.
fn proxies(w: &World) -> Vec<Health> {
    w.calls
        .peers()
        .map(|(_, _, health)| health.clone())
        .collect()
}

/// TDR-212: what a busy proxy asks for is granted in full, though it answers OPTIONS before; a 503 to OPTIONS itself is a
/// failed probe, and counts the same.
#[test]
fn retry_after_outlasts_the_next_options() {
    let setup = Setup::default().config_with(|c| c.options_interval = Duration::from_secs(10));
    let mut w = World::with(setup, 5);
    let a = w.dial(PBX);
    let busy = w.incoming(TEAMS);
    w.reply(busy, 503, None, |draft| {
        draft.header(Name::RetryAfter, "40 (maintenance);duration=9");
    });
    let b = w.incoming(TEAMS2);
    w.reject(b, 486);
    w.outcome(a);
    for (after, first) in [(30, TEAMS2), (15, TEAMS)] {
        w.pass(Duration::from_secs(after));
        assert_eq!(
            proxies(&w)[0],
            Health::Up,
            "it answers OPTIONS all the time"
        );
        let a = w.dial(PBX);
        let b = w.incoming(first);
        w.reject(b, 486);
        w.outcome(a);
    }
    w.finish_all();
}

/// TDR-210: why a proxy cannot be used: silence, no connection, a status with Microsoft's own words; and 200 mends it.
#[test]
fn the_health_of_a_proxy_has_a_reason() {
    let mut w = World::new();
    w.pass(Duration::from_secs(1));
    assert!(proxies(&w).iter().all(|health| *health == Health::Up));
    w.agents[TEAMS].unreachable = true;
    w.agents[TEAMS2].deaf = true;
    w.agents[TEAMS3].options = 403;
    w.pass(Duration::from_secs(100));
    let health = proxies(&w);
    assert_eq!(
        health[0],
        Health::Down(Down::Transport("connection refused".into()))
    );
    assert_eq!(health[1], Health::Down(Down::Timeout));
    let forbidden = Down::Response {
        status: 403,
        reason: String::new(),
    };
    assert_eq!(health[2], Health::Down(forbidden));
    w.agents[TEAMS].unreachable = false;
    w.agents[TEAMS2].deaf = false;
    w.agents[TEAMS3].options = 200;
    w.pass(Duration::from_secs(70));
    assert!(proxies(&w).iter().all(|health| *health == Health::Up));
    let [] = w.finish();
}

/// A newer directory leaves alone what is known of peers that stay; one that went elsewhere is unknown until it answers there,
/// and of one that went nothing is known.
#[test]
fn a_newer_directory_keeps_what_is_known() {
    let asked = |t: &mut Trunk| t.options_ping = Some(Duration::from_secs(30));
    let setup = || {
        let setup = Setup::default().trunk_with("pbx", asked).with_backup();
        setup.trunk_with("backup", asked)
    };
    let mut w = World::with(setup(), 6);
    w.pass(Duration::from_secs(1));
    let health = |w: &World, wanted: &str| {
        let mut peers = w.calls.peers();
        let found = peers.find(|(_, name, _)| *name == wanted);
        found.map(|(_, _, health)| health.clone())
    };
    assert_eq!(health(&w, "pbx"), Some(Health::Up));
    assert_eq!(health(&w, "backup"), Some(Health::Up));
    let obey = |w: &mut World, setup: Setup| {
        let rows = Rows {
            generation: w.directory.generation + 1,
            ..setup.rows
        };
        w.directory = Arc::new(Directory::compile(rows).unwrap());
        let newer = Arc::clone(&w.directory);
        w.order(|calls, now| calls.set_directory(newer, now));
    };
    let moved = setup().trunk_with("backup", |t| t.host = "192.0.2.30".into());
    obey(&mut w, moved);
    assert_eq!(health(&w, "pbx"), Some(Health::Up));
    assert_eq!(health(&w, "backup"), Some(Health::Unknown));
    w.pass(Duration::from_secs(1));
    assert_eq!(health(&w, "backup"), Some(Health::Up));
    obey(
        &mut w,
        setup().trunk_with("backup", |t| t.options_ping = None),
    );
    assert_eq!(health(&w, "backup"), None);
    assert_eq!(w.calls.peers().count(), 4);
    w.agents[PBX].deaf = true;
    w.pass(Duration::from_secs(70));
    assert_eq!(health(&w, "pbx"), Some(Health::Down(Down::Timeout)));
    w.finish_all();
}

/// Two hundred trunks to one exchange are each asked at once.
#[test]
fn many_peers_are_all_asked() {
    let mut setup = Setup::default();
    let model = setup.trunk("pbx").clone();
    setup.rows.trunks.extend((0..200_u128).map(|n| Trunk {
        id: uuid::Uuid::from_u128(1000 + n),
        name: format!("pbx{n}"),
        acl: Vec::new(),
        options_ping: Some(Duration::from_secs(30)),
        ..model.clone()
    }));
    let mut w = World::with(setup, 7);
    w.pass(Duration::from_secs(1));
    let states: Vec<_> = w.calls.peers().map(|(_, _, health)| health).collect();
    assert_eq!(states.len(), 203);
    assert!(states.iter().all(|health| **health == Health::Up));
    w.finish_all();
}

/// TDR-218, TDR-216: a drained SBC answers new calls and OPTIONS with 503, keeps the calls it has, and says no more by
/// itself.
#[test]
fn a_drained_sbc_keeps_its_calls() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    w.calls.drain();
    let refused = w.dial(TEAMS);
    let answer = w.outcome(refused);
    assert_eq!(answer.status(), 503);
    let invite = &w.sides[refused.0].invite;
    let mut options = Builder::request(Method::Options, &format!("sip:{BASE_FQDN}:5061"));
    options
        .header(Name::MaxForwards, "70")
        .header(Name::From, "<sip:sip.pstnhub.microsoft.com>;tag=o1")
        .header_fmt(Name::To, format_args!("<sip:{BASE_FQDN}>"))
        .header_fmt(Name::CallId, format_args!("{}o", invite.call_id().unwrap()))
        .header(Name::CSeq, "1 OPTIONS");
    assert_eq!(w.ask(TEAMS, options).status(), 503);
    w.pass(Duration::from_secs(120));
    assert!(w.talk(a, b));
    assert_eq!(w.bye(b), 200);
    w.hung_up(a);
    let [_, _] = w.finish();
}
