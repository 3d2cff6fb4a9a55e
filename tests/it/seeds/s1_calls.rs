//! What the partner's portal does to calls: a running SBC between an emulated Teams and an emulated PBX, and its API.

use crate::calls::lab::{Lab, PBX_NUMBER, Setup, TEAMS_NUMBER, both_hear};
use crate::calls::refused;
use serde_json::{Value, json};
use std::time::Duration;
use tollgate::emulate::{Behaviour, EmuCall, Ended};

/// A Sync through the API, over when this returns: what came of it.
async fn sync(lab: &Lab) -> Value {
    let path = format!("{}/sync?wait=20", lab.customer());
    let (status, task) = lab.api("POST", &path, json!(null)).await;
    assert_eq!(status, 202);
    assert!(task["result"].is_object(), "{task}");
    task["result"].clone()
}

/// The status by which a call to the customer's number is refused.
async fn call_is_refused(lab: &Lab) -> u16 {
    refused(&lab.dial_from_pbx(|_| {}).await).await.status
}

async fn call_passes(lab: &Lab) {
    let (teams, pbx) = lab.call_from_pbx().await;
    both_hear(&teams, &pbx).await;
    pbx.bye().await;
    teams.ended().await.unwrap();
}

/// A number serves from the Sync after it was added to the Sync after it was removed, and both Syncs make one directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p_15_p_16_p_20_p_21_a_number_serves_between_two_syncs() {
    let lab = Lab::plain().await;
    let numbers = format!("{}/numbers", lab.customer());
    let place = format!("{numbers}/{TEAMS_NUMBER}");
    let removal = format!("{place}?confirm=true&disposition=delete");
    let (status, _) = lab.api("DELETE", &place, json!(null)).await;
    assert_eq!(status, 428);
    let (status, row) = lab.api("DELETE", &removal, json!(null)).await;
    assert_eq!((status, &row["status"]), (202, &json!("pending_remove")));
    call_passes(&lab).await;
    let before = lab.generation();
    sync(&lab).await;
    assert_eq!(lab.generation(), before + 1);
    assert_eq!(call_is_refused(&lab).await, 404);

    let (status, _) = lab
        .api("POST", &numbers, json!({ "numbers": [TEAMS_NUMBER] }))
        .await;
    assert_eq!(status, 201);
    assert_eq!(call_is_refused(&lab).await, 404, "P-15: not before a Sync");
    let before = lab.generation();
    let result = sync(&lab).await;
    assert_eq!(
        (&result["counts"]["added"], lab.generation()),
        (&json!(1), before + 1)
    );
    call_passes(&lab).await;
    let again = sync(&lab).await;
    assert_eq!(
        (&again["counts"]["added"], lab.generation()),
        (&json!(0), before + 1)
    );
    lab.close().await;
}

/// A number on a seat that is none of Teams is not routed there; when the seat is free and Teams', it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p_17_a_number_of_another_seat_is_not_routed() {
    let lab = Lab::start(Setup {
        more: "[seats]\nfolder = \"{dir}\"\n",
        ..Setup::default()
    })
    .await;
    let place = format!("{}/numbers/{TEAMS_NUMBER}", lab.customer());
    let file = lab.folder().join("contoso.csv");
    let says = |kind: &str| {
        let text = format!("id,kind,upn,numbers\n1,{kind},jo@contoso.example,{TEAMS_NUMBER}\n");
        std::fs::write(&file, text).unwrap();
    };
    says("other");
    let result = sync(&lab).await;
    assert_eq!(result["counts"]["blocked"], 1);
    let (_, row) = lab.api("GET", &place, json!(null)).await;
    assert_eq!(row["status"], "blocked_non_teams_seat");
    assert_eq!(call_is_refused(&lab).await, 404);
    let before = lab.teams.trace().messages().len();
    says("teams");
    sync(&lab).await;
    call_passes(&lab).await;
    assert!(lab.teams.trace().messages().len() > before);
    std::fs::remove_file(&file).unwrap();
    let result = sync(&lab).await;
    assert_eq!(result["error"]["code"], "backend_unknown_account");
    call_passes(&lab).await;
    lab.close().await;
}

async fn with_channels(max_channels: u32) -> Lab {
    Lab::start(Setup {
        customer: json!({ "max_channels": max_channels }),
        ..Setup::default()
    })
    .await
}

/// What the API says of the customer's channels.
async fn in_use(lab: &Lab) -> u64 {
    let path = format!("{}/channels", lab.customer());
    let (_, channels) = lab.api("GET", &path, json!(null)).await;
    channels["in_use"].as_u64().unwrap()
}

/// Waits until so many calls are left.
async fn left(lab: &Lab, calls: u64) {
    for _ in 0..500 {
        if in_use(lab).await == calls {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} channels are in use, not {calls}", in_use(lab).await);
}

async fn set(lab: &Lab, customer: Value) {
    let (status, body) = lab.api("PATCH", &lab.customer(), customer).await;
    assert_eq!(status, 200, "{body}");
}

fn is_limit(ended: &Ended) {
    let reason = ended.reason.as_deref().unwrap_or_default();
    assert_eq!(ended.status, 486, "{ended:?}");
    assert!(
        reason.contains("Q.850") && reason.contains("cause=34"),
        "{ended:?}"
    );
}

/// Refused from both sides.
async fn is_full(lab: &Lab) {
    is_limit(&refused(&lab.dial_from_teams().await).await);
    is_limit(&refused(&lab.dial_from_pbx(|_| {}).await).await);
}

/// Two channels, two calls: the third is refused from either side, and passes after a BYE.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p_28_the_third_of_two_calls_is_refused() {
    let lab = with_channels(2).await;
    let (first, _first_pbx) = lab.call_from_teams().await;
    let _second = lab.call_from_teams().await;
    is_full(&lab).await;
    first.bye().await;
    left(&lab, 1).await;
    let _third = lab.call_from_pbx().await;
    drop((_first_pbx, _second, _third));
    end(&lab).await;
    lab.close().await;
}

/// Hangs up what there is, as an operator would.
async fn end(lab: &Lab) {
    let (_, calls) = lab.api("GET", "/api/v1/calls", json!(null)).await;
    for call in calls["items"].as_array().unwrap() {
        let path = format!("/api/v1/calls/{}", call["id"].as_str().unwrap());
        lab.api("DELETE", &path, json!(null)).await;
    }
    left(lab, 0).await;
}

async fn ringing(lab: &Lab) -> EmuCall {
    let call = lab.dial_from_teams().await;
    call.ringing().await.unwrap();
    call
}

/// A ringing call has its channel, and gives it back at once when the caller gives up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p_29_ringing_calls_count() {
    let lab = with_channels(2).await;
    lab.pbx.behave(PBX_NUMBER, Behaviour::Ring);
    let (first, second) = (ringing(&lab).await, ringing(&lab).await);
    is_full(&lab).await;
    first.cancel().await;
    assert_eq!(first.ended().await.unwrap().status, 487);
    left(&lab, 1).await;
    let third = ringing(&lab).await;
    for call in [second, third] {
        call.cancel().await;
        call.ended().await.unwrap();
    }
    lab.close().await;
}

/// One in and one out are two of two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p_30_both_directions_count_together() {
    let lab = with_channels(2).await;
    let _out = lab.call_from_teams().await;
    let _in = lab.call_from_pbx().await;
    assert_eq!(in_use(&lab).await, 2);
    is_full(&lab).await;
    end(&lab).await;
    lab.close().await;
}

/// A higher limit lets the next call in without a restart; a lower one cuts nobody off, and lets nobody in until enough
/// have gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p_31_a_new_limit_holds_for_the_next_call() {
    let lab = with_channels(2).await;
    let mut calls = vec![lab.call_from_teams().await, lab.call_from_teams().await];
    is_full(&lab).await;
    set(&lab, json!({ "max_channels": 3 })).await;
    calls.push(lab.call_from_pbx().await);
    set(&lab, json!({ "max_channels": 1 })).await;
    assert_eq!(in_use(&lab).await, 3, "nobody was cut off");
    for (up, (teams, _)) in [2, 1, 0].into_iter().zip(&calls) {
        is_full(&lab).await;
        teams.bye().await;
        left(&lab, up).await;
    }
    call_passes(&lab).await;
    lab.close().await;
}

/// the trunk's own limit holds under the customer's, and the customer's under the trunk's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_22_the_smaller_limit_decides() {
    for (max_channels, cac) in [(10, 1), (1, 10)] {
        let lab = Lab::start(Setup {
            trunk: json!({ "cac_max_sessions": cac }),
            customer: json!({ "max_channels": max_channels }),
            ..Setup::default()
        })
        .await;
        let _only = lab.call_from_pbx().await;
        is_full(&lab).await;
        end(&lab).await;
        lab.close().await;
    }
}

/// T-34: a disabled customer makes no new calls, either way; a running one goes on; enabled again, calls pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_34_a_disabled_customer_keeps_its_running_calls() {
    let lab = Lab::plain().await;
    let (teams, pbx) = lab.call_from_teams().await;
    both_hear(&teams, &pbx).await;
    let path = lab.customer();
    let (status, _) = lab
        .api("POST", &format!("{path}:disable"), json!(null))
        .await;
    assert_eq!(status, 200);
    assert_eq!(refused(&lab.dial_from_teams().await).await.status, 403);
    assert_eq!(call_is_refused(&lab).await, 403);
    pbx.play(900.0);
    teams.hears_tone(900.0).await.unwrap();
    let (status, _) = lab
        .api("POST", &format!("{path}:enable"), json!(null))
        .await;
    assert_eq!(status, 200);
    teams.bye().await;
    left(&lab, 0).await;
    call_passes(&lab).await;
    lab.close().await;
}
