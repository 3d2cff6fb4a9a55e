//! What a refused caller hears before it is refused, where the profile of its trunk wants that: why, as early media or
//! after a 200.
//!
//! It is no call. It takes no channel of a customer, and one of the trunk that it came by only while that has one to give;
//! it is never answered as far as records and metrics go; and it takes no media ports that calls might need. There are so
//! many at once, each lasts so long, and what could be an emergency call is refused without. A caller that wants reliable
//! provisional responses, or that leaves the offer to us, is refused without, too.

use std::collections::HashMap;
use std::time::Instant;

use super::core::{Core, SUPPORTED};
use super::leg::{Leg, Peer, State};
use super::refusal::{Refusal, q850_text};
use super::why::{Fact, Notes};
use super::{Calls, Cdr, EndedBy, Report};
use crate::audio::Announcement;
use crate::directory::{Announcements as Way, Customer};
use crate::media::{Command, LegId, Sound};
use crate::sdp::{Codec, Direction};
use crate::sip::{ClientKey, Message, Method, Name, ServerKey, Source, Uri};

/// An INVITE that is refused.
pub(super) struct Invited<'a> {
    pub key: ServerKey,
    pub message: &'a Message,
    pub source: &'a Source,
    pub local_tag: &'a str,
}

/// Refused callers that hear why.
#[derive(Debug, Default)]
pub(super) struct Announcements(HashMap<LegId, Announced>);

#[derive(Debug)]
struct Announced {
    leg: Leg,
    refusal: Refusal,
    /// Written when it is over.
    cdr: Option<Box<Cdr>>,
    /// When it has been heard, and the caller is refused; none: it has, and our BYE waits for an ACK or its answer.
    ends: Option<Instant>,
}

impl Announcements {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn has(&self, leg: LegId) -> bool {
        self.0.contains_key(&leg)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(|announced| announced.ends).min()
    }

    /// Keeps the record of a caller until it has heard why it is refused.
    pub fn record(&mut self, leg: LegId, cdr: Cdr) {
        if let Some(announced) = self.0.get_mut(&leg) {
            announced.cdr = Some(Box::new(cdr));
        }
    }
}

impl Calls {
    /// Has the caller hear why it is refused, if it is to: then nothing else is to be said to it now, and the record is to
    /// be kept for later.
    pub(super) fn announce(
        &mut self,
        invited: &Invited,
        refusal: &Refusal,
        peer: Option<&Peer>,
        customer: Option<&Customer>,
        notes: &mut Notes,
    ) -> Option<LegId> {
        let (peer, which) = (peer?, refusal.announcement()?);
        let way = peer.profile().announcements;
        let uri = Uri::parse(invited.message.request_uri()).ok()?;
        let called = uri.user.unwrap_or_default();
        let directory = &self.core.directory;
        if way == Way::Off || self.draining || directory.may_be_emergency(customer, called) {
            return None;
        }
        let begun = self.begin(invited, which, way, peer, called);
        let outcome = begun.as_ref().map_or_else(|why| *why, |_| "played");
        self.core.report(Report::Announcement {
            which: which.name(),
            outcome,
        });
        let (leg, ends) = begun.ok()?;
        let fact = Fact::Announced {
            announcement: which,
            with_answer: way == Way::Answered,
        };
        notes.add(self.core.now, fact);
        let id = leg.id;
        let announced = Announced {
            leg,
            refusal: refusal.clone(),
            cdr: None,
            ends: Some(ends),
        };
        self.announcements.0.insert(id, announced);
        Some(id)
    }

    /// Begins to play, until when; or why that cannot be.
    fn begin(
        &mut self,
        invited: &Invited,
        which: Announcement,
        way: Way,
        peer: &Peer,
        called: &str,
    ) -> Result<(Leg, Instant), &'static str> {
        let core = &mut self.core;
        // Pairs of ports that the calls of which there may be more could ask for.
        let spoken_for = 2 * core.config.max_calls.saturating_sub(self.calls.len());
        let is_full = self.announcements.len() >= core.config.max_announcements;
        if is_full || core.ports.free(core.now) <= spoken_for {
            return Err("full");
        }
        let permit = match peer.trunk() {
            Some(trunk) => Some(core.ledger.take_trunk(trunk).ok_or("no_channel")?),
            None => None,
        };
        let Invited {
            key,
            message,
            source,
            local_tag,
        } = *invited;
        let mut leg = Leg::incoming(core, peer.clone(), key, message, source, local_tag, called)
            .map_err(|_| "unfit")?;
        leg.permit = permit;
        if leg.late_offer || leg.reliable {
            return Err("unfit");
        }
        let has_sounds = |codec: &&Codec| {
            let law = ["PCMA", "PCMU"].iter();
            codec.clock == 8000
                && law
                    .into_iter()
                    .any(|law| codec.name.eq_ignore_ascii_case(law))
        };
        let codecs: Vec<Codec> = leg
            .anchor
            .offered()
            .iter()
            .filter(has_sounds)
            .cloned()
            .collect();
        let answer = leg.anchor.answer(&codecs, Direction::SendRecv);
        let answer = answer.map_err(|_| "unfit")?;
        let clip = core.directory.announcement(which);
        let lasts = clip.duration().min(core.config.announcement_max);
        let play = leg.playing(Sound::Announcement, clip).ok_or("unfit")?;

        leg.open_media(core);
        if let Some(config) = leg.media_config() {
            let (leg, config) = (leg.id, Box::new(config));
            core.media(Command::Configure { leg, config });
        }
        core.media(Command::Play {
            leg: leg.id,
            play: Some(play),
        });
        core.dialogs.insert(local_tag.to_owned(), leg.id);
        leg.expect_ack(core, key);
        let status = match way {
            Way::Answered => 200,
            Way::Early | Way::Off => 183,
        };
        let mut draft = core.response(message, status, peer.is_teams());
        draft.copy(message, Name::RecordRoute);
        draft
            .to_tag(local_tag)
            .header(Name::Contact, &leg.contact)
            .header(Name::Allow, Core::allow(peer));
        if way == Way::Answered {
            leg.state = State::Accepted { owes_bye: None };
            draft.header(Name::Supported, SUPPORTED);
            core.report(Report::Response {
                peer: peer.label(),
                outgoing: true,
                status,
            });
        }
        draft.body("application/sdp", answer);
        core.endpoint.respond(key, draft, core.now);
        Ok((leg, core.now + lasts))
    }

    /// Refuses those who have heard why.
    pub(super) fn on_announcement_time(&mut self) {
        let now = self.core.now;
        let is_over = |announced: &Announced| announced.ends.is_some_and(|at| at <= now);
        let all = self.announcements.0.iter();
        let over: Vec<LegId> = all.filter(|(_, a)| is_over(a)).map(|(id, _)| *id).collect();
        for leg in over {
            self.end_announcement(leg);
        }
    }

    /// Nobody hears anything any longer: we are going down.
    pub(super) fn give_up_announcements(&mut self) {
        for leg in self.announcements.0.keys().copied().collect::<Vec<_>>() {
            self.end_announcement(leg);
            self.forget_announcement(leg);
        }
    }

    /// It was heard, or can be no longer: the caller is refused.
    pub(super) fn end_announcement(&mut self, id: LegId) {
        let Some(announced) = self.announcements.0.get_mut(&id) else {
            return;
        };
        if announced.end(&mut self.core, None) {
            self.forget_announcement(id);
        }
    }

    /// The caller gave up.
    pub(super) fn on_announcement_cancelled(&mut self, id: LegId) {
        if let Some(announced) = self.announcements.0.get_mut(&id) {
            announced.end(&mut self.core, Some(&Refusal::Cancelled));
            self.forget_announcement(id);
        }
    }

    /// The ACK of our 200: what has been heard meanwhile may end now.
    pub(super) fn on_announcement_ack(&mut self, id: LegId, source: &Source) {
        let Some(announced) = self.announcements.0.get_mut(&id) else {
            return;
        };
        let leg = &mut announced.leg;
        if !matches!(leg.state, State::Accepted { .. }) || !leg.may_come_from(source) {
            return;
        }
        leg.state = State::Confirmed;
        if announced.ends.is_none() {
            self.end_announcement(id);
        }
    }

    /// Our 200 stayed without ACK.
    pub(super) fn on_announcement_no_ack(&mut self, id: LegId) {
        if let Some(announced) = self.announcements.0.get_mut(&id) {
            announced.leg.state = State::Confirmed;
            self.end_announcement(id);
        }
    }

    /// The answer to our BYE, or that there is none.
    pub(super) fn on_announcement_answer(
        &mut self,
        id: LegId,
        key: ClientKey,
        message: Option<&Message>,
    ) {
        let Some(Announced { leg, .. }) = self.announcements.0.get_mut(&id) else {
            return;
        };
        let status = message.map_or(408, Message::status);
        if status < 200 {
            return;
        }
        leg.done(&mut self.core, key);
        if let (401 | 407, Some(message)) = (status, message)
            && leg.may_authenticate(message)
        {
            return leg.send_bye(&mut self.core, None);
        }
        self.forget_announcement(id);
    }

    /// A request of the caller in the dialog: it may hang up, and nothing else changes anything.
    pub(super) fn on_announcement_request(
        &mut self,
        id: LegId,
        key: ServerKey,
        message: &Message,
        source: &Source,
    ) {
        let Some(announced) = self.announcements.0.get_mut(&id) else {
            return;
        };
        let (core, leg) = (&mut self.core, &mut announced.leg);
        let teams = leg.peer.is_teams();
        if !leg.may_come_from(source) {
            return core.answer(key, message, 403, teams);
        }
        if leg.dialog_of(message).is_none() {
            return core.answer(key, message, 481, teams);
        }
        match message.method() {
            Method::Bye => {
                core.answer(key, message, 200, teams);
                announced.end(core, Some(&Refusal::Cancelled));
                self.forget_announcement(id);
            }
            Method::Invite | Method::Update => core.answer(key, message, 488, teams),
            Method::Info | Method::Options | Method::Notify => {
                let mut draft = core.response(message, 200, teams);
                draft
                    .header(Name::Contact, &leg.contact)
                    .header(Name::Allow, Core::allow(&leg.peer))
                    .header(Name::Supported, SUPPORTED);
                core.endpoint.respond(key, draft, core.now);
            }
            _ => core.answer(key, message, 405, teams),
        }
    }

    fn forget_announcement(&mut self, id: LegId) {
        if let Some(announced) = self.announcements.0.remove(&id) {
            self.core.forget_leg(&announced.leg);
        }
    }
}

impl Announced {
    /// Refuses the caller, or tells it that it is over; `instead` says what the caller itself did. Whether nothing more is
    /// to come of it.
    fn end(&mut self, core: &mut Core, instead: Option<&Refusal>) -> bool {
        self.ends = None;
        self.leg.close_media(core);
        self.leg.permit = None;
        self.write(core, instead);
        let leg = &mut self.leg;
        match (&leg.state, &leg.incoming) {
            (State::Incoming { invite }, Some(message)) => {
                let (refusal, peer) = (instead.unwrap_or(&self.refusal), Some(&leg.peer));
                core.refuse(*invite, message, refusal, peer, &leg.local_tag);
                true
            }
            // RFC 3261 §15: no BYE before the ACK.
            (State::Accepted { .. }, _) => false,
            (State::Confirmed, _) if instead.is_none() => {
                leg.state = State::Leaving;
                let cause = self.refusal.answer(leg.peer.towards()).q850;
                let reason = cause.map(|cause| {
                    format!("Q.850;cause={cause};text=\"{}\"", q850_text(cause)).into()
                });
                leg.send_bye(core, reason);
                false
            }
            _ => true,
        }
    }

    /// The record says what was refused; of a caller that did not hear it to the end, what it did.
    fn write(&mut self, core: &mut Core, instead: Option<&Refusal>) {
        let Some(mut cdr) = self.cdr.take() else {
            return;
        };
        cdr.end = core.wall();
        if let Some(instead) = instead {
            cdr.ended_by = Some(EndedBy::ALeg);
            if matches!(self.leg.state, State::Incoming { .. }) {
                cdr.sip_code = Some(instead.answer(self.leg.peer.towards()).status);
            }
        }
        core.write(*cdr);
    }
}
