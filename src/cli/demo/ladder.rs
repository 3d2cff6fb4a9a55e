//! The messages of a scene, as both emulators saw them, in one picture.

use super::stage::Stage;
use crate::emulate::{Trace, Way};
use crate::telemetry::ladder::Ladder;
use std::time::Instant;

const TEAMS: usize = 0;
const TOLLGATE: usize = 1;
const PBX: usize = 2;

/// What went by since `from`: the calls, or the keep-alives where there was no call.
pub(super) fn of(stage: &Stage, from: Instant) -> Ladder {
    let parties = [
        (&stage.teams.trace(), TEAMS),
        (&stage.pbx.trace(), PBX),
        (&stage.stranger.trace(), PBX),
    ];
    let calls = drawn(&parties, from, |cseq| !cseq.ends_with(" OPTIONS"));
    if calls.is_empty() {
        drawn(&parties, from, |_| true)
    } else {
        calls
    }
}

fn drawn(parties: &[(&Trace, usize)], from: Instant, shown: impl Fn(&str) -> bool) -> Ladder {
    let mut ladder = Ladder::new(&["Teams", "Tollgate", "PBX"]);
    for (trace, party) in parties {
        let messages = trace.messages();
        for message in messages.iter().filter(|m| m.at >= from && shown(&m.cseq)) {
            let (sender, receiver) = match message.way {
                Way::Out => (*party, TOLLGATE),
                Way::In => (TOLLGATE, *party),
            };
            ladder.record(message.at - from, sender, receiver, &message.first_line);
        }
    }
    ladder
}
