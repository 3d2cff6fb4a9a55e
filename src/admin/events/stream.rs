//! The event stream of HTML §9.2: what there is, and then what comes, as it comes.
//!
//! Nothing is queued for those who listen: each has a place in the table of events and reads on from there, a page at a
//! time, when the page before has been taken from it.

use super::super::Admin;
use super::super::error::ApiError;
use crate::store::events::{self, EventScope};
use crate::store::{EventRecord, Page, Store, StoreError};
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};

/// Streams at once.
const MOST: usize = 64;
/// Then a stream ends, and whoever still wants to listen comes back: a token that was revoked does not listen on.
const LASTS: Duration = Duration::from_secs(60);
/// Between two looks at the table.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After so much silence a comment shows that the stream is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Those who listen for events.
#[derive(Debug, Clone)]
pub struct Listeners {
    places: Arc<Semaphore>,
    lasts: Duration,
}

/// Nobody yet.
impl Default for Listeners {
    fn default() -> Self {
        Self::lasting(LASTS)
    }
}

impl Listeners {
    /// Nobody yet, and each stream ends after so much time.
    pub fn lasting(lasts: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(MOST)),
            lasts,
        }
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = self.places.clone().try_acquire_owned();
        let detail = "too many listen for events: ask without a stream, or later";
        place.map_err(|_| ApiError::unavailable("too_many_streams", detail).retry_after(10))
    }
}

/// Tells what there is behind this event, and then what comes, at most so many at once.
pub(super) async fn begin(
    admin: &Admin,
    scope: EventScope,
    after: i64,
    limit: u32,
) -> Result<Response, ApiError> {
    let place = admin.listeners.place()?;
    let mut reader = Reader {
        store: admin.store.clone(),
        scope,
        after,
        limit,
        is_behind: false,
    };
    // Before there is an answer, so that a database that fails is told by its status.
    let first = reader.page().await?;
    let (to, from) = mpsc::channel(1);
    let lasts = admin.listeners.lasts;
    tokio::spawn(async move {
        let _ = timeout(lasts, reader.tell(&first, to)).await;
        drop(place);
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, Body::new(Told(from))).into_response())
}

/// A place in the table of events.
#[derive(Debug)]
struct Reader {
    store: Store,
    scope: EventScope,
    /// All up to this one has been read.
    after: i64,
    limit: u32,
    /// Whether there is more than the last page.
    is_behind: bool,
}

impl Reader {
    /// The next page; nothing if there is none.
    async fn page(&mut self) -> Result<Vec<EventRecord>, StoreError> {
        let mut connection = self.store.read().await?;
        // Before the page is read: what is in scope up to there is on it, or on a later one.
        let newest = events::newest(&mut connection).await?;
        if newest <= self.after {
            self.is_behind = false;
            return Ok(Vec::new());
        }
        let page = Page {
            after: Some(self.after),
            limit: self.limit,
        };
        let listed = events::list(&mut connection, self.scope, page).await?;
        self.is_behind = listed.next.is_some();
        let last = listed.items.last().map_or(self.after, |event| event.id);
        // Others' events are not looked through a second time.
        self.after = match self.is_behind {
            true => last,
            false => last.max(newest),
        };
        Ok(listed.items)
    }

    /// Tells what comes, until nobody listens or the program ends.
    async fn tell(mut self, first: &[EventRecord], to: mpsc::Sender<Bytes>) {
        let begin = format!("retry: 1000\n\n{}", written(first));
        if to.send(begin.into()).await.is_err() {
            return;
        }
        let mut said = Instant::now();
        loop {
            if !self.is_behind {
                tokio::select! {
                    () = sleep(LOOK_EVERY) => {}
                    () = to.closed() => return,
                    () = self.store.closed() => return,
                }
            }
            let events = match self.page().await {
                Ok(events) => events,
                Err(error) => {
                    tracing::debug!(%error, "a stream of events ends");
                    return;
                }
            };
            let text = match events.is_empty() {
                false => written(&events),
                true if said.elapsed() >= SIGN_OF_LIFE => ":\n\n".to_owned(),
                true => continue,
            };
            if to.send(text.into()).await.is_err() {
                return;
            }
            said = Instant::now();
        }
    }
}

fn written(events: &[EventRecord]) -> String {
    let event = |event: &EventRecord| {
        let data = serde_json::to_string(event).expect("an event has a JSON form");
        format!("id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.kind)
    };
    events.iter().map(event).collect()
}

/// What was told, as a body that ends when whoever tells does.
#[derive(Debug)]
struct Told(mpsc::Receiver<Bytes>);

impl HttpBody for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let told = self.0.poll_recv(context);
        told.map(|text| text.map(|text| Ok(Frame::data(text))))
    }
}
