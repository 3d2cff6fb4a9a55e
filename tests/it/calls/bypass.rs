//! Calls past Microsoft's media processors: the emulated Teams is a client with full ICE that controls and nominates,
//! and sends nothing before it has a path.

use super::lab::{Lab, PBX_NUMBER, PBX_TONE, Setup, TEAMS_NUMBER, both_hear};
use std::time::Duration;
use tollgate::emulate::{Behaviour, By, EmuCall, Hold, Phase};

async fn lab() -> Lab {
    let setup = Setup {
        media_bypass: true,
        ..Setup::default()
    };
    Lab::start(setup).await
}

/// The attributes of ICE in the last message that begins so.
fn ice(call: &EmuCall, start: &str) -> Vec<String> {
    let text = call.message(start).unwrap_or_else(|| panic!("no {start}"));
    let is_ice = |line: &&str| line.starts_with("a=ice") || line.starts_with("a=candidate");
    text.lines().filter(is_ice).map(str::to_owned).collect()
}

/// TDR-801, TDR-840: a call from Teams, and one to it, whose media goes to a client that checks, nominates and then goes
/// on asking for consent; hold and resume change nothing of that. The PBX hears of no ICE (TDR-819), and there is no
/// session timer towards Teams (TDR-512).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_ice_hear_and_are_heard() {
    let lab = lab().await;
    for from_teams in [true, false] {
        let (teams, pbx) = if from_teams {
            lab.call_from_teams().await
        } else {
            lab.call_from_pbx().await
        };
        both_hear(&teams, &pbx).await;
        teams.hold(Hold::Inactive).await.unwrap();
        teams.resume().await.unwrap();
        both_hear(&teams, &pbx).await;
        let report = teams.report();
        assert!(report.nominated && report.checks.1 > 2, "{report:?}");
        assert_eq!((report.check_fault, report.strangers), (None, 0));
        for message in pbx.messages() {
            assert!(!message.text.contains("a=ice") && !message.text.contains("a=candidate"));
        }
        if !from_teams {
            assert!(!teams.invite().contains("Session-Expires"));
        }
        teams.bye().await;
        assert_eq!(pbx.ended().await.unwrap().by, By::Peer);
    }
    lab.close().await;
}

/// TDR-508, TDR-843: what the PBX plays before it answers is heard by the client, which nominates after the 183 and
/// never again; digits pass in that phase, too (TDR-509); the 200 says the same of ICE as the 183.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_media_flows_over_the_nominated_path() {
    let lab = lab().await;
    lab.pbx
        .behave(PBX_NUMBER, Behaviour::EarlyMedia(Duration::from_secs(3600)));
    let caller = lab.dial_from_teams().await;
    let called = lab.pbx.incoming().await.unwrap();
    caller.hears_tone(PBX_TONE).await.unwrap();
    assert_eq!(caller.phase(), Phase::Ringing);
    assert!(caller.report().nominated);
    caller.dial("7");
    called
        .hears(|_| called.report().digits == "7")
        .await
        .expect("the digit");
    let early = ice(&caller, "SIP/2.0 183");
    called.answer().await;
    caller.answered().await.unwrap();
    assert_eq!((early.len(), ice(&caller, "SIP/2.0 200")), (4, early));
    both_hear(&caller, &called).await;
    caller.bye().await;
    assert_eq!(called.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}

/// TDR-842: two clients ring, both check and nominate before one of them answers. The one that does is heard and hears;
/// the other one's checks are answered, and it hears nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_clients_the_one_that_answers_is_heard() {
    let lab = lab().await;
    lab.teams.behave(TEAMS_NUMBER, Behaviour::Manual);
    let pbx = lab.dial_from_pbx(|_| {}).await;
    let teams = lab.teams.incoming().await.unwrap();
    teams.ring().await;
    let both = || teams.report().nominated && teams.fork_report().is_some_and(|r| r.nominated);
    teams
        .hears(|_| both())
        .await
        .expect("both nominate before the answer");
    teams.answer().await;
    pbx.answered().await.unwrap();
    both_hear(&teams, &pbx).await;
    let answered = teams.fork_report().unwrap().checks.1;
    let later = teams.hears(|_| teams.fork_report().is_some_and(|r| r.checks.1 > answered));
    later
        .await
        .expect("the other client's checks are still answered");
    let fork = teams.fork_report().unwrap();
    assert_eq!(
        (fork.received, fork.refused, fork.check_fault),
        (0, 0, None)
    );
    pbx.bye().await;
    assert_eq!(teams.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}

/// TDR-844: the call moves to another endpoint, at another port and with another key. The restart is answered with new
/// credentials and the same candidate, which the emulator insists on, and both hear each other again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_moves_to_another_endpoint() {
    let lab = lab().await;
    let (teams, pbx) = lab.call_from_teams().await;
    both_hear(&teams, &pbx).await;
    for _ in 0..2 {
        teams.restart_ice().await.unwrap();
        both_hear(&teams, &pbx).await;
        let report = teams.report();
        assert!(
            report.nominated && report.check_fault.is_none(),
            "{report:?}"
        );
    }
    teams.refresh().await.unwrap();
    both_hear(&teams, &pbx).await;
    pbx.bye().await;
    assert_eq!(teams.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}
