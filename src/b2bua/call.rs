//! A call: two legs joined by us, from the first INVITE to the CDR.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Report;
use super::core::Core;
use super::explain;
use super::identity::Caller;
use super::leg::{Leg, Side, State};
use super::record::Record;
use super::refusal::Refusal;
use super::registrar::Reach;
use super::transfer::Transfer;
use crate::directory::{Admission, ChannelPermit, Customer, Route};
use crate::media::{Command, LegId, LegReport};
use crate::sip::{Hop, Message, Target};

/// A call's place in [`super::Calls`]; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct CallKey(pub u64);

/// One try to reach the called party.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub route: Route,
    pub hop: Hop,
    /// Where a telephone is; none: nowhere.
    pub reach: Option<Reach>,
}

/// What the caller has heard of the called party so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    Nothing,
    /// 181 or 182.
    Forwarded,
    Ringing,
    EarlyMedia,
}

/// The way to a called party: one attempt after the other.
#[derive(Debug)]
pub(super) struct Reaching {
    pub attempts: VecDeque<Attempt>,
    /// The present attempt.
    pub leg: Option<LegId>,
    /// Why the last attempt failed, in case it was the last.
    pub failed: Option<Refusal>,
}

/// Where a call stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// A's INVITE is unanswered.
    Setup {
        reaching: Reaching,
        progress: Progress,
        gives_up: Instant,
    },
    /// A and B talk, or one of them holds.
    Up {
        a: LegId,
        b: LegId,
        transfer: Option<Box<Transfer>>,
        ends: Option<Instant>,
    },
    /// Nobody talks any more: last answers and media reports come in, at most until `record_due`.
    Over { record_due: Instant },
}

/// A leg that moved to another call.
#[derive(Debug)]
pub(super) struct Given {
    pub side: Side,
    /// What went through it before it came here, if it came from yet another call.
    pub before: Option<Box<LegReport>>,
}

#[derive(Debug)]
pub(super) struct Call {
    pub id: Uuid,
    pub stage: Stage,
    /// The A leg first. At most [`MAX_LEGS`].
    pub legs: Vec<Leg>,
    /// The leg that another call took over from this one, until it is known what went through it.
    pub given: Option<Given>,
    pub customer: Arc<Customer>,
    /// While Teams holds: whether the customer wanted its PBX to play the music when that began.
    pub pbx_moh: Option<bool>,
    pub admission: Admission,
    /// Taken before anything is sent out, given back when the call is over, however that happens.
    pub permit: Option<ChannelPermit>,
    /// Who calls, and what may be seen of that.
    pub caller: Caller,
    /// A's INVITE: what may cross is taken from it on each attempt.
    pub invite: Message,
    pub record: Record,
}

/// Legs of one call at once: the two that talk, and one that is to replace either.
const MAX_LEGS: usize = 8;

/// How long a finished call waits for the relay's reports before its CDR is written without them.
const REPORTS_WITHIN: Duration = Duration::from_secs(2);

impl Call {
    pub fn leg(&self, id: LegId) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.id == id)
    }

    pub fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|leg| leg.id == id)
    }

    /// The leg that talks with this one, while both do.
    pub fn partner(&self, id: LegId) -> Option<LegId> {
        match &self.stage {
            Stage::Up { a, b, .. } if *a == id => Some(*b),
            Stage::Up { a, b, .. } if *b == id => Some(*a),
            Stage::Setup { reaching, .. } if reaching.leg == Some(id) => {
                self.legs.first().map(|a| a.id)
            }
            Stage::Setup { reaching, .. } if self.legs.first().is_some_and(|a| a.id == id) => {
                reaching.leg
            }
            _ => None,
        }
    }

    /// Two legs at once, for what needs both.
    pub fn pair_mut(&mut self, one: LegId, other: LegId) -> Option<(&mut Leg, &mut Leg)> {
        let first = self.legs.iter().position(|leg| leg.id == one)?;
        let second = self.legs.iter().position(|leg| leg.id == other)?;
        if first == second {
            return None;
        }
        let [a, b] = self.legs.get_disjoint_mut([first, second]).ok()?;
        Some((a, b))
    }

    /// Whether there is room for another leg; legs that are done with make some.
    pub fn make_room(&mut self, core: &mut Core) -> bool {
        if self.legs.len() >= MAX_LEGS {
            let is_done = |leg: &mut Leg| !leg.media_open && matches!(leg.state, State::Ended);
            // The first one tells which way the call went.
            for leg in self.legs.extract_if(1.., is_done) {
                self.record.media(&leg);
                core.forget_leg(&leg);
            }
        }
        self.legs.len() < MAX_LEGS
    }

    /// One more leg, for which there is room ([`Call::make_room`]).
    pub fn add_leg(&mut self, leg: Leg) {
        // One place at a time: there are rarely more than two, and a leg takes kilobytes.
        self.legs.reserve_exact(1);
        self.legs.push(leg);
    }

    /// When this call wants to hear of the time.
    pub fn deadline(&self) -> Option<Instant> {
        let own = match &self.stage {
            Stage::Setup { gives_up, .. } => Some(*gives_up),
            Stage::Up { transfer, ends, .. } => {
                [transfer.as_deref().map(Transfer::deadline), *ends]
                    .into_iter()
                    .flatten()
                    .min()
            }
            Stage::Over { record_due } => (!self.record.is_written()).then_some(*record_due),
        };
        self.legs.iter().filter_map(Leg::deadline).chain(own).min()
    }

    /// What DNS said about the target of an attempt.
    pub fn note_dns(&mut self, core: &Core, targets: &Result<Vec<Target>, String>) {
        self.record.note(core.now, explain::resolved(targets));
    }

    /// Whether nothing at all is to come.
    pub fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Over { .. })
            && self.record.is_written()
            && self
                .legs
                .iter()
                .all(|leg| matches!(leg.state, State::Ended))
    }

    /// The call takes nothing any more but its last answers: channels come back now, the relay is told to report.
    pub fn finish(&mut self, core: &mut Core) {
        if matches!(self.stage, Stage::Over { .. }) {
            return;
        }
        self.permit = None;
        self.record.ended(core.wall());
        for leg in &mut self.legs {
            leg.permit = None;
            leg.close_media(core);
        }
        self.stage = Stage::Over {
            record_due: core.now + REPORTS_WITHIN,
        };
        self.write_record_if_complete(core);
    }

    /// The CDR goes out once, when every leg's media is reported or the wait for that is over.
    pub fn write_record_if_complete(&mut self, core: &mut Core) {
        let Stage::Over { record_due } = self.stage else {
            return;
        };
        let reported = self.given.is_none() && self.legs.iter().all(|leg| !leg.media_open);
        if self.record.is_written() || (!reported && core.now < record_due) {
            return;
        }
        self.record_media();
        self.record.judge_media(core.now);
        if let Some(why) = self.record.ended_why() {
            core.report(Report::Ended {
                customer: self.customer.id,
                why,
                one_way: self.record.one_way(),
            });
        }
        core.write(self.record.write());
    }

    /// It is known what went through the leg that another call took over.
    pub fn on_counted(&mut self, core: &mut Core, report: &LegReport) {
        if let Some(given) = self.given.take() {
            self.record
                .count(given.side, report, given.before.as_deref());
        }
        self.write_record_if_complete(core);
    }

    /// A media report came in.
    pub fn on_media_closed(&mut self, core: &mut Core, id: LegId, report: Box<LegReport>) {
        if let Some(leg) = self.leg_mut(id) {
            leg.media_open = false;
            leg.report = Some(report);
        }
        self.write_record_if_complete(core);
    }
}

impl Leg {
    /// Whether the relay serves this leg.
    pub fn has_media(&self) -> bool {
        self.media_open && !self.media_closing
    }

    /// Ends this leg's media; its report follows.
    pub fn close_media(&mut self, core: &mut Core) {
        if self.has_media() {
            self.media_closing = true;
            core.media(Command::Close { leg: self.id });
        }
    }
}
