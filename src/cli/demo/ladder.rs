//! The messages of a scene, as the emulators saw them, in one picture.

use crate::emulate::{Trace, Way};
use crate::telemetry::ladder::Ladder;
use std::time::Instant;

const TEAMS: usize = 0;
const TOLLGATE: usize = 1;
const FAR: usize = 2;

/// What of messages is drawn, by their CSeq: keep-alives go on all the time and tell little.
pub(super) fn calls(cseq: &str) -> bool {
    !cseq.ends_with(" OPTIONS")
}

/// What went by since `from`, between Teams, Tollgate and whoever is on its other side, that is `shown`.
pub(super) fn drawn(
    teams: &Trace,
    (who, far): (&str, &[Trace]),
    from: Instant,
    shown: impl Fn(&str) -> bool,
) -> Ladder {
    let mut ladder = Ladder::new(&["Teams", "Tollgate", who]);
    let parties = far.iter().map(|trace| (trace, FAR));
    for (trace, party) in parties.chain([(teams, TEAMS)]) {
        let messages = trace.messages();
        for message in messages.iter().filter(|m| m.at >= from && shown(&m.cseq)) {
            let (sender, receiver) = match message.way {
                Way::Out => (party, TOLLGATE),
                Way::In => (TOLLGATE, party),
            };
            ladder.record(message.at - from, sender, receiver, &message.first_line);
        }
    }
    ladder
}
