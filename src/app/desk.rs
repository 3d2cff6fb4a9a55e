//! What desk telephones have to do with the database: codes that are typed at them, and which of them are there. Calls
//! wait for none of it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval_at};
use uuid::Uuid;

use crate::admin::{Devices, PhoneRequest};
use crate::b2bua::{ActivationAnswer, ActivationId, Calls, Resynced, WakeUp};
use crate::directory::Mac;
use crate::net::clock::Clock;
use crate::provisioning::device::{DeviceModel, Wake};
use crate::store::{Attempt, Binding, DeviceRecord, Store, StoreError, devices};
use crate::telemetry::metrics;

/// Codes that may wait to be looked at, and answers that may wait to be heard: more than telephones can be on the line.
const CODES: usize = 128;
/// Telephones that may have come or gone without its having been noted.
const COMINGS: usize = 4096;

/// A code that somebody has typed at a telephone.
pub(super) struct Typed {
    pub id: ActivationId,
    pub mac: Mac,
    pub code: String,
    pub source: IpAddr,
}

/// What became of it.
pub(super) struct Answered {
    id: ActivationId,
    answer: ActivationAnswer,
    /// The telephone that is somebody's now, and how it is told to fetch its file.
    wake: Option<(String, WakeUp)>,
}

/// A telephone that has come or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Presence {
    pub device: Uuid,
    pub is_registered: bool,
}

/// The loop's end of all this.
pub(super) struct Desk {
    typed: mpsc::Sender<Typed>,
    answered: mpsc::Receiver<Answered>,
    asked: mpsc::Receiver<PhoneRequest>,
    /// Who waits to hear whether a telephone was told, by the name that was asked for.
    resyncs: HashMap<String, Vec<oneshot::Sender<Resynced>>>,
}

/// What has happened at it.
pub(super) enum Turn {
    Answered(Answered),
    Asked(PhoneRequest),
}

/// Whoever looks codes up.
pub(super) struct Clerk {
    typed: mpsc::Receiver<Typed>,
    answered: mpsc::Sender<Answered>,
}

/// Whoever notes which telephones are there.
pub(super) struct Porter {
    store: Store,
    clock: Clock,
    presence: mpsc::Receiver<Presence>,
    here: HashSet<Uuid>,
    /// Within which every telephone that is there has registered again.
    interval: Duration,
}

impl Desk {
    /// With whoever looks up its codes. Requests of operators arrive by `asked`.
    pub fn new(asked: mpsc::Receiver<PhoneRequest>) -> (Self, Clerk) {
        let (typed, to_look_up) = mpsc::channel(CODES);
        let (answer, answered) = mpsc::channel(CODES);
        let clerk = Clerk {
            typed: to_look_up,
            answered: answer,
        };
        let desk = Self {
            typed,
            answered,
            asked,
            resyncs: HashMap::new(),
        };
        (desk, clerk)
    }

    /// Waits for one thing; none when nothing will come any more.
    pub async fn turn(&mut self) -> Option<Turn> {
        tokio::select! {
            Some(answered) = self.answered.recv() => Some(Turn::Answered(answered)),
            Some(asked) = self.asked.recv() => Some(Turn::Asked(asked)),
            else => None,
        }
    }

    /// Feeds it to calls.
    pub fn take(&mut self, turn: Turn, calls: &mut Calls) {
        let now = Instant::now();
        match turn {
            Turn::Answered(Answered { id, answer, wake }) => {
                calls.activated(id, answer, now);
                if let Some((auth_user, wake_up)) = wake {
                    calls.resync(&auth_user, wake_up, now);
                }
            }
            Turn::Asked(PhoneRequest::Resync {
                auth_user,
                wake,
                answer,
            }) => {
                let auth_user = auth_user.to_ascii_lowercase();
                let waiting = self.resyncs.entry(auth_user.clone()).or_default();
                waiting.push(answer);
                calls.resync(&auth_user, wake_up(wake), now);
            }
        }
    }

    /// Has a code looked up.
    pub fn look_up(&self, typed: Typed, calls: &mut Calls) {
        if let Err(refused) = self.typed.try_send(typed) {
            metrics::QUEUE_DROPPED.add(["activation_codes"], 1);
            let (answer, typed) = (ActivationAnswer::Busy, refused.into_inner());
            calls.activated(typed.id, answer, Instant::now());
        }
    }

    /// What came of telling a telephone, for all who still wait; of telling it later nobody waits to hear.
    pub fn resynced(&mut self, auth_user: &str, outcome: Resynced) {
        for waiting in self.resyncs.remove(auth_user).into_iter().flatten() {
            let _ = waiting.send(outcome);
        }
    }
}

fn wake_up(wake: Wake) -> WakeUp {
    WakeUp::CheckSync {
        reboot: wake == Wake::CheckSyncReboot,
    }
}

impl Clerk {
    /// Looks codes up for as long as any come, one after the other, as they are written one after the other.
    pub async fn run(mut self, store: Store, clock: Clock, devices: Devices) {
        while let Some(typed) = self.typed.recv().await {
            let id = typed.id;
            let (answer, wake) = match bind(&store, typed, clock.now()).await {
                Ok(Binding::Bound(device)) => {
                    devices.redirect(&store, &device, true);
                    (ActivationAnswer::Bound, Some(wake_of(&device)))
                }
                Ok(Binding::NotValid) => (ActivationAnswer::NotValid, None),
                Ok(Binding::Locked) => (ActivationAnswer::Locked, None),
                Err(error) => {
                    tracing::warn!(%error, "a code cannot be looked up");
                    (ActivationAnswer::Busy, None)
                }
            };
            if self
                .answered
                .send(Answered { id, answer, wake })
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

/// What becomes of a code. An address that is no telephone's has none that is valid.
async fn bind(store: &Store, typed: Typed, at: OffsetDateTime) -> Result<Binding, StoreError> {
    let Ok(mac) = typed.mac.try_into() else {
        return Ok(Binding::NotValid);
    };
    let attempt = Attempt {
        mac,
        code: &typed.code,
        source: typed.source.to_canonical(),
    };
    store.bind_device(&attempt, at).await
}

fn wake_of(device: &DeviceRecord) -> (String, WakeUp) {
    let wake = DeviceModel::of(&device.model).map_or(Wake::CheckSync, |model| model.notify_event);
    (device.sip_username.clone(), wake_up(wake))
}

impl Porter {
    /// Whoever notes it, and the way there.
    pub fn new(store: Store, clock: Clock, interval: Duration) -> (Self, mpsc::Sender<Presence>) {
        let (tell, presence) = mpsc::channel(COMINGS);
        let porter = Self {
            store,
            clock,
            presence,
            here: HashSet::new(),
            interval,
        };
        (porter, tell)
    }

    /// Notes who comes and goes. Registrations do not outlast the process: whoever was there before it began and has not
    /// come again within an interval is gone.
    pub async fn run(mut self) {
        let first = tokio::time::Instant::now() + self.interval;
        let mut look = interval_at(first, self.interval);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                presence = self.presence.recv() => match presence {
                    Some(presence) => self.note(presence).await,
                    None => return,
                },
                _ = look.tick() => {
                    if let Err(error) = self.look().await {
                        tracing::warn!(%error, "telephones that are gone cannot be noted");
                    }
                }
            }
        }
    }

    /// Most telephones register again and again, which is no news.
    async fn note(&mut self, presence: Presence) {
        let Presence {
            device,
            is_registered,
        } = presence;
        let is_news = match is_registered {
            true => self.here.insert(device),
            false => self.here.remove(&device),
        };
        if !is_news {
            return;
        }
        let now = self.clock.now();
        let noted = self.store.device_registered(device, is_registered, now);
        if let Err(error) = noted.await {
            tracing::warn!(%error, %device, "it is not noted whether a telephone is registered");
            // The next time is news again; one that is gone is found when all are looked for.
            self.here.remove(&device);
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let online = devices::online(&mut *self.store.read().await?).await?;
        for device in online.into_iter().filter(|id| !self.here.contains(id)) {
            let now = self.clock.now();
            self.store.device_registered(device, false, now).await?;
        }
        Ok(())
    }
}
