//! What an enterprise's settings do to calls: a running SBC between an emulated Teams and an emulated PBX, and its API.

use super::code;
use crate::calls::lab::{Lab, PBX_NUMBER, Setup, TEAMS_NUMBER, TEAMS_TONE, both_hear};
use serde_json::{Value, json};
use tollgate::emulate::{Direction, Hold};

/// Without `pbx_moh` the PBX hears our music and no re-INVITE; with it the PBX is told of the hold and hears nothing of us.
/// A change of it counts from the next hold on, in a call that is up, too, and not in the middle of one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_26_t_28_t_29_who_plays_the_music() {
    let lab = Lab::plain().await;
    let (teams, pbx) = lab.call_from_teams().await;
    both_hear(&teams, &pbx).await;
    let pbx_moh = async |on: bool| {
        let wish = json!({ "offerings": ["pbx", "trunk"], "pbx_moh": on });
        let (status, body) = lab.api("PATCH", &lab.customer(), wish).await;
        assert_eq!(status, 200, "{body}");
    };

    teams.hold(Hold::Inactive).await.unwrap();
    pbx.hears_melody(TEAMS_TONE).await.expect("our music");
    pbx_moh(true).await;
    pbx.hears_melody(TEAMS_TONE)
        .await
        .expect("it goes on to the end of this hold");
    assert_eq!(pbx.counts().reinvites, 0, "T-28");
    teams.resume().await.unwrap();
    both_hear(&teams, &pbx).await;
    assert_eq!(pbx.counts().reinvites, 0, "T-28");

    teams.hold(Hold::Inactive).await.unwrap();
    pbx.falls_silent().await.expect("T-26: no music of ours");
    let told = pbx.counts();
    assert_eq!(
        (told.reinvites, told.direction),
        (1, Some(Direction::SendOnly))
    );
    teams.resume().await.unwrap();
    both_hear(&teams, &pbx).await;
    let told = pbx.counts();
    assert_eq!(
        (told.reinvites, told.direction),
        (2, Some(Direction::SendRecv))
    );

    pbx_moh(false).await;
    teams.hold(Hold::Inactive).await.unwrap();
    pbx.hears_melody(TEAMS_TONE).await.expect("our music again");
    teams.resume().await.unwrap();
    both_hear(&teams, &pbx).await;
    assert_eq!(pbx.counts().reinvites, 2, "T-29");
    teams.bye().await;
    pbx.ended().await.unwrap();
    lab.close().await;
}

/// A user of the trunk offering is called by number, without any registration: further numbers ring where the first one
/// does, under the name that Teams knows, from the next Sync on; the record keeps what was dialled. The user calls by the
/// first number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_32_further_numbers_ring_where_the_first_one_does() {
    const FURTHER: &str = "+14255550109";
    let lab = Lab::plain().await;
    let below = |path: &str| format!("{}{path}", lab.customer());
    let made = async |path: &str, body: Value| {
        let (status, answer) = lab.api("POST", &below(path), body).await;
        assert_eq!(status, 201, "{answer}");
    };
    let granted = json!({ "state": "granted" });
    let consent = below("/co-management");
    assert_eq!(lab.customers_api("PUT", &consent, granted).await.0, 200);
    made("/numbers", json!({ "numbers": [FURTHER] })).await;
    let user = json!({ "upn": "jo@contoso.example", "display_name": "Jo", "offering": "trunk",
        "default_did": TEAMS_NUMBER, "forwarded_dids": [FURTHER] });
    made("/users", user).await;
    let (status, task) = lab.api("POST", &below("/sync?wait=20"), Value::Null).await;
    assert_eq!(status, 202, "{task}");

    for dialled in [TEAMS_NUMBER, FURTHER] {
        let call = lab.dial_from_pbx(|call| call.to = dialled.into()).await;
        call.answered().await.unwrap();
        let teams = lab.teams.incoming().await.unwrap();
        let line = teams.invite().lines().next().unwrap_or_default().to_owned();
        assert!(
            line.starts_with(&format!("INVITE sip:{TEAMS_NUMBER}@")),
            "{line}"
        );
        both_hear(&teams, &call).await;
        call.bye().await;
        teams.ended().await.unwrap();
    }
    let (teams, pbx) = lab.call_from_teams().await;
    let from = pbx.invite().lines().find(|line| line.starts_with("From:"));
    let from = from.unwrap_or_default().to_owned();
    assert!(from.contains(TEAMS_NUMBER), "{from}");
    teams.bye().await;
    pbx.ended().await.unwrap();
    assert_eq!(lab.pbx.registrations(), []);

    let mut dialled = Vec::new();
    while dialled.len() < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let (_, records) = lab.api("GET", "/api/v1/cdrs", Value::Null).await;
        let records = records["items"].as_array().unwrap().clone();
        dialled = records
            .iter()
            .map(|cdr| cdr["to"].as_str().unwrap().to_owned())
            .collect();
    }
    dialled.sort();
    assert_eq!(dialled, [TEAMS_NUMBER, FURTHER, PBX_NUMBER]);
    lab.close().await;
}

/// Calls are recorded whoever may read of them: those made while the customer might not are there when it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_15_calls_are_recorded_while_their_customer_may_not_read() {
    let lab = Lab::start(Setup {
        customer: json!({ "sip_data_access": false }),
        ..Setup::default()
    })
    .await;
    let (teams, pbx) = lab.call_from_teams().await;
    let id = teams.call_id().to_owned();
    teams.bye().await;
    pbx.ended().await.unwrap();
    let own = format!("{}/cdrs", lab.customer());
    let kept = |records: &Value| {
        let records = records["items"].as_array().cloned().unwrap_or_default();
        records.iter().any(|cdr| cdr.to_string().contains(&id))
    };
    let carriers = async || lab.api("GET", "/api/v1/cdrs", Value::Null).await.1;
    for _ in 0..200 {
        if kept(&carriers().await) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(kept(&carriers().await), "the carrier");
    let (status, body) = lab.customers_api("GET", &own, Value::Null).await;
    assert_eq!((status, code(&body)), (403, "sip_data_access_off"));
    let wish = json!({ "sip_data_access": true });
    assert_eq!(lab.api("PATCH", &lab.customer(), wish).await.0, 200);
    let (status, body) = lab.customers_api("GET", &own, Value::Null).await;
    assert_eq!(status, 200);
    assert!(kept(&body), "the customer");
    lab.close().await;
}
