//! Who hears what: two legs joined at the relay, hold and resume, music and ringback.
//!
//! A hold is answered here and never crosses to the other leg as such (TDR-601, TDR-602, TDR-1505), unless the customer
//! wants its PBX to play the music.

use super::Music;
use super::call::{Call, Stage};
use super::core::Core;
use super::leg::{Exchange, Leg, Peer, Reinvite, ReinviteReason, State};
use super::refusal::Towards;
use crate::audio::music::music;
use crate::directory::Hold;
use crate::media::{Command, LegId, Sound};
use crate::sdp::Direction;

impl Call {
    /// A peer holds, resumes, or just changed an address: the relay learns it, and the partner hears music or voice.
    pub(super) fn on_direction(&mut self, core: &mut Core, id: LegId) {
        let Some(other) = self.partner(id) else {
            return;
        };
        if !matches!(self.stage, Stage::Up { .. }) {
            return;
        }
        self.decide_music(core, id);
        if let Some(holder) = self.leg(id) {
            let pbx = match holder.peer {
                Peer::Teams(..) => self.tells(other) != Direction::SendRecv,
                _ => holder.peer.brings_music() && holder.direction == Direction::SendOnly,
            };
            let holds = holder.direction != Direction::SendRecv;
            let music = if pbx { Music::Pbx } else { Music::BuiltIn };
            let by = holder.peer.name().to_owned();
            self.record.direction(core.now, by, holds.then_some(music));
        }
        self.join(core, id, other);
        self.tell(core, other);
    }

    /// Who plays the music is settled when Teams begins to hold, by what the customer wants then, and stays so until it
    /// resumes.
    fn decide_music(&mut self, core: &Core, holder: LegId) {
        let Some(holder) = self.leg(holder).filter(|leg| leg.peer.is_teams()) else {
            return;
        };
        if holder.direction == Direction::SendRecv {
            self.pbx_moh = None;
        } else if self.pbx_moh.is_none() {
            let now = core.directory.customer(self.customer.id);
            self.pbx_moh = Some(now.unwrap_or(&self.customer).pbx_moh);
        }
    }

    /// What this leg's peer is to know of its partner: a hold, where Teams holds and the customer wants its PBX to play
    /// the music.
    pub(super) fn tells(&self, id: LegId) -> Direction {
        let held = self
            .partner(id)
            .and_then(|partner| self.leg(partner))
            .is_some_and(|p| p.peer.is_teams() && p.direction != Direction::SendRecv);
        match self.leg(id) {
            Some(leg) if held && self.pbx_plays(leg) => held_by(leg),
            _ => Direction::SendRecv,
        }
    }

    /// Whether music for this leg's peer is its own business: it is a PBX, and its customer wants it so. A carrier plays
    /// none.
    fn pbx_plays(&self, leg: &Leg) -> bool {
        let peer = &leg.peer;
        self.pbx_moh.unwrap_or(self.customer.pbx_moh)
            && peer.towards() == Towards::Pbx
            && peer.brings_music()
    }

    /// Tells this leg's peer what it does not know yet. While another exchange runs that waits; its end comes here.
    pub(super) fn tell(&mut self, core: &mut Core, id: LegId) {
        let direction = self.tells(id);
        let waits = |leg: &Leg| {
            leg.told != direction
                && matches!(leg.state, State::Confirmed)
                && matches!(leg.exchange, Exchange::Idle)
        };
        if matches!(self.stage, Stage::Up { .. }) && self.leg(id).is_some_and(waits) {
            if direction != Direction::SendRecv && self.refers_to_music(core, id) {
                return;
            }
            let hold = Reinvite {
                why: ReinviteReason::Hold,
                codecs: None,
                direction,
                glares: 0,
            };
            self.reinvite(core, id, hold);
        }
    }

    /// Joins two legs at the relay as their descriptions stand, with music for whom the other holds. Who is handed on and
    /// hears the target already goes on hearing that.
    pub(super) fn join(&mut self, core: &mut Core, one: LegId, other: LegId) {
        let (one, other) = match (self.hears_instead(one), self.hears_instead(other)) {
            (Some(target), _) => (one, target),
            (_, Some(target)) => (target, other),
            _ => (one, other),
        };
        let held = self
            .legs
            .iter()
            .any(|leg| (leg.id == one || leg.id == other) && leg.direction != Direction::SendRecv);
        let inactivity = if held {
            None
        } else {
            core.config.media_inactivity
        };
        let (Some(a), Some(b)) = (self.leg(one), self.leg(other)) else {
            return;
        };
        // One that left while its transfer goes on: its partner has nobody to talk to yet.
        if !(a.has_media() && b.has_media()) {
            return;
        }
        for (leg, partner) in [(a, b), (b, a)] {
            leg.announce_ice(core);
            if let Some(mut config) = leg.media_config() {
                let passage = leg.anchor.passage(&partner.anchor);
                config.passage = core.passages.share(passage);
                config.inactivity = inactivity;
                core.media(Command::Configure {
                    leg: leg.id,
                    config: Box::new(config),
                });
            }
        }
        core.media(Command::Connect {
            leg: one,
            with: Some(other),
        });
        self.play(core, one);
        self.play(core, other);
    }

    /// Has the relay play what this leg's peer is to hear instead of its partner: ringback while it is handed on, music
    /// while it is held, or nothing.
    pub(super) fn play(&self, core: &mut Core, id: LegId) {
        let Some(listener) = self.leg(id).filter(|leg| leg.has_media()) else {
            return;
        };
        let holder = self.partner(id).and_then(|partner| self.leg(partner));
        let play = if self.hears_ringback(id) {
            listener.ringback()
        } else if self.hears_instead(id).is_some() {
            None
        } else if holder.is_some_and(|h| hears_music(h, self.pbx_plays(listener))) {
            let own = self.customer.music.clone();
            listener.playing(Sound::Music, own.unwrap_or_else(music))
        } else {
            None
        };
        core.media(Command::Play { leg: id, play });
    }
}

/// The direction of an offer that puts this leg's peer on hold.
pub(super) fn held_by(leg: &Leg) -> Direction {
    match leg.peer.profile().hold {
        Hold::SendOnly => Direction::SendOnly,
        Hold::Inactive => Direction::Inactive,
    }
}

/// Whether somebody hears our music because of what `holder` said, unless its own PBX plays some. A PBX that holds with
/// sendonly brings its own (TDR-602); Teams never does.
fn hears_music(holder: &Leg, pbx_plays: bool) -> bool {
    match (&holder.peer, holder.direction) {
        (_, Direction::SendRecv) => false,
        (Peer::Teams(..), _) => !pbx_plays,
        (peer, direction) => direction != Direction::SendOnly || !peer.brings_music(),
    }
}
