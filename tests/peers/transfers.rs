//! Teams hands its partner on, and goes on by another dialog: sipp behind the TLS edge (TDR section 7).

use crate::kamailio;
use crate::lab::{CUSTOMER, Lab, PBX_COLLEAGUE};
use crate::sbc::{Sbc, Setup};
use crate::script::Script;
use crate::sipp::{Scenario, Sipp};

/// A user of Teams, as Teams writes it: no user part, parameters that nobody else knows, case and escapes that count.
const COLLEAGUE: &str = "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:fce2158f-0E99-4ff7-a0b3-5b6b87d16689;\
    x-t=Tenant-8A1b;unknown;x-c=i/d/8/8a8%2f";
/// A number outside, which Teams itself goes on to (TDR-703).
const OUTSIDE: &str =
    "sip:+442075550999@sip.pstnhub.microsoft.com:5061;user=phone;transport=tls;x-ti=a.B";
const MUSIC: &str =
    "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=28:app%3aMusicOnHold;x-t=8A1b-Cd";
/// Who hands on; `x-tt` is Base64.
const REFERRED_BY: &str = "sip:sip.pstnhub.microsoft.com:5061;x-m=8:orgid:AbC;x-t=4dCafc31;x-ti=b712D12c;x-tt=Q2FsbEFi%3D%3d";

/// The target at Teams, or Microsoft's music: it is called, answers, and is hung up on.
fn target(lab: &Lab, rings: bool) -> Sipp {
    let mut script = Script::teams().hears_call().tries();
    if rings {
        script = script.says("180 Ringing", "one", None);
    }
    let script = script.answers("one").hears_bye();
    Scenario::of_teams_called("target", script, lab, lab.microsoft()).start(lab)
}

/// Who calls the PBX, hands it on there, and leaves.
fn transferor(lab: &Lab, refer_to: &str) -> Sipp {
    let script = Script::teams().calls("").may_hear_ringing().hears_answer();
    let script = script.refers(refer_to, REFERRED_BY).hangs_up();
    Scenario::of_teams("transferor", script, lab).start(lab)
}

/// A call of Teams that takes the place of a dialog, and is hung up on.
fn replacement(lab: &Lab, dialog: &str) -> Sipp {
    let headers = format!("Replaces: {dialog}\nRequire: replaces\n");
    let script = Script::teams().calls(&headers).hears_answer();
    Scenario::of_teams("replacement", script.hears_bye(), lab)
        .port(5071)
        .start(lab)
}

/// TDR-702 to TDR-708: 202, then NOTIFY 100, 180 and 200. A Microsoft URI is called byte for byte at Teams, with
/// Referred-By and in a dialog with a key of its own (TDR-836); a number at our gateway's name is called at the PBX.
/// Who stays hears nothing of it, and the two that are left are one call.
#[tokio::test(flavor = "multi_thread")]
async fn teams_hands_on_byte_for_byte() {
    let lab = Lab::open();
    let _edge = kamailio::edge(&lab).await;
    let sbc = Sbc::start_with(&lab, Setup::default()).await;
    let told = ["100 active", "180 active", "200 terminated"];

    for refer_to in [COLLEAGUE, OUTSIDE] {
        let mut pbx = Scenario::pbx_answers(&lab).start(&lab);
        let mut target = target(&lab, true);
        let mut teams = transferor(&lab, refer_to);
        teams.succeeds().await;
        assert_eq!(teams.all_told("heard"), ["202"]);
        assert_eq!(teams.all_told("notified"), told);
        assert_eq!(target.all_told("called"), [refer_to]);
        assert_eq!(target.all_told("to"), [refer_to]);
        assert_eq!(target.all_told("referred by"), [REFERRED_BY]);
        assert_ne!(teams.tells("key").await, target.tells("key").await);
        sbc.answered(1).await;
        sbc.hang_up_one().await;
        target.succeeds().await;
        pbx.succeeds().await;
    }

    let mut pbx = Scenario::pbx_answers(&lab).calls(2).start(&lab);
    let refer_to = format!("sip:{PBX_COLLEAGUE}@{CUSTOMER}:5061;user=phone;transport=tls");
    let mut teams = transferor(&lab, &refer_to);
    teams.succeeds().await;
    assert_eq!(teams.all_told("notified"), told);
    sbc.answered(1).await;
    sbc.hang_up_one().await;
    pbx.succeeds().await;

    let records = sbc.is_at_rest(3).await;
    let ends: Vec<_> = records.iter().map(|record| &record["ended_by"]).collect();
    assert_eq!(ends, ["operator"; 3]);
    assert_eq!(records[0]["transferred_to"], PBX_COLLEAGUE);
    assert_eq!(records[1]["transferred_to"], "+442075550999");
    sbc.stop().await;
}

/// TDR-711: Teams goes on by another dialog, the old one hears BYE, the PBX nothing. A dialog that is not there, or not
/// quite, is 481, and the call does not notice.
#[tokio::test(flavor = "multi_thread")]
async fn teams_goes_on_by_another_dialog() {
    let lab = Lab::open();
    let _edge = kamailio::edge(&lab).await;
    let sbc = Sbc::start_with(&lab, Setup::default()).await;
    let mut pbx = Scenario::pbx_answers(&lab).start(&lab);
    let script = Script::teams().calls("").may_hear_ringing().hears_answer();
    let mut first = Scenario::of_teams("first", script.hears_bye(), &lab).start(&lab);
    let dialog = first.tells("dialog").await;
    sbc.answered(1).await;

    let other_tag = dialog.replace("from-tag=", "from-tag=x");
    for (port, unknown) in [(5072, "nobody;to-tag=a;from-tag=b"), (5073, &other_tag)] {
        let script = Script::teams()
            .calls(&format!("Replaces: {unknown}\n"))
            .hears_refusal(481);
        let mut refused = Scenario::of_teams("unknown", script, &lab)
            .port(port)
            .start(&lab);
        refused.succeeds().await;
    }
    sbc.comes_to(1).await;

    let mut second = replacement(&lab, &dialog);
    let successor = second.tells("dialog").await;
    first.succeeds().await;
    assert_ne!(first.tells("key").await, second.tells("key").await);
    assert_ne!(dialog, successor);
    sbc.answered(1).await;
    sbc.hang_up_one().await;
    second.succeeds().await;
    pbx.succeeds().await;

    let records = sbc.is_at_rest(3).await;
    let codes: Vec<_> = records.iter().map(|record| &record["sip_code"]).collect();
    let refused = codes.iter().filter(|code| ***code == 481).count();
    assert_eq!(refused, 2, "{codes:?}");
    sbc.stop().await;
}

/// TDR-605, form B of hold: Teams hands its partner on to Microsoft's music, and comes back with Replaces of the music's
/// dialog. The PBX sees nothing of it, and nobody was transferred.
#[tokio::test(flavor = "multi_thread")]
async fn teams_holds_with_its_own_music() {
    let lab = Lab::open();
    let _edge = kamailio::edge(&lab).await;
    let sbc = Sbc::start_with(&lab, Setup::default()).await;
    let mut pbx = Scenario::pbx_answers(&lab).start(&lab);
    let mut music = target(&lab, false);
    let mut teams = transferor(&lab, MUSIC);
    teams.succeeds().await;
    assert_eq!(teams.all_told("notified"), ["100 active", "200 terminated"]);
    assert_eq!(music.all_told("called"), [MUSIC]);

    let mut back = replacement(&lab, &music.tells("dialog").await);
    back.tells("dialog").await;
    music.succeeds().await;
    sbc.answered(1).await;
    sbc.hang_up_one().await;
    back.succeeds().await;
    pbx.succeeds().await;
    let records = sbc.is_at_rest(1).await;
    assert_eq!(records[0]["sip_code"], 200);
    assert!(records[0]["transferred_to"].is_null(), "{:#}", records[0]);
    sbc.stop().await;
}
