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
        let ours = format!("sip && ip.src == {}", lab.sbc());
        let sent = trace.select(
            &ours,
            &["sip.Method", "sip.Status-Code", "sip.Content-Type"],
        );
        let count = |words: &[&str]| {
            let has = |line: &&String| line.split_whitespace().eq(words.iter().copied());
            sent.iter().filter(has).count()
        };
        assert!(count(&["INVITE", "application/sdp"]) >= 3, "{sent:?}");
        assert_eq!(count(&["200", "application/sdp"]), 1, "{sent:?}");
        assert_eq!(count(&["CANCEL"]), 1, "{sent:?}");
        assert!(count(&["BYE"]) > 0, "{sent:?}");
        // Keys are for Teams alone (TDR-830).
        let keys = "sdp contains \"crypto\" || sdp contains \"SAVP\"";
        assert!(trace.select(keys, &["frame.number"]).is_empty());
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
        let (ours, teams, pbx) = (lab.sbc(), lab.microsoft(), lab.pbx());
        let all = trace.select(
            "frame",
            &[
                "ip.src",
                "ip.dst",
                "sip.Method",
                "frame.protocols",
                "sdp.media_attr",
            ],
        );
        let sip = all.iter().filter(|line| line.contains(":sip")).count();
        assert!(all.len() >= 6 && all.len() == sip, "{all:#?}");
        for peer in [teams, pbx] {
            let ways = [
                format!("{ours} {peer} INVITE"),
                format!("{peer} {ours} INVITE"),
            ];
            let is_invite = |line: &&String| ways.iter().any(|way| line.starts_with(way));
            assert!(all.iter().filter(is_invite).count() >= 1, "{all:#?}");
        }
        let keys: Vec<_> = all.iter().filter(|line| line.contains("inline:")).collect();
        assert!(
            !keys.is_empty() && keys.iter().all(|line| line.contains("inline:LEFTOUT")),
            "{keys:?}"
        );
    }
}
