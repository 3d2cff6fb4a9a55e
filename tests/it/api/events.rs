//! Events as server-sent events: a stream that stands.

use super::Api;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tollgate::admin::Listeners;

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream, and what came on it so far.
pub struct Heard {
    response: Response,
    pub text: String,
}

impl Heard {
    /// What comes of this request, which is a stream.
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// Listens until this was said.
    pub async fn until(&mut self, what: &str) {
        while !self.text.contains(what) {
            assert!(self.listen().await, "it ended after {}", self.text);
        }
    }

    /// Listens until the stream ends.
    async fn hears_all(&mut self) {
        while self.listen().await {}
    }

    /// Whether something more came.
    async fn listen(&mut self) -> bool {
        let more = timeout(PATIENCE, self.response.chunk()).await;
        let more = more.unwrap_or_else(|_| panic!("nothing comes after {}", self.text));
        let more = more.unwrap();
        if let Some(bytes) = &more {
            self.text.push_str(&String::from_utf8_lossy(bytes));
        }
        more.is_some()
    }
}

impl Api {
    /// The carrier's administrator listens.
    async fn listening(&self) -> RequestBuilder {
        let request = self.carrier("GET", "/api/v1/events").await;
        request.header("Accept", "text/event-stream")
    }
}

/// Who listens hears what happens without asking again, and who comes back goes on where they left off.
#[tokio::test]
async fn what_happens_is_heard_as_it_happens() {
    let api = Api::start().await;
    let mut heard = Heard::of(api.listening().await).await;
    heard.until("retry: 1000\n\n").await;
    assert_eq!(heard.text, "retry: 1000\n\n", "nothing has happened yet");
    let (id, path) = api.customer("acme").await;
    heard.until("event: customer.created\n").await;
    heard.until(&id.to_string()).await;
    api.sync(&path).await;
    heard.until("event: sync.finished\n").await;
    drop(heard);
    let events = api.get("/api/v1/events").await;
    let created = &events["items"][0];
    assert_eq!(created["kind"], "customer.created");
    let back = api.listening().await;
    let back = back.header("Last-Event-ID", created["id"].to_string());
    let mut heard = Heard::of(back).await;
    heard.until("event: sync.finished\n").await;
    assert!(!heard.text.contains("customer.created"), "{}", heard.text);
    api.sync(&path).await;
    heard.until("id: 3\n").await;
}

/// What there is comes page by page, and all of it, before what comes.
#[tokio::test]
async fn what_there_is_comes_first() {
    let api = Api::start().await;
    for n in 0..5 {
        api.customer(&format!("a{n}")).await;
    }
    let request = api.carrier("GET", "/api/v1/events?limit=2").await;
    let mut heard = Heard::of(request.header("Accept", "text/event-stream")).await;
    heard.until("id: 5\n").await;
    api.customer("late").await;
    heard.until("id: 6\n").await;
    let ids = heard.text.lines().filter(|line| line.starts_with("id: "));
    let ids: Vec<_> = ids.collect();
    assert_eq!(ids, ["id: 1", "id: 2", "id: 3", "id: 4", "id: 5", "id: 6"]);
}

/// 64 listen at once. The next one is told so, and may when somebody has gone; a list of events is for everybody.
#[tokio::test]
async fn no_more_than_64_listen() {
    let api = Api::start().await;
    let mut all = Vec::new();
    for _ in 0..64 {
        all.push(Heard::of(api.listening().await).await);
    }
    let refused = api.listening().await.send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "too_many_streams");
    assert_eq!(api.get("/api/v1/events").await["items"], json!([]));
    all.pop();
    for _ in 0..600 {
        let response = api.listening().await.send().await.unwrap();
        if response.status() == 200 {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the place of the one who has gone stays taken");
}

/// A stream ends after its time, so that whoever listens shows again that they may.
#[tokio::test]
async fn a_stream_ends_by_itself() {
    let api = Api::with_listeners(Listeners::lasting(Duration::from_millis(100))).await;
    let mut heard = Heard::of(api.listening().await).await;
    heard.hears_all().await;
    assert_eq!(heard.text, "retry: 1000\n\n");
}

/// Whoever listens does not keep the program from ending.
#[tokio::test]
async fn a_stream_ends_with_the_program() {
    let api = Api::start().await;
    let mut heard = Heard::of(api.listening().await).await;
    heard.until("retry: 1000\n\n").await;
    timeout(PATIENCE, api.store.close())
        .await
        .expect("nobody is waited for");
    heard.hears_all().await;
}
