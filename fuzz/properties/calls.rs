//! Many calls of peers that do anything at any time, over links that lose, repeat and reorder: whatever happens, at the
//! end nothing is left. What happens is read from bytes, so that a fuzzer can look for what nobody thought of.

use std::collections::HashSet;
use std::time::Duration;

use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::agent::{Heard, Side, SideState};
use crate::sim::link::Link;
use crate::sim::setup::*;

/// Bytes beyond these are not looked at.
const MAX_BYTES: usize = 2_000;

/// Choices, read from bytes.
struct Dice<'a>(&'a [u8]);

impl Dice<'_> {
    /// A number below `sides`; 0 once the bytes are used up.
    fn roll(&mut self, sides: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first) % sides.max(1)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.roll(of.len())).copied()
    }
}

/// What a run had in it.
#[derive(Debug, Default)]
pub struct Seen {
    /// Calls that were answered.
    pub answered: usize,
    /// INVITEs with Replaces that were accepted.
    pub replaced: usize,
    /// Calls that were handed on.
    pub transferred: usize,
}

/// Lives through what these bytes say. At every moment each call that is not over has one channel, and nothing else has.
pub fn check(data: &[u8]) -> Seen {
    let mut dice = Dice(&data[..data.len().min(MAX_BYTES)]);
    let setup = setup(&mut dice);
    let mut w = World::with(setup, dice.roll(256) as u64);
    if dice.roll(4) != 0 {
        w = w.with_links(&Link::bad());
    }
    let mut ringing: Vec<Side> = Vec::new();
    while !dice.0.is_empty() {
        for who in 0..w.agents.len() {
            ringing.extend(w.agents[who].arrivals.drain(..));
        }
        act(&mut w, &mut ringing, &mut dice);
        let unit = if dice.roll(20) == 1 { 160 } else { 6 };
        w.pass(Duration::from_millis(unit * dice.roll(256) as u64));
        let customers = [ACME, RIVAL_ID].map(|id| w.ledger.usage(id).in_use as usize);
        let channels: usize = customers.iter().sum();
        assert_eq!(channels, w.calls.active(), "channels and calls");
    }
    wind_down(&mut w, &mut ringing);
    let accepted = |side: &&SideState| side.client.is_some() && side.dialog.is_some();
    let replacing = w.sides.iter().filter(accepted);
    let replaced = replacing
        .filter(|side| side.invite.header(Name::Replaces).is_some())
        .count();
    let cdrs = w.finish_all();
    let calls: HashSet<_> = cdrs.iter().map(|cdr| &cdr.a_call_id).collect();
    assert_eq!(calls.len(), cdrs.len(), "two records of one call");
    Seen {
        answered: cdrs.iter().filter(|cdr| cdr.answer.is_some()).count(),
        replaced,
        transferred: cdrs.iter().filter(|c| c.transferred_to.is_some()).count(),
    }
}

fn setup(dice: &mut Dice) -> Setup {
    let mut setup = Setup::default().with_backup();
    setup.acme().max_channels = 2 + dice.roll(5) as u32;
    setup.acme().pbx_moh = dice.roll(2) == 1;
    setup.trunk("pbx").profile.refer = dice.roll(2) == 1;
    setup.config.ring_timeout = Duration::from_secs(5 + dice.roll(60) as u64);
    if dice.roll(4) == 1 {
        setup.config.max_duration = Some(Duration::from_secs(60));
    }
    setup
}

fn act(w: &mut World, ringing: &mut Vec<Side>, dice: &mut Dice) {
    let up: Vec<Side> = (0..w.sides.len())
        .map(Side)
        .filter(|side| w.sides[side.0].dialog.is_some() && !w.sides[side.0].over)
        .collect();
    match dice.roll(20) {
        0..=3 => {
            let who = dice
                .pick(&[TEAMS, TEAMS2, PBX, PBX, CARRIER, RIVAL, STRANGER])
                .unwrap();
            let late = dice.roll(5) == 1 && who > TEAMS3;
            w.dial_with(who, if who <= TEAMS3 { OUTSIDE } else { ALICE }, |draft| {
                if late {
                    draft.body("application/sdp", "").remove(Name::ContentType);
                }
                draft.header(Name::SessionExpires, "90");
            });
        }
        4..=8 => {
            let Some(side) = dice.pick(ringing) else {
                return;
            };
            decide(w, side, dice);
            let sides = &w.sides;
            ringing.retain(|side| !sides[side.0].decided);
        }
        9..=10 => {
            let Some(side) = dice.pick(&up) else {
                return;
            };
            w.send(side, Method::Bye, None, |_| {});
        }
        11 => {
            let callers: Vec<Side> = (0..w.sides.len())
                .map(Side)
                .filter(|s| w.sides[s.0].client.is_some() && !w.sides[s.0].decided)
                .collect();
            if let Some(side) = dice.pick(&callers) {
                w.cancel(side);
            }
        }
        12..=14 => {
            let Some(side) = dice.pick(&up) else {
                return;
            };
            change(w, side, dice);
        }
        15..=16 => answer_requests(w, dice),
        17 => {
            let Some(side) = dice.pick(&up) else {
                return;
            };
            if dice.roll(3) == 1 {
                replace(w, side, ringing, dice);
            } else {
                transfer(w, side, &up, dice);
            }
        }
        18 => {
            let who = dice.pick(&[TEAMS, PBX, BACKUP]).unwrap();
            w.agents[who].deaf = !w.agents[who].deaf;
            w.agents[TEAMS2].unreachable = dice.roll(3) == 1;
        }
        _ => {
            let views = w.calls.list();
            if let (Some(view), true) = (views.first(), dice.roll(4) == 1) {
                let now = w.now;
                w.calls.hang_up(view.id, now);
            }
            let (garbage, rest) = dice.0.split_at(dice.0.len().min(40));
            dice.0 = rest;
            w.inject(PBX, garbage.to_vec());
        }
    }
}

/// Says something to an INVITE.
fn decide(w: &mut World, side: Side, dice: &mut Dice) {
    if w.sides[side.0].decided {
        return;
    }
    match dice.roll(8) {
        0 => w.ring(side),
        1 => {
            let sdp = w.describe(side, "sendrecv");
            let tag = format!("fork{}-{}", side.0, dice.roll(4));
            w.reply(side, 183, Some(sdp), |draft| {
                draft.to_tag(&tag);
            });
        }
        2 => {
            let status = dice.pick(&[302, 403, 404, 408, 422, 480, 486, 488, 500, 503, 600, 603]);
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
fn change(w: &mut World, side: Side, dice: &mut Dice) {
    let method = if dice.roll(4) == 1 {
        Method::Update
    } else {
        Method::Invite
    };
    if dice.roll(4) == 1 {
        w.sides[side.0].media.codecs = dice.pick(&[[0, 101], [8, 101]]).unwrap().to_vec();
    }
    let direction = dice
        .pick(&["sendrecv", "inactive", "sendonly", "recvonly"])
        .unwrap();
    let sdp = w.describe(side, direction);
    if dice.roll(5) == 1 {
        w.sides[side.0].ack_sdp = Some(sdp);
        w.send(side, method, None, |_| {});
    } else {
        w.send(side, method, Some(sdp), |_| {});
    }
}

/// Answers re-INVITEs of the SBC, well or badly.
fn answer_requests(w: &mut World, dice: &mut Dice) {
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
            match dice.roll(5) {
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

fn transfer(w: &mut World, side: Side, up: &[Side], dice: &mut Dice) {
    let other = dice.pick(up).unwrap_or(side);
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
        "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=28:music".to_owned(),
        "sip:4711@192.0.2.1?Replaces=internal%3Bto-tag%3Da%3Bfrom-tag%3Db".to_owned(),
        "sip:4711@192.0.2.1".to_owned(),
        "sip:evil@evil.example".to_owned(),
    ];
    let target = &targets[dice.roll(targets.len())];
    let silent = dice.roll(4) == 1;
    w.send(side, Method::Refer, None, |draft| {
        draft.header_fmt(Name::ReferTo, format_args!("<{target}>"));
        if silent {
            draft.header(Name::ReferSub, "false");
        }
    });
}

/// An INVITE that names this side's dialog, or one that rings: mostly of its own peer, and mostly by another proxy.
fn replace(w: &mut World, side: Side, ringing: &[Side], dice: &mut Dice) {
    let side = match dice.roll(3) {
        1 => dice.pick(ringing).unwrap_or(side),
        _ => side,
    };
    let state = &w.sides[side.0];
    let (call_id, sbc) = match &state.dialog {
        Some(dialog) => (dialog.id().call_id.clone(), dialog.id().remote_tag.clone()),
        None => {
            let invite = &state.invite;
            let call_id = invite.call_id().unwrap_or_default().to_owned();
            (call_id, invite.from_tag().map(str::to_owned))
        }
    };
    let replaces = format!(
        "{call_id};to-tag={};from-tag={}",
        sbc.unwrap_or_default(),
        state.tag
    );
    let who = match dice.roll(8) {
        1 => dice.pick(&[PBX, RIVAL, TEAMS3]).unwrap_or(TEAMS),
        _ if state.who <= TEAMS3 => TEAMS2,
        _ => state.who,
    };
    let (early_only, late) = (dice.roll(5) == 1, dice.roll(6) == 1);
    w.dial_with(who, if who <= TEAMS3 { OUTSIDE } else { ALICE }, |draft| {
        let early_only = if early_only { ";early-only" } else { "" };
        draft.header_fmt(Name::Replaces, format_args!("{replaces}{early_only}"));
        if late {
            draft.body("application/sdp", "").remove(Name::ContentType);
        }
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
