//! The limit of calls at once, as sipp hears it.

use crate::kamailio;
use crate::lab::Lab;
use crate::sbc::Sbc;
use crate::sipp::Scenario;

/// Two channels: the third call is refused by 486 and cause 34; when a call has ended, the next one passes.
#[tokio::test(flavor = "multi_thread")]
async fn the_call_beyond_the_limit_is_refused_until_one_ends() {
    let lab = Lab::open();
    let _edge = kamailio::edge(&lab).await;
    let sbc = Sbc::start(&lab, 2).await;
    let mut pbx = Scenario::pbx_answers(&lab).calls(3).start(&lab);
    let mut waiting = Scenario::teams_waits(&lab).calls(2).start(&lab);
    sbc.comes_to(2).await;

    let mut refused = Scenario::teams_is_refused(&lab).port(5071).start(&lab);
    refused.succeeds().await;
    let channels = sbc.channels().await;
    assert_eq!(
        (&channels["in_use"], &channels["refused_today"]),
        (&2.into(), &1.into())
    );

    // An operator ends one of them, both sides hear of it, and its channel is free.
    sbc.answered(2).await;
    sbc.hang_up_one().await;
    sbc.comes_to(1).await;
    let mut next = Scenario::teams_call(&lab).port(5072).start(&lab);
    next.succeeds().await;
    sbc.comes_to(1).await;
    sbc.hang_up_one().await;
    waiting.succeeds().await;
    pbx.succeeds().await;

    let records = sbc.is_at_rest(4).await;
    let refused: Vec<_> = records
        .iter()
        .filter(|record| record["refused_by"] == "limit")
        .collect();
    assert_eq!(refused.len(), 1, "{records:#?}");
    assert_eq!(
        (&refused[0]["sip_code"], &refused[0]["q850"]),
        (&486.into(), &34.into())
    );
    let by_operator = records
        .iter()
        .filter(|record| record["ended_by"] == "operator");
    assert_eq!(by_operator.count(), 2, "{records:#?}");
    sbc.stop().await;
}
