//! The messages of a scene, as both emulators saw them, in one picture.

use super::stage::Stage;
use crate::emulate::{Trace, Way};
use crate::telemetry::ladder::Ladder;
use std::time::Instant;

const TEAMS: usize = 0;
const TOLLGATE: usize = 1;
const PBX: usize = 2;

/// What went by since `from`, but for the keep-alives that never cease.
pub(super) fn of(stage: &Stage, from: Instant) -> Ladder {
    let mut ladder = Ladder::new(["Teams", "Tollgate", "PBX"]);
    for (trace, party) in [(stage.teams.trace(), TEAMS), (stage.pbx.trace(), PBX), (stage.stranger.trace(), PBX)] {
        record(&mut ladder, &trace, party, from);
    }
    ladder
}

fn record(ladder: &mut Ladder, trace: &Trace, party: usize, from: Instant) {
    let shown = |cseq: &str| !cseq.ends_with("OPTIONS");
    for message in trace.messages().iter().filter(|m| m.at >= from && shown(&m.cseq)) {
        let (sender, receiver) = match message.way {
            Way::Out => (party, TOLLGATE),
            Way::In => (TOLLGATE, party),
        };
        ladder.record(message.at - from, sender, receiver, &message.first_line);
    }
}
