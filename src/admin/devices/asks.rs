//! What the API asks others to do with telephones: the call engine to wake them, the maker's service to send them here.

use crate::b2bua::Resynced;
use crate::backend::{RedirectError, RedirectProvider};
use crate::directory::bootstrap_user;
use crate::provisioning::device::{DeviceModel, Mac, Wake};
use crate::store::{DeviceRecord, Store, StoreError, events};
use crate::telemetry::metrics;
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use utoipa::ToSchema;
use uuid::Uuid;

/// How long the engine may take: it repeats a NOTIFY for four seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests to the maker's service that are under way at once; more are not made, and counted.
const MOST_REDIRECTS: usize = 32;
/// Pauses before it is tried again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// A request about a telephone.
#[derive(Debug)]
pub enum PhoneRequest {
    /// Fetch your file again.
    Resync {
        /// As whom the telephone registered.
        auth_user: String,
        /// How its model has to be told.
        wake: Wake,
        /// What came of it.
        answer: oneshot::Sender<Resynced>,
    },
}

/// Whoever knows where telephones are; nobody by default.
#[derive(Debug, Clone, Default)]
pub struct Phones(Option<mpsc::Sender<PhoneRequest>>);

impl Phones {
    /// Asks over a queue of this length, whose other end is returned.
    pub fn new(queue: usize) -> (Self, mpsc::Receiver<PhoneRequest>) {
        let (ask, asked) = mpsc::channel(queue);
        (Self(Some(ask)), asked)
    }

    async fn resync(&self, auth_user: String, wake: Wake) -> Resynced {
        let Some(phones) = &self.0 else {
            return Resynced::NotRegistered;
        };
        let (answer, answered) = oneshot::channel();
        let request = PhoneRequest::Resync {
            auth_user,
            wake,
            answer,
        };
        if phones.try_send(request).is_err() {
            metrics::QUEUE_DROPPED.add(["phone_requests"], 1);
            return Resynced::Unconfirmed;
        }
        match timeout(PATIENCE, answered).await {
            Ok(Ok(resynced)) => resynced,
            Ok(Err(_)) | Err(_) => Resynced::Unconfirmed,
        }
    }
}

/// What the API needs for telephones.
#[derive(Debug, Clone)]
pub struct Devices {
    /// Wakes them.
    pub phones: Phones,
    /// Has them come here, if there is such a service.
    pub redirect: Option<Arc<dyn RedirectProvider>>,
    /// Where they find their files.
    pub url: String,
    /// Bounds what is under way.
    pub under_way: Arc<Semaphore>,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            phones: Phones::default(),
            redirect: None,
            url: String::new(),
            under_way: Arc::new(Semaphore::new(MOST_REDIRECTS)),
        }
    }
}

/// Whether a telephone was told to fetch its file again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::admin) struct Woken {
    /// Whether it was told.
    notified: bool,
    /// Whether it has answered; one that restarts at once does not.
    confirmed: bool,
    /// Why it was not told: `not_registered`, `in_call` (it is told afterwards) or `settling` (it restarts by itself).
    reason: Option<&'static str>,
    /// What to do instead.
    advice: Option<&'static str>,
}

const ADVICE: &str =
    "unplug the telephone from its power, and from a network that powers it, for one full minute";

impl Woken {
    /// A telephone that is being set up restarts by itself.
    pub(super) fn settling() -> Self {
        Self::not("settling", None)
    }

    fn not(reason: &'static str, advice: Option<&'static str>) -> Self {
        Self {
            notified: false,
            confirmed: false,
            reason: Some(reason),
            advice,
        }
    }
}

impl From<Resynced> for Woken {
    fn from(resynced: Resynced) -> Self {
        let told = |confirmed| Self {
            notified: true,
            confirmed,
            reason: None,
            advice: None,
        };
        match resynced {
            Resynced::Confirmed => told(true),
            Resynced::Unconfirmed => told(false),
            Resynced::Deferred => Self::not("in_call", None),
            Resynced::NotRegistered => Self::not("not_registered", Some(ADVICE)),
        }
    }
}

impl Devices {
    /// Tells a telephone to fetch its file again, under whichever name it is known: its own, or that of one that nobody
    /// had activated.
    pub(super) async fn wake(&self, device: &DeviceRecord) -> Woken {
        let wake =
            DeviceModel::of(&device.model).map_or(Wake::CheckSync, |model| model.notify_event);
        let own = self.phones.resync(device.sip_username.clone(), wake).await;
        if own != Resynced::NotRegistered {
            return own.into();
        }
        let mac: Option<Mac> = device.mac.as_deref().and_then(|mac| mac.parse().ok());
        match mac {
            Some(mac) => self
                .phones
                .resync(bootstrap_user(&mac.bytes()), wake)
                .await
                .into(),
            None => own.into(),
        }
    }

    /// Has the maker's service send a telephone here, or no longer. Nobody waits for it: without it, a telephone finds us
    /// by DHCP or by hand.
    pub fn redirect(&self, store: &Store, device: &DeviceRecord, here: bool) {
        let Some(provider) = self.redirect.clone() else {
            return;
        };
        let (Some(mac), Some(model)) = (device.mac.clone(), DeviceModel::of(&device.model)) else {
            return;
        };
        let Ok(permit) = self.under_way.clone().try_acquire_owned() else {
            metrics::PHONE_REDIRECTS.add(["dropped"], 1);
            return;
        };
        let (url, store) = (self.url.clone(), store.clone());
        let (customer, device) = (device.customer_id, device.id);
        tokio::spawn(async move {
            let _permit = permit;
            let mut pauses = PAUSES.iter();
            let failed = loop {
                let told = match here {
                    true => provider.register(&mac, model.vendor, &url).await,
                    false => provider.release(&mac, model.vendor).await,
                };
                match (told, pauses.next()) {
                    (Ok(()), _) => break None,
                    (Err(error), None) => break Some(error),
                    (Err(_), Some(pause)) => sleep(*pause).await,
                }
            };
            let result = if failed.is_some() { "failed" } else { "done" };
            metrics::PHONE_REDIRECTS.add([result], 1);
            if let Some(error) = failed {
                tracing::warn!(%device, %error, "the maker's service does not send a telephone here");
                if let Err(error) = note(&store, customer, device, &error).await {
                    tracing::warn!(%error, "an event is lost");
                }
            }
        });
    }
}

async fn note(
    store: &Store,
    customer: Uuid,
    device: Uuid,
    error: &RedirectError,
) -> Result<(), StoreError> {
    let detail = json!({ "device_id": device, "detail": error.to_string() });
    let mut rows = store.rows().await?;
    let (at, kind) = (OffsetDateTime::now_utc(), "device.redirect_failed");
    events::insert(&mut rows, at, kind, customer, &detail).await?;
    rows.keep().await
}
