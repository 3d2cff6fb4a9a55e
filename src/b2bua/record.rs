//! The CDR of a call while it is being written: exactly one goes out, for a refused call too.

use std::time::Instant;

use time::OffsetDateTime;
use uuid::Uuid;

use super::call::Call;
use super::cdr::{Cdr, Direction, EndedBy, MediaCounts, Music, Silence};
use super::core::Core;
use super::explain;
use super::leg::{Leg, Peer, Side};
use super::refusal::{Answer, Refusal, Towards};
use super::teardown::Ended;
use super::why::{Fact, Notes, Trace};
use crate::directory::{Admission, Customer, Dialled};
use crate::media::LegReport;
use crate::sip::{Message, Uri};

#[derive(Debug)]
pub(super) struct Record {
    cdr: Cdr,
    notes: Notes,
    /// Peers that hold.
    holders: Vec<String>,
    /// How it ended, once it was up.
    why: Option<&'static str>,
    written: bool,
}

/// Who is silent in a shorter call may just not have spoken yet.
const LONG_ENOUGH: time::Duration = time::Duration::seconds(3);
/// Texts of a peer in a CDR are cut to this many bytes.
const MAX_TEXT: usize = 128;

impl Record {
    /// For a call that is admitted.
    pub fn new(
        core: &Core,
        id: Uuid,
        invite: &Message,
        peer: &Peer,
        customer: &Customer,
        admission: &Admission,
        notes: Notes,
    ) -> Self {
        let mut cdr = draft(core, id, invite, Some(peer));
        cdr.customer_id = Some(customer.id);
        cdr.emergency = admission.emergency;
        cdr.direction = Direction::of(admission);
        cdr.from = cut(&admission.caller);
        cdr.to = cut(&admission.called);
        Self {
            cdr,
            notes,
            holders: Vec::new(),
            why: None,
            written: false,
        }
    }

    /// For a call that is refused before it became one.
    pub fn refused(
        core: &mut Core,
        invite: &Message,
        peer: Option<&Peer>,
        customer: Option<&Customer>,
        refusal: &Refusal,
        notes: Notes,
    ) -> Cdr {
        let id = core.random.uuid();
        let mut record = Self {
            cdr: draft(core, id, invite, peer),
            notes,
            holders: Vec::new(),
            why: None,
            written: false,
        };
        record.cdr.customer_id = customer.map(|c| c.id);
        let towards = peer.map_or(Towards::Pbx, Peer::towards);
        record.refused_with(core.now, refusal, towards);
        record.write()
    }

    pub fn is_written(&self) -> bool {
        self.written
    }

    /// A B leg was started.
    pub fn attempted(&mut self, now: Instant, leg: &Leg) {
        if let Some(outgoing) = &leg.outgoing {
            let attempt = Fact::Attempt {
                peer: leg.peer.name().to_owned(),
                host: outgoing.hop.host.clone(),
                call_id: outgoing.call_id.clone(),
            };
            self.notes.add(now, attempt);
        }
        self.cdr.b_call_id = leg.outgoing.as_ref().map(|o| o.call_id.clone());
        match &leg.peer {
            Peer::Teams(gateway, _) => self.cdr.gateway = Some(gateway.fqdn.clone()),
            Peer::Trunk(trunk) => self.cdr.trunk_id = Some(trunk.id),
            Peer::Phone(..) => {}
        }
    }

    pub fn rang(&mut self, at: OffsetDateTime) {
        self.cdr.ringing.get_or_insert(at);
    }

    pub fn answered(&mut self, at: OffsetDateTime) {
        self.cdr.answer = Some(at);
        self.cdr.sip_code = Some(200);
    }

    /// From the INVITE to the answer.
    pub fn setup_time(&self) -> std::time::Duration {
        self.cdr
            .setup()
            .and_then(|d| d.try_into().ok())
            .unwrap_or_default()
    }

    /// One more step of how the call came about.
    pub fn note(&mut self, now: Instant, fact: Fact) {
        self.notes.add(now, fact);
    }

    /// The steps so far.
    pub fn trace(&self) -> &Trace {
        self.notes.trace()
    }

    pub fn start(&self) -> OffsetDateTime {
        self.cdr.start
    }

    pub fn answer(&self) -> Option<OffsetDateTime> {
        self.cdr.answer
    }

    /// A peer holds, and this is what the other one hears; or it does not.
    pub fn direction(&mut self, now: Instant, by: String, music: Option<Music>) {
        let held = self.holders.iter().position(|holder| *holder == by);
        match (music, held) {
            (Some(music), None) => {
                self.cdr.music = Some(music);
                self.notes.add(
                    now,
                    Fact::Held {
                        by: by.clone(),
                        music,
                    },
                );
                self.holders.push(by);
            }
            (None, Some(at)) => {
                self.holders.swap_remove(at);
                self.notes.add(now, Fact::Resumed { by });
            }
            (Some(music), Some(_)) => self.cdr.music = Some(music),
            (None, None) => {}
        }
    }

    pub fn refused_with(&mut self, now: Instant, refusal: &Refusal, towards: Towards) {
        self.notes.add_last(now, explain::refused(refusal, towards));
        let Answer { status, q850 } = refusal.answer(towards);
        self.cdr.sip_code = Some(status);
        self.cdr.q850 = q850;
        self.cdr.reason = refusal.to_string();
        self.cdr.refused_by = refusal.refused_by().map(str::to_owned);
        self.cdr.ended_by = Some(match refusal {
            Refusal::Cancelled => EndedBy::ALeg,
            Refusal::FarEnd { .. } | Refusal::BadAnswer(_) => EndedBy::BLeg,
            Refusal::HungUp => EndedBy::Operator,
            _ => EndedBy::Us,
        });
    }

    /// `by_caller` tells for what a leg did whether it is the A leg; `by` is that leg's peer.
    pub fn ended_because(&mut self, now: Instant, why: Ended, by_caller: bool, by: Option<String>) {
        let (label, q850) = (why.label().to_owned(), why.cause());
        self.notes.add_last(
            now,
            Fact::Ended {
                why: label,
                by,
                q850,
            },
        );
        self.cdr.q850 = Some(why.cause());
        self.why = Some(why.label());
        self.cdr.reason = why.to_string();
        self.cdr.ended_by = Some(match why {
            Ended::Bye(_) if by_caller => EndedBy::ALeg,
            Ended::Bye(_) => EndedBy::BLeg,
            Ended::Operator => EndedBy::Operator,
            _ => EndedBy::Us,
        });
    }

    pub fn ended(&mut self, at: OffsetDateTime) {
        self.cdr.end = at;
    }

    /// Adds what went through a leg to its side.
    pub fn media(&mut self, leg: &Leg) {
        if let Some(report) = &leg.report {
            self.count(leg.side, report, leg.counted.as_deref());
            if let Some(counts) = self.side(leg.side) {
                let agreed = leg.counts(report);
                (counts.codec, counts.srtp) = (agreed.codec, agreed.srtp);
                counts.silence = Silence::of(report, !leg.direction.sends());
            }
        }
    }

    fn side(&mut self, side: Side) -> &mut Option<MediaCounts> {
        match side {
            Side::A => &mut self.cdr.a_media,
            Side::B => &mut self.cdr.b_media,
        }
    }

    /// Adds to a side what this report has and an earlier one has not.
    pub fn count(&mut self, side: Side, report: &LegReport, before: Option<&LegReport>) {
        let own =
            MediaCounts::from(report).since(&before.map(MediaCounts::from).unwrap_or_default());
        let counts = self.side(side);
        *counts = Some(counts.take().unwrap_or_default().and(&own));
    }

    /// How a call that was up ended.
    pub fn ended_why(&self) -> Option<&'static str> {
        self.why
    }

    /// Why one side was not heard while the other was.
    pub fn one_way(&self) -> Option<Silence> {
        let silence = |media: &Option<MediaCounts>| media.as_ref().and_then(|m| m.silence);
        match (silence(&self.cdr.a_media), silence(&self.cdr.b_media)) {
            (Some(why), None) | (None, Some(why)) => Some(why),
            _ => None,
        }
    }

    /// Everything is known of the media: it is judged, and silence is told where the call was long enough to tell.
    pub fn judge_media(&mut self, now: Instant) {
        let long = self.cdr.talk() >= LONG_ENOUGH;
        for (side, name) in [(Side::A, "caller"), (Side::B, "called party")] {
            let Some(mut counts) = self.side(side).take().map(MediaCounts::judged) else {
                continue;
            };
            counts.silence = counts.silence.filter(|_| long);
            if let Some(why) = counts.silence {
                let side = name.to_owned();
                self.notes.add_last(now, Fact::Silent { side, why });
            }
            *self.side(side) = Some(counts);
        }
    }

    /// The call was handed on to somebody else.
    pub fn transferred(&mut self, now: Instant, to: &str) {
        self.notes.add(now, Fact::Transferred { to: cut(to) });
        self.cdr.transferred_to = Some(cut(to));
    }

    /// Somebody took over this side: it was handed on, or came back to who had it.
    pub fn taken_over(&mut self, side: Side, by: &str) {
        let first = match side {
            Side::A => &self.cdr.from,
            Side::B => &self.cdr.to,
        };
        self.cdr.transferred_to = (cut(by) != *first).then(|| cut(by));
    }

    /// The finished record, once.
    pub fn write(&mut self) -> Cdr {
        self.written = true;
        self.cdr.why = self.notes.trace().clone();
        self.cdr.clone()
    }
}

impl Call {
    /// Takes the relay's reports into the record.
    pub(super) fn record_media(&mut self) {
        for leg in &self.legs {
            self.record.media(leg);
        }
    }
}

fn draft(core: &Core, id: Uuid, invite: &Message, peer: Option<&Peer>) -> Cdr {
    let user = |uri: &str| {
        Uri::parse(uri)
            .ok()
            .and_then(|u| u.user.map(|u| Dialled::parse(u).to_string()))
            .unwrap_or_default()
    };
    let now = core.wall();
    Cdr {
        id,
        generation: core.directory.generation,
        customer_id: None,
        trunk_id: peer.and_then(Peer::trunk).map(|t| t.id),
        gateway: match peer {
            Some(Peer::Teams(gateway, _)) => Some(gateway.fqdn.clone()),
            _ => None,
        },
        direction: if peer.is_some_and(Peer::is_teams) {
            Direction::FromTeams
        } else {
            Direction::ToTeams
        },
        emergency: false,
        from: cut(&invite.from().map(|f| user(f.uri)).unwrap_or_default()),
        to: cut(&user(invite.request_uri())),
        a_call_id: cut(invite.call_id().unwrap_or_default()),
        b_call_id: None,
        start: now,
        ringing: None,
        answer: None,
        end: now,
        sip_code: None,
        q850: None,
        reason: String::new(),
        refused_by: None,
        ended_by: None,
        music: None,
        transferred_to: None,
        a_media: None,
        b_media: None,
        why: Trace::default(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
