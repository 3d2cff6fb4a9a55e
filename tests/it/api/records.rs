//! What is kept of calls and of changes: records, reasons, messages and the audit.

use super::{Api, problem, trace};
use serde_json::{Value, json};
use time::macros::datetime;
use tollgate::b2bua::{Cdr, Direction, Trace};
use tollgate::sip::{Flow, SendTo, Source, Transport};
use tollgate::store::AccessRole;
use uuid::Uuid;

fn cdr(id: u128, customer: Uuid) -> Cdr {
    Cdr {
        id: Uuid::from_u128(id),
        generation: 1,
        customer_id: Some(customer),
        trunk_id: None,
        gateway: None,
        direction: Direction::ToTeams,
        emergency: false,
        from: "+4930123456".into(),
        to: "+14255550100".into(),
        a_call_id: "a".into(),
        b_call_id: Some("b".into()),
        start: datetime!(2026-01-02 03:04:05 UTC),
        ringing: None,
        answer: Some(datetime!(2026-01-02 03:04:09.5 UTC)),
        end: datetime!(2026-01-02 03:05:09.5 UTC),
        sip_code: Some(200),
        q850: Some(16),
        reason: "the caller hung up".into(),
        refused_by: None,
        ended_by: None,
        music: None,
        transferred_to: None,
        a_media: None,
        b_media: None,
        why: Trace::default(),
    }
}

/// The customer sees its own records when the partner lets it, those from before too.
#[tokio::test]
async fn t_14_call_detail_records_are_shown_to_whom_they_concern() {
    let api = Api::start().await;
    let (acme, acme_path) = api.customer("acme").await;
    let (other, _) = api.customer("other").await;
    api.store
        .add_cdrs(&[cdr(1, acme), cdr(2, other)])
        .await
        .unwrap();
    let all = api.get("/api/v1/cdrs").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&all["items"][0]["setup_ms"], &all["items"][0]["talk_ms"]),
        (&json!(4500), &json!(60000))
    );
    for (query, found) in [
        ("from=2026-01-02T03:04:05Z&until=2026-01-02T03:04:06Z", 2),
        ("until=2026-01-02T03:04:05Z", 0),
        ("number=%2B4930123456", 2),
        ("number=112", 0),
        ("sip_code=486", 0),
        ("refused_by=limit", 0),
        ("direction=to_teams", 2),
    ] {
        assert_eq!(
            api.get(&format!("/api/v1/cdrs?{query}")).await["items"]
                .as_array()
                .unwrap()
                .len(),
            found,
            "{query}"
        );
    }

    let token = api.token(AccessRole::CustomerAdmin, Some(acme)).await;
    let own = async || {
        api.request("GET", &format!("{acme_path}/cdrs"))
            .bearer_auth(&token)
            .send()
            .await
            .unwrap()
    };
    assert_eq!(
        problem(own().await).await,
        (403, "sip_data_access_off".into(), vec![])
    );
    assert_eq!(
        api.patch(&acme_path, json!({ "sip_data_access": true }))
            .await
            .status(),
        200
    );
    let records: Value = own().await.json().await.unwrap();
    assert_eq!(records["items"].as_array().unwrap().len(), 1);
    assert_eq!(records["items"][0]["customer_id"], json!(acme));
}

/// Provisioning §8.2: the NOC sees the records and calls of all, but wherever it looks no whole number of a person; a
/// number that it was told of it may look for. An emergency number is nobody's. Whom the configuration does not name
/// sees all.
#[tokio::test]
async fn people_are_hidden_everywhere_alike() {
    let api = Api::start().await;
    let (acme, acme_path) = api.customer("acme").await;
    let transferred = Cdr {
        transferred_to: Some("+493077777".into()),
        why: trace("+14255550100"),
        ..cdr(1, acme)
    };
    let emergency = Cdr {
        emergency: true,
        to: "112".into(),
        ..cdr(2, acme)
    };
    api.store.add_cdrs(&[transferred, emergency]).await.unwrap();
    let call = Uuid::from_u128(1);
    for path in [
        "/api/v1/calls".to_owned(),
        format!("/api/v1/calls/{}", Uuid::from_u128(2)),
        "/api/v1/cdrs".to_owned(),
        "/api/v1/cdrs?number=%2B14255550100".to_owned(),
        format!("{acme_path}/cdrs?limit=5"),
        format!("/api/v1/calls/{call}/why"),
    ] {
        let seen_by = async |role| {
            let request = api.request("GET", &path);
            let request = request.bearer_auth(api.token(role, None).await);
            let text = request.send().await.unwrap().text().await.unwrap();
            assert!(text.contains("00"), "{path}: {text}");
            text
        };
        let (noc, carrier) = (
            seen_by(AccessRole::Noc).await,
            seen_by(AccessRole::CarrierAdmin).await,
        );
        for number in ["+14255550100", "+4930123456", "+493077777"] {
            assert!(!noc.contains(number), "{path}: {noc}");
        }
        assert!(carrier.contains("+14255550100"), "{path}: {carrier}");
        assert!(noc.contains("…00"), "{path}: {noc}");
        if path.ends_with("limit=5") {
            assert!(noc.contains(r#""to":"112""#), "{noc}");
        }
    }
}

/// Why a call went as it did: live from the calls, from the spool before the record is stored, then from the store;
/// by the call's id and by its Call-ID; as text on request; shortened for the roles that the configuration names; and
/// only for those whom the call concerns.
#[tokio::test]
async fn why_a_call_went_so_is_told_to_whom_it_concerns() {
    let api = Api::start().await;
    let (acme, acme_path) = api.customer("acme").await;
    let (_, other_path) = api.customer("other").await;
    let live = api.get("/api/v1/calls/2@teams/why").await;
    assert_eq!(
        live,
        json!({
            "id": Uuid::from_u128(2), "customer_id": Uuid::from_u128(102), "live": true, "call_ids": ["2@teams"],
            "steps": [{ "ms": 0, "step": "number", "dialled": "+14255550100", "number": "+14255550100", "found": "outside" }],
            "left_out": 0,
        })
    );
    let over = Cdr {
        why: trace("+4930987654"),
        ..cdr(9, acme)
    };
    api.spool.append(&over).unwrap();
    let path = format!("/api/v1/calls/{}/why", over.id);
    for call in [path.as_str(), "/api/v1/calls/a/why", "/api/v1/calls/b/why"] {
        let told = api.get(call).await;
        assert_eq!(
            (&told["live"], &told["id"]),
            (&json!(false), &json!(over.id))
        );
    }
    assert_eq!(api.spool.waiting(), 0);
    let records = api.get("/api/v1/cdrs").await;
    assert!(records["items"][0].get("why").is_none(), "{records}");

    let text = async |role, scope, query: &str| {
        let request = api.request("GET", &format!("{path}{query}"));
        let request = request.bearer_auth(api.token(role, scope).await);
        request.header("Accept", "text/plain").send().await.unwrap()
    };
    let whole = text(AccessRole::CarrierAdmin, None, "").await;
    assert_eq!(whole.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(whole.text().await.unwrap().contains("+4930987654"));
    let noc = text(AccessRole::Noc, None, "?format=text")
        .await
        .text()
        .await
        .unwrap();
    assert!(noc.contains("…54") && !noc.contains("+4930"), "{noc}");
    let json = text(AccessRole::CarrierAdmin, None, "?format=json").await;
    assert_eq!(json.headers()["content-type"], "application/json");

    let own = text(AccessRole::CustomerAdmin, Some(acme), "").await;
    assert_eq!(
        problem(own).await,
        (403, "sip_data_access_off".into(), vec![])
    );
    for (path, status) in [(&acme_path, 200), (&other_path, 200)] {
        let shared = api.patch(path, json!({ "sip_data_access": true })).await;
        assert_eq!(shared.status(), status);
    }
    assert_eq!(
        text(AccessRole::CustomerAdmin, Some(acme), "")
            .await
            .status(),
        200
    );
    let other: Uuid = other_path.rsplit('/').next().unwrap().parse().unwrap();
    let foreign = text(AccessRole::CustomerAdmin, Some(other), "").await;
    assert_eq!(problem(foreign).await.0, 404);
    let partner = text(AccessRole::PartnerAdmin, Some(Uuid::from_u128(5)), "").await;
    assert_eq!(problem(partner).await.0, 404);
    let nobody = api.carrier("GET", "/api/v1/calls/nothing/why").await;
    assert_eq!(problem(nobody.send().await.unwrap()).await.0, 404);
}

/// The audit tells who changed what, newest first, by token, resource and time; only to the carrier's administrator.
#[tokio::test]
async fn the_audit_is_told_to_the_carrier() {
    let api = Api::start().await;
    let (_, acme_path) = api.customer("acme").await;
    let (_, other_path) = api.customer("other").await;
    assert_eq!(
        api.patch(&acme_path, json!({ "name": "Acme & Co" }))
            .await
            .status(),
        200
    );
    let all = api.get("/api/v1/audit").await;
    let done: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["action"].clone(), event["object"].clone()))
        .collect();
    let region = "/api/v1/regions/EU".to_owned();
    let expected = [
        ("update", &acme_path),
        ("create", &other_path),
        ("create", &acme_path),
        ("create", &region),
    ];
    assert_eq!(
        done,
        expected.map(|(action, object)| (json!(action), json!(object)))
    );
    let update = &all["items"][0];
    assert_eq!(
        (&update["role"], &update["after"]["name"]),
        (&json!("carrier_admin"), &json!("Acme & Co"))
    );
    let count = async |query: &str| {
        api.get(&format!("/api/v1/audit?{query}")).await["items"]
            .as_array()
            .unwrap()
            .len()
    };
    let token = update["token_id"].as_str().unwrap();
    for (query, found) in [
        (format!("object={acme_path}"), 2),
        ("object=/api/v1/customers".to_owned(), 3),
        ("object=/api/v1/cust".to_owned(), 0),
        (format!("token_id={token}&limit=1"), 1),
        (format!("token_id={}", Uuid::nil()), 0),
        ("until=2020-01-01T00:00:00Z".to_owned(), 0),
    ] {
        assert_eq!(count(&query).await, found, "{query}");
    }
}

/// A call's messages as JSON, as a picture, and as a file for Wireshark; secrets in none of them, people only for who
/// may see them; gone, and said so, when none are kept.
#[tokio::test]
async fn a_calls_messages_are_shown_without_secrets() {
    let api = Api::start().await;
    let source = Source {
        transport: Transport::Tls,
        flow: Flow(1),
        remote: "192.0.2.9:5061".parse().unwrap(),
        local: "192.0.2.1:5061".parse().unwrap(),
        certificate: None,
    };
    let invite = "INVITE sip:+14255550100@a.example SIP/2.0\r\nFrom: \"Jane\" <sip:+442075550123@b>;tag=1\r\nCall-ID: 2@teams\r\n\
                  Content-Type: application/sdp\r\n\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\n";
    api.recorder.received(&invite.into(), &source);
    let trying = "SIP/2.0 100 Trying\r\nCall-ID: 2@teams\r\n\r\n";
    api.recorder
        .sent(&trying.into(), &SendTo::Flow(Flow(1), source.remote));

    let ladder = api.get("/api/v1/calls/2@teams/ladder").await;
    let messages = ladder["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &ladder["live"]), (2, &json!(true)));
    assert_eq!(
        (&messages[0]["sent"], &messages[1]["sent"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        (&messages[1]["local"], &messages[1]["remote"]),
        (&json!("192.0.2.1:5061"), &json!("192.0.2.9:5061"))
    );
    let text = messages[0]["text"].as_str().unwrap();
    assert!(
        text.contains("+442075550123") && !text.contains("c2VjcmV0"),
        "{text}"
    );

    let shown = async |role, query: &str, accept: &str| {
        let request = api.request("GET", &format!("/api/v1/calls/2@teams/ladder{query}"));
        let request = request
            .bearer_auth(api.token(role, None).await)
            .header("Accept", accept);
        request.send().await.unwrap().bytes().await.unwrap()
    };
    let noc = shown(AccessRole::Noc, "", "application/json").await;
    let noc = String::from_utf8(noc.to_vec()).unwrap();
    assert!(
        !noc.contains("44207555") && !noc.contains("Jane") && noc.contains("…23@b"),
        "{noc}"
    );
    for (query, accept) in [("?format=text", "*/*"), ("", "text/plain")] {
        let picture = shown(AccessRole::CarrierAdmin, query, accept).await;
        let picture = String::from_utf8(picture.to_vec()).unwrap();
        assert!(
            picture.contains("Tollgate")
                && picture.contains(" INVITE +14255550100 ")
                && picture.contains(" 100 Trying "),
            "{picture}"
        );
    }
    let file = shown(AccessRole::CarrierAdmin, "?format=pcapng", "*/*").await;
    assert_eq!(file[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    assert!(file.windows(7).any(|w| w == b"INVITE ") && !file.windows(8).any(|w| w == b"c2VjcmV0"));

    for (call, code) in [("3@teams", "ladder_gone"), ("nobody", "not_found")] {
        let gone = api
            .carrier("GET", &format!("/api/v1/calls/{call}/ladder"))
            .await;
        let (status, told, _) = problem(gone.send().await.unwrap()).await;
        assert_eq!((status, told.as_str()), (404, code));
    }
}
