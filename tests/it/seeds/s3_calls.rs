//! What an upgrade does to calls: they take the connection that it made.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::emulate::{EmuCall, Pbx, PbxConfig};

use super::activation_lab::{CARRIER_NUMBER, TEAMS_NUMBER};
use super::wizard::{Wizard, draft};
use crate::calls::refused;

/// The carrier behind the connection, which wants to be shown the password, and a service that was upgraded to it.
struct Upgraded {
    wizard: Wizard,
    connection: Pbx,
    trunk: String,
}

impl Upgraded {
    async fn start(sessions: u32) -> Self {
        let wizard = Wizard::start().await;
        let mut config = PbxConfig::new(wizard.lab.sbc.listening().sip.udp[0]);
        config.users = [("contoso".to_owned(), "s3same-s3same".to_owned())].into();
        config.challenge_calls = true;
        config.patience = Duration::from_secs(60);
        let connection = Pbx::start(config).await.unwrap();
        let upgrade = wizard.service("contoso-1").await;
        let mut wanted = draft(&upgrade)["connection"].clone();
        wanted["port"] = json!(connection.address.port());
        wanted["cac_max_sessions"] = json!(sessions);
        wizard
            .enter(&upgrade, json!({ "connection": wanted }))
            .await;
        wizard.authenticate_entered(&upgrade).await;
        let (_, task) = wizard.send("POST", &upgrade, Value::Null).await;
        let done = wizard.task(&task).await;
        assert_eq!(done["state"], "succeeded", "{done}");
        let trunk = done["result"]["trunk_id"].as_str().unwrap().to_owned();
        let upgraded = Self {
            wizard,
            connection,
            trunk,
        };
        upgraded.put_in_service().await;
        upgraded
    }

    /// The carrier says that the customer is set up at Microsoft; its shared way out is closed.
    async fn put_in_service(&self) {
        let active = json!({ "activation_state": "active", "activation_reason": "test" });
        self.patch("", active).await;
        let (_, gateways) = self.wizard.send("GET", "/gateways", Value::Null).await;
        let gateway = gateways["items"][0]["id"].as_str().unwrap().to_owned();
        self.patch(
            &format!("/gateways/{gateway}"),
            json!({ "state": "active" }),
        )
        .await;
        let (lab, carrier) = (&self.wizard.lab, &self.wizard.carrier);
        let (_, shared) = lab
            .send_as(carrier, "GET", "/api/v1/trunks", Value::Null)
            .await;
        let shared = shared["items"].as_array().unwrap().iter();
        let shared = shared.filter(|trunk| trunk["customer_id"].is_null());
        for trunk in shared {
            let path = format!("/api/v1/trunks/{}", trunk["id"].as_str().unwrap());
            let closed = json!({ "state": "out_of_service" });
            let (status, body) = lab.send_as(carrier, "PATCH", &path, closed).await;
            assert_eq!(status, 200, "{body}");
        }
    }

    async fn patch(&self, path: &str, body: Value) {
        let (status, answer) = self.wizard.send("PATCH", path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }

    /// A call of the customer that is up, at both ends.
    async fn call(&self) -> (EmuCall, EmuCall) {
        let call = self.wizard.lab.call_from_teams().await;
        call.answered().await.unwrap();
        (call, self.connection.incoming().await.unwrap())
    }

    /// A second call of the customer is refused.
    async fn is_full(&self) {
        let ended = refused(&self.wizard.lab.call_from_teams().await).await;
        let reason = ended.reason.as_deref().unwrap_or_default();
        assert_eq!(ended.status, 486, "{ended:?}");
        assert!(reason.contains("cause=34"), "{ended:?}");
    }

    async fn close(self) {
        self.wizard.lab.close().await;
    }
}

/// calls of the service go out by its connection, to its own host and under its own name; so the record says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_21_calls_take_the_connection() {
    let upgraded = Upgraded::start(10).await;
    let (call, far) = upgraded.call().await;
    let invite = far.invite();
    let (line, proof) = (
        invite.lines().next().unwrap(),
        invite.lines().find(|line| line.contains("Digest")).unwrap(),
    );
    let host = format!("@{}", upgraded.connection.address);
    assert!(
        line.contains(CARRIER_NUMBER) && line.contains(&host),
        "{line}"
    );
    assert!(proof.contains("username=\"contoso\""), "{proof}");
    call.bye().await;
    far.ended().await.unwrap();
    let (lab, carrier) = (&upgraded.wizard.lab, &upgraded.wizard.carrier);
    let mut records = Value::Null;
    for _ in 0..400 {
        records = lab
            .send_as(carrier, "GET", "/api/v1/cdrs", Value::Null)
            .await
            .1;
        if records["items"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let record = &records["items"][0];
    assert_eq!(
        (&record["trunk_id"], &record["from"]),
        (&json!(upgraded.trunk), &json!(TEAMS_NUMBER)),
        "{records}"
    );
    upgraded.close().await;
}

/// the smaller of what the connection carries and what the customer may do decides, whichever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_22_the_smaller_limit_decides() {
    let upgraded = Upgraded::start(1).await;
    let (call, far) = upgraded.call().await;
    upgraded.is_full().await;
    upgraded
        .patch(
            &format!("/trunks/{}", upgraded.trunk),
            json!({ "cac_max_sessions": 10 }),
        )
        .await;
    let (second, _second_far) = upgraded.call().await;
    second.bye().await;
    second.ended().await.unwrap();
    upgraded.patch("", json!({ "max_channels": 1 })).await;
    upgraded.is_full().await;
    call.bye().await;
    far.ended().await.unwrap();
    upgraded.close().await;
}
