//! Many calls of peers that do anything at any time, over links that lose, repeat and reorder: whatever happens, at the
//! end nothing is left.

use std::collections::HashSet;
use std::time::Duration;

use tollgate::base::Random;
use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::agent::{Heard, Side};
use crate::sim::link::Link;
use crate::sim::setup::*;

/// Runs with this many seeds, from `TOLLGATE_SEED` on; the one that fails is printed.
const SEEDS: u64 = 25;
const STEPS: usize = 150;

#[test]
fn whatever_happens_nothing_is_left() {
    let mut answered = 0;
    let first = match std::env::var("TOLLGATE_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => 0,
    };
    for seed in first..first + SEEDS {
        answered += run(seed);
    }
    // Else nothing was tested.
    assert!(answered > SEEDS, "only {answered} calls were answered");
}

fn setup(random: &mut Random) -> Setup {
    let mut setup = Setup::default().with_backup();
    setup.acme().max_channels = 2 + random.u32() % 5;
    setup.acme().pbx_moh = random.u32().is_multiple_of(2);
    setup.trunk("pbx").profile.refer = random.u32().is_multiple_of(2);
    setup.config.ring_timeout = Duration::from_secs(5 + random.u64() % 60);
    if random.u32().is_multiple_of(4) {
        setup.config.max_duration = Some(Duration::from_secs(60));
    }
    setup
}

/// One world; how many calls were answered.
fn run(seed: u64) -> u64 {
    let mut random = Random::from_number(seed ^ 0xc4a0);
    let setup = setup(&mut random);
    let mut w = World::with(setup, seed);
    if !seed.is_multiple_of(4) {
        w = w.with_links(&Link::bad());
    }
    let mut ringing: Vec<Side> = Vec::new();
    for _ in 0..STEPS {
        for who in 0..w.agents.len() {
            ringing.extend(w.agents[who].arrivals.drain(..));
        }
        act(&mut w, &mut ringing, &mut random);
        let long = random.u32().is_multiple_of(20);
        w.pass(Duration::from_millis(
            random.u64() % if long { 40_000 } else { 1_500 },
        ));
    }
    wind_down(&mut w, &mut ringing);
    let cdrs = w.finish_all();
    let calls: HashSet<_> = cdrs.iter().map(|cdr| &cdr.a_call_id).collect();
    assert_eq!(calls.len(), cdrs.len(), "two records of one call");
    cdrs.iter().filter(|cdr| cdr.answer.is_some()).count() as u64
}

fn pick<T: Copy>(random: &mut Random, of: &[T]) -> Option<T> {
    of.get(random.u32() as usize % of.len().max(1)).copied()
}

fn act(w: &mut World, ringing: &mut Vec<Side>, random: &mut Random) {
    let up: Vec<Side> = (0..w.sides.len())
        .map(Side)
        .filter(|side| w.sides[side.0].dialog.is_some() && !w.sides[side.0].over)
        .collect();
    match random.u32() % 20 {
        0..=3 => {
            let who = pick(random, &[TEAMS, TEAMS2, PBX, PBX, CARRIER, RIVAL, STRANGER]).unwrap();
            let late = random.u32().is_multiple_of(5) && who > TEAMS3;
            w.dial_with(who, if who <= TEAMS3 { OUTSIDE } else { ALICE }, |draft| {
                if late {
                    draft.body("application/sdp", "").remove(Name::ContentType);
                }
                draft.header(Name::SessionExpires, "90");
            });
        }
        4..=8 => {
            let Some(side) = pick(random, ringing) else {
                return;
            };
            decide(w, side, random);
            let sides = &w.sides;
            ringing.retain(|side| !sides[side.0].decided);
        }
        9..=10 => {
            let Some(side) = pick(random, &up) else {
                return;
            };
            w.send(side, Method::Bye, None, |_| {});
        }
        11 => {
            let callers: Vec<Side> = (0..w.sides.len())
                .map(Side)
                .filter(|s| w.sides[s.0].client.is_some() && !w.sides[s.0].decided)
                .collect();
            if let Some(side) = pick(random, &callers) {
                w.cancel(side);
            }
        }
        12..=14 => {
            let Some(side) = pick(random, &up) else {
                return;
            };
            change(w, side, random);
        }
        15..=16 => answer_requests(w, random),
        17 => {
            let Some(side) = pick(random, &up) else {
                return;
            };
            transfer(w, side, &up, random);
        }
        18 => {
            let who = pick(random, &[TEAMS, PBX, BACKUP]).unwrap();
            w.agents[who].deaf = !w.agents[who].deaf;
            w.agents[TEAMS2].unreachable = random.u32().is_multiple_of(3);
        }
        _ => {
            let views = w.calls.list();
            if let (Some(view), true) = (views.first(), random.u32().is_multiple_of(4)) {
                let now = w.now;
                w.calls.hang_up(view.id, now);
            }
            w.inject(PBX, random.bytes::<40>().to_vec());
        }
    }
}

/// Says something to an INVITE.
fn decide(w: &mut World, side: Side, random: &mut Random) {
    if w.sides[side.0].decided {
        return;
    }
    match random.u32() % 8 {
        0 => w.ring(side),
        1 => {
            let sdp = w.describe(side, "sendrecv");
            let tag = random.token(6);
            w.reply(side, 183, Some(sdp), |draft| {
                draft.to_tag(&tag);
            });
        }
        2 => {
            let status = pick(
                random,
                &[302, 403, 404, 408, 422, 480, 486, 488, 500, 503, 600, 603],
            );
            w.reject(side, status.unwrap());
        }
        3 => {
            w.sides[side.0].media.codecs = vec![0, 101];
            w.answer(side);
        }
        4 => w.reply(side, 200, None, |_| {}),
        _ => w.answer(side),
    }
}

/// Changes a call that is up, mostly.
fn change(w: &mut World, side: Side, random: &mut Random) {
    let method = if random.u32().is_multiple_of(4) {
        Method::Update
    } else {
        Method::Invite
    };
    if random.u32().is_multiple_of(4) {
        w.sides[side.0].media.codecs = pick(random, &[[0, 101], [8, 101]]).unwrap().to_vec();
    }
    let direction = pick(random, &["sendrecv", "inactive", "sendonly", "recvonly"]).unwrap();
    let sdp = w.describe(side, direction);
    if random.u32().is_multiple_of(5) {
        w.sides[side.0].ack_sdp = Some(sdp);
        w.send(side, method, None, |_| {});
    } else {
        w.send(side, method, Some(sdp), |_| {});
    }
}

/// Answers re-INVITEs of the SBC, well or badly.
fn answer_requests(w: &mut World, random: &mut Random) {
    for at in 0..w.sides.len() {
        let side = Side(at);
        for heard in std::mem::take(&mut w.sides[at].inbox) {
            let Heard::Request(key, message) = heard else {
                continue;
            };
            if message.method() != Method::Invite {
                continue;
            }
            let request = (key, message);
            match random.u32() % 5 {
                0 => w.respond(side, &request, 491, None, |_| {}),
                1 => w.respond(side, &request, 488, None, |_| {}),
                2 => w.respond(side, &request, 200, Some("nonsense".into()), |_| {}),
                _ => {
                    let sdp = w.describe(side, "sendrecv");
                    w.respond(side, &request, 200, Some(sdp), |_| {});
                }
            }
        }
    }
}

fn transfer(w: &mut World, side: Side, up: &[Side], random: &mut Random) {
    let other = pick(random, up).unwrap_or(side);
    let id = w.sides[other.0].dialog.as_ref().unwrap().id().clone();
    let replaces = format!(
        "sip:x@{ACME_FQDN}?Replaces={}%3Bto-tag%3D{}%3Bfrom-tag%3D{}",
        id.call_id,
        id.remote_tag.unwrap_or_default(),
        id.local_tag
    );
    let targets = [
        replaces,
        format!("sip:+442075550999@{ACME_FQDN}"),
        "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:a".to_owned(),
        "sip:evil@evil.example".to_owned(),
    ];
    let target = &targets[random.u32() as usize % targets.len()];
    w.send(side, Method::Refer, None, |draft| {
        draft.header_fmt(Name::ReferTo, format_args!("<{target}>"));
    });
}

/// Everybody comes to an end.
fn wind_down(w: &mut World, ringing: &mut Vec<Side>) {
    for agent in &mut w.agents {
        (agent.deaf, agent.unreachable) = (false, false);
    }
    for _ in 0..3 {
        for who in 0..w.agents.len() {
            ringing.extend(w.agents[who].arrivals.drain(..));
        }
        for side in ringing.drain(..) {
            if !w.sides[side.0].decided {
                w.reject(side, 480);
            }
        }
        for at in 0..w.sides.len() {
            let state = &w.sides[at];
            if state.client.is_some() && !state.decided {
                w.cancel(Side(at));
            } else if state.dialog.is_some() && !state.over {
                w.send(Side(at), Method::Bye, None, |_| {});
            }
        }
        w.pass(Duration::from_secs(50));
    }
}
