//! Tollgate's REST API, as people of the carrier and of a customer use it.

use super::stage::{PATIENCE, PUBLIC};
use crate::app::Sbc;
use crate::store::AccessRole;
use anyhow::{Context, bail, ensure};
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The API with somebody's token, or with none.
pub(super) struct Api {
    at: SocketAddr,
    token: Option<String>,
    client: reqwest::Client,
}

/// What was answered.
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl Api {
    /// As somebody with this role, of this customer or of none.
    pub(super) async fn of(
        sbc: &Sbc,
        role: AccessRole,
        customer: Option<Uuid>,
    ) -> anyhow::Result<Self> {
        let tokens = sbc.store().tokens();
        let created = tokens.create("demonstration", role, customer, None).await?;
        let token = created.text.expose().to_owned();
        Self::at(sbc.listening().admin, Some(token))
    }

    /// As anybody with a browser.
    pub(super) fn public(sbc: &Sbc) -> anyhow::Result<Self> {
        Self::at(sbc.listening().admin, None)
    }

    fn at(at: SocketAddr, token: Option<String>) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { at, token, client })
    }

    /// A request to a path below `/api/v1`, whatever is answered.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Answer> {
        self.send(method, &format!("/api/v1{path}"), body).await
    }

    /// The same to a path that begins at the root.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Answer> {
        let mut request = self
            .client
            .request(method, format!("http://{}{path}", self.at))
            .header(header::IF_MATCH, "*");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        Ok(Answer {
            status,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        })
    }

    /// A request that succeeds; what is answered.
    pub(super) async fn done(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let what = format!("{method} {path}");
        let answer = self.ask(method, path, body).await?;
        let Answer { status, body, .. } = answer;
        ensure!(status.is_success(), "{what}: {status}: {body}");
        Ok(body)
    }

    /// Makes something.
    pub(super) async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.done(Method::POST, path, Some(body)).await
    }

    /// Looks at something.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.done(Method::GET, path, None).await
    }

    /// Looks at something until it is so.
    pub(super) async fn until(
        &self,
        path: &str,
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let from = Instant::now();
        loop {
            let now = self.get(path).await?;
            if is(&now) {
                return Ok(now);
            }
            if from.elapsed() > PATIENCE {
                bail!("GET {path}: it stays at {now}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Starts a task and waits for its end, which must be a good one.
    pub(super) async fn task(&self, path: &str) -> anyhow::Result<Value> {
        let started = self.done(Method::POST, path, None).await?;
        let task = format!("/tasks/{}", text(&started, "id")?);
        let is_over = |task: &Value| task["state"] != "queued" && task["state"] != "running";
        let ended = self.until(&task, is_over).await?;
        ensure!(ended["state"] == "succeeded", "{path}: {ended}");
        Ok(ended["result"].clone())
    }

    /// Follows a link that people were given: what is there.
    pub(super) async fn follow(&self, method: Method, link: &str) -> anyhow::Result<Answer> {
        let path = link
            .strip_prefix(PUBLIC)
            .with_context(|| format!("{link} leads elsewhere"))?;
        self.send(method, path, None).await
    }
}

/// A text in an answer, which must be there.
pub(super) fn text<'a>(body: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    body[key]
        .as_str()
        .with_context(|| format!("no {key} in {body}"))
}
