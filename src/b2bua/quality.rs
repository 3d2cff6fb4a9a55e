//! What goes through the media of a live call: the relay is asked, and answers a moment later.

use std::time::Instant;

use uuid::Uuid;

use super::call::{Call, CallKey, Stage};
use super::cdr::{MediaCounts, Silence};
use super::leg::{Leg, Side};
use super::{Calls, LegReport};
use crate::media::Command;

/// One leg of a live call, as the relay last counted it.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveMedia {
    /// `teams`, or the trunk's name.
    pub peer: String,
    /// Whether it is the caller's.
    pub caller: bool,
    /// From its beginning until now.
    pub media: MediaCounts,
}

/// How far the relay is with its counting.
#[derive(Debug, Clone, PartialEq)]
pub enum Counting {
    /// Not every leg is counted yet.
    Pending,
    /// All legs that have media.
    Done(Vec<LiveMedia>),
}

impl Calls {
    /// Has the relay count what went through a call so far; [`Calls::media_of`] has it soon. Whether there is such a call.
    pub fn count_media(&mut self, id: Uuid, now: Instant) -> bool {
        self.core.now = now;
        let Some(key) = self.live(id) else {
            return false;
        };
        self.with_call(key, |call, core| {
            for leg in call.legs.iter_mut().filter(|leg| leg.has_media()) {
                leg.latest = None;
                core.media(Command::Count { leg: leg.id });
            }
        });
        self.run();
        true
    }

    /// What was counted; none if the call is over.
    pub fn media_of(&self, id: Uuid) -> Option<Counting> {
        let call = self.calls.get(&self.live(id)?)?;
        let legs = call.legs.iter().filter(|leg| leg.has_media());
        let counted = legs.map(|leg| Some(call.counted(leg, leg.latest.as_deref()?)));
        let counted: Option<Vec<_>> = counted.collect();
        Some(counted.map_or(Counting::Pending, Counting::Done))
    }

    /// The call of this id, unless it is over.
    pub(super) fn live(&self, id: Uuid) -> Option<CallKey> {
        let mut calls = self.calls.iter();
        let found =
            calls.find(|(_, call)| call.id == id && !matches!(call.stage, Stage::Over { .. }));
        found.map(|(key, _)| *key)
    }
}

impl Call {
    fn counted(&self, leg: &Leg, report: &LegReport) -> LiveMedia {
        let up = matches!(self.stage, Stage::Up { .. });
        let media = MediaCounts {
            silence: Silence::of(report, !leg.direction.sends()).filter(|_| up),
            ..leg.counts(report)
        };
        LiveMedia {
            peer: leg.peer.name().to_owned(),
            caller: leg.side == Side::A,
            media: media.judged(),
        }
    }
}

impl Leg {
    /// What the relay says of this leg, with what was agreed on.
    pub(super) fn counts(&self, report: &LegReport) -> MediaCounts {
        MediaCounts {
            codec: self.voice(),
            srtp: self.srtp().map(str::to_owned),
            ..MediaCounts::from(report)
        }
    }
}
