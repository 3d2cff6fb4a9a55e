//! Single calls of sipp with Kamailio's TLS: each side checks what it hears word by word, tshark the trunk.

use crate::kamailio;
use crate::lab::{Lab, PBX_NUMBER, TEAMS_NUMBER};
use crate::sbc::Sbc;
use crate::sipp::Scenario;
use crate::tshark::{Capture, Trace};
use serde_json::Value;

/// A call, a hold, a CANCEL from Teams and a call to Teams go as both sides expect, and what goes over the trunk is
/// well-formed to a third party.
#[tokio::test(flavor = "multi_thread")]
async fn sipp_and_tshark_agree_with_call_hold_and_cancel() {
    let lab = Lab::open();
    let _edge = kamailio::edge(&lab).await;
    let sbc = Sbc::start(&lab, 10).await;
    let capture = Capture::start(&lab).await;

    for (teams, pbx) in [
        (Scenario::teams_call(&lab), Scenario::pbx_answers(&lab)),
        (Scenario::teams_holds(&lab), Scenario::pbx_answers(&lab)),
        (Scenario::teams_cancels(&lab), Scenario::pbx_rings(&lab)),
    ] {
        let (mut pbx, mut teams) = (pbx.start(&lab), teams.start(&lab));
        teams.succeeds().await;
        pbx.succeeds().await;
    }
    let mut teams = Scenario::teams_answers(&lab).start(&lab);
    let mut pbx = Scenario::pbx_calls(&lab).start(&lab);
    pbx.succeeds().await;
    teams.succeeds().await;

    let records = sbc.is_at_rest(4).await;
    let story: Vec<_> = records
        .iter()
        .rev()
        .map(|record| {
            let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
            (
                text("direction"),
                text("from"),
                text("to"),
                record["sip_code"].as_u64(),
            )
        })
        .collect();
    let from_teams = |code| {
        (
            "from_teams".to_owned(),
            TEAMS_NUMBER.to_owned(),
            PBX_NUMBER.to_owned(),
            Some(code),
        )
    };
    let to_teams = (
        "to_teams".to_owned(),
        PBX_NUMBER.to_owned(),
        TEAMS_NUMBER.to_owned(),
        Some(200),
    );
    assert_eq!(
        story,
        [from_teams(200), from_teams(200), from_teams(487), to_teams]
    );

    ladders_open_in_wireshark(&lab, &sbc, &records).await;
    if let Some(capture) = capture {
        let trace = capture.read().await;
        trace.is_well_formed();
        let sent = |filter: &str| trace.select(filter, &["sip.Method", "sip.Status-Code"]);
        let ours = format!("ip.src == {}", lab.sbc());
        assert!(sent(&format!("{ours} && sip.Method == INVITE && sdp")).len() >= 3);
        assert!(sent(&format!("{ours} && sip.Status-Code == 200 && sdp")).len() == 1);
        assert!(sent(&format!("{ours} && sip.Method == CANCEL")).len() == 1);
        assert!(!sent(&format!("{ours} && sip.Method == BYE")).is_empty());
        // Keys are for Teams alone (TDR-830).
        assert!(sent("sdp contains \"crypto\" || sdp contains \"SAVP\"").is_empty());
    }
    sbc.stop().await;
}

/// Each call's ladder is a file that Wireshark's own reader opens: all its messages are SIP, also those that went over
/// TLS, with real addresses, sound checksums and no key.
async fn ladders_open_in_wireshark(lab: &Lab, sbc: &Sbc, records: &[Value]) {
    for record in records {
        let id = record["id"].as_str().expect("an id");
        let file = lab.file(&format!("{id}.pcapng"));
        let bytes = sbc
            .api
            .download(&format!("/calls/{id}/ladder?format=pcapng"))
            .await;
        std::fs::write(&file, bytes).expect("a file");
        let trace = Trace::of(file);
        trace.is_well_formed();
        let all = trace.select("frame", &["frame.number"]).len();
        let sip = trace.select("sip", &["frame.number"]).len();
        assert!(all >= 6 && all == sip, "{sip} of {all} packets are SIP");
        let invites = |address| {
            let filter = format!(
                "sip.Method == INVITE && ip.addr == {address} && ip.addr == {}",
                lab.sbc()
            );
            trace.select(&filter, &["frame.number"]).len()
        };
        assert!(invites(lab.microsoft()) >= 1 && invites(lab.pbx()) >= 1);
        let keys = trace.select("sdp contains \"inline:\"", &["sdp.media_attr"]);
        assert!(
            !keys.is_empty() && keys.iter().all(|line| line.contains("inline:LEFTOUT")),
            "{keys:?}"
        );
    }
}
