//! A running SBC with what an upgrade needs: the lab of activations, a mail server, and the steps that people take.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::store::AccessRole;
use uuid::Uuid;

use super::activation_lab::{Lab, Setup, TENANT_NAME};
use super::mail_sink::MailSink;

/// The lab, and the carrier's administrator in it.
pub struct Wizard {
    pub lab: Lab,
    pub mail: MailSink,
    pub carrier: String,
}

/// Where the public page of an invitation is.
pub fn page(invitation: &Value) -> String {
    let url = invitation["auth_url"].as_str().unwrap();
    url.strip_prefix("http://localhost").unwrap().to_owned()
}

impl Wizard {
    pub async fn start() -> Self {
        let mail = MailSink::start().await;
        let setup = Setup {
            regions: 1,
            teams_bridge: false,
        };
        let lab = Lab::start_with(setup, &mail.section()).await;
        let carrier = token(&lab, AccessRole::CarrierAdmin, None).await;
        Self { lab, mail, carrier }
    }

    /// A request of the carrier's administrator below the customer.
    pub async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let path = format!("/api/v1/customers/{}{path}", self.lab.customer);
        self.lab.send_as(&self.carrier, method, &path, body).await
    }

    /// The codes of what is wrong now, as the carrier sees it.
    pub async fn alarms(&self) -> Vec<String> {
        let path = "/api/v1/alarms";
        let asked = self.lab.send_as(&self.carrier, "GET", path, Value::Null);
        let (status, told) = asked.await;
        assert_eq!(status, 200, "{told}");
        let items = told["items"].as_array().unwrap().iter();
        items
            .map(|alarm| alarm["code"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A new service with Essentials: the path of its upgrade.
    pub async fn service(&self, short_name: &str) -> String {
        let service = json!({ "full_name": "Contoso Ltd", "short_name": short_name, "kind": "operator_connect",
            "licensed_users": 5 });
        let (status, made) = self.send("POST", "/services", service).await;
        assert_eq!(status, 201, "{made}");
        format!("/services/{}/upgrade", made["id"].as_str().unwrap())
    }

    /// Enters the upgrade to Pro.
    pub async fn enter(&self, upgrade: &str, more: Value) -> Value {
        let mut draft = draft(upgrade);
        draft
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let (status, body) = self.send("PUT", upgrade, draft).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// What the public page says, without any token.
    pub async fn public(&self, method: &str, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.lab.sbc.listening().admin);
        let request = self.lab.client.request(method.parse().unwrap(), url);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    /// Somebody types the code at Microsoft's page as administrator of this tenant, or declines.
    pub async fn type_code(&self, started: &Value, tenant: &str, decision: &str) {
        let more = format!("as={tenant}&decision={decision}");
        self.answer_code(started, &more).await;
    }

    /// The same with other fields.
    pub async fn answer_code(&self, started: &Value, more: &str) {
        let code = started["user_code"].as_str().unwrap();
        let uri = started["verification_uri"].as_str().unwrap();
        let form = format!("user_code={code}&{more}");
        let answer = self.lab.client.post(uri).body(form).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// Waits until the page is as it should be, the clock going on.
    pub async fn until(&self, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..400 {
            last = self.public("GET", path).await.1;
            if is(&last) {
                return last;
            }
            self.lab.sbc.clock().advance(time::Duration::seconds(2));
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("never so: {last:#}\n{:#?}", self.lab.asked());
    }

    /// An administrator signs in at Microsoft.
    pub async fn sign_in(&self, page: &str) -> Value {
        let (status, started) = self
            .public("POST", &format!("{page}/start-authentication"))
            .await;
        assert_eq!(status, 200, "{started}");
        self.type_code(&started, TENANT_NAME, "accept").await;
        self.until(page, |now| now["device_authenticated"] == true)
            .await
    }

    /// An administrator consents for the organisation, and is led back to the page.
    pub async fn consent(&self, page: &str) {
        let (status, next) = self.public("POST", &format!("{page}/continue")).await;
        assert_eq!(status, 200, "{next}");
        let url = next["consent_url"].as_str().unwrap();
        let (status, to) = self.lab.consent(url, &[("decision", "accept")]).await;
        assert_eq!((status, to), (303, format!("http://localhost{page}")));
    }

    /// All of it, to where the service can be upgraded.
    pub async fn authenticate(&self, upgrade: &str) -> Value {
        self.enter(upgrade, json!({})).await;
        self.authenticate_entered(upgrade).await
    }

    /// The same for what was entered before.
    pub async fn authenticate_entered(&self, upgrade: &str) -> Value {
        let (_, entered) = self.send("GET", upgrade, Value::Null).await;
        let page = page(&entered["invitation"]);
        self.sign_in(&page).await;
        self.consent(&page).await;
        self.send("GET", upgrade, Value::Null).await.1
    }

    /// The task of an upgrade, when it is over.
    pub async fn task(&self, task: &Value) -> Value {
        let path = format!("/api/v1/tasks/{}", task["id"].as_str().unwrap());
        for _ in 0..400 {
            let (_, task) = self
                .lab
                .send_as(&self.carrier, "GET", &path, Value::Null)
                .await;
            if !["queued", "running"].contains(&task["state"].as_str().unwrap()) {
                return task;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the task does not end");
    }

    pub async fn trunks(&self) -> Vec<Value> {
        let (_, trunks) = self.send("GET", "/trunks", Value::Null).await;
        trunks["items"].as_array().unwrap().clone()
    }
}

/// A new token.
pub async fn token(lab: &Lab, role: AccessRole, scope: Option<Uuid>) -> String {
    let created = lab
        .sbc
        .store()
        .tokens()
        .create("test", role, scope, None)
        .await;
    created.unwrap().text.expose().to_owned()
}

/// An upgrade to Pro, with a connection named after the service.
pub fn draft(upgrade: &str) -> Value {
    json!({
        "license_type": "pro", "licensed_users": 20,
        "connection": { "name": upgrade.split('/').nth(2).unwrap(), "role": "carrier", "transport": "udp",
            "host": "127.0.0.1", "port": 5999, "auth": "digest", "username": "contoso", "password": "s3same-s3same",
            "cac_max_sessions": 10 },
    })
}
