//! Telephones of two makes at a hosted PBX: they hold, resume and hand on, and whoever is left hears whom it talks to.
//! Teams sees neither re-INVITE nor REFER of theirs (TDR-601, TDR-714).

use crate::baresip::Telephone;
use crate::emulated::{self, TEAMS_TONE};
use crate::kamailio;
use crate::lab::{Lab, PBX_COLLEAGUE, PBX_NUMBER, TEAMS_COLLEAGUE, TEAMS_NUMBER};
use crate::linphone::Linphone;
use crate::sbc::{Sbc, Setup};
use crate::tshark::{Capture, Trace};
use tollgate::emulate::{By, EmuCall};

const LINPHONE_TONE: f64 = 700.0;
const OTHER_LINPHONE_TONE: f64 = 800.0;
const BARESIP_TONE: f64 = 600.0;
const COLLEAGUE_TONE: f64 = 520.0;

/// Both hear each other, from now on.
async fn talk(teams: &EmuCall, linphone: &Linphone, tone: f64) {
    teams.hears_tone(tone).await.expect("the telephone");
    linphone.hears(TEAMS_TONE).await;
}

/// Calls each way between Teams and linphone, which holds, resumes and hangs up; then it hands its partner on to
/// baresip, which holds, resumes and hands it back. Teams has one dialog all the time.
#[tokio::test(flavor = "multi_thread")]
async fn telephones_hold_and_hand_on_to_each_other() {
    let lab = Lab::open();
    let _exchange = kamailio::exchange(&lab).await;
    let teams = emulated::teams(&lab, false).await;
    let sbc = Sbc::start_with(&lab, Setup::default()).await;
    let mut linphone = Linphone::start(&lab, 0, PBX_NUMBER, LINPHONE_TONE).await;
    let baresip = Telephone::start(&lab, PBX_COLLEAGUE, BARESIP_TONE).await;
    let capture = Capture::start(&lab).await;

    linphone.dial(TEAMS_NUMBER).await;
    let call = teams.incoming().await.expect("a call to Teams");
    call.answered().await.expect("an answer");
    talk(&call, &linphone, LINPHONE_TONE).await;
    linphone.hangs_up().await;
    assert_eq!(call.ended().await.expect("an end").by, By::Peer);

    let call = emulated::call(&teams).await;
    talk(&call, &linphone, LINPHONE_TONE).await;
    let id = linphone.calls().pop().expect("its call");
    linphone.holds().await;
    linphone.resumes(id).await;
    talk(&call, &linphone, LINPHONE_TONE).await;

    linphone.hands_on(id, PBX_COLLEAGUE).await;
    call.hears_tone(BARESIP_TONE).await.expect("baresip");
    baresip.hears_now(TEAMS_TONE).await;
    baresip.hold();
    call.falls_silent().await.expect("silence");
    baresip.resume();
    call.hears_tone(BARESIP_TONE).await.expect("baresip");
    baresip.transfer(&format!("sip:{PBX_NUMBER}@{}", lab.pbx()));
    talk(&call, &linphone, LINPHONE_TONE).await;

    let counts = call.counts();
    assert_eq!((counts.reinvites, counts.tags), (0, 1), "{counts:?}");
    call.bye().await;
    let records = sbc.is_at_rest(2).await;
    assert_eq!(records[0]["transferred_to"], PBX_NUMBER);
    assert_eq!(teams.notes(), Vec::<String>::new());
    sbc.stop().await;
    if let Some(capture) = capture {
        let trace = capture.read().await;
        trace.is_well_formed();
        baresip_was_sent_media_after_resuming(&lab, &trace);
    }
}

/// It stops writing down what it hears when it holds, so that this is seen on the wire only.
fn baresip_was_sent_media_after_resuming(lab: &Lab, trace: &Trace) {
    let frames = |filter: &str| -> Vec<u32> {
        let numbers = trace.select(filter, &["frame.number"]);
        numbers
            .iter()
            .filter_map(|number| number.parse().ok())
            .collect()
    };
    let resumes = format!(
        "sip.Method == INVITE && ip.dst == {} && sdp.media_attr == \"sendrecv\" \
         && sdp.media.port >= 31000 && sdp.media.port <= 31098",
        lab.sbc()
    );
    let resumed = frames(&resumes).pop().expect("a re-INVITE");
    let sent = format!(
        "rtp && ip.src == {} && udp.dstport >= 31000 && udp.dstport <= 31098",
        lab.sbc()
    );
    let after = frames(&sent).into_iter().filter(|frame| *frame > resumed);
    assert!(after.count() > 10);
}

/// TDR-714, TDR-412: a telephone talks to a colleague at its PBX before it hands its partner on: Replaces names a dialog
/// that Tollgate never saw. The colleague then joins that partner with another user of Teams.
#[tokio::test(flavor = "multi_thread")]
async fn a_telephone_asks_before_it_hands_on() {
    let lab = Lab::open();
    let _exchange = kamailio::exchange(&lab).await;
    let teams = emulated::teams(&lab, false).await;
    let sbc = Sbc::start_with(&lab, Setup::default()).await;
    let mut one = Linphone::start(&lab, 0, PBX_NUMBER, LINPHONE_TONE).await;
    let mut two = Linphone::start(&lab, 1, PBX_COLLEAGUE, OTHER_LINPHONE_TONE).await;

    let call = emulated::call(&teams).await;
    talk(&call, &one, LINPHONE_TONE).await;
    let first = one.calls().pop().expect("its call");
    one.holds().await;
    let asked = one.dial(PBX_COLLEAGUE).await;
    one.joins(first, asked).await;
    talk(&call, &two, OTHER_LINPHONE_TONE).await;

    let taken = two.calls().pop().expect("its call");
    two.holds().await;
    let asked = two.dial(TEAMS_COLLEAGUE).await;
    let colleague = teams.incoming().await.expect("a call to Teams");
    colleague.play(COLLEAGUE_TONE);
    colleague
        .hears_tone(OTHER_LINPHONE_TONE)
        .await
        .expect("the telephone");
    two.joins(taken, asked).await;
    call.hears_tone(COLLEAGUE_TONE)
        .await
        .expect("the colleague");
    colleague.hears_tone(TEAMS_TONE).await.expect("the caller");
    call.bye().await;
    assert_eq!(colleague.ended().await.expect("an end").by, By::Peer);

    sbc.is_at_rest(2).await;
    assert_eq!(teams.notes(), Vec::<String>::new());
    sbc.stop().await;
}

/// TDR-714: baresip, which knows no attended transfer of its own, is told what to write into Refer-To: it has two calls
/// with users of Teams and joins them.
#[tokio::test(flavor = "multi_thread")]
async fn baresip_joins_two_users_of_teams() {
    let lab = Lab::open();
    let _exchange = kamailio::exchange(&lab).await;
    let teams = emulated::teams(&lab, false).await;
    let sbc = Sbc::start_with(&lab, Setup::default()).await;
    let baresip = Telephone::start(&lab, PBX_NUMBER, BARESIP_TONE).await;

    let call = emulated::call(&teams).await;
    call.hears_tone(BARESIP_TONE).await.expect("baresip");
    let first = dialog_at_pbx(&sbc, &call).await;
    baresip.hold();
    baresip.dial(&format!("sip:{TEAMS_COLLEAGUE}@{}", lab.pbx()));
    let colleague = teams.incoming().await.expect("a call to Teams");
    colleague.play(COLLEAGUE_TONE);
    colleague.hears_tone(BARESIP_TONE).await.expect("baresip");
    baresip.transfer(&format!(
        "<sip:{TEAMS_NUMBER}@{}?Replaces={first}>",
        lab.pbx()
    ));
    call.hears_tone(COLLEAGUE_TONE)
        .await
        .expect("the colleague");
    colleague.hears_tone(TEAMS_TONE).await.expect("the caller");
    colleague.bye().await;
    assert_eq!(call.ended().await.expect("an end").by, By::Peer);

    sbc.is_at_rest(2).await;
    assert_eq!(teams.notes(), Vec::<String>::new());
    sbc.stop().await;
}

/// How the PBX names its dialog of this call to Tollgate, escaped for a URI.
async fn dialog_at_pbx(sbc: &Sbc, call: &EmuCall) -> String {
    let ladder = sbc
        .api
        .get(&format!("/calls/{}/ladder", call.call_id()))
        .await;
    let messages = ladder["messages"].as_array().expect("messages");
    let answer = messages
        .iter()
        .filter(|message| message["peer"] == "pbx" && message["sent"] == false)
        .filter_map(|message| message["text"].as_str())
        .find(|text| text.starts_with("SIP/2.0 200") && text.contains(" INVITE\r\n"));
    let answer = answer.expect("an answer");
    let after = |name: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {answer}"))
            .trim()
    };
    let tag = |name| after(name).split_once(";tag=").expect("a tag").1;
    let (ours, theirs) = (tag("From:"), tag("To:"));
    format!(
        "{}%3Bto-tag%3D{ours}%3Bfrom-tag%3D{theirs}",
        after("Call-ID:")
    )
}
