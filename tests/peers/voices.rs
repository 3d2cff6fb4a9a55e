//! Two people who hear each other: Teams over SRTP, a telephone behind a hosted PBX over RTP.

use crate::baresip::Telephone;
use crate::emulated::{self, TEAMS_TONE};
use crate::kamailio;
use crate::lab::{Lab, PBX_NUMBER, TEAMS_NUMBER};
use crate::sbc::Sbc;
use crate::tshark::Capture;
use tollgate::emulate::{By, EmuCall};

const PHONE_TONE: f64 = 600.0;

/// Whoever calls, and whoever hangs up, each hears the other's tone.
#[tokio::test(flavor = "multi_thread")]
async fn teams_and_a_registered_telephone_hear_each_other_whoever_calls() {
    let lab = Lab::open();
    let _exchange = kamailio::exchange(&lab).await;
    let teams = emulated::teams(&lab, false).await;
    let sbc = Sbc::start(&lab, 10).await;
    let telephone = Telephone::start(&lab, PBX_NUMBER, PHONE_TONE).await;
    let capture = Capture::start(&lab).await;

    let call = emulated::call(&teams).await;
    call.hears_tone(PHONE_TONE).await.expect("the telephone");
    telephone.hears(1, TEAMS_TONE).await;
    call.bye().await;
    sbc.comes_to(0).await;

    telephone.dial(&format!("sip:{TEAMS_NUMBER}@{}", lab.pbx()));
    let call = teams.incoming().await.expect("a call to Teams");
    call.answered().await.expect("an answer");
    call.hears_tone(PHONE_TONE).await.expect("the telephone");
    telephone.hears(2, TEAMS_TONE).await;
    assert_eq!(hung_up(&call, &telephone).await, By::Peer);

    let records = sbc.is_at_rest(2).await;
    for record in &records {
        assert_eq!(record["sip_code"], 200, "{record:#}");
        // Whoever called hung up; an ACK or BYE that goes astray ends a call otherwise.
        assert_eq!(record["ended_by"], "a_leg", "{record:#}");
        for side in ["a_media", "b_media"] {
            let media = &record[side];
            assert!(media["received"].as_u64() > Some(40), "{side}: {record:#}");
            assert_eq!(media["authentication_failures"], 0, "{record:#}");
        }
    }
    assert_eq!(teams.notes(), Vec::<String>::new());
    if let Some(capture) = capture {
        let trace = capture.read().await;
        trace.is_well_formed();
        let to_phone = format!("rtp && ip.src == {}", lab.sbc());
        // Payload type 8: A-law, as offered and answered, never the other side's key or codec.
        let kinds: std::collections::BTreeSet<String> = trace
            .select(&to_phone, &["rtp.p_type"])
            .into_iter()
            .collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["8"]);
    }
    sbc.stop().await;
}

async fn hung_up(call: &EmuCall, telephone: &Telephone) -> By {
    telephone.hang_up();
    call.ended().await.expect("an end").by
}
