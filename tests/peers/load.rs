//! Load, and what it leaves behind.

use crate::kamailio;
use crate::lab::Lab;
use crate::sbc::Sbc;
use crate::sipp::Scenario;

const CALLS: u32 = 1000;
const A_SECOND: u32 = 50;
const TALK_MS: u32 = 2000;

/// A thousand calls, fifty a second, over TLS from Teams to UDP at the trunk: none fails, each has one record, and
/// nothing of them is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_leave_a_thousand_records_and_nothing_else() {
    let lab = Lab::open();
    let _edge = kamailio::edge(&lab).await;
    let sbc = Sbc::start(&lab, CALLS).await;
    let ports = sbc.metric("tollgate_media_port_pairs_free").await;
    let mut pbx = Scenario::pbx_answers(&lab).calls(CALLS).start(&lab);
    let mut teams = Scenario::teams_call(&lab)
        .calls(CALLS)
        .rate(A_SECOND)
        .talk_ms(TALK_MS)
        .start(&lab);
    let again = (teams.succeeds().await, pbx.succeeds().await);

    let records = sbc.is_at_rest(CALLS as usize).await;
    let odd: Vec<_> = records
        .iter()
        .filter(|record| record["sip_code"] != 200 || record["ended_by"] != "a_leg")
        .collect();
    assert!(odd.is_empty(), "{odd:#?}");
    let channels = sbc.channels().await;
    assert_eq!(
        (&channels["in_use"], &channels["refused_today"]),
        (&0.into(), &0.into())
    );
    for (metric, value) in [
        ("tollgate_sip_malformed_total", 0.0),
        ("tollgate_media_port_pairs_free", ports),
    ] {
        sbc.reaches(metric, value).await;
    }
    println!(
        "{CALLS} calls, at most {} at once; sent again by Teams and the PBX: {again:?}",
        channels["peak_today"]
    );
    sbc.stop().await;
}
