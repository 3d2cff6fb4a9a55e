//! Two calls of ours that become one: a REFER whose Refer-To names a dialog of another call (RFC 3891, RFC 5589 §7).

use tracing::info;

use super::super::Calls;
use super::super::call::{CallKey, Given, Stage};
use super::super::leg::State;
use super::super::replaces::Replaces;
use super::super::teardown::Ended;
use super::sipfrag;
use crate::media::{Command, LegId, LegReport};

/// Two calls that a REFER with Replaces makes one; carried out by [`Calls`], which owns both.
#[derive(Debug)]
pub(in crate::b2bua) struct Join {
    pub referrer: LegId,
    /// The Replaces value of its Refer-To.
    pub replaces: String,
}

impl Calls {
    /// Gives the far party of the other call to the call whose REFER named it. The other call ends: its channel is
    /// free, its CDR says that it was transferred.
    pub(in crate::b2bua) fn join_calls(&mut self, join: &Join) {
        let failed = |calls: &mut Self, status| {
            if let Some(leg) = calls
                .home(join.referrer)
                .and_then(|k| calls.calls.get_mut(&k))
                .and_then(|c| c.leg_mut(join.referrer))
            {
                leg.notify(&mut calls.core, &sipfrag(status), true);
            }
        };
        let Some(home) = self.home(join.referrer) else {
            return;
        };
        let Some((other_home, party)) = self.replaced(join, home) else {
            info!("a REFER names a call that does not exist");
            return failed(self, 481);
        };
        let room = self.calls.get_mut(&home);
        if !room.is_some_and(|call| call.make_room(&mut self.core)) {
            return failed(self, 503);
        }
        let Some(other) = self.calls.get_mut(&other_home) else {
            return;
        };
        let Some(at) = other.legs.iter().position(|leg| leg.id == party) else {
            return;
        };
        let mut taken = other.legs.remove(at);
        if taken.has_media() {
            self.core.media(Command::Count { leg: party });
            self.core.moved.insert(party, other_home);
            other.given = Some(Given {
                side: taken.side,
                before: taken.counted.take(),
            });
        }
        other.hang_up(&mut self.core, Ended::Transferred);
        self.settle(other_home);
        self.core.homes.insert(party, home);
        let Some(call) = self.calls.get_mut(&home) else {
            return;
        };
        info!(call = %call.id, "transfer done");
        call.record.transferred(self.core.now, &taken.party);
        call.add_leg(taken);
        call.hand_over(&mut self.core, join.referrer, party);
        self.settle(home);
    }

    /// What went through a leg so far. Of one that has just moved to another call, the record of the call that it left has
    /// it.
    pub(in crate::b2bua) fn on_counted(&mut self, leg: LegId, report: Box<LegReport>) {
        let moved = self.core.moved.remove(&leg);
        if let Some(left) = moved {
            self.with_call(left, |call, core| call.on_counted(core, &report));
        }
        self.with_leg(leg, |call, _| {
            if let Some(leg) = call.leg_mut(leg) {
                if moved.is_some() {
                    leg.counted = Some(report.clone());
                }
                leg.latest = Some(report);
            }
        });
    }

    /// The other call, and the partner of its leg that is named: of the same customer and up.
    fn replaced(&self, join: &Join, home: CallKey) -> Option<(CallKey, LegId)> {
        let named = Replaces::parse(&join.replaces)?;
        let replaced = *self.core.dialogs.get(named.local_tag)?;
        let other_home = self.home(replaced).filter(|other| *other != home)?;
        let other = self.calls.get(&other_home)?;
        if other.customer.id != self.calls.get(&home)?.customer.id {
            return None;
        }
        let leg = other.leg(replaced)?;
        if !leg.is_confirmed() || !leg.is_named_by(&named) {
            return None;
        }
        let party = other.partner(replaced)?;
        let ready = matches!(other.leg(party)?.state, State::Confirmed)
            && matches!(other.stage, Stage::Up { .. });
        ready.then_some((other_home, party))
    }
}
