//! What a caller at the PBX hears while Teams rings.

use crate::kamailio;
use crate::lab::Lab;
use crate::sbc::{Sbc, Setup};
use crate::script::Script;
use crate::sipp::Scenario;

/// TDR-504 to TDR-506: Teams rings at several clients, each with a tag of its own, one of them with a description and no
/// sound; one of them answers, or one that nobody has heard of. The caller hears one 180 without a description and one
/// answer, in one dialog, and whoever answered hears the ACK.
#[tokio::test(flavor = "multi_thread")]
async fn forks_and_silent_183_are_one_ringing_call() {
    let lab = Lab::open();
    let _edge = kamailio::edge(&lab).await;
    let sbc = Sbc::start_with(&lab, Setup::default()).await;
    let rings = "180 Ringing";
    let progress = "183 Session Progress";
    let forks = Script::teams()
        .hears_call()
        .tries()
        .says(rings, "one", None)
        .says(rings, "two", None)
        .says(progress, "three", Some("sendrecv"))
        .answers("one");
    let silent = Script::teams()
        .hears_call()
        .tries()
        .says(progress, "one", Some("sendrecv"))
        .answers("two");
    for script in [forks, silent] {
        let script = script.hears_bye();
        let mut teams =
            Scenario::of_teams_called("clients", script, &lab, lab.microsoft()).start(&lab);
        let script = Script::pbx().calls("").hears_ringing().hears_answer();
        let mut pbx = Scenario::of_pbx("caller", script.hangs_up(), &lab).start(&lab);
        pbx.succeeds().await;
        teams.succeeds().await;
        let (early, dialog) = (pbx.all_told("rings"), pbx.tells("dialog").await);
        assert_eq!(early.len(), 1);
        assert!(
            dialog.contains(&format!("to-tag={};", early[0])),
            "{early:?} {dialog}"
        );
    }
    sbc.is_at_rest(2).await;
    sbc.stop().await;
}
