//! Hold as Teams and telephones do it.

use crate::kamailio;
use crate::lab::Lab;
use crate::sbc::{Sbc, Setup};
use crate::script::Script;
use crate::sipp::Scenario;

/// TDR-604, form A of hold: Teams offers inactive, is answered so, and resumes without an offer: it is offered the whole
/// call again (TDR-607). The key stays (TDR-834), the PBX sees nothing.
#[tokio::test(flavor = "multi_thread")]
async fn teams_holds_and_resumes_without_an_offer() {
    let lab = Lab::open();
    let _edge = kamailio::edge(&lab).await;
    let sbc = Sbc::start_with(&lab, Setup::default()).await;
    let mut pbx = Scenario::pbx_answers(&lab).start(&lab);
    let script = Script::teams()
        .calls("")
        .may_hear_ringing()
        .hears_answer()
        .reinvites("inactive")
        .resumes_without_an_offer()
        .reinvites("inactive")
        .reinvites("sendrecv")
        .hangs_up();
    let mut teams = Scenario::of_teams("holder", script, &lab).start(&lab);
    teams.succeeds().await;
    pbx.succeeds().await;
    let keys = teams.all_told("key");
    assert!(
        keys.len() == 5 && keys.iter().all(|key| *key == keys[0]),
        "{keys:?}"
    );
    let records = sbc.is_at_rest(1).await;
    assert_eq!(records[0]["ended_by"], "a_leg");
    sbc.stop().await;
}
