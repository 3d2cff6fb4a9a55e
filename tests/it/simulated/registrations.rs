//! Users of exchanges: registered there in their names, called on their bindings, calling as themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tollgate::b2bua::{Cdr, FailingRegistrations, RegistrationState, RegistrationView, Report};
use tollgate::directory::{AdminState, Directory, Pbx, Registration, Rows, Secret};
use tollgate::sip::{Builder, Method, Name, Uri};
use uuid::Uuid;

use crate::sim::World;
use crate::sim::registrar::Say;
use crate::sim::setup::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Alice is user 101 of `acme`'s exchange.
fn alice() -> Registration {
    line(1, &[ALICE], &exchange().into())
}

fn setup(lines: Vec<Registration>) -> Setup {
    let mut setup = Setup::default();
    setup.rows.registrations = lines;
    setup
}

/// The exchange asks for credentials.
fn world(lines: Vec<Registration>, seed: u64) -> World {
    let mut w = World::with(setup(lines), seed);
    w.agents[PBX].registrar.challenge(w.now);
    w
}

/// The same world after these rows were changed.
fn change(w: &mut World, lines: Vec<Registration>, change: impl FnOnce(&mut Rows)) {
    let mut rows = setup(lines).rows;
    rows.generation = w.directory.generation + 1;
    change(&mut rows);
    w.directory = Arc::new(Directory::compile(rows).unwrap());
    w.calls.set_directory(Arc::clone(&w.directory), w.now);
    w.pass(Duration::ZERO);
}

fn view(w: &World, id: Uuid) -> RegistrationView {
    let views = w.calls.registrations(&[id]);
    views.into_iter().next().expect("it is wanted")
}

fn state(w: &World, id: Uuid) -> RegistrationState {
    view(w, id).state
}

/// When REGISTERs came in, in milliseconds since the first.
fn times(w: &World) -> Vec<u128> {
    let heard = &w.agents[PBX].registrar.heard;
    let first = heard[0].0;
    heard
        .iter()
        .map(|(at, _)| (*at - first).as_millis())
        .collect()
}

fn registered(w: &mut World, id: Uuid) {
    w.wait("a registration", |w| {
        (state(w, id) == RegistrationState::Registered).then_some(())
    });
}

/// T-18: REGISTER, 401, digest with the name for that, 200; then nothing for more than half an hour, and a renewal within
/// 80 percent of the hour, unasked by the nonce that is known, which has grown too old, with the same Call-ID and Contact.
#[test]
fn a_user_is_registered_and_stays_so() {
    let mut w = world(vec![alice()], 1);
    registered(&mut w, alice().id);
    let now = view(&w, alice().id);
    assert_eq!(
        (now.last_code, w.agents[PBX].registrar.heard.len()),
        (Some(200), 2)
    );
    let lasts = now.expires_at.unwrap() - now.registered_at.unwrap();
    assert_eq!(lasts, time::Duration::hours(1));
    let renews = now.next_attempt_at.unwrap() - now.registered_at.unwrap();
    assert!((2160..=2880).contains(&renews.whole_seconds()), "{renews}");
    w.pass(HOUR);
    let heard: Vec<_> = w.agents[PBX].registrar.heard.iter().collect();
    let proven = |at: usize| heard[at].1.header(Name::Authorization).is_some();
    assert_eq!([0, 1, 2, 3].map(proven), [false, true, true, true]);
    let call_ids: Vec<_> = heard.iter().map(|(_, r)| r.call_id().unwrap()).collect();
    assert!(call_ids.iter().all(|id| *id == call_ids[0]));
    let numbers: Vec<_> = heard
        .iter()
        .map(|(_, r)| r.cseq().unwrap().number)
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let (contact, _) = &w.agents[PBX].registrar.bindings["sip:101@pbx.example"];
    assert_eq!(contact, "sip:token1@192.0.2.1:5060");
    assert_eq!(view(&w, alice().id).registered_at, now.registered_at);
    let [] = w.finish();
}

/// RFC 3261 §10.2.8: too brief for the registrar, and then long enough.
#[test]
fn a_registrar_may_demand_more_time() {
    let mut w = world(vec![alice()], 2);
    w.agents[PBX].registrar.min = 7200;
    registered(&mut w, alice().id);
    let asked = w.agents[PBX].registrar.asked();
    assert_eq!(asked.last(), Some(&7200));
    w.pass(2 * HOUR);
    let asked = w.agents[PBX].registrar.asked();
    assert!(
        asked[asked.len() - 2..].iter().all(|s| *s == 7200),
        "{asked:?}"
    );
    let [] = w.finish();
}

/// A registrar that grants a minute is asked again within it, every time.
#[test]
fn a_shorter_grant_holds() {
    let mut w = World::with(setup(vec![alice()]), 3);
    w.agents[PBX].registrar.grants = 60;
    registered(&mut w, alice().id);
    for _ in 0..600 {
        w.pass(SECOND);
        assert_eq!(state(&w, alice().id), RegistrationState::Registered);
    }
    let gaps: Vec<_> = times(&w).windows(2).map(|t| t[1] - t[0]).collect();
    assert!(gaps.len() >= 12, "{gaps:?}");
    assert!(
        gaps.iter().all(|ms| (36_000..=48_100).contains(ms)),
        "{gaps:?}"
    );
    let [] = w.finish();
}

/// RFC 3263 §4.3: where the first target refuses the connection, the next one has the registration, and calls come from
/// there.
#[test]
fn the_next_target_takes_over() {
    let mut pbx = exchange();
    pbx.hop.host = "cluster.example".into();
    let lines = vec![line(1, &[ALICE], &pbx.into())];
    let id = lines[0].id;
    let mut w = World::with(setup(lines), 4);
    w.aliases
        .insert("cluster.example".into(), vec![PBX, BACKUP]);
    w.agents[PBX].unreachable = true;
    registered(&mut w, id);
    assert_eq!(w.agents[BACKUP].registrar.heard.len(), 1);
    let uri = "sip:token1@192.0.2.1:5060";
    let there = w.dial_uri(BACKUP, uri, OUTSIDE, |_| {});
    let teams = w.incoming(TEAMS);
    w.answer(teams);
    assert_eq!(w.outcome(there).status(), 200);
    w.bye(there);
    let elsewhere = w.dial_uri(STRANGER, uri, OUTSIDE, |_| {});
    assert_eq!(w.outcome(elsewhere).status(), 403);
    let [_, _] = w.finish();
}

/// An exchange that fails is asked again after 5, 15, 60, 120 … seconds and a little, and never twice within a minute after
/// the third time; when it is well again the registration stands.
#[test]
fn an_exchange_in_trouble_is_left_alone() {
    let mut w = World::with(setup(vec![alice()]), 5);
    w.agents[PBX].registrar.always = Some(Say(500, Vec::new()));
    w.pass(HOUR);
    let gaps: Vec<_> = times(&w).windows(2).map(|t| t[1] - t[0]).collect();
    for (gap, seconds) in gaps.iter().zip([5, 15, 60, 120, 240, 480, 900]) {
        assert!((seconds * 1000..=seconds * 1251).contains(gap), "{gaps:?}");
    }
    assert!((7..12).contains(&gaps.len()), "{gaps:?}");
    assert!(gaps.iter().skip(2).all(|gap| *gap >= 60_000));
    let failed = view(&w, alice().id);
    assert_eq!(failed.state, RegistrationState::Failed);
    assert_eq!(failed.last_code, Some(500));
    assert!(failed.next_attempt_at.is_some() && failed.expires_at.is_none());
    w.agents[PBX].registrar.always = None;
    w.pass(HOUR);
    assert_eq!(state(&w, alice().id), RegistrationState::Registered);
    let [] = w.finish();
}

/// Retry-After is kept to, and a password that is refused is not tried often: the exchange would lock the user out. A new
/// password is tried at once.
#[test]
fn a_refusal_is_taken_seriously() {
    let mut w = World::with(setup(vec![alice()]), 6);
    let later = vec![(Name::RetryAfter, "600".to_owned())];
    w.agents[PBX].registrar.says.push_back(Say(503, later));
    w.pass(HOUR);
    let gap = times(&w)[1];
    assert!((600_000..=751_000).contains(&gap), "{gap}");
    let [] = w.finish();

    let mut wrong = alice();
    wrong.password = Secret::new("wrong");
    let mut w = world(vec![wrong], 6);
    w.pass(HOUR);
    let failed = view(&w, alice().id);
    assert_eq!(
        (failed.state, failed.last_code),
        (RegistrationState::Failed, Some(403))
    );
    assert!(w.agents[PBX].registrar.heard.len() <= 12);
    change(&mut w, vec![alice()], |_| {});
    w.pass(SECOND);
    assert_eq!(state(&w, alice().id), RegistrationState::Registered);
    let [] = w.finish();
}

/// A registration that is not renewed stands to its end, and then has expired; the report says so.
#[test]
fn a_silent_exchange_lets_registrations_expire() {
    let mut w = world(vec![alice()], 7);
    registered(&mut w, alice().id);
    w.agents[PBX].deaf = true;
    w.pass(3590 * SECOND);
    assert_eq!(state(&w, alice().id), RegistrationState::Registered);
    w.pass(20 * SECOND);
    let expired = view(&w, alice().id);
    assert_eq!(
        (expired.state, expired.last_code),
        (RegistrationState::Expired, None)
    );
    assert!(expired.expires_at.is_none());
    let told = w.reports.iter().any(|report| {
        matches!(
            report,
            Report::Registration {
                was: RegistrationState::Registered,
                is: RegistrationState::Expired,
                ..
            }
        )
    });
    assert!(told);
    let call = w.dial(TEAMS);
    assert_eq!(w.outcome(call).status(), 480);
    w.agents[PBX].deaf = false;
    w.pass(HOUR);
    assert_eq!(state(&w, alice().id), RegistrationState::Registered);
    let [_] = w.finish();
}

/// A nonce that has grown too old costs a round, and no failure.
#[test]
fn a_stale_nonce_is_answered() {
    let mut w = world(vec![alice()], 8);
    registered(&mut w, alice().id);
    let challenge = "Digest realm=\"pbx.example\", nonce=\"old\", stale=true".to_owned();
    let stale = Say(401, vec![(Name::WwwAuthenticate, challenge)]);
    let registrar = &mut w.agents[PBX].registrar;
    registrar.challenger = None;
    registrar.says.push_back(stale);
    w.pass(HOUR);
    let (_, last) = w.agents[PBX].registrar.heard.last().unwrap();
    let proof = last.header(Name::Authorization).unwrap().to_string();
    assert!(proof.contains("nonce=\"old\""), "{proof}");
    let failures = w.reports.iter().filter(|report| {
        matches!(
            report,
            Report::Registration {
                is: RegistrationState::Failed,
                ..
            }
        )
    });
    assert_eq!(failures.count(), 0);
    let [] = w.finish();
}

/// T-34: whoever is not wanted any more is removed by a REGISTER with Expires 0: a registration that is gone, and those of
/// a customer that is disabled. Enabled again it comes back. A shutdown removes what there is.
#[test]
fn who_is_not_wanted_leaves() {
    let others = |n| line(n, &[], &exchange().into());
    let mut w = world(vec![alice(), others(2)], 9);
    registered(&mut w, others(2).id);
    registered(&mut w, alice().id);
    let bound = |w: &World| w.agents[PBX].registrar.bindings.len();
    assert_eq!(bound(&w), 2);
    change(&mut w, vec![alice()], |_| {});
    w.pass(SECOND);
    assert_eq!(bound(&w), 1);
    assert_eq!(w.agents[PBX].registrar.asked().last(), Some(&0));
    assert!(w.calls.registrations(&[others(2).id]).is_empty());
    change(&mut w, vec![alice()], |rows| {
        rows.customers[0].admin_state = AdminState::Disabled;
    });
    w.pass(SECOND);
    assert_eq!(bound(&w), 0);
    change(&mut w, vec![alice()], |_| {});
    registered(&mut w, alice().id);
    assert_eq!(bound(&w), 1);
    w.calls.drain();
    w.pass(SECOND);
    assert_eq!(bound(&w), 0);
    assert!(w.calls.is_idle());
    let [] = w.finish();
}

/// Another user name is another binding: the old one is removed first, then the new one comes, though both have one Contact.
#[test]
fn a_new_name_follows_the_old_one() {
    let mut w = world(vec![alice()], 10);
    registered(&mut w, alice().id);
    let mut renamed = alice();
    renamed.username = "199".into();
    change(&mut w, vec![renamed], |_| {});
    w.pass(SECOND);
    let names: Vec<_> = w.agents[PBX].registrar.bindings.keys().collect();
    assert_eq!(names, ["sip:199@pbx.example"]);
    let asked = w.agents[PBX].registrar.asked();
    let removed = asked.iter().position(|seconds| *seconds == 0).unwrap();
    assert!(asked[removed..].contains(&3600));
    let [] = w.finish();
}

/// Directories that change nothing about registrations cause no REGISTER (P-25), and neither does another number of a user.
#[test]
fn other_changes_are_nothing_to_registrars() {
    let mut w = world(vec![alice()], 11);
    registered(&mut w, alice().id);
    let before = w.agents[PBX].registrar.heard.len();
    change(&mut w, vec![alice()], |rows| {
        rows.customers[0].max_channels = 3
    });
    change(&mut w, vec![line(1, &[BOB], &exchange().into())], |_| {});
    w.pass(60 * SECOND);
    assert_eq!(w.agents[PBX].registrar.heard.len(), before);
    let [] = w.finish();
}

fn crowd(n: u32, pbx: Pbx) -> Vec<Registration> {
    let pbx = Arc::new(pbx);
    (1..=n).map(|n| line(n, &[], &pbx)).collect()
}

/// How many REGISTERs came in within the fullest second of the first so many seconds.
fn fullest_second(w: &World) -> usize {
    let times = times(w);
    let within = |from: &u128| {
        times
            .iter()
            .filter(|t| (*from..*from + 1000).contains(*t))
            .count()
    };
    times.iter().map(within).max().unwrap()
}

/// A start with 1,000 users at 50 a second takes 20 s, and in no second go out more than 50 and the burst of 5; their
/// renewals are spread over a fifth of the hour.
#[test]
fn a_start_is_spread_by_the_bucket() {
    let setup = setup(crowd(1000, exchange())).config_with(|c| c.registrations.per_second = 50);
    let mut w = World::with(setup, 12);
    w.pass(10 * SECOND);
    let (states, _) = w.calls.registration_census();
    let done = states[&RegistrationState::Registered];
    assert!((490..=510).contains(&done), "{done} after 10 s");
    w.pass(10 * SECOND);
    assert_eq!(w.agents[PBX].registrar.bindings.len(), 1000);
    assert!(fullest_second(&w) <= 56, "{}", fullest_second(&w));
    w.agents[PBX].registrar.heard.clear();
    w.pass(HOUR);
    assert!(w.agents[PBX].registrar.heard.len() >= 1000);
    assert!(fullest_second(&w) <= 12, "{}", fullest_second(&w));
    let [] = w.finish();
}

/// All users of an exchange that fails come back together, and no faster than the bucket allows.
#[test]
fn an_exchange_that_comes_back_sees_no_storm() {
    let setup = setup(crowd(500, exchange())).config_with(|c| c.registrations.per_second = 20);
    let mut w = World::with(setup, 13);
    w.agents[PBX].registrar.always = Some(Say(503, Vec::new()));
    w.pass(300 * SECOND);
    let (states, codes) = w.calls.registration_census();
    assert_eq!(states[&RegistrationState::Failed], 500);
    assert_eq!(codes, BTreeMap::from([(503, 500)]));
    let failing = FailingRegistrations {
        customer: ACME,
        count: 500,
    };
    assert_eq!(w.calls.troubles(9).registrations.items, [failing]);
    assert!(fullest_second(&w) <= 22, "{}", fullest_second(&w));
    let counts = w.calls.registration_counts();
    assert!(counts.sent - counts.answers[&503] < 5, "{counts:?}");
    w.agents[PBX].registrar.always = None;
    w.pass(HOUR);
    let (states, codes) = w.calls.registration_census();
    assert_eq!(
        (states[&RegistrationState::Registered], codes.len()),
        (500, 0)
    );
    assert!(w.calls.troubles(9).registrations.items.is_empty());
    let [] = w.finish();
}

/// There are as many registrations as there may be; when one goes, one that waited comes.
#[test]
fn registrations_are_bounded() {
    let settings = |c: &mut tollgate::b2bua::Config| c.registrations.most = 3;
    let all = crowd(5, exchange());
    let mut w = World::with(setup(all.clone()).config_with(settings), 14);
    w.pass(SECOND);
    assert_eq!(w.agents[PBX].registrar.bindings.len(), 3);
    let (states, _) = w.calls.registration_census();
    assert_eq!(states[&RegistrationState::Pending], 2);
    let waits = view(&w, all[4].id);
    assert!(waits.last_reason.unwrap().contains("as many registrations"));
    change(&mut w, all[1..].to_vec(), |_| {});
    w.pass(SECOND);
    assert_eq!(w.agents[PBX].registrar.bindings.len(), 3);
    assert_eq!(state(&w, all[3].id), RegistrationState::Registered);
    let [] = w.finish();
}

/// RFC 5626 §4.4.1: one empty datagram to each registrar in 25 s, however many are registered there; none to one that wants
/// none.
#[test]
fn one_keep_alive_serves_all_users() {
    let mut pbx = exchange();
    pbx.keep_alive = Some(25 * SECOND);
    let mut w = World::with(setup(crowd(10, pbx)), 15);
    w.pass(251 * SECOND);
    assert_eq!(w.agents[PBX].pings, 10);
    let [] = w.finish();
    let mut w = world(vec![alice()], 15);
    w.pass(251 * SECOND);
    assert_eq!(w.agents[PBX].pings, 0);
    let [] = w.finish();
}

/// T-21: a call to the Contact of a registration reaches the user's number at Teams and takes a channel; from elsewhere
/// than where the registration stands it is refused, whoever knows the Contact.
#[test]
fn a_call_on_a_binding_reaches_teams() {
    let mut w = world(vec![alice()], 16);
    registered(&mut w, alice().id);
    let uri = "sip:token1@192.0.2.1:5060";
    let a = w.dial_uri(PBX, uri, "1002", |_| {});
    let b = w.incoming(TEAMS);
    let asked = Uri::parse(w.sides[b.0].invite.request_uri())
        .unwrap()
        .user
        .map(str::to_owned);
    assert_eq!(asked.as_deref(), Some(ALICE));
    assert_eq!(w.ledger.usage(ACME).in_use, 1);
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(a);
    w.hung_up(b);
    let stranger = w.dial_uri(STRANGER, uri, "1002", |_| {});
    assert_eq!(w.outcome(stranger).status(), 403);
    let rival = w.dial_uri(RIVAL, uri, "1002", |_| {});
    assert_eq!(w.outcome(rival).status(), 403);
    let unknown = w.dial_uri(STRANGER, "sip:token9@192.0.2.1:5060", "1002", |_| {});
    assert_eq!(w.outcome(unknown).status(), 403);
    let records: [_; 4] = w.finish();
    let refused = |cdr: &&Cdr| cdr.refused_by.as_deref() == Some("acl");
    assert_eq!(records.iter().filter(refused).count(), 3);
}

/// The limit of the customer holds for calls on bindings too; an address of the exchange's list may bring them as well.
#[test]
fn calls_on_bindings_are_counted() {
    let mut pbx = exchange();
    pbx.acl = vec!["203.0.113.0/24".parse().unwrap()];
    let lines = vec![line(1, &[ALICE], &pbx.into())];
    let id = lines[0].id;
    let limited = setup(lines).acme_with(|c| c.max_channels = 1);
    let mut w = World::with(limited, 17);
    registered(&mut w, id);
    let uri = "sip:token1@192.0.2.1:5060";
    let first = w.dial_uri(STRANGER, uri, "1002", |_| {});
    let b = w.incoming(TEAMS);
    w.answer(b);
    assert_eq!(w.outcome(first).status(), 200);
    let second = w.dial_uri(PBX, uri, "1003", |_| {});
    assert_eq!(w.outcome(second).status(), 486);
    w.bye(first);
    w.hung_up(b);
    let [_, _] = w.finish();
}

/// T-22: the user's call goes to its exchange as that user, in the exchange's domain, and answers for itself with the
/// user's password; the exchange reaches us by the Contact of the registration.
#[test]
fn a_call_from_teams_goes_out_as_the_user() {
    let mut w = world(vec![alice()], 18);
    registered(&mut w, alice().id);
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
    assert!(proof.contains("username=\"auth-101\""), "{proof}");
    let from = invite.from().unwrap();
    assert_eq!(from.uri, "sip:101@pbx.example");
    assert_eq!(from.display_text().as_deref(), Some("Jane Doe"));
    let asked = format!("sip:{OUTSIDE}@pbx.example;user=phone");
    assert_eq!(invite.request_uri(), asked);
    let contact = invite.header(Name::Contact).unwrap().to_string();
    assert!(contact.contains("sip:token1@192.0.2.1"), "{contact}");
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(b);
    w.hung_up(a);
    let [record] = w.finish();
    assert_eq!(record.sip_code, Some(200));
}

/// Who hides from whom it calls hides behind its exchange, which is asked to keep the user to itself.
#[test]
fn a_hidden_caller_is_hidden_by_the_exchange() {
    let mut w = world(vec![alice()], 19);
    registered(&mut w, alice().id);
    w.agents[PBX].registrar.challenger = None;
    let uri = format!("sip:{OUTSIDE}@{ACME_FQDN}:5061;user=phone;transport=tls");
    let a = w.dial_uri(TEAMS, &uri, ALICE, |draft| {
        draft.header(Name::Privacy, "user;id");
    });
    let b = w.incoming(PBX);
    let invite = w.sides[b.0].invite.clone();
    let from = invite.from().unwrap();
    assert_eq!((from.uri, from.display), ("sip:101@pbx.example", None));
    let privacy = invite.header(Name::Privacy).unwrap().to_string();
    assert_eq!(privacy, "user;id");
    w.answer(b);
    w.outcome(a);
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// Section 7 of provisioning: not registered, not called: 480, and no trunk takes the call instead. An emergency call does
/// go by a trunk.
#[test]
fn an_unregistered_user_makes_no_calls_but_for_help() {
    let mut w = World::with(setup(vec![alice()]), 20);
    w.agents[PBX].registrar.always = Some(Say(403, Vec::new()));
    w.pass(SECOND);
    let a = w.dial(TEAMS);
    assert_eq!(w.outcome(a).status(), 480);
    let help = w.dial_with(TEAMS, "112", |_| {});
    let b = w.incoming(PBX);
    let asked = w.sides[b.0].invite.request_uri().to_owned();
    assert!(!asked.contains("pbx.example"), "by the trunk: {asked}");
    w.answer(b);
    assert_eq!(w.outcome(help).status(), 200);
    w.bye(help);
    w.hung_up(b);
    let [record, _] = w.finish();
    assert_eq!(record.refused_by.as_deref(), Some("pbx_unregistered"));
}

/// An exchange asks the Contact whether it is still there, as Asterisk does; a stranger hears nothing.
#[test]
fn an_exchange_may_ask_for_its_user() {
    let mut setup = setup(vec![alice()]);
    setup.rows.trunks.retain(|trunk| trunk.name != "pbx");
    let mut w = World::with(setup, 21);
    let options = |w: &mut World, who| {
        let call_id = w.random.token(12);
        let mut draft = Builder::request(Method::Options, "sip:token1@192.0.2.1:5060");
        draft
            .header(Name::MaxForwards, "70")
            .header_fmt(Name::From, format_args!("<sip:a@b>;tag={who}"))
            .header(Name::To, "<sip:token1@192.0.2.1:5060>")
            .header(Name::CallId, call_id)
            .header(Name::CSeq, "1 OPTIONS");
        w.ask(who, draft).status()
    };
    registered(&mut w, alice().id);
    assert_eq!(options(&mut w, PBX), 200);
    assert_eq!(options(&mut w, STRANGER), 403);
    let [] = w.finish();
}
