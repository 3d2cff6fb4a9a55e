use super::Shared;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// An answer that is given instead of the usual one, or a delay before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `POST`; every one, if it is empty.
    #[serde(default)]
    pub method: String,
    /// A part of the path.
    pub path: String,
    /// How often.
    #[serde(default = "once")]
    pub times: u32,
    /// The status; without one the usual answer is given after the delay.
    #[serde(default)]
    pub status: Option<u16>,
    /// Header fields of the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The answer's body.
    #[serde(default)]
    pub body: Value,
    /// Before the answer.
    #[serde(default)]
    pub delay_ms: u64,
}

/// A request that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Logged {
    /// `POST`.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// What was answered.
    pub status: u16,
}

/// Planted answers, and what was asked.
#[derive(Debug)]
pub(super) struct Script {
    pub rules: Vec<Rule>,
    pub log: VecDeque<Logged>,
}

/// Requests that are remembered.
const REMEMBERED: usize = 10_000;

fn once() -> u32 {
    1
}

impl Script {
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules,
            log: VecDeque::new(),
        }
    }

    /// The first rule that is for this request, one time less.
    fn take(&mut self, method: &str, path: &str) -> Option<Rule> {
        let fits = |rule: &Rule| {
            rule.times > 0
                && (rule.method.is_empty() || rule.method.eq_ignore_ascii_case(method))
                && path.contains(&rule.path)
        };
        let rule = self.rules.iter_mut().find(|rule| fits(rule))?;
        rule.times -= 1;
        let rule = rule.clone();
        self.rules.retain(|rule| rule.times > 0);
        Some(rule)
    }

    fn note(&mut self, logged: Logged) {
        if self.log.len() >= REMEMBERED {
            self.log.pop_front();
        }
        self.log.push_back(logged);
    }
}

/// Answers by the script, else as usual; and notes what was asked.
pub(super) async fn play(State(here): State<Shared>, request: Request, next: Next) -> Response {
    let (method, path) = (
        request.method().to_string(),
        request.uri().path().to_owned(),
    );
    if path.starts_with("/control/") {
        return next.run(request).await;
    }
    let rule = here.script().take(&method, &path);
    if let Some(rule) = &rule {
        tokio::time::sleep(Duration::from_millis(rule.delay_ms)).await;
    }
    let response = match rule.as_ref().and_then(planted) {
        Some(response) => response,
        None => next.run(request).await,
    };
    let status = response.status().as_u16();
    here.script().note(Logged {
        method,
        path,
        status,
    });
    response
}

fn planted(rule: &Rule) -> Option<Response> {
    let body = if rule.body.is_null() {
        String::new()
    } else {
        rule.body.to_string()
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(rule.status?).ok()?;
    for (name, value) in &rule.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    Some(response)
}
