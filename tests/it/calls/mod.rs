//! Whole calls through a running SBC: real sockets, TLS and SRTP, peers that share no code with it, judged by what is
//! heard. After each test every channel is free again and no peer has noted a broken rule.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

mod announcements;
mod attacks;
mod bypass;
pub mod lab;

use std::collections::HashMap;
use std::time::Duration;

use lab::{A_WHILE, Lab, PBX_NUMBER, PBX_TONE, Setup, TEAMS_NUMBER, TEAMS_TONE, both_hear};
use serde_json::json;
use tollgate::emulate::{
    Behaviour, By, CallError, Carrier, Credentials, EmuCall, Ended, Hold, Law, Phase,
};

/// How a call that nobody took ended.
pub async fn refused(call: &EmuCall) -> Ended {
    match call.answered().await {
        Err(CallError::Ended(ended)) => ended,
        other => panic!("{other:?}"),
    }
}

/// Digits pressed at either end arrive at the other (RFC 4733), while both hear each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn digits_pass_both_ways() {
    let lab = Lab::plain().await;
    let (teams, pbx) = lab.call_from_teams().await;
    both_hear(&teams, &pbx).await;
    teams.dial("12#");
    pbx.dial("98*");
    let arrived = teams
        .hears(|_| teams.report().digits == "98*" && pbx.report().digits == "12#")
        .await;
    assert!(arrived.is_ok(), "{:?} {:?}", teams.report(), pbx.report());
    pbx.bye().await;
    assert_eq!(teams.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}

/// A session refresh of either side is answered by us and never reaches the other (TDR-512, TDR-513).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_stays_on_its_side() {
    let lab = Lab::plain().await;
    let (teams, pbx) = lab.call_from_teams().await;
    for _ in 0..2 {
        teams.refresh().await.unwrap();
        pbx.refresh().await.unwrap();
    }
    pbx.reinvite_without_offer().await.unwrap();
    both_hear(&teams, &pbx).await;
    assert_eq!((teams.counts().reinvites, pbx.counts().reinvites), (0, 0));
    teams.bye().await;
    assert_eq!(pbx.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}

/// However the PBX holds, Teams is never told (TDR-601, TDR-602): it hears the PBX's music where that sends some and
/// ours where it is silent, and resuming brings both tones back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn teams_hears_music_while_the_pbx_holds() {
    let lab = Lab::plain().await;
    let (teams, pbx) = lab.call_from_pbx().await;
    for hold in [Hold::Inactive, Hold::SendOnly, Hold::ZeroAddress] {
        both_hear(&teams, &pbx).await;
        pbx.hold(hold).await.unwrap();
        if hold == Hold::Inactive {
            teams.hears_melody(PBX_TONE).await.expect("music alone");
        } else {
            teams
                .hears_tone(PBX_TONE)
                .await
                .expect("the PBX's own music");
        }
        pbx.falls_silent()
            .await
            .unwrap_or_else(|e| panic!("{hold:?}: the holder hears Teams: {e}"));
        pbx.resume().await.unwrap();
    }
    both_hear(&teams, &pbx).await;
    assert_eq!(teams.counts().reinvites, 0);
    pbx.bye().await;
    assert_eq!(teams.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}

/// While Teams holds, in either form, the PBX hears our music and nothing of Teams (TDR-604).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pbx_hears_music_while_teams_holds() {
    let lab = Lab::plain().await;
    let (teams, pbx) = lab.call_from_teams().await;
    both_hear(&teams, &pbx).await;
    teams.hold(Hold::Inactive).await.unwrap();
    pbx.hears_melody(TEAMS_TONE).await.expect("music alone");
    let reports = teams.report().rtcp_received;
    let later = pbx.hears(|_| teams.report().rtcp_received > reports).await;
    assert!(later.is_ok(), "RTCP must go on while Teams holds (TDR-815)");
    teams
        .falls_silent()
        .await
        .expect("Teams hears the PBX while it holds");
    teams.resume().await.unwrap();
    both_hear(&teams, &pbx).await;
    teams.bye().await;
    assert_eq!(pbx.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}

/// A caller that hangs up while it rings stops the ringing at the other end, and hears 487.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_call_stops_ringing() {
    let lab = Lab::plain().await;
    lab.pbx.behave(PBX_NUMBER, Behaviour::Ring);
    lab.teams.behave(TEAMS_NUMBER, Behaviour::Ring);
    let caller = lab.dial_from_teams().await;
    caller.ringing().await.unwrap();
    let called = lab.pbx.incoming().await.unwrap();
    caller.cancel().await;
    assert_eq!(
        (
            caller.ended().await.unwrap().status,
            called.ended().await.unwrap().by
        ),
        (487, By::Peer)
    );

    let caller = lab.dial_from_pbx(|_| {}).await;
    caller.ringing().await.unwrap();
    let called = lab.teams.incoming().await.unwrap();
    caller.cancel().await;
    assert_eq!(
        (
            caller.ended().await.unwrap().status,
            called.ended().await.unwrap().by
        ),
        (487, By::Peer)
    );
    lab.close().await;
}

/// Busy and declined stay what they are; Teams' cause 34 for busy becomes 17, or a carrier would take it for
/// congestion (TDR-516).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_passes_with_its_cause() {
    let lab = Lab::plain().await;
    for (status, cause) in [(486, "cause=17"), (603, "cause=21")] {
        lab.pbx.behave(PBX_NUMBER, Behaviour::Refuse(status));
        lab.teams.behave(TEAMS_NUMBER, Behaviour::Refuse(status));
        for ended in [
            refused(&lab.dial_from_teams().await).await,
            refused(&lab.dial_from_pbx(|_| {}).await).await,
        ] {
            assert_eq!(ended.status, status);
            assert!(
                ended.reason.as_deref().is_some_and(|r| r.contains(cause)),
                "{ended:?}"
            );
        }
    }
    let unknown = lab
        .dial_from_pbx(|call| call.to = "+19995550000".into())
        .await;
    assert_eq!(refused(&unknown).await.status, 404);
    lab.close().await;
}

/// A PBX that redirects is not followed, and Teams is not asked to (TDR-515).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirection_becomes_a_final_answer() {
    let lab = Lab::plain().await;
    lab.pbx.behave(
        PBX_NUMBER,
        Behaviour::Redirect("sip:+1900@premium.example".into()),
    );
    let ended = refused(&lab.dial_from_teams().await).await;
    assert!((400..700).contains(&ended.status), "{ended:?}");
    lab.close().await;
}

/// What the PBX plays before it answers is heard at Teams (TDR-508).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_media_reaches_teams() {
    let lab = Lab::plain().await;
    lab.pbx
        .behave(PBX_NUMBER, Behaviour::EarlyMedia(Duration::from_secs(3600)));
    let caller = lab.dial_from_teams().await;
    let called = lab.pbx.incoming().await.unwrap();
    caller.hears_tone(PBX_TONE).await.unwrap();
    assert_eq!(caller.phase(), Phase::Ringing);
    called.answer().await;
    caller.answered().await.unwrap();
    both_hear(&caller, &called).await;
    caller.bye().await;
    assert_eq!(called.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}

/// An INVITE without an offer from a PBX still reaches Teams with one (TDR-411).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_without_an_offer_becomes_a_call() {
    let lab = Lab::plain().await;
    let pbx = lab.dial_from_pbx(|call| call.without_offer = true).await;
    pbx.answered().await.unwrap();
    let teams = lab.teams.incoming().await.unwrap();
    assert!(teams.invite().contains("\r\nm=audio "));
    both_hear(&teams, &pbx).await;
    teams.bye().await;
    assert_eq!(pbx.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}

/// TDR-113: the same over IPv6 alone, signalling and media: calls both ways, hold and resume, and addresses of that family
/// in every description.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_over_ipv6() {
    let setup = Setup {
        at: std::net::Ipv6Addr::LOCALHOST.into(),
        ..Setup::default()
    };
    let lab = Lab::start(setup).await;
    let (teams, pbx) = lab.call_from_teams().await;
    both_hear(&teams, &pbx).await;
    teams.hold(Hold::Inactive).await.unwrap();
    pbx.hears_melody(TEAMS_TONE).await.expect("music alone");
    teams.resume().await.unwrap();
    both_hear(&teams, &pbx).await;
    teams.bye().await;
    assert_eq!(pbx.ended().await.unwrap().by, By::Peer);
    let (teams, pbx) = lab.call_from_pbx().await;
    both_hear(&teams, &pbx).await;
    let invite = teams.invite();
    assert!(
        invite.contains("c=IN IP6 ::1") && !invite.contains("IP4"),
        "{invite}"
    );
    pbx.bye().await;
    assert_eq!(teams.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}

/// A trunk over TCP carries calls both ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_over_tcp_works_both_ways() {
    let setup = Setup {
        pbx: |pbx| pbx.carrier = Carrier::Tcp,
        trunk: json!({ "transport": "tcp" }),
        ..Setup::default()
    };
    let lab = Lab::start(setup).await;
    let (teams, pbx) = lab.call_from_teams().await;
    both_hear(&teams, &pbx).await;
    pbx.bye().await;
    assert_eq!(teams.ended().await.unwrap().by, By::Peer);
    let (teams, pbx) = lab.call_from_pbx().await;
    both_hear(&teams, &pbx).await;
    teams.bye().await;
    assert_eq!(pbx.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}

/// With digest on the trunk each side proves itself to the other, by MD5 or SHA-256.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_with_digest_proves_itself_both_ways() {
    for with in [
        |pbx: &mut tollgate::emulate::PbxConfig| trusted(pbx, false),
        |pbx: &mut tollgate::emulate::PbxConfig| trusted(pbx, true),
    ] {
        let lab = Lab::start(Setup {
            pbx: with,
            trunk: digest(),
            ..Setup::default()
        })
        .await;
        let (teams, pbx) = lab.call_from_teams().await;
        both_hear(&teams, &pbx).await;
        pbx.bye().await;
        assert_eq!(teams.ended().await.unwrap().by, By::Peer);
        let (teams, pbx) = lab.call_from_pbx().await;
        both_hear(&teams, &pbx).await;
        pbx.bye().await;
        assert_eq!(teams.ended().await.unwrap().by, By::Peer);
        lab.close().await;
    }
}

fn trusted(pbx: &mut tollgate::emulate::PbxConfig, sha256: bool) {
    let credentials = Credentials {
        username: "contoso".into(),
        password: "s3same".into(),
    };
    pbx.users = HashMap::from([(credentials.username.clone(), credentials.password.clone())]);
    pbx.credentials = Some(credentials);
    (pbx.challenge_calls, pbx.sha256) = (true, sha256);
}

fn digest() -> serde_json::Value {
    json!({ "auth": "digest", "username": "contoso", "password": "s3same" })
}

/// A wrong password lets nobody in, and no call reaches Teams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_refused() {
    let guess = |pbx: &mut tollgate::emulate::PbxConfig| {
        pbx.credentials = Some(Credentials {
            username: "contoso".into(),
            password: "guess".into(),
        });
    };
    let lab = Lab::start(Setup {
        pbx: guess,
        trunk: digest(),
        ..Setup::default()
    })
    .await;
    let ended = refused(&lab.dial_from_pbx(|_| {}).await).await;
    assert!([401, 403, 407].contains(&ended.status), "{ended:?}");
    tokio::time::sleep(A_WHILE).await;
    assert!(
        lab.teams
            .trace()
            .messages()
            .iter()
            .all(|m| !m.first_line.starts_with("INVITE"))
    );
    lab.close().await;
}

/// Teams' BYE or a new call may come on another connection than the INVITE (TDR-142), and several calls at once keep
/// their sound apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_keep_their_sound_apart() {
    let lab = Lab::plain().await;
    let mut calls = Vec::new();
    for n in 0..4 {
        let (teams, pbx) = if n % 2 == 0 {
            lab.call_from_teams().await
        } else {
            lab.call_from_pbx().await
        };
        let (at_teams, at_pbx) = (500.0 + 100.0 * f64::from(n), 1000.0 + 100.0 * f64::from(n));
        teams.play(at_teams);
        pbx.play(at_pbx);
        calls.push((teams, pbx, at_teams, at_pbx));
    }
    for (teams, pbx, at_teams, at_pbx) in &calls {
        teams.hears_tone(*at_pbx).await.unwrap();
        pbx.hears_tone(*at_teams).await.unwrap();
    }
    assert_eq!(refused(&lab.dial_from_teams().await).await.status, 486);
    for (teams, pbx, ..) in &calls {
        teams.bye().await;
        assert_eq!(pbx.ended().await.unwrap().by, By::Peer);
    }
    lab.close().await;
}

/// `tollgate why` tells of a refused call while the SBC runs, by the Call-ID that the caller knows: from the spool or
/// from the database, wherever the record is by then. A call that nobody made is no call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_call_is_explained_on_the_command_line() {
    let lab = Lab::plain().await;
    let call = lab
        .dial_from_pbx(|call| call.to = "+14255559999".into())
        .await;
    refused(&call).await;
    let why = async |call: String| {
        let config = lab.config();
        let run = move || {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"));
            command.args(["why", &call, "--config"]).arg(config);
            command.output().unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    let mut told = why(call.call_id().to_owned()).await;
    for _ in 0..50 {
        if told.status.success() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        told = why(call.call_id().to_owned()).await;
    }
    let text = String::from_utf8(told.stdout).unwrap();
    for words in [
        "the peer is pbx, known by its address",
        "called +14255559999",
        "nobody's number",
        "ended with 404",
    ] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let nobody = why("nobody@nowhere".to_owned()).await;
    assert_eq!(nobody.status.code(), Some(64));
    lab.close().await;
}

/// A PBX that knows µ-law alone and a Teams that knows A-law alone hear each other, whoever calls, and each other's digits;
/// what Teams hears while the PBX holds is in its own law, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shares_no_law_hears_the_other_all_the_same() {
    let lab = Lab::start(Setup {
        pbx: |config| config.law = Some(Law::Mu),
        teams: |config| config.law = Some(Law::A),
        ..Setup::default()
    })
    .await;
    for teams_calls in [true, false] {
        let (teams, pbx) = match teams_calls {
            true => lab.call_from_teams().await,
            false => lab.call_from_pbx().await,
        };
        both_hear(&teams, &pbx).await;
        teams.dial("5#");
        pbx.dial("6*");
        let arrived = teams
            .hears(|_| teams.report().digits == "6*" && pbx.report().digits == "5#")
            .await;
        assert!(arrived.is_ok(), "{:?} {:?}", teams.report(), pbx.report());
        pbx.hold(Hold::Inactive).await.unwrap();
        teams.hears_melody(PBX_TONE).await.expect("music alone");
        pbx.resume().await.unwrap();
        both_hear(&teams, &pbx).await;
        pbx.bye().await;
        assert_eq!(teams.ended().await.unwrap().by, By::Peer);
    }
    lab.close().await;
}

/// TDR-813: keys pressed at Teams reach a PBX that has them by INFO, one request each and in order, and none by its media.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn digits_of_teams_reach_the_pbx_by_info() {
    let lab = Lab::start(Setup {
        trunk: json!({ "profile": { "dtmf": "info" } }),
        ..Setup::default()
    })
    .await;
    let (teams, pbx) = lab.call_from_teams().await;
    both_hear(&teams, &pbx).await;
    teams.dial("15#");
    let told = pbx.sees(|messages| {
        let infos = messages
            .iter()
            .filter(|m| m.first_line.starts_with("INFO "));
        let signals = infos.filter_map(|m| m.text.split_once("Signal=")?.1.chars().next());
        let signals: String = signals.collect();
        (signals.len() >= 3).then_some(signals)
    });
    assert_eq!(told.await.unwrap(), "15#");
    both_hear(&teams, &pbx).await;
    assert_eq!(pbx.report().digits, "");
    pbx.bye().await;
    assert_eq!(teams.ended().await.unwrap().by, By::Peer);
    lab.close().await;
}
